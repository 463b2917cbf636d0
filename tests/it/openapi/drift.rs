//! That document and service cannot grow apart.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{document, operations, started};
use crate::support::{
    documented::{check, operation, path_of, resolved, whole},
    service::Service,
};

/// What source texts may hold beside whole paths: beginnings of several, and files.
const NO_PATHS: [&str; 6] = [
    "/api/",
    "/api/sessions/",
    "/api/v1/auth",
    "/api/v1/auth/",
    "/authz/",
    "/proc/self/limits",
];

#[test]
fn every_path_in_the_source_is_described() {
    let described: Vec<&String> = whole()["paths"].as_object().unwrap().keys().collect();
    let mut found = BTreeSet::new();
    for (file, path) in paths_in_source() {
        // What the dashboard's pages ask is theirs alone, and changes with them.
        if path.starts_with("/dashboard") {
            continue;
        }
        let is_known = described.iter().any(|known| **known == path) || NO_PATHS.contains(&path.as_str());
        assert!(is_known, "{file}: {path} is in no piece of src/http/openapi/pieces");
        found.insert(path);
    }
    for path in [
        "/verify",
        "/authz",
        "/health",
        "/refresh",
        "/api/v1/auth/keys/{id}/usage",
        "/openapi.json",
    ] {
        assert!(found.contains(path), "the search misses {path}");
    }
}

#[test]
fn every_described_operation_is_served_and_no_other_method_is() {
    let service = started();
    let document = document(&service);
    for path in document["paths"].as_object().unwrap().keys() {
        let own = operations(&document);
        let own = own.iter().filter(|(other, ..)| other == path);
        let mut described: BTreeSet<String> = own.map(|(_, method, _)| method.clone()).collect();
        for method in &described {
            let answer = ask(&service, method, path);
            assert!(
                !matches!(answer.status, 404 | 405),
                "{method} {path}: {}",
                answer.status
            );
        }
        let refused = ask(&service, "FOO", path);
        if described.len() == 7 {
            assert_ne!(refused.status, 405, "{path} takes any method");
            continue;
        }
        assert_eq!(refused.status, 405, "{path}");
        let allowed = refused
            .header("allow")
            .unwrap_or_default()
            .split(", ")
            .map(str::to_owned);
        let allowed: BTreeSet<String> = allowed.filter(|method| method != "OPTIONS").collect();
        if described.contains("GET") {
            described.insert("HEAD".to_owned());
        }
        assert_eq!(allowed, described, "{path}");
    }
}

#[test]
fn every_operation_is_described_whole() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(whole()) {
        let name = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().expect("an id")), "{name}");
        assert!(
            operation["summary"].is_string() && operation["tags"][0].is_string(),
            "{name}"
        );
        assert!(operation["security"].is_array(), "{name}: may anybody call it?");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
        for part in path.split('/').filter(|part| part.starts_with('{')) {
            let shared = &whole()["paths"][path]["parameters"];
            let all = [&operation["parameters"], shared];
            let mut all = all.into_iter().filter_map(Value::as_array).flatten();
            assert!(
                all.any(|one| resolved(one)["name"] == part[1..part.len() - 1]),
                "{name}: {part}"
            );
        }
    }
}

#[test]
fn every_example_is_what_its_schema_says() {
    let mut checked = 0;
    for (path, method, operation) in operations(whole()) {
        let body = operation.get("requestBody").map(resolved);
        let responses = operation["responses"]
            .as_object()
            .expect("responses")
            .values()
            .map(resolved);
        for content in body
            .into_iter()
            .chain(responses)
            .filter_map(|one| one["content"].as_object())
        {
            for (media, described) in content {
                let many = described["examples"].as_object().into_iter().flatten();
                let examples = many
                    .map(|(_, example)| &example["value"])
                    .chain(described.get("example"));
                for example in examples {
                    check(&described["schema"], example)
                        .unwrap_or_else(|problem| panic!("{method} {path} {media}: {problem}"));
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 400, "only {checked}");
}

#[test]
fn a_target_belongs_to_the_path_that_describes_it() {
    for (target, path) in [
        ("/verify?a=b", Some("/verify")),
        ("/verify/", None),
        ("/authz", Some("/authz")),
        ("/authz/a/b?require=c", Some("/authz/{path}")),
        ("/api/v1/auth/keys/key_1/rotate", Some("/api/v1/auth/keys/{id}/rotate")),
        ("/api/v1/auth/keys/", None),
    ] {
        assert_eq!(path_of(target), path, "{target}");
    }
    assert!(operation("HEAD", "/health").is_some() && operation("POST", "/health").is_none());
}

fn ask(service: &Service, method: &str, path: &str) -> crate::support::http_client::Response {
    // An id that nobody has would be a 404 of the key, so nobody asks who has no key.
    let target = path.replace("{id}", "key_x").replace("{path}", "a/b");
    let headers = [("Content-Type", "application/json")];
    service
        .connect()
        .request(method, &target, &headers, b"{}")
        .unwrap_or_else(|e| panic!("{method} {target}: {e}"))
}

/// Every text in the code of `src/http` that begins like a path.
fn paths_in_source() -> Vec<(String, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
    let mut folders = vec![std::path::PathBuf::from(root)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // What joins the pieces has pointers into JSON.
            if path.is_dir() && !path.ends_with("openapi") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                let texts = lines.flat_map(|line| line.split('"').skip(1).step_by(2).map(str::to_owned));
                let paths = texts.filter(|text| is_path(text));
                found.extend(paths.map(|text| (path.display().to_string(), text)));
            }
        }
    }
    found
}

/// A slash, a letter or a point, and nothing that no path of ours has.
fn is_path(text: &str) -> bool {
    let mut bytes = text.bytes();
    let begins = bytes.next() == Some(b'/')
        && bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'.');
    begins
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._{}-".contains(&byte))
}
