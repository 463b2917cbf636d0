//! The compose files: what they name is there, what they set is a setting, and their health checks are programs that exist.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use heare_auth::config::{Config, SETTINGS};
use serde_json::Value;

use crate::support::{python::yaml, read, root, service::Settings};

/// Each with its file of settings.
const FILES: [(&str, &str); 2] = [("compose.yml", ".db.env"), ("compose.prod.yml", ".prod.env")];

/// What the AWS SDK reads by itself.
const OF_THE_SDK: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"];

fn services(path: &str) -> serde_json::Map<String, Value> {
    yaml(path)["services"].as_object().expect("services").clone()
}

/// The names and values of an example of a file of settings.
fn example(env_file: &str) -> Vec<(String, String)> {
    let text = read(&format!("{env_file}.example"));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|text| text.as_str().expect("a text")).collect()
}

#[test]
fn every_setting_that_they_name_is_one() {
    let known: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).chain(OF_THE_SDK).collect();
    for (file, env_file) in FILES {
        let service = &services(file)["auth_api"];
        assert_eq!(service["env_file"], env_file);
        let inline = service["environment"].as_object().expect("settings");
        let named = example(env_file);
        for name in inline.keys().chain(named.iter().map(|(name, _)| name)) {
            assert!(known.contains(name.as_str()), "{file}: {name}");
        }
    }
}

#[test]
fn the_settings_start_a_service_once_the_secrets_are_filled_in() {
    for (file, env_file) in FILES {
        let service = &services(file)["auth_api"];
        let named = example(env_file);
        let inline = service["environment"].as_object().expect("settings");
        let lookup = |name: &str| {
            if let Some(value) = inline.get(name) {
                return Some(value.as_str().expect("a text").to_owned());
            }
            let (_, value) = named.iter().find(|(other, _)| other == name)?;
            // What is empty is for somebody to fill in, or an empty text, which is as good as none.
            let is_secret = ["SECRET_KEY", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "STORAGE_SECRET"].contains(&name);
            Some(if is_secret { "s".repeat(40) } else { value.clone() })
        };
        let config = Config::from_lookup(&lookup).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(config.listen.port(), 8000);
        assert!(matches!(
            config.usage.database,
            heare_auth::config::DatabasePlace::Postgres { .. }
        ));
        assert!(config.limits.redis_url.is_some(), "{file}");
    }
}

#[test]
fn the_names_of_the_document_are_all_there() {
    let names = [
        "DB_HOST",
        "DB_PORT",
        "DB_USER",
        "DB_PASSWORD",
        "DB_TABLE",
        "REDIS_HOST",
        "REDIS_PORT",
        "REDIS_DB",
        "SECRET_KEY",
        "LOG_LEVEL",
    ];
    for (_, env_file) in FILES {
        let present: Vec<String> = example(env_file).into_iter().map(|(name, _)| name).collect();
        for name in names {
            assert!(present.iter().any(|other| other == name), "{env_file}: {name}");
        }
    }
}

#[test]
fn each_health_check_runs_a_program_that_is_in_the_image() {
    let settings = Settings::file_store();
    for (file, _) in FILES {
        for (name, service) in services(file) {
            if name == "bucket" {
                continue;
            }
            let check = texts(&service["healthcheck"]["test"]);
            match check[..] {
                ["CMD", "heare-auth", command, ref options @ ..] => {
                    let help = settings.run(&[command, "--help"]);
                    assert!(help.status.success(), "{command}");
                    let help = String::from_utf8_lossy(&help.stdout).into_owned();
                    assert!(options.iter().all(|option| help.contains(option)), "{options:?}");
                }
                ["CMD", "wget", .., url] => assert!(url.starts_with("http://127.0.0.1:"), "{url}"),
                ["CMD", "redis-cli", "ping"] => assert_eq!(name, "redis"),
                ["CMD-SHELL", command] => {
                    assert!(name == "postgres" && command.starts_with("pg_isready "), "{command}");
                }
                _ => panic!("{file}: {name}: {check:?}"),
            }
        }
    }
}

#[test]
fn each_service_that_is_waited_for_can_be_healthy_and_each_file_is_there() {
    for (file, env_file) in FILES {
        let services = services(file);
        assert_eq!(services["auth_api"]["deploy"]["replicas"], 2);
        for (name, service) in &services {
            let waited_for = service["depends_on"].as_object();
            for (other, how) in waited_for.into_iter().flatten() {
                match how["condition"].as_str() {
                    Some("service_healthy") => assert!(services[other]["healthcheck"].is_object(), "{other}"),
                    Some("service_completed_successfully") => assert_eq!(services[other]["restart"], "no"),
                    other => panic!("{file}: {name}: {other:?}"),
                }
            }
            for volume in texts(&service["volumes"]) {
                let source = volume.split(':').next().unwrap_or_default();
                let Some(path) = source.strip_prefix("./") else {
                    assert!(yaml(file)["volumes"].get(source).is_some(), "{file}: {volume}");
                    continue;
                };
                let is_made_by_hand = path.contains("ssl/");
                assert!(is_made_by_hand || root().join(path).is_file(), "{file}: {path}");
            }
            if let Some(other) = service["env_file"].as_str() {
                assert_eq!(other, env_file, "{file}: {name}");
            }
        }
    }
}

#[test]
fn production_has_the_limits_that_the_document_names() {
    let services = services("compose.prod.yml");
    for (name, limits) in [
        ("auth_api", ["2.0", "2G", "1.0", "1G"]),
        ("postgres", ["1.0", "1G", "0.5", "512M"]),
        ("redis", ["0.5", "512M", "0.2", "256M"]),
    ] {
        let resources = &services[name]["deploy"]["resources"];
        let found = [
            &resources["limits"]["cpus"],
            &resources["limits"]["memory"],
            &resources["reservations"]["cpus"],
            &resources["reservations"]["memory"],
        ];
        assert_eq!(found, limits, "{name}");
    }
    let update = &services["auth_api"]["deploy"]["update_config"];
    assert_eq!((&update["parallelism"], &update["delay"]), (&1.into(), &"10s".into()));
}

#[test]
fn the_balancers_configuration_is_one_that_haproxy_takes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let certificate = directory.path().join("cert.pem");
    let key = directory.path().join("cert.pem.key");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl runs");
    assert!(made.status.success());
    let text = read("documentation/deployment/haproxy.cfg");
    let config = directory.path().join("haproxy.cfg");
    let text = text.replace("/certs/cert.pem", certificate.to_str().expect("UTF-8"));
    std::fs::write(&config, text).expect("it can be written");
    let checked = Command::new(haproxy())
        .args(["-c", "-f"])
        .arg(&config)
        .output()
        .expect("haproxy runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

fn haproxy() -> PathBuf {
    let usual = PathBuf::from("/usr/sbin/haproxy");
    if usual.exists() { usual } else { "haproxy".into() }
}
