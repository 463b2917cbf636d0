//! Who may call, over which connection, and from which page.

use heare_auth::core::time::Timestamp;
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};

use super::{KEYS, call, made, path_of, records, refused, send, started, started_with, text};
use crate::support::{
    documents::{record_with, secret_of},
    http_client::Connection,
    service::{Service, Settings},
};

#[test]
fn without_a_key_every_call_is_401_in_the_known_words() {
    let service = started();
    let calls = [
        ("POST", KEYS.to_owned()),
        ("GET", KEYS.to_owned()),
        ("GET", format!("{KEYS}/key_ann")),
        ("PATCH", format!("{KEYS}/key_ann")),
        ("DELETE", format!("{KEYS}/key_ann")),
        ("POST", format!("{KEYS}/key_ann/rotate")),
        ("POST", format!("{KEYS}/key_ann/reactivate")),
    ];
    for (method, path) in calls {
        let answer = send(&service, method, &path, &[], b"");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (401, r#"{"detail":"API key required"}"#),
            "{method} {path}"
        );
        assert!(
            answer
                .header("www-authenticate")
                .is_some_and(|challenge| challenge.starts_with("Bearer "))
        );
    }
}

/// For as long as an instance has not heard of it, a stolen key must not leave a key behind that outlives it.
#[test]
fn a_key_that_was_taken_away_elsewhere_a_moment_ago_changes_nothing_here() {
    let lost: [(&str, &str, Value, u16, &str); 6] = [
        ("key_admin", "revoked_at", "2020-01-01T00:00:00Z".into(), 401, "revoked"),
        ("key_admin", "expires_at", "2020-01-01T00:00:00Z".into(), 401, "expired"),
        ("key_admin", "secret", "another".into(), 401, "invalid"),
        ("key_admin", "id", "key_of_another_name".into(), 401, "invalid"),
        ("key_admin", "scopes", json!(["orders:read"]), 403, "insufficient_scope"),
        ("key_ann", "scopes", json!(["keys:manage"]), 403, "insufficient_scope"),
    ];
    let settings = Settings::file_store().with("POLL_INTERVAL", "1h");
    for (who, member, value, status, code) in lost {
        let service = started_with(&settings);
        let mut records = records();
        let own = records
            .iter_mut()
            .find(|record| record["id"] == who)
            .expect("the caller");
        own[member] = value;
        settings.write_document(&json!({ "generation": 2, "keys": records }).to_string());
        let before = std::fs::read(settings.document()).expect("the document is there");
        let body = json!({"name": "child", "user_id": "ann"});
        let name = json!({"name": "other"});
        for (method, path, body) in [
            ("POST", KEYS.to_owned(), Some(&body)),
            ("PATCH", format!("{KEYS}/key_bob"), Some(&name)),
            ("POST", format!("{KEYS}/key_bob/rotate"), None),
            ("POST", format!("{KEYS}/key_bob/reactivate"), None),
            ("DELETE", format!("{KEYS}/key_bob"), None),
        ] {
            let answer = call(&service, who, method, &path, body);
            let is_seen = who == "key_admin" || path == KEYS || method != "POST" || !path.ends_with("rotate");
            if is_seen {
                refused(&answer, status, code);
            } else {
                refused(&answer, 404, "not_found");
            }
        }
        let after = std::fs::read(settings.document()).expect("the document is there");
        assert_eq!(after, before, "{who} {member}");
    }
}

#[test]
fn a_key_may_come_in_three_ways_but_only_one_key() {
    let service = started();
    let secret = secret_of("key_ann");
    let (bearer, api_key) = (format!("Bearer {secret}"), format!("ApiKey {secret}"));
    for headers in [
        &[("Authorization", bearer.as_str())][..],
        &[("Authorization", &api_key)],
        &[("X-API-Key", &secret)],
        &[("X-API-Key", &secret), ("Authorization", &bearer)],
    ] {
        assert_eq!(send(&service, "GET", KEYS, headers, b"").status, 200);
    }
    let other = secret_of("key_admin");
    let two = send(
        &service,
        "GET",
        KEYS,
        &[("X-API-Key", &other), ("Authorization", &bearer)],
        b"",
    );
    refused(&two, 401, "two_keys");
}

#[test]
fn a_key_that_is_not_good_or_not_meant_for_this_is_refused() {
    let service = started();
    for (who, status, code) in [
        ("key_nobody", 401, "invalid"),
        ("key_expired", 401, "expired"),
        ("key_revoked", 401, "revoked"),
        ("key_plain", 403, "insufficient_scope"),
        ("key_only_manage", 403, "insufficient_scope"),
        ("key_ann_admin", 403, "insufficient_scope"),
        ("key_elsewhere", 403, "ip_not_allowed"),
    ] {
        refused(&call(&service, who, "GET", KEYS, None), status, code);
    }
}

#[test]
fn an_id_that_is_unknown_malformed_or_somebody_elses_is_the_same_404() {
    let service = started();
    let theirs = made(&service, "key_bob", &json!({"name": "n"}));
    let theirs = text(&theirs["key_id"]);
    let mut bodies = Vec::new();
    for id in [
        "key_0001vDmowdgLBqEcDYe",
        "no-id",
        "%00",
        "%ff",
        "key_admin",
        theirs,
        &"x".repeat(5000),
    ] {
        for (method, action, body) in [
            ("GET", "", None),
            ("PATCH", "", Some(json!({"name": "m"}))),
            ("DELETE", "", None),
            ("POST", "/rotate", None),
            ("POST", "/reactivate", None),
        ] {
            let answer = call(
                &service,
                "key_ann",
                method,
                &format!("{KEYS}/{id}{action}"),
                body.as_ref(),
            );
            assert_eq!(answer.status, 404, "{method} {id}{action}");
            bodies.push(answer.text());
        }
    }
    bodies.dedup();
    assert_eq!(
        bodies,
        [r#"{"error":"API key not found","code":"not_found","detail":"API key not found"}"#]
    );
    assert_eq!(
        call(&service, "key_admin", "GET", &format!("{KEYS}/{theirs}"), None).status,
        200
    );
}

#[test]
fn nobody_makes_or_gets_a_key_broader_than_their_own() {
    let service = started();
    for (who, body) in [
        ("key_ann", json!({"name": "n", "scopes": ["users:read"]})),
        ("key_ann", json!({"name": "n", "scopes": ["*"]})),
        ("key_ann", json!({"name": "n", "scopes": ["admin"]})),
        ("key_ann", json!({"name": "n", "user_id": "bob"})),
        ("key_from_test", json!({"name": "n"})),
        ("key_from_test", json!({"name": "n", "environment": "development"})),
    ] {
        refused(
            &call(&service, who, "POST", KEYS, Some(&body)),
            403,
            "broader_than_maker",
        );
    }
    made(
        &service,
        "key_ann",
        &json!({"name": "n", "scopes": ["orders:write", "keys:manage"], "user_id": "ann"}),
    );
    made(&service, "key_from_test", &json!({"name": "n", "environment": "test"}));

    let own = made(&service, "key_ann", &json!({"name": "n"}));
    let wider = call(
        &service,
        "key_ann",
        "PATCH",
        &path_of(&own),
        Some(&json!({"scopes": ["users:read"]})),
    );
    refused(&wider, 403, "broader_than_maker");
    let broad = format!("{KEYS}/key_broad");
    refused(
        &call(&service, "key_ann", "POST", &format!("{broad}/rotate"), None),
        403,
        "broader_than_maker",
    );
    refused(
        &call(&service, "key_ann", "PATCH", &broad, Some(&json!({"name": "m"}))),
        403,
        "broader_than_maker",
    );
    assert_eq!(
        call(&service, "key_ann", "DELETE", &broad, None).status,
        200,
        "taking away is no gain"
    );
    refused(
        &call(&service, "key_ann", "POST", &format!("{broad}/reactivate"), None),
        403,
        "broader_than_maker",
    );
    made(&service, "key_admin", &json!({"name": "n", "scopes": ["*"]}));
}

#[test]
fn a_key_for_tests_gets_no_key_of_another_environment_into_its_hands() {
    let service = started();
    let prod = made(&service, "key_ann", &json!({"name": "n", "environment": "production"}));
    let test = made(&service, "key_ann", &json!({"name": "n", "environment": "test"}));
    let as_tester = |method, path: &str, body: Option<&Value>| call(&service, "key_from_test", method, path, body);
    // One that has no environment at all is no key for tests either.
    for path in [path_of(&prod), format!("{KEYS}/key_elsewhere")] {
        for (method, action, body) in [
            ("POST", "/rotate", None),
            ("PATCH", "", Some(json!({"name": "m"}))),
            ("POST", "/reactivate", None),
        ] {
            let answer = as_tester(method, &format!("{path}{action}"), body.as_ref());
            refused(&answer, 403, "broader_than_maker");
        }
    }
    let path = path_of(&test);
    assert_eq!(as_tester("POST", &format!("{path}/rotate"), None).status, 200);
    assert_eq!(as_tester("PATCH", &path, Some(&json!({"name": "m"}))).status, 200);
    assert_eq!(as_tester("DELETE", &path_of(&prod), None).status, 200);
}

#[test]
fn nobody_makes_or_gets_a_key_for_longer_from_more_places_or_more_often_than_their_own() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    let soon =
        Timestamp::from_millis(i64::try_from(now.as_millis()).expect("not so late") + 10 * 86_400_000).to_string();
    let of_cat = |id: &str, members: Value| {
        let mut record = record_with(id, "user_id", "cat");
        for (member, value) in members.as_object().expect("members") {
            record[member] = value.clone();
        }
        record
    };
    let held = json!({"scopes": ["keys:manage"], "expires_at": soon, "allowed_ips": ["127.0.0.0/8"],
        "rate_limit_per_hour": 50, "burst": 5, "limits": [{"name": "minute", "limit": 40, "window_seconds": 60}]});
    let admin = json!({"user_id": null, "scopes": ["admin"], "expires_at": soon, "allowed_ips": ["127.0.0.0/8"]});
    let settings = Settings::file_store();
    let records = [
        of_cat("key_held", held),
        of_cat("key_free", json!({})),
        of_cat("key_gone", json!({"revoked_at": "2024-01-01T00:00:00Z"})),
        of_cat("key_op", admin),
    ];
    settings.write_document(&json!({"keys": records}).to_string());
    let service = settings.start_ready();
    let ask = |method, path: &str, body: Value| call(&service, "key_held", method, path, Some(&body));

    let child = made(&service, "key_held", &json!({"name": "n"}));
    for (member, value) in [
        ("allowed_ips", json!(["127.0.0.0/8"])),
        ("rate_limit_per_hour", json!(50)),
        ("limits", json!([{"name": "minute", "limit": 40, "window_seconds": 60}])),
    ] {
        assert_eq!(child[member], value, "{member} is the maker's");
    }
    assert_eq!(text(&child["expires_at"])[..16], soon[..16]);
    let narrow = json!({"name": "n", "allowed_ips": ["127.0.0.1"], "expires_in_days": 9, "rate_limit_per_hour": 9});
    let narrow = made(&service, "key_held", &narrow);
    assert_eq!(narrow["allowed_ips"], json!(["127.0.0.1"]));

    let broader = [
        json!({"allowed_ips": ["127.0.0.0/7"]}),
        json!({"allowed_ips": ["127.0.0.1", "10.0.0.1"]}),
        json!({"expires_in_days": 11}),
        json!({"rate_limit_per_hour": 56}),
        json!({"rate_limit_per_hour": 50, "burst": 6}),
        json!({"limits": [{"name": "minute", "limit": 41, "window_seconds": 60}]}),
    ];
    let cleared =
        ["allowed_ips", "expires_in_days", "rate_limit_per_hour", "limits"].map(|member| json!({member: null}));
    for body in &broader {
        let mut new = body.clone();
        new["name"] = "n".into();
        refused(&ask("POST", KEYS, new), 403, "broader_than_maker");
    }
    // Its own record is no exception.
    for path in [path_of(&child), format!("{KEYS}/key_held")] {
        for body in broader.iter().chain(&cleared) {
            refused(&ask("PATCH", &path, body.clone()), 403, "broader_than_maker");
        }
    }
    assert_eq!(
        ask("PATCH", &path_of(&child), json!({"name": "m", "burst": 5})).status,
        200
    );
    let free = format!("{KEYS}/key_free");
    refused(&ask("PATCH", &free, json!({"name": "m"})), 403, "broader_than_maker");
    refused(
        &ask("POST", &format!("{free}/rotate"), json!({})),
        403,
        "broader_than_maker",
    );
    let gone = format!("{KEYS}/key_gone/reactivate");
    refused(&ask("POST", &gone, json!({})), 403, "broader_than_maker");
    assert_eq!(call(&service, "key_held", "DELETE", &free, None).status, 200);
    assert_eq!(
        ask("POST", &format!("{}/rotate", path_of(&child)), json!({})).status,
        200
    );

    let operators = made(&service, "key_op", &json!({"name": "n"}));
    assert_eq!(
        (&operators["expires_at"], &operators["allowed_ips"]),
        (&Value::Null, &Value::Null)
    );
}

/// An address of this machine that is not loopback.
fn own_address() -> std::net::IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent: this only asks the system which address it would send from.
    socket.connect("198.51.100.1:9").expect("a route to other hosts");
    socket.local_addr().expect("a bound socket").ip()
}

fn from_elsewhere(service: &Service, headers: &[(&str, &str)]) -> (u16, Value) {
    let address = SocketAddr::new(own_address(), service.address().port());
    let credential = secret_of("key_admin");
    let mut sent = vec![("X-API-Key", credential.as_str())];
    sent.extend_from_slice(headers);
    let answer = Connection::open(address).request("GET", KEYS, &sent, b"");
    answer.expect("an answer").status_and_json()
}

#[test]
fn plain_http_from_another_host_is_refused_and_not_redirected() {
    let everywhere = Settings::file_store().with("HOST", "0.0.0.0");
    let service = started_with(&everywhere);
    for headers in [
        &[][..],
        &[("X-Forwarded-Proto", "https")],
        &[("Forwarded", "proto=https")],
    ] {
        let (status, body) = from_elsewhere(&service, headers);
        assert_eq!((status, &body["code"]), (403, &json!("https_required")));
    }
    let said = [("X-API-Key", &*secret_of("key_admin")), ("X-Forwarded-Proto", "http")];
    refused(&send(&service, "GET", KEYS, &said, b""), 403, "https_required");
    let allowed = started_with(
        &Settings::file_store()
            .with("HOST", "0.0.0.0")
            .with("ALLOW_PLAIN_HTTP", "true"),
    );
    assert_eq!(from_elsewhere(&allowed, &[]).0, 200);
}

#[test]
fn a_named_page_may_call_and_read_also_what_is_refused() {
    let service = started_with(&Settings::file_store().with("CORS_ORIGINS", "https://app.example.com"));
    let page = ("Origin", "https://app.example.com");
    let preflight = [
        page,
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", "authorization,if-match"),
    ];
    for path in [KEYS.to_owned(), format!("{KEYS}/key_ann")] {
        let answer = send(&service, "OPTIONS", &path, &preflight, b"");
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(page.1));
        assert!(
            answer
                .header("access-control-allow-methods")
                .is_some_and(|methods| methods.contains("PATCH"))
        );
        let headers = answer
            .header("access-control-allow-headers")
            .expect("headers")
            .to_lowercase();
        for name in [
            "authorization",
            "x-api-key",
            "if-match",
            "idempotency-key",
            "content-type",
        ] {
            assert!(headers.contains(name), "{name}");
        }
    }
    let key = secret_of("key_ann");
    for (method, path, credential, status) in [
        ("GET", KEYS, key.as_str(), 200),
        ("GET", KEYS, "guess", 401),
        ("PUT", KEYS, &key, 405),
        ("POST", KEYS, &key, 422),
        ("GET", "/api/v1/auth/keys/none", &key, 404),
        ("GET", "/api/v1/none", &key, 404),
    ] {
        let answer = send(&service, method, path, &[page, ("X-API-Key", credential)], b"");
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(page.1), "{status}");
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    for origin in ["https://evil.example", "null"] {
        let answer = send(&service, "GET", KEYS, &[("Origin", origin), ("X-API-Key", &key)], b"");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(service.get("/health").header("vary"), None);
}
