//! What `doctor` has found: one line for each thing it looked at.

use serde::Serialize;

/// One line of the answer. The members' names are the command line's JSON.
#[derive(Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    pub message: String,
    pub advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    Warning,
    Failed,
}

/// `doctor --json`.
#[derive(Serialize)]
pub struct Findings<'a> {
    pub ok: bool,
    pub checks: &'a [Check],
}

/// What was found so far.
#[derive(Default)]
pub struct Report(pub Vec<Check>);

impl Report {
    pub fn add(&mut self, name: &'static str, status: Status, message: impl Into<String>, advice: Option<&str>) {
        self.0.push(Check {
            name,
            status,
            message: message.into(),
            advice: advice.map(ToOwned::to_owned),
        });
    }

    pub fn ok(&mut self, name: &'static str, message: impl Into<String>) {
        self.add(name, Status::Ok, message, None);
    }

    /// Nothing is wrong, and yet something could be done.
    pub fn ok_but(&mut self, name: &'static str, message: impl Into<String>, advice: &str) {
        self.add(name, Status::Ok, message, Some(advice));
    }

    pub fn warn(&mut self, name: &'static str, message: impl Into<String>, advice: &str) {
        self.add(name, Status::Warning, message, Some(advice));
    }

    pub fn fail(&mut self, name: &'static str, message: impl Into<String>, advice: &str) {
        self.add(name, Status::Failed, message, Some(advice));
    }

    pub fn is_ok(&self) -> bool {
        self.0.iter().all(|check| check.status != Status::Failed)
    }
}

pub fn line(check: &Check) -> String {
    let mark = match check.status {
        Status::Ok => "✓",
        Status::Warning => "⚠️ ",
        Status::Failed => "✗",
    };
    let advice = check
        .advice
        .as_ref()
        .map_or_else(String::new, |advice| format!("    {advice}\n"));
    format!("{mark} {}: {}\n{advice}", check.name, check.message)
}
