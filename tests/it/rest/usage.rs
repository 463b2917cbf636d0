//! What keys are used for and who changed them, as it is asked over HTTP.

use serde_json::{Value, json};

use super::{KEYS, call, call_with, made, path_of, refused, send, started, started_with, text};
use crate::support::{
    documents::secret_of,
    service::{Settings, eventually},
};

const SUMMARY: &str = "/api/v1/auth/usage/summary";
const AUDIT: &str = "/api/v1/auth/audit";

#[test]
fn an_unused_key_has_zeros_and_a_used_one_its_numbers() {
    let service = started();
    let key = made(&service, "key_ann", &json!({"name": "n"}));
    let path = format!("{}/usage", path_of(&key));
    let unused = call(&service, "key_ann", "GET", &path, None);
    assert_eq!(unused.status, 200, "{}", unused.text());
    let unused = unused.json();
    assert_eq!(unused["key_id"], key["key_id"]);
    for member in ["total_requests", "requests_today", "requests_this_hour"] {
        assert_eq!(unused[member], 0, "{member}");
    }
    for member in ["average_response_time_ms", "error_rate"] {
        assert_eq!(unused[member], 0.0, "{member}");
    }
    assert_eq!((&unused["top_endpoints"], &unused["by_hour"]), (&json!([]), &json!([])));
    assert_eq!(
        call(&service, "key_ann", "GET", &path_of(&key), None).json()["last_used_at"],
        Value::Null
    );

    let body = json!({"api_key": key["key"], "endpoint": "/orders"}).to_string();
    for _ in 0..3 {
        assert_eq!(service.post("/verify", body.as_bytes()).status, 200);
    }
    eventually("the use is counted", || {
        call(&service, "key_ann", "GET", &path, None).json()["total_requests"] == 3
    });
    let used = call(&service, "key_ann", "GET", &format!("{path}?hours=8760"), None).json();
    assert_eq!(used["top_endpoints"][0]["endpoint"], "/orders");
    assert!(call(&service, "key_ann", "GET", &path_of(&key), None).json()["last_used_at"].is_string());
    let listed = call(&service, "key_ann", "GET", &format!("{KEYS}?limit=1"), None).json();
    assert!(listed["keys"][0]["last_used_at"].is_string());
}

#[test]
fn use_is_asked_for_ones_own_keys_and_for_hours_that_there_are() {
    let service = started();
    for id in ["none", "key_bob", "key_admin"] {
        refused(
            &call(&service, "key_ann", "GET", &format!("{KEYS}/{id}/usage"), None),
            404,
            "not_found",
        );
    }
    for hours in ["0", "8761", "x", "-1"] {
        for path in [format!("{KEYS}/key_ann/usage"), SUMMARY.to_owned()] {
            let answer = call(&service, "key_admin", "GET", &format!("{path}?hours={hours}"), None);
            refused(&answer, 422, "invalid_request");
        }
    }
}

#[test]
fn the_summary_and_the_audit_log_are_for_operators() {
    let service = started();
    for path in [SUMMARY, AUDIT] {
        assert_eq!(send(&service, "GET", path, &[], b"").status, 401);
        let answer = call(&service, "key_ann", "GET", path, None);
        refused(&answer, 403, "insufficient_scope");
        assert_eq!(answer.json()["detail"], "needs an operator's key with the scope admin");
        refused(
            &call(&service, "key_plain", "GET", path, None),
            403,
            "insufficient_scope",
        );
        assert_eq!(call(&service, "key_admin", "GET", path, None).status, 200);
        refused(
            &call(&service, "key_admin", "POST", path, None),
            405,
            "method_not_allowed",
        );
    }
    let summary = call(&service, "key_admin", "GET", SUMMARY, None).json();
    assert!(
        summary["active_keys"].is_u64() && summary["total_requests"].is_u64(),
        "{summary}"
    );
}

#[test]
fn every_change_and_every_attempt_is_in_the_audit_log_once() {
    let service = started();
    let sent = [("X-Request-Id", "my-own"), ("Idempotency-Key", "k")];
    let create = || call_with(&service, "key_ann", "POST", KEYS, &sent, Some(&json!({"name": "n"}))).json();
    let key = create();
    create();
    let path = path_of(&key);
    call(&service, "key_ann", "PATCH", &path, Some(&json!({"name": "m"})));
    call(&service, "key_ann", "POST", &format!("{path}/rotate"), None);
    call(&service, "key_ann", "DELETE", &path, None);
    call(&service, "key_ann", "POST", &format!("{path}/rotate"), None);
    call(&service, "key_ann", "POST", &format!("{path}/reactivate"), None);
    let expected = [
        ("reactivate", "ok"),
        ("rotate", "key_revoked"),
        ("revoke", "ok"),
        ("rotate", "ok"),
        ("update", "ok"),
        ("create", "ok"),
    ];
    let page = |query: &str| call(&service, "key_admin", "GET", &format!("{AUDIT}?{query}"), None).json();
    let of_key = format!("key_id={}", text(&key["key_id"]));
    eventually("all is written", || {
        page(&of_key)["entries"].as_array().is_some_and(|all| all.len() == 6)
    });
    let all = page(&of_key);
    let entries = all["entries"].as_array().expect("a list");
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (text(&entry["what"]), text(&entry["result"])))
        .collect();
    assert_eq!(told, expected);
    let first = &entries[5];
    assert_eq!(
        (&first["who"], &first["from"]),
        (&json!("key:key_ann"), &json!("127.0.0.1"))
    );
    assert_eq!(first["request_id"], "my-own");
    let two = page(&format!("{of_key}&limit=2"));
    let rest = page(&format!("{of_key}&cursor={}", text(&two["next"])));
    assert_eq!(rest["entries"].as_array().map(Vec::len), Some(4));
    let answer = call(&service, "key_admin", "GET", &format!("{AUDIT}?cursor=nope"), None);
    refused(&answer, 422, "invalid_request");
    assert_eq!(answer.json()["detail"], "cursor must be the next of an earlier page");
    assert_eq!(page("what=revoke")["entries"].as_array().map(Vec::len), Some(1));
    assert_eq!(service.events("audit").len(), 6);
    assert!(!all.to_string().contains("hk_live_"));
}

#[test]
fn without_a_database_keys_are_managed_all_the_same() {
    let service = started_with(&Settings::file_store().with("DATABASE_URL", "off"));
    let key = made(&service, "key_ann", &json!({"name": "n"}));
    assert_eq!(call(&service, "key_ann", "GET", &path_of(&key), None).status, 200);
    for path in [format!("{}/usage", path_of(&key)), SUMMARY.to_owned(), AUDIT.to_owned()] {
        refused(&call(&service, "key_admin", "GET", &path, None), 503, "usage_off");
    }
}

#[test]
fn a_secret_with_a_prefix_of_ones_own_in_the_wrong_place_is_written_down_nowhere() {
    let service = started_with(&Settings::file_store().with("KEY_PREFIXES", "production=acme_live_"));
    let key = made(&service, "key_admin", &json!({"name": "n"}));
    let secret = text(&key["key"]);
    assert!(secret.starts_with("acme_live_"));
    let credential = secret_of("key_admin");
    let headers = [("X-API-Key", &*credential), ("X-Request-Id", secret)];
    let answer = send(&service, "DELETE", &format!("{KEYS}/{secret}"), &headers, b"");
    assert_eq!(answer.status, 404);
    let verify = json!({"api_key": secret, "endpoint": format!("/login/{secret}")}).to_string();
    assert_eq!(service.post("/verify", verify.as_bytes()).status, 200);

    let audit = call(&service, "key_admin", "GET", AUDIT, None).text();
    assert!(audit.contains(r#""key_id":"***""#), "{audit}");
    let usage = call(&service, "key_admin", "GET", SUMMARY, None).text();
    assert!(usage.contains(r#""endpoint":"other""#), "{usage}");
    let log: String = service.log_lines().into_iter().collect();
    assert!([audit, usage, log].iter().all(|written| !written.contains(secret)));
}

#[test]
fn a_management_call_counts_as_it_was_answered_and_not_as_its_key_was() {
    let service = started();
    let statuses = [
        call(&service, "key_ann", "GET", KEYS, None),
        call(&service, "key_ann", "GET", &format!("{KEYS}/none"), None),
        call(&service, "key_ann", "POST", KEYS, Some(&json!({}))),
        call(&service, "key_plain", "GET", KEYS, None),
        send(&service, "GET", KEYS, &[("X-API-Key", &secret_of("key_expired"))], b""),
    ]
    .map(|answer| answer.status);
    assert_eq!(statuses, [200, 404, 422, 403, 401]);
    let usage_of = |id: &str| call(&service, "key_admin", "GET", &format!("{KEYS}/{id}/usage"), None).json();
    for (id, requests, error_rate, was_good) in [
        ("key_ann", 3, 0.6667, true),
        ("key_plain", 1, 1.0, false),
        ("key_expired", 1, 1.0, false),
    ] {
        eventually("the calls are counted", || usage_of(id)["total_requests"] == requests);
        let usage = usage_of(id);
        assert_eq!(usage["error_rate"], error_rate, "{id}");
        assert_eq!(usage["last_used_at"].is_string(), was_good, "{id}");
    }
}

#[test]
fn what_is_no_id_is_not_written_down_and_what_somebody_has_is() {
    let service = started();
    let of_ours = "key_0001vDmoxAgLBqEcDYf";
    let table = [
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "***"),
        ("key_ghp16C7e42F292c6912E7710c838347Ae178B4a", "***"),
        ("sk-proj-%2Fabc", "***"),
        (of_ours, of_ours),
        ("key_bob", "key_bob"),
    ];
    for (path, _) in table {
        let answer = call(&service, "key_ann", "DELETE", &format!("{KEYS}/{path}"), None);
        refused(&answer, 404, "not_found");
    }
    let removed = service.cli(&["delete", table[0].0, "--yes"]);
    assert_eq!(removed.status.code(), Some(1));
    let page = || call(&service, "key_admin", "GET", AUDIT, None).json();
    let written = |page: &Value| page["entries"].as_array().map_or(0, Vec::len);
    eventually("all is written", || written(&page()) == table.len() + 1);
    let page = page();
    let ids = page["entries"].as_array().expect("a list").iter().rev();
    let ids: Vec<_> = ids.map(|entry| text(&entry["key_id"])).collect();
    let expected: Vec<_> = table.iter().map(|(_, written)| *written).chain(["***"]).collect();
    assert_eq!(ids, expected);
    let log = service.log_lines().concat();
    assert!(!log.contains("16C7e42F"), "{log}");
}
