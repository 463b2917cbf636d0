//! Requests that take long, and what is counted of those that are routed.

use crate::support::{
    documents::document,
    server_in_process::TestServer,
    service::{Service, Settings},
};
use heare_auth::config::Config;
use serde_json::json;
use std::{thread, time::Duration};

fn start(slow_request: &str) -> Service {
    let settings = Settings::file_store().with("SLOW_REQUEST", slow_request);
    settings.write_document(&document(1, &["key_1"]));
    settings.start_ready()
}

/// A call whose body takes a while.
fn slow_call(service: &Service) {
    let mut connection = service.connect();
    connection
        .send(
            b"PATCH /api/v1/auth/keys/key_of_somebody?secret=m4rk3r HTTP/1.1\r\nHost: localhost\r\n\
              X-Request-Id: my-own-id\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        )
        .unwrap();
    // From here on it waits for the body.
    connection.read_continue().unwrap();
    thread::sleep(Duration::from_millis(60));
    connection.send(b"{}").unwrap();
    assert_eq!(connection.read_response().unwrap().status, 401);
}

#[test]
fn a_slow_request_is_logged_by_its_route_and_never_by_its_path() {
    let service = start("50ms");
    assert_eq!(service.get("/api/v1/auth/keys").status, 401);
    slow_call(&service);
    let told = service.wait_for_event("slow_request", |line| line["method"] == "PATCH");
    assert_eq!(told["level"], 40);
    assert_eq!(told["route"], "/api/v1/auth/keys/{id}");
    assert_eq!(told["status"], 401);
    assert_eq!(told["request_id"], "my-own-id");
    assert!(told["duration_ms"].as_u64().unwrap() >= 50, "{told}");
    let lines = service.log_lines().concat();
    assert!(
        !lines.contains("key_of_somebody") && !lines.contains("m4rk3r"),
        "{lines}"
    );
}

#[test]
fn nothing_is_slow_where_nobody_asks() {
    let off = |name: &str| (name == "SLOW_REQUEST").then(|| "off".to_owned());
    let config = Config::from_lookup(&off).expect("settings that can be used");
    assert_eq!(config.gateway.slow_request, None);
    let service = start("off");
    slow_call(&service);
    service.signal("TERM");
    service.wait_for_event("shutdown", |_| true);
    assert_eq!(service.events("slow_request").len(), 0);
}

#[test]
fn a_slow_verify_is_told_with_the_id_of_its_own_line() {
    let secret = "hk_live_000-imported-secret-of-some-length";
    let hash = bcrypt::hash(secret, 8).unwrap();
    let record = json!({
        "id": "key_old", "secret_hash": hash, "key_prefix": "hk_live_000", "name": "Old", "created_at": "2024-01-20T10:30:00Z",
    });
    let settings = Settings::file_store().with("SLOW_REQUEST", "1ms");
    settings.write_document(&json!({ "generation": 1, "keys": [record] }).to_string());
    let service = settings.start_ready();
    service.verify(secret);
    let told = service.wait_for_event("slow_request", |line| line["route"] == "/verify");
    assert_eq!(told["method"], "POST");
    let id = told["request_id"].as_str().unwrap().to_owned();
    service.wait_for_event("verification_success", |line| line["request_id"] == id);
    let is_verification = |line: &serde_json::Value| {
        let event = line["event"].as_str().unwrap_or_default();
        event.starts_with("verification_") && line["request_id"] == id
    };
    assert_eq!(service.log().iter().filter(|line| is_verification(line)).count(), 1);
}

#[test]
fn what_is_routed_is_counted_by_its_status_and_a_verify_is_not() {
    let server = TestServer::start();
    let mut client = server.client();
    server.metrics.take();
    assert_eq!(server.verify("sec_good").status, 200);
    for (path, status) in [
        ("/health", 200),
        ("/ready", 200),
        ("/nowhere", 404),
        ("/api/v1/auth/keys", 401),
    ] {
        assert_eq!(client.get(path).status, status);
    }
    let taken = server.metrics.take();
    let counter = |name: &str| taken.counters.get(name).copied().unwrap_or(0);
    assert_eq!(counter("http.requests"), 4);
    assert_eq!(counter("http.status.2xx"), 2);
    assert_eq!(counter("http.status.4xx"), 2);
    assert_eq!(counter("http.status.5xx"), 0);
    assert_eq!(counter("http.duration_count"), 4);
    assert_eq!(taken.timers["http.duration"].len(), 4);
    assert_eq!(counter("verify.requests"), 1);
}
