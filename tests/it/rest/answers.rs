//! What is told of a call: in the log, and to nobody else.

use serde_json::json;

use super::{KEYS, call, call_with, made, path_of, send, started, text};
use crate::support::documents::secret_of;

#[test]
fn every_call_is_one_line_that_says_who_what_and_how_it_ended() {
    let service = started();
    let key = made(&service, "key_ann", &json!({"name": "n"}));
    let line = service.wait_for_event("management", |line| line["status"] == 201);
    assert_eq!(
        (&line["key_id"], &line["target_key_id"]),
        (&json!("key_ann"), &key["key_id"])
    );
    assert_eq!(
        (&line["method"], &line["route"], &line["level"]),
        (&json!("POST"), &json!(KEYS), &json!(30))
    );

    let sent = [("X-Request-Id", "my-own")];
    call_with(&service, "key_ann", "GET", &format!("{KEYS}/none"), &sent, None);
    let line = service.wait_for_event("management", |line| line["request_id"] == "my-own");
    assert_eq!(
        (&line["status"], &line["code"], &line["level"]),
        (&json!(404), &json!("not_found"), &json!(40))
    );
    assert_eq!(line["route"], "/api/v1/auth/keys/{id}");

    send(&service, "GET", KEYS, &[], b"");
    let line = service.wait_for_event("management", |line| line["status"] == 401);
    assert!(line.get("key_id").is_none_or(serde_json::Value::is_null), "{line}");
    assert_eq!(service.events("management").len(), 3);
}

#[test]
fn no_secret_is_in_the_log_or_in_the_store() {
    let service = started();
    let key = made(&service, "key_ann", &json!({"name": "n"}));
    let path = path_of(&key);
    let rotated = call_with(
        &service,
        "key_ann",
        "POST",
        &format!("{path}/rotate"),
        &[("Idempotency-Key", "k")],
        None,
    )
    .json();
    call(
        &service,
        "key_ann",
        "GET",
        &format!("{KEYS}/{}", text(&rotated["key"])),
        None,
    );
    call(&service, "key_ann", "DELETE", &path, None);
    service.wait_for_event("management", |line| line["method"] == "DELETE");
    let stored = std::fs::read_to_string(service.settings().document()).expect("a document");
    let log = service.log_lines().concat();
    for secret in [
        text(&key["key"]),
        text(&rotated["key"]),
        &secret_of("key_ann"),
        &secret_of("key_admin"),
    ] {
        assert!(!log.contains(secret) && !stored.contains(secret));
    }
}
