//! Where there are no accounts, and why, and settings that stop the start.

use super::{Client, PASSWORD, SECRET_KEY, Site, credentials, said};
use crate::support::{ports::refusing, postgres::Database};

#[test]
fn where_there_are_none_their_paths_are_unknown_and_the_start_says_why() {
    let store = format!("http://{}", refusing());
    let bucket = [
        ("S3_BUCKET", "no-bucket"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_ENDPOINT_URL", store.as_str()),
    ];
    let database = Database::shared();
    let url = database.url();
    let without_a_key = [("DATABASE_URL", url.as_str())];
    for settings in [&[("DATABASE_URL", "off")][..], &bucket, &without_a_key] {
        let service = settings
            .iter()
            .fold(Site::local().settings, |all, (name, value)| all.with(name, *value))
            .start();
        service.wait_for_event("startup", |line| {
            line["accounts"].as_str().is_some_and(|said| said.starts_with("off"))
        });
        let client = Client::new();
        for (method, path) in [
            ("POST", "/api/register"),
            ("GET", "/api/profile"),
            ("GET", "/.well-known/jwks.json"),
            ("PUT", "/api/login"),
        ] {
            let body = credentials("user", PASSWORD).to_string();
            said(
                &client.send(&service, method, path, &[], body.as_bytes()),
                404,
                r#"{"detail":"Not Found"}"#,
            );
        }
    }
}

#[test]
fn a_weak_secret_stops_the_start_and_is_not_repeated() {
    let settings = Site::local().settings.with("SECRET_KEY", "your-secret-key-here");
    let output = settings.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("SECRET_KEY must be"),
        "{said}"
    );
    assert!(!said.contains("your-secret-key-here"));
}

#[test]
fn tokens_outlive_a_restart_and_a_signing_key_that_was_replaced() {
    let site = Site::local();
    let client = Client::new();
    let first = site.start();
    client.register(&first, "user");
    let token = client.login(&first, "user").access;
    assert!(first.stop().success());
    let second = site.start();
    assert_eq!(client.profile(&second, &token).status, 200);

    let with_key = site.settings.clone().with("SECRET_KEY", SECRET_KEY);
    let (old, older) = (with_key.start(), Client::new());
    let tokens = older.login(&old, "user");
    assert_eq!(older.profile(&old, &token).status, 401, "nobody named the key before");
    let replaced = with_key
        .with(
            "SECRET_KEY",
            "quite another secret, that is longer than thirty-two bytes",
        )
        .with("SECRET_KEY_PREVIOUS", SECRET_KEY)
        .start();
    assert_eq!(older.profile(&replaced, &tokens.access).status, 200);
    assert_eq!(older.refresh(&replaced, &tokens.refresh).status, 200);
}
