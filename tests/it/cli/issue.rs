//! `create` with an owner, an environment and terms; `rotate`.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader},
    process::Child,
};

use heare_auth::core::{
    id::{Prefixes, SecretForm, recognise},
    secret::Digest,
    terms::Environment,
};
use serde_json::{Value, json};

use super::{Said, create, id_of, run, run_with_input, stored, stub::Stub};
use crate::support::{
    fault_proxy::Fault,
    service::{Settings, eventually},
    signals,
    stored_object::StoredObject,
};

fn record_of(settings: &Settings, id: &str) -> Value {
    let document: Value = serde_json::from_str(&stored(settings)).expect("the document is JSON");
    let records = document["keys"].as_array().expect("it has keys");
    records
        .iter()
        .find(|record| record["id"] == id)
        .expect("the key is stored")
        .clone()
}

fn hash(secret: &Value) -> String {
    Digest::of(secret.as_str().expect("a secret is a text")).to_string()
}

/// What `verify --offline` says of a secret.
fn verdict(settings: &Settings, secret: &Value) -> String {
    let secret = secret.as_str().expect("a secret is a text");
    let said = run_with_input(settings, &["verify", "--offline", "--json"], secret).json();
    said["code"].as_str().unwrap_or("good").to_owned()
}

fn create_with(settings: &Settings, options: &[&str]) -> Value {
    let arguments = [&["create", "--name", "a", "--no-refresh", "--json"], options].concat();
    run(settings, &arguments).done().json()
}

fn rotate(settings: &Settings, id: &str, options: &[&str]) -> Said {
    run(settings, &[&["rotate", id, "--no-refresh"], options].concat())
}

#[test]
fn an_operators_key_is_stored_as_plainly_as_ever() {
    let settings = Settings::file_store();
    let key = create(&settings, "plain");
    let members: Vec<String> = record_of(&settings, id_of(&key))
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let expected = [
        "created_at",
        "expires_at",
        "id",
        "metadata",
        "name",
        "secret_hash",
        "secret_type",
        "updated_at",
    ];
    assert_eq!(members, expected);
}

#[test]
fn a_key_with_terms_says_them_in_json_and_in_the_document() {
    let settings = Settings::file_store();
    let key = create_with(
        &settings,
        &[
            "--owner",
            " user_17 ",
            "--environment=test",
            "--scope",
            "orders:*",
            "--scope=read",
            "--scope=read",
            "--allow-ip",
            "::ffff:192.0.2.9/120",
            "--allow-ip",
            "2001:DB8::1",
            "--rate-limit",
            "60",
            "--burst=5",
            "--limit",
            "minute=10/1m",
        ],
    );
    let terms = json!({
        "user_id": "user_17", "environment": "test", "key_prefix": &key["secret"].as_str().unwrap()[..11],
        "scopes": ["orders:*", "read"], "allowed_ips": ["192.0.2.0/24", "2001:db8::1"], "rate_limit_per_hour": 60, "burst": 5,
        "limits": [{"name": "minute", "limit": 10, "window_seconds": 60}],
    });
    let record = record_of(&settings, id_of(&key));
    let shown = run(&settings, &["show", id_of(&key), "--json"]).done().json();
    for (member, value) in terms.as_object().unwrap() {
        assert_eq!(&key[member], value, "create: {member}");
        assert_eq!(&record[member], value, "document: {member}");
        assert_eq!(&shown[member], value, "show: {member}");
    }
    assert!(!stored(&settings).contains(key["secret"].as_str().unwrap()));
}

#[test]
fn terms_are_shown_to_people_too() {
    let settings = Settings::file_store();
    let options = [
        "create",
        "--name",
        "Shop",
        "--no-refresh",
        "--owner",
        "u",
        "--scope",
        "a",
        "--scope",
        "b",
        "--allow-ip",
        "192.0.2.1",
        "--burst",
        "5",
        "--limit",
        "day=9/1day",
    ];
    let said = run(&settings, &options).done().stdout;
    let expected = "\n  Scopes:      a, b\n  Allowed IPs: 192.0.2.1\n  Rate Limit:  1000 an hour, burst 5\n  Limits:      day 9 in 1day\n\n⚠️";
    assert!(said.contains(expected), "{said}");
    assert!(
        said.contains("\n  Owner:       u\n  Environment: production\n  Key Prefix:  hk_live_"),
        "{said}"
    );
    let listed = run(&settings, &["list", "--detailed"]).done().stdout;
    assert!(
        listed.contains("\nScopes:      a, b\nAllowed IPs: 192.0.2.1\n"),
        "{listed}"
    );
}

#[test]
fn a_secret_begins_as_its_environment_says_and_can_be_recognised() {
    let settings = Settings::file_store();
    let form = |options: &[&str], settings: &Settings, prefixes: &Prefixes| {
        let key = create_with(settings, options);
        let secret = key["secret"].as_str().unwrap().to_owned();
        (key["environment"].clone(), recognise(&secret, prefixes))
    };
    let environment =
        |environment: Environment| (json!(environment.word()), Some(SecretForm::Environment(environment)));
    for (options, expected) in [
        (&[] as &[&str], (Value::Null, Some(SecretForm::Operator))),
        (&["--owner", "u"], environment(Environment::Production)),
        (
            &["--owner", "u", "--environment", "development"],
            environment(Environment::Development),
        ),
        (&["--environment", "test"], environment(Environment::Test)),
    ] {
        assert_eq!(form(options, &settings, &Prefixes::default()), expected, "{options:?}");
    }
    let own = "production=acme_,test=acmetest_";
    let settings = settings.with("KEY_PREFIXES", own);
    let expected = environment(Environment::Production);
    assert_eq!(form(&["--owner", "u"], &settings, &own.parse().unwrap()), expected);
}

#[test]
fn an_owner_brings_a_rate_and_an_environment_alone_does_not() {
    let settings = Settings::file_store();
    assert_eq!(create_with(&settings, &["--owner", "u"])["rate_limit_per_hour"], 1000);
    assert_eq!(
        create_with(&settings, &["--environment", "test"])["rate_limit_per_hour"],
        Value::Null
    );
    assert_eq!(
        create_with(&settings, &["--owner", "u", "--rate-limit", "7"])["rate_limit_per_hour"],
        7
    );
}

#[test]
fn an_expiry_can_be_a_duration_from_now_on() {
    let settings = Settings::file_store();
    let key = create_with(&settings, &["--expires-in", "1h 30m"]);
    let seconds = |member: &str| {
        let time: heare_auth::core::time::Timestamp = key[member].as_str().unwrap().parse().unwrap();
        time.as_seconds()
    };
    assert_eq!(seconds("expires_at") - seconds("created_at"), 5400);
    assert_eq!(record_of(&settings, id_of(&key))["expires_at"], key["expires_at"]);
}

#[test]
fn wrong_terms_are_named_by_their_option_and_create_nothing() {
    let settings = Settings::file_store();
    let too_many: Vec<String> = (0..21).map(|number| format!("--allow-ip=192.0.2.{number}")).collect();
    let too_many: Vec<&str> = too_many.iter().map(String::as_str).collect();
    let long = "é".repeat(129);
    let cases: [(&[&str], &str); 16] = [
        (&["--owner", " "], "--owner must have 1 to 256 bytes"),
        (&["--owner", &long], "--owner must have 1 to 256 bytes"),
        (&["--owner", "a\nb"], "--owner must not contain control characters"),
        (
            &["--environment", "Production"],
            "--environment must be production, test or development",
        ),
        (
            &["--scope", "sec_0001abc def"],
            "--scope must be words of A-Z a-z 0-9 . _ - / joined by ':', such as orders:write; a whole word may be *",
        ),
        (&["--scope"], "--scope needs a value"),
        (
            &["--allow-ip", "everywhere"],
            "--allow-ip must be an address or a network such as 192.0.2.0/24 or 2001:db8::/32",
        ),
        (&too_many, "--allow-ip must not be more than 20 networks"),
        (&["--rate-limit", "0"], "--rate-limit must be a number from 1 to 100000"),
        (
            &["--rate-limit", "many"],
            "--rate-limit must be a number from 1 to 100000",
        ),
        (
            &["--burst", "-1", "--rate-limit", "5"],
            "--burst must be a number from 0 to 100000",
        ),
        (&["--burst", "5"], "--burst needs --rate-limit, on top of which it is"),
        (
            &["--limit", "minute=10"],
            "--limit must have a name of a-z 0-9 _ - other than 'hour', a limit from 1 to 100000 and a window of 1 second to 31 days",
        ),
        (
            &["--limit", "m=1/1s", "--limit", "m=2/1s"],
            "--limit must not name a window twice",
        ),
        (
            &["--expires-in", "0s"],
            "--expires-in must be a duration such as 12h, 30days or 1year",
        ),
        (
            &["--expires-in", "1h", "--expires-at", "2030-01-01"],
            "--expires-at and --expires-in exclude each other",
        ),
    ];
    for (options, sentence) in cases {
        let arguments = [&["create", "--name", "a", "--no-refresh"], options].concat();
        let said = run(&settings, &arguments).failed(2, &format!("Error: {sentence}"));
        assert!(!said.stderr.contains("sec_0001abc"), "{}", said.stderr);
    }
    let settings = settings.with("KEY_PREFIXES", "sec_");
    let said = run(&settings, &["create", "--name", "a", "--owner", "u", "--no-refresh"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.stderr.starts_with("Error: KEY_PREFIXES must be a list such as "),
        "{}",
        said.stderr
    );
    assert!(!settings.document().exists());
}

#[test]
fn a_rotation_prints_the_new_secret_once_and_ends_the_old_one() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let said = rotate(&settings, id_of(&key), &[]).done();
    assert_eq!(said.stderr, "");
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!(lines[0], "Rotated API key:");
    assert_eq!(lines[1], format!("  ID:          {}", id_of(&key)));
    let secret = json!(lines[2].strip_prefix("  Secret:      ").unwrap());
    assert_eq!(lines[3], "  Name:        reports");
    assert!(lines[4].starts_with("  Rotated:     20"), "{}", lines[4]);
    let rest = [
        "  Old Secret:  not good any more",
        "",
        "⚠️  Save the SECRET securely - it will not be shown again!",
        "    Use the ID for reference and logging.",
    ];
    assert_eq!(lines[5..], rest);
    assert_eq!(secret.as_str().unwrap().len(), 64);
    assert_eq!(verdict(&settings, &secret), "good");
    assert_eq!(verdict(&settings, &key["secret"]), "invalid");
    assert!(!stored(&settings).contains(secret.as_str().unwrap()));
}

#[test]
fn a_rotation_keeps_everything_but_the_secret() {
    let settings = Settings::file_store();
    let key = create_with(
        &settings,
        &[
            "--owner",
            "u",
            "--environment",
            "test",
            "--scope",
            "a",
            "--metadata",
            r#"{"b": 1.50}"#,
        ],
    );
    let before = record_of(&settings, id_of(&key));
    let rotated = rotate(&settings, id_of(&key), &["--json"]).done().json();
    let mut expected = before;
    expected["secret_hash"] = json!(hash(&rotated["secret"]));
    expected["key_prefix"] = json!(&rotated["secret"].as_str().unwrap()[..11]);
    expected["updated_at"] = rotated["rotated_at"].clone();
    assert_eq!(record_of(&settings, id_of(&key)), expected);
    assert_eq!(rotated["previous_expires_at"], Value::Null);
    assert!(rotated["secret"].as_str().unwrap().starts_with("hk_test_"));
    assert!(stored(&settings).contains(r#""b": 1.50"#) || stored(&settings).contains(r#""b":1.50"#));
}

#[test]
fn an_overlap_leaves_the_old_digest_until_then() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let rotated = rotate(&settings, id_of(&key), &["--overlap", "1h", "--json"])
        .done()
        .json();
    let record = record_of(&settings, id_of(&key));
    let until = rotated["previous_expires_at"].clone();
    assert!(until.is_string());
    assert_eq!(
        record["previous"],
        json!([{"secret_hash": hash(&key["secret"]), "not_after": until}])
    );
    assert_eq!(verdict(&settings, &rotated["secret"]), "good");
    assert_eq!(verdict(&settings, &key["secret"]), "good", "until then");

    let shown = run(&settings, &["show", id_of(&key)]).done().stdout;
    assert!(
        shown.contains(&format!("\nOld Secrets: good until {}\n", until.as_str().unwrap())),
        "{shown}"
    );
    let said = rotate(&settings, id_of(&key), &["--overlap=0s"]).done().stdout;
    assert!(said.contains("Old Secret:  not good any more"), "{said}");
    assert_eq!(record_of(&settings, id_of(&key))["previous"], Value::Null);
    assert_eq!(verdict(&settings, &key["secret"]), "invalid");
}

#[test]
fn a_rotation_tells_the_service_once_and_a_refusal_is_a_warning() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let service = Stub::answering(
        "200 OK",
        r#"{"success":true,"keys_loaded":5,"timestamp":"2024-01-20T15:30:00Z"}"#,
    );
    let url = service.url("/refresh");
    let said = run(&settings, &["rotate", id_of(&key), "--refresh-url", &url]).done();
    assert!(
        said.stdout
            .contains("\n\n✓ Service refreshed - 5 keys loaded\n\n⚠️  Save"),
        "{}",
        said.stdout
    );
    assert_eq!(service.refreshes().len(), 1);
    let refusing = Stub::answering("403 Forbidden", r#"{"error":"no"}"#);
    let said = run(
        &settings,
        &["rotate", id_of(&key), "--refresh-url", &refusing.url("/refresh")],
    )
    .done();
    assert!(
        said.stderr.contains("The key was rotated but the service was not refreshed.\n   Run 'heare-auth refresh' manually to load its new secret."),
        "{}",
        said.stderr
    );
}

#[test]
fn what_cannot_be_rotated_stays_as_it_is() {
    let settings = Settings::file_store();
    let revoked = create(&settings, "revoked");
    run(&settings, &["revoke", id_of(&revoked), "--no-refresh"]).done();
    let expired = create_with(&settings, &["--expires-at", "2020-01-01"]);
    let before = stored(&settings);
    rotate(&settings, id_of(&revoked), &[]).failed(1, "Error: the key is revoked");
    rotate(&settings, id_of(&expired), &[]).failed(1, "Error: the key has expired");
    rotate(&settings, "key_nowhere", &[]).failed(1, "Error: API key not found: key_nowhere");
    for overlap in ["soon", "31days", "-1h"] {
        rotate(&settings, id_of(&revoked), &["--overlap", overlap])
            .failed(2, "Error: --overlap must be a duration up to 30days, such as 1h");
    }
    rotate(&settings, revoked["secret"].as_str().unwrap(), &[])
        .failed(2, "Error: KEY_ID must be the key's id (key_...), not its secret");
    assert_eq!(stored(&settings), before);
}

#[test]
fn a_plaintext_secret_is_sealed_by_its_rotation() {
    let settings = Settings::file_store();
    settings.write_document(r#"{"keys":[{"id":"key_1","secret":"sec_plain_text","name":"A"},{"id":"key_2","secret":"sec_other","name":"B"}]}"#);
    let said = rotate(&settings, "key_1", &["--overlap", "1h", "--json"]).done();
    assert_eq!(
        said.stderr,
        "2 secrets that were stored as plaintext are now stored as digests\n"
    );
    assert_eq!(said.json()["sealed"], 2);
    assert!(!stored(&settings).contains("sec_"), "{}", stored(&settings));
    let previous = &record_of(&settings, "key_1")["previous"];
    assert_eq!(previous[0]["secret_hash"], hash(&json!("sec_plain_text")));
}

#[test]
fn rotations_creations_and_updates_at_once_lose_nothing() {
    let settings = Settings::file_store();
    let key = create(&settings, "first");
    let id = id_of(&key).to_owned();
    let start = |words: &str| settings.spawn(&words.split(' ').collect::<Vec<_>>());
    let rotations: Vec<_> = (0..6)
        .map(|_| start(&format!("rotate {id} --overlap 1day --no-refresh --json")))
        .collect();
    let creations: Vec<_> = (0..6)
        .map(|number| start(&format!("create --name c{number} --no-refresh --json")))
        .collect();
    let updates = [
        start(&format!("update {id} --scope a --no-refresh --json")),
        start(&format!("update {id} --rate-limit 5 --no-refresh --json")),
    ];
    let end = |child: Child| end(child).done().json();
    let rotated: Vec<Value> = rotations.into_iter().map(end).collect();
    let created: Vec<Value> = creations.into_iter().map(end).collect();
    let _: Vec<Value> = updates.into_iter().map(end).collect();

    let record = record_of(&settings, &id);
    let mut hashes: Vec<Value> = vec![record["secret_hash"].clone()];
    hashes.extend(
        record["previous"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["secret_hash"].clone()),
    );
    assert_eq!(hashes.len(), 7, "six new secrets and the first");
    for secret in rotated.iter().chain([&key]) {
        assert!(hashes.contains(&json!(hash(&secret["secret"]))));
    }
    assert_eq!(
        (&record["scopes"], &record["rate_limit_per_hour"]),
        (&json!(["a"]), &json!(5))
    );
    for key in &created {
        assert_eq!(record_of(&settings, id_of(key))["secret_hash"], hash(&key["secret"]));
    }
    let document: Value = serde_json::from_str(&stored(&settings)).unwrap();
    assert_eq!(document["generation"], 15, "one write for each change");
}

#[test]
fn a_new_secret_that_cannot_be_written_is_a_failure() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = settings
        .command(&["rotate", id_of(&key), "--no-refresh"])
        .stdout(full)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let sentence = "was rotated, but its secret could not be written to standard output\nRotate the key again.";
    assert!(stderr.contains(sentence) && !stderr.contains("sec_"), "{stderr}");
}

fn end(child: Child) -> Said {
    child.wait_with_output().expect("it ends").into()
}

#[test]
fn who_interrupts_the_refresh_has_seen_the_secret() {
    let settings = Settings::file_store();
    let key = create(&settings, "reports");
    let [create, rotate] = [&["create", "--name", "a"] as &[&str], &["rotate", id_of(&key)]];
    for (arguments, name, code) in [(create, "INT", 130), (rotate, "TERM", 143), (create, "HUP", 129)] {
        for json in [false, true] {
            let service = Stub::silent();
            let url = service.url("/refresh");
            let more: &[&str] = if json { &["--json"] } else { &[] };
            let child = settings.spawn(&[arguments, &["--refresh-url", &url], more].concat());
            eventually("the service is called", || service.refreshes().len() == 1);
            signals::send(name, child.id());
            let said = end(child);
            assert_eq!(said.code, Some(code), "{name}: {}", said.stderr);
            let warning = "⚠️  Warning: Could not refresh service: the command was interrupted\n";
            assert!(said.stderr.contains(warning), "{}", said.stderr);
            let secret = if json {
                let refresh = json!({"success": false, "error": "the command was interrupted"});
                assert_eq!(said.json()["refresh"], refresh);
                said.json()["secret"].clone()
            } else {
                let mut lines = said.stdout.lines();
                json!(lines.find_map(|line| line.strip_prefix("  Secret:      ")))
            };
            assert_eq!(verdict(&settings, &secret), "good");
        }
    }
}

#[test]
fn a_secret_in_json_is_written_before_the_service_answers() {
    let settings = Settings::file_store();
    let service = Stub::silent();
    let url = service.url("/refresh");
    let mut child = settings.spawn(&["create", "--name", "a", "--json", "--refresh-url", &url]);
    eventually("the service is called", || service.refreshes().len() == 1);
    // Nobody can put this off.
    signals::send("KILL", child.id());
    child.wait().expect("it ends");
    let said = end(child).stdout;
    let key: Value = serde_json::from_str(&format!("{said}null}}")).expect("all but the refresh");
    assert_eq!(verdict(&settings, &key["secret"]), "good");
}

#[test]
fn who_interrupts_the_write_is_still_given_the_secret() {
    let settings = Settings::file_store();
    create(&settings, "reports");
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(settings.document().with_extension("json.lock"))
        .expect("a lock file");
    lock.lock().expect("nobody writes now");
    let mut child = settings.spawn(&["create", "--name", "a", "--no-refresh", "--json"]);
    let status = format!("/proc/{}/status", child.id());
    eventually("it handles the signal", || handles(&status, 15));
    signals::send("TERM", child.id());
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    stderr.read_line(&mut line).expect("stderr can be read");
    assert_eq!(line, "⚠️  Waiting for the store: else the new secret would be lost.\n");
    drop(lock);
    let said = end(child);
    assert_eq!(said.code, Some(143));
    let key = said.json();
    assert_eq!(record_of(&settings, id_of(&key))["secret_hash"], hash(&key["secret"]));
}

/// By the mask of signals that a process catches.
fn handles(status: &str, number: u32) -> bool {
    let status = std::fs::read_to_string(status).expect("the process runs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = u64::from_str_radix(mask.expect("the kernel knows this line").trim(), 16);
    mask.expect("a number") & (1 << (number - 1)) != 0
}

#[test]
fn where_the_outcome_is_unknown_it_is_said_what_to_do_about_a_secret_that_nobody_has() {
    let object = StoredObject::new();
    let before = hash(&json!("sec_before"));
    object.put(json!({"keys": [{"id": "key_1", "secret_hash": before, "name": "A"}]}).to_string());
    let proxy = object.proxy();
    let settings = object.settings_through(&proxy);
    let unknown = |arguments: &[&str]| {
        // The first two writes ask whether the store keeps conditions.
        proxy.heal();
        proxy.pass("PUT", 2);
        proxy.fail("PUT", usize::MAX, Fault::Hangup);
        run(&settings, &[arguments, &["--no-refresh"]].concat()).failed(
            1,
            "Error: the store gave no clear answer, and it could not be found out whether the change was made",
        )
    };
    let said = unknown(&["create", "--name", "a"]).stderr;
    let line = said.lines().nth(1).expect("what to do");
    let id = line
        .strip_prefix("The key key_")
        .and_then(|rest| rest.split(' ').next());
    assert_eq!(id.map(str::len), Some(19), "{said}");
    let id = format!("key_{}", id.unwrap_or_default());
    assert_eq!(
        line,
        format!(
            "The key {id} may exist, with a secret that nobody has: delete it when 'heare-auth list' shows it, and create another one."
        )
    );
    assert!(!said.contains("sec_"));
    let said = unknown(&["rotate", "key_1"]).stderr;
    assert_eq!(
        said.lines().nth(1),
        Some("The key may have a new secret, which nobody has, in the place of the one before: rotate the key again.")
    );
}
