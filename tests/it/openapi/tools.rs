//! The document in the hands of others: a fuzzer that makes requests from it, and a real browser that shows it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use super::{document, operations, started};
use crate::support::{service::Service, tool};

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
    let said = browse(
        &service,
        &json!([
            {"size": [1280, 900]}, {"open": service.url("/docs")}, {"ask": count}, {"ask": attempt("health")},
            {"ask": attempt("listKeys")}, {"ask": authorise}, {"ask": attempt("usageSummary")},
            {"ask": "Object.keys(localStorage).length + Object.keys(sessionStorage).length + document.cookie.length"},
            {"size": [390, 800]}, {"scheme": "dark"}, {"open": service.url("/redoc")}, {"ask": count},
        ]),
    );
    assert_eq!(said[0], json!([expected, schemas, expected, true]));
    assert!(
        text(&said[1]).starts_with("200 OK") && text(&said[1]).contains("\"keys_count\""),
        "{said:?}"
    );
    assert!(text(&said[2]).starts_with("401 "), "{said:?}");
    assert!(text(&said[4]).starts_with("200 OK"), "{said:?}");
    assert_eq!(said[5], 0, "nothing is stored");
    assert_eq!(said[6], json!([expected, schemas, 0, true]));
    // The one refusal is the 401 that was asked for.
    let errors = said[7].as_array().unwrap();
    assert!(errors.len() == 1 && text(&errors[0]).contains("401"), "{errors:?}");
}

/// What the steps gave, and behind it what the console said.
fn browse(service: &Service, steps: &Value) -> Vec<Value> {
    let profile = service.settings().home().join("browser");
    let mut process = Command::new(tool("venv/bin/python"))
        .arg(script("tests/browser.py"))
        .arg("chromium")
        .arg(profile)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = process.stdin.take().expect("stdin is piped");
    stdin
        .write_all(steps.to_string().as_bytes())
        .expect("the steps are read");
    drop(stdin);
    let output = process.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", told(&output));
    serde_json::from_slice(&output.stdout).expect("a list")
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
