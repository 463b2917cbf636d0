//! The unit of systemd: it is one, it gives the service little, and what it starts, reloads and stops does so.

use std::{collections::BTreeSet, process::Command};

use heare_auth::config::{Config, SETTINGS};

use super::{binary, printed, read, run};
use crate::support::service::{Service, Settings};

const UNIT: &str = "deployment/systemd/heare-auth.service";
const SETTINGS_FILE: &str = "deployment/systemd/heare-auth.env.example";

/// Of 100, as `systemd-analyze security` counts what a unit leaves open.
const MOST_EXPOSED: u8 = 15;

/// What the AWS SDK reads by itself.
const OF_THE_SDK: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[test]
fn systemd_takes_the_unit_without_a_word() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let unit = folder.path().join("heare-auth.service");
    let installed = read(UNIT).replace("/usr/local/bin/heare-auth", binary().to_str().expect("UTF-8"));
    std::fs::write(&unit, installed).expect("it can be written");
    let unit = unit.to_str().expect("UTF-8");
    let verified = run("systemd-analyze", &["verify", unit]);
    assert_eq!(printed(&verified), "");
    assert_eq!(String::from_utf8_lossy(&verified.stderr), "");
    let threshold = format!("--threshold={MOST_EXPOSED}");
    printed(&run(
        "systemd-analyze",
        &["security", "--offline=true", "--no-pager", &threshold, unit],
    ));
}

#[test]
fn what_the_unit_starts_serves_reloads_and_ends_as_it_says() {
    let settings = Settings::file_store().with("POLL_INTERVAL", "1h");
    assert_eq!(values("ExecStart"), ["/usr/local/bin/heare-auth serve"]);
    let mut service = settings.start();
    service.wait_until_ready();
    settings.write_document(r#"{"keys":[{"id":"key_late","name":"Late","secret":"sec_late"}]}"#);
    let reload = values("ExecReload")
        .concat()
        .replace("$MAINPID", &service.pid().to_string());
    assert!(
        Command::new("sh")
            .args(["-c", &reload])
            .status()
            .expect("sh runs")
            .success()
    );
    service.wait_for_event("refresh_success", |line| line["keys_loaded"] == 1);
    assert!(service.is_running());
    ends_well(service);
}

fn ends_well(service: Service) {
    let patience = values("TimeoutStopSec").concat();
    let seconds: u64 = patience
        .strip_suffix('s')
        .and_then(|n| n.parse().ok())
        .expect("seconds");
    assert!(seconds > 10, "what is in flight has 10 seconds");
    assert!(service.stop().success());
}

#[test]
fn the_example_of_its_settings_starts_a_service() {
    let text = read(SETTINGS_FILE);
    let pairs: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once('=').expect("a name and a value"))
        .collect();
    let known: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).chain(OF_THE_SDK).collect();
    for (name, _) in &pairs {
        assert!(known.contains(name), "{name}");
    }
    let lookup = |wanted: &str| {
        let (_, value) = pairs.iter().find(|(name, _)| *name == wanted)?;
        Some((*value).to_owned())
    };
    assert!(Config::from_lookup(&lookup).is_ok());
}

#[test]
fn all_that_the_service_writes_is_in_the_folder_that_systemd_makes() {
    assert_eq!(values("StateDirectory"), ["heare-auth"]);
    assert_eq!(values("Environment"), ["DATA_DIR=%S/heare-auth"]);
    assert!(read(SETTINGS_FILE).contains("\nSNAPSHOT_PATH=/var/lib/heare-auth/"));
    assert_eq!(values("ProtectSystem"), ["strict"]);
}

fn values(key: &str) -> Vec<String> {
    let unit = read(UNIT);
    let start = format!("{key}=");
    unit.lines()
        .filter_map(|line| line.strip_prefix(&start))
        .map(str::to_owned)
        .collect()
}
