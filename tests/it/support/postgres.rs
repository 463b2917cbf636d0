//! A real PostgreSQL server on a free port, with everything that it writes in a temporary directory. All tests of the
//! binary share one, each with a database of its own; tests that stop a server start one of their own.

use super::{ports::free_port, service::eventually, signals};
use std::{
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, MutexGuard},
    sync::{
        Mutex, OnceLock, Weak,
        atomic::{AtomicU32, Ordering},
    },
};
use tempfile::TempDir;

const USER: &str = "heare";

/// A running server; stopped when dropped.
pub struct Postgres {
    port: u16,
    process: Mutex<Option<Child>>,
    directory: TempDir,
    databases: AtomicU32,
}

/// One database on a server that is there as long as this is.
pub struct Database {
    pub server: Arc<Postgres>,
    pub name: String,
}

impl Database {
    /// A new one on the server that the tests share. It is stopped when no test uses it any more.
    pub fn shared() -> Self {
        static SHARED: OnceLock<Mutex<Weak<Postgres>>> = OnceLock::new();
        let mut shared = lock(SHARED.get_or_init(Mutex::default));
        let server = shared.upgrade().unwrap_or_else(|| Arc::new(Postgres::start()));
        *shared = Arc::downgrade(&server);
        drop(shared);
        Self::on(server)
    }

    /// A new one on a server that nobody else uses.
    pub fn alone() -> Self {
        Self::on(Arc::new(Postgres::start()))
    }

    fn on(server: Arc<Postgres>) -> Self {
        let name = format!("usage_{}", server.databases.fetch_add(1, Ordering::Relaxed));
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
        Self { server, name }
    }

    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{}", self.server.port, self.name)
    }

    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }
}

impl Postgres {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a directory for the server");
        give_to_server(directory.path());
        give_to_server(&data);
        let made = as_server(&program("initdb"))
            .args([
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                USER,
                "--pgdata",
            ])
            .arg(&data)
            .output()
            .expect("scripts/setup has installed PostgreSQL");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        // Another process may take the free port first, so a few ports are tried.
        (0..10)
            .find_map(|_| {
                let port = free_port();
                let process = run(directory.path(), port)?;
                Some((port, process))
            })
            .map(|(port, process)| Self {
                port,
                process: Mutex::new(Some(process)),
                directory,
                databases: AtomicU32::new(0),
            })
            .expect("PostgreSQL starts")
    }

    /// Stops at once, as in a power cut: what is committed is there after `start_again`.
    pub fn stop(&self) {
        let Some(mut process) = lock(&self.process).take() else {
            return;
        };
        // The postmaster kills its children on this signal, which it would not if it were killed itself.
        signals::send("QUIT", process.id());
        process.wait().expect("a child can be waited for");
    }

    /// It takes connections and answers nothing, until `resume`.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    /// The server and the processes that it has made for connections.
    fn signal_all(&self, name: &str) {
        let pid = lock(&self.process).as_ref().expect("it runs").id();
        signals::send(name, format!("{pid} $(cat /proc/{pid}/task/*/children)"));
    }

    pub fn start_again(&self) {
        let process = run(self.directory.path(), self.port).expect("PostgreSQL starts again on its port");
        *lock(&self.process) = Some(process);
    }

    /// Runs SQL in a database and gives what it answers, one row a line, columns parted by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(program("psql"))
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "-v",
                "ON_ERROR_STOP=1",
            ])
            .args(["-h", "127.0.0.1", "-U", USER, "-d", database, "-p"])
            .arg(self.port.to_string())
            .args(["-c", sql])
            .output()
            .expect("psql runs");
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Nothing when the port was taken.
fn run(directory: &Path, port: u16) -> Option<Child> {
    let mut process = as_server(&program("postgres"))
        .arg("-D")
        .arg(directory.join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""])
        .args([
            "-c",
            "fsync=off",
            "-c",
            "shared_buffers=16MB",
            "-c",
            "max_connections=50",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres runs");
    let mut ended = false;
    eventually("PostgreSQL listens or gives up", || {
        ended = process.try_wait().expect("a child can be asked").is_some();
        ended || is_up(port)
    });
    (!ended).then_some(process)
}

fn is_up(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        && Command::new(program("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status()
            .is_ok_and(|status| status.success())
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package has made.
fn as_server(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
        .arg(program)
        .current_dir("/");
    command
}

fn give_to_server(path: &Path) {
    if is_root() {
        let given = Command::new("chown").arg("postgres:postgres").arg(path).status();
        assert!(
            given.expect("chown runs").success(),
            "the directory could not be given away"
        );
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("this process").uid() == 0
}

/// From the newest version that is installed.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("scripts/setup has installed PostgreSQL");
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|program| program.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("PostgreSQL has no {name}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
