//! Somebody who starts the service for the first time and types what it prints.

use crate::support::service::{Service, Settings, eventually, printed_secret};
use std::process::{Command, Output};

/// Nothing set but what a test cannot leave to chance: the port.
fn as_shipped() -> Settings {
    Settings::file_store().without("DATA_DIR").without("HOST")
}

/// What the service says on stderr once it serves.
fn next_steps(service: &Service) -> String {
    eventually("the next steps are printed", || service.errors().contains("curl "));
    service.errors()
}

/// The only line with a command of that sort, without its indentation.
fn printed_command(steps: &str, holds: &str) -> String {
    let mut commands = steps
        .lines()
        .filter(|line| line.starts_with("  ") && line.contains(holds));
    let command = commands.next().unwrap_or_else(|| panic!("no {holds}: {steps}"));
    assert_eq!(commands.next(), None, "{steps}");
    command.trim().to_owned()
}

/// Typed in a second terminal that was opened in the same directory.
fn typed(settings: &Settings, command: &str) -> Output {
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(settings.home())
        .env_clear()
        .env("HOME", settings.home())
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Creates a key and verifies its secret by the printed commands alone.
fn assert_printed_commands_work(settings: &Settings) {
    let service = settings.start();
    let steps = next_steps(&service);
    let created = typed(settings, &printed_command(&steps, " create "));
    let stdout = String::from_utf8_lossy(&created.stdout);
    assert!(stdout.contains("✓ Service refreshed - 1 keys loaded"), "{stdout}");
    let curl = printed_command(&steps, "curl ").replace("sec_...", &printed_secret(&created));
    let answer = typed(settings, &format!("{curl} -s -w ' %{{http_code}}'"));
    let answer = String::from_utf8_lossy(&answer.stdout);
    assert!(
        answer.starts_with(r#"{"valid":true,"key_id":"key_"#)
            && answer.ends_with(r#","name":"My Service","metadata":{}} 200"#),
        "{answer}"
    );
    let (listed, health) = (typed_list(settings, &steps), service.health().1);
    assert!(listed.contains("Total: 1 keys"), "{listed}");
    assert_eq!(health["keys_count"], 1);
}

/// The other commands are reached in the same way as the printed one.
fn typed_list(settings: &Settings, steps: &str) -> String {
    let create = printed_command(steps, " create ");
    let (program, _) = create.split_once(" create ").unwrap();
    String::from_utf8(typed(settings, &format!("{program} list")).stdout).unwrap()
}

#[test]
fn the_printed_commands_create_a_key_and_verify_it() {
    assert_printed_commands_work(&as_shipped());
}

#[test]
fn the_printed_commands_work_with_a_data_directory_whose_name_needs_quotes() {
    let settings = as_shipped();
    let directory = settings.home().join("it's my data");
    assert_printed_commands_work(&settings.with("DATA_DIR", directory.to_str().unwrap()));
}

#[test]
fn the_printed_commands_work_with_a_relative_data_directory() {
    assert_printed_commands_work(&as_shipped().with("DATA_DIR", "below/here"));
}

#[test]
fn the_printed_commands_work_with_an_admin_listener() {
    assert_printed_commands_work(&as_shipped().with("ADMIN_LISTEN", "127.0.0.1:0"));
}

#[test]
fn the_next_steps_leave_the_log_on_stdout_alone() {
    let service = as_shipped().start();
    next_steps(&service);
    service.wait_until_ready();
    assert_eq!(service.events("startup").len(), 1);
}
