//! What brings the service to a machine: the container image, the unit of systemd, the manifests, the buildpack, releases.

mod buildpack;
mod habits;
mod image;
mod kubernetes;
mod release;
mod systemd;

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use crate::support::{read, root};

/// The binary under test.
fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_heare-auth"))
}

/// A script or program that ends by itself, run at the top of the repository.
fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Its standard output, once it has succeeded.
fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{errors}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout.clone()).expect("text")
}
