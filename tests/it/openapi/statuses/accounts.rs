//! Accounts: somebody who registers, does all that can be done and leaves, and whatever can go wrong on the way.

use serde_json::{Value, json};

use super::Seen;
use crate::{
    openapi::{document, operations, started_with},
    support::{
        documents::{record, record_with, secret_of},
        http_client::Response,
        ports::RefusingPort,
        service::{Service, Settings, eventually},
    },
};

const PASSWORD: &str = "securepassword123";
const NEW_PASSWORD: &str = "correct horse battery staple";
const SECRET_KEY: &str = "a secret for tests, which is longer than thirty-two bytes";

/// Every call with a body.
const WITH_BODY: [&str; 5] = ["register", "login", "refresh", "password", "delete"];

pub fn drive(seen: &mut Seen) {
    let settings = with_keys(Settings::file_store().with("SECRET_KEY", SECRET_KEY));
    let service = started_with(&settings);
    let someone = Someone::registered(seen, &service, "alice");
    let other = Someone::registered(seen, &service, "bob");
    someone.is_refused(seen, &service, &other);
    introspections(seen, &service, &someone);
    let token = someone.leaves(seen, &service);
    no_store(seen, &token, &other);
    too_often(seen);
    from_elsewhere(seen);
}

/// Somebody with an account, and the answer to their last login.
struct Someone {
    login: &'static str,
    tokens: Value,
}

impl Someone {
    fn registered(seen: &mut Seen, service: &Service, login: &'static str) -> Self {
        let credentials = credentials(login, PASSWORD);
        let mut tokens = Value::Null;
        // Where the machine is busy, a password may take too long: that is a 503 as well.
        eventually("somebody is registered and can log in", || {
            post(seen, service, "register", "", &credentials);
            let answer = post(seen, service, "login", "", &credentials);
            tokens = answer.json();
            answer.status == 200
        });
        Self { login, tokens }
    }

    fn token(&self) -> &str {
        self.tokens["access_token"].as_str().expect("a token")
    }

    fn is_refused(&self, seen: &mut Seen, service: &Service, other: &Self) {
        let token = self.token();
        post(seen, service, "register", "", &credentials(self.login, PASSWORD));
        post(seen, service, "login", "", &credentials(self.login, "wrong"));
        post(seen, service, "refresh", "", &json!({ "refresh_token": "rt_none" }));
        post(seen, service, "password", token, &change("wrong", NEW_PASSWORD));
        post(seen, service, "delete", "", &credentials(self.login, "wrong"));
        post(seen, service, "delete", token, &credentials(other.login, PASSWORD));
        post(seen, service, "logout", "nobody's", &Value::Null);
        for call in WITH_BODY {
            post(seen, service, call, token, &json!({}));
        }
        with(seen, service, "DELETE", "/api/sessions/none", token);
    }

    /// By all that can be done, to the end. Gives a token that is signed and belongs to nobody any more.
    fn leaves(&self, seen: &mut Seen, service: &Service) -> String {
        let refreshed = post(seen, service, "refresh", "", &self.refresh()).json();
        let token = refreshed["access_token"].as_str().expect("a token");
        with(seen, service, "GET", "/api/profile", token);
        post(seen, service, "password", token, &change(PASSWORD, NEW_PASSWORD));
        let again = post(seen, service, "login", "", &credentials(self.login, NEW_PASSWORD)).json();
        let sessions = with(seen, service, "GET", "/api/sessions", token).json();
        let ids = sessions["sessions"].as_array().expect("sessions").iter();
        let ended = ids.clone().find(|one| one["current"] == false).expect("another one");
        let id = ended["id"].as_str().expect("an id");
        with(seen, service, "DELETE", &format!("/api/sessions/{id}"), token);
        with(
            seen,
            service,
            "GET",
            "/api/profile",
            again["access_token"].as_str().expect("a token"),
        );
        post(seen, service, "logout", token, &Value::Null);
        post(seen, service, "delete", "", &credentials(self.login, NEW_PASSWORD));
        token.to_owned()
    }

    fn refresh(&self) -> Value {
        json!({ "refresh_token": self.tokens["refresh_token"] })
    }
}

fn introspections(seen: &mut Seen, service: &Service, someone: &Someone) {
    let asked = json!({ "token": someone.token() });
    for (who, body) in [
        ("key_admin", &asked),
        ("key_admin", &json!({ "token": "sec_none" })),
        ("key_admin", &json!({})),
        ("key_plain", &asked),
    ] {
        json_to(seen, service, "/oauth/introspect", &secret_of(who), body);
    }
}

/// A database that does not answer. Tokens are good as far as they can be checked without it.
fn no_store(seen: &mut Seen, token: &str, someone: &Someone) {
    let refusing = RefusingPort::bind();
    let url = format!("postgres://nobody@{}/none", refusing.address());
    let settings = with_keys(
        Settings::file_store()
            .with("SECRET_KEY", SECRET_KEY)
            .with("DATABASE_URL", url),
    );
    let service = started_with(&settings);
    for (call, body) in [
        ("register", credentials("carol", PASSWORD)),
        ("login", credentials("carol", PASSWORD)),
        ("refresh", someone.refresh()),
        ("password", change(PASSWORD, NEW_PASSWORD)),
        ("logout", Value::Null),
        ("delete", credentials("carol", PASSWORD)),
    ] {
        post(seen, &service, call, token, &body);
    }
    for (method, target) in [
        ("GET", "/api/profile"),
        ("GET", "/api/sessions"),
        ("DELETE", "/api/sessions/none"),
    ] {
        with(seen, &service, method, target, token);
    }
    json_to(seen, &service, "/oauth/introspect", token, &json!({ "token": token }));
}

/// Every call of a client that came before, key management with them; and unknown keys at an introspection.
fn too_often(seen: &mut Seen) {
    let settings = Settings::file_store()
        .with("RATE_LIMIT", "1/60s")
        .with("GUESS_LIMIT", "1");
    let service = started_with(&settings);
    let document = document(&service);
    for (path, method, _) in operations(&document)
        .iter()
        .filter(|(path, ..)| path.starts_with("/api/"))
    {
        let target = path.replace("{id}", "none");
        for _ in 0..2 {
            with(seen, &service, method, &target, "");
        }
    }
    for _ in 0..3 {
        json_to(
            seen,
            &service,
            "/oauth/introspect",
            "sec_none",
            &json!({ "token": "x" }),
        );
    }
}

fn from_elsewhere(seen: &mut Seen) {
    let service = started_with(&Settings::file_store().with("TRUSTED_PROXIES", "127.0.0.1"));
    let document = document(&service);
    for (path, method, _) in operations(&document)
        .iter()
        .filter(|(path, ..)| path.starts_with("/api/"))
    {
        let target = path.replace("{id}", "none");
        seen.send(&service, method, &target, &[("X-Forwarded-Proto", "http")], b"");
    }
}

fn with_keys(settings: Settings) -> Settings {
    let admin = record_with("key_admin", "scopes", json!(["admin"]));
    settings.write_document(&json!({ "generation": 1, "keys": [admin, record("key_plain")] }).to_string());
    settings
}

fn credentials(login: &str, password: &str) -> Value {
    json!({ "login": login, "password": password })
}

fn change(password: &str, new_password: &str) -> Value {
    json!({ "password": password, "new_password": new_password })
}

fn post(seen: &mut Seen, service: &Service, call: &str, token: &str, body: &Value) -> Response {
    json_to(seen, service, &format!("/api/{call}"), token, body)
}

fn json_to(seen: &mut Seen, service: &Service, target: &str, credential: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {credential}");
    let mut headers = vec![("Content-Type", "application/json")];
    if !credential.is_empty() {
        headers.push(("Authorization", &bearer));
    }
    seen.send(service, "POST", target, &headers, body.to_string().as_bytes())
}

fn with(seen: &mut Seen, service: &Service, method: &str, target: &str, token: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", &*bearer)];
    let headers = if token.is_empty() { &[][..] } else { &headers };
    seen.send(service, method, target, headers, b"")
}
