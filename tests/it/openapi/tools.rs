//! The document in the hands of others: a fuzzer that makes requests from it, and a real browser that shows it.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::{document, operations, started};
use crate::support::{browser::Browser, service::Service};

#[test]
fn requests_made_from_the_document_are_answered_as_it_says() {
    let service = started();
    let admin = created(&service, &["--scope", "admin"]);
    let toy = created(&service, &[]);
    let output = Command::new(script("scripts/fuzz-http"))
        // The methods of `/authz` are answered alike.
        .args(["3", "--exclude-operation-id-regex", "^authz.*-"])
        .env("URL", service.url(""))
        .env("SECRET", admin["secret"].as_str().expect("a secret"))
        .env("KEY_ID", toy["id"].as_str().expect("an id"))
        .env("USER_TOKEN", token_of_user(&service))
        .output()
        .expect("the script starts");
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(service.health().0, 200);
}

#[test]
fn a_browser_shows_every_operation_and_tries_one() {
    let service = started();
    let document = document(&service);
    let is_shown_once = |path: &str| document["paths"][path]["x-any-method"] == true;
    let expected = operations(&document)
        .iter()
        .filter(|(path, method, _)| !is_shown_once(path) || method == "GET")
        .count();
    let schemas = document["components"]["schemas"].as_object().unwrap().len();
    let wait = "for (;;) { const found = document.querySelectorAll('.operation').length; if (found) break; \
                await new Promise((next) => setTimeout(next, 5)); }";
    let count = format!(
        "(async () => {{ {wait} return [document.querySelectorAll('.operation').length, \
         document.querySelectorAll('[id^=schema-]').length, document.querySelectorAll('form').length, \
         document.documentElement.scrollWidth <= innerWidth]; }})()"
    );
    let attempt = |id: &str| {
        format!(
            "(async () => {{ location.hash = '#{id}'; const form = document.querySelector('#{id} form'); form.requestSubmit(); \
             for (;;) {{ const status = form.querySelector('.answer .status'); if (status) return form.querySelector('.answer').textContent; \
             await new Promise((next) => setTimeout(next, 5)); }} }})()"
        )
    };
    let admin = created(&service, &["--scope", "admin"]);
    let secret = admin["secret"].as_str().unwrap();
    let authorise = format!("document.getElementById('credential-bearerKey').value = '{secret}'");
    let mut browser = Browser::start(&service);
    browser.size(1280, 900);
    browser.open(&service.url("/docs"));
    assert_eq!(browser.ask(&count), json!([expected, schemas, expected, true]));
    let said = browser.text(&attempt("health"));
    assert!(said.starts_with("200 OK") && said.contains("\"keys_count\""), "{said}");
    let said = browser.text(&attempt("listKeys"));
    assert!(said.starts_with("401 "), "{said}");
    browser.ask(&authorise);
    let said = browser.text(&attempt("usageSummary"));
    assert!(said.starts_with("200 OK"), "{said}");
    let stored = "Object.keys(localStorage).length + Object.keys(sessionStorage).length + document.cookie.length";
    assert_eq!(browser.ask(stored), 0, "nothing is stored");
    browser.size(390, 800);
    browser.scheme("dark");
    browser.open(&service.url("/redoc"));
    assert_eq!(browser.ask(&count), json!([expected, schemas, 0, true]));
    // The one refusal is the 401 that was asked for.
    let errors = browser.errors();
    assert!(errors.len() == 1 && errors[0].contains("401"), "{errors:?}");
}

fn created(service: &Service, more: &[&str]) -> Value {
    let output = service.cli(&[&["create", "--name", "made", "--json"], more].concat());
    assert!(output.status.success(), "{}", told(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn token_of_user(service: &Service) -> String {
    let credentials = br#"{"login":"someone","password":"securepassword123"}"#;
    assert_eq!(service.post("/api/register", credentials).status, 201);
    let tokens = service.post("/api/login", credentials).json();
    text(&tokens["access_token"]).to_owned()
}

fn script(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn told(output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    format!("{stdout}\n{stderr}")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
