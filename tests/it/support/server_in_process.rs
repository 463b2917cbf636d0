//! The service in this process, on a free port, over a file store in a directory of its own; and a client that speaks
//! in raw bytes.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use heare_auth::{
    config::{
        Config, DatabasePlace, GatewayConfig, LimitConfig, Location, LogLevel, ManagementConfig, Origins,
        PasswordPolicy, SigningConfig, StoreConfig, TokenConfig, UsageConfig,
    },
    core::network::chain::TrustedProxies,
    http::deadlines::Deadlines,
    server::{self, Options, Running, StartError},
    telemetry::{Telemetry, log::LogQueue, metrics::Metrics},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::PATIENCE;

/// Keys of every kind. Their secrets are `sec_good`, `sec_hashed`, `sec_expired`, `sec_revoked`, `sec_bare`.
pub const KEYS: &str = r#"{"keys":[
{"id":"key_good","secret":"sec_good","name":"Good \"one\"","created_at":"2024-01-01T00:00:00Z","metadata":{"env":"prod","n":[1, 2.50]}},
{"id":"key_hashed","secret_hash":"sha256:HASHED","name":"Hashed","created_at":"2024-01-01T00:00:00Z","expires_at":"2999-01-01T00:00:00"},
{"id":"key_expired","secret":"sec_expired","name":"Expired","created_at":"2024-01-01T00:00:00Z","expires_at":"2024-01-02T00:00:00Z"},
{"id":"key_revoked","secret":"sec_revoked","name":"Revoked","created_at":"2024-01-01T00:00:00Z","revoked_at":"2024-01-02T00:00:00Z"},
{"id":"key_bare","secret":"sec_bare","name":"Bare","created_at":"2024-01-01T00:00:00Z"}
]}"#;

pub fn keys() -> String {
    let digest = heare_auth::core::secret::Digest::of("sec_hashed").to_string();
    KEYS.replace("sha256:HASHED", &digest)
}

/// What a test may want otherwise than usual.
pub struct Setup {
    /// The document in the store; none at all when `None`.
    pub document: Option<String>,
    pub admin: bool,
    pub health_opaque: bool,
    pub max_connections: usize,
    pub deadlines: Deadlines,
    pub gateway: GatewayConfig,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            document: Some(keys()),
            admin: false,
            health_opaque: false,
            max_connections: 4096,
            deadlines: Deadlines::default(),
            gateway: GatewayConfig::default(),
        }
    }
}

/// Deadlines so far off that no test meets them, but for those that it shortens.
pub fn no_hurry() -> Deadlines {
    let sweep = Duration::from_millis(10);
    Deadlines {
        sweep,
        head: PATIENCE * 2,
        body: PATIENCE * 2,
        idle: PATIENCE * 2,
        write: PATIENCE * 2,
        parting: sweep,
    }
}

pub struct TestServer {
    pub address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
    pub metrics: Arc<Metrics>,
    runtime: Runtime,
    running: Option<Running>,
    log: LogQueue,
    lines: Lines,
    directory: TempDir,
}

impl TestServer {
    /// The usual service, with its keys loaded.
    pub fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// Returns once the document is loaded, if it is one that loads.
    pub fn with(setup: &Setup) -> Self {
        let loads = setup.document.as_ref().is_none_or(|text| text.ends_with('}'));
        let server = Self::starting(setup);
        if loads {
            server.wait_until("ready", |client| client.get("/ready").status == 200);
        }
        server
    }

    pub fn starting(setup: &Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if let Some(document) = &setup.document {
            std::fs::write(directory.path().join("keys.json"), document).unwrap();
        }
        let lines = Lines::default();
        let log = LogQueue::start(lines.clone(), 1 << 20).unwrap();
        let telemetry = Telemetry {
            metrics: Arc::default(),
            log: log.clone(),
        };
        let metrics = telemetry.metrics.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let options = Options {
            deadlines: setup.deadlines,
            began: Instant::now(),
        };
        let config = config(&directory, setup);
        let running = runtime.block_on(server::start(config, telemetry, options)).unwrap();
        let (address, admin_address) = (running.address, running.admin_address);
        Self {
            address,
            admin_address,
            metrics,
            runtime,
            running: Some(running),
            log,
            lines,
            directory,
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn verify(&self, secret: &str) -> Answer {
        self.client().post("/verify", &format!(r#"{{"api_key":"{secret}"}}"#))
    }

    /// Where the store keeps its document.
    pub fn document(&self) -> PathBuf {
        self.directory.path().join("keys.json")
    }

    /// Asks again and again until it is so.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&mut Client) -> bool) {
        let began = Instant::now();
        while !is_so(&mut self.client()) {
            assert!(began.elapsed() < PATIENCE, "never {what}");
            std::thread::yield_now();
        }
    }

    /// Begins to stop, and hands back what waits for the end of it.
    pub fn stop(&mut self, deadline: Duration) -> tokio::task::JoinHandle<bool> {
        let running = self.running.take().expect("stopped once");
        self.runtime.spawn(running.stop(deadline))
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Everything that was logged directly so far.
    pub fn log(&self) -> String {
        assert!(self.log.flush(PATIENCE));
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.metrics.take().counters.get(name).copied().unwrap_or_default()
    }
}

/// Why a service with this setup does not start at this address.
pub fn refused_start(listen: SocketAddr, admin_listen: Option<SocketAddr>) -> StartError {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = Telemetry {
        metrics: Arc::default(),
        log: LogQueue::start(io::sink(), 1 << 20).unwrap(),
    };
    let config = Config {
        listen,
        admin_listen,
        ..config(&directory, &Setup::default())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(server::start(config, telemetry, Options::default()));
    outcome.err().expect("a start that is refused")
}

fn config(directory: &TempDir, setup: &Setup) -> Config {
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Config {
        store: StoreConfig {
            location: Location::File {
                path: directory.path().join("keys.json"),
            },
            storage_secret: None,
            max_document_bytes: 1 << 20,
            allow_unconditional_writes: false,
        },
        listen: free,
        admin_listen: setup.admin.then_some(free),
        poll_interval: Duration::from_hours(1),
        snapshot_path: None,
        strict_generation: false,
        health_opaque: setup.health_opaque,
        trusted_proxies: TrustedProxies::default(),
        authz_query_key: false,
        max_connections: Some(setup.max_connections),
        workers: std::num::NonZero::<usize>::MIN.saturating_add(1),
        key_prefixes: heare_auth::core::id::Prefixes::default(),
        expired_after: None,
        log_level: LogLevel::Info,
        limits: LimitConfig {
            redis_url: None,
            guess_limit: None,
        },
        bridge: None,
        management: ManagementConfig {
            cors_origins: Origins::None,
            user_scopes: Vec::new(),
            allow_plain_http: false,
            api_docs: true,
            dashboard: false,
        },
        gateway: setup.gateway.clone(),
        usage: UsageConfig {
            database: DatabasePlace::Off,
            usage_retention: Duration::from_hours(24),
            audit_retention: Duration::from_hours(24),
        },
        passwords: PasswordPolicy {
            min_length: 8,
            composition: false,
        },
        tokens: TokenConfig {
            signing: SigningConfig::Missing,
            issuer: "heare-auth".to_owned(),
            audience: "heare-auth".to_owned(),
            token_ttl: Duration::from_hours(24),
            refresh_ttl: Duration::from_hours(24),
        },
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .answer()
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        self.send(head + body).answer()
    }

    /// The next answer with a body of the announced length.
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    pub fn answer_to(&mut self, method: &str) -> Answer {
        let end = self.read_until(|read| read.windows(4).position(|four| four == b"\r\n\r\n"));
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        if method != "HEAD" && status >= 200 {
            let length = answer
                .header("content-length")
                .expect("every answer tells its length")
                .parse()
                .unwrap();
            self.read_until(|read| (read.len() >= length).then_some(0));
            answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        }
        answer
    }

    fn read_until(&mut self, enough: impl Fn(&[u8]) -> Option<usize>) -> usize {
        loop {
            if let Some(at) = enough(&self.read) {
                return at;
            }
            let mut more = [0; 4096];
            let count = self.stream.read(&mut more).expect("an answer in time");
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&more[..count]);
        }
    }

    /// Everything until the service closes the connection, which it has to.
    pub fn rest(&mut self) -> String {
        let mut more = [0; 4096];
        loop {
            match self.stream.read(&mut more) {
                Ok(0) => break,
                Ok(count) => self.read.extend_from_slice(&more[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("not closed: {error}"),
            }
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }
}
