//! Truly remote peers: a service in a network namespace of its own, reached over a cable that can be pulled.

use crate::support::{
    documents::{document, record_with, secret_of},
    http_client::Connection,
    ports::free_port,
    service::{Settings, eventually},
};
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

/// A service at the far end of a cable. It and the cable are gone when it is dropped.
struct Remote {
    service: Child,
    cable: String,
    address: SocketAddr,
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

fn ran(program: &str, arguments: &str) -> bool {
    let output = Command::new(program).args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

fn done(program: &str, arguments: &str) {
    assert!(ran(program, arguments), "{program} {arguments}");
}

impl Remote {
    /// Nothing where the machine lets nobody make a network.
    fn start(settings: &Settings) -> Option<Self> {
        static CABLES: AtomicU8 = AtomicU8::new(0);
        if !ran("unshare", "-n true") || !ran("ip", "-V") {
            eprintln!("not run: this machine lets nobody make a network");
            return None;
        }
        let number = CABLES.fetch_add(1, Ordering::Relaxed);
        // Of this process and this test alone; the network is one that is kept for documentation and tests.
        let cable = format!("ha{}n{number}", std::process::id() % 1_000_000);
        let host = u8::try_from(std::process::id() % 60).expect("below 60") * 4;
        let (here, there) = (
            Ipv4Addr::new(198, 18, number, host + 1),
            Ipv4Addr::new(198, 18, number, host + 2),
        );
        let port = free_port();
        let settings = settings.clone().with("HOST", "0.0.0.0").with("PORT", port.to_string());
        let mut service = settings
            .under(&["unshare", "-n"])
            .command(&["serve"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare runs");
        let mut log = BufReader::new(service.stdout.take().expect("stdout is piped"));
        log.read_line(&mut String::new()).expect("it says that it was started");
        std::thread::spawn(move || log.lines().for_each(drop));
        let inside = format!("-t {} -n ip", service.id());
        let remote = Self {
            service,
            cable,
            address: SocketAddr::from((there, port)),
        };
        let cable = &remote.cable;
        done(
            "ip",
            &format!("link add {cable} type veth peer name far netns {}", remote.service.id()),
        );
        done("ip", &format!("address add {here}/30 dev {cable}"));
        done("ip", &format!("link set {cable} up"));
        done("nsenter", &format!("{inside} address add {there}/30 dev far"));
        done("nsenter", &format!("{inside} link set far up"));
        eventually("the service answers", || {
            Connection::try_open(remote.address)
                .and_then(|mut connection| connection.get("/ready"))
                .is_ok_and(|answer| answer.status == 200)
        });
        Some(remote)
    }

    fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// How many connections to it have unanswered bytes that were sent once more.
    fn sent_again(&self) -> usize {
        let IpAddr::V4(there) = self.address.ip() else {
            panic!("the cable has addresses of IPv4");
        };
        let peer = format!("{:08X}:{:04X}", u32::from_ne_bytes(there.octets()), self.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("proc is there");
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[2] == peer && row[6] != "00000000").count()
    }

    fn pull(&self) {
        done("ip", &format!("link set {} down", self.cable));
    }

    fn plug_in(&self) {
        done("ip", &format!("link set {} up", self.cable));
    }
}

#[test]
fn a_peer_that_is_truly_remote_may_verify_and_no_more() {
    let settings = Settings::file_store();
    let admin = record_with("key_admin", "scopes", json!(["admin"]));
    settings.write_document(&json!({ "generation": 1, "keys": [admin] }).to_string());
    let Some(remote) = Remote::start(&settings) else {
        return;
    };
    let secret = secret_of("key_admin");
    let bearer = format!("Bearer {secret}");
    let body = json!({ "api_key": secret }).to_string();
    let status = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let answer = remote.connect().request(method, path, headers, body.as_bytes());
        answer.expect("an answer").status
    };
    assert_eq!(status("POST", "/verify", &[], &body), 200);
    let forged = [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1;proto=https"),
        ("X-Forwarded-Proto", "https"),
        ("Authorization", &bearer),
        ("Host", "localhost"),
    ];
    assert_eq!(status("POST", "/refresh", &forged, ""), 403);
    for (method, path) in [
        ("GET", "/api/v1/auth/keys"),
        ("POST", "/api/v1/auth/keys"),
        ("POST", "/api/login"),
    ] {
        assert_eq!(status(method, path, &forged, "{}"), 403, "{path}");
    }
}

#[test]
fn a_cable_that_is_pulled_and_plugged_in_again_loses_no_answer() {
    let settings = Settings::file_store();
    settings.write_document(&document(1, &["key_1"]));
    let Some(remote) = Remote::start(&settings) else {
        return;
    };
    let body = json!({ "api_key": secret_of("key_1") }).to_string();
    let request = format!(
        "POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connections: Vec<Connection> = (0..50).map(|_| remote.connect()).collect();
    for connection in &mut connections {
        let answer = connection.post("/verify", body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 200);
    }
    remote.pull();
    for connection in &mut connections {
        connection.send(request.as_bytes()).expect("the system keeps it");
    }
    eventually("the system has tried in vain to send each of them", || {
        remote.sent_again() == connections.len()
    });
    remote.plug_in();
    for connection in &mut connections {
        assert_eq!(connection.read_response().expect("an answer").status, 200);
    }
}
