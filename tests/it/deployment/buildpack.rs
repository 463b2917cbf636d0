//! Platforms that build from source, and Dokku: what they read is true, and what its guide tells people to type works.

use std::{collections::BTreeSet, path::Path, process::Command};

use heare_auth::config::SETTINGS;
use serde_json::Value;
use tempfile::TempDir;

use super::{binary, printed, read, root};
use crate::support::service::{Service, Settings};

const GUIDE: &str = "documentation/deployment/dokku.md";

/// What the AWS SDK reads by itself.
const OF_THE_SDK: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[test]
fn what_stands_behind_dokku_enter_in_the_guide_works_in_the_container() {
    let service = started_by_the_procfile();
    let guide = read(GUIDE);
    let mut commands = 0;
    for line in guide
        .lines()
        .filter(|line| line.starts_with("dokku enter auth web heare-auth "))
    {
        let words: Vec<&str> = line.split(' ').skip(5).collect();
        let answer = service.cli(&words);
        assert!(
            answer.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&answer.stderr)
        );
        commands += 1;
    }
    assert!(commands >= 3);
    assert_eq!(
        service.health().1["keys_count"],
        1,
        "the key that the guide makes is in force"
    );
}

#[test]
fn every_setting_that_the_guide_and_the_platforms_file_name_is_one() {
    let known: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).chain(OF_THE_SDK).collect();
    let guide = read(GUIDE);
    let set = guide
        .lines()
        .filter(|line| line.starts_with("dokku config:set "))
        .flat_map(|line| line.split(' ').filter_map(|word| word.split_once('=')))
        .map(|(name, _)| name.to_owned());
    let file = platform();
    let named = file["env"].as_object().expect("settings").keys().cloned();
    let all: BTreeSet<String> = set.chain(named).collect();
    assert!(all.len() > 10, "{all:?}");
    for name in all {
        assert!(known.contains(name.as_str()), "{name}");
    }
}

#[test]
fn the_platform_asks_what_the_service_answers() {
    let service = started_by_the_procfile();
    let file = platform();
    for check in file["healthchecks"]["web"].as_array().expect("checks") {
        let path = check["path"].as_str().expect("a path");
        assert_eq!(service.get(path).status, 200, "{path}");
    }
}

#[test]
fn after_the_build_the_binary_is_on_the_path_of_every_process() {
    let app = TempDir::new().expect("a temporary directory");
    let app = app.path();
    put(&root().join("bin/post_compile"), &app.join("bin/post_compile"));
    put(&binary(), &app.join("target/release/heare-auth"));
    let installed = Command::new(app.join("bin/post_compile")).output().expect("it runs");
    let told = printed(&installed);
    assert!(told.ends_with(&format!("{}\n", heare_auth::version::line())), "{told}");

    // As a buildpack starts a process: every file of .profile.d first.
    let started = Command::new("bash")
        .args([
            "-c",
            "for file in .profile.d/*; do . \"$file\"; done; heare-auth --version",
        ])
        .env_clear()
        .envs([("HOME", app.to_str().expect("UTF-8")), ("PATH", "/usr/bin:/bin")])
        .current_dir(app)
        .output()
        .expect("bash runs");
    assert!(printed(&started).starts_with("heare-auth "));
}

/// The command in Procfile, once it serves.
fn started_by_the_procfile() -> Service {
    let text = read("Procfile");
    assert_eq!(
        text, "web: heare-auth serve\n",
        "Settings::start runs this very command"
    );
    Settings::file_store().start_ready()
}

fn platform() -> Value {
    serde_json::from_str(&read("app.json")).expect("app.json is JSON")
}

fn put(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("it can be made");
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).expect("it can be copied");
    }
}
