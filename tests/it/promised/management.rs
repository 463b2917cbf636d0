//! Each call of key management, and each way in which it is refused.

use serde_json::{Value, json};

use super::{KEYS, Site, path_of, rows, text};
use crate::support::{documents::secret_of, service::eventually};

rows!(
    without_a_key_it_is_401_in_the_known_words,
    a_key_that_is_not_for_managing_is_403_and_a_bad_one_401,
    a_new_key_is_201_with_all_its_members,
    a_new_key_is_what_a_key_can_be_or_422,
    a_list_is_newest_first_in_pages_without_keys_and_hashes,
    a_key_is_shown_and_changed_by_the_tag_that_was_seen,
    a_key_is_revoked_as_often_as_anybody_likes,
    a_rotated_key_keeps_its_id_and_a_dead_one_is_not_rotated,
    a_reactivated_key_lives_and_an_expired_one_does_not,
    an_id_that_is_unknown_malformed_or_of_somebody_else_is_one_404,
    a_key_is_never_broader_than_its_maker,
    errors_are_of_one_form_and_problem_json_for_who_asks,
    a_post_that_is_sent_again_is_carried_out_once,
    a_page_of_an_allowed_origin_needs_no_key_to_ask_and_reads_errors,
    plain_http_behind_a_proxy_is_refused_and_not_redirected,
    a_revocation_is_in_force_here_at_once_and_elsewhere_within_the_bound,
    the_age_of_the_keys_in_force_can_be_seen,
);

fn without_a_key_it_is_401_in_the_known_words(site: &Site) {
    for (method, path) in [
        ("GET", KEYS),
        ("POST", KEYS),
        ("GET", "/api/v1/auth/usage/summary"),
        ("GET", "/api/v1/auth/audit"),
    ] {
        let answer = site.send(method, path, &[], b"");
        assert_eq!(
            answer.status_and_json(),
            (401, json!({"detail": "API key required"})),
            "{method} {path}"
        );
        assert!(answer.header("www-authenticate").is_some());
    }
}

fn a_key_that_is_not_for_managing_is_403_and_a_bad_one_401(site: &Site) {
    for (id, status) in [
        ("key_plain", 403),
        ("key_bound", 403),
        ("key_expired", 401),
        ("nobody", 401),
    ] {
        assert_eq!(site.call(id, "GET", KEYS, None).status, status, "{id}");
    }
}

fn a_new_key_is_201_with_all_its_members(site: &Site) {
    let wanted = json!({
        "name": " Orders ", "environment": "test", "expires_in_days": 30, "rate_limit_per_hour": 50, "burst": 5,
        "allowed_ips": ["127.0.0.1", "10.1.2.3/8"], "scopes": ["orders:write"], "metadata": {"team": "a"},
    });
    let key = site.made(wanted);
    for (member, value) in [
        ("name", json!("Orders")),
        ("environment", json!("test")),
        ("rate_limit_per_hour", json!(50)),
        ("allowed_ips", json!(["127.0.0.1", "10.0.0.0/8"])),
        ("scopes", json!(["orders:write"])),
        ("user_id", json!("ann")),
    ] {
        assert_eq!(key[member], value, "{member}");
    }
    for member in ["key", "key_id", "created_at", "expires_at", "message"] {
        assert!(key[member].is_string(), "{member}");
    }
    let plain = site.made(json!({"name": "n"}));
    assert_eq!(
        (&plain["environment"], &plain["rate_limit_per_hour"]),
        (&json!("production"), &json!(1000))
    );
}

fn a_new_key_is_what_a_key_can_be_or_422(site: &Site) {
    for (member, value) in [
        ("name", json!("")),
        ("name", json!("  ")),
        ("name", json!("x".repeat(101))),
        ("environment", json!("staging")),
        ("expires_in_days", json!(0)),
        ("expires_in_days", json!(366)),
        ("rate_limit_per_hour", json!(0)),
        ("rate_limit_per_hour", json!(100_001)),
        ("allowed_ips", json!(["10.0.0.0/33"])),
        ("scopes", json!(["a b"])),
        ("metadata", json!([])),
        ("unknown", json!(1)),
    ] {
        let mut body = json!({"name": "n"});
        body[member] = value;
        let answer = site.call("key_admin", "POST", KEYS, Some(body.clone()));
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (422, &json!("invalid_request")),
            "{body}"
        );
    }
    let longest = json!({"name": "x".repeat(100), "expires_in_days": 365, "rate_limit_per_hour": 100_000});
    assert_eq!(site.call("key_admin", "POST", KEYS, Some(longest)).status, 201);
}

fn a_list_is_newest_first_in_pages_without_keys_and_hashes(site: &Site) {
    let before = site.call("key_bob", "GET", KEYS, None).json();
    for name in ["b1", "b2", "b3"] {
        let body = json!({"name": name});
        assert_eq!(site.call("key_bob", "POST", KEYS, Some(body)).status, 201);
    }
    let first = site.call("key_bob", "GET", &format!("{KEYS}?limit=2"), None);
    let (shown, first) = (first.text(), first.json());
    assert!(!shown.contains("sha256") && !shown.contains("\"key\":"));
    assert_eq!(
        (&first["keys"][0]["name"], &first["keys"][1]["name"]),
        (&json!("b3"), &json!("b2"))
    );
    assert_eq!(first["total"].as_u64(), before["total"].as_u64().map(|total| total + 3));
    let next = site.call(
        "key_bob",
        "GET",
        &format!("{KEYS}?limit=2&cursor={}", text(&first["next"])),
        None,
    );
    assert_eq!(next.json()["keys"][0]["name"], "b1");
    let gone = path_of(&first["keys"][0]);
    assert_eq!(site.call("key_bob", "DELETE", &gone, None).status, 200);
    let active = site
        .call("key_bob", "GET", &format!("{KEYS}?active_only=true"), None)
        .json();
    assert_eq!(active["keys"][0]["name"], "b2");
}

fn a_key_is_shown_and_changed_by_the_tag_that_was_seen(site: &Site) {
    let path = path_of(&site.made(json!({"name": "n"})));
    let shown = site.call("key_ann", "GET", &path, None);
    let tag = shown.header("etag").expect("a tag").to_owned();
    let change = |tag: &str, name: &str| {
        site.call_with(
            "key_ann",
            "PATCH",
            &path,
            &[("If-Match", tag)],
            Some(json!({"name": name})),
        )
    };
    let changed = change(&tag, "m");
    assert_eq!((changed.status, &changed.json()["name"]), (200, &json!("m")));
    let late = change(&tag, "late");
    assert_eq!(
        (late.status, &late.json()["code"]),
        (412, &json!("precondition_failed"))
    );
    assert_eq!(
        site.call("key_ann", "PATCH", &path, Some(json!({"name": ""}))).status,
        422
    );
    assert_eq!(
        site.call("key_ann", "PATCH", &format!("{KEYS}/none"), Some(json!({"name": "m"})))
            .status,
        404
    );
}

fn a_key_is_revoked_as_often_as_anybody_likes(site: &Site) {
    let path = path_of(&site.made(json!({"name": "n"})));
    for _ in 0..2 {
        let answer = site.call("key_ann", "DELETE", &path, None).status_and_json();
        assert_eq!(answer, (200, json!({"message": "API key revoked successfully"})));
    }
    let record = site.call("key_ann", "GET", &path, None).json();
    assert!(record["revoked_at"].is_string() && record["is_active"] == false);
    assert_eq!(
        site.call("key_ann", "DELETE", &format!("{KEYS}/none"), None).status,
        404
    );
}

fn a_rotated_key_keeps_its_id_and_a_dead_one_is_not_rotated(site: &Site) {
    let key = site.made(json!({"name": "n", "scopes": ["orders:read"], "rate_limit_per_hour": 7}));
    let path = path_of(&key);
    let rotate = |path: &str| site.call("key_ann", "POST", &format!("{path}/rotate"), None);
    let generation = || site.service.ready().1["generation"].as_u64().expect("a number");
    let before = generation();
    let rotated = rotate(&path);
    assert_eq!((rotated.status, generation()), (200, before + 1), "one write");
    let rotated = rotated.json();
    for member in [
        "key_id",
        "name",
        "user_id",
        "scopes",
        "rate_limit_per_hour",
        "created_at",
    ] {
        assert_eq!(rotated[member], key[member], "{member}");
    }
    assert_ne!(rotated["key"], key["key"]);
    assert_eq!(rotate(&format!("{KEYS}/none")).status, 404);
    site.call("key_ann", "DELETE", &path, None);
    assert_eq!(
        (rotate(&path).status, &rotate(&path).json()["code"]),
        (409, &json!("key_revoked"))
    );
    let expired = site.call("key_admin", "POST", &format!("{KEYS}/key_expired/rotate"), None);
    assert_eq!((expired.status, &expired.json()["code"]), (409, &json!("key_expired")));
}

fn a_reactivated_key_lives_and_an_expired_one_does_not(site: &Site) {
    let path = path_of(&site.made(json!({"name": "n"})));
    site.call("key_ann", "DELETE", &path, None);
    let reactivate = |path: &str| site.call("key_admin", "POST", &format!("{path}/reactivate"), None);
    let alive = reactivate(&path);
    assert_eq!((alive.status, &alive.json()["is_active"]), (200, &json!(true)));
    assert_eq!(reactivate(&format!("{KEYS}/none")).status, 404);
    assert_eq!(reactivate(&format!("{KEYS}/key_expired")).status, 409);
}

fn an_id_that_is_unknown_malformed_or_of_somebody_else_is_one_404(site: &Site) {
    let ids = [
        "key_0001vDmoxAgLBqEcDYf",
        "%00",
        "not an id".trim(),
        "key_bob",
        "key_admin",
    ]
    .map(|id| id.replace(' ', "%20"));
    for (method, action) in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/reactivate"),
        ("GET", "/usage"),
    ] {
        let body = (method == "PATCH").then(|| json!({"name": "m"}));
        let ask = |id: &String| site.call("key_ann", method, &format!("{KEYS}/{id}{action}"), body.clone());
        let answers: Vec<_> = ids
            .iter()
            .map(ask)
            .map(|answer| (answer.status, answer.text()))
            .collect();
        assert!(
            answers.iter().all(|answer| answer.0 == 404 && *answer == answers[0]),
            "{method} {action}"
        );
    }
}

fn a_key_is_never_broader_than_its_maker(site: &Site) {
    for body in [
        json!({"name": "n", "scopes": ["users:read"]}),
        json!({"name": "n", "scopes": ["*"]}),
        json!({"name": "n", "user_id": "ann"}),
        json!({"name": "n", "rate_limit_per_hour": 1001}),
    ] {
        let answer = site.call("key_bob", "POST", KEYS, Some(body.clone()));
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (403, &json!("broader_than_maker")),
            "{body}"
        );
    }
    assert_eq!(
        site.call("key_admin", "POST", KEYS, Some(json!({"name": "n", "scopes": ["*"]})))
            .status,
        201
    );
}

fn errors_are_of_one_form_and_problem_json_for_who_asks(site: &Site) {
    let path = format!("{KEYS}/none");
    let plain = site.call("key_ann", "GET", &path, None).json();
    let expected = json!({"error": "API key not found", "code": "not_found", "detail": "API key not found"});
    assert_eq!(plain, expected);
    let asked = [("Accept", "application/problem+json")];
    let problem = site.call_with("key_ann", "GET", &path, &asked, None);
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    let problem = problem.json();
    assert_eq!(
        (&problem["status"], &problem["code"]),
        (&json!(404), &json!("not_found"))
    );
    assert!(problem["type"].is_string() && problem["title"].is_string());
}

fn a_post_that_is_sent_again_is_carried_out_once(site: &Site) {
    let post = |body: Value| site.call_with("key_ann", "POST", KEYS, &[("Idempotency-Key", "once")], Some(body));
    let [first, again] = [(); 2].map(|()| post(json!({"name": "n"})));
    assert_eq!((first.status, &first.body), (201, &again.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(post(json!({"name": "m"})).status, 422);
}

fn a_page_of_an_allowed_origin_needs_no_key_to_ask_and_reads_errors(site: &Site) {
    let page = ("Origin", "https://app.example.com");
    let asked = [page, ("Access-Control-Request-Method", "PATCH")];
    let preflight = site.send("OPTIONS", KEYS, &asked, b"");
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-origin")),
        (204, Some(page.1))
    );
    for (credential, status) in [(secret_of("key_ann"), 200), ("guess".to_owned(), 401)] {
        let answer = site.send("GET", KEYS, &[page, ("X-API-Key", &credential)], b"");
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (status, Some(page.1))
        );
    }
}

fn plain_http_behind_a_proxy_is_refused_and_not_redirected(site: &Site) {
    let by = |proto| site.call_with("key_ann", "GET", KEYS, &[("X-Forwarded-Proto", proto)], None);
    let refused = by("http");
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (403, &json!("https_required"))
    );
    assert_eq!(refused.header("location"), None);
    assert_eq!(by("https").status, 200);
}

fn a_revocation_is_in_force_here_at_once_and_elsewhere_within_the_bound(site: &Site) {
    let other = site.beside("POLL_INTERVAL", "1s");
    let key = site.made(json!({"name": "n"}));
    let secret = text(&key["key"]);
    assert_eq!(other.refresh().0, 200);
    assert_eq!((site.service.verify(secret).0, other.verify(secret).0), (200, 200));
    assert_eq!(site.call("key_ann", "DELETE", &path_of(&key), None).status, 200);
    assert_eq!(site.service.verify(secret).1["code"], "revoked");
    eventually("the other instance refuses it", || {
        other.verify(secret).1["code"] == "revoked"
    });
}

fn the_age_of_the_keys_in_force_can_be_seen(site: &Site) {
    let (status, ready) = site.service.ready();
    assert_eq!(status, 200);
    assert!(
        ready["age_seconds"].is_number() && ready["loaded_at"].is_string(),
        "{ready}"
    );
}
