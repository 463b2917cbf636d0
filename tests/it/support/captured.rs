//! What a process has said, filled by the reading threads and awaited by the test.

use super::PATIENCE;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Instant,
};

/// What the process has said, filled by the reading threads and awaited by the test.
#[derive(Default)]
pub struct Log {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    errors: String,
    ended: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("no reading thread panics")
    }

    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    pub fn errors(&self) -> String {
        self.lock().errors.clone()
    }

    pub fn add_line(&self, line: &str) {
        self.lock().lines.push(line.trim_end().to_owned());
        self.more.notify_all();
    }

    fn end(&self) {
        self.lock().ended = true;
        self.more.notify_all();
    }

    /// Looks at every line once, old ones first, until one fits, stdout has ended, or `PATIENCE` is over.
    pub fn wait_for<T>(&self, fits: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut said = self.lock();
        loop {
            if let Some(found) = said.lines[seen..].iter().find_map(|line| fits(line)) {
                return Some(found);
            }
            seen = said.lines.len();
            let left = deadline
                .checked_duration_since(Instant::now())
                .filter(|_| !said.ended)?;
            said = self.more.wait_timeout(said, left).expect("no reading thread panics").0;
        }
    }

    /// The end of it, for the sentence a failing test prints.
    pub fn told(&self) -> String {
        let said = self.lock();
        let last = said.lines.len().saturating_sub(20);
        format!("stdout:\n{}\nstderr:\n{}", said.lines[last..].join("\n"), said.errors)
    }
}

pub fn keep_lines(log: &Arc<Log>, stdout: impl BufRead + Send + 'static) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .for_each(|line| log.add_line(&line));
        log.end();
    });
}

pub fn keep_errors(log: &Arc<Log>, stderr: impl Read + Send + 'static) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut said = log.lock();
            said.errors.push_str(&line);
            said.errors.push('\n');
        }
    });
}

pub fn parse_line(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("a log line is not JSON ({e}): {line}"))
}
