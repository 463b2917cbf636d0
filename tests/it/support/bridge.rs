//! Stats bridges for tests: the real heare-stats-server, and plain receivers of our own for http, udp and tcp.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{ports::free_port, tool};

/// How long a test waits for what must come. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The real bridge. It takes udp and tcp on one port and posts what it has added up to an `HttpReceiver`.
pub struct StatsServer {
    pub address: SocketAddr,
    process: Child,
}

impl StatsServer {
    /// Another process may take the free port first, so a few ports are tried.
    pub fn forwarding_to(receiver: &HttpReceiver) -> Self {
        (0..10)
            .find_map(|_| Self::try_start(receiver.address))
            .expect("heare-stats-server starts")
    }

    fn try_start(receiver: SocketAddr) -> Option<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut process = Command::new(tool("venv/bin/heare-stats-server"))
            .env("LISTEN_HOST", "127.0.0.1")
            .env("LISTEN_PORT", address.port().to_string())
            .env("REMOTE_HOST", receiver.ip().to_string())
            .env("REMOTE_PORT", receiver.port().to_string())
            .env("SECRET", "forwarded")
            .env("FLUSH_INTERVAL", "0.1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("scripts/setup has installed heare-stats-server");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let started = log
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("StatSD server started"));
        // Its log must be read to the end, or the full pipe would stall it.
        thread::spawn(move || log.for_each(drop));
        let server = Self { address, process };
        started.then_some(server)
    }
}

impl Drop for StatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What an `HttpReceiver` does with a post after it has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// The status and all that stands before a body which never comes.
    Head(u16),
    /// Closes the connection without a word.
    Close,
    /// Leaves the caller waiting.
    Never,
}

#[derive(Debug)]
pub struct Post {
    pub path: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// Takes posts of metrics.
pub struct HttpReceiver {
    pub address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    posts: Receiver<Post>,
}

impl HttpReceiver {
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let (sender, posts) = channel();
        let answering = Arc::clone(&answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, sender) = (Arc::clone(&answering), sender.clone());
                thread::spawn(move || serve(stream, &answer, &sender));
            }
        });
        Self { address, answer, posts }
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn next(&self) -> Post {
        self.posts.recv_timeout(PATIENCE).expect("metrics are posted")
    }

    /// Adds up what is posted until it is enough.
    pub fn add_until(&self, totals: &mut Totals, enough: impl Fn(&Totals) -> bool) {
        while !enough(totals) {
            let Ok(post) = self.posts.recv_timeout(PATIENCE) else {
                panic!("not enough arrived: {totals:?}");
            };
            totals.add_json(&post.body);
        }
    }

    pub fn totals_until(&self, enough: impl Fn(&Totals) -> bool) -> Totals {
        let mut totals = Totals::default();
        self.add_until(&mut totals, enough);
        totals
    }
}

fn serve(stream: TcpStream, answer: &Mutex<Answer>, posts: &Sender<Post>) {
    let mut reader = BufReader::new(stream);
    while let Some(post) = read_post(&mut reader) {
        let answer = *answer.lock().unwrap();
        let _ = posts.send(post);
        match answer {
            Answer::Status(status) => reader.get_mut().write_all((head(status) + "ok").as_bytes()).unwrap(),
            Answer::Head(status) => {
                reader.get_mut().write_all(head(status).as_bytes()).unwrap();
                drop(reader.read(&mut [0]));
            }
            Answer::Close => return,
            Answer::Never => drop(reader.read(&mut [0])),
        }
    }
}

fn head(status: u16) -> String {
    format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\n")
}

fn read_post(reader: &mut BufReader<TcpStream>) -> Option<Post> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let mut headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        headers
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let path = lines[0].split(' ').nth(1)?.to_owned();
    Some(Post {
        path,
        authorization: header("authorization"),
        body: serde_json::from_slice(&body).ok()?,
    })
}

/// Metrics added up over several posts or packets.
#[derive(Debug, Default)]
pub struct Totals {
    pub counters: BTreeMap<String, u64>,
    pub gauges: BTreeMap<String, f64>,
    pub timers: BTreeMap<String, Vec<f64>>,
}

impl Totals {
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }

    pub fn add_json(&mut self, body: &Value) {
        let group = |name: &str| body[name].as_object().cloned().unwrap_or_default();
        for (name, count) in group("counters") {
            *self.counters.entry(name).or_default() += whole(count.as_f64().unwrap());
        }
        for (name, value) in group("gauges") {
            self.gauges.insert(name, value.as_f64().unwrap());
        }
        for (name, sample) in group("timers") {
            let sample = sample.as_array().unwrap().iter().map(|took| took.as_f64().unwrap());
            self.timers.entry(name).or_default().extend(sample);
        }
    }

    /// Every line must be plain: `name:value|type` and no more.
    pub fn add_lines(&mut self, lines: &str) {
        assert!(lines.ends_with('\n'), "torn: {lines:?}");
        for line in lines.lines() {
            let (name, rest) = line.split_once(':').expect(line);
            let (value, kind) = rest.split_once('|').expect(line);
            assert!(
                name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
                "{line}"
            );
            let value: f64 = value.parse().expect(line);
            match kind {
                "c" => *self.counters.entry(name.to_owned()).or_default() += whole(value),
                "g" => drop(self.gauges.insert(name.to_owned(), value)),
                "ms" => self.timers.entry(name.to_owned()).or_default().push(value),
                _ => panic!("not a plain statsd line: {line}"),
            }
        }
    }
}

/// The real bridge adds counters up as floats.
fn whole(count: f64) -> u64 {
    assert!(count >= 0.0 && count.fract() == 0.0, "{count} is no count");
    format!("{count:.0}").parse().unwrap()
}

/// Takes statsd datagrams.
pub struct UdpReceiver(UdpSocket);

impl UdpReceiver {
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Whether nothing has come so far.
    pub fn is_empty(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let nothing = self.0.peek(&mut [0]).is_err();
        self.0.set_nonblocking(false).unwrap();
        nothing
    }

    pub fn next(&self) -> String {
        let mut datagram = vec![0; 65_536];
        let length = self.0.recv(&mut datagram).expect("a datagram comes");
        datagram.truncate(length);
        String::from_utf8(datagram).unwrap()
    }
}

/// Takes statsd connections.
pub struct TcpReceiver(TcpListener);

impl TcpReceiver {
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        Self(listener)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn accept(&self) -> BufReader<TcpStream> {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        BufReader::new(stream)
    }
}
