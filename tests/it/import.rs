//! `import` and `export`: the plan, the question, the one write, and the way back.

use std::{fmt::Write as _, os::unix::fs::PermissionsExt, process::Command};

use serde_json::{Value, json};

use crate::{
    cli::{Said, create, run, run_with_input, stored},
    support::{
        documents::{document, refusal, secret_of},
        service::Settings,
    },
};

const HASH_OF_PLAIN: &str = "ec1a12e92a8d0ce2df6eb0e57ee87c6bb6fe6f33b47f5bb6d0a8b4f6f5bbbb51";

fn put(settings: &Settings, name: &str, text: &str) -> String {
    let path = settings.home().join(name);
    std::fs::write(&path, text).expect("the home can be written to");
    path.to_str().expect("temporary paths are UTF-8").to_owned()
}

fn plan_of(settings: &Settings, file: &str) -> Value {
    let said = run(settings, &["import", file, "--dry-run", "--json"]);
    let mut plan = said.json();
    plan["code"] = json!(said.code);
    plan
}

fn generation(settings: &Settings) -> u64 {
    let stored: Value = serde_json::from_str(&stored(settings)).expect("JSON");
    stored["generation"].as_u64().expect("a number")
}

#[test]
fn an_import_shows_its_plan_asks_and_writes_once() {
    let settings = Settings::file_store();
    settings.write_document(&document(7, &["key_a"]));
    let service = settings.start_ready();
    let bcrypt = bcrypt::hash("hk_live_abc-bcrypt", 4).expect("the cost is allowed");
    let file = put(
        &settings,
        "keys.csv",
        &format!(
            "id,name,secret,key_hash,key_prefix\nkey_p,Plain,my-plain-secret,,\nkey_d,Digest,,{HASH_OF_PLAIN},\nkey_b,Bcrypt,,{bcrypt},hk_live_abc...\n"
        ),
    );
    let plan = "  new          3\n  identical    0\n  conflicting  0\n  invalid      0\n";
    let said: Said = run_with_input(&settings, &["import", &file, "--no-refresh"], "n\n").done();
    assert!(
        said.stdout.ends_with(&format!("keys.json:\n{plan}Cancelled.\n")),
        "{}",
        said.stdout
    );
    assert_eq!(said.stderr, "Import 3 keys? [y/N]: ");
    assert_eq!(generation(&settings), 7);

    let said: Said = {
        let refresh = service.url("/refresh");
        run_with_input(&settings, &["import", &file, "--refresh-url", &refresh], "y\n").done()
    };
    assert!(
        said.stdout.ends_with(&format!(
            "{plan}✓ Imported 3 keys, 4 in all.\n✓ Service refreshed - 4 keys loaded\n"
        )),
        "{}",
        said.stdout
    );
    assert!(
        said.stderr
            .ends_with("1 secret that was stored as plaintext is now stored as a digest\n")
    );
    assert_eq!(generation(&settings), 8);
    let text = stored(&settings);
    assert!(
        !text.contains("my-plain-secret") && !text.contains(&secret_of("key_a")),
        "{text}"
    );
    for (secret, id) in [
        ("my-plain-secret", "key_p"),
        ("hk_live_abc-bcrypt", "key_b"),
        (&secret_of("key_a"), "key_a"),
    ] {
        assert_eq!(service.verify(secret).1["key_id"], id);
    }
    assert_eq!(service.verify(HASH_OF_PLAIN), refusal("invalid"));

    let said = run(&settings, &["import", &file, "--yes", "--no-refresh"]).done();
    assert!(
        said.stdout
            .ends_with("  identical    3\n  conflicting  0\n  invalid      0\n✓ Nothing to import.\n"),
        "{}",
        said.stdout
    );
    assert_eq!(generation(&settings), 8, "nothing new, nothing written");
}

#[test]
fn a_dry_run_names_what_is_in_the_way_by_its_line_and_writes_nothing() {
    let settings = Settings::file_store();
    settings.write_document(&document(1, &["key_a", "key_b"]));
    let before = stored(&settings);
    let file = put(
        &settings,
        "keys.json",
        &format!(
            "{{\"keys\":[\n{{\"id\":\"key_a\",\"name\":\"Name of key_a\",\"secret\":\"{}\",\"secret_type\":\"shared_secret\",\n\"created_at\":\"2024-01-20T10:30:00.123456Z\",\"metadata\":{{\"of\":\"key_a\"}}}},\n{{\"id\":\"key_b\",\"name\":\"Other\",\"secret\":\"private-1\"}},\n{{\"id\":\"key_c\",\"name\":\"C\",\"secret\":\"private-2\"}},\n{{\"id\":\"key_d\",\"name\":\"D\",\"secret\":\"private-2\"}},\n{{\"id\":\"key_e\",\"name\":\"E\",\"secret\":\"private-3\",\"expires_at\":\"soon\"}},\n\"private-4\"]}}",
            secret_of("key_a")
        ),
    );
    let plan = plan_of(&settings, &file);
    assert_eq!(
        (&plan["new"], &plan["identical"], &plan["code"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let conflicting = json!([
        {"line": 4, "id": "key_b", "reason": "the stored key with this id differs in name, secret_hash, created_at, metadata"},
        {"line": 6, "id": "key_d", "reason": "line 5 has the same secret"},
    ]);
    assert_eq!(plan["conflicting"], conflicting);
    let invalid = json!([
        {"line": 7, "id": null, "reason": "bad_expiry"},
        {"line": 8, "id": null, "reason": "not_an_object"},
    ]);
    assert_eq!(plan["invalid"], invalid);

    for arguments in [
        &["import", &file, "--yes", "--no-refresh"] as &[&str],
        &["import", &file, "--dry-run"],
    ] {
        let said = run(&settings, arguments);
        assert_eq!(said.code, Some(1));
        assert!(
            said.stdout.contains("    line 6: key_d: line 5 has the same secret\n"),
            "{}",
            said.stdout
        );
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("private-"));
    }
    assert_eq!(stored(&settings), before);
}

#[test]
fn a_file_that_is_no_list_of_keys_is_refused_without_repeating_it() {
    let settings = Settings::file_store();
    for (text, sentence) in [
        ("", "Error: the file has no list of keys; nothing was imported"),
        (
            "name,sec_x\n",
            "Error: column 2 of the first line has no name that is known; the columns are in 'heare-auth import --help'; nothing was imported",
        ),
        (
            "name,secret\nA,\"sec_x",
            "Error: a quotation mark in line 2 is not closed or has text behind it; nothing was imported",
        ),
        (
            "[{\"secret\":\n\"sec_x\",}]",
            "Error: line 2 is not JSON; nothing was imported",
        ),
    ] {
        let file = put(&settings, "keys", text);
        let said = run(&settings, &["import", &file, "--yes", "--no-refresh"]).failed(1, sentence);
        assert!(!said.stderr.contains("sec_x"), "{}", said.stderr);
    }
    run(&settings, &["import", "/nowhere/keys.csv", "--yes"])
        .failed(1, "Error: the file cannot be read: entity not found");
    run(&settings, &["import", "-"]).failed(2, "Error: keys from standard input need --yes or --dry-run");
    run(&settings, &["import"]).failed(2, "Error: FILE is missing");
    run(&settings, &["import", "a", "--format", "xml"]).failed(2, "Error: --format must be json or csv");
    assert!(!settings.data_dir().exists(), "nothing was stored");
}

#[test]
fn keys_come_from_standard_input_too_and_get_ids_where_they_have_none() {
    let settings = Settings::file_store();
    let rows = "name,secret\nA,secret-of-a\nB,secret-of-b\n";
    let arguments = ["import", "-", "--yes", "--no-refresh", "--json"];
    let report = run_with_input(&settings, &arguments, rows).done().json();
    assert_eq!(
        (&report["imported"], &report["total"], &report["generation"]),
        (&json!(2), &json!(2), &json!(1))
    );
    let keys = run(&settings, &["list", "--json"]).done().json();
    assert!(
        keys["keys"][1]["id"].as_str().expect("an id").starts_with("key_0"),
        "{keys}"
    );
    let again = run_with_input(&settings, &arguments, rows).done().json();
    assert_eq!(
        (&again["new"], &again["identical"], &again["imported"]),
        (&json!(0), &json!(2), &json!(0))
    );
}

#[test]
fn fifty_thousand_keys_are_one_write_with_a_progress_bar() {
    let settings = Settings::file_store();
    settings.write_document(&document(1, &["key_a"]));
    let mut rows = "id,name,secret_hash\n".to_owned();
    for number in 0..50_000 {
        writeln!(rows, "key_{number},Key {number},{number:064x}").expect("a String takes everything");
    }
    let file = put(&settings, "keys.csv", &rows);
    // A terminal of its own, on which everything the command says is seen.
    let mut command = Command::new("python3");
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let own = settings.command(&["import", &file, "--yes", "--no-refresh"]);
    command.args(["-c", spawn]).arg(own.get_program()).args(own.get_args());
    command
        .envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(settings.home());
    let output = command.output().expect("python3 runs");
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{seen}");
    for part in [
        "\rreading keys [----",
        "  0% of 50000",
        "] 100% of 50000",
        "new          50000",
        "Imported 50000 keys, 50001 in all",
    ] {
        assert!(seen.contains(part), "{part}: {}", &seen[..seen.len().min(2000)]);
    }
    assert_eq!(generation(&settings), 2);
    assert_eq!(stored(&settings).matches("\"id\":").count(), 50_001);
    let quiet = run(&settings, &["import", &file, "--dry-run"]).done();
    assert_eq!(quiet.stderr, "", "no bar where nobody looks");
    assert!(quiet.stdout.contains("identical    50000"));
}

#[test]
fn imports_at_the_same_time_lose_nothing() {
    let settings = Settings::file_store();
    let files: Vec<String> = (0..4)
        .map(|number| {
            let row = |row| format!("key_{number}_{row},N,secret-{number}-{row}\n");
            let rows = (0..50).map(row).collect::<Vec<_>>().concat();
            put(
                &settings,
                &format!("keys-{number}.csv"),
                &format!("id,name,secret\n{rows}"),
            )
        })
        .collect();
    std::thread::scope(|scope| {
        for file in &files {
            scope.spawn(|| run(&settings, &["import", file, "--yes", "--no-refresh"]).done());
        }
    });
    assert_eq!(generation(&settings), 4);
    assert_eq!(run(&settings, &["list", "--json"]).done().json()["total"], 200);
}

#[test]
fn what_is_exported_holds_no_secret_and_is_imported_as_it_was() {
    let settings = Settings::file_store();
    let bcrypt = bcrypt::hash("hk_live_abc-bcrypt", 4).expect("the cost is allowed");
    let mut keys: Value = serde_json::from_str(&document(3, &["key_a", "key_b"])).expect("JSON");
    keys["keys"][1]["own"] = json!({"deep": [1.50, "a\nb"]});
    keys["keys"][1]["name"] = json!("with \"quotes\", commas\nand lines");
    keys["keys"].as_array_mut().expect("a list").push(
        json!({"id": "key_i", "name": "I", "secret_hash": bcrypt, "key_prefix": "hk_live_abc", "scopes": ["a:b"], "is_active": false}),
    );
    settings.write_document(&keys.to_string());
    for format in ["json", "csv"] {
        let file = settings.home().join(format!("out.{format}"));
        let path = file.to_str().expect("UTF-8");
        let said = run(&settings, &["export", "--format", format, "--output", path]).done();
        assert_eq!(
            (said.stdout.as_str(), said.stderr.as_str()),
            ("", "✓ Exported 3 keys.\n")
        );
        let mode = std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let text = std::fs::read_to_string(&file).expect("text");
        assert!(!text.contains(&secret_of("key_a")), "{text}");
        assert_eq!(run(&settings, &["export", "--format", format]).done().stdout, text);

        let same = plan_of(&settings, path);
        assert_eq!((&same["identical"], &same["code"]), (&json!(3), &json!(0)), "{same}");
        let other = Settings::file_store();
        run(&other, &["import", path, "--yes", "--no-refresh"]).done();
        let secret = format!("{}\n", secret_of("key_b"));
        let verified = run_with_input(&other, &["verify", "--offline", "--json"], &secret)
            .done()
            .json();
        assert_eq!(
            (&verified["key_id"], &verified["metadata"]),
            (&json!("key_b"), &json!({"of": "key_b"}))
        );
        let again = run(&other, &["export"]).done().stdout;
        let back = plan_of(&settings, &put(&settings, "back.json", &again));
        assert_eq!(back["identical"], 3, "{back}");
    }
    assert_eq!(generation(&settings), 3, "to export is to look");
}

#[test]
fn a_secret_in_a_text_about_a_key_is_not_imported() {
    let settings = Settings::file_store();
    let key = create(&settings, "a");
    let secret = key["secret"].as_str().expect("a text");
    let rows = [
        json!({"id": "k1", "secret": "private-1", "name": "N", "metadata": {"note": secret}}),
        json!({"id": "k2", "secret": "private-2", "name": "N", "revoked_at": "2024-01-01", "revoke_reason": secret}),
    ];
    let file = put(&settings, "keys.json", &json!(rows).to_string());
    let plan = plan_of(&settings, &file);
    let reasons: Vec<_> = plan["invalid"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| &row["reason"])
        .collect();
    assert_eq!(
        json!(reasons),
        json!(["metadata looks like a secret", "revoke_reason looks like a secret"])
    );
    assert!(!plan.to_string().contains(secret));
}
