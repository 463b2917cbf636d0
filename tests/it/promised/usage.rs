//! What keys are used for, and who changed them.

use serde_json::{Value, json};

use super::{KEYS, Site, path_of, rows, text};
use crate::support::{documents::secret_of, service::eventually};

rows!(
    an_unused_key_has_zeros_and_a_used_one_its_numbers,
    every_route_is_counted_by_key_endpoint_and_class,
    a_key_tells_when_it_was_last_used,
    the_summary_and_the_audit_log_are_for_operators,
    every_change_is_one_row_and_one_event_without_a_secret,
);

fn usage_of(site: &Site, path: &str) -> Value {
    let answer = site.call("key_ann", "GET", &format!("{path}/usage?hours=24"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn an_unused_key_has_zeros_and_a_used_one_its_numbers(site: &Site) {
    let key = site.made(json!({"name": "n"}));
    let path = path_of(&key);
    let unused = usage_of(site, &path);
    assert_eq!(unused["key_id"], key["key_id"]);
    for member in ["total_requests", "requests_today", "requests_this_hour"] {
        assert_eq!(unused[member], 0, "{member}");
    }
    for member in ["average_response_time_ms", "error_rate"] {
        assert_eq!(unused[member], 0.0, "{member}");
    }
    assert_eq!((&unused["top_endpoints"], &unused["by_hour"]), (&json!([]), &json!([])));
    for hours in ["0", "8761"] {
        assert_eq!(
            site.call("key_ann", "GET", &format!("{path}/usage?hours={hours}"), None)
                .status,
            422
        );
    }
    for (endpoint, scopes) in [
        ("/orders", json!([])),
        ("/orders", json!([])),
        ("/users", json!(["users:read"])),
    ] {
        site.verify_secret(
            text(&key["key"]),
            json!({"endpoint": endpoint, "required_scopes": scopes}),
        );
    }
    eventually("the use is counted", || usage_of(site, &path)["total_requests"] == 3);
    let used = usage_of(site, &path);
    assert_eq!(
        (&used["error_rate"], &used["top_endpoints"][0]["endpoint"]),
        (&json!(0.3333), &json!("/orders"))
    );
    let by_hour = used["by_hour"].as_array().expect("a list").iter();
    assert_eq!(by_hour.filter_map(|hour| hour["requests"].as_u64()).sum::<u64>(), 3);
}

fn every_route_is_counted_by_key_endpoint_and_class(site: &Site) {
    let key = site.made(json!({"name": "n"}));
    let secret = text(&key["key"]);
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str())];
    assert_eq!(site.verify_secret(secret, json!({})).status, 200);
    assert_eq!(site.send("GET", "/authz", &headers, b"").status, 200);
    assert_eq!(site.send("GET", "/authz?require=a", &headers, b"").status, 403);
    assert_eq!(site.send("POST", "/api/v1/keys/validate", &headers, b"").status, 200);
    assert_eq!(site.send("GET", KEYS, &headers, b"").status, 403);
    let path = path_of(&key);
    eventually("all is counted", || usage_of(site, &path)["total_requests"] == 5);
    let used = usage_of(site, &path);
    assert_eq!(used["error_rate"], 0.4);
    let endpoints = used["top_endpoints"].as_array().expect("a list");
    let mut endpoints: Vec<_> = endpoints
        .iter()
        .map(|one| (text(&one["endpoint"]), one["requests"].as_u64()))
        .collect();
    endpoints.sort_unstable();
    let expected = [
        ("/api/v1/auth/keys", 1),
        ("/api/v1/keys/validate", 1),
        ("/authz", 2),
        ("/verify", 1),
    ];
    assert_eq!(
        endpoints,
        expected.map(|(endpoint, requests)| (endpoint, Some(requests)))
    );
}

fn a_key_tells_when_it_was_last_used(site: &Site) {
    let key = site.made(json!({"name": "n"}));
    let last_used = || site.call("key_ann", "GET", &path_of(&key), None).json()["last_used_at"].clone();
    assert_eq!(last_used(), Value::Null);
    site.verify_secret(text(&key["key"]), json!({}));
    eventually("it was used", || last_used().is_string());
}

fn the_summary_and_the_audit_log_are_for_operators(site: &Site) {
    for path in ["/api/v1/auth/usage/summary", "/api/v1/auth/audit"] {
        for (who, status) in [("key_admin", 200), ("key_ann", 403), ("nobody", 401)] {
            assert_eq!(site.call(who, "GET", path, None).status, status, "{who} {path}");
        }
    }
}

fn every_change_is_one_row_and_one_event_without_a_secret(site: &Site) {
    let key = site.made(json!({"name": "n"}));
    let (path, id) = (path_of(&key), text(&key["key_id"]));
    let rotated = site.call("key_ann", "POST", &format!("{path}/rotate"), None).json();
    site.call("key_ann", "PATCH", &path, Some(json!({"name": "m"})));
    site.call("key_ann", "DELETE", &path, None);
    site.call("key_ann", "POST", &format!("{path}/reactivate"), None);
    let removed = site.command(&["delete", id, "--yes"]);
    assert_eq!(removed["deleted"], true);
    let expected = ["delete", "reactivate", "revoke", "update", "rotate", "create"];
    let page = || {
        site.call("key_admin", "GET", &format!("/api/v1/auth/audit?key_id={id}"), None)
            .json()
    };
    let count = |page: &Value| page["entries"].as_array().map_or(0, Vec::len);
    eventually("all rows are there", || count(&page()) == expected.len());
    let all = page();
    let entries = all["entries"].as_array().expect("a list");
    let told: Vec<_> = entries.iter().map(|entry| text(&entry["what"])).collect();
    assert_eq!(told, expected);
    for entry in entries {
        assert_eq!(entry["result"], "ok");
        for member in ["who", "from", "when"] {
            assert!(entry[member].is_string(), "{member}: {entry}");
        }
    }
    let events = || {
        site.service
            .events("audit")
            .into_iter()
            .filter(|event| event["key_id"] == id)
            .count()
    };
    eventually("all events are there", || events() == expected.len());
    let written = format!("{all}{}", site.service.log_lines().concat());
    for secret in [text(&key["key"]), text(&rotated["key"]), &secret_of("key_ann")] {
        assert!(!written.contains(secret));
    }
}
