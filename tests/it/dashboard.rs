//! The dashboard's side of the service: who is logged in there, and what they may do by their cookie.

mod feed;
mod overview;

use serde_json::{Value, json};

use crate::support::{
    documents::{record_with, secret_of},
    http_client::{Connection, Response},
    service::{Service, Settings},
};

const SESSION: &str = "/dashboard/session";
const KEYS: &str = "/api/v1/auth/keys";
const PASSWORD: &str = "securepassword123";

/// A browser, as far as it matters here: it keeps a cookie, and its page keeps the token.
#[derive(Clone, Default)]
struct Browser {
    cookie: String,
    csrf: String,
    /// What a proxy adds.
    headers: Vec<(&'static str, &'static str)>,
}

impl Browser {
    fn log_in(&mut self, service: &Service, body: &Value) -> Response {
        let answer = self.send(service, "POST", SESSION, &[], body.to_string().as_bytes());
        if answer.status == 200 {
            answer.json()["csrf"]
                .as_str()
                .expect("a token")
                .clone_into(&mut self.csrf);
        }
        answer
    }

    /// As the page does it.
    fn ask(&mut self, service: &Service, method: &str, path: &str, body: &str) -> Response {
        let csrf = self.csrf.clone();
        self.send(service, method, path, &[("X-CSRF-Token", &csrf)], body.as_bytes())
    }

    fn send(&mut self, service: &Service, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Response {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend_from_slice(&self.headers);
        headers.extend_from_slice(more);
        let cookie = self.cookie.clone();
        if !cookie.is_empty() {
            headers.push(("Cookie", &cookie));
        }
        let answer = Connection::open(service.address()).request(method, path, &headers, body);
        let answer = answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        if let Some(set) = answer.header("set-cookie") {
            let kept = set.split(';').next().expect("a cookie begins with its value");
            let is_gone = set.contains("Max-Age=0");
            self.cookie = if is_gone { String::new() } else { kept.to_owned() };
        }
        answer
    }

    fn status(&mut self, service: &Service, method: &str, path: &str) -> u16 {
        self.ask(service, method, path, "").status
    }
}

fn person(login: &str) -> Value {
    json!({ "login": login, "password": PASSWORD })
}

fn key(id: &str) -> Value {
    json!({ "api_key": secret_of(id) })
}

fn register(service: &Service, login: &str) -> i64 {
    let answer = service.post("/api/register", person(login).to_string().as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_i64().expect("an id")
}

fn settings() -> Settings {
    let settings = Settings::file_store();
    let mut manager = record_with("key_manager", "scopes", json!(["keys:manage", "orders:read"]));
    manager["user_id"] = "u_1".into();
    let keys = [
        record_with("key_admin", "scopes", json!(["admin"])),
        manager,
        record_with("key_plain", "scopes", json!(["orders:read"])),
        record_with("key_short", "expires_at", "2099-01-01T00:00:00Z"),
    ];
    settings.write_document(&json!({ "generation": 1, "keys": keys }).to_string());
    settings
}

#[test]
fn a_person_who_logs_in_manages_their_own_keys_by_cookie_until_they_log_out() {
    let service = settings().start_ready();
    let id = register(&service, "anna");
    let mut browser = Browser::default();
    let answer = browser.log_in(&service, &person("anna"));
    let body = answer.json();
    assert_eq!(
        (&body["kind"], &body["name"], &body["admin"]),
        (&json!("user"), &json!("anna"), &json!(false))
    );
    assert_eq!(body["scopes"], json!(["*"]));
    let set = answer.header("set-cookie").expect("a cookie");
    assert!(
        set.starts_with("heare-auth=") && set.contains("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43"),
        "{set}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let shown = browser.ask(&service, "GET", SESSION, "");
    assert_eq!(shown.json(), body);

    let made = browser.ask(
        &service,
        "POST",
        KEYS,
        r#"{"name":"by cookie","scopes":["orders:read"]}"#,
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made["user_id"], json!(id.to_string()));
    assert_eq!(service.verify(made["key"].as_str().expect("a secret")).0, 200);
    let listed = browser.ask(&service, "GET", KEYS, "").json();
    assert_eq!(listed["keys"].as_array().expect("keys").len(), 1);
    let one = format!("{KEYS}/{}", made["key_id"].as_str().expect("an id"));
    assert_eq!(
        browser.ask(&service, "PATCH", &one, r#"{"name":"renamed"}"#).status,
        200
    );
    assert_eq!(
        browser.ask(&service, "POST", &format!("{one}/rotate"), "{}").status,
        200
    );
    assert_eq!(browser.status(&service, "DELETE", &one), 200);

    let mut copy = browser.clone();
    assert_eq!(browser.status(&service, "DELETE", SESSION), 204);
    assert_eq!(browser.cookie, "");
    assert_eq!(copy.status(&service, "GET", KEYS), 401, "the session itself has ended");
    assert_eq!(copy.status(&service, "GET", SESSION), 401);
    assert_eq!(copy.cookie, "", "a cookie that is good for nothing is taken away");
    service.wait_for_event("dashboard_login", |line| line["user_id"] == id);
    service.wait_for_event("dashboard_logout", |line| line["user_id"] == id);
    let audit = service.wait_for_event("audit", |line| line["what"] == "create");
    assert_eq!(audit["who"], json!(format!("user:{id}")));
}

#[test]
fn an_operators_key_logs_in_and_is_asked_for_anew_at_each_use() {
    let service = settings().start_ready();
    let mut browser = Browser::default();
    let body = browser.log_in(&service, &key("key_admin")).json();
    assert_eq!(
        (&body["kind"], &body["name"]),
        (&json!("key"), &json!("Name of key_admin"))
    );
    assert_eq!((&body["admin"], &body["scopes"]), (&json!(true), &json!(["admin"])));
    assert_eq!(
        browser.ask(&service, "GET", KEYS, "").json()["keys"]
            .as_array()
            .map(Vec::len),
        Some(4)
    );

    let mut manager = Browser::default();
    let body = manager.log_in(&service, &key("key_manager")).json();
    assert_eq!(
        (&body["admin"], &body["scopes"]),
        (&json!(false), &json!(["keys:manage", "orders:read"]))
    );
    assert_eq!(manager.status(&service, "GET", KEYS), 200);
    assert_eq!(browser.status(&service, "DELETE", &format!("{KEYS}/key_manager")), 200);
    let refused = manager.ask(&service, "GET", KEYS, "");
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("revoked")));
    assert_eq!(manager.status(&service, "GET", SESSION), 401);
    assert_eq!(manager.cookie, "");
    assert_eq!(browser.status(&service, "DELETE", SESSION), 204);
    service.wait_for_event("dashboard_login", |line| line["key_id"] == "key_admin");
}

#[test]
fn a_new_password_a_lost_account_and_a_session_ended_elsewhere_end_the_cookie_at_once() {
    let service = settings().start_ready();
    register(&service, "anna");
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&service, &person("anna")).status, 200);
    let tokens = service.post("/api/login", person("anna").to_string().as_bytes()).json();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().expect("a token"));
    let with_token = |method: &str, path: &str, body: &Value| {
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
        let answer = service
            .connect()
            .request(method, path, &headers, body.to_string().as_bytes());
        answer.expect("an answer")
    };

    let sessions = with_token("GET", "/api/sessions", &Value::Null).json();
    let own = sessions["sessions"].as_array().expect("sessions");
    let own = own.iter().find(|one| one["current"] == false).expect("the dashboard's");
    let path = format!("/api/sessions/{}", own["id"].as_str().expect("an id"));
    assert_eq!(with_token("DELETE", &path, &Value::Null).status, 200);
    assert_eq!(browser.status(&service, "GET", KEYS), 401);

    assert_eq!(browser.log_in(&service, &person("anna")).status, 200);
    let change = json!({ "password": PASSWORD, "new_password": "another good password" });
    assert_eq!(with_token("POST", "/api/password", &change).status, 200);
    assert_eq!(browser.status(&service, "GET", KEYS), 401);

    let credentials = json!({ "login": "anna", "password": "another good password" });
    assert_eq!(browser.log_in(&service, &credentials).status, 200);
    assert_eq!(
        service.post("/api/delete", credentials.to_string().as_bytes()).status,
        200
    );
    assert_eq!(browser.status(&service, "GET", KEYS), 401);
}

#[test]
fn nothing_is_changed_by_cookie_without_the_token_or_from_another_sites_page() {
    let service = settings().start_ready();
    let mut browser = Browser::default();
    browser.log_in(&service, &key("key_admin"));
    let csrf = browser.csrf.clone();
    let own = format!("http://{}", service.address());
    let refused: [&[(&str, &str)]; 6] = [
        &[],
        &[("X-CSRF-Token", "wrong")],
        &[("X-CSRF-Token", &csrf), ("X-CSRF-Token", &csrf)],
        &[("X-CSRF-Token", &csrf), ("Origin", "https://evil.example")],
        &[("X-CSRF-Token", &csrf), ("Sec-Fetch-Site", "same-site")],
        &[
            ("X-CSRF-Token", &csrf),
            ("Origin", &own),
            ("Sec-Fetch-Site", "cross-site"),
        ],
    ];
    let body = br#"{"name":"n"}"#;
    for headers in refused {
        let calls = [
            ("POST", KEYS.to_owned()),
            ("PATCH", format!("{KEYS}/key_plain")),
            ("DELETE", format!("{KEYS}/key_plain")),
            ("POST", format!("{KEYS}/key_plain/rotate")),
            ("DELETE", SESSION.to_owned()),
        ];
        for (method, path) in calls {
            let answer = browser.send(&service, method, &path, headers, body);
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (403, &json!("csrf")),
                "{method} {path} {headers:?}"
            );
        }
        let read = browser.send(&service, "GET", KEYS, headers, b"");
        assert_eq!(read.status, 200, "{headers:?}");
    }
    let allowed: [&[(&str, &str)]; 3] = [
        &[("X-CSRF-Token", &csrf)],
        &[("X-CSRF-Token", &csrf), ("Origin", &own)],
        &[
            ("X-CSRF-Token", &csrf),
            ("Origin", &own),
            ("Sec-Fetch-Site", "same-origin"),
        ],
    ];
    for headers in allowed {
        assert_eq!(
            browser.send(&service, "POST", KEYS, headers, body).status,
            201,
            "{headers:?}"
        );
    }
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    let login = Browser::default().send(
        &service,
        "POST",
        SESSION,
        &foreign,
        key("key_admin").to_string().as_bytes(),
    );
    assert_eq!(
        (login.status, login.header("set-cookie")),
        (403, None),
        "nobody is logged in by another's page"
    );
}

#[test]
fn a_key_or_token_beside_the_cookie_is_what_counts() {
    let service = settings().start_ready();
    let mut browser = Browser::default();
    browser.log_in(&service, &key("key_admin"));
    let manager = secret_of("key_manager");
    let listed = browser.send(&service, "GET", KEYS, &[("X-API-Key", &manager)], b"");
    assert_eq!(
        listed.json()["keys"].as_array().map(Vec::len),
        Some(1),
        "{}",
        listed.text()
    );
    let made = browser.send(&service, "POST", KEYS, &[("X-API-Key", &manager)], br#"{"name":"n"}"#);
    assert_eq!(
        (made.status, &made.json()["user_id"]),
        (201, &json!("u_1")),
        "no token is needed for what no cookie does"
    );
    let wrong = browser.send(&service, "GET", KEYS, &[("Authorization", "Bearer sec_wrong")], b"");
    assert_eq!(wrong.status, 401);
    let of_proxy = browser.send(&service, "GET", KEYS, &[("Authorization", "Basic eDp5")], b"");
    assert_eq!(of_proxy.status, 200, "what a proxy asks for is no key");
}

#[test]
fn who_cannot_log_in_is_told_why_and_given_no_cookie() {
    let service = settings().start_ready();
    register(&service, "anna");
    let table = [
        (json!({ "login": "anna", "password": "wrong" }), 401),
        (json!({ "login": "nobody", "password": "wrong" }), 401),
        (json!({ "login": "anna" }), 422),
        (json!({}), 422),
        (json!({ "api_key": 1 }), 422),
        (json!({ "api_key": "sec_unknown" }), 401),
        (key("key_plain"), 403),
        (json!({ "api_key": "x".repeat(1025) }), 422),
    ];
    for (body, status) in table {
        let answer = Browser::default().log_in(&service, &body);
        assert_eq!(
            (answer.status, answer.header("set-cookie")),
            (status, None),
            "{body}: {}",
            answer.text()
        );
    }
    let answer = Browser::default().log_in(&service, &person("nobody"));
    assert_eq!(answer.text(), r#"{"message":"Invalid credentials"}"#);
    let line = service.wait_for_event("dashboard_login_failed", |line| line["reason"] == "invalid");
    assert!(!line.to_string().contains("sec_unknown"));
    let put = Browser::default().send(&service, "PUT", SESSION, &[], b"");
    assert_eq!(
        (put.status, put.header("allow")),
        (405, Some("GET, HEAD, POST, DELETE"))
    );
    for cookie in ["heare-auth=", "heare-auth=AAAA", "heare-auth=../x"] {
        let mut browser = Browser {
            cookie: cookie.to_owned(),
            ..Browser::default()
        };
        assert_eq!(browser.status(&service, "GET", KEYS), 401, "{cookie}");
        assert_eq!(browser.status(&service, "GET", SESSION), 401, "{cookie}");
    }
}

#[test]
fn guesses_at_a_password_wait_here_as_anywhere() {
    let service = settings().start_ready();
    register(&service, "anna");
    let wrong = json!({ "login": "anna", "password": "wrong" });
    let statuses: Vec<u16> = (0..7)
        .map(|_| Browser::default().log_in(&service, &wrong).status)
        .collect();
    assert_eq!(statuses[0], 401);
    let last = Browser::default().log_in(&service, &person("anna"));
    assert_eq!(last.status, 429, "{statuses:?}");
    assert!(last.header("retry-after").is_some());
    let elsewhere = service.post("/api/login", person("anna").to_string().as_bytes());
    assert_eq!(elsewhere.status, 429, "it is one count");
}

#[test]
fn behind_https_the_cookie_is_this_hosts_alone_and_its_plain_name_is_nobodys() {
    let service = settings().start_ready();
    let https = vec![("X-Forwarded-Proto", "https")];
    let mut browser = Browser {
        headers: https.clone(),
        ..Browser::default()
    };
    let answer = browser.log_in(&service, &key("key_admin"));
    let set = answer.header("set-cookie").expect("a cookie");
    assert!(
        set.starts_with("__Host-heare-auth=") && set.ends_with("; Secure"),
        "{set}"
    );
    assert_eq!(browser.status(&service, "GET", KEYS), 200);
    let plain = browser.cookie.replace("__Host-", "");
    let mut forged = Browser {
        cookie: plain,
        headers: https,
        ..Browser::default()
    };
    assert_eq!(forged.status(&service, "GET", KEYS), 401);
    let mut open = Browser {
        headers: vec![("X-Forwarded-Proto", "http")],
        ..Browser::default()
    };
    assert_eq!(
        open.log_in(&service, &key("key_admin")).status,
        403,
        "a password is not sent in plain text"
    );
}

#[test]
fn instances_with_one_secret_share_sessions_and_a_restart_does_not_end_them() {
    let settings = settings()
        .with("STORAGE_SECRET", "a secret of the store")
        .with("DATABASE_URL", "off");
    let service = settings.start_ready();
    let mut browser = Browser::default();
    let answer = browser.log_in(&service, &person("anna"));
    assert_eq!(answer.status, 422, "there are no accounts: {}", answer.text());
    assert_eq!(browser.log_in(&service, &key("key_admin")).status, 200);
    let other = settings.start_ready();
    assert_eq!(browser.status(&other, "GET", KEYS), 200);
    assert!(service.stop().success());
    let stranger = settings
        .with("STORAGE_SECRET", "")
        .with("DATABASE_URL", "off")
        .start_ready();
    assert_eq!(browser.status(&stranger, "GET", KEYS), 401);
}

#[test]
fn a_repeated_request_of_a_page_is_carried_out_once() {
    let service = settings().start_ready();
    let mut browser = Browser::default();
    browser.log_in(&service, &key("key_admin"));
    let csrf = browser.csrf.clone();
    let headers = [("X-CSRF-Token", &*csrf), ("Idempotency-Key", "once")];
    let first = browser.send(&service, "POST", KEYS, &headers, br#"{"name":"n"}"#);
    let again = browser.send(&service, "POST", KEYS, &headers, br#"{"name":"n"}"#);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json(), again.json());
}

#[test]
fn the_dashboard_can_be_switched_off() {
    let service = settings().with("DASHBOARD", "off").start_ready();
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&service, &key("key_admin")).status, 404);
    assert_eq!(browser.status(&service, "GET", SESSION), 404);
}

#[test]
fn neither_log_nor_cookie_shows_what_somebody_logged_in_with() {
    let service = settings().start_ready();
    register(&service, "anna");
    let mut browser = Browser::default();
    browser.log_in(&service, &person("anna"));
    let mut operator = Browser::default();
    operator.log_in(&service, &key("key_admin"));
    service.wait_for_event("dashboard_login", |line| line["key_id"] == "key_admin");
    let log = service.log_lines().concat();
    let secret = secret_of("key_admin");
    for hidden in [
        PASSWORD,
        &secret,
        &browser.csrf,
        &operator.csrf,
        &browser.cookie[20..],
        &operator.cookie[20..],
    ] {
        assert!(!log.contains(hidden));
    }
    assert!(!operator.cookie.contains("sha256") && !operator.cookie.contains(&secret));
}
