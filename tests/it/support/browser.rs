//! A real browser, driven step by step as a hand would.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::{PATIENCE, service::Service, tool};

/// Headless Chromium with one page; ends when dropped.
pub struct Browser {
    process: Child,
    steps: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    /// With a profile of its own, below the service's home.
    pub fn start(service: &Service) -> Self {
        let mut process = Command::new(tool("venv/bin/python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser.py"))
            .arg("chromium")
            .arg(service.settings().home().join("browser"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let steps = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("stdout is piped"));
        Self {
            process,
            steps,
            answers,
        }
    }

    pub fn open(&mut self, url: &str) {
        self.step(&json!({ "open": url }));
    }

    /// What a script gives, once it is settled.
    pub fn ask(&mut self, script: &str) -> Value {
        self.step(&json!({ "ask": script }))
    }

    pub fn text(&mut self, script: &str) -> String {
        self.ask(script).as_str().expect("a text").to_owned()
    }

    /// Waits until the condition holds on the page.
    pub fn wait(&mut self, condition: &str) {
        let (condition, most) = (condition.trim(), PATIENCE.as_millis());
        let named = json!(condition);
        self.ask(&format!(
            "(async () => {{ const end = Date.now() + {most}; for (;;) {{ if ({condition}) return; \
             if (Date.now() > end) throw new Error('waited in vain for ' + {named} + ' on: ' + document.body.innerText); \
             await new Promise((next) => setTimeout(next, 10)); }} }})()"
        ));
    }

    /// Presses keys; what is no name of a key is typed.
    pub fn keys(&mut self, keys: &[&str]) {
        self.step(&json!({ "keys": keys }));
    }

    pub fn size(&mut self, width: u32, height: u32) {
        self.step(&json!({"size": [width, height]}));
    }

    /// `light` or `dark`, as the system would say.
    pub fn scheme(&mut self, scheme: &str) {
        self.step(&json!({ "scheme": scheme }));
    }

    pub fn allow(&mut self, permission: &str) {
        self.step(&json!({ "allow": permission }));
    }

    /// Runs a script that is a file.
    pub fn run(&mut self, file: &Path) {
        self.step(&json!({ "run": file }));
    }

    /// Draws the page, where the developer asked for pictures.
    pub fn picture(&mut self, name: &str) {
        if let Some(folder) = std::env::var_os("PICTURES") {
            let file = PathBuf::from(folder).join(format!("{name}.png"));
            self.step(&json!({ "picture": file }));
        }
    }

    /// Everything that the console showed so far.
    pub fn errors(&mut self) -> Vec<String> {
        serde_json::from_value(self.step(&json!({"errors": null}))).expect("a list of texts")
    }

    fn step(&mut self, step: &Value) -> Value {
        let steps = self.steps.as_mut().expect("it is there until it is dropped");
        writeln!(steps, "{step}").expect("the step is read");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer is text");
        let mut answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{step}: no answer"));
        assert!(answer["failed"].is_null(), "{step}: {}", answer["failed"]);
        answer["said"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends the browser once there are no more steps.
        self.steps = None;
        let _ = self.process.wait();
    }
}
