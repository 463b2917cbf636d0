//! The real binary as a process: settings, start, requests, its log, its end.
//!
//! ```ignore
//! let service = Settings::file_store().with("POLL_INTERVAL", "50ms").start();
//! let secret = service.create_key("reports");
//! service.refresh();
//! assert_eq!(service.verify(&secret).0, 200);
//! service.wait_for_event("verification_success", |line| line["key_name"] == "reports");
//! assert!(service.stop().success());
//! ```

pub use super::settings::Settings;
use super::{
    PATIENCE,
    captured::{Log, keep_errors, keep_lines, parse_line},
    http_client::{self, Connection, Response},
    settings::wait_for_exit,
    signals,
};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    process::{Child, ChildStdout, ExitStatus, Output, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

/// What the other end of the service's stdout does once the `startup` line has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogReader {
    Reads,
    /// Reads nothing more, so the pipe fills up, until `Service::resume_reading`.
    Stalls,
    /// Closes the pipe: every later write fails with a broken pipe.
    Closes,
}

/// A running `heare-auth serve`; killed when dropped.
pub struct Service {
    child: Child,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    settings: Settings,
    log: Arc<Log>,
    stalled: Option<BufReader<ChildStdout>>,
}

impl Service {
    pub(super) fn start(settings: &Settings, reader: LogReader, stderr: Option<OwnedFd>) -> Self {
        let own_port = settings.own_port();
        let mut command = settings.command(&["serve"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.map_or_else(Stdio::piped, Stdio::from));
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::new(Log::default());
        if let Some(stderr) = child.stderr.take() {
            keep_errors(&log, stderr);
        }
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut service = Self {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, own_port.unwrap_or_default())),
            admin_address: None,
            settings: settings.clone(),
            log,
            stalled: None,
        };
        let stdout = match own_port {
            // With a port of its own it may be told to log nothing, so the port itself says when it is up.
            Some(_) => service.wait_for_port(stdout),
            None => service.read_addresses(stdout),
        };
        match reader {
            LogReader::Reads => keep_lines(&service.log, stdout),
            LogReader::Stalls => service.stalled = Some(stdout),
            LogReader::Closes => drop(stdout),
        }
        service
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/refresh` answers: the admin port if there is one, else the public one.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address.unwrap_or(self.address)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A new connection to the public port, whose answers are held against the service's own document.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address).judged()
    }

    pub fn get(&self, path: &str) -> Response {
        let answer = self.connect().get(path);
        answer.unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Response {
        let answer = self.connect().post(path, body);
        answer.unwrap_or_else(|e| panic!("POST {path}: {e}"))
    }

    pub fn verify(&self, secret: &str) -> (u16, Value) {
        self.post("/verify", json!({ "api_key": secret }).to_string().as_bytes())
            .status_and_json()
    }

    pub fn refresh(&self) -> (u16, Value) {
        http_client::post(self.admin_address(), "/refresh", b"").status_and_json()
    }

    pub fn ready(&self) -> (u16, Value) {
        self.get("/ready").status_and_json()
    }

    pub fn health(&self) -> (u16, Value) {
        self.get("/health").status_and_json()
    }

    pub fn wait_until_ready(&self) {
        eventually("the service is ready", || self.ready().0 == 200);
    }

    /// Runs a CLI command on the same store, with `REFRESH_URL` set to this service.
    pub fn cli<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        let refresh_url = format!("http://{}/refresh", self.admin_address());
        self.settings.clone().with("REFRESH_URL", refresh_url).run(arguments)
    }

    /// Creates a key by the CLI (which refreshes this service) and gives its secret.
    pub fn create_key(&self, name: &str) -> String {
        self.create_key_with(name, &[])
    }

    pub fn create_key_with(&self, name: &str, options: &[&str]) -> String {
        let output = self.cli(&[&["create", "--name", name], options].concat());
        assert!(
            output.status.success(),
            "create failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        printed_secret(&output)
    }

    /// Every line of stdout read so far, as it was written.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Every line of stdout read so far; each must be JSON.
    pub fn log(&self) -> Vec<Value> {
        self.log_lines().iter().map(|line| parse_line(line)).collect()
    }

    pub fn events(&self, event: &str) -> Vec<Value> {
        let quoted = format!("\"{event}\"");
        // To read every line as JSON takes long where there are thousands.
        let named = self.log_lines().into_iter().filter(|line| line.contains(&quoted));
        let parsed = named.map(|line| parse_line(&line));
        parsed.filter(|line| line["event"] == event).collect()
    }

    /// The first line of that event which satisfies the predicate, waiting for it if need be.
    pub fn wait_for_event(&self, event: &str, predicate: impl Fn(&Value) -> bool) -> Value {
        let found = self.log.wait_for(|line| {
            let line = parse_line(line);
            (line["event"] == event && predicate(&line)).then_some(line)
        });
        found.unwrap_or_else(|| panic!("no such {event} line; {}", self.log.told()))
    }

    /// What it wrote on stderr so far.
    pub fn errors(&self) -> String {
        self.log.errors()
    }

    /// Takes up the reading of a stdout that was started as `LogReader::Stalls`.
    pub fn resume_reading(&mut self) {
        let stdout = self.stalled.take().expect("only a stalled reader can resume");
        keep_lines(&self.log, stdout);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its short name: `TERM`, `INT`, `HUP`, `STOP`, `CONT`, `KILL`.
    pub fn signal(&self, name: &str) {
        signals::send(name, self.pid());
    }

    /// Stops every thread where it is, until a `CONT`: the signal is sent before it has reached all of them.
    pub fn suspend(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.pid());
        eventually("every thread is stopped", || {
            let tasks = std::fs::read_dir(&tasks).expect("it runs").flatten();
            let mut states = tasks.map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default());
            states.all(|stat| stat.is_empty() || stat.contains(") T "))
        });
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.proc_status("VmRSS:")
    }

    /// The most resident memory it ever had, in KiB.
    pub fn peak_resident_kib(&self) -> u64 {
        self.proc_status("VmHWM:")
    }

    /// The address space that it has, in KiB.
    pub fn virtual_kib(&self) -> u64 {
        self.proc_status("VmSize:")
    }

    /// The name and the nice value of each thread.
    pub fn niceness(&self) -> Vec<(String, i32)> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the process runs");
        // A thread may end while it is looked at.
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let parsed = stats.filter_map(|stat| {
            let (name, fields) = stat.split_once('(')?.1.rsplit_once(") ")?;
            Some((name.to_owned(), fields.split(' ').nth(16)?.parse().ok()?))
        });
        parsed.collect()
    }

    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the process runs")
            .count()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Waits for the process to end by itself.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child).unwrap_or_else(|| panic!("it did not end; {}", self.log.told()))
    }

    /// Asks it to end, as a platform does, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_exit()
    }

    /// Takes the addresses from the `startup` line and gives back the stdout behind it.
    fn read_addresses(&mut self, stdout: BufReader<ChildStdout>) -> BufReader<ChildStdout> {
        let (found, startup) = mpsc::channel();
        let log = Arc::clone(&self.log);
        thread::spawn(move || found.send(read_to_startup(&log, stdout)));
        match startup.recv_timeout(PATIENCE) {
            Ok((Some(startup), stdout)) => {
                self.address = reachable(&startup["address"]).expect("startup names the address");
                self.admin_address = reachable(&startup["admin_address"]);
                stdout
            }
            Ok((None, _)) => panic!(
                "it ended ({}) before it was started; {}",
                self.wait_for_exit(),
                self.log.told()
            ),
            Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => {
                panic!("it never said that it was started; {}", self.log.told())
            }
        }
    }

    fn wait_for_port(&mut self, stdout: BufReader<ChildStdout>) -> BufReader<ChildStdout> {
        let address = self.address;
        eventually("the port answers", || {
            assert!(self.is_running(), "it ended before it was started; {}", self.log.told());
            TcpStream::connect(address).is_ok()
        });
        stdout
    }

    fn proc_status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("the kernel knows this line");
        line.split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number follows")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again, without a fixed wait anywhere, until it holds or `PATIENCE` is over.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The secret in the output of `create`: the only word there that looks like one.
pub fn printed_secret(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .find(|word| word.starts_with("sec_") && word.len() > 40)
        .expect("create prints the secret")
        .to_owned()
}

/// The `startup` line, or nothing if stdout ended before it.
fn read_to_startup(log: &Log, mut stdout: BufReader<ChildStdout>) -> (Option<Value>, BufReader<ChildStdout>) {
    let mut line = String::new();
    while stdout.read_line(&mut line).is_ok_and(|length| length != 0) {
        log.add_line(&line);
        let startup = parse_line(&std::mem::take(&mut line));
        if startup["event"] == "startup" && startup["address"].is_string() {
            return (Some(startup), stdout);
        }
    }
    (None, stdout)
}

/// The address as one can connect to it: a service that listens everywhere is reached on loopback.
fn reachable(logged: &Value) -> Option<SocketAddr> {
    let mut address: SocketAddr = logged.as_str()?.parse().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Some(address)
}
