//! What `doctor` says of clocks, certificates and the keys that sign tokens, and what to do about them.

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;

use super::{run, service::statuses, stub::Stub};
use crate::support::{
    certificates::{Authority, Key},
    fault_proxy::Fault,
    ports::RefusingPort,
    redis::Redis,
    service::Settings,
    stored_object::StoredObject,
};

const STRONG: &str = "f7Kq2mZs9LxWc4Vb8Nt1Rj6Yp3Hd5Gg0";

fn doctor(settings: &Settings) -> Value {
    let said = run(settings, &["doctor", "--offline", "--json"]);
    assert_eq!(said.stderr, "");
    said.json()
}

/// The line of that name: status, message, advice.
fn found(doctor: &Value, name: &str) -> (String, String, String) {
    let checks = doctor["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("{name}: {doctor}"));
    let text = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"), text("advice"))
}

/// The time of HTTP, so much from now.
fn http_date(from_now: &str) -> String {
    let said = Command::new("date")
        .args(["-u", "-d", from_now, "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_clock_that_differs_from_the_stores_is_told_before_it_costs_anything() {
    for (from_now, status, words) in [
        ("now", "ok", "agrees with the store's"),
        ("+2 minutes", "warning", "s behind the store's"),
        ("-2 minutes", "warning", "s ahead of the store's"),
        ("+20 minutes", "failed", "s behind the store's"),
    ] {
        let head = format!("404 Not Found\r\nDate: {}", http_date(from_now));
        let s3 = Stub::answering(&head, "<Error><Code>NoSuchKey</Code></Error>");
        let settings = Settings::file_store()
            .with("S3_BUCKET", "keys")
            .with("AWS_ENDPOINT_URL", s3.url(""))
            .with("AWS_ACCESS_KEY_ID", "id")
            .with("AWS_SECRET_ACCESS_KEY", "access");
        let (found, message, advice) = found(&doctor(&settings), "clock");
        assert_eq!(found, status, "{from_now}: {message}");
        assert!(message.contains(words), "{from_now}: {message}");
        assert_eq!(advice.contains("NTP"), status != "ok", "{advice}");
    }
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning_and_one_that_is_no_good_a_failure() {
    let authority = Authority::new();
    let (pair, other) = (authority.issue("own", Key::P256), authority.issue("other", Key::P256));
    let with = |certificate: &std::path::Path, key: &std::path::Path| {
        Settings::file_store()
            .with("SSL_CERTFILE", certificate.to_str().unwrap())
            .with("SSL_KEYFILE", key.to_str().unwrap())
    };
    let (status, message, advice) = found(&doctor(&with(&pair.certificate, &pair.key)), "certificate");
    assert_eq!(status, "warning", "{message}");
    assert!(
        message.starts_with("good until 20") && advice.contains("same files"),
        "{message} {advice}"
    );
    let (status, message, _) = found(&doctor(&with(&pair.certificate, &other.key)), "certificate");
    assert_eq!(
        (status.as_str(), message.as_str()),
        (
            "failed",
            "SSL_KEYFILE does not belong to the certificate in SSL_CERTFILE"
        )
    );
    let years = authority.file("years.pem");
    authority.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout years.key -days 700 -subj /CN=localhost -out years.pem",
    );
    let (status, ..) = found(&doctor(&with(&years, &authority.file("years.key"))), "certificate");
    assert_eq!(status, "ok");
}

#[test]
fn what_signs_tokens_is_looked_at_and_never_shown() {
    let plain = Settings::file_store();
    let weak = "abcdabcdabcdabcdabcdabcdabcdabcd";
    let pem = plain.home().join("jwt.pem");
    let pem = pem.to_str().unwrap();
    for (settings, name, status, words) in [
        (plain.clone(), "accounts", "ok", "is made when the service starts"),
        (
            plain.clone().with("SECRET_KEY", STRONG),
            "accounts",
            "ok",
            "on; tokens are signed by SECRET_KEY",
        ),
        (
            plain.clone().with("SECRET_KEY", weak),
            "signing",
            "warning",
            "SECRET_KEY has few different characters",
        ),
        (
            plain.clone().with("DATABASE_URL", "off"),
            "accounts",
            "ok",
            "off: no database",
        ),
        (
            plain.clone().with("JWT_PRIVATE_KEY", pem),
            "accounts",
            "failed",
            "cannot be read",
        ),
    ] {
        let doctor = doctor(&settings);
        let (found, message, _) = found(&doctor, name);
        assert_eq!(found, status, "{message}");
        assert!(message.contains(words), "{message}");
        let text = doctor.to_string();
        assert!(!text.contains(weak) && !text.contains(STRONG), "{text}");
        let has_hash = statuses(&doctor).iter().any(|(name, _)| *name == "hash");
        assert_eq!(has_hash, status != "failed" && !words.starts_with("off"), "{text}");
    }
    let with_file = plain.with("JWT_PRIVATE_KEY", pem);
    run(&with_file, &["jwt", "rotate", "--init"]).done();
    assert_eq!(found(&doctor(&with_file), "accounts").0, "ok");
    std::fs::set_permissions(pem, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (status, message, advice) = found(&doctor(&with_file), "signing");
    assert!(
        status == "warning" && message.ends_with("(mode 644)") && advice.contains("chmod 600"),
        "{message}"
    );
}

/// What `--write` says of how the store is written to.
fn writes(settings: &Settings) -> (String, String, String) {
    found(
        &run(settings, &["doctor", "--offline", "--write", "--json"]).json(),
        "writes",
    )
}

/// One that takes nothing new, also from root.
const NO_FOLDER: &str = "/proc/no";

#[test]
fn a_folder_that_takes_no_new_file_is_told_before_something_is_to_be_put_there() {
    let settings = Settings::file_store().with("DATA_DIR", NO_FOLDER);
    let said = doctor(&settings);
    for name in ["database", "accounts"] {
        let (status, message, advice) = found(&said, name);
        assert_eq!(status, "warning", "{message}");
        assert!(
            message.contains("its folder takes no new file") && advice.contains("folder"),
            "{message} {advice}"
        );
    }
    let (status, message, _) = writes(&settings);
    assert_eq!(status, "failed", "{message}");
    assert!(message.starts_with("the file cannot be written: "), "{message}");
}

#[test]
fn a_file_is_tried_as_far_as_a_write_goes_and_stays_as_it_is() {
    let settings = Settings::file_store();
    assert_eq!(writes(&settings).0, "ok");
    assert!(!settings.data_dir().exists());
    settings.write_document(r#"{"keys":[]}"#);
    assert_eq!(writes(&settings).0, "ok");
    let lock = settings.data_dir().join("keys.json.lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(lock).unwrap();
    let (status, message, _) = writes(&settings);
    assert_eq!(status, "failed", "the lock cannot be taken: {message}");
    assert_eq!(std::fs::read_to_string(settings.document()).unwrap(), r#"{"keys":[]}"#);
}

#[test]
fn accounts_are_not_on_without_their_database() {
    let gone = RefusingPort::bind();
    let settings = Settings::file_store()
        .with("DATABASE_URL", format!("postgres://a:b@{}/auth", gone.address()))
        .with("SECRET_KEY", STRONG);
    let said = doctor(&settings);
    assert_eq!(found(&said, "database").0, "warning");
    let (status, message, _) = found(&said, "accounts");
    assert_eq!(status, "warning", "{message}");
    assert!(
        message.starts_with("nobody logs in while the database cannot be used"),
        "{message}"
    );
}

#[test]
fn a_redis_that_takes_no_writes_is_a_warning() {
    let redis = Redis::start();
    let settings = Settings::file_store().with("REDIS_URL", redis.url());
    assert_eq!(found(&doctor(&settings), "redis").0, "ok");
    redis.refuse_writes();
    let (status, message, _) = found(&doctor(&settings), "redis");
    assert_eq!(status, "warning", "{message}");
    assert!(message.contains("may not be written to"), "{message}");
}

#[test]
fn a_store_is_told_by_what_it_does_with_writes_that_must_be_refused() {
    let object = StoredObject::unsigned();
    let proxy = object.proxy();
    let settings = object.settings_through(&proxy);
    let (status, message, _) = writes(&settings);
    assert_eq!(status, "warning", "{message}");
    assert!(message.contains("If-None-Match cannot be asked"), "{message}");

    proxy.set(Fault::IgnoreConditions);
    let (status, message, _) = writes(&settings);
    assert_eq!(status, "failed", "{message}");
    assert!(
        message.starts_with("the store ignores") && message.contains("holds a document without keys now"),
        "{message}"
    );
    assert_eq!(object.bytes(), br#"{"keys":[]}"#);

    let (status, message, _) = writes(&settings);
    assert_eq!(status, "failed", "{message}");
    assert!(!message.contains("without keys"), "nothing new was taken: {message}");
    let (status, _, advice) = writes(&settings.clone().with("ALLOW_UNCONDITIONAL_WRITES", "true"));
    assert_eq!(status, "warning");
    assert!(
        advice.contains("write from one place only") && !advice.contains("=true"),
        "{advice}"
    );
    proxy.heal();
    assert_eq!(writes(&settings).0, "ok");
}

#[test]
fn a_service_on_another_store_with_as_many_keys_is_told() {
    let service = Settings::file_store().start();
    service.create_key("here");
    let own = Settings::file_store().with("REFRESH_URL", service.url("/refresh"));
    super::create(&own, "there");
    let text = run(&own, &["doctor"]).done().stdout;
    let warning = "⚠️  refresh: the service has other keys than this store\n";
    assert!(text.contains(warning), "{text}");
    let same = service.cli(&["doctor"]);
    let text = String::from_utf8_lossy(&same.stdout).into_owned();
    assert!(!text.contains("other keys"), "{text}");
}

#[test]
fn a_document_that_is_gone_while_it_is_in_force_is_brought_back_and_no_first_one() {
    let service = Settings::file_store().start();
    service.create_key("here");
    service.create_key("there");
    let settings = service.settings().clone().with("REFRESH_URL", service.url("/refresh"));
    std::fs::remove_file(settings.document()).unwrap();
    let said = run(&settings, &["doctor", "--json"]).json();
    let (status, message, advice) = found(&said, "store");
    assert_eq!(status, "failed", "{message}");
    assert!(message.ends_with("the service has one in force"), "{message}");
    assert!(
        advice.contains("heare-auth rollback") && !advice.contains("create"),
        "{advice}"
    );
    let (status, message, advice) = found(&said, "refresh");
    assert_eq!(status, "failed", "{message}");
    assert!(advice.contains("Restore it from a version"), "{message}: {advice}");

    settings.write_document(r#"{"generation":1,"keys":[]}"#);
    let (_, message, advice) = found(&run(&settings, &["doctor", "--json"]).json(), "refresh");
    assert!(advice.contains("--allow-older"), "{message}: {advice}");
}
