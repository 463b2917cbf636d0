//! `create`, `delete` and `migrate`.

use std::{collections::HashSet, os::unix::fs::PermissionsExt, process::Stdio};

use serde_json::{Value, json};

use super::{Said, create, id_of, run, run_with_input, stored, stub::Stub};
use crate::support::service::Settings;

const REFRESHED: &str = r#"{"success":true,"keys_loaded":5,"timestamp":"2024-01-20T15:30:00Z"}"#;

/// A document as the Python service wrote it.
const PYTHON_DOCUMENT: &str = r#"{"keys":[
  {"id":"key_A1h2","secret":"sec_A1h2plaintext","name":"Old","secret_type":"shared_secret",
   "created_at":"2024-01-20T10:30:00.123456Z","updated_at":null,"expires_at":null,"metadata":{"env":"prod"},"note":"kept"},
  {"id":"key_A1h3","secret":"sec_A1h3plaintext","name":"Older","created_at":"2024-01-19T10:30:00Z"}],"comment":"kept too"}"#;

#[test]
fn create_prints_the_key_once_and_stores_only_its_digest() {
    let settings = Settings::file_store();
    let said = run(&settings, &["create", "--name", " My Service ", "--no-refresh"]).done();
    assert_eq!(said.stderr, "");
    let lines: Vec<_> = said.stdout.lines().collect();
    let value = |line: usize, label: &str| {
        lines[line]
            .strip_prefix(label)
            .unwrap_or_else(|| panic!("{}", lines[line]))
    };
    assert_eq!(lines[0], "Created API key:");
    assert!(value(1, "  ID:          ").starts_with("key_0"));
    let secret = value(2, "  Secret:      ");
    assert_eq!(lines[3], "  Name:        My Service");
    assert_eq!(lines[4], "  Secret Type: shared_secret");
    assert_eq!(value(5, "  Created:     ").len(), "2024-01-20T10:30:00Z".len());
    assert_eq!(lines[6], "  Expires:     Never");
    let rest = [
        "",
        "⚠️  Save the SECRET securely - it will not be shown again!",
        "    Use the ID for reference and logging.",
    ];
    assert_eq!(lines[7..], rest);

    assert_eq!(secret.len(), 64);
    assert!(!stored(&settings).contains(secret), "only the digest is stored");
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(settings.document()), 0o600);
}

#[test]
fn create_tells_the_service_once() {
    let settings = Settings::file_store();
    let service = Stub::answering("200 OK", REFRESHED);
    let said = run(
        &settings,
        &["create", "--name", "a", "--refresh-url", &service.url("/refresh")],
    )
    .done();
    assert!(
        said.stdout
            .contains("\n\n✓ Service refreshed - 5 keys loaded\n\n⚠️  Save the SECRET"),
        "{}",
        said.stdout
    );
    let requests = service.refreshes();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("POST /refresh HTTP/1.1\r\n"), "{}", requests[0]);
}

#[test]
fn a_refresh_that_fails_is_a_warning() {
    let settings = Settings::file_store();
    let forbidden = Stub::answering(
        "403 Forbidden",
        r#"{"error":"Refresh endpoint only accessible from localhost"}"#,
    );
    let url = forbidden.url("/refresh");
    let said = run(&settings, &["create", "--name", "a", "--refresh-url", &url]).done();
    let warning = "\n⚠️  Warning: Could not refresh service: the service answered 403: Refresh endpoint only accessible from localhost\n   \
                   The key was created but the service was not refreshed.\n   \
                   Run 'heare-auth refresh' manually to load the new key.\n";
    assert_eq!(said.stderr, warning);
    assert!(
        said.stdout.contains("Save the SECRET") && !said.stdout.contains("refreshed"),
        "{}",
        said.stdout
    );

    let key = run(&settings, &["create", "--name", "b", "--json", "--refresh-url", &url])
        .done()
        .json();
    assert_eq!(key["refresh"]["success"], false);
    let said = run(&settings, &["delete", id_of(&key), "--yes", "--refresh-url", &url]).done();
    assert_eq!(said.stdout, "✓ Deleted successfully.\n");
    assert!(said.stderr.contains("The key was deleted but the service was not refreshed.\n   Run 'heare-auth refresh' manually to apply the change."));
}

#[test]
fn what_a_service_answers_cannot_steer_the_terminal() {
    let settings = Settings::file_store();
    let hostile = Stub::answering("500 Oops", r#"{"error":"\u001b[2Jgone\nnext"}"#);
    let said = run(&settings, &["refresh", "--url", &hostile.url("/refresh")]);
    assert!(
        said.stderr
            .starts_with("Error: Failed to refresh: the service answered 500: \\u{1b}[2Jgone\\u{a}next\n"),
        "{}",
        said.stderr
    );
}

#[test]
fn json_stays_one_line_whatever_the_metadata_is_laid_out_like() {
    let settings = Settings::file_store();
    let metadata = "{\n  \"z\": 1,\r\n  \"a\": [\"x  y\\n\"]\n}";
    let arguments = [
        "create",
        "--name",
        "a",
        "--metadata",
        metadata,
        "--no-refresh",
        "--json",
    ];
    let said = run(&settings, &arguments).done();
    assert_eq!(said.stdout.lines().count(), 1, "{}", said.stdout);
    assert_eq!(said.json()["metadata"], json!({"z": 1, "a": ["x  y\n"]}));
}

#[test]
fn create_as_json_has_stable_members() {
    let settings = Settings::file_store();
    let arguments = [
        "create",
        "--name",
        "a",
        "--metadata",
        r#"{"env":"prod"}"#,
        "--expires-at",
        "2099-12-31T23:59:59+01:00",
        "--secret-type",
        "SHARED_SECRET",
        "--no-refresh",
        "--json",
    ];
    let said = run(&settings, &arguments).done();
    assert_eq!(said.stderr, "");
    let key = said.json();
    let expected = json!({
        "id": key["id"], "secret": key["secret"], "name": "a", "secret_type": "shared_secret", "created_at": key["created_at"],
        "expires_at": "2099-12-31T22:59:59Z", "metadata": {"env": "prod"}, "sealed": 0, "refresh": null,
    });
    assert_eq!(key, expected);

    let service = Stub::answering("200 OK", REFRESHED);
    let key = run(
        &settings,
        &[
            "create",
            "--name",
            "a",
            "--json",
            "--refresh-url",
            &service.url("/refresh"),
        ],
    )
    .done()
    .json();
    assert_eq!(key["refresh"], serde_json::from_str::<Value>(REFRESHED).unwrap());
}

#[test]
fn bad_metadata_and_bad_dates_create_nothing_and_are_not_repeated() {
    let settings = Settings::file_store();
    for metadata in ["{", "[1]", "null", "sec_0001abc", ""] {
        run(
            &settings,
            &["create", "--name", "a", "--no-refresh", "--metadata", metadata],
        )
        .failed(
            1,
            "Error: Invalid JSON in metadata: it must be an object such as '{\"env\": \"prod\"}'",
        );
    }
    for date in ["tomorrow", "2025-13-01", "sec_0001abc", ""] {
        let said = run(
            &settings,
            &["create", "--name", "a", "--no-refresh", "--expires-at", date],
        )
        .failed(1, "Error: Invalid expires_at format");
        assert_eq!(
            said.stderr.lines().nth(1),
            Some("Use ISO 8601 format: YYYY-MM-DDTHH:MM:SSZ")
        );
    }
    assert!(!settings.document().exists());
}

#[test]
fn a_date_in_the_past_is_taken_with_a_warning() {
    let settings = Settings::file_store();
    let said = run(
        &settings,
        &["create", "--name", "a", "--no-refresh", "--expires-at", "2020-01-01"],
    )
    .done();
    assert!(
        said.stdout.contains("  Expires:     2020-01-01T00:00:00Z\n"),
        "{}",
        said.stdout
    );
    assert_eq!(
        said.stderr,
        "⚠️  Warning: the key is expired already: --expires-at is in the past.\n"
    );
}

#[test]
fn sixteen_creates_at_once_lose_nobody() {
    let settings = Settings::file_store();
    create(&settings, "first");
    let children: Vec<_> = (0..16)
        .map(|number| {
            let name = format!("writer {number}");
            let mut command = settings.command(&["create", "--no-refresh", "--json", "--name", &name]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let created: Vec<Value> = children
        .into_iter()
        .map(|child| Said::from(child.wait_with_output().unwrap()).done().json())
        .collect();

    let list = run(&settings, &["list", "--json"]).done().json();
    assert_eq!((&list["total"], &list["defective"]), (&json!(17), &json!(0)));
    let listed: HashSet<&str> = list["keys"].as_array().unwrap().iter().map(id_of).collect();
    let document = stored(&settings);
    for key in &created {
        assert!(listed.contains(id_of(key)));
        let secret = key["secret"].as_str().unwrap();
        assert!(!document.contains(secret));
        assert_eq!(
            run_with_input(&settings, &["verify", "--offline"], secret).code,
            Some(0)
        );
    }
}

#[test]
fn delete_asks_and_only_a_yes_deletes() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let id = id_of(&key);
    for input in ["", "\n", "n\n", "no\n", "yess\n"] {
        let said = run_with_input(&settings, &["delete", id, "--no-refresh"], input).done();
        assert_eq!(said.stdout, "Cancelled.\n", "{input:?}");
        assert!(
            said.stderr
                .starts_with(&format!("Delete API key '{id}' (reports)? [y/N]: ")),
            "{}",
            said.stderr
        );
    }
    let cancelled = run(&settings, &["delete", id, "--no-refresh", "--json"]).done().json();
    assert_eq!(
        cancelled,
        json!({"id": id, "name": "reports", "deleted": false, "sealed": 0, "refresh": null})
    );

    let said = run_with_input(&settings, &["delete", id, "--no-refresh"], "Y\n").done();
    assert_eq!(said.stdout, "✓ Deleted successfully.\n");
    assert_eq!(run(&settings, &["list"]).done().stdout, "No API keys found.\n");
}

#[test]
fn delete_with_yes_asks_nothing() {
    let settings = Settings::file_store();
    let service = Stub::answering("200 OK", REFRESHED);
    for flag in ["--yes", "-y"] {
        let key = create(&settings, "reports");
        let said = run(
            &settings,
            &["delete", id_of(&key), flag, "--refresh-url", &service.url("/refresh")],
        )
        .done();
        assert_eq!(
            (said.stdout.as_str(), said.stderr.as_str()),
            ("✓ Deleted successfully.\n✓ Service refreshed - 5 keys loaded\n", "")
        );
    }
    assert_eq!(service.refreshes().len(), 2);
    let key = create(&settings, "reports");
    let deleted = run(&settings, &["delete", id_of(&key), "-y", "--no-refresh", "--json"])
        .done()
        .json();
    assert_eq!(
        deleted,
        json!({"id": key["id"], "name": "reports", "deleted": true, "sealed": 0, "refresh": null})
    );
}

#[test]
fn an_unknown_key_is_a_failure_and_no_call() {
    let settings = Settings::file_store();
    let service = Stub::answering("200 OK", REFRESHED);
    let url = service.url("/refresh");
    for yes in [&["--yes"] as &[&str], &[]] {
        let arguments = [&["delete", "key_nowhere", "--refresh-url", url.as_str()], yes].concat();
        run(&settings, &arguments).failed(1, "Error: API key not found: key_nowhere");
    }
    run(&settings, &["show", "key_nowhere"]).failed(1, "Error: API key not found: key_nowhere");
    run(&settings, &["show", "something else"]).failed(1, "Error: API key not found");
    assert!(service.refreshes().is_empty());
}

#[test]
fn the_first_write_replaces_plaintext_secrets_and_says_so_once() {
    let settings = Settings::file_store();
    settings.write_document(PYTHON_DOCUMENT);
    let sentence = "2 secrets that were stored as plaintext are now stored as digests\n";
    let first = run(&settings, &["create", "--name", "new", "--no-refresh"]).done();
    assert_eq!(first.stderr, sentence);
    assert_eq!(
        run(&settings, &["create", "--name", "newer", "--no-refresh"])
            .done()
            .stderr,
        ""
    );

    let document = stored(&settings);
    assert!(!document.contains("plaintext"), "{document}");
    assert!(
        document.contains(r#""note":"kept""#) && document.contains(r#""comment":"kept too""#),
        "{document}"
    );
    for secret in ["sec_A1h2plaintext", "sec_A1h3plaintext\n"] {
        run_with_input(&settings, &["verify", "--offline"], secret).done();
    }
}

#[test]
fn migrate_seals_everything_at_once() {
    let settings = Settings::file_store();
    settings.write_document(PYTHON_DOCUMENT);
    let service = Stub::answering("200 OK", REFRESHED);
    let migrated = run(&settings, &["migrate", "--refresh-url", &service.url("/refresh")]).done();
    let sentence = "✓ Migrated: 2 secrets that were stored as plaintext are now stored as digests\n✓ Service refreshed - 5 keys loaded\n";
    assert_eq!((migrated.stdout.as_str(), migrated.stderr.as_str()), (sentence, ""));
    assert!(!stored(&settings).contains("plaintext"));

    let again = run(&settings, &["migrate", "--no-refresh"]).done();
    assert_eq!(
        again.stdout,
        "✓ Nothing to migrate: no secret is stored as plaintext.\n"
    );
    let json = run(&settings, &["migrate", "--no-refresh", "--json"]).done().json();
    assert_eq!(
        (&json["sealed"], &json["total"], &json["refresh"]),
        (&json!(0), &json!(2), &Value::Null)
    );
    assert!(json["generation"].is_u64());
}

#[test]
fn with_a_storage_secret_the_document_is_encrypted() {
    let settings = Settings::file_store();
    let sealed = ["--storage-secret", "correct horse"];
    run(
        &settings,
        &[&["create", "--name", "a", "--no-refresh"] as &[&str], &sealed].concat(),
    )
    .done();
    assert!(stored(&settings).starts_with("HEARE_ENCRYPTED_V1:"));
    run(&settings, &["list"]).failed(
        1,
        &format!(
            "Error: the object is encrypted and STORAGE_SECRET is not set ({})",
            settings.document().display()
        ),
    );
    assert_eq!(
        run(&settings, &["list", "--json", sealed[0], sealed[1]]).done().json()["total"],
        1
    );
    let wrong = run(&settings, &["list", "--storage-secret", "wrong horse"]);
    assert_eq!(wrong.code, Some(1));
    assert!(!wrong.stderr.contains("wrong horse"), "{}", wrong.stderr);
}
