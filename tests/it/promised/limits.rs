//! How often a key may be used, and what its caller is told.

use serde_json::json;

use super::{Site, rows, text};
use crate::support::{documents::secret_of, http_client::number, service::Service};

rows!(
    a_keys_limit_and_burst_are_one_quota_and_then_429,
    every_answer_of_a_limited_key_has_the_headers,
    a_key_with_an_owner_has_a_thousand_an_hour_and_an_operators_none,
    further_windows_have_names,
    a_use_may_cost_more_than_one,
    instances_count_together_with_redis_and_alone_without,
    failed_verifies_of_one_peer_are_limited,
);

fn a_keys_limit_and_burst_are_one_quota_and_then_429(site: &Site) {
    let verify = || site.verify("key_two", json!({}));
    assert_eq!([verify().status, verify().status], [200, 200]);
    let refused = verify();
    let body = r#"{"valid":false,"error":"Rate limit exceeded","code":"rate_limited","detail":"Rate limit exceeded"}"#;
    assert_eq!((refused.status, refused.text().as_str()), (429, body));
    assert!((1..=3600).contains(&number(&refused, "Retry-After")));
    assert_eq!(
        (
            number(&refused, "X-RateLimit-Limit"),
            number(&refused, "X-RateLimit-Remaining")
        ),
        (2, 0)
    );
}

fn every_answer_of_a_limited_key_has_the_headers(site: &Site) {
    let key = site.made(json!({"name": "n", "rate_limit_per_hour": 3}));
    let secret = text(&key["key"]);
    let bearer = format!("Bearer {secret}");
    let with_key = |method: &str, path: &str| site.send(method, path, &[("Authorization", &bearer)], b"");
    let answers = [
        (200, site.verify_secret(secret, json!({}))),
        (200, with_key("GET", "/authz")),
        (200, with_key("POST", "/api/v1/keys/validate")),
        (429, site.verify_secret(secret, json!({}))),
        (429, with_key("GET", "/authz")),
        (429, with_key("POST", "/api/v1/keys/validate")),
    ];
    for ((status, answer), left) in answers.iter().zip([2, 1, 0, 0, 0, 0]) {
        assert_eq!(answer.status, *status);
        assert_eq!(
            (
                number(answer, "X-RateLimit-Limit"),
                number(answer, "X-RateLimit-Remaining")
            ),
            (3, left)
        );
        assert!(number(answer, "X-RateLimit-Reset") > 0);
        assert_eq!(answer.header("RateLimit-Policy"), Some(r#""hour";q=3;w=3600"#));
        let standing = format!(r#""hour";r={left};t="#);
        assert!(
            answer
                .header("RateLimit")
                .is_some_and(|value| value.starts_with(&standing))
        );
    }
}

fn a_key_with_an_owner_has_a_thousand_an_hour_and_an_operators_none(site: &Site) {
    assert_eq!(number(&site.verify("key_bob", json!({})), "X-RateLimit-Limit"), 1000);
    assert_eq!(site.verify("key_plain", json!({})).header("X-RateLimit-Limit"), None);
}

fn further_windows_have_names(site: &Site) {
    let answer = site.verify("key_windows", json!({}));
    assert_eq!(answer.header("RateLimit-Policy"), Some(r#""day";q=3;w=86400"#));
    assert_eq!(site.verify("key_windows", json!({"cost": 3})).status, 429);
    assert_eq!(
        number(&site.verify("key_windows", json!({})), "X-RateLimit-Remaining"),
        1
    );
}

fn a_use_may_cost_more_than_one(site: &Site) {
    let key = site.made(json!({"name": "n", "rate_limit_per_hour": 10}));
    let at_cost = |cost| site.verify_secret(text(&key["key"]), json!({"cost": cost}));
    assert_eq!(number(&at_cost(7), "X-RateLimit-Remaining"), 3);
    assert_eq!((at_cost(4).status, at_cost(3).status), (429, 200));
    assert_eq!(at_cost(0).status, 422);
}

fn instances_count_together_with_redis_and_alone_without(site: &Site) {
    let other = site.beside("POLL_INTERVAL", "5s");
    let key = site.made(json!({"name": "n", "rate_limit_per_hour": 10}));
    assert_eq!(other.refresh().0, 200);
    let secret = text(&key["key"]);
    let left = |service: &Service| {
        let body = json!({"api_key": secret}).to_string();
        number(&service.post("/verify", body.as_bytes()), "X-RateLimit-Remaining")
    };
    let found = [&site.service, &other, &site.service, &other].map(left);
    let expected = if site.redis.is_some() {
        [9, 8, 7, 6]
    } else {
        [9, 9, 8, 8]
    };
    assert_eq!(found, expected);
}

fn failed_verifies_of_one_peer_are_limited(site: &Site) {
    let guarded = site.beside("GUESS_LIMIT", "2");
    let statuses = [(); 4].map(|()| guarded.verify("sec_a_guess").0);
    assert_eq!(statuses, [403, 403, 429, 429]);
    assert_eq!(guarded.verify(&secret_of("key_plain")).0, 200);
}
