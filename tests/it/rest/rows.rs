//! What each call does when all is well.

use serde_json::{Value, json};

use super::{KEYS, call, call_with, made, path_of, refused, started, text};
use crate::support::service::{Service, Settings, eventually};

#[test]
fn a_new_key_is_answered_whole_and_works_at_once() {
    let service = started();
    let wanted = json!({
        "name": "  Orders  ", "environment": "test", "expires_in_days": 30, "rate_limit_per_hour": 5000, "burst": 10,
        "limits": [{"name": "minute", "limit": 100, "window_seconds": 60}],
        "allowed_ips": ["127.0.0.1", "10.1.2.3/8"], "scopes": ["orders:write"], "metadata": {"team": "a"},
    });
    let answer = call(&service, "key_ann", "POST", KEYS, Some(&wanted));
    assert_eq!(answer.status, 201);
    let key = answer.json();
    for (member, value) in [
        ("name", json!("Orders")),
        ("environment", json!("test")),
        ("user_id", json!("ann")),
        ("rate_limit_per_hour", json!(5000)),
        ("allowed_ips", json!(["127.0.0.1", "10.0.0.0/8"])),
        ("scopes", json!(["orders:write"])),
        ("metadata", json!({"team": "a"})),
    ] {
        assert_eq!(key[member], value, "{member}");
    }
    for member in ["created_at", "expires_at", "message"] {
        assert!(key[member].is_string(), "{member}: {key}");
    }
    let secret = text(&key["key"]);
    assert!(secret.starts_with(text(&key["key_prefix"])) && secret.starts_with("hk_test_"));
    assert_eq!(answer.header("location"), Some(path_of(&key).as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let asked = json!({"api_key": secret, "client_ip": "127.0.0.1"}).to_string();
    let verified = service.post("/verify", asked.as_bytes());
    assert_eq!((verified.status, &verified.json()["key_id"]), (200, &key["key_id"]));
}

#[test]
fn a_key_is_for_production_and_has_its_owners_limit_unless_told_otherwise() {
    let service = started();
    let owned = made(&service, "key_ann", &json!({"name": "n"}));
    assert_eq!(
        (&owned["environment"], &owned["rate_limit_per_hour"]),
        (&json!("production"), &json!(1000))
    );
    assert!(text(&owned["key"]).starts_with("hk_live_"));
    assert_eq!(
        (&owned["expires_at"], &owned["allowed_ips"], &owned["scopes"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    let operators = made(
        &service,
        "key_admin",
        &json!({"name": "n", "environment": "development"}),
    );
    assert_eq!(
        (&operators["user_id"], &operators["rate_limit_per_hour"]),
        (&Value::Null, &Value::Null)
    );
    assert!(text(&operators["key"]).starts_with("hk_dev_"));
    let for_bob = made(&service, "key_admin", &json!({"name": "n", "user_id": "bob"}));
    assert_eq!(
        (&for_bob["user_id"], &for_bob["rate_limit_per_hour"]),
        (&json!("bob"), &json!(1000))
    );
}

/// The names of all pages, and the total that each told.
fn pages(service: &Service, who: &str, query: &str) -> (Vec<String>, u64) {
    let (mut names, mut total, mut cursor) = (Vec::new(), 0, Some(String::new()));
    while let Some(after) = cursor {
        let page = call(service, who, "GET", &format!("{KEYS}?{query}&cursor={after}"), None);
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        let keys = page["keys"].as_array().expect("a list");
        names.extend(keys.iter().map(|key| text(&key["name"]).to_owned()));
        total = page["total"].as_u64().expect("a number");
        cursor = page["next"].as_str().map(str::to_owned);
    }
    (names, total)
}

#[test]
fn a_list_is_newest_first_page_by_page_and_each_sees_their_own() {
    let service = started();
    for n in 0..5 {
        made(&service, "key_bob", &json!({"name": format!("n{n}")}));
    }
    let (names, total) = pages(&service, "key_bob", "limit=2");
    assert_eq!(
        (names, total),
        (
            ["n4", "n3", "n2", "n1", "n0", "Name of key_bob"]
                .map(str::to_owned)
                .to_vec(),
            6
        )
    );
    let (names, total) = pages(&service, "key_admin", "limit=3");
    assert_eq!((names.len(), total), (16, 16));
    let page = call(&service, "key_admin", "GET", &format!("{KEYS}?limit=1"), None).text();
    assert!(
        !page.contains("hk_live_") || page.contains("\"key_prefix\":\"hk_live_"),
        "{page}"
    );
}

#[test]
fn a_list_shows_neither_a_key_nor_a_hash() {
    let service = started();
    let key = made(&service, "key_ann", &json!({"name": "n"}));
    call(
        &service,
        "key_ann",
        "POST",
        &format!("{}/rotate", path_of(&key)),
        Some(&json!({"overlap_seconds": 60})),
    );
    for path in [KEYS.to_owned(), path_of(&key)] {
        let shown = call(&service, "key_admin", "GET", &path, None).text();
        assert!(
            !shown.contains("sha256") && !shown.contains("secret") && !shown.contains(text(&key["key"])),
            "{shown}"
        );
    }
}

#[test]
fn active_only_leaves_out_what_does_not_verify() {
    let service = started();
    let (all, total) = pages(&service, "key_admin", "");
    let (good, good_total) = pages(&service, "key_admin", "active_only=true");
    assert_eq!((all.len() as u64, good.len() as u64), (total, good_total));
    let missing: Vec<&String> = all.iter().filter(|name| !good.contains(name)).collect();
    assert_eq!(missing, ["Name of key_revoked", "Name of key_expired"]);
}

#[test]
fn a_list_is_searched_filtered_and_sorted() {
    let service = started();
    for (name, environment, days) in [("Pear", "test", 30), ("apple", "production", 10), ("Plum", "test", 20)] {
        let wanted =
            json!({"name": name, "environment": environment, "expires_in_days": days, "scopes": ["orders:read"]});
        made(&service, "key_ann", &wanted);
    }
    for (query, expected) in [
        ("q=P&environment=test", &["Plum", "Pear"][..]),
        ("q=APPLE", &["apple"]),
        ("q=orders%3Aread&limit=2&sort=name", &["apple", "Pear", "Plum"]),
        ("q=orders:read&limit=1&sort=expires", &["apple", "Plum", "Pear"]),
        ("q=orders:read&sort=created", &["Pear", "apple", "Plum"]),
        ("q=nothing+like+it", &[]),
        ("status=revoked&environment=test", &[]),
    ] {
        let (names, total) = pages(&service, "key_ann", query);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!((&*names, total), (expected, expected.len() as u64), "{query}");
    }
    let (names, _) = pages(&service, "key_admin", "status=expired");
    assert_eq!(names, ["Name of key_expired"]);
    for query in [
        "status=active",
        "sort=id",
        "environment=live",
        &format!("q={}", "x".repeat(101)),
    ] {
        let answer = call(&service, "key_ann", "GET", &format!("{KEYS}?{query}"), None);
        assert_eq!(answer.status, 422, "{query}");
    }
}

#[test]
fn a_change_is_made_to_the_record_that_was_seen_and_to_no_later_one() {
    let service = started();
    let key = made(
        &service,
        "key_ann",
        &json!({"name": "n", "burst": 5, "expires_in_days": 1}),
    );
    let path = path_of(&key);
    let shown = call(&service, "key_ann", "GET", &path, None);
    let tag = shown.header("etag").expect("an ETag").to_owned();
    let unchanged = call_with(&service, "key_ann", "GET", &path, &[("If-None-Match", &tag)], None);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));

    let wanted = json!({"name": "m", "burst": null, "expires_in_days": null, "scopes": ["orders:read"]});
    let changed = call_with(
        &service,
        "key_ann",
        "PATCH",
        &path,
        &[("If-Match", &tag)],
        Some(&wanted),
    );
    assert_eq!(changed.status, 200, "{}", changed.text());
    let record = changed.json();
    assert_eq!(
        (&record["name"], &record["burst"], &record["expires_at"]),
        (&json!("m"), &Value::Null, &Value::Null)
    );
    assert_eq!(record["scopes"], json!(["orders:read"]));
    assert!(record["updated_at"].is_string());

    let late = call_with(
        &service,
        "key_ann",
        "PATCH",
        &path,
        &[("If-Match", &tag)],
        Some(&json!({"name": "late"})),
    );
    refused(&late, 412, "precondition_failed");
    let now = call(&service, "key_ann", "GET", &path, None);
    assert_eq!((now.header("etag"), now.json()), (changed.header("etag"), record));
    for any in [changed.header("etag").expect("an ETag"), "*"] {
        let answer = call_with(
            &service,
            "key_ann",
            "PATCH",
            &path,
            &[("If-Match", any)],
            Some(&json!({"burst": 1})),
        );
        assert_eq!(answer.status, 200);
    }
    assert_eq!(
        call(&service, "key_ann", "PATCH", &path, Some(&json!({"name": "free"}))).status,
        200
    );
}

#[test]
fn a_key_is_revoked_once_or_often_and_lives_again_only_when_reactivated() {
    let service = started();
    let key = made(&service, "key_ann", &json!({"name": "n"}));
    let (path, secret) = (path_of(&key), text(&key["key"]));
    for _ in 0..2 {
        let answer = call(&service, "key_ann", "DELETE", &path, None);
        assert_eq!(
            answer.status_and_json(),
            (200, json!({"message": "API key revoked successfully"}))
        );
        assert_eq!(service.verify(secret).1["code"], "revoked");
    }
    let record = call(&service, "key_ann", "GET", &path, None).json();
    assert_eq!(
        (&record["is_active"], &record["status"]),
        (&json!(false), &json!("revoked"))
    );
    assert!(record["revoked_at"].is_string());
    refused(
        &call(&service, "key_ann", "POST", &format!("{path}/rotate"), None),
        409,
        "key_revoked",
    );

    let alive = call(&service, "key_ann", "POST", &format!("{path}/reactivate"), None);
    assert_eq!((alive.status, &alive.json()["is_active"]), (200, &json!(true)));
    assert_eq!(service.verify(secret).0, 200);
    assert_eq!(
        call(&service, "key_ann", "POST", &format!("{path}/reactivate"), None).status,
        200,
        "again"
    );
}

#[test]
fn an_expired_key_is_neither_rotated_nor_reactivated() {
    let service = started();
    for action in ["rotate", "reactivate"] {
        let answer = call(
            &service,
            "key_admin",
            "POST",
            &format!("{KEYS}/key_expired/{action}"),
            None,
        );
        refused(&answer, 409, "key_expired");
    }
    let later = call(
        &service,
        "key_admin",
        "PATCH",
        &format!("{KEYS}/key_expired"),
        Some(&json!({"expires_in_days": 1})),
    );
    assert_eq!((later.status, &later.json()["status"]), (200, &json!("good")));
}

#[test]
fn a_rotated_key_stays_itself_with_another_secret() {
    let service = started();
    let key = made(
        &service,
        "key_ann",
        &json!({"name": "n", "environment": "test", "scopes": ["orders:write"]}),
    );
    let (path, old) = (format!("{}/rotate", path_of(&key)), text(&key["key"]));
    let answer = call(&service, "key_ann", "POST", &path, None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rotated = answer.json();
    for member in [
        "key_id",
        "name",
        "environment",
        "created_at",
        "rate_limit_per_hour",
        "scopes",
        "message",
    ] {
        assert_eq!(rotated[member], key[member], "{member}");
    }
    let new = text(&rotated["key"]);
    assert!(new.starts_with("hk_test_") && new != old);
    assert_eq!((service.verify(old).0, service.verify(new).0), (403, 200));

    let overlapping = call(
        &service,
        "key_ann",
        "POST",
        &path,
        Some(&json!({"overlap_seconds": 3600})),
    )
    .json();
    assert!(overlapping["previous_expires_at"].is_string());
    let newest = text(&overlapping["key"]);
    assert_eq!(
        (service.verify(old).0, service.verify(new).0, service.verify(newest).0),
        (403, 200, 200)
    );
}

#[test]
fn an_operators_key_keeps_the_form_of_its_secret() {
    let service = started();
    let rotated = call(&service, "key_admin", "POST", &format!("{KEYS}/key_plain/rotate"), None).json();
    assert!(text(&rotated["key"]).starts_with("sec_"), "{rotated}");
}

#[test]
fn a_key_revoked_on_one_instance_is_refused_there_at_once_and_soon_by_the_other() {
    let settings = Settings::file_store().with("POLL_INTERVAL", "50ms");
    settings.write_document(&super::document());
    let [here, there] = [settings.start(), settings.start()];
    here.wait_until_ready();
    there.wait_until_ready();
    let key = made(&here, "key_ann", &json!({"name": "n"}));
    let secret = text(&key["key"]);
    assert_eq!(here.verify(secret).0, 200);
    eventually("the other instance knows the key", || there.verify(secret).0 == 200);
    assert_eq!(call(&here, "key_ann", "DELETE", &path_of(&key), None).status, 200);
    assert_eq!(here.verify(secret).0, 403);
    eventually("the other instance refuses the key", || there.verify(secret).0 == 403);
}
