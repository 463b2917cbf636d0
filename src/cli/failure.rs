//! What a command that did not succeed says on stderr, and its exit code.

use std::process::ExitCode;

use super::{Command, help, output};
use crate::config::ConfigError;

pub const FAILED: u8 = 1;
pub const WRONG_USAGE: u8 = 2;

/// Why a command did not do what it was asked for. The sentences never repeat a value that was given.
#[derive(Debug)]
pub enum Failure {
    /// The command line itself is wrong: the sentence is followed by the usage.
    Usage(String),
    /// The rest, with what to do about it below the sentence.
    Failed(String),
}

impl Failure {
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::Usage(sentence.into())
    }

    pub fn failed(sentence: impl Into<String>) -> Self {
        Self::Failed(sentence.into())
    }

    pub fn report(self, command: Option<Command>) -> ExitCode {
        match self {
            Self::Failed(sentence) => {
                output::note(&format!("Error: {sentence}\n"));
                FAILED.into()
            }
            Self::Usage(sentence) => {
                let usage = command.map_or_else(help::program_usage, help::usage);
                output::note(&format!("Error: {sentence}\n\n{usage}"));
                WRONG_USAGE.into()
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The word is repeated only when it looks like a mistyped command: it could be a secret.
pub fn unknown_command(word: &str) -> Failure {
    if is_plain_word(word) {
        Failure::Usage(format!("there is no command '{word}'"))
    } else {
        Failure::usage("there is no such command")
    }
}

/// Short, and of small letters and dashes only: neither a secret nor a terminal's control sequence.
pub fn is_plain_word(text: &str) -> bool {
    (1..=24).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// The id is repeated only when it is one: a mistyped argument could be anything.
pub fn unknown_key(id: &str) -> Failure {
    if id.starts_with("key_") {
        Failure::Failed(format!("API key not found: {}", output::shown(id)))
    } else {
        Failure::failed("API key not found")
    }
}
