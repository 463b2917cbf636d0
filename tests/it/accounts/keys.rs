//! People manage their own keys, with the token of a login.

use serde_json::{Value, json};

use super::{Client, PASSWORD, Site, credentials, everywhere};
use crate::support::{http_client::Response, service::Service};

const KEYS: &str = "/api/v1/auth/keys";

fn make(service: &Service, client: &Client, token: &str, body: &Value) -> Response {
    client.with(token, service, "POST", KEYS, Some(body))
}

fn text(body: &Value, member: &str) -> String {
    body[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member}: {body}"))
        .to_owned()
}

#[test]
fn a_person_registers_logs_in_makes_and_rotates_a_key_and_sees_its_use() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        let id = client.register(&service, "user").to_string();
        let token = client.login(&service, "user").access;
        let made = make(
            &service,
            &client,
            &token,
            &json!({ "name": "mine", "scopes": ["orders:read"] }),
        );
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        assert_eq!(
            (&made["user_id"], &made["rate_limit_per_hour"]),
            (&json!(id), &json!(1000))
        );
        let verified = service.verify(&text(&made, "key"));
        assert_eq!((verified.0, &verified.1["user_id"]), (200, &json!(id)));

        let key = format!("{KEYS}/{}", text(&made, "key_id"));
        let rotated = client.with(&token, &service, "POST", &format!("{key}/rotate"), None);
        assert_eq!(rotated.status, 200, "{}", rotated.text());
        let rotated = rotated.json();
        assert_eq!(rotated["key_id"], made["key_id"]);
        assert_eq!(service.verify(&text(&made, "key")).0, 403);
        assert_eq!(service.verify(&text(&rotated, "key")).0, 200);

        let usage = client.with(&token, &service, "GET", &format!("{key}/usage"), None);
        assert_eq!((usage.status, &usage.json()["total_requests"]), (200, &json!(2)));
        let listed = client.with(&token, &service, "GET", KEYS, None).json();
        assert_eq!(listed["total"], 1);
        assert_eq!(client.with(&token, &service, "DELETE", &key, None).status, 200);
        assert_eq!(service.verify(&text(&rotated, "key")).1["code"], "revoked");

        let who: Vec<Value> = service.events("audit").iter().map(|line| line["who"].clone()).collect();
        assert!(who.iter().all(|who| *who == json!(format!("user:{id}"))), "{who:?}");
        service.wait_for_event("management", |line| line["user_id"] == 1 && line["method"] == "DELETE");
    });
}

#[test]
fn people_see_and_change_their_own_keys_alone() {
    let (site, client) = (Site::local(), Client::new());
    let service = site.start();
    service.create_key("an operator's");
    client.register(&service, "user");
    client.register(&service, "somebody else");
    let [token, foreign] = ["user", "somebody else"].map(|login| client.login(&service, login).access);
    let made = make(&service, &client, &token, &json!({ "name": "mine" })).json();
    let path = format!("{KEYS}/{}", text(&made, "key_id"));
    assert_eq!(client.with(&foreign, &service, "GET", KEYS, None).json()["total"], 0);
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/rotate")),
    ] {
        assert_eq!(
            client.with(&foreign, &service, method, &path, None).status,
            404,
            "{method}"
        );
    }
    for operators in ["/api/v1/auth/usage/summary", "/api/v1/auth/audit"] {
        assert_eq!(
            client.with(&token, &service, "GET", operators, None).status,
            403,
            "{operators}"
        );
    }
    let for_another = json!({ "name": "theirs", "user_id": "2" });
    assert_eq!(make(&service, &client, &token, &for_another).status, 403);
    assert_eq!(client.with(&token, &service, "GET", KEYS, None).json()["total"], 1);
}

#[test]
fn people_give_the_scopes_that_the_operator_lets_them_give_and_never_the_operators_own() {
    for (user_scopes, given, refused) in [
        (
            "*",
            vec![json!(["orders:read", "files:*"]), json!(["keys:manage"])],
            vec![json!(["admin"]), json!(["*"])],
        ),
        (
            "orders:*",
            vec![json!(["orders:read"]), json!([])],
            vec![json!(["files:read"]), json!(["*"]), json!(["admin"])],
        ),
        ("none", vec![json!([])], vec![json!(["orders:read"]), json!(["admin"])]),
        ("admin", vec![json!([])], vec![json!(["admin"])]),
    ] {
        let (site, client) = (Site::local(), Client::new());
        let service = site.settings.clone().with("USER_SCOPES", user_scopes).start_ready();
        client.register(&service, "user");
        let token = client.login(&service, "user").access;
        for scopes in given {
            let made = make(&service, &client, &token, &json!({ "name": "mine", "scopes": scopes }));
            assert_eq!(made.status, 201, "{user_scopes} {scopes}: {}", made.text());
        }
        for scopes in refused {
            let made = make(&service, &client, &token, &json!({ "name": "mine", "scopes": scopes }));
            assert_eq!(
                (made.status, &made.json()["code"]),
                (403, &json!("broader_than_maker")),
                "{scopes}"
            );
        }
    }
}

#[test]
fn a_token_is_good_for_managing_and_never_for_a_verify() {
    let (site, client) = (Site::local(), Client::new());
    let service = site.start();
    client.register(&service, "user");
    let token = client.login(&service, "user").access;
    assert_eq!(service.verify(&token).1["code"], "invalid");
    assert_eq!(client.with(&token, &service, "GET", "/authz", None).status, 401);
    assert_eq!(
        client
            .with(&token, &service, "POST", "/api/v1/keys/validate", None)
            .status,
        401
    );
    for (bad, detail) in [
        (token.replace("eyJ", "eyJ4"), "Invalid token"),
        (format!("{token}x"), "Invalid token"),
        ("eyJhbGciOiJub25lIn0.e30.".to_owned(), "Invalid token"),
    ] {
        let answer = client.with(&bad, &service, "GET", KEYS, None);
        let body = json!({ "error": "Invalid token", "code": "invalid_token", "detail": detail });
        assert_eq!((answer.status, answer.json()), (401, body));
        assert!(answer.header("www-authenticate").is_some());
    }
    client.with(&token, &service, "POST", "/api/logout", None);
    let answer = client.with(&token, &service, "GET", KEYS, None);
    assert_eq!(
        (answer.status, &answer.json()["detail"]),
        (401, &json!("Token not found or expired"))
    );
}

#[test]
fn introspection_tells_services_about_tokens_and_keys() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        let operator = service.cli(&["create", "--name", "a service", "--scope", "introspect", "--json"]);
        let operator: Value = serde_json::from_slice(&operator.stdout).expect("JSON");
        let operator = text(&operator, "secret");
        client.register(&service, "user");
        let tokens = client.login(&service, "user");
        let made = make(
            &service,
            &client,
            &tokens.access,
            &json!({ "name": "mine", "scopes": ["orders:read", "a:b"] }),
        );
        let key = text(&made.json(), "key");
        let ask = |token: &str| introspect(&service, &client, &operator, token);

        let body = ask(&tokens.access);
        let told = (&body["active"], &body["username"], &body["user_id"]);
        assert_eq!(told, (&json!(true), &json!("user"), &json!("1")));
        for member in ["sub", "exp", "iat", "nbf", "iss", "aud", "jti", "sid"] {
            assert!(!body[member].is_null(), "{member}: {body}");
        }
        let body = ask(&key);
        assert_eq!(
            (&body["active"], &body["scope"]),
            (&json!(true), &json!("orders:read a:b")),
            "{body}"
        );
        for own in [&tokens.access, &key] {
            assert_eq!(introspect(&service, &client, own, &key)["active"], true, "of one's own");
            assert_eq!(
                introspect(&service, &client, own, &operator),
                json!({ "active": false })
            );
        }
        for unknown in ["x", "a.b.c", "sec_x", &tokens.refresh] {
            assert_eq!(ask(unknown), json!({ "active": false }), "{unknown}");
        }
        client.with(&tokens.access, &service, "POST", "/api/logout", None);
        assert_eq!(ask(&tokens.access), json!({ "active": false }));
        assert_eq!(
            client
                .post(&service, "/api/delete", &credentials("user", PASSWORD))
                .status,
            200
        );
        assert_eq!(ask(&key), json!({ "active": false }));
    });
}

/// As a form, as the standard has it, and as JSON; both say the same.
fn introspect(service: &Service, client: &Client, asker: &str, token: &str) -> Value {
    let bearer = format!("Bearer {asker}");
    let form = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let body = format!("token={token}&token_type_hint=access_token");
    let answer = client.send(service, "POST", "/oauth/introspect", &form, body.as_bytes());
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, Some("no-store")),
        "{}",
        answer.text()
    );
    let json = client.with(
        asker,
        service,
        "POST",
        "/oauth/introspect",
        Some(&json!({ "token": token })),
    );
    assert_eq!(json.json(), answer.json());
    answer.json()
}

#[test]
fn nobody_tries_out_tokens_by_introspection() {
    let (site, client) = (Site::local(), Client::new());
    let service = site.start();
    let plain = service.create_key("without a scope");
    let path = "/oauth/introspect";
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let without = client.send(&service, "POST", path, &[form], b"token=x");
    assert_eq!(
        (without.status, without.text().as_str()),
        (401, r#"{"detail":"Not authenticated"}"#)
    );
    for (key, status) in [("sec_unknown", 401), ("a.b.c", 401), (&plain, 403)] {
        let bearer = format!("Bearer {key}");
        let answer = client.send(&service, "POST", path, &[form, ("Authorization", &bearer)], b"token=x");
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    client.register(&service, "user");
    let token = client.login(&service, "user").access;
    let nothing = client.with(&token, &service, "POST", path, None);
    assert_eq!(
        (nothing.status, &nothing.json()["error"]),
        (400, &json!("invalid_request"))
    );
}

#[test]
fn a_key_introspects_from_its_networks_and_from_no_unknown_address() {
    let (site, client) = (Site::local(), Client::new());
    let service = site
        .settings
        .clone()
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .start_ready();
    let create = ["create", "--name", "a service", "--scope", "introspect", "--json"];
    let [bound, free] = [&["--allow-ip", "127.0.0.0/8", "--allow-ip", "192.0.2.7"][..], &[]].map(|networks| {
        let made = service.cli(&[&create, networks].concat());
        text(&serde_json::from_slice(&made.stdout).expect("JSON"), "secret")
    });
    let ask = |key: &str, forwarded: &str| {
        let headers = [
            ("Authorization", &*format!("Bearer {key}")),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Forwarded-For", forwarded),
        ];
        let answer = client.send(&service, "POST", "/oauth/introspect", &headers, b"token=x");
        (answer.status, answer.text())
    };
    let answered = (200, r#"{"active":false}"#.to_owned());
    let refused = ask("sec_unknown", "192.0.2.7");
    assert_eq!(refused.0, 401);
    for known in ["192.0.2.7", "127.0.0.1"] {
        assert_eq!(ask(&bound, known), answered, "{known}");
    }
    for elsewhere in ["192.0.2.8", "unknown", "unix:", "192.0.2.7, unknown"] {
        assert_eq!(ask(&bound, elsewhere), refused, "{elsewhere}");
        assert_eq!(ask(&free, elsewhere), answered, "{elsewhere}");
    }
}

#[test]
fn the_public_keys_are_there_for_everybody() {
    let (site, client) = (Site::local(), Client::new());
    let service = site.start();
    let answer = client.send(&service, "GET", "/.well-known/jwks.json", &[], b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"keys":[]}"#));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let key = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519"])
        .output()
        .expect("openssl");
    let pem = String::from_utf8(key.stdout).expect("PEM is text");
    let service = site.settings.clone().with("JWT_PRIVATE_KEY", pem).start();
    let keys = service.get("/.well-known/jwks.json").json();
    assert_eq!(
        (&keys["keys"][0]["crv"], &keys["keys"][0]["alg"]),
        (&json!("Ed25519"), &json!("EdDSA"))
    );
    client.register(&service, "user");
    let token = client.login(&service, "user").access;
    assert_eq!(client.profile(&service, &token).status, 200);
}
