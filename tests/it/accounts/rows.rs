//! Every row of the table of calls: status, body and headers, to the letter.

use serde_json::{Value, json};

use super::{Client, PASSWORD, Site, Tokens, credentials, everywhere, said};
use crate::support::{
    http_client::Response,
    service::{Service, eventually},
};

#[test]
fn somebody_registers_logs_in_looks_at_the_profile_and_logs_out() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        let registered = client.post(&service, "/api/register", &credentials("user", PASSWORD));
        said(&registered, 201, r#"{"id":1}"#);
        assert_eq!(registered.header("content-type"), Some("application/json"));
        let taken = client.post(&service, "/api/register", &credentials(" USER ", "another-password-9"));
        said(&taken, 409, r#"{"detail":"Login already registered"}"#);
        assert_eq!(client.register(&service, "somebody else"), 2);

        let before = client.login(&service, "user");
        let body = client.profile(&service, &before.access).json();
        let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["created_at", "id", "last_login", "login"]);
        assert_eq!((&body["id"], &body["login"]), (&json!(1), &json!("user")));
        for time in ["created_at", "last_login"] {
            assert!(body[time].as_str().is_some_and(|time| time.ends_with('Z')), "{body}");
        }

        let logged_out = client.with(&before.access, &service, "POST", "/api/logout", None);
        said(&logged_out, 200, r#"{"message":"Successfully logged out"}"#);
        let again = client.with(&before.access, &service, "POST", "/api/logout", None);
        said(&again, 400, r#"{"detail":"Failed to logout token"}"#);
        refused(
            &client.profile(&service, &before.access),
            "Token not found or expired",
            true,
        );
    });
}

#[test]
fn a_login_gives_tokens_that_nobody_may_keep_a_copy_of() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        client.register(&service, "user");
        let answer = client.try_login(&service, "  User ", PASSWORD);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let Tokens { access, refresh } = Tokens::of(&answer);
        said(
            &answer,
            200,
            &format!(
                r#"{{"access_token":"{access}","token_type":"bearer","expires_in":86400,"refresh_token":"{refresh}"}}"#
            ),
        );
        assert_eq!(access.split('.').count(), 3);
        let claims = claims(&access);
        assert_eq!((&claims["sub"], &claims["user_id"]), (&json!("user"), &json!(1)));
        for name in ["iat", "nbf", "exp", "iss", "aud", "jti", "sid"] {
            assert!(!claims[name].is_null(), "{name}: {claims}");
        }
        let successor = client.refresh(&service, &refresh);
        assert_eq!(
            (successor.status, successor.header("cache-control")),
            (200, Some("no-store"))
        );
        assert_eq!(successor.json()["expires_in"], 86400);
    });
}

/// What anybody can read in a token.
fn claims(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("JSON")
}

#[test]
fn without_a_good_token_nobody_is_let_in_and_is_told_what_is_wrong() {
    everywhere(|site| {
        let site_settings = site.settings.clone().with("TOKEN_TTL", "1s");
        let (service, client) = (site_settings.start(), Client::new());
        client.register(&service, "user");
        for (method, path) in [
            ("GET", "/api/profile"),
            ("POST", "/api/logout"),
            ("POST", "/api/password"),
            ("GET", "/api/sessions"),
            ("DELETE", "/api/sessions/ses_1"),
        ] {
            for headers in [&[][..], &[("Authorization", "Basic eA==")], &[("X-API-Key", "a.b.c")]] {
                refused(
                    &client.send(&service, method, path, headers, b""),
                    "Not authenticated",
                    false,
                );
            }
            if path != "/api/logout" {
                refused(
                    &client.with("a.b.c", &service, method, path, None),
                    "Invalid token",
                    true,
                );
                refused(
                    &client.with("hk_live_x", &service, method, path, None),
                    "Invalid token",
                    true,
                );
            }
        }
        for nobodys in ["a.b.c", "x"] {
            let answer = client.with(nobodys, &service, "POST", "/api/logout", None);
            said(&answer, 400, r#"{"detail":"Failed to logout token"}"#);
        }
        let token = client.login(&service, "user").access;
        crate::support::service::eventually("the token expires", || client.profile(&service, &token).status == 401);
        refused(&client.profile(&service, &token), "Token has expired", true);
    });
}

#[track_caller]
fn refused(answer: &Response, detail: &str, is_bad_token: bool) {
    said(answer, 401, &json!({ "detail": detail }).to_string());
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with(r#"Bearer realm="heare-auth""#), "{challenge}");
    assert_eq!(challenge.contains(r#"error="invalid_token""#), is_bad_token);
}

#[test]
fn a_wrong_password_and_an_unknown_login_get_the_same_bytes() {
    everywhere(|site| {
        let service = site.start();
        let client = Client::new();
        client.register(&service, "user");
        let token = client.login(&service, "user").access;
        let wrong = client.try_login(&service, "user", "not-the-password");
        said(&wrong, 401, r#"{"message":"Invalid credentials"}"#);
        let others = [
            client.try_login(&service, "nobody", "not-the-password"),
            client.try_login(&service, "x\u{0}", ""),
            client.post(&service, "/api/delete", &credentials("user", "not-the-password")),
            client.post(&service, "/api/delete", &credentials("nobody", PASSWORD)),
        ];
        let other_client = Client::new();
        let change = json!({ "password": "not-the-password", "new_password": "a-new-password-9" });
        let of_own = other_client.with(&token, &service, "POST", "/api/password", Some(&change));
        let headers = |answer: &Response| {
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
            headers
        };
        for other in others.iter().chain([&of_own]) {
            assert_eq!((other.status, &other.body), (wrong.status, &wrong.body));
            assert_eq!(headers(other), headers(&wrong));
        }
    });
}

#[test]
fn twenty_registrations_of_one_login_at_once_make_one_account() {
    everywhere(|site| {
        let service = site.start();
        let spellings = ["Twenty", "twenty", "TWENTY", " twenty ", "ｔｗｅｎｔｙ"];
        let mut statuses = std::thread::scope(|scope| {
            let register = |number: usize| {
                let service = &service;
                scope.spawn(move || {
                    let login = spellings[number % spellings.len()];
                    let body = credentials(login, PASSWORD).to_string();
                    let mut status = 0;
                    // Of a busy machine some are told to come again.
                    eventually("there is room for it", || {
                        status = service.post("/api/register", body.as_bytes()).status;
                        status != 503
                    });
                    status
                })
            };
            let running: Vec<_> = (0..20).map(register).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect::<Vec<u16>>()
        });
        statuses.sort_unstable();
        assert_eq!(statuses[..2], [201, 409]);
        assert!(statuses[1..].iter().all(|&status| status == 409), "{statuses:?}");
        assert_eq!(
            Client::new().register(&service, "the next"),
            2,
            "a login that is taken uses up no id"
        );
    });
}

#[test]
fn what_is_wrong_with_a_body_is_told_in_the_known_form_and_never_repeated() {
    let (site, client) = (Site::local(), Client::new());
    let service = site.start();
    let missing = r#"{"error":"The body has no login","detail":[{"type":"missing","loc":["body","login"],"msg":"Field required"},{"type":"missing","loc":["body","password"],"msg":"Field required"}]}"#;
    for path in ["/api/register", "/api/login", "/api/delete"] {
        said(&client.post(&service, path, &json!({})), 422, missing);
        let not_json = client.send(&service, "POST", path, &[], b"login=marker");
        assert_eq!(
            (not_json.status, kinds(&not_json)),
            (422, vec!["json_invalid".to_owned()])
        );
        let strange = json!({ "login": ["marker"], "password": { "marker": 1 } });
        let strange = client.post(&service, path, &strange);
        assert_eq!(
            (strange.status, kinds(&strange)),
            (422, vec!["string_type".to_owned(); 2])
        );
        assert!(!strange.text().contains("marker"));
    }
    for (login, password, kind) in [
        ("ab", "marker-good-password", "string_too_short"),
        ("marker\u{0}", "marker-good-password", "value_error"),
        (&"marker".repeat(50), "marker-good-password", "string_too_long"),
        ("user", "marker", "string_too_short"),
        ("user", "Password1", "value_error"),
        ("marker-and-more", "MARKER-and-more", "value_error"),
    ] {
        let answer = client.post(&service, "/api/register", &credentials(login, password));
        assert_eq!(
            (answer.status, kinds(&answer)),
            (422, vec![kind.to_owned()]),
            "{}",
            answer.text()
        );
        assert!(!answer.text().to_lowercase().contains("marker"), "{}", answer.text());
    }
    let refresh = client.post(&service, "/api/refresh", &json!({ "token": "x" }));
    assert_eq!((refresh.status, kinds(&refresh)), (422, vec!["missing".to_owned()]));
}

fn kinds(answer: &Response) -> Vec<String> {
    let body = answer.json();
    assert!(body["error"].is_string(), "{body}");
    let details = body["detail"].as_array().expect("a list").iter();
    details
        .map(|detail| detail["type"].as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn a_body_may_be_called_anything_but_must_not_be_large() {
    let (site, client) = (Site::local(), Client::new());
    let service = site.start();
    let body = credentials("user", PASSWORD).to_string();
    for (content_type, status) in [("text/plain", 201), ("application/json; charset=utf-8", 409), ("", 409)] {
        let headers = [("Content-Type", content_type)];
        let answer = client.send(&service, "POST", "/api/register", &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{content_type}");
    }
    let large = client.post(&service, "/api/login", &credentials("user", &"x".repeat(64 << 10)));
    said(&large, 413, r#"{"error":"The request body is larger than 64 KiB"}"#);
    assert_eq!(large.header("connection"), Some("close"));
}

#[test]
fn every_path_says_which_methods_it_answers() {
    let (site, client) = (Site::local(), Client::new());
    let service = site.start();
    for (path, allow) in [
        ("/api/register", "POST, OPTIONS"),
        ("/api/login", "POST, OPTIONS"),
        ("/api/refresh", "POST, OPTIONS"),
        ("/api/logout", "POST, OPTIONS"),
        ("/api/profile", "GET, HEAD, OPTIONS"),
        ("/api/password", "POST, OPTIONS"),
        ("/api/delete", "POST, OPTIONS"),
        ("/api/sessions", "GET, HEAD, OPTIONS"),
        ("/api/sessions/ses_1", "DELETE, OPTIONS"),
        ("/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        ("/oauth/introspect", "POST, OPTIONS"),
    ] {
        let wrong = client.send(&service, "PUT", path, &[], b"");
        said(&wrong, 405, r#"{"detail":"Method Not Allowed"}"#);
        assert_eq!(wrong.header("allow"), Some(allow), "{path}");
        let options = client.send(&service, "OPTIONS", path, &[], b"");
        assert_eq!((options.status, options.header("allow")), (204, Some(allow)), "{path}");
        let trailing = client.send(&service, "POST", &format!("{path}/"), &[], b"");
        said(&trailing, 404, r#"{"detail":"Not Found"}"#);
    }
    client.register(&service, "user");
    let token = client.login(&service, "user").access;
    let head = client.with(&token, &service, "HEAD", "/api/profile", None);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_page_may_call_from_the_origins_that_are_named() {
    let site = Site::local();
    let service = site
        .settings
        .clone()
        .with("CORS_ORIGINS", "https://app.example.com")
        .start();
    let client = Client::new();
    let origin = ("Origin", "https://app.example.com");
    let preflight = [origin, ("Access-Control-Request-Method", "POST")];
    let answer = client.send(&service, "OPTIONS", "/api/login", &preflight, b"");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (204, Some(origin.1))
    );
    let body = credentials("nobody", PASSWORD).to_string();
    let answer = client.send(&service, "POST", "/api/login", &[origin], body.as_bytes());
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (401, Some(origin.1))
    );
}

#[test]
fn a_password_is_taken_over_https_and_from_this_host_alone() {
    let site = Site::local();
    let service = site.settings.clone().with("TRUSTED_PROXIES", "127.0.0.1").start();
    let body = credentials("user", PASSWORD).to_string();
    let from = |headers: &[(&str, &str)]| -> u16 {
        send_from_proxy(&service, "/api/register", headers, body.as_bytes()).status
    };
    assert_eq!(from(&[("X-Forwarded-Proto", "http")]), 403);
    assert_eq!(
        from(&[("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.7")]),
        201
    );
    let refused = send_from_proxy(
        &service,
        "/api/login",
        &[("X-Forwarded-Proto", "http")],
        body.as_bytes(),
    );
    assert_eq!(refused.json()["error"], "HTTPS required");
    let open = send_from_proxy(
        &service,
        "/.well-known/jwks.json",
        &[("X-Forwarded-Proto", "http")],
        b"",
    );
    assert_eq!(open.status, 405, "public keys are for everybody");
}

fn send_from_proxy(service: &Service, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    service
        .connect()
        .request("POST", path, headers, body)
        .expect("an answer")
}
