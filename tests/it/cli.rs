//! The command line as people and scripts meet it: the real binary, its words, its streams and its exit codes.

mod accounts;
mod changes;
mod completions;
mod doctor;
mod issue;
mod keys;
mod listing;
mod refused;
mod serve;
mod service;
mod settings;
mod stub;
mod usage;

use std::process::Output;

use serde_json::Value;

use crate::support::service::Settings;

/// What a command said, as texts.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The one JSON object on stdout.
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "one line: {}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.stdout))
    }

    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Failed with nothing on stdout and this on stderr.
    #[track_caller]
    pub fn failed(self, code: i32, first_line: &str) -> Self {
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().next(), Some(first_line), "{}", self.stderr);
        assert_eq!(self.code, Some(code));
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("only UTF-8 is written");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

pub fn run(settings: &Settings, arguments: &[&str]) -> Said {
    settings.run(arguments).into()
}

pub fn run_with_input(settings: &Settings, arguments: &[&str], input: &str) -> Said {
    settings.run_with_input(arguments, input).into()
}

/// Creates a key without calling any service and gives the command's JSON.
pub fn create(settings: &Settings, name: &str) -> Value {
    run(settings, &["create", "--name", name, "--no-refresh", "--json"])
        .done()
        .json()
}

pub fn id_of(key: &Value) -> &str {
    key["id"].as_str().expect("a key has an id")
}

pub fn stored(settings: &Settings) -> String {
    std::fs::read_to_string(settings.document()).expect("a document is stored")
}
