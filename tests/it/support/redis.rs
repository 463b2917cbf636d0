//! A real Redis on a free port, which can be killed, stopped, resumed and started again at the same place.

use super::{
    PATIENCE,
    ports::{free_port, refusing},
    service::eventually,
    signals,
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// An authority, and a certificate from it.
const CERTIFICATES: &str = "
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout redis.key -out redis.csr
echo subjectAltName=DNS:localhost > names
openssl x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out redis.crt
";

/// A running redis-server without persistence; killed when dropped.
pub struct Redis {
    pub address: SocketAddr,
    process: Child,
}

impl Redis {
    pub fn start() -> Self {
        // Another process may take the free port first, so a few ports are tried.
        (0..10)
            .find_map(|_| Self::try_start(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))))
            .expect("redis-server starts; scripts/setup installs it")
    }

    /// One that speaks TLS only, with a certificate for `localhost`, and the file of the authority that vouches for it.
    pub fn start_with_tls(directory: &Path) -> (Self, PathBuf) {
        let made = Command::new("sh")
            .args(["-ec", CERTIFICATES])
            .current_dir(directory)
            .output();
        let made = made.expect("sh runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = |name: &str| directory.join(name).display().to_string();
        let redis = (0..10).find_map(|_| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let port = address.port().to_string();
            let [certificate, key, authority] = [file("redis.crt"), file("redis.key"), file("ca.crt")];
            let tls = ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"];
            let files = [
                "--tls-cert-file",
                &certificate,
                "--tls-key-file",
                &key,
                "--tls-ca-cert-file",
                &authority,
            ];
            Self::run(address, &[&tls[..], &files].concat(), |redis| {
                TcpStream::connect(redis.address).is_ok()
            })
        });
        (redis.expect("redis-server starts with TLS"), directory.join("ca.crt"))
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}/0", self.address.port())
    }

    /// Makes it a replica of a server that is not there, which may not be written to.
    pub fn refuse_writes(&self) {
        self.replicate(refusing());
    }

    /// Makes it a replica of the other, as after a failover. Who is connected stays connected.
    pub fn follow(&self, other: &Self) {
        self.replicate(other.address);
    }

    fn replicate(&self, other: SocketAddr) {
        self.command(&format!("REPLICAOF {} {}", other.ip(), other.port()));
    }

    pub fn allow_writes(&self) {
        self.command("REPLICAOF NO ONE");
    }

    /// At once and with everything it knew.
    pub fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("a child can be waited for");
    }

    /// A new and empty one at the place of one that was killed.
    pub fn start_again(&mut self) {
        *self = Self::try_start(self.address).expect("the port is free again");
    }

    /// It takes connections and answers nothing, until `resume`.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// What `redis-cli` answers.
    pub fn ask(&self, command: &str) -> String {
        self.ask_in(0, command)
    }

    /// The same of one of its databases.
    fn ask_in(&self, database: u8, command: &str) -> String {
        let (port, database) = (self.address.port().to_string(), database.to_string());
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &port, "-n", &database])
            .args(command.split(' '))
            .output()
            .expect("redis-cli comes with redis-server");
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Every key of every database, with what it holds.
    pub fn dump(&self) -> String {
        let show = |database: u8, key: &str| {
            let ask = match self.ask_in(database, &format!("TYPE {key}")).as_str() {
                "hash" => format!("HGETALL {key}"),
                "zset" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
                _ => format!("GET {key}"),
            };
            format!("{key}\n{}\n", self.ask_in(database, &ask))
        };
        let shown = |database| {
            let keys = self.ask_in(database, "KEYS *");
            keys.lines().map(|key| show(database, key)).collect::<String>()
        };
        (0..16).map(shown).collect()
    }

    pub fn command(&self, command: &str) {
        assert!(self.answers_to(command, "+OK"), "{command} is refused");
    }

    fn signal(&self, name: &str) {
        signals::send(name, self.process.id());
    }

    fn try_start(address: SocketAddr) -> Option<Self> {
        let port = address.port().to_string();
        Self::run(address, &["--port", &port], |redis| redis.answers_to("PING", "+PONG"))
    }

    fn run(address: SocketAddr, options: &[&str], is_up: impl Fn(&Self) -> bool) -> Option<Self> {
        let process = Command::new("redis-server")
            .args(options)
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--loglevel",
                "warning",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/setup has installed redis-server");
        let mut redis = Self { address, process };
        let mut ended = false;
        eventually("redis answers or has ended", || {
            ended = redis.process.try_wait().expect("a child can be asked").is_some();
            ended || is_up(&redis)
        });
        (!ended).then_some(redis)
    }

    fn answers_to(&self, command: &str, expected: &str) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address) else {
            return false;
        };
        let mut answer = vec![0; expected.len()];
        stream.set_read_timeout(Some(PATIENCE)).is_ok()
            && stream.write_all(format!("{command}\r\n").as_bytes()).is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer == expected.as_bytes()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
