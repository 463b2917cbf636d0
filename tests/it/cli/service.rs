//! What asks the running service: `refresh`, `verify`, `health`, `doctor`.

use serde_json::{Value, json};

use super::{Said, create, id_of, run, run_with_input, stub::Stub};
use crate::support::{ports::free_port, service::Settings};

const TIP: &str = "\nTip: If running against a Dokku deployment, use:\n  dokku enter auth web heare-auth refresh\n";

#[test]
fn refresh_loads_what_was_written() {
    let service = Settings::file_store().start_ready();
    create(service.settings(), "reports");
    let url = service.url("/refresh");
    let said = run(service.settings(), &["refresh", "--url", &url]).done();
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("✓ Refresh successful - loaded 1 keys\n", "")
    );
    let json = run(
        service.settings(),
        &["refresh", "--json", "--allow-older", "--url", &url],
    )
    .done()
    .json();
    assert_eq!((&json["success"], &json["keys_loaded"]), (&json!(true), &json!(1)));
    assert!(json["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn allow_older_is_the_operators_word_for_a_rollback() {
    let stub = Stub::answering("200 OK", r#"{"success":true,"keys_loaded":1}"#);
    run(
        &Settings::file_store(),
        &["refresh", "--allow-older", "--url", &stub.url("/refresh")],
    )
    .done();
    assert!(stub.requests()[0].starts_with("POST /refresh?allow_older=true HTTP/1.1\r\n"));
}

#[test]
fn a_refresh_that_fails_says_why_and_what_to_try() {
    let settings = Settings::file_store();
    let nobody = format!("http://127.0.0.1:{}/refresh", free_port());
    let said = run(&settings, &["refresh", "--url", &nobody])
        .failed(1, &format!("Error: Failed to refresh: nothing answers at {nobody}"));
    assert!(said.stderr.ends_with(TIP), "{}", said.stderr);
    let failing = Stub::answering("502 Bad Gateway", r#"{"success":false,"error":"store_unreachable"}"#);
    run(&settings, &["refresh", "--json", "--url", &failing.url("/refresh")]).failed(
        1,
        "Error: Failed to refresh: the service answered 502: store_unreachable",
    );
    let other = Stub::answering("200 OK", "<html>");
    run(&settings, &["refresh", "--url", &other.url("/")])
        .failed(1, "Error: Failed to refresh: the service answered 200");
}

#[test]
fn a_created_key_verifies_at_once_and_a_deleted_one_does_not() {
    let service = Settings::file_store().start();
    let secret = service.create_key("reports");
    assert_eq!(service.verify(&secret).0, 200);
    let list = run(service.settings(), &["list", "--json"]).done().json();
    Said::from(service.cli(&["delete", "--yes", id_of(&list["keys"][0])])).done();
    assert_eq!(service.verify(&secret).0, 403);
}

#[test]
fn verify_answers_alike_from_the_service_and_from_the_store() {
    let service = Settings::file_store().start();
    let settings = service.settings().clone().with("REFRESH_URL", service.url("/refresh"));
    let arguments = [
        "create",
        "--json",
        "--name",
        "quo\"te é",
        "--metadata",
        r#"{"env":"prod","a":2.50}"#,
    ];
    let key = run(&settings, &arguments).done().json();
    let expired = run(
        &settings,
        &["create", "--json", "--name", "old", "--expires-at", "2020-01-01"],
    )
    .done()
    .json();
    let good = format!(
        "✓ Valid\n  ID:          {}\n  Name:        quo\"te é\n  Metadata:    {{\"env\":\"prod\",\"a\":2.50}}\n",
        id_of(&key)
    );

    let cases = [
        (
            key["secret"].as_str().unwrap(),
            0,
            good.as_str(),
            json!({"valid": true, "key_id": key["id"], "name": "quo\"te é", "metadata": key["metadata"]}),
        ),
        (
            "sec_0001nobodys",
            1,
            "✗ Not valid: invalid\n",
            json!({"valid": false, "code": "invalid"}),
        ),
        (
            expired["secret"].as_str().unwrap(),
            1,
            "✗ Not valid: expired\n",
            json!({"valid": false, "code": "expired"}),
        ),
    ];
    for (secret, code, text, object) in cases {
        for flags in [&[] as &[&str], &["--offline"], &["--url", &service.url("/verify")]] {
            let said = run_with_input(&settings, &[&["verify"], flags].concat(), &format!("{secret}\n"));
            assert_eq!(
                (said.code, said.stdout.as_str(), said.stderr.as_str()),
                (Some(code), text, ""),
                "{flags:?}"
            );
            let said = run_with_input(&settings, &[&["verify", "--json"], flags].concat(), secret);
            assert_eq!((said.code, said.json()), (Some(code), object.clone()), "{flags:?}");
        }
    }
}

#[test]
fn verify_asks_what_a_backend_would_ask() {
    let settings = Settings::file_store();
    settings.write_document(
        r#"{"keys":[{"id":"key_1","name":"n","secret":"sec_0001abc","allowed_ips":["10.0.0.0/8"],"scopes":["orders:*","users:read"]}]}"#,
    );
    let service = settings.start_ready();
    let settings = settings.with("REFRESH_URL", service.url("/refresh"));
    let from = ["--client-ip", "10.0.0.1"];
    let cases = [
        (vec![], "✗ Not valid: ip_not_allowed\n"),
        (vec!["--client-ip", "192.0.2.1"], "✗ Not valid: ip_not_allowed\n"),
        (
            from.to_vec(),
            "✓ Valid\n  ID:          key_1\n  Name:        n\n  Metadata:    {}\n",
        ),
        (
            [&from[..], &["--scope", "orders:write", "--scope", "users:write"]].concat(),
            "✗ Not valid: insufficient_scope\n",
        ),
        (
            [&from[..], &["--scope", "orders:write", "--scope=users:read"]].concat(),
            "✓ Valid\n  ID:          key_1\n  Name:        n\n  Metadata:    {}\n",
        ),
    ];
    for (flags, text) in cases {
        for place in [&[] as &[&str], &["--offline"]] {
            let said = run_with_input(&settings, &[&["verify"], place, &flags].concat(), "sec_0001abc");
            assert_eq!(
                (said.stdout.as_str(), said.stderr.as_str()),
                (text, ""),
                "{place:?} {flags:?}"
            );
        }
    }
    run_with_input(&settings, &["verify", "--client-ip", "here"], "sec_0001abc")
        .failed(2, "Error: --client-ip must be an IPv4 or IPv6 address");
    run_with_input(&settings, &["verify", "--scope", "a b"], "sec_0001abc").failed(
        2,
        "Error: --scope: a scope is 1 to 100 letters, digits or _-./ in segments joined by colons; a segment may be *",
    );
}

#[test]
fn verify_that_cannot_know_is_a_failure_and_no_answer() {
    let settings = Settings::file_store();
    let unloaded = Stub::answering(
        "503 Service Unavailable",
        r#"{"valid":false,"error":"Key data is not loaded yet"}"#,
    );
    run_with_input(&settings, &["verify", "--url", &unloaded.url("/verify")], "sec_0001abc")
        .failed(1, "Error: the service answered 503: Key data is not loaded yet");
    let proxy = Stub::answering("403 Forbidden", "{}");
    run_with_input(&settings, &["verify", "--url", &proxy.url("/verify")], "sec_0001abc")
        .failed(1, "Error: the service answered 403");
    run_with_input(&settings, &["verify", "--offline"], &"x".repeat(1025))
        .failed(1, "Error: a secret has at most 1024 characters");
    for flag in ["--bucket", "--key", "--region", "--storage-secret"] {
        let sentence = format!("Error: {flag} is for --offline: a running service has its own store");
        run_with_input(&settings, &["verify", flag, "a"], "x").failed(2, &sentence);
    }
    run_with_input(&settings, &["verify", "--offline", "--url", "http://a/"], "x")
        .failed(2, "Error: --url and --offline exclude each other");
}

#[test]
fn health_asks_the_service_on_this_host() {
    let port = free_port();
    let settings = Settings::file_store().with("PORT", port.to_string());
    run(&settings, &["health"]).failed(1, &format!("Error: nothing answers at http://127.0.0.1:{port}/health"));
    let _service = settings.start_ready();
    for flags in [&["health"] as &[&str], &["health", "--ready"]] {
        assert_eq!(
            run(&settings, flags).done().stdout,
            "✓ Service answers - 0 keys loaded\n"
        );
    }
    let health = run(&settings, &["health", "--json"]).done();
    assert_eq!(health.json(), json!({"status": "ok", "keys_count": 0}));
    let ready = run(&settings, &["health", "--ready", "--json"]).done();
    assert_eq!(
        (ready.stdout.lines().count(), &ready.json()["status"]),
        (1, &json!("ready"))
    );
}

pub fn statuses(doctor: &Value) -> Vec<(&str, &str)> {
    let checks = doctor["checks"].as_array().unwrap();
    checks
        .iter()
        .map(|check| (check["name"].as_str().unwrap(), check["status"].as_str().unwrap()))
        .collect()
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_service_that_runs() {
    let service = Settings::file_store().start();
    service.create_key("reports");
    let said = Said::from(service.cli(&["doctor"])).done();
    assert!(
        said.stdout.lines().all(|line| line.starts_with("✓ ")),
        "{}",
        said.stdout
    );
    let doctor = Said::from(service.cli(&["doctor", "--json", "--write"])).done().json();
    assert_eq!(doctor["ok"], true);
    let names = [
        "settings", "store", "document", "writes", "health", "ready", "refresh", "database", "accounts", "hash",
    ];
    assert_eq!(statuses(&doctor), names.map(|name| (name, "ok")));
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let settings = Settings::file_store()
        .with("PORT", "high")
        .with("REFRESH_URL", format!("http://127.0.0.1:{}/refresh", free_port()));
    settings.write_document(r#"{"keys":[{"id":"key_1","secret":"sec_plain","name":"n"},{"id":"key_2","secret":"sec_x","name":"n","expires_at":"soon"}]}"#);
    let said = run(&settings, &["doctor", "--json"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(1), ""));
    let doctor = said.json();
    assert_eq!(doctor["ok"], false);
    let expected = [
        ("settings", "failed"),
        ("store", "ok"),
        ("document", "ok"),
        ("record", "warning"),
        ("plaintext", "warning"),
        ("health", "failed"),
        ("database", "ok"),
        ("accounts", "ok"),
        ("hash", "ok"),
    ];
    assert_eq!(statuses(&doctor), expected);
    assert_eq!(doctor["checks"][0]["message"], "PORT must be a number from 0 to 65535");
    assert_eq!(
        doctor["checks"][3]["message"],
        "key_2 (number 2 in the list) is denied: bad_expiry"
    );
    assert!(
        doctor["checks"][4]["advice"]
            .as_str()
            .unwrap()
            .contains("heare-auth migrate")
    );
    assert!(!doctor.to_string().contains("sec_"));

    let text = run(&settings, &["doctor", "--offline"]).stdout;
    assert!(
        text.starts_with("✗ settings: PORT must be a number from 0 to 65535\n    The service does not start"),
        "{text}"
    );
    assert!(text.contains("⚠️  record: key_2"), "{text}");
}

#[test]
fn the_doctor_looks_without_changing_anything() {
    let settings = Settings::file_store();
    let said = run(&settings, &["doctor", "--offline"]).done();
    assert!(
        said.stdout.contains("answers and holds no document yet"),
        "{}",
        said.stdout
    );
    assert!(!settings.document().exists());
}

#[test]
fn the_doctor_tries_the_stats_bridge() {
    let bridge = Stub::answering("200 OK", "");
    let port = bridge.url("").rsplit(':').next().unwrap().to_owned();
    let settings = Settings::file_store()
        .with("PROTOCOL", "http")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", port);
    let reached = run(&settings, &["doctor", "--offline", "--json"]).done().json();
    assert_eq!(statuses(&reached).last(), Some(&("metrics", "ok")));
    let settings = settings.with("DEST_PORT", free_port().to_string());
    let missed = run(&settings, &["doctor", "--offline", "--json"]).done().json();
    assert_eq!(statuses(&missed).last(), Some(&("metrics", "warning")));
}
