use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn document(records: &[&str]) -> String {
    format!(r#"{{"keys":[{}]}}"#, records.join(","))
}

fn build(records: &[&str]) -> Index {
    Index::build(document(records).as_bytes()).unwrap()
}

fn key(id: &str, secret: &str) -> String {
    format!(r#"{{"id":"{id}","name":"Name of {id}","secret":"{secret}"}}"#)
}

fn holder<'a>(index: &'a Index, secret: &str) -> Option<&'a str> {
    index.find(&Digest::of(secret)).map(|entry| entry.id)
}

fn denied(index: &Index) -> Vec<(usize, Option<&str>, Defect)> {
    index
        .bad_records()
        .iter()
        .map(|bad| (bad.position, bad.id.as_deref(), bad.defect))
        .collect()
}

#[test]
fn an_empty_store_holds_no_key() {
    for index in [Index::empty(), build(&[])] {
        assert_eq!((index.keys_count(), index.bad_records_count()), (0, 0));
        assert_eq!(holder(&index, "sec_1"), None);
    }
}

#[test]
fn a_key_is_found_by_its_digest_with_all_its_texts() {
    let record = r#"{"id":"key_\"1\u00e9","name":"a\/b\n\u0001","secret":"sec_1","metadata":{ "a": [1.0, "\u00e9 x"] },
        "expires_at":"2024-01-20T10:30:00Z","is_active":false}"#;
    let index = build(&[record]);
    let entry = index.find(&Digest::of("sec_1")).unwrap();
    assert_eq!(entry.id, r#"key_\"1é"#);
    assert_eq!(entry.name, r"a/b\n\u0001");
    assert_eq!(entry.metadata, r#"{"a":[1.0,"\u00e9 x"]}"#);
    assert_eq!(entry.expires_at, Some(Timestamp::from_millis(1_705_746_600_000)));
    assert!(entry.revoked);
}

fn imported(id: &str, salt: u8, prefix: &str) -> String {
    let (salt, rest) = (format!("{salt:02}").repeat(11), "e".repeat(30));
    let hash = format!("$2b$04${}.{rest}e", &salt[1..]);
    format!(r#"{{"id":"{id}","name":"N","secret_hash":"{hash}","key_prefix":"{prefix}"}}"#)
}

#[test]
fn imported_records_are_found_by_the_prefix_of_a_secret() {
    let records = [
        imported("a", 1, "hk_live_a"),
        imported("b", 2, "hk_live_ab"),
        imported("c", 3, "hk_é"),
    ];
    let index = build(&records.each_ref().map(String::as_str));
    let holders = |presented: &str| -> Vec<&str> {
        index
            .candidates(presented)
            .filter_map(|candidate| Some(index.find(&candidate.stand_in)?.id))
            .collect()
    };
    assert_eq!(
        (index.keys_count(), index.imported_count(), index.has_imported()),
        (3, 3, true)
    );
    for (presented, expected) in [
        ("hk_live_abc", ["a", "b"].as_slice()),
        ("hk_live_a", &["a"]),
        ("hk_live_", &[]),
        ("hk_éx", &["c"]),
        ("hk_e\u{301}xxxx", &[]),
        ("", &[]),
    ] {
        assert_eq!(holders(presented), expected, "{presented:?}");
    }
    assert!(!build(&[&key("key_1", "sec_1")]).has_imported());
}

#[test]
fn at_most_eight_imported_records_share_a_prefix() {
    for (count, denied_count) in [(8, 0), (9, 9)] {
        let records: Vec<String> = (0..count)
            .map(|n| imported(&format!("k{n}"), n, "hk_live_abc"))
            .collect();
        let index = build(&records.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(index.bad_records_count(), denied_count);
        assert!(
            denied(&index)
                .iter()
                .all(|(_, _, defect)| *defect == Defect::SharedPrefix)
        );
        assert_eq!(
            index.candidates("hk_live_abc").count(),
            usize::from(count) - denied_count
        );
    }
}

#[test]
fn bytes_that_are_no_document_are_told_apart() {
    let whole = document(&[&key("key_1", "sec_1"), r#"{"id":"é"}"#]);
    for end in 1..whole.len() {
        assert_eq!(
            Index::build(&whole.as_bytes()[..end]).err(),
            Some(DocumentError::Truncated),
            "{end}"
        );
    }
    let table: [(&[u8], DocumentError); 19] = [
        (b"", DocumentError::Empty),
        (b" \n\t", DocumentError::Empty),
        (b"<html>", DocumentError::NotJson),
        (b"gAAAAABl", DocumentError::NotJson),
        (b"{\"keys\":[]}x", DocumentError::NotJson),
        (b"{\"keys\":[]}{\"keys\":[]}", DocumentError::NotJson),
        (b"{\"keys\":[}", DocumentError::NotJson),
        (b"{\"keys\":[,]}", DocumentError::NotJson),
        (b"{\"keys\":[],\"note\":\"\xff\"}", DocumentError::NotJson),
        (b"\xef\xbb\xbf{\"keys\":[]}", DocumentError::NotJson),
        (b"{\"keys\":7", DocumentError::Truncated),
        (b"[", DocumentError::Truncated),
        (b"{}", DocumentError::NoKeys),
        (b"[]", DocumentError::NoKeys),
        (b"null", DocumentError::NoKeys),
        (b"\"keys\"", DocumentError::NoKeys),
        (b"{\"keys\":null}", DocumentError::NoKeys),
        (b"{\"keys\":{\"keys\":[]}}", DocumentError::NoKeys),
        (b"{\"keys\":\"\\ud800\"}", DocumentError::NoKeys),
    ];
    for (bytes, expected) in table {
        assert_eq!(
            Index::build(bytes).err(),
            Some(expected),
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_document_longer_than_its_places_can_be_numbered_is_refused() {
    assert!(build::fits(512 << 20));
    assert!(!build::fits(1 << 32));
}

#[test]
fn a_document_may_end_anywhere_in_a_piece() {
    let json = format!(
        " {{ \"generation\" : 12 ,\n \"keys\" : [ {} ] , \"é\" : 7 }} \n",
        key("key_1", "sec_1")
    );
    for piece in 1..json.len() {
        let mut arriving = Arriving::default();
        json.as_bytes().chunks(piece).for_each(|piece| arriving.take(piece));
        let index = arriving.finish(|| ()).unwrap();
        assert_eq!(
            (index.generation(), holder(&index, "sec_1")),
            (Some(12), Some("key_1")),
            "{piece}"
        );
    }
}

#[test]
fn what_is_long_or_wrong_takes_no_longer_in_small_pieces() {
    let long = format!(
        r#"{{"note":"{}","keys":[{}]}}"#,
        "x".repeat(4 << 20),
        key("key_1", "sec_1")
    );
    let wrong = format!("<{}", "x".repeat(4 << 20));
    for (json, expected) in [(long, Ok(1)), (wrong, Err(DocumentError::NotJson))] {
        let mut arriving = Arriving::default();
        json.as_bytes().chunks(64).for_each(|piece| arriving.take(piece));
        assert_eq!(arriving.finish(|| ()).map(|index| index.keys_count()), expected);
    }
}

#[test]
fn the_marks_of_the_last_write_are_read() {
    let table = [
        (r#""generation":7,"write_id":"w\u0031","#, Some(7), Some("w1")),
        (r#""generation":7,"generation":8,"#, Some(8), None),
        (r#""generation":0,"write_id":7,"#, None, None),
        (r#""generation":-1,"write_id":null,"#, None, None),
        (r#""generation":1.5,"#, None, None),
        (r#""generation":"7","#, None, None),
        (r#""\ud800":"\udc00","n":1e999,"#, None, None),
    ];
    for (members, generation, write_id) in table {
        let index = Index::build(format!(r#"{{{members}"keys":[]}}"#).as_bytes()).unwrap();
        assert_eq!(
            (index.generation(), index.write_id()),
            (generation, write_id),
            "{members}"
        );
    }
}

#[test]
fn of_a_repeated_list_of_keys_the_last_counts() {
    let (first, second) = (key("key_1", "sec_1"), key("key_2", "sec_2"));
    let index = Index::build(format!(r#"{{"keys":[{first},7],"\u006beys":[{second}]}}"#).as_bytes()).unwrap();
    assert_eq!(
        (holder(&index, "sec_1"), holder(&index, "sec_2")),
        (None, Some("key_2"))
    );
    assert_eq!(
        (index.keys_count(), index.bad_records_count(), index.plaintext_count()),
        (1, 0, 1)
    );
    let list_then_none = format!(r#"{{"keys":[{first}],"keys":7}}"#);
    assert_eq!(
        Index::build(list_then_none.as_bytes()).err(),
        Some(DocumentError::NoKeys)
    );
}

#[test]
fn a_bad_record_is_denied_and_named_and_the_others_work() {
    let bad = r#"{"id":"key_bad","name":"n","secret":"sec_bad","expires_at":"soon"}"#;
    let index = build(&[&key("key_1", "sec_1"), bad, &key("key_2", "sec_2")]);
    assert_eq!(holder(&index, "sec_bad"), None);
    assert_eq!(
        (holder(&index, "sec_1"), holder(&index, "sec_2")),
        (Some("key_1"), Some("key_2"))
    );
    assert_eq!(index.keys_count(), 2);
    assert_eq!(denied(&index), [(1, Some("key_bad"), Defect::BadExpiry)]);
    assert_eq!(index.plaintext_count(), 3);
}

#[test]
fn elements_that_are_no_objects_are_bad_records_among_good_ones() {
    for odd in ["null", "7", "1e999", r#""key_1""#, r#""\ud800""#, "[[]]", "true"] {
        let index = build(&[&key("key_1", "sec_1"), odd, &key("key_2", "sec_2")]);
        assert_eq!(
            (index.keys_count(), holder(&index, "sec_2")),
            (2, Some("key_2")),
            "{odd}"
        );
        assert_eq!(denied(&index), [(1, None, Defect::NotAnObject)], "{odd}");
    }
}

#[test]
fn a_member_name_that_cannot_be_decoded_spoils_nothing() {
    let index = build(&[
        r#"{"\ud800":1,"id":"key_1","name":"n","secret":"sec_1"}"#,
        &key("key_2", "sec_2"),
    ]);
    assert_eq!(
        (holder(&index, "sec_1"), holder(&index, "sec_2")),
        (Some("key_1"), Some("key_2"))
    );
}

#[test]
fn a_list_beside_the_keys_is_no_list_of_keys() {
    let keys = format!(r#""keys":[{}]"#, key("key_1", "sec_1"));
    let other = format!(r#""others":[{}]"#, key("key_2", "sec_2"));
    for json in [format!("{{{keys},{other}}}"), format!("{{{other},{keys}}}")] {
        let index = Index::build(json.as_bytes()).unwrap();
        let holders = (holder(&index, "sec_1"), holder(&index, "sec_2"));
        assert_eq!((index.keys_count(), holders), (1, (Some("key_1"), None)), "{json}");
    }
}

#[test]
fn every_holder_of_a_shared_id_is_denied() {
    let index = build(&[
        &key("key_1", "sec_1"),
        &key("key_2", "sec_2"),
        &key(r"key\u005f1", "sec_3"),
        &key("key_1", "sec_4"),
    ]);
    let secrets = ["sec_1", "sec_2", "sec_3", "sec_4"].map(|secret| holder(&index, secret));
    assert_eq!(secrets, [None, Some("key_2"), None, None]);
    assert_eq!(index.keys_count(), 1);
    assert_eq!(
        denied(&index),
        [0, 2, 3].map(|position| (position, Some("key_1"), Defect::DuplicateId))
    );
}

#[test]
fn every_holder_of_a_shared_secret_is_denied() {
    let stored = format!(r#"{{"id":"key_3","name":"n","secret_hash":"{}"}}"#, Digest::of("sec_1"));
    let index = build(&[&key("key_1", "sec_1"), &key("key_2", "sec_2"), &stored]);
    assert_eq!(
        (holder(&index, "sec_1"), holder(&index, "sec_2")),
        (None, Some("key_2"))
    );
    assert_eq!(index.keys_count(), 1);
    let expected = [
        (0, Some("key_1"), Defect::DuplicateSecret),
        (2, Some("key_3"), Defect::DuplicateSecret),
    ];
    assert_eq!(denied(&index), expected);
}

#[test]
fn a_record_that_shares_both_is_named_once() {
    let index = build(&[&key("key_1", "sec_1"), &key("key_1", "sec_1")]);
    assert_eq!((index.keys_count(), index.bad_records_count()), (0, 2));
    assert_eq!(
        denied(&index),
        [0, 1].map(|position| (position, Some("key_1"), Defect::DuplicateId))
    );
}

#[test]
fn what_a_bad_record_claims_nobody_else_may_have() {
    let (same_id, same_secret) = (key("key_bad", "sec_1"), key("key_2", "sec_bad"));
    let bad = r#"{"id":"key_bad","name":"n","secret":"sec_bad","is_active":"no"}"#;
    for order in [[bad, &same_id, &same_secret], [&same_id, &same_secret, bad]] {
        let index = build(&order);
        assert_eq!(index.keys_count(), 0);
        assert_eq!((holder(&index, "sec_1"), holder(&index, "sec_bad")), (None, None));
        let mut defects: Vec<_> = index.bad_records().iter().map(|bad| bad.defect.word()).collect();
        defects.sort_unstable();
        assert_eq!(defects, ["bad_revocation", "duplicate_id", "duplicate_secret"]);
    }
}

#[test]
fn both_digests_of_a_record_that_disagrees_with_itself_are_denied() {
    let differ = format!(
        r#"{{"id":"key_1","name":"n","secret":"sec_1","secret_hash":"{}"}}"#,
        Digest::of("sec_2")
    );
    let index = build(&[&differ, &key("key_2", "sec_2"), &key("key_3", "sec_1")]);
    assert_eq!(index.keys_count(), 0);
    assert_eq!((holder(&index, "sec_1"), holder(&index, "sec_2")), (None, None));
}

#[test]
fn the_list_of_bad_records_is_capped_and_their_count_exact() {
    let mut records: Vec<_> = (0..MAX_BAD_RECORDS).map(|_| key("key_1", "sec_1")).collect();
    records.extend((0..MAX_BAD_RECORDS).map(|n| format!(r#"{{"id":"bad_{n}"}}"#)));
    records.rotate_left(1);
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let index = build(&records);
    assert_eq!(index.bad_records_count(), 2 * MAX_BAD_RECORDS);
    let positions: Vec<_> = index.bad_records().iter().map(|bad| bad.position).collect();
    assert_eq!(positions, (0..MAX_BAD_RECORDS).collect::<Vec<_>>());
}

#[test]
fn ids_of_one_hash_are_told_apart() {
    assert_eq!(text::hash("key_4480"), text::hash("key_51841"));
    let bad = r#"{"id":"key_51841","name":7}"#;
    let index = build(&[
        &key("key_51841", "sec_1"),
        &key("key_4480", "sec_2"),
        &key("a", "sec_3"),
        bad,
    ]);
    let holders = ["sec_1", "sec_2", "sec_3"].map(|secret| holder(&index, secret));
    assert_eq!(holders, [None, Some("key_4480"), Some("a")]);
    let index = build(&[
        &key("key_51841", "sec_1"),
        &key("key_4480", "sec_2"),
        &key("key_51841", "sec_3"),
    ]);
    let holders = ["sec_1", "sec_2", "sec_3"].map(|secret| holder(&index, secret));
    assert_eq!(holders, [None, Some("key_4480"), None]);
}

#[test]
fn a_key_that_has_expired_is_to_be_retired_once() {
    let expiring = r#"{"id":"key_1","name":"n","secret":"sec_1","expires_at":"2024-01-20T10:30:00Z"}"#;
    let inactive = expiring.replace(r#""name""#, r#""is_active":false,"name""#);
    let end = 1_705_746_600_000;
    for (record, until, expected) in [
        (expiring, end - 1, false),
        (expiring, end, true),
        (expiring, end + 1, true),
        (&inactive, end + 1, false),
        (&key("key_1", "sec_1"), i64::MAX - 1, false),
    ] {
        let index = build(&[record, &key("key_2", "sec_2")]);
        assert_eq!(
            index.has_expired_by(Timestamp::from_millis(until)),
            expected,
            "{record} {until}"
        );
    }
}

#[test]
fn who_may_wait_finds_the_digest_of_a_secret_that_is_known_by_bcrypt() {
    let hash = bcrypt::hash_with_salt("hk_live_abcdef", 4, [7; 16]).unwrap();
    let hash = hash.format_for_version(bcrypt::Version::TwoB);
    let record = format!(r#"{{"id":"a","name":"A","secret_hash":"{hash}","key_prefix":"hk_live_abc"}}"#);
    let index = build(&[&imported("b", 1, "hk_live_ab"), &record, &key("c", "hk_live_abcd")]);
    let holder = |secret: &str| index.find(&index.digest_by_trial(secret)).map(|entry| entry.id);
    assert_eq!(holder("hk_live_abcdef"), Some("a"));
    assert_eq!(holder("hk_live_abcd"), Some("c"));
    assert_eq!(index.digest_by_trial("hk_live_abcdeg"), Digest::of("hk_live_abcdeg"));
}

/// A key with an earlier secret.
fn rotated(id: &str, secret: &str, previous: &str) -> String {
    let (digest, previous) = (Digest::of(secret), Digest::of(previous));
    format!(
        r#"{{"id":"{id}","name":"n","secret_hash":"{digest}","previous":[{{"secret_hash":"{previous}","not_after":"2024-01-20T10:30:00Z"}}]}}"#
    )
}

#[test]
fn an_earlier_secret_leads_to_the_same_key_and_says_until_when() {
    let index = build(&[
        &key("key_1", "sec_1"),
        &rotated("key_2", "sec_2", "sec_old"),
        &key("key_3", "sec_3"),
    ]);
    let found = |secret: &str| {
        index
            .find(&Digest::of(secret))
            .map(|entry| (entry.id, entry.previous_until))
    };
    assert_eq!(found("sec_2"), Some(("key_2", None)));
    assert_eq!(
        found("sec_old"),
        Some(("key_2", Some(Timestamp::from_millis(1_705_746_600_000))))
    );
    assert_eq!((index.keys_count(), index.bad_records_count()), (3, 0));
}

#[test]
fn an_earlier_secret_is_nobody_elses() {
    let (first, second) = (
        rotated("key_1", "sec_1", "sec_old"),
        rotated("key_2", "sec_2", "sec_old"),
    );
    let (current, bystander) = (key("key_3", "sec_old"), rotated("key_4", "sec_4", "sec_older"));
    for records in [
        [&first, &second, &bystander],
        [&first, &current, &bystander],
        [&current, &bystander, &first],
    ] {
        let index = build(&records.map(String::as_str));
        let good: Vec<_> = ["sec_1", "sec_2", "sec_old", "sec_4", "sec_older"]
            .iter()
            .filter_map(|secret| holder(&index, secret))
            .collect();
        assert_eq!(good, ["key_4", "key_4"]);
        assert_eq!((index.keys_count(), index.bad_records_count()), (1, 2));
        assert!(
            index
                .bad_records()
                .iter()
                .all(|bad| bad.defect == Defect::DuplicateSecret)
        );
    }
}

#[test]
fn what_a_bad_record_had_as_its_secret_before_nobody_else_may_have() {
    let bad = rotated("key_bad", "sec_bad", "sec_old").replace(r#""name":"n""#, r#""name":7"#);
    for claimed in ["sec_bad", "sec_old"] {
        let index = build(&[&bad, &key("key_2", claimed)]);
        assert_eq!((holder(&index, claimed), index.keys_count()), (None, 0));
    }
}

#[test]
fn a_record_that_lists_one_secret_twice_is_a_key() {
    let index = build(&[&rotated("key_1", "sec_1", "sec_1")]);
    let entry = index.find(&Digest::of("sec_1")).unwrap();
    assert_eq!((entry.id, entry.previous_until), ("key_1", None));
}

#[test]
fn the_policy_of_each_key_is_its_own() {
    let owned =
        r#"{"id":"key_1","name":"n","secret":"sec_1","user_id":"u\"1","key_prefix":"hk_live_abc","scopes":["a"]}"#;
    let operators =
        r#"{"id":"key_2","name":"n","secret":"sec_2","environment":"test","scopes":["a"],"is_active":false}"#;
    let index = build(&[owned, operators, &key("key_3", "sec_3")]);
    let entry = |secret: &str| index.find(&Digest::of(secret)).unwrap();
    let policy = entry("sec_1").policy.unwrap();
    assert_eq!(
        (policy.user_id, policy.key_prefix),
        (Some(r#"u\"1"#), Some("hk_live_abc"))
    );
    assert_eq!(policy.rate_limit_per_hour(), Some(1000));
    let policy = entry("sec_2").policy.unwrap();
    assert_eq!(
        (policy.user_id, policy.key_prefix, policy.rate_limit_per_hour()),
        (None, None, None)
    );
    assert_eq!((entry("sec_2").id, entry("sec_2").revoked), ("key_2", true));
    assert!(entry("sec_3").policy.is_none());
}

#[test]
fn a_key_without_a_policy_takes_no_more_room_for_being_able_to_have_one() {
    let index = build(&[&key("key_0001vDmowdgLBqEcDYe", "sec_1")]);
    let texts = "key_0001vDmowdgLBqEcDYe".len() + "Name of key_0001vDmowdgLBqEcDYe".len() + "{}".len();
    // A length before each.
    assert_eq!(index.texts.resident_bytes(), texts + 3);
    assert_eq!(index.terms.resident_bytes() + index.previous.capacity(), 0);
}

#[test]
fn imported_keys_with_the_same_prefix_share_its_room_alone() {
    let index = build(
        &[imported("a", 1, "hk_live_a"), imported("b", 2, "hk_live_a")]
            .each_ref()
            .map(String::as_str),
    );
    let prefix = size_of::<Box<str>>() + size_of::<Vec<Candidate>>() + "hk_live_a".len();
    assert_eq!(
        index.imported.resident_bytes(),
        prefix + 2 * (size_of::<Candidate>() + 60)
    );
}

#[test]
fn keys_with_the_same_terms_share_them() {
    let record = |n: usize| {
        format!(
            r#"{{"id":"key_{n}","name":"n","secret":"sec_{n}","user_id":"user_{n}","environment":"production","scopes":["orders:write","users:read"],"allowed_ips":["10.0.0.0/8","2001:db8::/32"]}}"#
        )
    };
    let records: Vec<_> = (0..1000).map(record).collect();
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let index = build(&records);
    assert_eq!(index.keys_count(), 1000);
    assert!(index.resident_bytes() < 90 * 1000, "{} bytes", index.resident_bytes());
    assert!(
        index.terms.resident_bytes() < 300,
        "{} bytes",
        index.terms.resident_bytes()
    );
}

/// The members that a record of some kind has, by its number.
type MembersOf<'a> = &'a dyn Fn(usize) -> String;

#[test]
fn the_memory_that_is_told_is_that_of_all_that_is_held() {
    const COUNT: usize = 896;
    let list = |count: usize, item: MembersOf| (0..count).map(item).collect::<Vec<_>>().join(",");
    // Its number in the table, its record, and its id, name and their lengths.
    let plain = 4 + size_of::<Record>() + 11;
    let terms = size_of::<crate::core::policy::Terms>() + size_of::<Box<str>>();
    let scope = size_of::<crate::core::scope::Scope<'_>>();
    let limit = size_of::<crate::core::window::Limit>();
    let candidate = size_of::<Candidate>() + size_of::<Box<str>>() + size_of::<Vec<Candidate>>();
    let kinds: [(&str, usize, MembersOf); 7] = [
        ("plain", 0, &|_| String::new()),
        ("metadata", 300, &|n| format!(r#","metadata":{{"{n:0>293}":1}}"#)),
        ("previous", 4 + size_of::<PreviousSecret>(), &|n| {
            let digest = Digest::of(&format!("old_{n}"));
            format!(r#","previous":[{{"secret_hash":"{digest}","not_after":"2024-01-20"}}]"#)
        }),
        // Each stands in an answer, too, as a key_prefix stands beside the key.
        ("scopes", terms + 20 * (scope + 2 * 30), &|n| {
            format!(r#","scopes":[{}]"#, list(20, &|m| format!(r#""{:0>30}""#, n * 100 + m)))
        }),
        ("limits", terms + 10 * (limit + 40), &|n| {
            let limit = |m| format!(r#"{{"name":"{:0>40}","limit":1,"window_seconds":1}}"#, n * 100 + m);
            format!(r#","limits":[{}]"#, list(10, &limit))
        }),
        ("networks", terms + 20 * 17, &|n| {
            format!(
                r#","allowed_ips":[{}]"#,
                list(20, &|m| format!(r#""2001:db8::{n}:{m}""#))
            )
        }),
        ("imported", candidate + 60 + 2 * 64, &|n| {
            let salt = format!("{n:0>20}");
            format!(
                r#","secret_hash":"$2b$04${salt}..{}e","key_prefix":"{n:0>64}""#,
                "e".repeat(30)
            )
        }),
    ];
    for (kind, more, members) in kinds {
        let record = |n: usize| {
            let secret = if kind == "imported" {
                String::new()
            } else {
                format!(r#","secret":"sec_{n}""#)
            };
            format!(r#"{{"id":"key_{n:04}","name":"n"{secret}{}}}"#, members(n))
        };
        let records: Vec<_> = (0..COUNT).map(record).collect();
        let records: Vec<_> = records.iter().map(String::as_str).collect();
        let index = build(&records);
        assert_eq!((index.keys_count(), denied(&index)), (COUNT, vec![]), "{kind}");
        let (least, told) = (COUNT * (plain + more), index.resident_bytes());
        assert!((least..least + least / 4).contains(&told), "{kind}: {least} {told}");
    }
}

#[test]
fn keys_with_the_same_metadata_share_it() {
    let record = |n: usize| {
        format!(
            r#"{{"id":"key_{n}","name":"n","secret":"sec_{n}","metadata":{{"plan":"{:0>99}"}}}}"#,
            1
        )
    };
    let records: Vec<_> = (0..1000).map(record).collect();
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let index = build(&records);
    assert_eq!(index.keys_count(), 1000);
    assert!(index.resident_bytes() < 80 * 1000, "{} bytes", index.resident_bytes());
}

/// A key as a tree of the document says it is: id, metadata, expiry, revoked.
type Known = (String, Value, Option<i64>, bool);

/// What a tree of one record says: its key, or why it is none.
fn by_tree(record: &Value) -> Result<Known, Defect> {
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    let member = |name: &str| record.get(name).filter(|value| !value.is_null());
    let check = |holds: bool, defect| if holds { Ok(()) } else { Err(defect) };
    check(record.is_object(), Defect::NotAnObject)?;
    let id = text("id").filter(|id| !id.is_empty()).ok_or(Defect::BadId)?;
    check(text("name").is_some(), Defect::BadName)?;
    check(
        member("secret").is_some() || member("secret_hash").is_some(),
        Defect::NoSecret,
    )?;
    check(
        member("secret").is_none_or(|secret| secret.is_string() && secret != ""),
        Defect::BadSecret,
    )?;
    check(
        member("secret_hash").is_none() || stored(record).is_some(),
        Defect::BadDigest,
    )?;
    check(
        digests(record).windows(2).all(|pair| pair[0] == pair[1]),
        Defect::SecretAndDigestDiffer,
    )?;
    check(
        member("secret_type").is_none_or(|word| word == "shared_secret"),
        Defect::UnknownSecretType,
    )?;
    let expires_at = match member("expires_at") {
        None => None,
        Some(date) if date == "2024-01-20T10:30:00Z" => Some(1_705_746_600_000),
        Some(_) => return Err(Defect::BadExpiry),
    };
    check(member("is_active").is_none_or(Value::is_boolean), Defect::BadRevocation)?;
    check(member("revoked_at").is_none_or(Value::is_string), Defect::BadRevocation)?;
    let revoked = member("is_active") == Some(&json!(false)) || member("revoked_at").is_some();
    check(member("metadata").is_none_or(Value::is_object), Defect::BadMetadata)?;
    Ok((
        id.to_owned(),
        member("metadata").cloned().unwrap_or(json!({})),
        expires_at,
        revoked,
    ))
}

fn stored(record: &Value) -> Option<Digest> {
    record.get("secret_hash")?.as_str()?.parse().ok()
}

fn digests(record: &Value) -> Vec<Digest> {
    let secret = record
        .get("secret")
        .and_then(Value::as_str)
        .filter(|secret| !secret.is_empty());
    secret.map(Digest::of).into_iter().chain(stored(record)).collect()
}

fn record() -> impl Strategy<Value = Value> {
    let text = "[a-d\\\\\"é\n]{1,2}";
    let good = (text, "[a-z\t\"]{0,4}", 0..40_u8, any::<[bool; 2]>()).prop_map(|(id, name, n, [plain, hashed])| {
        let secret = format!("sec_{n}");
        let mut record = json!({"id": id, "name": name});
        if plain || !hashed {
            record["secret"] = json!(secret);
        }
        if hashed {
            record["secret_hash"] = json!(Digest::of(&secret).to_string());
        }
        record
    });
    let change = prop_oneof![
        Just(json!({})),
        Just(json!({"metadata": {"a b": [1.5, " x "], "c": {}}, "expires_at": "2024-01-20T10:30:00Z"})),
        Just(json!({"is_active": false, "updated_at": null, "created_at": 7})),
        Just(json!({"revoked_at": "x", "is_active": true, "metadata": null})),
        Just(json!({"user_id": "é\n", "environment": "test", "scopes": ["a:b"], "is_active": false})),
        Just(json!({"allowed_ips": ["10.0.0.0/8"], "limits": [{"name": "day", "limit": 1, "window_seconds": 60}]})),
        prop_oneof![
            Just(json!({"id": ""})),
            Just(json!({"name": 7})),
            Just(json!({"secret": ""})),
            Just(json!({"secret": null, "secret_hash": null})),
            Just(json!({"secret_hash": "sha256:00"})),
            Just(json!({"secret": "sec_1", "secret_hash": Digest::of("sec_2").to_string()})),
            Just(json!({"secret_type": "other"})),
            Just(json!({"expires_at": ""})),
            Just(json!({"is_active": "false"})),
            Just(json!({"revoked_at": 7})),
            Just(json!({"metadata": []})),
        ],
    ];
    let object = (good, change).prop_map(|(mut record, change)| {
        let members = change.as_object().unwrap().clone();
        record.as_object_mut().unwrap().extend(members);
        record
    });
    prop_oneof![40 => object, 1 => Just(json!(null)), 1 => Just(json!([{"id": "a"}]))]
}

proptest! {
    #[test]
    fn an_index_says_what_a_tree_of_the_document_says(records in proptest::collection::vec(record(), 0..24), spaced: bool) {
        let document = json!({"generation": 3, "keys": records});
        let json = if spaced { format!("{document:#}") } else { document.to_string() };
        let index = Index::build(json.as_bytes()).unwrap();

        let mut ids = HashMap::new();
        let mut claims = HashMap::new();
        for (position, record) in records.iter().enumerate() {
            *ids.entry(record.get("id").and_then(Value::as_str)).or_insert(0) += 1;
            let mut own = digests(record);
            own.dedup();
            for digest in own {
                claims.entry(digest).or_insert_with(Vec::new).push(position);
            }
        }
        let verdicts: Vec<_> = records.iter().map(|record| match by_tree(record) {
            Ok((id, ..)) if ids[&Some(id.as_str())] > 1 => Err(Defect::DuplicateId),
            Ok(_) if claims[&digests(record)[0]].len() > 1 => Err(Defect::DuplicateSecret),
            verdict => verdict,
        }).collect();

        let id = |position: usize| records[position].get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let bad = verdicts.iter().enumerate().filter_map(|(position, verdict)| Some((position, id(position), *verdict.as_ref().err()?)));
        prop_assert_eq!(denied(&index), bad.collect::<Vec<_>>());
        prop_assert_eq!(index.keys_count(), verdicts.iter().filter(|verdict| verdict.is_ok()).count());
        prop_assert_eq!(index.bad_records_count() + index.keys_count(), records.len());
        let plaintext = records.iter().filter(|record| record.get("secret").and_then(Value::as_str).is_some_and(|s| !s.is_empty()));
        prop_assert_eq!(index.plaintext_count(), plaintext.count());
        prop_assert!(index.texts.resident_bytes() <= json.len());

        for (digest, holders) in &claims {
            let expected = holders.iter().find_map(|&position| Some((position, verdicts[position].as_ref().ok()?)));
            let found = index.find(digest);
            prop_assert_eq!(found.is_some(), expected.is_some());
            if let (Some(found), Some((position, (id, metadata, expires_at, revoked)))) = (found, expected) {
                let decode = |inside: &str| serde_json::from_str::<String>(&format!("\"{inside}\"")).unwrap();
                prop_assert_eq!(&decode(found.id), id);
                prop_assert_eq!(&json!(decode(found.name)), &records[position]["name"]);
                prop_assert_eq!(found.metadata, metadata.to_string());
                prop_assert_eq!(found.expires_at.map(Timestamp::as_millis), *expires_at);
                prop_assert_eq!(found.revoked, *revoked);
            }
        }
    }

    #[test]
    fn a_document_that_arrives_in_pieces_is_the_same_document(
        records in proptest::collection::vec(record(), 0..6), changed_at: prop::sample::Index, byte: u8, piece in 1..40_usize,
    ) {
        let mut json = json!({"é": [1.5e3, "\\u00e9"], "keys": records, "generation": 12}).to_string().into_bytes();
        let at = changed_at.index(json.len() * 2);
        if let Some(changed) = json.get_mut(at) {
            *changed = byte;
        }
        let mut arriving = Arriving::default();
        json.chunks(piece).for_each(|piece| arriving.take(piece));
        let (whole, pieces) = (Index::build(&json), arriving.finish(|| ()));
        prop_assert_eq!(whole.as_ref().err(), pieces.as_ref().err());
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            prop_assert_eq!((whole.keys_count(), whole.generation()), (pieces.keys_count(), pieces.generation()));
            prop_assert_eq!(denied(&whole), denied(&pieces));
            prop_assert_eq!(whole.texts.all(), pieces.texts.all());
        }
    }

    #[test]
    fn a_cut_or_changed_document_is_read_without_a_panic(records in proptest::collection::vec(record(), 0..4), at: prop::sample::Index, byte: u8) {
        let mut json = json!({"keys": records}).to_string().into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        let _ = Index::build(&json);
        prop_assert!(Index::build(&json[..at]).is_err());
    }
}
