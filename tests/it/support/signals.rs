//! Signals to processes, by the shell: not every system has a `kill` of its own.

use std::{fmt::Display, process::Command};

/// By its short name: `TERM`, `INT`, `HUP`, `STOP`, `CONT`, `KILL`. The shell may find out itself to whom.
pub fn send(name: &str, to: impl Display) {
    let sent = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -s {name} {to}"))
        .status();
    assert!(sent.expect("sh runs").success(), "the signal could not be sent");
}
