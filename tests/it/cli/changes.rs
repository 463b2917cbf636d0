//! `update`, `revoke`, `reactivate`, and the other names of commands.

use serde_json::{Value, json};

use super::{create, id_of, run, run_with_input, stored, stub::Stub};
use crate::support::service::Settings;

const REFRESHED: &str = r#"{"success":true,"keys_loaded":5,"timestamp":"2024-01-20T15:30:00Z"}"#;

fn show(settings: &Settings, id: &str) -> Value {
    run(settings, &["show", id, "--json"]).done().json()
}

fn verdict(settings: &Settings, key: &Value) -> String {
    let secret = key["secret"].as_str().expect("a secret is a text");
    run_with_input(settings, &["verify", "--offline"], secret).stdout
}

/// Runs a command on one key without calling a service.
fn change(settings: &Settings, arguments: &[&str]) -> super::Said {
    run(settings, &[arguments, &["--no-refresh"]].concat())
}

#[test]
fn a_revoked_key_says_why_and_is_refused_until_it_is_reactivated() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let id = id_of(&key);
    let said = change(&settings, &["revoke", id, "--reason", " laptop lost "]).done();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("✓ Revoked.\n", ""));
    assert_eq!(verdict(&settings, &key), "✗ Not valid: revoked\n");
    let shown = show(&settings, id);
    assert_eq!(
        (&shown["status"], &shown["revoke_reason"], &shown["is_active"]),
        (&json!("revoked"), &json!("laptop lost"), &json!(false))
    );
    let text = run(&settings, &["show", id]).done().stdout;
    let line = format!(
        "\nStatus:      revoked\nRevoked:     {} (laptop lost)\n",
        shown["revoked_at"].as_str().unwrap()
    );
    assert!(text.contains(&line), "{text}");

    let said = change(&settings, &["reactivate", id]).done();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("✓ Reactivated.\n", ""));
    assert!(verdict(&settings, &key).starts_with("✓ Valid\n"));
    let shown = show(&settings, id);
    assert_eq!((&shown["status"], &shown["revoked_at"]), (&json!("good"), &Value::Null));
}

#[test]
fn the_second_revocation_and_reactivation_succeed_and_write_nothing() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let id = id_of(&key);
    let first = change(&settings, &["revoke", id, "--reason", "first", "--json"])
        .done()
        .json();
    let after_first = stored(&settings);
    let second = change(&settings, &["revoke", id, "--reason", "second", "--json"])
        .done()
        .json();
    assert_eq!((&first["changed"], &second["changed"]), (&json!(true), &json!(false)));
    for member in ["id", "name", "revoked_at", "revoke_reason"] {
        assert_eq!(first[member], second[member], "{member}");
    }
    assert_eq!(second["revoke_reason"], "first");
    assert_eq!(stored(&settings), after_first);
    let said = change(&settings, &["revoke", id]).done();
    assert_eq!(
        said.stdout,
        "✓ The key is revoked already; the first time and reason stay.\n"
    );

    change(&settings, &["reactivate", id]).done();
    let after_first = stored(&settings);
    let said = change(&settings, &["reactivate", id]).done();
    assert_eq!(said.stdout, "✓ The key is active already.\n");
    assert_eq!(stored(&settings), after_first);
}

#[test]
fn every_change_tells_the_service_once() {
    let settings = Settings::file_store();
    let service = Stub::answering("200 OK", REFRESHED);
    let url = service.url("/refresh");
    let key = create(&settings, "reports");
    for (arguments, sentence) in [
        (&["revoke"] as &[&str], "✓ Revoked."),
        (&["reactivate"], "✓ Reactivated."),
        (&["update", "--name", "other"], "✓ Updated."),
        (
            &["update", "--name", "other"],
            "✓ Nothing to change: the key is like that already.",
        ),
    ] {
        let arguments = [arguments, &[id_of(&key), "--refresh-url", &url]].concat();
        let said = run(&settings, &arguments).done();
        assert_eq!(
            said.stdout,
            format!("{sentence}\n✓ Service refreshed - 5 keys loaded\n")
        );
    }
    assert_eq!(service.refreshes().len(), 4);
}

#[test]
fn an_expired_key_is_reactivated_only_after_its_end_was_moved() {
    let settings = Settings::file_store();
    let key = run(
        &settings,
        &[
            "create",
            "--name",
            "a",
            "--expires-at",
            "2020-01-01",
            "--no-refresh",
            "--json",
        ],
    )
    .done()
    .json();
    let id = id_of(&key);
    change(&settings, &["revoke", id]).done();
    let said = change(&settings, &["reactivate", id]).failed(1, "Error: the key has expired");
    assert!(
        said.stderr.contains("heare-auth update KEY_ID --expires-at DATE"),
        "{}",
        said.stderr
    );
    change(&settings, &["update", id, "--expires-in", "1day"]).done();
    assert_eq!(verdict(&settings, &key), "✗ Not valid: revoked\n");
    change(&settings, &["reactivate", id]).done();
    assert!(verdict(&settings, &key).starts_with("✓ Valid\n"));
}

#[test]
fn an_update_sets_clears_and_leaves_what_it_does_not_name() {
    let settings = Settings::file_store();
    let key = run(
        &settings,
        &[
            "create",
            "--name",
            "a",
            "--owner",
            "u",
            "--scope",
            "x",
            "--allow-ip",
            "192.0.2.1",
            "--burst",
            "5",
            "--metadata",
            r#"{"a":1}"#,
            "--expires-in",
            "1h",
            "--no-refresh",
            "--json",
        ],
    )
    .done()
    .json();
    let id = id_of(&key);
    let options = [
        "update",
        id,
        "--name",
        "b",
        "--scope",
        "orders:*",
        "--scope",
        "read",
        "--rate-limit",
        "7",
        "--limit",
        "minute=2/1m",
        "--clear",
        "allow-ip",
        "--clear=burst",
        "--clear=metadata",
        "--clear=expires-at",
        "--json",
    ];
    let updated = change(&settings, &options).done().json();
    assert_eq!(
        (
            &updated["id"],
            &updated["name"],
            &updated["changed"],
            &updated["refresh"]
        ),
        (&json!(id), &json!("b"), &json!(true), &Value::Null)
    );
    let shown = show(&settings, id);
    let expected = json!({
        "id": id, "name": "b", "secret_type": "shared_secret", "created_at": key["created_at"], "updated_at": shown["updated_at"],
        "expires_at": null, "metadata": {}, "status": "good", "defect": null, "plaintext": false, "user_id": "u",
        "environment": "production", "key_prefix": key["key_prefix"], "scopes": ["orders:*", "read"], "rate_limit_per_hour": 7,
        "limits": [{"name": "minute", "limit": 2, "window_seconds": 60}],
    });
    assert_eq!(shown, expected);
    assert!(shown["updated_at"].is_string());

    let before = stored(&settings);
    let again = change(&settings, &options).done().json();
    assert_eq!(again["changed"], false);
    assert_eq!(stored(&settings), before);
}

#[test]
fn a_wrong_update_changes_nothing() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let id = id_of(&key);
    let before = stored(&settings);
    let cases: [(&[&str], i32, &str); 11] = [
        (
            &[],
            2,
            "there is nothing to update: give an option that sets or --clear",
        ),
        (&["--name", ""], 2, "--name must have 1 to 255 characters"),
        (
            &["--scope", "a b"],
            2,
            "--scope must be words of A-Z a-z 0-9 . _ - / joined by ':', such as orders:write; a whole word may be *",
        ),
        (
            &["--rate-limit", "100001"],
            2,
            "--rate-limit must be a number from 1 to 100000",
        ),
        (
            &["--scope", "a", "--clear", "scope"],
            2,
            "--clear scope contradicts an option that sets it",
        ),
        (
            &["--clear", "name"],
            2,
            "--clear must be one of metadata, scope, allow-ip, rate-limit, burst, limit, expires-at",
        ),
        (
            &["--expires-in", "1h", "--expires-at", "2030-01-01"],
            2,
            "--expires-at and --expires-in exclude each other",
        ),
        (&["--owner", "u"], 2, "there is no option --owner"),
        (
            &["--metadata", "[]"],
            1,
            "Invalid JSON in metadata: it must be an object such as '{\"env\": \"prod\"}'",
        ),
        (&["--expires-at", "soon"], 1, "Invalid expires_at format"),
        (&["--reason", "x"], 2, "there is no option --reason"),
    ];
    for (options, code, sentence) in cases {
        change(&settings, &[&["update", id], options].concat()).failed(code, &format!("Error: {sentence}"));
    }
    change(&settings, &["update", "key_nowhere", "--name", "x"]).failed(1, "Error: API key not found: key_nowhere");
    for command in ["revoke", "reactivate"] {
        change(&settings, &[command, "key_nowhere"]).failed(1, "Error: API key not found: key_nowhere");
        change(&settings, &[command]).failed(2, "Error: KEY_ID is missing");
        change(&settings, &[command, "hk_live_0001abc"])
            .failed(2, "Error: KEY_ID must be the key's id (key_...), not its secret");
    }
    change(&settings, &["revoke", id, "--reason", "a\u{1b}[2J"])
        .failed(2, "Error: --reason must not contain control characters");
    assert_eq!(stored(&settings), before);
}

#[test]
fn a_defective_record_is_named_and_can_be_mended_or_revoked() {
    let settings = Settings::file_store();
    let hash = format!("sha256:{}", "0".repeat(64));
    let record = format!(r#"{{"id":"key_bad","secret_hash":"{hash}","name":"Bad","expires_at":"soon","note":"kept"}}"#);
    settings.write_document(&format!(r#"{{"keys":[{record}]}}"#));
    for command in ["rotate", "reactivate"] {
        change(&settings, &[command, "key_bad"]).failed(
            1,
            "Error: the key's record is defective, or another one has the same id",
        );
    }
    change(&settings, &["revoke", "key_bad"]).done();
    change(&settings, &["update", "key_bad", "--expires-at", "2099-01-01"]).done();
    change(&settings, &["reactivate", "key_bad"]).done();
    assert_eq!(show(&settings, "key_bad")["status"], "good");
    assert!(stored(&settings).contains(r#""note":"kept""#));
}

#[test]
fn a_key_that_was_retired_for_its_age_is_listed_as_expired() {
    let settings = Settings::file_store();
    let record = |id: &str, members: &str| format!(r#"{{"id":"{id}","secret":"s {id}","name":"{id}"{members}}}"#);
    let records = [
        record("retired", r#","expires_at":"2020-01-01","is_active":false"#),
        record(
            "revoked",
            r#","expires_at":"2020-01-01","revoked_at":"2019-01-01","is_active":false"#,
        ),
        record("inactive", r#","is_active":false"#),
    ];
    settings.write_document(&format!(r#"{{"keys":[{}]}}"#, records.join(",")));
    let list = run(&settings, &["list", "--json"]).done().json();
    let statuses: Vec<_> = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["status"])
        .collect();
    assert_eq!(statuses, ["expired", "revoked", "revoked"]);
}

#[test]
fn the_older_names_of_commands_do_the_same() {
    let settings = Settings::file_store();
    let key = run(&settings, &["create-key", "--name", "a", "--no-refresh", "--json"])
        .done()
        .json();
    let rotated = change(&settings, &["rotate-key", id_of(&key), "--json"]).done().json();
    assert_eq!(rotated["id"], key["id"]);
    change(&settings, &["revoke-key", id_of(&key)]).done();
    let list = run(&settings, &["list-keys", "--json"]).done().json();
    assert_eq!(
        (&list["total"], &list["keys"][0]["status"]),
        (&json!(1), &json!("revoked"))
    );
    let help = run(&settings, &["help", "rotate-key"]).done().stdout;
    assert_eq!(help, run(&settings, &["rotate", "--help"]).done().stdout);
}

#[test]
fn a_burst_without_a_rate_is_refused_and_changes_nothing() {
    let settings = Settings::file_store();
    let key = create(&settings, "a");
    let before = stored(&settings);
    let id = id_of(&key);
    let sentence = "Error: --burst needs --rate-limit, on top of which it is; --clear burst takes it away";
    run(&settings, &["update", id, "--burst", "5", "--no-refresh"]).failed(2, sentence);
    assert_eq!(stored(&settings), before);
    let both = ["update", id, "--burst", "5", "--rate-limit", "9", "--no-refresh"];
    run(&settings, &both).done();
    run(&settings, &["update", id, "--clear", "rate-limit", "--no-refresh"]).failed(2, sentence);
    let none = [
        "update",
        id,
        "--clear",
        "rate-limit",
        "--clear",
        "burst",
        "--no-refresh",
    ];
    run(&settings, &none).done();
}
