//! What a key may be used for beyond being known, over HTTP: from where, for what, with an old secret, many at once.

use serde_json::{Value, json};

use heare_auth::core::secret::Digest;

use crate::support::{
    documents::{good_answer, record, record_with, refusal, secret_of},
    http_client::Response,
    service::Service,
    settings::{Settings, serving},
};

/// A running service with these records.
fn started(records: &[Value]) -> Service {
    serving(records).start_ready()
}

/// A record with several members set otherwise.
fn record_of(id: &str, members: Value) -> Value {
    with(record(id), members)
}

fn with(mut object: Value, members: Value) -> Value {
    if let (Value::Object(object), Value::Object(members)) = (&mut object, members) {
        object.extend(members);
    }
    object
}

/// A verify of that key with further members in the body.
fn ask(service: &Service, id: &str, further: Value) -> (u16, Value) {
    service
        .post("/verify", question(id, further).as_bytes())
        .status_and_json()
}

fn question(id: &str, further: Value) -> String {
    with(json!({ "api_key": secret_of(id) }), further).to_string()
}

fn refused(code: &str, error: &str) -> Value {
    json!({ "valid": false, "error": error, "code": code, "detail": { "valid": false, "error": error } })
}

fn post(service: &Service, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    service
        .connect()
        .request("POST", path, headers, body.as_bytes())
        .expect("an answer")
}

#[test]
fn a_plain_key_is_answered_as_ever_whatever_is_asked_beside_it() {
    let service = started(&[record("plain")]);
    let body = question(
        "plain",
        json!({ "client_ip": "192.0.2.1", "cost": 5, "endpoint": "GET /x", "explain": false }),
    );
    for body in [question("plain", json!({})), body] {
        let answer = service.post("/verify", body.as_bytes());
        assert_eq!(
            answer.text(),
            r#"{"valid":true,"key_id":"plain","name":"Name of plain","metadata":{"of":"plain"}}"#
        );
    }
}

#[test]
fn a_key_with_a_policy_tells_whose_it_is_and_what_it_is_for() {
    let owned = record_of(
        "owned",
        json!({ "user_id": "user_7", "environment": "test", "scopes": ["orders:*"], "key_prefix": "hk_test_abc" }),
    );
    let service = started(&[owned]);
    let (_, mut expected) = good_answer("owned");
    expected["user_id"] = "user_7".into();
    expected["environment"] = "test".into();
    expected["scopes"] = json!(["orders:*"]);
    assert_eq!(ask(&service, "owned", json!({})), (200, expected));
}

#[test]
fn every_code_comes_in_its_order() {
    let policy = json!({ "allowed_ips": ["10.0.0.0/8"], "scopes": ["orders:read"] });
    let mut expired = record_of("expired", policy.clone());
    expired["expires_at"] = "2024-01-02T00:00:00Z".into();
    let mut revoked = record_of("revoked", expired.clone());
    revoked["id"] = "revoked".into();
    revoked["secret"] = secret_of("revoked").into();
    revoked["revoked_at"] = "2024-01-01T00:00:00Z".into();
    revoked["revoke_reason"] = "leaked".into();
    let service = started(&[record_of("good", policy), expired, revoked]);
    let wrong = json!({ "client_ip": "192.0.2.1", "required_scopes": ["users:read"] });
    assert_eq!(ask(&service, "unknown", wrong.clone()), refusal("invalid"));
    assert_eq!(ask(&service, "revoked", wrong.clone()), refusal("revoked"));
    assert_eq!(ask(&service, "expired", wrong.clone()), refusal("expired"));
    let not_from_there = refused("ip_not_allowed", "IP address not allowed");
    assert_eq!(ask(&service, "good", wrong), (403, not_from_there));
    let wrong_scope = json!({ "client_ip": "10.0.0.1", "required_scopes": ["orders:read", "users:read"] });
    let mut not_for_that = refused("insufficient_scope", "Insufficient scope");
    not_for_that["required_scopes"] = json!(["orders:read", "users:read"]);
    assert_eq!(ask(&service, "good", wrong_scope), (403, not_for_that));
    let right = json!({ "client_ip": "10.0.0.1", "required_scopes": ["orders:read"] });
    assert_eq!(ask(&service, "good", right).0, 200);
}

#[test]
fn an_allowlist_admits_addresses_of_both_families_and_mapped_ones() {
    let service = started(&[
        record_with("v4", "allowed_ips", json!(["10.0.0.0/8", "192.0.2.7"])),
        record_with("v6", "allowed_ips", json!(["2001:db8::/32"])),
        record_with("mapped", "allowed_ips", json!(["::ffff:10.0.0.0/104"])),
        record_with("open", "allowed_ips", json!([])),
    ]);
    let table = [
        ("v4", "10.200.0.1", 200),
        ("v4", "::ffff:10.200.0.1", 200),
        ("v4", "192.0.2.7", 200),
        ("v4", "192.0.2.8", 403),
        ("v4", "2001:db8::1", 403),
        ("v6", "2001:db8:7::1", 200),
        ("v6", "2001:db9::1", 403),
        ("v6", "10.0.0.1", 403),
        ("mapped", "10.1.1.1", 200),
        ("mapped", "::ffff:10.1.1.1", 200),
        ("mapped", "11.1.1.1", 403),
        ("open", "203.0.113.1", 200),
    ];
    for (id, client_ip, status) in table {
        let answer = ask(&service, id, json!({ "client_ip": client_ip }));
        assert_eq!(answer.0, status, "{id} {client_ip}");
    }
}

#[test]
fn an_unknown_address_is_refused_where_a_list_is_set_whatever_headers_say() {
    let service = started(&[record_with("listed", "allowed_ips", json!(["0.0.0.0/0", "::/0"]))]);
    let headers = [("X-Forwarded-For", "10.0.0.1"), ("X-Real-IP", "10.0.0.1")];
    for further in [json!({}), json!({ "client_ip": null })] {
        let answer = post(&service, "/verify", &headers, &question("listed", further)).status_and_json();
        assert_eq!(answer, (403, refused("ip_not_allowed", "IP address not allowed")));
    }
}

#[test]
fn scopes_are_covered_segment_by_segment() {
    let service = started(&[
        record_with("orders", "scopes", json!(["orders:*", "users:read"])),
        record_with("all", "scopes", json!(["*"])),
        record("none"),
    ]);
    let table = [
        ("orders", json!(["orders:write"]), 200),
        ("orders", json!(["orders:write", "users:read"]), 200),
        ("orders", json!(["orders:write", "users:write"]), 403),
        ("orders", json!(["orders"]), 403),
        ("orders", json!(["orders:write:all"]), 403),
        ("all", json!(["orders:write:all", "users"]), 200),
        ("none", json!([]), 200),
        ("none", json!(["orders:write"]), 403),
    ];
    for (id, scopes, status) in table {
        let answer = ask(&service, id, json!({ "required_scopes": scopes }));
        assert_eq!(answer.0, status, "{id} {scopes}");
    }
}

#[test]
fn an_earlier_secret_works_until_its_time_and_says_so() {
    let previous =
        |secret: &str, until: &str| json!({ "secret_hash": Digest::of(secret).to_string(), "not_after": until });
    let rotated = record_with(
        "rotated",
        "previous",
        json!([
            previous("sec_old", "2999-01-01T00:00:00Z"),
            previous("sec_older", "2024-01-01T00:00:00Z")
        ]),
    );
    let service = started(&[rotated]);
    let (status, mut expected) = good_answer("rotated");
    assert_eq!(ask(&service, "rotated", json!({})), (status, expected.clone()));
    expected["secret"] = "previous".into();
    expected["previous_expires_at"] = "2999-01-01T00:00:00Z".into();
    assert_eq!(service.verify("sec_old"), (status, expected));
    assert_eq!(service.verify("sec_older"), refusal("invalid"));
    assert_eq!(service.health().1["keys_count"], 1);
}

#[test]
fn a_policy_that_cannot_be_understood_denies_its_key_alone_and_is_named() {
    let service = started(&[
        record_with("bad", "allowed_ips", json!(["10.0.0.0/33"])),
        record("good"),
    ]);
    assert_eq!(
        ask(&service, "bad", json!({ "client_ip": "10.0.0.1" })),
        refusal("invalid")
    );
    assert_eq!(ask(&service, "good", json!({})), good_answer("good"));
    let line = service.wait_for_event("bad_record", |_| true);
    assert_eq!(
        (&line["key_id"], &line["defect"]),
        (&json!("bad"), &json!("bad_allowed_ips"))
    );
}

#[test]
fn an_optional_member_of_a_wrong_type_is_malformed_and_not_repeated() {
    let service = started(&[record("good")]);
    let table = [
        (json!({ "client_ip": "marker" }), "client_ip", "ip_any_address"),
        (json!({ "client_ip": ["marker"] }), "client_ip", "string_type"),
        (json!({ "required_scopes": "marker" }), "required_scopes", "list_type"),
        (
            json!({ "required_scopes": ["mar ker"] }),
            "required_scopes",
            "string_pattern_mismatch",
        ),
        (json!({ "cost": "marker" }), "cost", "int_type"),
        (json!({ "cost": 0 }), "cost", "greater_than_equal"),
        (json!({ "cost": 100_001 }), "cost", "less_than_equal"),
        (json!({ "endpoint": { "marker": 1 } }), "endpoint", "string_type"),
        (json!({ "explain": "marker" }), "explain", "bool_type"),
    ];
    for (further, member, kind) in table {
        let answer = service.post("/verify", question("good", further).as_bytes());
        let detail = &answer.json()["detail"][0];
        assert_eq!(answer.status, 422, "{member}");
        assert_eq!(
            (&detail["type"], &detail["loc"]),
            (&json!(kind), &json!(["body", member]))
        );
        assert!(
            !answer.text().contains("marker") && !answer.text().contains("mar ker"),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn a_batch_answers_each_as_it_would_be_answered_alone() {
    let service = started(&[
        record_with("listed", "allowed_ips", json!(["10.0.0.0/8"])),
        record("plain"),
    ]);
    let bodies = [
        question("plain", json!({})),
        question("unknown", json!({})),
        question("listed", json!({ "client_ip": "10.0.0.1" })),
        question("listed", json!({})),
        question("plain", json!({ "required_scopes": ["a"] })),
        question("plain", json!({ "explain": true })),
        r#"{"api_key":7}"#.to_owned(),
        "[]".to_owned(),
    ];
    let alone: Vec<Value> = bodies
        .iter()
        .map(|body| {
            let (status, mut answer) = service.post("/verify", body.as_bytes()).status_and_json();
            answer["status"] = status.into();
            answer
        })
        .collect();
    let list = format!("[{}]", bodies.join(","));
    for body in [format!(r#"{{"requests":{list}}}"#), list] {
        let answer = service.post("/verify/batch", body.as_bytes()).status_and_json();
        assert_eq!(answer, (200, json!({ "results": alone })));
    }
    let statuses: Vec<_> = alone
        .iter()
        .map(|one| one["status"].as_u64().unwrap_or_default())
        .collect();
    assert_eq!(statuses, [200, 403, 200, 403, 403, 200, 422, 422]);
}

#[test]
fn a_batch_has_at_most_a_hundred_requests() {
    let service = started(&[record("plain")]);
    let of = |count| {
        format!(
            r#"{{"requests":[{}]}}"#,
            vec![question("plain", json!({})); count].join(",")
        )
    };
    let (status, body) = service.post("/verify/batch", of(100).as_bytes()).status_and_json();
    assert_eq!((status, body["results"].as_array().map(Vec::len)), (200, Some(100)));
    assert_eq!(
        service.post("/verify/batch", of(0).as_bytes()).text(),
        r#"{"results":[]}"#
    );
    for (body, kind) in [(of(101).as_str(), "too_long"), ("{}", "missing"), ("x", "json_invalid")] {
        let (status, body) = service.post("/verify/batch", body.as_bytes()).status_and_json();
        assert_eq!((status, &body["detail"][0]["type"]), (422, &json!(kind)));
    }
}

#[test]
fn a_key_validates_itself_by_header_or_body() {
    let owned = record_of(
        "owned",
        json!({ "user_id": "user_7", "scopes": ["orders:*"], "rate_limit_per_hour": 500 }),
    );
    let service = started(&[owned, record_with("default", "user_id", "user_8"), record("plain")]);
    let valid = |id: &str, user_id: Value, scopes: Value, limit: Value| json!({ "is_valid": true, "key_id": id, "user_id": user_id, "scopes": scopes, "rate_limit_per_hour": limit });
    let table = [
        (
            "owned",
            valid("owned", json!("user_7"), json!(["orders:*"]), json!(500)),
        ),
        ("default", valid("default", json!("user_8"), json!([]), json!(1000))),
        ("plain", valid("plain", json!(null), json!([]), json!(null))),
    ];
    for (id, expected) in table {
        let bearer = format!("Bearer {}", secret_of(id));
        let path = "/api/v1/keys/validate";
        for answer in [
            post(&service, path, &[("Authorization", &bearer)], ""),
            post(&service, path, &[("Authorization", &bearer)], r#"{"endpoint":"x"}"#),
            post(&service, path, &[], &question(id, json!({}))),
        ] {
            assert_eq!(answer.status_and_json(), (200, expected.clone()));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
}

#[test]
fn a_key_that_does_not_validate_is_401_and_challenged_or_403_when_it_is_known() {
    let service = started(&[
        record_with("expired", "expires_at", "2024-01-01"),
        record_with("revoked", "is_active", false),
        record_with("listed", "allowed_ips", json!(["10.0.0.0/8"])),
    ]);
    let path = "/api/v1/keys/validate";
    for (id, code) in [("unknown", "invalid"), ("expired", "expired"), ("revoked", "revoked")] {
        let bearer = format!("Bearer {}", secret_of(id));
        let answer = post(&service, path, &[("Authorization", &bearer)], "");
        let body = json!({ "is_valid": false, "error": "Invalid API key", "code": code, "detail": "Invalid API key" });
        assert_eq!(answer.status_and_json(), (401, body));
        let challenge = r#"Bearer realm="heare-auth", error="invalid_token""#;
        assert_eq!(answer.header("www-authenticate"), Some(challenge));
    }
    let nothing = post(&service, path, &[("Authorization", "Basic eDp5")], "{}");
    assert_eq!(
        (nothing.status, &nothing.json()["detail"]),
        (401, &json!("API key required"))
    );
    assert_eq!(nothing.header("www-authenticate"), Some(r#"Bearer realm="heare-auth""#));
    let elsewhere = post(
        &service,
        path,
        &[],
        &question("listed", json!({ "client_ip": "192.0.2.1" })),
    );
    assert_eq!(
        (elsewhere.status, &elsewhere.json()["code"]),
        (403, &json!("ip_not_allowed"))
    );
    assert_eq!(elsewhere.header("www-authenticate"), None);
    let two = post(
        &service,
        path,
        &[("Authorization", "Bearer sec_other")],
        &question("listed", json!({})),
    );
    assert_eq!(
        (two.status, &two.json()["detail"][0]["type"]),
        (422, &json!("value_error"))
    );
}

#[test]
fn an_operators_key_is_told_every_check_and_no_other_is() {
    let policy = json!({ "allowed_ips": ["10.0.0.0/8"], "scopes": ["a"], "is_active": false });
    let mut owned = policy.clone();
    owned["user_id"] = "user_7".into();
    let service = started(&[
        record_of("operators", policy),
        record_of("owned", owned),
        record("plain"),
    ]);
    let further = json!({ "explain": true, "client_ip": "192.0.2.1", "required_scopes": ["a"] });
    let check = |check: &str, outcome: &str| json!({ "check": check, "outcome": outcome });
    let (status, mut expected) = refusal("revoked");
    expected["checks"] = json!([
        check("secret", "passed"),
        check("revocation", "failed"),
        check("expiry", "not_set"),
        check("allowed_ips", "failed"),
        check("scopes", "passed"),
        check("limits", "not_set"),
    ]);
    assert_eq!(ask(&service, "operators", further.clone()), (status, expected));
    assert_eq!(ask(&service, "owned", further.clone()), refusal("revoked"));
    assert_eq!(ask(&service, "unknown", further), refusal("invalid"));
    let (_, good) = ask(&service, "plain", json!({ "explain": true }));
    assert_eq!(
        (&good["valid"], good["checks"].as_array().map(Vec::len)),
        (&json!(true), Some(6))
    );
}

#[test]
fn before_the_first_load_no_form_of_the_question_has_an_answer() {
    let settings = Settings::file_store();
    settings.write_document("<html>");
    let service = settings.start();
    let one = question("any", json!({}));
    for (path, body) in [("/verify/batch", format!("[{one}]")), ("/api/v1/keys/validate", one)] {
        let answer = service.post(path, body.as_bytes());
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1")),
            "{path}"
        );
    }
}

#[test]
fn the_further_routes_are_posted_to_and_to_the_letter() {
    let service = started(&[record("plain")]);
    for path in ["/verify/batch", "/api/v1/keys/validate"] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{path}");
        assert_eq!(service.post(&format!("{path}/"), b"{}").status, 404, "{path}/");
    }
}

#[test]
fn every_key_of_a_batch_is_logged_for_itself_and_no_secret_is() {
    let service = started(&[record("plain")]);
    let body = format!("[{},{}]", question("plain", json!({})), question("unknown", json!({})));
    service.post("/verify/batch", body.as_bytes());
    service.wait_for_event("verification_success", |line| line["key_id"] == "plain");
    service.wait_for_event("verification_failed", |line| line["code"] == "invalid");
    let text = service.log_lines().join("\n");
    assert!(!text.contains(&secret_of("plain")) && !text.contains(&secret_of("unknown")));
}
