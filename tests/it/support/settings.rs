//! The environment of a process under test, and commands run to their end in it.

use super::{
    PATIENCE,
    service::{LogReader, Service},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The whole environment of a process under test: nothing of the developer's own shell gets in but `PATH`.
/// Clones share one home directory, so a service can be started again on what an earlier one left.
#[derive(Clone)]
pub struct Settings {
    home: Arc<TempDir>,
    variables: BTreeMap<String, String>,
    prefix: Vec<String>,
}

/// A local file store with these records.
pub fn serving(records: &[Value]) -> Settings {
    let settings = Settings::file_store();
    settings.write_document(&json!({ "generation": 1, "keys": records }).to_string());
    settings
}

impl Settings {
    /// A local file store in a temporary home, a free port on loopback, no metrics, and no limit on how often a client may
    /// call, as tests call often.
    pub fn file_store() -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let settings = Self {
            home,
            variables: BTreeMap::new(),
            prefix: Vec::new(),
        };
        let data = settings.data_dir();
        settings
            .with("DATA_DIR", data.to_str().expect("temporary paths are UTF-8"))
            .with("HOST", "127.0.0.1")
            .with("PORT", "0")
            .with("RATE_LIMIT", "off")
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The process is started with this signal ignored, such as `XFSZ`.
    pub fn ignoring(self, signal: &str) -> Self {
        self.under(&["env", &format!("--ignore-signal={signal}")])
    }

    /// The process is started by this command, which becomes the process in the end.
    pub fn under(mut self, command: &[&str]) -> Self {
        self.prefix.extend(command.iter().map(|word| (*word).to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// The port it is told to take, unless it may choose one.
    pub fn own_port(&self) -> Option<u16> {
        let port = self.variables.get("PORT")?.parse().ok()?;
        (port != 0).then_some(port)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home().join("heare-auth-data")
    }

    /// The document of the file store.
    pub fn document(&self) -> PathBuf {
        self.data_dir().join("keys.json")
    }

    /// Puts a document into the file store, as an operator's copy would: whole, by rename.
    pub fn write_document(&self, text: &str) {
        std::fs::create_dir_all(self.data_dir()).expect("the data directory can be made");
        let whole = tempfile::NamedTempFile::new_in(self.data_dir()).expect("a temporary file beside the document");
        std::fs::write(whole.path(), text).expect("the document can be written");
        whole
            .persist(self.document())
            .expect("the document can be put in place");
    }

    /// The binary with these settings and arguments, not yet started.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let binary = env!("CARGO_BIN_EXE_heare-auth");
        let mut words = self.prefix.iter().map(String::as_str).chain([binary]);
        let mut command = Command::new(words.next().expect("there is the binary at least"));
        command.args(words);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .current_dir(self.home());
        command
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&self.variables);
        command
    }

    /// A script for bash with these settings, in which `heare-auth` is the binary under test.
    pub fn shell(&self, script: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_heare-auth"));
        let binaries = binary.parent().expect("the binary is in a directory").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-c", script])
            .env_clear()
            .env("HOME", self.home())
            .current_dir(self.home());
        command.env("PATH", format!("{binaries}:{path}")).envs(&self.variables);
        command
    }

    /// A command that runs, with its streams to be read and written.
    pub fn spawn<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Child {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }

    /// Runs a command to its end, with an empty standard input.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Runs a command to its end, answering its questions with `input`.
    pub fn run_with_input<A: AsRef<OsStr>>(&self, arguments: &[A], input: &str) -> Output {
        let mut child = self.spawn(arguments);
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A command that reads nothing may be gone already; that is its right.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        finish(child)
    }

    /// Starts the service and waits for its `startup` line; every line of its stdout is kept.
    pub fn start(&self) -> Service {
        Service::start(self, LogReader::Reads, None)
    }

    /// The same with its keys in force.
    pub fn start_ready(&self) -> Service {
        let service = self.start();
        service.wait_until_ready();
        service
    }

    pub fn start_with(&self, reader: LogReader) -> Service {
        Service::start(self, reader, None)
    }

    /// The same as `start`, with a stderr of one's own, of which nothing is kept.
    pub fn start_with_stderr(&self, stderr: impl Into<OwnedFd>) -> Service {
        Service::start(self, LogReader::Reads, Some(stderr.into()))
    }
}

/// Like `wait_with_output`, but it kills what does not end.
fn finish(mut child: Child) -> Output {
    let stdout = read_all(child.stdout.take().expect("stdout is piped"));
    let stderr = read_all(child.stderr.take().expect("stderr is piped"));
    let Some(status) = wait_for_exit(&mut child) else {
        let _ = child.kill();
        panic!("the command did not end");
    };
    let joined = |reader: thread::JoinHandle<Vec<u8>>| reader.join().expect("the reading thread does not panic");
    Output {
        status,
        stdout: joined(stdout),
        stderr: joined(stderr),
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read to its end");
        bytes
    })
}

/// Nothing if it has not ended within `PATIENCE`.
pub fn wait_for_exit(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}
