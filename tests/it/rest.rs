//! Key management over HTTP: every row of its table, every refusal, and what it does to those who verify.

mod answers;
mod bodies;
mod callers;
mod outage;
mod repeats;
mod rows;
mod usage;
mod writers;

use serde_json::{Value, json};

use crate::support::{
    documents::{record, record_with, secret_of},
    http_client::{Connection, Response},
    service::{Service, Settings},
};

const KEYS: &str = "/api/v1/auth/keys";

/// A key of each kind of caller, and some that are managed. The secret of each is `secret_of` its id.
fn records() -> Vec<Value> {
    let owned = |id: &str, owner: &str, scopes: &[&str]| {
        let mut record = record_with(id, "scopes", json!(scopes));
        record["user_id"] = owner.into();
        record
    };
    let mut ann = owned("key_ann", "ann", &["keys:manage", "orders:*"]);
    // So high that she can give her keys any.
    ann["rate_limit_per_hour"] = 100_000.into();
    ann["burst"] = 100_000.into();
    let mut from_test = owned("key_from_test", "ann", &["keys:manage"]);
    from_test["environment"] = "test".into();
    let mut elsewhere = owned("key_elsewhere", "ann", &["keys:manage"]);
    elsewhere["allowed_ips"] = json!(["192.0.2.0/24"]);
    vec![
        record_with("key_admin", "scopes", json!(["admin"])),
        record("key_plain"),
        record_with("key_only_manage", "scopes", json!(["keys:manage"])),
        ann,
        owned("key_bob", "bob", &["keys:manage"]),
        owned("key_ann_admin", "ann", &["admin"]),
        owned("key_broad", "ann", &["users:read"]),
        from_test,
        elsewhere,
        record_with("key_expired", "expires_at", "2020-01-01T00:00:00Z"),
        record_with("key_revoked", "revoked_at", "2020-01-01T00:00:00Z"),
    ]
}

fn document() -> String {
    json!({ "generation": 1, "keys": records() }).to_string()
}

/// A service with those keys, ready.
fn started() -> Service {
    started_with(&Settings::file_store())
}

fn started_with(settings: &Settings) -> Service {
    settings.write_document(&document());
    settings.start_ready()
}

/// One call, with the key of this id.
fn call(service: &Service, who: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
    call_with(service, who, method, path, &[], body)
}

fn call_with(
    service: &Service,
    who: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Response {
    let credential = format!("Bearer {}", secret_of(who));
    let mut sent = vec![("Authorization", credential.as_str())];
    sent.extend_from_slice(headers);
    if body.is_some() {
        sent.push(("Content-Type", "application/json"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    send(service, method, path, &sent, body.as_bytes())
}

fn send(service: &Service, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut connection: Connection = service.connect();
    connection
        .request(method, path, headers, body)
        .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
}

/// A new key of ann's, as it was answered.
#[track_caller]
fn made(service: &Service, who: &str, body: &Value) -> Value {
    let answer = call(service, who, "POST", KEYS, Some(body));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn path_of(key: &Value) -> String {
    format!("{KEYS}/{}", text(&key["key_id"]))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Refused with this status and code, in the form of all errors.
#[track_caller]
fn refused(answer: &Response, status: u16, code: &str) {
    let body = answer.json();
    assert_eq!((answer.status, &body["code"]), (status, &json!(code)), "{body}");
    assert!(body["error"].is_string() && body["detail"].is_string(), "{body}");
}
