//! The three clients in `clients/`, behind one face: each asks what a test tells it to, and tells what came of it as JSON.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use heare_auth_client::{Client, NotAllowed, Options, Question};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::ports::refusing;

/// The language of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    JavaScript,
    Rust,
}

/// A client that was told where to ask.
pub enum Asking {
    Driven {
        process: Child,
        questions: ChildStdin,
        outcomes: Lines<BufReader<ChildStdout>>,
    },
    Here {
        runtime: Runtime,
        client: Client,
    },
}

/// All languages side by side, as most of their time is waiting.
pub fn each(check: impl Fn(Language) + Sync) {
    thread::scope(|scope| {
        for language in [Language::Python, Language::JavaScript, Language::Rust] {
            let check = &check;
            scope.spawn(move || check(language));
        }
    });
}

impl Language {
    /// With the settings named by the options of the Rust client, times in ms.
    pub fn asking(self, service: SocketAddr, settings: &Value) -> Asking {
        let url = format!("http://{service}");
        match self {
            Self::Python => driven("python3", "driver.py", &url, settings, None),
            Self::JavaScript => driven("node", "driver.mjs", &url, settings, None),
            Self::Rust => Asking::Here {
                runtime: Runtime::new().expect("threads can be started"),
                client: Client::new(&url, options(settings)).expect("the test's own settings"),
            },
        }
    }

    /// By HTTPS, trusting the authority of this file, if one is named. Not for Rust, which would trust what this process does.
    pub fn asking_securely(self, service: SocketAddr, root: Option<&Path>) -> Asking {
        let url = format!("https://{service}");
        let (program, file, variable) = match self {
            Self::Python => ("python3", "driver.py", "SSL_CERT_FILE"),
            Self::JavaScript => ("node", "driver.mjs", "NODE_EXTRA_CA_CERTS"),
            Self::Rust => panic!("what it trusts cannot be chosen here"),
        };
        driven(program, file, &url, &json!({}), root.map(|root| (variable, root)))
    }
}

impl Asking {
    /// Asks all at once and tells the outcomes in the same order: the service's own answer of a good key, else `code`,
    /// `status`, `retry_after` and `required_scopes`.
    pub fn all(&mut self, questions: &[Value]) -> Vec<Value> {
        match self {
            Self::Driven { .. } => {
                let outcomes = self.tell(&json!(questions));
                outcomes.as_array().expect("a list").clone()
            }
            Self::Here { runtime, client } => {
                let asked: Vec<_> = questions
                    .iter()
                    .cloned()
                    .map(|question| runtime.spawn(ask(client.clone(), question)))
                    .collect();
                let outcomes = asked
                    .into_iter()
                    .map(|outcome| runtime.block_on(outcome).expect("no panic"));
                outcomes.collect()
            }
        }
    }

    pub fn one(&mut self, question: Value) -> Value {
        self.all(&[question]).remove(0)
    }

    pub fn key(&mut self, api_key: &str) -> Value {
        self.one(json!({ "api_key": api_key }))
    }

    pub fn forget_all(&mut self) {
        match self {
            Self::Driven { .. } => drop(self.tell(&json!("forget"))),
            Self::Here { client, .. } => client.forget_all(),
        }
    }

    fn tell(&mut self, line: &Value) -> Value {
        let Self::Driven {
            questions, outcomes, ..
        } = self
        else {
            panic!("only a process is told")
        };
        writeln!(questions, "{line}").expect("the driver reads");
        let told = outcomes.next().expect("the driver answers").expect("it answers text");
        serde_json::from_str(&told).expect("it answers JSON")
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Self::Driven { process, .. } = self {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn driven(program: &str, file: &str, url: &str, settings: &Value, variable: Option<(&str, &Path)>) -> Asking {
    let mut process = Command::new(program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(file))
        // Whoever has a proxy in the environment must not send it keys.
        .env("http_proxy", format!("http://{}", refusing()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variable)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("scripts/setup installs {program}: {e}"));
    let mut questions = process.stdin.take().expect("stdin is piped");
    let outcomes = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
    let mut settings = settings.clone();
    settings["url"] = url.into();
    writeln!(questions, "{settings}").expect("the driver reads");
    Asking::Driven {
        process,
        questions,
        outcomes,
    }
}

fn options(settings: &Value) -> Options {
    let usual = Options::default();
    let time = |name: &str, usual| settings[name].as_u64().map_or(usual, Duration::from_millis);
    let entries = settings["max_entries"]
        .as_u64()
        .and_then(|number| number.try_into().ok());
    Options {
        max_age: time("max_age", usual.max_age),
        max_age_refused: time("max_age_refused", usual.max_age_refused),
        max_entries: entries.unwrap_or(usual.max_entries),
        attempt: time("attempt", usual.attempt),
        total: time("total", usual.total),
        attempts: usual.attempts,
    }
}

async fn ask(client: Client, asked: Value) -> Value {
    let scopes: Vec<&str> = asked["required_scopes"]
        .as_array()
        .map(|scopes| scopes.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut question = Question::of(asked["api_key"].as_str().expect("a key")).requiring(&scopes);
    if let Some(address) = asked["client_ip"].as_str() {
        question = question.from(address.parse::<IpAddr>().expect("an address"));
    }
    if let Some(cost) = asked["cost"].as_u64() {
        question = question.costing(cost.try_into().expect("a small cost"));
    }
    match client.verify(question).await {
        Ok(key) => json!({"valid": true, "key_id": key.key_id, "name": key.name, "metadata": key.metadata}),
        Err(refusal) => {
            let (code, status) = (refusal.code(), refusal.status());
            let wait = refusal.retry_after().map(|wait| wait.as_secs());
            let scopes = match refusal {
                NotAllowed::Refused { required_scopes, .. } => required_scopes,
                NotAllowed::Unavailable { .. } | NotAllowed::BadQuestion => Vec::new(),
            };
            json!({"code": code, "status": status, "retry_after": wait, "required_scopes": scopes})
        }
    }
}
