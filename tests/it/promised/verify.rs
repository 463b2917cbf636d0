//! What a presented key is answered: the codes in their order, policies, forms of secrets.

use heare_auth::core::id::{Prefixes, recognise};
use serde_json::{Value, json};

use super::{KEYS, Site, path_of, rows, text};
use crate::support::documents::{good_answer, refusal, secret_of};

rows!(
    a_plain_key_is_answered_with_its_id_name_and_metadata_alone,
    an_unknown_an_expired_and_a_revoked_key_are_403_with_their_codes,
    an_address_must_lie_in_the_networks_of_its_key,
    all_required_scopes_must_be_covered_segment_by_segment,
    explain_lists_the_checks_for_keys_of_operators_alone,
    a_batch_holds_a_hundred_requests_and_answers_each,
    a_key_validates_itself_by_header_or_body_and_a_bad_one_is_401,
    a_secret_begins_as_its_environment_and_ends_in_a_checksum,
    at_rest_there_are_digests_alone,
    a_key_known_by_its_bcrypt_hash_is_good,
    a_replaced_secret_works_until_its_time_and_says_so,
    a_revoked_key_is_refused_at_once_and_good_again_when_reactivated,
);

fn a_plain_key_is_answered_with_its_id_name_and_metadata_alone(site: &Site) {
    assert_eq!(
        site.verify("key_plain", json!({})).status_and_json(),
        good_answer("key_plain")
    );
}

fn an_unknown_an_expired_and_a_revoked_key_are_403_with_their_codes(site: &Site) {
    for (id, code) in [
        ("nobody", "invalid"),
        ("key_expired", "expired"),
        ("key_revoked", "revoked"),
    ] {
        assert_eq!(site.verify(id, json!({})).status_and_json(), refusal(code));
    }
}

fn an_address_must_lie_in_the_networks_of_its_key(site: &Site) {
    for (client_ip, status) in [
        (json!("192.0.2.7"), 200),
        (json!("::ffff:192.0.2.7"), 200),
        (json!("2001:db8::7"), 200),
        (json!("192.0.3.7"), 403),
        (json!("2001:db9::7"), 403),
        (Value::Null, 403),
    ] {
        let answer = site.verify("key_bound", json!({"client_ip": client_ip}));
        assert_eq!(answer.status, status, "{client_ip}");
        if status == 403 {
            assert_eq!(answer.json()["code"], "ip_not_allowed");
        }
    }
    let many: Vec<String> = (0..21).map(|number| format!("10.0.{number}.0/24")).collect();
    let refused = site.call("key_ann", "POST", KEYS, Some(json!({"name": "n", "allowed_ips": many})));
    assert_eq!(refused.status, 422, "at most 20 networks");
}

fn all_required_scopes_must_be_covered_segment_by_segment(site: &Site) {
    for (scopes, status) in [
        (json!(["orders:write"]), 200),
        (json!(["orders:write", "orders:read"]), 200),
        (json!(["orders:write", "users:read"]), 403),
        (json!(["orders"]), 403),
        (json!(["orders:items:write"]), 403),
    ] {
        let answer = site.verify("key_orders", json!({"required_scopes": scopes}));
        assert_eq!(answer.status, status, "{scopes}");
        if status == 403 {
            let body = answer.json();
            assert_eq!(
                (&body["code"], &body["required_scopes"]),
                (&json!("insufficient_scope"), &scopes)
            );
        }
    }
}

fn explain_lists_the_checks_for_keys_of_operators_alone(site: &Site) {
    let explained = site.verify("key_plain", json!({"explain": true})).json();
    let checks: Vec<&str> = explained["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| text(&one["check"]))
        .collect();
    assert_eq!(
        checks,
        ["secret", "revocation", "expiry", "allowed_ips", "scopes", "limits"]
    );
    for id in ["key_ann", "nobody"] {
        assert_eq!(
            site.verify(id, json!({"explain": true})).json()["checks"],
            Value::Null,
            "{id}"
        );
    }
}

fn a_batch_holds_a_hundred_requests_and_answers_each(site: &Site) {
    let requests = |count| -> Vec<Value> {
        let id = |number: usize| {
            if number.is_multiple_of(2) {
                "key_plain"
            } else {
                "key_expired"
            }
        };
        (0..count)
            .map(|number| json!({"api_key": secret_of(id(number))}))
            .collect()
    };
    let ask = |count| {
        site.service.post(
            "/verify/batch",
            json!({"requests": requests(count)}).to_string().as_bytes(),
        )
    };
    let answer = ask(100);
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), 100);
    assert_eq!(
        (&results[0]["status"], &results[99]["code"]),
        (&json!(200), &json!("expired"))
    );
    assert_eq!(ask(101).status, 422);
}

fn a_key_validates_itself_by_header_or_body_and_a_bad_one_is_401(site: &Site) {
    let path = "/api/v1/keys/validate";
    let bearer = format!("Bearer {}", secret_of("key_ann"));
    let body = json!({"api_key": secret_of("key_ann")}).to_string();
    for answer in [
        site.send("POST", path, &[("Authorization", &bearer)], b""),
        site.send("POST", path, &[], body.as_bytes()),
    ] {
        let expected = json!({
            "is_valid": true, "key_id": "key_ann", "user_id": "ann", "scopes": ["keys:manage", "orders:*"],
            "rate_limit_per_hour": 100_000,
        });
        assert_eq!(answer.status_and_json(), (200, expected));
    }
    for id in ["nobody", "key_expired", "key_revoked"] {
        let bearer = format!("Bearer {}", secret_of(id));
        let answer = site.send("POST", path, &[("Authorization", &bearer)], b"");
        assert_eq!(
            (answer.status, &answer.json()["is_valid"]),
            (401, &json!(false)),
            "{id}"
        );
    }
}

fn a_secret_begins_as_its_environment_and_ends_in_a_checksum(site: &Site) {
    for (environment, prefix) in [
        ("production", "hk_live_"),
        ("test", "hk_test_"),
        ("development", "hk_dev_"),
    ] {
        let key = site.made(json!({"name": "n", "environment": environment}));
        let secret = text(&key["key"]);
        assert!(
            secret.starts_with(prefix) && secret.len() == prefix.len() + 40,
            "{environment}"
        );
        assert!(recognise(secret, &Prefixes::default()).is_some(), "{environment}");
        assert_eq!(text(&key["key_prefix"]), &secret[..prefix.len() + 3]);
    }
    let operators = site.command(&["create", "--name", "n"]);
    assert!(text(&operators["secret"]).starts_with("sec_") && text(&operators["id"]).starts_with("key_"));
}

fn at_rest_there_are_digests_alone(site: &Site) {
    let key = site.made(json!({"name": "n"}));
    let stored = std::fs::read_to_string(site.settings.document()).expect("a document");
    assert!(stored.contains("sha256:") && !stored.contains(text(&key["key"])));
    assert!(
        !stored.contains(&secret_of("key_ann")),
        "the first write has replaced every plaintext"
    );
}

fn a_key_known_by_its_bcrypt_hash_is_good(site: &Site) {
    for _ in 0..2 {
        let answer = site.verify_secret(&site.imported_secret, json!({}));
        assert_eq!((answer.status, &answer.json()["key_id"]), (200, &json!("key_imported")));
    }
    let guess = format!("{}!", site.imported_secret);
    assert_eq!(
        site.verify_secret(&guess, json!({})).status_and_json(),
        refusal("invalid")
    );
}

fn a_replaced_secret_works_until_its_time_and_says_so(site: &Site) {
    let key = site.made(json!({"name": "n"}));
    let path = format!("{}/rotate", path_of(&key));
    let rotated = site.call("key_ann", "POST", &path, Some(json!({"overlap_seconds": 3600})));
    let rotated = rotated.json();
    let old = site.verify_secret(text(&key["key"]), json!({})).json();
    assert_eq!(
        (&old["secret"], &old["previous_expires_at"]),
        (&json!("previous"), &rotated["previous_expires_at"])
    );
    let new = site.verify_secret(text(&rotated["key"]), json!({})).json();
    assert_eq!((&new["valid"], &new["secret"]), (&json!(true), &Value::Null));
    assert_eq!(site.call("key_ann", "POST", &path, None).status, 200);
    for ended in [text(&key["key"]), text(&rotated["key"])] {
        assert_eq!(
            site.verify_secret(ended, json!({})).status_and_json(),
            refusal("invalid")
        );
    }
}

fn a_revoked_key_is_refused_at_once_and_good_again_when_reactivated(site: &Site) {
    let key = site.made(json!({"name": "n"}));
    let (secret, path) = (text(&key["key"]), path_of(&key));
    for _ in 0..2 {
        assert_eq!(site.call("key_ann", "DELETE", &path, None).status, 200);
        assert_eq!(
            site.verify_secret(secret, json!({})).status_and_json(),
            refusal("revoked")
        );
    }
    assert_eq!(
        site.call("key_ann", "POST", &format!("{path}/reactivate"), None).status,
        200
    );
    assert_eq!(site.verify_secret(secret, json!({})).status, 200);
}
