//! That every status in the document is really sent: each operation is driven through its good and its bad cases.

mod accounts;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{document, operations};
use crate::support::{
    documented::{judge, operation, path_of},
    documents::{record, record_with, secret_of},
    http_client::Response,
    service::{Service, Settings},
};

const KEYS: &str = "/api/v1/auth/keys";

/// Seen answers: which operation, and with which status.
#[derive(Default)]
struct Seen(BTreeSet<(String, String)>);

#[test]
fn every_described_status_is_sent_by_somebody() {
    let service = Settings::file_store();
    service.write_document(&json!({ "generation": 1, "keys": records() }).to_string());
    let service = service.start_ready();
    let blind = Settings::file_store();
    blind.write_document("{");
    let blind = blind.start();
    let document = document(&service);
    let mut seen = Seen::default();
    for (method, path, who, headers, body) in cases() {
        seen.ask(&service, method, path, who, headers, body.as_bytes());
    }
    for (path, method, described) in operations(&document) {
        let target = path.replace("{id}", "key_toy").replace("{path}", "a/b");
        seen.all_of_one(&service, &blind, &method, &target, described);
    }
    seen.a_repetition_by_another_secret(&service);
    accounts::drive(&mut seen);
    let described = operations(&document).into_iter().flat_map(|(path, method, operation)| {
        let statuses = operation["responses"].as_object().expect("responses").keys();
        statuses.map(move |status| (format!("{method} {path}"), status.clone()))
    });
    // A body that takes too long takes half a minute.
    let unseen: Vec<_> = described
        .filter(|one| one.1 != "408" && !seen.0.contains(one))
        .collect();
    assert!(unseen.is_empty(), "described and never seen: {unseen:#?}");
}

impl Seen {
    /// What goes wrong, or right, at every operation in the same way.
    fn all_of_one(&mut self, service: &Service, blind: &Service, method: &str, target: &str, described: &Value) {
        let status = |status: &str| described["responses"].get(status).is_some();
        self.ask(service, method, target, "", &[("Host", "a b")], b"");
        self.raw(
            service,
            method,
            target,
            &format!("{method} {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        );
        self.ask(service, method, target, "", &[], b"{}");
        // Two different keys would be refused before it is seen that there are none to compare with.
        let [caller, body] = match target {
            "/verify" | "/verify/batch" => ["", r#"{"api_key":"x","requests":[]}"#],
            _ => ["key_admin", ""],
        };
        self.ask(blind, method, target, caller, &[], body.as_bytes());
        if status("413") {
            self.ask(service, method, target, "key_admin", &[], &vec![b' '; 70_000]);
        }
        if status("304") {
            self.ask(service, method, target, "key_admin", &[("If-None-Match", "*")], b"");
        }
        for who in ["key_admin", "key_plain", "key_limited"] {
            self.ask(service, method, target, who, &[], b"");
        }
        if target.starts_with("/api/v1/auth") {
            self.ask(
                service,
                method,
                &target.replace("key_toy", "key_none"),
                "key_admin",
                &[],
                b"",
            );
        } else if target.starts_with("/authz") {
            self.ask(service, method, &format!("{target}?require=x"), "key_plain", &[], b"");
            self.ask(service, method, &format!("{target}?cost=0"), "key_plain", &[], b"");
        }
    }

    /// Its answer was sealed with the secret that the caller had then.
    fn a_repetition_by_another_secret(&mut self, service: &Service) {
        let headers = [("Idempotency-Key", "once")];
        let body = br#"{"name":"made once"}"#;
        self.ask(service, "POST", KEYS, "key_maker", &headers, body);
        let rotated = self.ask(
            service,
            "POST",
            "/api/v1/auth/keys/key_maker/rotate",
            "key_admin",
            &[],
            b"",
        );
        let secret = rotated.json()["key"].as_str().expect("a secret").to_owned();
        let again = [headers[0], ("X-API-Key", &*secret)];
        self.ask(service, "POST", KEYS, "", &again, body);
    }

    fn ask(
        &mut self,
        service: &Service,
        method: &str,
        target: &str,
        who: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let credential = format!("Bearer {}", secret_of(who));
        let mut sent = headers.to_vec();
        if !who.is_empty() {
            sent.push(("Authorization", &credential));
        }
        self.send(service, method, target, &sent, body)
    }

    fn send(
        &mut self,
        service: &Service,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let answer = service.connect().request(method, target, headers, body);
        let answer = answer.unwrap_or_else(|e| panic!("{method} {target}: {e}"));
        self.keep(method, target, &answer);
        answer
    }

    fn raw(&mut self, service: &Service, method: &str, target: &str, request: &str) {
        let mut connection = service.connect();
        connection.send(request.as_bytes()).expect("it listens");
        let answer = connection.read_response_to(method).expect("an answer");
        judge(method, target, &answer).unwrap_or_else(|problem| panic!("{method} {target}: {problem}"));
        self.keep(method, target, &answer);
    }

    fn keep(&mut self, method: &str, target: &str, answer: &Response) {
        let path = path_of(target).expect("a described path");
        assert!(operation(method, path).is_some());
        self.0.insert((format!("{method} {path}"), answer.status.to_string()));
    }
}

fn records() -> Vec<Value> {
    let mut limited = record_with("key_limited", "scopes", json!(["admin"]));
    limited["rate_limit_per_hour"] = json!(1);
    vec![
        record_with("key_admin", "scopes", json!(["admin"])),
        record("key_plain"),
        limited,
        record_with("key_maker", "scopes", json!(["admin"])),
        record("key_toy"),
        record("key_spare"),
        record("key_twice"),
        record("key_twice"),
        record_with("key_expired", "expires_at", "2020-01-01T00:00:00Z"),
    ]
}

type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    String,
);

/// What is particular to one operation.
fn cases() -> Vec<Case> {
    const NONE: &[(&str, &str)] = &[];
    const TEXT: &[(&str, &str)] = &[("Content-Type", "text/plain")];
    const OLD: &[(&str, &str)] = &[("If-Match", "\"x\"")];
    const FORWARDED: &[(&str, &str)] = &[("X-Forwarded-For", "192.0.2.1")];
    let key = |id: &str| json!({ "api_key": secret_of(id) }).to_string();
    let scoped = json!({ "required_scopes": ["x"] }).to_string();
    let body = |text: &str| text.to_owned();
    vec![
        ("POST", "/verify", "", NONE, key("key_plain")),
        ("POST", "/verify", "", NONE, key("key_nobody")),
        ("POST", "/verify", "", NONE, key("key_limited")),
        ("POST", "/verify", "", NONE, key("key_limited")),
        ("POST", "/verify/batch", "", NONE, body("[]")),
        ("POST", "/api/v1/keys/validate", "key_plain", NONE, scoped),
        ("POST", "/api/v1/keys/validate", "key_plain", NONE, body("x")),
        ("POST", "/refresh", "", FORWARDED, body("")),
        ("GET", "/metrics", "", FORWARDED, body("")),
        ("POST", KEYS, "key_admin", NONE, body(r#"{"name":"made"}"#)),
        ("POST", KEYS, "key_admin", TEXT, body("{}")),
        ("POST", KEYS, "key_admin", NONE, body("{}")),
        ("GET", "/api/v1/auth/keys?limit=0", "key_admin", NONE, body("")),
        ("PATCH", "/api/v1/auth/keys/key_toy", "key_admin", NONE, body("{}")),
        ("PATCH", "/api/v1/auth/keys/key_toy", "key_admin", TEXT, body("{}")),
        ("PATCH", "/api/v1/auth/keys/key_toy", "key_admin", NONE, body("x")),
        ("PATCH", "/api/v1/auth/keys/key_toy", "key_admin", OLD, body("{}")),
        ("PATCH", "/api/v1/auth/keys/key_none", "key_admin", NONE, body("{}")),
        (
            "PATCH",
            "/api/v1/auth/keys/key_twice",
            "key_admin",
            NONE,
            body(r#"{"burst":1}"#),
        ),
        (
            "POST",
            "/api/v1/auth/keys/key_spare/rotate",
            "key_admin",
            NONE,
            body(""),
        ),
        (
            "POST",
            "/api/v1/auth/keys/key_spare/rotate",
            "key_admin",
            TEXT,
            body("{}"),
        ),
        (
            "POST",
            "/api/v1/auth/keys/key_spare/rotate",
            "key_admin",
            NONE,
            body(r#"{"a":1}"#),
        ),
        (
            "POST",
            "/api/v1/auth/keys/key_expired/rotate",
            "key_admin",
            NONE,
            body(""),
        ),
        (
            "POST",
            "/api/v1/auth/keys/key_spare/reactivate",
            "key_admin",
            TEXT,
            body("{}"),
        ),
        (
            "POST",
            "/api/v1/auth/keys/key_spare/reactivate",
            "key_admin",
            NONE,
            body(r#"{"a":1}"#),
        ),
        (
            "POST",
            "/api/v1/auth/keys/key_expired/reactivate",
            "key_admin",
            NONE,
            body(""),
        ),
        (
            "GET",
            "/api/v1/auth/keys/key_toy/usage?hours=0",
            "key_admin",
            NONE,
            body(""),
        ),
        ("GET", "/api/v1/auth/usage/summary?hours=0", "key_admin", NONE, body("")),
        ("GET", "/api/v1/auth/audit?limit=0", "key_admin", NONE, body("")),
    ]
}
