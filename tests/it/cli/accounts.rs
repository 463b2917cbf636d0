//! `users` and `jwt`: what an operator does about accounts and the keys that sign their tokens.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _, path::Path, process::Command, sync::Arc};

use heare_auth::{
    accounts::{
        sessions::{Device, NewSession, SessionId, Sessions},
        users::{UserId, Users},
    },
    core::{secret::Digest, time::Timestamp},
    database::{Database, pool::Pool},
};
use serde_json::{Value, json};

use super::{Said, run, run_with_input, stored};
use crate::support::{ports::RefusingPort, postgres, service::Settings};

/// Made by Python's bcrypt.
const HASH: &str = "$2b$04$TkRRZbrOaV2PVbQkDsSTwuA1eVjGyhzQYBBEKCPgQjV0kFqzYd3Lm";

fn file(settings: &Settings, name: &str, text: &str) -> String {
    let path = settings.home().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn json_of(settings: &Settings, arguments: &[&str]) -> Value {
    run(settings, &[arguments, &["--json"]].concat()).done().json()
}

fn import(settings: &Settings, arguments: &[&str], csv: &str) -> Said {
    let path = file(settings, "users.csv", csv);
    run(settings, &[&["users", "import", path.as_str()], arguments].concat())
}

/// Ada and Bob, as another system wrote them.
fn two_users() -> Settings {
    let settings = Settings::file_store();
    import(&settings, &["--yes"], &two_rows()).done();
    settings
}

fn two_rows() -> String {
    format!(
        "id,login,password_hash,created_at,last_login\n\
         4,ada@example.com,{HASH},2024-01-20T10:30:00Z,2024-02-01T00:00:00Z\n\
         9,Bob,{HASH},2024-01-21,\n"
    )
}

/// Settings for each database; the second is there as long as its handle is.
fn in_both_databases() -> [(Settings, Option<postgres::Database>); 2] {
    let database = postgres::Database::shared();
    let settings = Settings::file_store().with("DATABASE_URL", database.url());
    [(Settings::file_store(), None), (settings, Some(database))]
}

async fn log_in(settings: &Settings, user: i64, number: u8) -> SessionId {
    let path = settings.data_dir().join("heare-auth.db");
    let pool = Arc::new(Pool::new(Database::Sqlite { path }));
    let user = Users::new(pool.clone()).by_id(UserId(user)).await.unwrap().unwrap();
    let id = SessionId::new([number; 16]);
    let now: Timestamp = "2024-03-01T00:00:00Z".parse().unwrap();
    let session = NewSession {
        id: id.clone(),
        user: user.id,
        epoch: user.epoch,
        jti: Digest::of(&format!("jti {number}")),
        refresh: Digest::of(&format!("refresh {number}")),
        device: Device::new("192.0.2.7".parse().unwrap(), Some("curl/8.0")),
        created_at: now,
        expires_at: "9999-01-01T00:00:00Z".parse().unwrap(),
    };
    Sessions::in_database(pool).create(&session).await.unwrap();
    id
}

#[test]
fn users_of_another_system_are_shown_first_and_then_imported_as_a_whole() {
    for (settings, _database) in in_both_databases() {
        let planned = import(&settings, &["--dry-run"], &two_rows()).done();
        assert!(planned.stdout.contains("\n  new          2\n"), "{}", planned.stdout);
        assert_eq!(json_of(&settings, &["users", "list"]), json!({"users": [], "total": 0}));
        let path = file(&settings, "users.csv", &two_rows());
        let refused = run_with_input(&settings, &["users", "import", &path], "n\n").done();
        assert!(refused.stdout.ends_with("Cancelled.\n"), "{}", refused.stdout);
        let agreed = run_with_input(&settings, &["users", "import", &path], "y\n").done();
        assert!(agreed.stdout.ends_with("✓ Imported.\n"), "{}", agreed.stdout);
        let users = json_of(&settings, &["users", "list"]);
        let expected = json!({"users": [
            {"id": 4, "login": "ada@example.com", "status": "good", "created_at": "2024-01-20T10:30:00Z",
             "last_login": "2024-02-01T00:00:00Z", "disabled_at": null, "hash": "bcrypt"},
            {"id": 9, "login": "Bob", "status": "good", "created_at": "2024-01-21T00:00:00Z",
             "last_login": null, "disabled_at": null, "hash": "bcrypt"},
        ], "total": 2});
        assert_eq!(users, expected);
        // The same once more is nothing new, and ids go on behind the greatest.
        let again = json_of(&settings, &["users", "import", &path, "--yes"]);
        assert_eq!((&again["identical"], &again["imported"]), (&json!(2), &json!(0)));
        import(&settings, &["--yes"], &format!("login,hash\ncarl,{HASH}\n")).done();
        assert_eq!(json_of(&settings, &["users", "show", "CARL"])["id"], 10);
    }
}

#[test]
fn a_file_with_one_bad_row_imports_nobody() {
    for (settings, _database) in in_both_databases() {
        import(&settings, &["--yes"], &two_rows()).done();
        let other = HASH.replace("$04$", "$05$");
        let csv = format!("id,login,hash\n,carl,{HASH}\n,dora,not a hash\n,bob,{other}\n3,emil,{HASH}\n");
        let said = import(&settings, &["--yes"], &csv);
        assert_eq!(said.code, Some(1));
        assert_eq!(said.stderr, "Error: nothing was imported: all rows must be good\n");
        for line in [
            "    row 3: the hash is no bcrypt hash such as $2b$12$..., with a cost of 4 to 15\n",
            "    row 4: there is another user with this login\n",
            "    row 5: its id must be greater than 9, the last that was given here\n",
        ] {
            assert!(said.stdout.contains(line), "{}", said.stdout);
        }
        assert!(!said.stdout.contains("not a hash"));
        assert_eq!(json_of(&settings, &["users", "list"])["total"], 2);
    }
}

#[test]
fn a_file_can_come_from_standard_input_when_nobody_needs_to_be_asked() {
    let settings = Settings::file_store();
    let json = format!(r#"{{"users":[{{"login":"ada","password_hash":"{HASH}"}}]}}"#);
    run_with_input(&settings, &["users", "import", "-"], &json)
        .failed(2, "Error: users from standard input need --yes or --dry-run");
    run_with_input(&settings, &["users", "import", "-", "--yes"], &json).done();
    assert_eq!(json_of(&settings, &["users", "list"])["total"], 1);
}

#[test]
fn a_user_is_found_by_login_in_any_case_or_by_id() {
    let settings = two_users();
    for who in [&["ADA@example.com"] as &[&str], &[" ada@EXAMPLE.com "], &["--id", "4"]] {
        let shown = json_of(&settings, &[&["users", "show"], who].concat());
        assert_eq!(
            (&shown["login"], &shown["sessions"]),
            (&json!("ada@example.com"), &json!(0))
        );
    }
    run(&settings, &["users", "show", "nobody"]).failed(1, "Error: there is no such user");
    run(&settings, &["users", "show"]).failed(2, "Error: LOGIN is missing");
    run(&settings, &["users", "list", "--end-all"]).failed(2, "Error: 'users list' has no option --end-all");
    let off = settings.with("DATABASE_URL", "off");
    run(&off, &["users", "list"]).failed(
        1,
        "Error: there are no accounts: no database is named, or DATABASE_URL is off",
    );
}

#[test]
fn no_database_is_made_by_asking_who_there_is() {
    let settings = Settings::file_store();
    let listed = run(&settings, &["users", "list"]).done();
    assert_eq!(listed.stdout, "No users found.\n");
    assert!(
        listed.stderr.starts_with("There are no accounts yet: sqlite:"),
        "{}",
        listed.stderr
    );
    let shown = run(&settings, &["users", "show", "bob"]);
    assert!(
        shown.stderr.ends_with("Error: there is no such user\n"),
        "{}",
        shown.stderr
    );
    assert_eq!(shown.code, Some(1));
    assert!(!settings.data_dir().exists());
}

#[tokio::test]
async fn a_user_who_is_disabled_is_logged_out_everywhere() {
    let settings = two_users();
    log_in(&settings, 4, 1).await;
    log_in(&settings, 4, 2).await;
    log_in(&settings, 9, 3).await;
    let disabled = json_of(&settings, &["users", "disable", "ada@example.com"]);
    assert_eq!(
        disabled,
        json!({"id": 4, "login": "ada@example.com", "changed": true, "sessions_ended": 2})
    );
    let shown = json_of(&settings, &["users", "show", "--id", "4"]);
    assert_eq!((&shown["status"], &shown["sessions"]), (&json!("disabled"), &json!(0)));
    assert_eq!(json_of(&settings, &["users", "disable", "--id", "4"])["changed"], false);
    assert_eq!(json_of(&settings, &["users", "enable", "--id", "4"])["changed"], true);
    assert_eq!(json_of(&settings, &["users", "show", "--id", "4"])["status"], "good");
    assert_eq!(json_of(&settings, &["users", "show", "bob"])["sessions"], 1);
}

#[test]
fn who_is_disabled_while_sessions_cannot_be_ended_is_in_the_audit_log() {
    let settings = two_users();
    let nobody = RefusingPort::bind();
    let away = settings
        .clone()
        .with("REDIS_URL", format!("redis://{}", nobody.address()));
    let disable = ["users", "disable", "--id", "4"];
    // Once more changes nothing of the user any more, and is no second entry.
    for _ in 0..2 {
        let said = run(&away, &disable);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{}", said.stderr);
        assert!(said.stderr.contains("Check REDIS_URL"), "{}", said.stderr);
        assert_eq!(
            json_of(&settings, &["users", "show", "--id", "4"])["status"],
            "disabled"
        );
        let audit = json_of(&settings, &["audit", "--what", "disable_account"]);
        let told: Vec<_> = entries(&audit)
            .map(|entry| (&entry["key_id"], &entry["result"]))
            .collect();
        assert_eq!(told, [(&json!("user:4"), &json!("ok"))]);
    }
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_at_once() {
    let settings = two_users();
    let (first, second) = (log_in(&settings, 4, 1).await, log_in(&settings, 4, 2).await);
    let bobs = log_in(&settings, 9, 3).await;
    let listed = json_of(&settings, &["users", "sessions", "--id", "4"]);
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(listed["sessions"][0]["address"], "192.0.2.7");
    assert_eq!(listed["sessions"][0]["user_agent"], "curl/8.0");
    let text = run(&settings, &["users", "sessions", "--id", "4"]).done().stdout;
    assert!(
        text.contains(first.as_str()) && text.contains(second.as_str()),
        "{text}"
    );
    for unknown in [bobs.as_str(), "ses_1"] {
        let ended = run(
            &settings,
            &["users", "sessions", "--id", "4", &format!("--end={unknown}")],
        );
        ended.failed(1, "Error: this user has no such session");
    }
    let left = json_of(&settings, &["users", "sessions", "--id", "4", "--end", first.as_str()]);
    assert_eq!(
        (&left["ended"], &left["sessions"][0]["id"]),
        (&json!(1), &json!(second.as_str()))
    );
    let left = json_of(&settings, &["users", "sessions", "--id", "4", "--end-all"]);
    assert_eq!((&left["ended"], &left["sessions"]), (&json!(1), &json!([])));
    assert_eq!(json_of(&settings, &["users", "show", "bob"])["sessions"], 1);
}

#[tokio::test]
async fn a_user_who_is_deleted_takes_sessions_and_keys_along() {
    let settings = two_users();
    log_in(&settings, 4, 1).await;
    for owner in ["4", "4", "9"] {
        run(&settings, &["create", "--name", "a", "--owner", owner, "--no-refresh"]).done();
    }
    let kept = run_with_input(&settings, &["users", "delete", "--id", "4", "--no-refresh"], "\n").done();
    assert_eq!(kept.stdout, "Cancelled.\n");
    assert_eq!(json_of(&settings, &["users", "show", "--id", "4"])["status"], "good");
    let deleted = json_of(&settings, &["users", "delete", "--id", "4", "--yes", "--no-refresh"]);
    assert_eq!(
        deleted,
        json!({"id": 4, "login": "ada@example.com", "deleted": true, "sessions_ended": 1, "keys_revoked": 2, "refresh": null})
    );
    let keys = json_of(&settings, &["list"]);
    let status_of = |owner: &str| -> Vec<&str> {
        let keys = keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|key| key["user_id"] == owner);
        keys.map(|key| key["status"].as_str().unwrap()).collect()
    };
    assert_eq!(status_of("4"), ["revoked", "revoked"]);
    assert_eq!(status_of("9"), ["good"]);
    run(&settings, &["users", "show", "--id", "4"]).failed(1, "Error: there is no such user");
    let audit = json_of(&settings, &["audit", "--what", "delete_account"]);
    assert_eq!(audit["entries"][0]["key_id"], "user:4");
    let revoked = json_of(&settings, &["audit", "--what", "revoke"]);
    let revoked: BTreeSet<&str> = entries(&revoked)
        .map(|entry| entry["key_id"].as_str().unwrap())
        .collect();
    let keys = keys["keys"].as_array().unwrap().iter();
    let owned = keys.filter(|key| key["user_id"] == "4");
    assert_eq!(revoked, owned.map(|key| key["id"].as_str().unwrap()).collect());
}

fn entries(audit: &Value) -> impl Iterator<Item = &Value> {
    audit["entries"].as_array().unwrap().iter()
}

#[tokio::test]
async fn a_deletion_that_fails_halfway_cannot_be_taken_back_and_can_be_run_again() {
    let settings = two_users();
    run(&settings, &["create", "--name", "a", "--owner", "4", "--no-refresh"]).done();
    let delete = ["users", "delete", "--id", "4", "--yes", "--no-refresh"];
    let whole = stored(&settings);
    settings.write_document("<html>");
    assert_eq!(run(&settings, &delete).code, Some(1));
    // It is not merely disabled: what 'enable' does leaves it as it is.
    run(&settings, &["users", "enable", "--id", "4"]).done();
    settings.write_document(&whole);
    let path = settings.data_dir().join("heare-auth.db");
    let users = Users::new(Arc::new(Pool::new(Database::Sqlite { path })));
    let user = users.by_id(UserId(4)).await.unwrap().unwrap();
    assert!(user.leaving_at.is_some());
    let deleted = json_of(&settings, &delete);
    assert_eq!(
        (&deleted["deleted"], &deleted["keys_revoked"]),
        (&json!(true), &json!(1))
    );
}

fn jwt(settings: &Settings, arguments: &[&str]) -> Value {
    json_of(settings, &[&["jwt", "rotate"], arguments].concat())
}

fn blocks(path: &Path) -> usize {
    std::fs::read_to_string(path)
        .unwrap()
        .matches("BEGIN PRIVATE KEY")
        .count()
}

#[test]
fn a_rotated_private_key_is_one_that_openssl_reads_and_the_old_one_stays() {
    let settings = Settings::file_store();
    let path = settings.home().join("keys/jwt.pem");
    let settings = settings.with("JWT_PRIVATE_KEY", path.to_str().unwrap());
    let first = jwt(&settings, &["--init"]);
    assert_eq!(
        (&first["algorithm"], &first["rotated"], &first["kept"]),
        (&json!("EdDSA"), &json!(true), &json!(0))
    );
    let rights = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(rights, 0o600);
    assert_eq!(jwt(&settings, &["--init"])["rotated"], false);
    let rotated = jwt(&settings, &[]);
    assert_eq!((&rotated["kept"], blocks(&path)), (&json!(1), 2));
    assert_ne!(rotated["kid"], first["kid"]);
    let read = Command::new("openssl")
        .args(["pkey", "-noout", "-text", "-in"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&read.stdout).starts_with("ED25519 Private-Key"));
    // No token of the older keys can be over yet.
    assert_eq!(jwt(&settings, &["--drop-old"])["dropped"], 0);
    let text = std::fs::read_to_string(&path).unwrap();
    let long_ago: String = text
        .lines()
        .map(|line| {
            if line.starts_with("# made ") {
                "# made 2024-01-01T00:00:00Z\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    std::fs::write(&path, long_ago).unwrap();
    let dropped = jwt(&settings, &["--drop-old"]);
    assert_eq!(
        (&dropped["dropped"], &dropped["kept"], blocks(&path)),
        (&json!(2), &json!(1), 2)
    );
}

#[test]
fn a_key_made_by_openssl_is_rotated_and_kept() {
    let settings = Settings::file_store();
    let path = settings.home().join("jwt.pem");
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let settings = settings.with("JWT_PRIVATE_KEY", path.to_str().unwrap());
    assert_eq!((&jwt(&settings, &[])["kept"], blocks(&path)), (&json!(1), 2));
    std::fs::write(
        &path,
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    )
    .unwrap();
    let said = run(&settings, &["jwt", "rotate"]);
    assert!(
        said.stderr.contains("must hold Ed25519 private keys in PEM form"),
        "{}",
        said.stderr
    );
    assert_eq!(said.code, Some(1));
}

#[test]
fn the_secret_beside_a_local_database_is_rotated_in_its_file() {
    let settings = Settings::file_store();
    let path = settings.data_dir().join("jwt-secret");
    let secrets = || -> Vec<String> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(jwt(&settings, &[])["algorithm"], "HS256");
    let first = secrets();
    let said = run(&settings, &["jwt", "rotate"]).done();
    assert_eq!(secrets()[1..], first);
    assert!(!said.stdout.contains(&secrets()[0]), "a secret in a file is not shown");
    let audit = json_of(&settings, &["audit", "--what", "rotate_signing_key"]);
    assert_eq!(audit["entries"].as_array().unwrap().len(), 2);
}

#[test]
fn a_database_that_cannot_be_meant_stops_a_rotation_before_it_begins() {
    let settings = Settings::file_store();
    jwt(&settings, &["--init"]);
    let path = settings.data_dir().join("jwt-secret");
    let before = std::fs::read_to_string(&path).unwrap();
    let pem = settings.home().join("jwt.pem");
    let with_pem = settings.clone().with("JWT_PRIVATE_KEY", pem.to_str().unwrap());
    for settings in [settings.clone(), with_pem] {
        let said = run(
            &settings.with("DATABASE_URL", "mysql://localhost/keys"),
            &["jwt", "rotate"],
        );
        assert_eq!(said.code, Some(1));
        assert!(
            said.stderr.starts_with("Error: DATABASE_URL must be"),
            "{}",
            said.stderr
        );
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert!(!pem.exists());
}

#[test]
fn where_no_file_keeps_the_secret_a_new_one_is_shown_once_with_what_to_do() {
    let present = "0123456789abcdef0123456789abcdef";
    let settings = Settings::file_store().with("SECRET_KEY", present);
    let said = run(&settings, &["jwt", "rotate"]).done();
    assert_eq!(said.stdout.trim().len(), 43);
    assert!(said.stderr.contains("SECRET_KEY_PREVIOUS"), "{}", said.stderr);
    assert!(!said.stderr.contains(present));
    assert_ne!(run(&settings, &["jwt", "rotate"]).done().stdout, said.stdout);
    run(&settings, &["jwt", "rotate", "--drop-old"])
        .failed(2, "Error: --init and --drop-old are for keys that are kept in a file");
    let weak = Settings::file_store().with("SECRET_KEY", "your-secret-key-here");
    run(&weak, &["jwt", "rotate"]).failed(
        1,
        "Error: SECRET_KEY must be 32 bytes or more, and random: such as 'openssl rand -base64 48' prints",
    );
}

#[test]
fn a_weak_secret_stops_the_start() {
    let weak = Settings::file_store().with("SECRET_KEY", "your-secret-key-here");
    let said: Said = weak.run(&["serve"]).into();
    assert_eq!(said.code, Some(1));
    assert!(
        said.stderr.starts_with("Error: SECRET_KEY must be 32 bytes or more"),
        "{}",
        said.stderr
    );
}
