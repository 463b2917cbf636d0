//! What a reverse proxy is answered.

use serde_json::{Value, json};

use super::{Site, rows, text};
use crate::support::{documents::secret_of, http_client::Response};

rows!(
    a_key_comes_by_authorization_or_x_api_key_and_two_different_ones_are_refused,
    a_key_in_the_query_counts_only_when_switched_on,
    who_is_let_through_has_all_five_headers,
    who_is_not_let_through_is_told_why_by_status_code_and_header,
    the_proxys_query_asks_for_scopes_and_sets_the_cost,
    for_nginx_the_status_stands_beside_a_403,
    any_method_and_path_below_is_answered_and_never_cached,
    the_client_is_the_right_most_address_that_is_no_trusted_proxy,
);

const IDENTITY: [&str; 5] = [
    "X-Auth-Key-Id",
    "X-Auth-Key-Name",
    "X-Auth-User-Id",
    "X-Auth-Scopes",
    "X-Auth-Environment",
];

fn ask(site: &Site, path: &str, headers: &[(&str, &str)]) -> Response {
    site.send("GET", path, headers, b"")
}

fn as_key(site: &Site, id: &str, path: &str) -> Response {
    ask(site, path, &[("X-API-Key", &secret_of(id))])
}

fn a_key_comes_by_authorization_or_x_api_key_and_two_different_ones_are_refused(site: &Site) {
    let (plain, orders) = (secret_of("key_plain"), secret_of("key_orders"));
    let [bearer, api_key] = ["Bearer", "ApiKey"].map(|scheme| format!("{scheme} {plain}"));
    for (headers, status) in [
        (&[("Authorization", bearer.as_str())][..], 200),
        (&[("Authorization", &api_key)], 200),
        (&[("X-API-Key", &plain)], 200),
        (&[("Authorization", &bearer), ("X-API-Key", &plain)], 200),
        (&[("Authorization", &bearer), ("X-API-Key", &orders)], 401),
        (&[], 401),
    ] {
        assert_eq!(ask(site, "/authz", headers).status, status);
    }
}

fn a_key_in_the_query_counts_only_when_switched_on(site: &Site) {
    let path = format!("/authz?api_key={}", secret_of("key_plain"));
    assert_eq!(ask(site, &path, &[]).status, 401);
    assert_eq!(site.beside("AUTHZ_QUERY_KEY", "true").get(&path).status, 200);
}

fn who_is_let_through_has_all_five_headers(site: &Site) {
    for (id, values) in [
        ("key_plain", ["key_plain", "Name of key_plain", "", "", ""]),
        ("key_whole", ["key_whole", "Sm%C3%B6r", "ann", "a:b c", "test"]),
    ] {
        let answer = as_key(site, id, "/authz");
        assert_eq!(
            (answer.status, IDENTITY.map(|name| answer.header(name))),
            (200, values.map(Some))
        );
    }
}

fn who_is_not_let_through_is_told_why_by_status_code_and_header(site: &Site) {
    let used_up = site.made(json!({"name": "n", "rate_limit_per_hour": 1}));
    let secret = text(&used_up["key"]);
    assert_eq!(ask(site, "/authz", &[("X-API-Key", secret)]).status, 200);
    let limited = ask(site, "/authz", &[("X-API-Key", secret)]);
    assert!(limited.header("retry-after").is_some() && limited.header("x-ratelimit-limit") == Some("1"));
    let table = [
        (ask(site, "/authz", &[]), 401, "missing"),
        (as_key(site, "nobody", "/authz"), 401, "invalid"),
        (as_key(site, "key_expired", "/authz"), 401, "expired"),
        (as_key(site, "key_revoked", "/authz"), 401, "revoked"),
        (as_key(site, "key_bound", "/authz"), 403, "ip_not_allowed"),
        (as_key(site, "key_plain", "/authz?require=a"), 403, "insufficient_scope"),
        (limited, 429, "rate_limited"),
    ];
    for (answer, status, code) in table {
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)));
        assert_eq!(
            answer.header("www-authenticate").is_some(),
            status == 401 || code == "insufficient_scope",
            "{code}"
        );
        assert!(IDENTITY.iter().all(|name| answer.header(name).is_none()), "{code}");
    }
    let empty = site
        .settings
        .clone()
        .with("DATA_DIR", site.settings.home().join("none").display().to_string());
    std::fs::create_dir_all(site.settings.home().join("none")).expect("a directory");
    std::fs::write(site.settings.home().join("none/keys.json"), "no document").expect("a file");
    let unready = empty.start().get("/authz");
    assert_eq!(
        (unready.status, unready.header("retry-after")),
        (401, None),
        "without a key"
    );
    let service = empty.start();
    let asked = service
        .connect()
        .request("GET", "/authz", &[("X-API-Key", "sec_1")], b"");
    let unready = asked.expect("an answer");
    assert_eq!((unready.status, unready.header("retry-after")), (503, Some("1")));
    assert_eq!(unready.json()["code"], "not_loaded");
}

fn the_proxys_query_asks_for_scopes_and_sets_the_cost(site: &Site) {
    for (query, status) in [("require=orders:read", 200), ("require=orders:read+users:read", 403)] {
        assert_eq!(
            as_key(site, "key_orders", &format!("/authz?{query}")).status,
            status,
            "{query}"
        );
    }
    let key = site.made(json!({"name": "n", "rate_limit_per_hour": 10}));
    let answer = ask(site, "/authz?cost=6", &[("X-API-Key", text(&key["key"]))]);
    assert_eq!(
        (answer.status, answer.header("x-ratelimit-remaining")),
        (200, Some("4"))
    );
    let answer = ask(site, "/authz?cost=6", &[("X-API-Key", text(&key["key"]))]);
    assert_eq!(answer.status, 429);
}

fn for_nginx_the_status_stands_beside_a_403(site: &Site) {
    let key = site.made(json!({"name": "n", "rate_limit_per_hour": 1}));
    let asked = || ask(site, "/authz?profile=nginx", &[("X-API-Key", text(&key["key"]))]);
    assert_eq!(asked().status, 200);
    let limited = asked();
    assert_eq!((limited.status, limited.header("x-error-status")), (403, Some("429")));
    assert!(limited.header("retry-after").is_some());
    let plain = as_key(site, "nobody", "/authz?profile=nginx");
    assert_eq!((plain.status, plain.header("x-error-status")), (401, None));
}

fn any_method_and_path_below_is_answered_and_never_cached(site: &Site) {
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        for path in ["/authz", "/authz/orders/1"] {
            let answer = site.send(method, path, &[("X-API-Key", &secret_of("key_plain"))], b"");
            assert_eq!(
                (answer.status, answer.header("cache-control")),
                (200, Some("no-store")),
                "{method} {path}"
            );
            let refused = site.send(method, path, &[], b"");
            assert_eq!(
                (refused.status, refused.header("cache-control")),
                (401, Some("no-store")),
                "{method} {path}"
            );
        }
    }
}

fn the_client_is_the_right_most_address_that_is_no_trusted_proxy(site: &Site) {
    let secret = secret_of("key_bound");
    for (forwarded, status) in [
        (Some("192.0.2.7"), 200),
        (Some("203.0.113.9, 192.0.2.7"), 200),
        (Some("192.0.2.7, 203.0.113.9"), 403),
        (Some("192.0.2.7, 127.0.0.1"), 200),
        (Some("unknown"), 403),
        (None, 403),
    ] {
        let mut headers = vec![("X-API-Key", secret.as_str())];
        headers.extend(forwarded.map(|value| ("X-Forwarded-For", value)));
        let answer = ask(site, "/authz", &headers);
        assert_eq!(answer.status, status, "{forwarded:?}");
    }
    // Nobody believes such headers who is no proxy's backend.
    let told = [("X-Forwarded-For", "192.0.2.7")];
    let body = json!({"api_key": secret}).to_string();
    let answer = site.send("POST", "/verify", &told, body.as_bytes());
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (403, &Value::from("ip_not_allowed"))
    );
}
