//! What the integration tests stand on: the real binary as a process, and a client that can also misbehave.
#![allow(dead_code, reason = "every topic uses its own part of the support")]

pub mod asking;
pub mod at_once;
pub mod backend;
pub mod balancer;
pub mod bridge;
pub mod browser;
pub mod bunyan;
mod captured;
pub mod certificates;
pub mod clients;
pub mod console;
pub mod documented;
pub mod documents;
pub mod example;
pub mod far_end;
pub mod fault_proxy;
pub mod flood;
pub mod frames;
pub mod http_client;
pub mod nginx;
pub mod ports;
pub mod postgres;
pub mod python;
pub mod redis;
pub mod seaweed;
pub mod server_in_process;
pub mod service;
pub mod settings;
pub mod signals;
pub mod sqlite;
pub mod stored_object;
pub mod tls_client;
pub mod together;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long anything awaited may take before a test gives up on it: generous, as nothing is ever expected to need it.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the repository.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A program that `scripts/setup` installs, by its path below `.tools`.
pub fn tool(path: &str) -> PathBuf {
    let program = root().join(".tools").join(path);
    assert!(
        program.exists(),
        "scripts/setup installs what is missing: {}",
        program.display()
    );
    program
}
