//! `list` and `show`.

use serde_json::{Value, json};

use super::{create, id_of, run};
use crate::support::service::Settings;

/// Good, expired, revoked, defective in three ways, and one whose name would steer a terminal.
const MIXED: &str = r#"{"keys":[
 {"id":"key_good","secret":"sec_hidden1","name":"Production API","created_at":"2024-01-20T10:30:00Z","metadata":{ "b" : 1,
   "a" : [2.50, 12345678901234567890123] }},
 {"id":"key_expired","secret":"sec_hidden2","name":"Staging API","created_at":"2024-01-20T23:30:00-02:00","expires_at":"2020-01-01"},
 {"id":"key_revoked","secret":"sec_hidden3","name":"Revoked","created_at":"2024-01-20","revoked_at":"2024-01-21T00:00:00Z"},
 {"id":"key_baddate","secret":"sec_hidden4","name":"Bad date","created_at":"yesterday","expires_at":"soon"},
 {"id":"key_twice","secret":"sec_hidden5","name":"Twice"},
 {"id":"key_twice","secret":"sec_hidden6","name":"Twice"},
 7,
 {"id":"key_steering","secret":"sec_hidden8","name":"a\u001b[2Jb\nc","created_at":"2024-01-20T10:30:00Z"}]}"#;

fn mixed() -> Settings {
    let settings = Settings::file_store();
    settings.write_document(MIXED);
    settings
}

#[test]
fn an_empty_store_has_no_keys_and_is_not_created_by_looking() {
    let settings = Settings::file_store();
    assert_eq!(run(&settings, &["list"]).done().stdout, "No API keys found.\n");
    assert_eq!(
        run(&settings, &["list", "--json"]).done().json(),
        json!({"keys": [], "total": 0, "defective": 0})
    );
    assert!(!settings.document().exists());
}

#[test]
fn the_table_stands_as_documented_and_marks_what_does_not_verify() {
    let said = run(&mixed(), &["list"]).done();
    assert_eq!(said.stderr, "");
    let rule = "━".repeat(67);
    let expected = format!(
        "API Keys:\n{rule}\n\
         Name                  Key ID                             Created\n{rule}\n\
         Production API        key_good                           2024-01-20\n\
         Staging API           key_expired                        2024-01-21  (expired)\n\
         Revoked               key_revoked                        2024-01-20  (revoked)\n\
         Bad date              key_baddate                        yesterday   (denied: bad_expiry)\n\
         Twice                 key_twice                          N/A         (denied: duplicate_id)\n\
         Twice                 key_twice                          N/A         (denied: duplicate_id)\n\
         -                     -                                  N/A         (denied: not_an_object)\n\
         a\\u{{1b}}[2Jb\\u{{a}}c     key_steering                       2024-01-20\n{rule}\n\
         Total: 8 keys\n"
    );
    assert_eq!(said.stdout, expected);
}

#[test]
fn the_table_widens_to_its_longest_cell() {
    let settings = Settings::file_store();
    let name = "N".repeat(80);
    let key = create(&settings, &name);
    create(&settings, "short");
    let table = run(&settings, &["list"]).done().stdout;
    let lines: Vec<_> = table.lines().collect();
    let width = 80 + 2 + 35 + 10;
    assert_eq!(lines[1].chars().count(), width);
    let created = &key["created_at"].as_str().unwrap()[..10];
    assert_eq!(lines[4], format!("{name}  {:<35}{created}", id_of(&key)));
    assert!(lines[5].starts_with("short "));
    assert_eq!(lines[5].chars().count(), width);
}

#[test]
fn detailed_shows_everything_but_secrets() {
    let settings = mixed();
    for flag in ["--detailed", "-d"] {
        let text = run(&settings, &["list", flag]).done().stdout;
        let first = "Name:        Production API\nKey ID:      key_good\nSecret Type: shared_secret\nCreated:     2024-01-20T10:30:00Z\n\
                     Updated:     Never\nExpires:     Never\nMetadata:    {\"b\":1,\"a\":[2.50,12345678901234567890123]}\n\
                     Stored as:   plaintext ('heare-auth migrate' stores a digest instead)\n\nName:        Staging API\n";
        assert!(
            text.starts_with(&format!("API Keys (Detailed):\n{}\n{first}", "━".repeat(120))),
            "{text}"
        );
        assert!(
            text.contains("Expires:     soon\nStatus:      denied: bad_expiry\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\nTotal: 8 keys\n") && !text.contains("sec_") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}

#[test]
fn list_as_json_has_stable_members() {
    let list = run(&mixed(), &["list", "--json"]).done().json();
    assert_eq!((&list["total"], &list["defective"]), (&json!(8), &json!(4)));
    let keys = &list["keys"];
    let metadata: Value = serde_json::from_str(r#"{"b":1,"a":[2.50,12345678901234567890123]}"#).unwrap();
    let good = json!({
        "id": "key_good", "name": "Production API", "secret_type": "shared_secret", "created_at": "2024-01-20T10:30:00Z",
        "updated_at": null, "expires_at": null, "metadata": metadata, "status": "good", "defect": null, "plaintext": true,
    });
    assert_eq!(keys[0], good);
    assert_eq!(
        (&keys[1]["status"], &keys[1]["expires_at"]),
        (&json!("expired"), &json!("2020-01-01T00:00:00Z"))
    );
    assert_eq!(keys[2]["status"], "revoked");
    assert_eq!(
        (&keys[3]["status"], &keys[3]["defect"]),
        (&json!("defective"), &json!("bad_expiry"))
    );
    assert_eq!(
        (&keys[6]["id"], &keys[6]["defect"]),
        (&json!(null), &json!("not_an_object"))
    );
    assert!(!list.to_string().contains("sec_"));
}

#[test]
fn show_shows_one_key_without_its_secret() {
    let settings = mixed();
    let rule = "━".repeat(80);
    let text = run(&settings, &["show", "key_good"]).done().stdout;
    let expected = format!(
        "API Key Details:\n{rule}\nName:        Production API\nKey ID:      key_good\nSecret Type: shared_secret\n\
         Created:     2024-01-20T10:30:00Z\nUpdated:     Never\nExpires:     Never\n\
         Metadata:    {{\n  \"b\": 1,\n  \"a\": [\n    2.50,\n    12345678901234567890123\n  ]\n}}\n\
         Stored as:   plaintext ('heare-auth migrate' stores a digest instead)\n{rule}\n\n\
         ⚠️  The secret is not shown for security reasons.\n"
    );
    assert_eq!(text, expected);
    let json = run(&settings, &["show", "key_expired", "--json"]).done().json();
    assert_eq!(
        (&json["id"], &json["status"]),
        (&json!("key_expired"), &json!("expired"))
    );
}

#[test]
fn a_document_that_is_not_whole_is_named_and_left_alone() {
    let settings = Settings::file_store();
    settings.write_document(r#"{"keys":[{"id":"key_1","secr"#);
    for arguments in [
        &["list"] as &[&str],
        &["create", "--name", "a", "--no-refresh"],
        &["migrate", "--no-refresh"],
    ] {
        let said = run(&settings, arguments);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
        assert!(
            said.stderr.starts_with("Error: the object ends in the middle ("),
            "{}",
            said.stderr
        );
    }
    assert_eq!(super::stored(&settings), r#"{"keys":[{"id":"key_1","secr"#);
}
