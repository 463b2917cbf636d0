//! What is refused of a body, a method and a parameter, and in which words.

use serde_json::{Value, json};

use super::{KEYS, call, call_with, made, path_of, refused, send, started, text};
use crate::support::documents::secret_of;

#[test]
fn a_new_key_must_be_what_a_key_can_be() {
    let service = started();
    let long = "x".repeat(101);
    let networks: Vec<String> = (0..21).map(|n| format!("10.0.{n}.0/24")).collect();
    let table = [
        (json!({}), "name is missing"),
        (json!({"name": ""}), "name must have 1 to 100 characters"),
        (json!({"name": "   "}), "name must have 1 to 100 characters"),
        (json!({"name": long}), "name must have 1 to 100 characters"),
        (json!({"name": "a\nb"}), "name must not contain control characters"),
        (json!({"name": 7}), "name must be a text"),
        (json!({"name": null}), "name must be a text"),
        (
            json!({"name": "n", "environment": "staging"}),
            "environment must be production, test or development",
        ),
        (
            json!({"name": "n", "environment": "Production"}),
            "environment must be production, test or development",
        ),
        (
            json!({"name": "n", "expires_in_days": 0}),
            "expires_in_days must be a whole number from 1 to 365",
        ),
        (
            json!({"name": "n", "expires_in_days": 366}),
            "expires_in_days must be a whole number from 1 to 365",
        ),
        (
            json!({"name": "n", "expires_in_days": 1.5}),
            "expires_in_days must be a whole number from 1 to 365",
        ),
        (
            json!({"name": "n", "rate_limit_per_hour": 0}),
            "rate_limit_per_hour must be a number from 1 to 100000",
        ),
        (
            json!({"name": "n", "rate_limit_per_hour": 100_001}),
            "rate_limit_per_hour must be a number from 1 to 100000",
        ),
        (
            json!({"name": "n", "burst": -1}),
            "burst must be a number from 0 to 100000",
        ),
        (
            json!({"name": "n", "allowed_ips": "10.0.0.1"}),
            "allowed_ips must be a list",
        ),
        (
            json!({"name": "n", "allowed_ips": [1]}),
            "allowed_ips must be a list of texts",
        ),
        (
            json!({"name": "n", "allowed_ips": networks}),
            "allowed_ips must not be more than 20 networks",
        ),
        (json!({"name": "n", "scopes": "a"}), "scopes must be a list"),
        (json!({"name": "n", "metadata": []}), "metadata must be an object"),
        (json!({"name": "n", "user_id": ""}), "user_id must have 1 to 256 bytes"),
    ];
    for (body, detail) in table {
        let answer = call(&service, "key_admin", "POST", KEYS, Some(&body));
        refused(&answer, 422, "invalid_request");
        assert_eq!(answer.json()["detail"], detail, "{body}");
    }
    for ips in ["10.0.0.0/33", "10.0.0", "::1/129", "example.com", ""] {
        let body = json!({"name": "n", "allowed_ips": [ips]});
        refused(
            &call(&service, "key_admin", "POST", KEYS, Some(&body)),
            422,
            "invalid_request",
        );
    }
    let all = call(&service, "key_admin", "GET", KEYS, None).json();
    assert_eq!(all["total"], 11, "nothing was made");
    made(
        &service,
        "key_admin",
        &json!({"name": "é".repeat(100), "expires_in_days": 365, "environment": null}),
    );
}

#[test]
fn a_member_that_is_not_known_or_given_twice_is_refused_and_never_repeated() {
    let service = started();
    for body in [
        r#"{"name":"n","expire_in_days":1}"#,
        r#"{"name":"n","name":"m"}"#,
        r#"{"name":"n","sec_private":1}"#,
        r#"["sec_private"]"#,
        r#""sec_private""#,
        "{",
        "",
    ] {
        let headers = [
            ("X-API-Key", &*secret_of("key_admin")),
            ("Content-Type", "application/json"),
        ];
        let answer = send(&service, "POST", KEYS, &headers, body.as_bytes());
        refused(&answer, 422, "invalid_request");
        assert!(!answer.text().contains("private"), "{body}");
    }
}

#[test]
fn a_body_that_is_too_large_or_no_json_is_told_so() {
    let service = started();
    let key = secret_of("key_admin");
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(65 * 1024));
    let answer = send(&service, "POST", KEYS, &[("X-API-Key", &key)], large.as_bytes());
    refused(&answer, 413, "body_too_large");
    assert_eq!(answer.header("connection"), Some("close"));
    let form = [
        ("X-API-Key", key.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    refused(
        &send(&service, "POST", KEYS, &form, b"name=n"),
        415,
        "unsupported_media_type",
    );
    let merge = [
        ("X-API-Key", key.as_str()),
        ("Content-Type", "application/merge-patch+json"),
    ];
    let patched = send(
        &service,
        "PATCH",
        &format!("{KEYS}/key_plain"),
        &merge,
        br#"{"name":"m"}"#,
    );
    assert_eq!(patched.status, 200);
}

#[test]
fn a_method_that_a_path_does_not_know_is_405_and_names_those_it_does() {
    let service = started();
    for (path, method, allow) in [
        ("", "PUT", "GET, HEAD, POST, OPTIONS"),
        ("", "DELETE", "GET, HEAD, POST, OPTIONS"),
        ("/key_ann", "POST", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/key_ann/rotate", "GET", "POST, OPTIONS"),
        ("/key_ann/reactivate", "DELETE", "POST, OPTIONS"),
    ] {
        let answer = send(&service, method, &format!("{KEYS}{path}"), &[], b"");
        refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow));
        let options = send(&service, "OPTIONS", &format!("{KEYS}{path}"), &[], b"");
        assert_eq!((options.status, options.header("allow")), (204, Some(allow)));
    }
    let head = call(&service, "key_ann", "HEAD", KEYS, None);
    assert_eq!((head.status, head.body.len()), (200, 0));
    for path in ["/", "/key_ann/", "/key_ann/delete", "/key_ann/rotate/now"] {
        assert_eq!(
            call(&service, "key_ann", "GET", &format!("{KEYS}{path}"), None).status,
            404,
            "{path}"
        );
    }
}

#[test]
fn a_page_must_be_one_that_there_is() {
    let service = started();
    for query in ["limit=0", "limit=201", "limit=ten", "cursor=abc", "active_only=perhaps"] {
        refused(
            &call(&service, "key_ann", "GET", &format!("{KEYS}?{query}"), None),
            422,
            "invalid_request",
        );
    }
    for (path, body) in [
        ("/key_plain/rotate", json!({"overlap_seconds": -1})),
        ("/key_plain/rotate", json!({"overlap_seconds": 30 * 86_400 + 1})),
        ("/key_plain/rotate", json!({"overlap": 1})),
        ("/key_plain/reactivate", json!({"now": true})),
    ] {
        refused(
            &call(&service, "key_admin", "POST", &format!("{KEYS}{path}"), Some(&body)),
            422,
            "invalid_request",
        );
    }
    for patch in [
        json!({"environment": "test"}),
        json!({"user_id": "bob"}),
        json!({"is_active": false}),
        json!([]),
    ] {
        let answer = call(
            &service,
            "key_admin",
            "PATCH",
            &format!("{KEYS}/key_plain"),
            Some(&patch),
        );
        refused(&answer, 422, "invalid_request");
    }
}

#[test]
fn who_asks_for_problem_json_gets_it() {
    let service = started();
    let accept = [("Accept", "application/problem+json")];
    let answer = call_with(&service, "key_ann", "GET", &format!("{KEYS}/none"), &accept, None);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let expected: Value = json!({
        "type": "urn:heare-auth:not_found", "title": "API key not found", "status": 404,
        "detail": "API key not found", "code": "not_found"
    });
    assert_eq!(answer.status_and_json(), (404, expected));
    let without_key = send(&service, "GET", KEYS, &accept, b"").json();
    assert_eq!(
        (&without_key["status"], &without_key["code"]),
        (&json!(401), &json!("key_required"))
    );
    let good = call_with(&service, "key_ann", "GET", KEYS, &accept, None);
    assert_eq!(good.header("content-type"), Some("application/json"));
}

#[test]
fn an_empty_change_changes_nothing() {
    let service = started();
    let key = made(&service, "key_ann", &json!({"name": "n"}));
    let before = call(&service, "key_ann", "GET", &path_of(&key), None);
    let after = call(&service, "key_ann", "PATCH", &path_of(&key), Some(&json!({})));
    assert_eq!((after.status, after.header("etag")), (200, before.header("etag")));
}

#[test]
fn a_secret_in_a_text_about_a_key_is_refused_and_not_stored() {
    let service = started();
    let key = made(&service, "key_admin", &json!({"name": "n"}));
    let secret = text(&key["key"]);
    let escaped = format!(
        r#"{{"name":"n","metadata":{{"a":"{}\u005f{}"}}}}"#,
        &secret[..7],
        &secret[8..]
    );
    let bodies = [
        json!({"name": format!("for {secret}!")}).to_string(),
        json!({"name": "n", "metadata": {"env": {"KEYS": ["x", format!("KEY={secret}")]}}}).to_string(),
        json!({"name": "n", "metadata": {secret: 1}}).to_string(),
        json!({"name": "n", "user_id": secret}).to_string(),
        json!({"name": "n", "scopes": [secret]}).to_string(),
        escaped,
    ];
    let credential = secret_of("key_admin");
    let headers = [("X-API-Key", credential.as_str()), ("Content-Type", "application/json")];
    let before = std::fs::read_to_string(service.settings().document()).expect("a document");
    for (number, body) in bodies.iter().enumerate() {
        for (method, path) in [("POST", KEYS.to_owned()), ("PATCH", path_of(&key))] {
            if method == "PATCH" && body.contains("user_id") {
                continue;
            }
            let answer = send(&service, method, &path, &headers, body.as_bytes());
            refused(&answer, 422, "invalid_request");
            assert!(!answer.text().contains(secret));
            let detail = answer.json()["detail"].clone();
            assert!(
                text(&detail).contains("must not contain the secret of a key"),
                "{number}: {detail}"
            );
        }
    }
    let almost = &secret[..secret.len() - 1];
    made(
        &service,
        "key_admin",
        &json!({"name": almost, "metadata": {"a": almost}}),
    );
    let id = text(&key["key_id"]);
    for arguments in [
        &["create", "--name", secret][..],
        &["create", "--name", "n", "--metadata", &json!({"a": secret}).to_string()],
        &["update", id, "--name", secret],
        &["revoke", id, "--reason", &format!("leaked: {secret}")],
    ] {
        let output = service.cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("must not contain the secret of a key") && !said.contains(secret),
            "{said}"
        );
    }
    let after = std::fs::read_to_string(service.settings().document()).expect("a document");
    assert!(!after.contains(secret) && before.len() < after.len());
}
