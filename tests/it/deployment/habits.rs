//! Habits of the repository: the hook before a commit, the templates, and that there is no unsafe code anywhere.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{printed, read, root};
use crate::support::python::yaml;

#[test]
fn what_is_in_good_form_may_be_committed() {
    let repository = Repository::new();
    repository.stage("src/lib.rs", "pub fn one() -> u8 {\n    1\n}\n");
    repository.stage("scripts/fine", "#!/usr/bin/env bash\necho fine\n");
    repository.stage(".db.env.example", "SECRET_KEY=\n");
    printed(&repository.try_commit());
}

#[test]
fn what_must_not_be_committed_is_refused_with_a_reason() {
    let private_key = format!("-----BEGIN {} KEY-----\n", "PRIVATE");
    for (file, text, reason) in [
        ("src/lib.rs", "pub fn one()->u8 {1}\n", "cargo fmt"),
        ("notes.md", "a line \n", "spaces at the ends of lines"),
        ("merged.md", "<<<<<<< HEAD\n", "marks of a merge"),
        (".prod.env", "SECRET_KEY=x\n", "may hold secrets"),
        ("documentation/key.md", private_key.as_str(), "holds a private key"),
        ("scripts/broken", "#!/usr/bin/env bash\nif then\n", "no script for bash"),
    ] {
        let repository = Repository::new();
        repository.stage(file, text);
        let answer = repository.try_commit();
        assert!(!answer.status.success(), "{file}");
        let told = String::from_utf8_lossy(&answer.stderr);
        assert!(told.contains(reason), "{file}: {told}");
    }
}

#[test]
fn the_forms_of_issues_ask_for_something_and_for_each_thing_once() {
    for form in ["defect", "idea"] {
        let form = yaml(&format!(".github/ISSUE_TEMPLATE/{form}.yml"));
        assert!(form["name"].is_string() && form["description"].is_string());
        let fields: Vec<&Value> = form["body"].as_array().expect("fields").iter().collect();
        let asked: Vec<&Value> = fields.into_iter().filter(|field| field["type"] != "markdown").collect();
        assert!(asked.iter().all(|field| field["attributes"]["label"].is_string()));
        let mut ids: Vec<String> = asked.iter().map(|field| field["id"].to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), asked.len());
        assert!(asked.iter().any(|field| field["validations"]["required"] == true));
    }
}

#[test]
fn no_unsafe_code_is_ours_and_none_can_become_so() {
    assert!(read("src/lib.rs").contains("#![forbid(unsafe_code)]"));
    assert!(read("Cargo.toml").contains("[lints.rust]\nunsafe_code = \"forbid\"\n"));
    let mut looked_at = 0;
    for folder in ["src", "tests", "benches", "examples", "scripts"] {
        for (name, text) in rust_files(&root().join(folder)) {
            looked_at += 1;
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for follows in [" {", " fn", " impl", " trait", " extern", "("] {
                    let found = code.contains(&["un", "safe", follows].concat());
                    assert!(!found, "{name}:{}", number + 1);
                }
            }
        }
    }
    assert!(looked_at > 200, "{looked_at} files");
}

#[test]
fn a_dependency_brings_no_features_that_were_not_asked_for() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let mut tables = vec![&manifest["dependencies"]];
    tables.extend(
        manifest["target"]
            .as_table()
            .expect("targets")
            .values()
            .map(|target| &target["dependencies"]),
    );
    for (name, wanted) in tables.iter().flat_map(|table| table.as_table().expect("dependencies")) {
        let by_default = wanted
            .get("default-features")
            .is_none_or(|value| value.as_bool() == Some(true));
        assert!(
            !by_default || NEEDED_WHOLE.iter().any(|(known, _)| known == name),
            "{name}"
        );
    }
}

/// Dependencies whose default features we take, each with what those are.
const NEEDED_WHOLE: &[(&str, &str)] = &[
    ("base64", "std, and code for wide registers"),
    ("bytes", "std"),
    ("cadence", "there are none"),
    ("crc32fast", "std, which finds the processor's own instruction"),
    ("gethostname", "there are none"),
    ("http-body-util", "there are none"),
    ("humantime", "there are none"),
    ("hyper", "there are none"),
    ("hyper-util", "there are none"),
    ("itoa", "there are none"),
    ("memchr", "std, which finds the processor's own instructions"),
    ("metrics", "there are none"),
    ("metrics-exporter-statsd", "there are none"),
    ("pico-args", "there are none"),
    (
        "ring",
        "alloc, and random numbers on kernels that are too old for the call",
    ),
    ("rustls-native-certs", "there are none"),
    ("rustls-pki-types", "alloc"),
    ("serde", "std"),
    ("serde_json", "std"),
    ("sha2", "alloc and oid, which cost nothing"),
    ("socket2", "there are none"),
    ("thiserror", "std"),
    ("tokio", "there are none"),
    ("tower-service", "there are none"),
    (
        "tracing-bunyan-formatter",
        "hostname, which is in every line of the log",
    ),
    ("unicode-normalization", "std"),
    ("zeroize", "alloc"),
];

/// A folder under git with the hook, a crate, and nothing committed yet.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let repository = Self(folder);
        repository.git(&["init", "-q"]);
        let hooks = root().join("scripts/hooks");
        repository.git(&["config", "core.hooksPath", hooks.to_str().expect("UTF-8")]);
        repository.stage(
            "Cargo.toml",
            "[package]\nname = \"one\"\nedition = \"2024\"\n\n[workspace]\n",
        );
        let library = repository.0.path().join("src/lib.rs");
        std::fs::create_dir_all(library.parent().expect("a folder")).expect("it can be made");
        std::fs::write(library, "").expect("it can be written");
        std::fs::copy(
            root().join("rust-toolchain.toml"),
            repository.0.path().join("rust-toolchain.toml"),
        )
        .expect("it can be copied");
        repository
    }

    fn stage(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        std::fs::write(path, text).expect("it can be written");
        self.git(&["add", "-f", file]);
    }

    fn try_commit(&self) -> Output {
        self.command(&["commit", "-q", "-m", "Try"])
    }

    fn git(&self, arguments: &[&str]) {
        printed(&self.command(arguments));
    }

    fn command(&self, arguments: &[&str]) -> Output {
        Command::new("git")
            .args(["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"])
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("git runs")
    }
}

fn rust_files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("source is text");
            found.push((path.display().to_string(), text));
        }
    }
    found
}
