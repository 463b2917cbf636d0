//! The npm `bunyan` tool as the judge of log lines, and `jq` as their reader.

use super::tool;
use serde_json::Value;
use std::{
    ffi::OsStr,
    io::Write,
    process::{Command, Stdio},
    thread,
};

/// The records that the tool takes in its strict mode, which passes over every line that is no bunyan record.
pub fn accepted(lines: &[String]) -> Vec<Value> {
    filtered(tool("node_modules/.bin/bunyan"), &["--strict", "-o", "bunyan"], lines)
}

/// What a `jq` recipe makes of the lines.
pub fn jq(arguments: &[&str], lines: &[String]) -> Vec<Value> {
    filtered("jq", arguments, lines)
}

/// The JSON values that a program prints when it is given the lines.
fn filtered(program: impl AsRef<OsStr>, arguments: &[&str], lines: &[String]) -> Vec<Value> {
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scripts/setup has installed it");
    let mut stdin = process.stdin.take().expect("stdin is piped");
    let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
    let writing = thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = process.wait_with_output().expect("it ends");
    writing
        .join()
        .expect("writing does not panic")
        .expect("it reads everything");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .map(|value| value.expect("it prints JSON"))
        .collect()
}
