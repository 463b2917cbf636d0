use super::{export, *};

const NOW: Timestamp = Timestamp::from_millis(1_705_746_600_000);
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuuKIjJzj8WmRNMJYZmOxx4ylFJ2Zcuny6";

/// One of a hundred that are all different.
fn bcrypt(number: usize) -> String {
    BCRYPT.replace("abcd", &format!("ab{number:02}"))
}

fn document(records: &[&str]) -> Document {
    Document::parse(format!("{{\"keys\":[{}]}}", records.join(",")).as_bytes()).unwrap()
}

fn rows(text: &str) -> Vec<(usize, Result<Incoming, Flaw>)> {
    let mut made = 0;
    let mut new_id = || {
        made += 1;
        format!("key_new{made}")
    };
    let found = read(text, Format::of(text)).unwrap();
    found
        .into_iter()
        .map(|found| (found.line, Incoming::new(found, &mut new_id, NOW)))
        .collect()
}

fn incoming(text: &str) -> Vec<Incoming> {
    rows(text)
        .into_iter()
        .map(|(line, row)| row.unwrap_or_else(|flaw| panic!("line {line}: {flaw}")))
        .collect()
}

fn records(text: &str) -> Vec<String> {
    incoming(text)
        .into_iter()
        .map(|one| one.record.get().to_owned())
        .collect()
}

fn reasons(plan: &Plan) -> Vec<(usize, String)> {
    plan.conflicts
        .iter()
        .map(|conflict| (conflict.line, conflict.reason.to_string()))
        .collect()
}

#[test]
fn a_plaintext_secret_becomes_its_digest_and_a_key_without_id_gets_one() {
    let digest = Digest::of("s1");
    let expected = format!(
        r#"{{"id":"key_new1","name":"A","secret_hash":"{digest}","secret_type":"shared_secret","created_at":"2024-01-20T10:30:00Z","updated_at":null,"expires_at":null,"metadata":{{}}}}"#
    );
    assert_eq!(records("name,secret\nA,s1\n"), std::slice::from_ref(&expected));
    assert_eq!(records(r#"[{"name":"A","secret":"s1"}]"#), [expected]);
}

#[test]
fn a_dump_of_the_old_table_is_understood() {
    let csv = format!(
        "id,key_hash,key_prefix,user_id,name,created_at,expires_at,last_used_at,is_active,rate_limit_per_hour,allowed_ips\n\
         7,{BCRYPT},hk_live_abc...,42,Old,2024-01-20 10:30:00.5+00,,2024-02-01 00:00:00+00,t,1000,\"[\"\"10.0.0.0/8\"\"]\"\n\
         8,{BCRYPT},hk_live_abc,42,Off,2024-01-20 10:30:00+00,2030-01-01 00:00:00+00,,f,,\"{{10.0.0.0/8,::1}}\"\n"
    );
    let expected = [
        format!(
            r#"{{"id":"7","secret_hash":"{BCRYPT}","key_prefix":"hk_live_abc","user_id":"42","name":"Old","created_at":"2024-01-20 10:30:00.5+00","is_active":true,"rate_limit_per_hour":1000,"allowed_ips":["10.0.0.0/8"]}}"#
        ),
        format!(
            r#"{{"id":"8","secret_hash":"{BCRYPT}","key_prefix":"hk_live_abc","user_id":"42","name":"Off","created_at":"2024-01-20 10:30:00+00","expires_at":"2030-01-01 00:00:00+00","is_active":false,"allowed_ips":["10.0.0.0/8","::1"]}}"#
        ),
    ];
    assert_eq!(records(&csv), expected);
    let json = format!(
        "{{\"id\":7,\"key_hash\":\"{BCRYPT}\",\"key_prefix\":\"hk_live_abc\",\"user_id\":42,\"name\":\"Old\",\"last_used_at\":null}}\n\
         {{\"id\":8,\"secret_hash\":\"{}\",\"name\":\"B\"}}\n",
        "AB".repeat(32)
    );
    let expected = [
        format!(r#"{{"id":"7","secret_hash":"{BCRYPT}","key_prefix":"hk_live_abc","user_id":"42","name":"Old"}}"#),
        format!(r#"{{"id":"8","secret_hash":"sha256:{}","name":"B"}}"#, "ab".repeat(32)),
    ];
    assert_eq!(records(&json), expected);
}

#[test]
fn the_beginning_of_a_secret_is_taken_over_as_it_was_written_but_for_what_ends_it() {
    for (shown, taken) in [
        ("hk_live_abc", "hk_live_abc"),
        (r"hk\u005flive_abc", r"hk\u005flive_abc"),
        ("hk_live_abc...", "hk_live_abc"),
        ("hk_live_abc***", "hk_live_abc"),
        (r"hk\u005flive_abc\u2026", "hk_live_abc"),
    ] {
        let json = format!(r#"[{{"id":"a","key_hash":"{BCRYPT}","key_prefix":"{shown}","name":"A"}}]"#);
        let expected = format!(r#"{{"id":"a","secret_hash":"{BCRYPT}","key_prefix":"{taken}","name":"A"}}"#);
        assert_eq!(records(&json), [expected], "{shown}");
    }
}

#[test]
fn a_secret_beside_its_own_digest_is_taken_over_as_the_digest() {
    let digest = Digest::of("s1").to_string();
    for stored in [digest.as_str(), &digest["sha256:".len()..]] {
        let json = format!(r#"[{{"id":"a","secret":"s1","secret_hash":"{stored}","name":"A"}}]"#);
        let expected = format!(r#"{{"id":"a","secret_hash":"{digest}","name":"A"}}"#);
        assert_eq!(records(&json), [expected], "{stored}");
    }
}

#[test]
fn a_row_that_is_no_key_is_named_by_its_line_and_never_by_what_it_says() {
    let csv = format!(
        "id,name,secret,secret_hash,key_prefix,expires_at,is_active,rate_limit_per_hour,metadata,allowed_ips\n\
         a,A,,,,,,,,\n\
         b,B,s,sha256:{0},,,,,,\n\
         c,C,s,,,soon,,,,\n\
         d,D,s,,,,perhaps,,,\n\
         e,E,s,,,,,many,,\n\
         f,F,s,,,,,,[1],\n\
         g,G,,{BCRYPT},,,,,,\n\
         h,H,,$2b$31$short,hk_live_abc,,,,,\n\
         i,,s,,,,,,,\n\
         sec_0001vDm,I,s,,,,,,,\n\
         j,hk_live_abcdef,s,,,,,,,\n\
         k,K,s,,,,,,,,extra\n\
         l,L,,,hk_live_abc,,,,{{,\n",
        "0".repeat(64)
    );
    let flaws: Vec<(usize, String)> = rows(&csv)
        .into_iter()
        .filter_map(|(line, row)| Some((line, row.err()?.to_string())))
        .collect();
    let expected = [
        (2, "no_secret"),
        (3, "secret_and_digest_differ"),
        (4, "bad_expiry"),
        (5, "is_active cannot be read"),
        (6, "rate_limit_per_hour cannot be read"),
        (7, "metadata cannot be read"),
        (8, "no_key_prefix"),
        (9, "bad_digest"),
        (10, "bad_name"),
        (11, "id looks like a secret"),
        (12, "name looks like a secret"),
        (13, "it has more cells than the header"),
        (14, "metadata cannot be read"),
    ];
    assert_eq!(flaws, expected.map(|(line, flaw)| (line, flaw.to_owned())));
    let json = "{\"keys\":[\n {\"id\":\"a\",\"secret\":\"s\",\"name\":\"A\"},\n\n 7, \"sec_x\"\n]}";
    let lines: Vec<_> = rows(json).into_iter().map(|(line, row)| (line, row.err())).collect();
    let none = Some(Flaw::Defect(Defect::NotAnObject));
    assert_eq!(lines, [(2, None), (4, none.clone()), (4, none)]);
}

#[test]
fn a_file_that_is_no_list_of_keys_is_told_apart() {
    for (text, expected) in [
        ("", FileError::NoKeys),
        ("\n\n", FileError::NoKeys),
        ("id,sec_x\n", FileError::UnknownColumn(2)),
        ("id,name,ID\n", FileError::RepeatedColumn(3)),
        ("id,name\na,\"b\n", FileError::BadQuote { line: 2 }),
        ("{\"keys\":7}", FileError::NoKeys),
        ("[\n{\"id\":}]", FileError::NotJson { line: 2 }),
    ] {
        assert_eq!(read(text, Format::of(text)).err(), Some(expected), "{text:?}");
    }
    assert_eq!(read(" \n", Format::Json).err(), Some(FileError::NoKeys));
}

#[test]
fn the_plan_tells_new_identical_and_conflicting_records() {
    let digest = Digest::of("s1");
    let document = document(&[
        &format!(r#"{{"id":"same","secret_hash":"{digest}","name":"A","metadata":{{"b":1}},"expires_at":null}}"#),
        r#"{"id":"plain","secret":"s2","name":"\u0042"}"#,
        r#"{"id":"other","secret":"s3","name":"C","own":1}"#,
        &format!(
            r#"{{"id":"bad","secret":"","secret_hash":"{}","name":"B"}}"#,
            Digest::of("s7")
        ),
    ]);
    let file = r#"[
        {"id":"same","secret":"s1","name":"A","metadata":{ "b": 1 },"secret_type":"shared_secret","is_active":true},
        {"id":"plain","secret":"s2","name":"B"},
        {"id":"other","secret":"s3","name":"D"},
        {"id":"another","secret":"s3","name":"C"},
        {"id":"new","secret":"s4","name":"E"},
        {"id":"new","secret":"s5","name":"E"},
        {"id":"newer","secret":"s4","name":"E"},
        {"secret":"s2","name":"B"},
        {"secret":"s3","name":"X"},
        {"secret":"s6","name":"F"},
        {"id":"bad","secret":"s7","name":"B"}
    ]"#;
    let incoming = incoming(file);
    let plan = plan(&document, &incoming);
    assert_eq!((plan.new.as_slice(), plan.identical), ([4, 9].as_slice(), 3));
    let expected = [
        (4, "the stored key with this id differs in name, a member of its own"),
        (5, "line 4 has the same secret"),
        (7, "line 6 has the same id"),
        (8, "line 6 has the same secret"),
        (9, "line 3 has the same secret"),
        (10, "line 4 has the same secret"),
    ];
    assert_eq!(reasons(&plan), expected.map(|(line, reason)| (line, reason.to_owned())));
}

#[test]
fn a_row_without_id_is_known_by_its_secret() {
    let document = document(&[r#"{"id":"a","secret":"s1","name":"A","created_at":"2020-01-01"}"#]);
    let rows = incoming("name,secret\nA,s1\nB,s2\n");
    let found = plan(&document, &rows);
    assert_eq!(
        (found.new.as_slice(), found.identical, found.conflicts.len()),
        ([1].as_slice(), 1, 0)
    );
    let other_name = plan(&document, &incoming("name,secret\nZ,s1\n"));
    assert_eq!(
        reasons(&other_name),
        [(2, "the stored key a has the same secret and differs in name".to_owned())]
    );
    assert_eq!(other_name.conflicts[0].id, None, "nobody knows what was drawn");
    let other_id = plan(&document, &incoming("id,name,secret\nb,A,s1\n"));
    assert_eq!(
        reasons(&other_id),
        [(2, "the stored key a has the same secret".to_owned())]
    );
}

#[test]
fn an_earlier_secret_is_nobody_elses() {
    let previous = |secret: &str| {
        let digest = Digest::of(secret);
        format!(r#""previous":[{{"secret_hash":"{digest}","not_after":"2034-01-01T00:00:00Z"}}]"#)
    };
    let rotated = format!(r#"{{"id":"a","secret":"s1","name":"A",{}}}"#, previous("s0"));
    let stored = document(&[&rotated]);
    let taken = "the stored key a has the same secret".to_owned();
    for text in [
        "id,name,secret\nb,B,s0\n".to_owned(),
        "name,secret\nA,s0\n".to_owned(),
        format!(r#"[{{"id":"b","name":"B","secret":"s2",{}}}]"#, previous("s1")),
        format!(r#"[{{"name":"B","secret":"s2",{}}}]"#, previous("s0")),
    ] {
        let found = plan(&stored, &incoming(&text));
        let found: Vec<String> = reasons(&found).into_iter().map(|(_, reason)| reason).collect();
        assert_eq!(found, [taken.as_str()], "{text}");
    }
    let twice = format!(
        r#"[{{"id":"b","name":"B","secret":"s2",{}}},{{"id":"c","name":"C","secret":"s3"}}]"#,
        previous("s3")
    );
    let found = plan(&stored, &incoming(&twice));
    assert_eq!(reasons(&found), [(1, "line 1 has the same secret".to_owned())]);
    assert_eq!(plan(&stored, &incoming(&format!("[{rotated}]"))).identical, 1);
}

#[test]
fn a_prefix_that_too_many_imported_keys_would_share_is_a_conflict() {
    let record = |number: usize| {
        format!(
            r#"{{"id":"k{number}","secret_hash":"{}","key_prefix":"hk_live_abc","name":"K"}}"#,
            bcrypt(number)
        )
    };
    let stored: Vec<String> = (0..3).map(record).collect();
    let stored: Vec<&str> = stored.iter().map(String::as_str).collect();
    let file = |last: usize| format!("[{}]", (3..last).map(record).collect::<Vec<_>>().join(","));
    assert_eq!(plan(&document(&stored), &incoming(&file(8))).new.len(), 5);
    let crowded = plan(&document(&stored), &incoming(&file(9)));
    assert_eq!((crowded.new.len(), crowded.conflicts.len()), (0, 6));
}

#[test]
fn prefixes_of_their_own_and_those_of_digests_crowd_nobody() {
    let imported = |number: usize, hash: &str, prefix: &str| {
        format!(r#"{{"id":"k{number}","secret_hash":"{hash}","key_prefix":"{prefix}","name":"K"}}"#)
    };
    let apart = (0..9).map(|number| imported(number, &bcrypt(number), &format!("hk_live_ab{number}")));
    let digest = |number: usize| Digest::of(&number.to_string()).to_string();
    let digests = (10..19).map(|number| imported(number, &digest(number), "hk_live_abc"));
    let file = format!("[{}]", apart.chain(digests).collect::<Vec<_>>().join(","));
    assert_eq!(plan(&document(&[]), &incoming(&file)).new.len(), 18);
}

#[test]
fn an_import_is_made_as_a_whole_or_not_at_all() {
    let mut stored = document(&[r#"{"id":"a","secret":"s1","name":"A"}"#]);
    let bad = Import(incoming("id,name,secret\nb,B,s2\na,Z,s1\n").into());
    assert_eq!(apply(&mut stored, &bad), Err(1));
    assert_eq!(stored.records().len(), 1);
    let good = Import(incoming("id,name,secret\nb,B,s2\na,A,s1\n").into());
    assert!(!is_in(&stored, &good));
    assert_eq!(apply(&mut stored, &good), Ok(1));
    assert_eq!(stored.records().len(), 2);
    assert!(is_in(&stored, &good));
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let records = [
        r#"{"id":"a","secret":"sec_plain","name":"A \"q\", \n b","metadata":{"n":1.50,"t":"x  y"},"expires_at":null}"#,
        r#"{"id":"b","secret_hash":"$2b$04$abcdefghijklmnopqrstuuKIjJzj8WmRNMJYZmOxx4ylFJ2Zcuny6","key_prefix":"hk_live_abc","name":"=B","is_active":false,"revoked_at":"2024-01-01","rate_limit_per_hour":1000,"allowed_ips":["10.0.0.0/8"],"scopes":["a:b","*"]}"#,
        r#"{"id":"c","secret":"s3","name":"","limits":[{"name":"x","limit":1,"window_seconds":2}],"own":{"deep":[1e400,null]},"burst":10,"rate_limit_per_hour":100}"#,
        r#"{"id":"d","secret_hash":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","key_prefix":"hk_test_abc","name":"D","user_id":"u, \u00e9","environment":"test","created_at":"2024-01-20T10:30:00Z","updated_at":"2024-01-21","expires_at":"2034-01-20","is_active":false,"revoked_at":"2024-01-22","revoke_reason":"lost, twice","allowed_ips":["10.0.0.0/8","::1"],"scopes":["orders:*"],"limits":[],"previous":[{"secret_hash":"$2b$04$abcdefghijklmnopqrstuuKIjJzj8WmRNMJYZmOxx4ylFJ2Zcunya","key_prefix":"hk_live_abc","not_after":"2024-01-20T11:30:00Z"},{"secret_hash":"sha256:0f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","not_after":"2024-01-20T11:30:00Z"}]}"#,
    ];
    let stored = document(&records);
    for text in [export::to_json(&stored).text, export::to_csv(&stored).text] {
        assert!(!text.contains("sec_plain"), "{text}");
        let again = incoming(&text);
        let found = plan(&stored, &again);
        assert_eq!((found.identical, reasons(&found)), (4, vec![]), "{text}");
        let mut empty = Document::empty();
        apply(&mut empty, &Import(again.into())).unwrap();
        let back = plan(&empty, &incoming(&export::to_json(&stored).text));
        assert_eq!((back.identical, reasons(&back)), (4, vec![]), "{text}");
    }
    let json = export::to_json(&stored).text;
    let mut empty = Document::empty();
    apply(&mut empty, &Import(incoming(&json).into())).unwrap();
    assert_eq!(export::to_json(&empty).text, json, "to the letter");
}

#[test]
fn a_text_that_looks_like_json_is_exported_to_the_letter() {
    for name in ["[ 1 ]", "{ }", "[\\n1]", "7 ", " true", "\\\"a\\\" "] {
        let stored = document(&[&format!(r#"{{"id":"a","secret":"s","name":"{name}","note":"{name}"}}"#)]);
        for text in [export::to_json(&stored).text, export::to_csv(&stored).text] {
            let found = plan(&stored, &incoming(&text));
            assert_eq!((found.identical, reasons(&found)), (1, vec![]), "{text}");
        }
    }
}

#[test]
fn a_table_says_json_on_one_line_and_what_no_column_can_say_in_the_last() {
    let stored = document(&[
        "{\"id\":\"a\",\"name\":\"A\\nB\",\"scopes\":[\"x\",\n \"y\"],\"expires_at\":null,\"rate_limit_per_hour\":60,\"burst\":1.0,\"extra\":[ 1 ]}",
    ]);
    let text = export::to_csv(&stored).text;
    let (header, row) = text.split_once('\n').unwrap();
    let titles: Vec<_> = header.split(',').collect();
    assert_eq!(
        (titles[0], titles[1], titles.last()),
        ("id", "secret_hash", Some(&"extra"))
    );
    assert_eq!(
        row,
        "a,,,\"A\nB\",,,,,,,,,,60,,,,\"[\"\"x\"\",\"\"y\"\"]\",,,\"{\"\"burst\"\":1.0,\"\"extra\"\":[1]}\"\n"
    );
}

#[test]
fn what_is_no_record_is_left_out_of_an_export() {
    let stored = document(&["7", r#""sec_x""#, r#"{"id":"a","secret":["sec_x"],"name":"A"}"#]);
    for exported in [export::to_json(&stored), export::to_csv(&stored)] {
        assert_eq!((exported.records, exported.left_out), (1, 2));
        assert!(!exported.text.contains("sec_x"), "{}", exported.text);
    }
}
