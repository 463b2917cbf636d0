//! What a reverse proxy is answered on `/authz`, asked directly over HTTP.

use crate::support::{
    bridge::{Answer, HttpReceiver, Totals},
    documents::{document, record_with, secret_of},
    http_client::Response,
    service::{Service, Settings},
};
use serde_json::{Value, json};

const IDENTITY: [&str; 5] = [
    "X-Auth-Key-Id",
    "X-Auth-Key-Name",
    "X-Auth-User-Id",
    "X-Auth-Scopes",
    "X-Auth-Environment",
];

fn started(settings: &Settings, records: &[Value]) -> Service {
    settings.write_document(&json!({ "keys": records }).to_string());
    settings.start_ready()
}

fn service() -> Service {
    let settings = Settings::file_store();
    settings.write_document(&document(1, &["key_1", "key_2"]));
    settings.start_ready()
}

fn ask(service: &Service, path: &str, headers: &[(&str, &str)]) -> Response {
    service.connect().request("GET", path, headers, b"").expect("an answer")
}

fn ask_as(service: &Service, id: &str, path: &str) -> Response {
    ask(
        service,
        path,
        &[("Authorization", &format!("Bearer {}", secret_of(id)))],
    )
}

fn code(answer: &Response) -> Value {
    answer.json()["code"].clone()
}

#[test]
fn a_good_answer_carries_every_identity_header_and_is_never_cached() {
    let service = service();
    let answer = ask_as(&service, "key_1", "/authz");
    assert_eq!(answer.status, 200);
    let values: Vec<_> = IDENTITY.iter().map(|name| answer.header(name)).collect();
    let expected = ["key_1", "Name of key_1", "", "", ""].map(Some);
    assert_eq!(values, expected);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.body.is_empty() && answer.header("content-type").is_none());
}

#[test]
fn any_method_and_any_path_below_are_asked_about() {
    let service = service();
    let secret = secret_of("key_1");
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        for path in ["/authz", "/authz/", "/authz/orders/1?page=2", "/authz?x"] {
            let mut connection = service.connect();
            let good = connection.request(method, path, &[("X-API-Key", &secret)], b"");
            assert_eq!(good.expect("an answer").status, 200, "{method} {path}");
            let without = connection.request(method, path, &[], b"").expect("an answer");
            assert_eq!(without.status, 401, "{method} {path}");
        }
    }
    for path in ["/authzx", "/Authz", "//authz"] {
        assert_eq!(ask_as(&service, "key_1", path).status, 404, "{path}");
    }
}

#[test]
fn the_admin_port_has_no_authz() {
    let settings = Settings::file_store().with("ADMIN_LISTEN", "127.0.0.1:0");
    let service = started(&settings, &[]);
    let answer = crate::support::http_client::get(service.admin_address(), "/authz");
    assert_eq!(answer.status, 404);
}

#[test]
fn whoever_has_no_good_key_is_challenged_for_one() {
    let records = [
        record_with("key_old", "expires_at", "2024-01-02T00:00:00Z"),
        record_with("key_gone", "is_active", false),
    ];
    let service = started(&Settings::file_store(), &records);
    let bearer = |secret: &str| format!("Bearer {secret}");
    let (old, gone) = (bearer(&secret_of("key_old")), bearer(&secret_of("key_gone")));
    let endless = bearer(&"x".repeat(1025));
    let realm = r#"Bearer realm="heare-auth""#;
    for (headers, expected, error) in [
        (&[][..], "missing", ""),
        (&[("Authorization", "Basic c2VjOg==")], "missing", ""),
        (
            &[("Authorization", "Bearer sec_guess")],
            "invalid",
            ", error=\"invalid_token\"",
        ),
        (&[("Authorization", &endless)], "invalid", ", error=\"invalid_token\""),
        (&[("Authorization", &old)], "expired", ", error=\"invalid_token\""),
        (&[("Authorization", &gone)], "revoked", ", error=\"invalid_token\""),
        (
            &[("Authorization", &old), ("X-API-Key", "sec_other")],
            "conflicting",
            ", error=\"invalid_request\"",
        ),
    ] {
        let answer = ask(&service, "/authz", headers);
        assert_eq!((answer.status, code(&answer)), (401, expected.into()));
        assert_eq!(
            answer.header("www-authenticate"),
            Some(format!("{realm}{error}").as_str())
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(IDENTITY.iter().all(|name| answer.header(name).is_none()));
    }
}

#[test]
fn the_same_key_in_two_places_is_let_through_and_two_keys_never() {
    let service = service();
    let (first, second) = (secret_of("key_1"), secret_of("key_2"));
    let bearer = format!("ApiKey {first}");
    let same = [("Authorization", bearer.as_str()), ("X-API-Key", &first)];
    assert_eq!(ask(&service, "/authz", &same).status, 200);
    for headers in [
        [("Authorization", bearer.as_str()), ("X-API-Key", &second)],
        [("X-API-Key", &first), ("X-API-Key", &second)],
    ] {
        let answer = ask(&service, "/authz", &headers);
        assert_eq!((answer.status, code(&answer)), (401, "conflicting".into()));
    }
}

#[test]
fn a_key_in_the_query_counts_only_when_switched_on_and_is_never_logged() {
    let secret = secret_of("key_1");
    let own = format!("/authz?api_key={secret}");
    let target = format!("/orders?api_key={secret}&page=2");
    for (switch, status) in [("false", 401), ("true", 200)] {
        let settings = Settings::file_store()
            .with("AUTHZ_QUERY_KEY", switch)
            .with("LOG_LEVEL", "trace");
        let service = started(&settings, &[crate::support::documents::record("key_1")]);
        assert_eq!(ask(&service, &own, &[]).status, status, "{switch}");
        for name in ["X-Forwarded-Uri", "X-Original-URI"] {
            assert_eq!(
                ask(&service, "/authz", &[(name, &target)]).status,
                status,
                "{name} {switch}"
            );
        }
        let other = ask(&service, &own, &[("X-API-Key", "sec_other")]);
        assert_eq!(other.status, 401);
        if switch == "true" {
            assert_eq!(code(&other), "conflicting");
            service.wait_for_event("verification_success", |line| line["endpoint"] == "/authz");
        }
        // The last line of all.
        service.signal("TERM");
        service.wait_for_event("shutdown", |_| true);
        assert!(service.log_lines().iter().all(|line| !line.contains(&secret)));
        assert!(!service.errors().contains(&secret));
    }
}

#[test]
fn a_required_scope_that_the_key_does_not_have_is_403() {
    let service = service();
    for query in ["require=orders:write", "require=a+b&cost=3", "cost=3&require=a,b"] {
        let answer = ask_as(&service, "key_1", &format!("/authz?{query}"));
        assert_eq!(
            (answer.status, code(&answer)),
            (403, "insufficient_scope".into()),
            "{query}"
        );
        assert!(IDENTITY.iter().all(|name| answer.header(name).is_none()));
    }
    // Whoever holds no good key learns nothing about scopes.
    let answer = ask(&service, "/authz?require=a", &[("X-API-Key", "sec_guess")]);
    assert_eq!((answer.status, code(&answer)), (401, "invalid".into()));
}

#[test]
fn a_good_answer_tells_owner_scopes_and_environment() {
    let mut owned = record_with("key_1", "user_id", "user_\u{e9}7");
    owned["scopes"] = json!(["orders:*", "reports:read"]);
    owned["environment"] = "test".into();
    let service = started(&Settings::file_store(), &[owned]);
    for query in ["", "?require=orders:write", "?require=reports:read+orders:read"] {
        let answer = ask_as(&service, "key_1", &format!("/authz{query}"));
        let values: Vec<_> = IDENTITY.iter().map(|name| answer.header(name)).collect();
        let expected = [
            "key_1",
            "Name of key_1",
            "user_%C3%A97",
            "orders:* reports:read",
            "test",
        ]
        .map(Some);
        assert_eq!((answer.status, values), (200, expected.to_vec()), "{query}");
    }
    for query in [
        "?require=admin",
        "?require=orders:write,admin",
        "?require=orders:write&require=reports:write",
    ] {
        let answer = ask_as(&service, "key_1", &format!("/authz{query}"));
        assert_eq!(
            (answer.status, code(&answer)),
            (403, "insufficient_scope".into()),
            "{query}"
        );
    }
}

#[test]
fn a_key_bound_to_networks_is_good_from_there_only_and_forged_addresses_open_nothing() {
    let bound = record_with("key_1", "allowed_ips", json!(["198.51.100.0/24", "2001:db8::/32"]));
    let from = |trusted: &str, forwarded: &[&str]| {
        let settings = Settings::file_store().with("TRUSTED_PROXIES", trusted);
        let service = started(&settings, std::slice::from_ref(&bound));
        let bearer = format!("Bearer {}", secret_of("key_1"));
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(forwarded.iter().map(|chain| ("X-Forwarded-For", *chain)));
        headers.extend([("X-Real-IP", "198.51.100.7"), ("Forwarded", "for=198.51.100.7")]);
        let answer = ask(&service, "/authz", &headers);
        if answer.status == 403 {
            assert_eq!(code(&answer), "ip_not_allowed");
        }
        answer.status
    };
    for (trusted, forwarded, status) in [
        // Nobody vouches for the peer, so it is the client.
        ("", &["198.51.100.7"][..], 403),
        ("10.0.0.0/8", &["198.51.100.7"], 403),
        // The right-most address that is not a trusted proxy's decides.
        ("127.0.0.1", &["198.51.100.7"], 200),
        ("127.0.0.1", &["203.0.113.1, 198.51.100.7"], 200),
        ("127.0.0.1 10.0.0.0/8", &["198.51.100.7, 10.1.2.3"], 200),
        ("127.0.0.1", &["[2001:db8::7]:4711"], 200),
        ("127.0.0.1", &["198.51.100.7, 203.0.113.1"], 403),
        ("127.0.0.1", &["198.51.100.7", "203.0.113.1"], 403),
        ("127.0.0.1", &["198.51.100.7, 10.1.2.3"], 403),
        // Unknown addresses are refused.
        ("127.0.0.1", &["198.51.100.7, unknown"], 403),
        ("127.0.0.1", &["198.51.100.7,"], 403),
        ("127.0.0.1", &[], 403),
    ] {
        assert_eq!(from(trusted, forwarded), status, "{trusted:?} {forwarded:?}");
    }
}

#[test]
fn a_query_that_cannot_be_followed_is_400_and_repeats_nothing() {
    let service = service();
    for (query, reason) in [
        ("cost=marker", "bad_cost"),
        ("cost=0", "bad_cost"),
        ("require=", "bad_require"),
    ] {
        let answer = ask_as(&service, "key_1", &format!("/authz?{query}"));
        assert_eq!((answer.status, code(&answer)), (400, reason.into()), "{query}");
        assert!(!answer.text().contains("marker"));
    }
    assert_eq!(ask_as(&service, "key_1", "/authz?cost=100000").status, 200);
}

#[test]
fn before_anything_is_loaded_the_answer_is_503_and_a_time_to_come_back() {
    let settings = Settings::file_store();
    settings.write_document("no document");
    let service = settings.start();
    let answer = ask_as(&service, "key_1", "/authz/x");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let sentence = "Key data is not loaded yet";
    let expected = json!({"valid": false, "error": sentence, "code": "not_loaded", "detail": sentence});
    assert_eq!(answer.json(), expected);
}

#[test]
fn for_nginx_what_it_would_make_a_500_is_403_with_the_status_beside() {
    let settings = Settings::file_store();
    settings.write_document("no document");
    let service = settings.start();
    let answer = ask_as(&service, "key_1", "/authz?profile=nginx");
    let beside = |answer: &Response| answer.header("x-error-status").map(str::to_owned);
    assert_eq!((answer.status, beside(&answer)), (403, Some("503".to_owned())));
    assert_eq!(answer.header("retry-after"), Some("1"));

    settings.write_document(&document(1, &["key_1"]));
    service.refresh();
    for (query, status, error_status) in [
        ("profile=nginx", 200, None),
        ("profile=nginx&require=a", 403, None),
        ("cost=x&profile=nginx", 403, Some("400")),
        ("cost=x", 400, None),
    ] {
        let answer = ask_as(&service, "key_1", &format!("/authz?{query}"));
        assert_eq!(
            (answer.status, beside(&answer).as_deref()),
            (status, error_status),
            "{query}"
        );
    }
    let missing = ask(&service, "/authz?profile=nginx", &[]);
    assert_eq!((missing.status, beside(&missing)), (401, None));
}

#[test]
fn a_length_without_a_body_delays_nothing_and_neither_does_a_body() {
    let service = service();
    let key = secret_of("key_1");
    for (head, body) in [
        ("Content-Length: 1000000", ""),
        ("Content-Length: 5", "12345"),
        ("Content-Length: 5\r\nExpect: 100-continue", ""),
        ("Transfer-Encoding: chunked", "5\r\n12345\r\n"),
    ] {
        let mut connection = service.connect();
        let request = format!("POST /authz HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n{head}\r\n\r\n{body}");
        connection.send(request.as_bytes()).expect("it is sent");
        let answer = connection.read_response().expect("an answer before any body");
        assert_eq!(answer.status, 200, "{head}");
    }
}

#[test]
fn a_name_that_is_no_plain_text_cannot_break_out_of_its_header() {
    let name = "Sm\u{f6}rg\u{e5}s\r\nX-Auth-Scopes: admin \"100%\"";
    let service = started(&Settings::file_store(), &[record_with("key_1", "name", name)]);
    let answer = ask_as(&service, "key_1", "/authz");
    assert_eq!(
        answer.header("x-auth-key-name"),
        Some("Sm%C3%B6rg%C3%A5s%0D%0AX-Auth-Scopes: admin \"100%25\"")
    );
    assert_eq!(answer.header("x-auth-scopes"), Some(""));
}

#[test]
fn the_log_names_the_route_and_the_client_that_a_trusted_proxy_spoke_for() {
    let settings = Settings::file_store().with("TRUSTED_PROXIES", "127.0.0.0/8");
    let service = started(&settings, &[crate::support::documents::record("key_1")]);
    let bearer = format!("Bearer {}", secret_of("key_1"));
    let forwarded = ("X-Forwarded-For", "10.0.0.9, 198.51.100.7, 127.0.0.2");
    ask(&service, "/authz", &[("Authorization", &bearer), forwarded]);
    service.wait_for_event("verification_success", |line| {
        line["endpoint"] == "/authz" && line["client_ip"] == "198.51.100.7" && line["key_id"] == "key_1"
    });
    ask(
        &service,
        "/authz",
        &[("X-API-Key", "sec_guess"), ("X-Forwarded-For", "unknown")],
    );
    service.wait_for_event("verification_failed", |line| {
        line["endpoint"] == "/authz"
            && line["client_ip"] == "unknown"
            && line["code"] == "invalid"
            && line["secret_prefix"] == "sec_"
    });
}

#[test]
fn without_trusted_proxies_the_client_is_the_peer_whatever_the_headers_claim() {
    let service = service();
    let bearer = format!("Bearer {}", secret_of("key_1"));
    for name in ["X-Forwarded-For", "Forwarded", "X-Real-IP"] {
        let agent = format!("claims by {name}");
        let headers = [
            ("Authorization", bearer.as_str()),
            (name, "198.51.100.7"),
            ("User-Agent", &agent),
        ];
        ask(&service, "/authz", &headers);
        let line = service.wait_for_event("verification_success", |line| line["user_agent"] == agent.as_str());
        assert_eq!(line["client_ip"], "127.0.0.1", "{name}");
    }
}

#[test]
fn every_auth_request_is_counted_apart_from_the_verifies() {
    let receiver = HttpReceiver::start(Answer::Status(200));
    let settings = Settings::file_store()
        .with("PROTOCOL", "http")
        .with("DEST_HOST", receiver.address.ip().to_string())
        .with("DEST_PORT", receiver.address.port().to_string());
    let service = started(&settings, &[crate::support::documents::record("key_1")]);
    for (path, key, times) in [
        ("/authz", secret_of("key_1"), 3),
        ("/authz/x", "sec_guess".to_owned(), 2),
        ("/authz?require=a", secret_of("key_1"), 1),
        ("/authz", String::new(), 4),
    ] {
        (0..times).for_each(|_| drop(ask(&service, path, &[("X-API-Key", &key)])));
    }
    let totals = receiver.totals_until(|totals: &Totals| totals.counter("heare-auth.authz.requests") == 10);
    for (name, count) in [("success", 3), ("failed", 3), ("malformed", 4)] {
        assert_eq!(totals.counter(&format!("heare-auth.authz.{name}")), count, "{name}");
    }
    assert_eq!(totals.counter("heare-auth.verify.requests"), 0);
}
