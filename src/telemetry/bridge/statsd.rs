//! Plain statsd lines, packed several to a datagram: made by the metrics recorder, sent by udp or tcp. There are no
//! tags and no sample rates, as the bridge in use drops lines that have them.

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cadence::MetricSink;
use metrics_exporter_statsd::{StatsdBuilder, StatsdRecorder};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{Interval, Outcome, PATIENCE, full_name, look_up};
use crate::config::BridgeConfig;

/// Fits the smallest MTU there is on the usual roads, its headers included.
const DATAGRAM: usize = 1400;

/// The longest pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How often the name of a bridge is looked up while datagrams go out: nothing else tells that it has moved.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

pub struct Udp {
    lines: Lines,
    host: String,
    port: u16,
    socket: Option<UdpSocket>,
    look_up_at: Instant,
    /// Which of the name's addresses is used; the next one after each refusal.
    turn: usize,
    /// How many lines the datagram before had, as an error is about that one.
    before: u64,
}

impl Udp {
    pub fn new(config: BridgeConfig) -> Self {
        let lines = Lines::new(&config.prefix);
        Self {
            lines,
            host: config.host,
            port: config.port,
            socket: None,
            look_up_at: Instant::now(),
            turn: 0,
            before: 0,
        }
    }

    pub async fn send(&mut self, interval: &Interval) -> Outcome {
        if self.socket.is_none() {
            if self.open().await.is_err() {
                return Outcome::NotTaken("unreachable");
            }
        } else if Instant::now() >= self.look_up_at {
            // Where it is not known better, it is where it was.
            let _ = self.follow().await;
        }
        let mut lost = 0;
        let mut reopened = false;
        for packet in self.lines.packets(interval) {
            if self.sent(&packet).await {
                continue;
            }
            lost += mem::take(&mut self.before);
            if !mem::replace(&mut reopened, true) {
                self.turn += 1;
                self.socket = None;
                // Without a socket the packet is not sent below, and the next second tries again.
                let _ = self.open().await;
            }
            if !self.sent(&packet).await {
                lost += line_count(&packet);
            }
        }
        if lost > 0 {
            Outcome::Partly {
                lost,
                trouble: "refused",
            }
        } else {
            Outcome::Sent
        }
    }

    async fn open(&mut self) -> io::Result<()> {
        let addresses = self.addresses().await?;
        self.connect(&addresses).await
    }

    /// Goes to another address when the name has left the present one.
    async fn follow(&mut self) -> io::Result<()> {
        let present = self.socket.as_ref().and_then(|socket| socket.peer_addr().ok());
        if self.host.parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        let addresses = self.addresses().await?;
        if present.is_some_and(|present| addresses.contains(&present)) {
            return Ok(());
        }
        self.connect(&addresses).await?;
        self.before = 0;
        Ok(())
    }

    async fn addresses(&mut self) -> io::Result<Vec<SocketAddr>> {
        self.look_up_at = Instant::now() + LOOK_UP_EVERY;
        look_up(&self.host, self.port).await
    }

    async fn connect(&mut self, addresses: &[SocketAddr]) -> io::Result<()> {
        let chosen = addresses
            .get(self.turn % addresses.len().max(1))
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.socket = Some(connect_udp(*chosen).await?);
        Ok(())
    }

    async fn sent(&mut self, packet: &[u8]) -> bool {
        let Some(socket) = &self.socket else { return false };
        let sent = matches!(timeout(PATIENCE, socket.send(packet)).await, Ok(Ok(_)));
        if sent {
            self.before = line_count(packet);
        }
        sent
    }
}

fn line_count(packet: &[u8]) -> u64 {
    packet.split_inclusive(|&byte| byte == b'\n').count() as u64
}

async fn connect_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

pub struct Tcp {
    lines: Lines,
    host: String,
    port: u16,
    stream: Option<TcpStream>,
    pause: Duration,
    not_before: Instant,
}

impl Tcp {
    pub fn new(config: BridgeConfig) -> Self {
        Self {
            lines: Lines::new(&config.prefix),
            host: config.host,
            port: config.port,
            stream: None,
            pause: Duration::ZERO,
            not_before: Instant::now(),
        }
    }

    pub async fn send(&mut self, interval: &Interval) -> Outcome {
        let Some(mut stream) = self.connected().await else {
            return Outcome::NotTaken("unreachable");
        };
        let packet = self.lines.packets(interval).concat();
        match timeout(PATIENCE, stream.write_all(&packet)).await {
            Ok(Ok(())) => {
                self.stream = Some(stream);
                Outcome::Sent
            }
            Ok(Err(_)) => Outcome::Unknown("connection lost"),
            Err(_) => Outcome::Unknown("stalled"),
        }
    }

    /// The connection, made again if the bridge has closed it, but not too often.
    async fn connected(&mut self) -> Option<TcpStream> {
        if let Some(stream) = self.stream.take().filter(still_open) {
            return Some(stream);
        }
        if Instant::now() < self.not_before {
            return None;
        }
        if let Ok(Ok(stream)) = timeout(PATIENCE, connect_tcp(&self.host, self.port)).await {
            self.pause = Duration::ZERO;
            return Some(stream);
        }
        self.not_before = Instant::now() + self.pause;
        self.pause = (self.pause * 2).clamp(Duration::from_secs(1), MAX_PAUSE);
        None
    }
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = look_up(host, port).await?;
    TcpStream::connect(&addresses[..]).await
}

/// A statsd bridge sends nothing, so anything to read is the end. The first write after it would vanish unnoticed.
fn still_open(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0; 64]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Turns an interval into lines.
struct Lines {
    recorder: StatsdRecorder,
    packer: Packer,
    prefix: String,
}

impl Lines {
    fn new(prefix: &str) -> Self {
        let packer = Packer::default();
        let recorder = StatsdBuilder::from("", 0)
            .with_sink(packer.clone())
            .build(Some(prefix))
            .expect("host and port are checked only without a sink");
        Self {
            recorder,
            packer,
            prefix: prefix.to_owned(),
        }
    }

    fn packets(&self, interval: &Interval) -> Vec<Vec<u8>> {
        metrics::with_local_recorder(&self.recorder, || {
            for (&name, &count) in &interval.counters {
                metrics::counter!(name).increment(count);
            }
            for (&name, &value) in &interval.gauges {
                metrics::gauge!(name).set(value);
            }
        });
        for (name, sample) in &interval.timers {
            let name = full_name(&self.prefix, name);
            for took in sample {
                // The recorder knows whole milliseconds only, and a verify takes hundredths of one.
                self.packer
                    .push(&format!("{name}:{:.3}|ms", took.as_secs_f64() * 1000.0));
            }
        }
        self.packer.take()
    }
}

/// The recorder's sink: gathers lines, each with its newline, into packets that fit a datagram.
#[derive(Clone, Default)]
struct Packer(Arc<Mutex<Vec<Vec<u8>>>>);

impl Packer {
    fn push(&self, line: &str) {
        let mut packets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if packets
            .last()
            .is_none_or(|packet| packet.len() + line.len() >= DATAGRAM)
        {
            packets.push(Vec::with_capacity(DATAGRAM));
        }
        if let Some(packet) = packets.last_mut() {
            packet.extend_from_slice(line.as_bytes());
            packet.push(b'\n');
        }
    }

    fn take(&self) -> Vec<Vec<u8>> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MetricSink for Packer {
    fn emit(&self, line: &str) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use super::*;
    use crate::config::Protocol;

    /// Where `host` leads after a look-up that is due, for a sender that knew another address of this machine.
    async fn goes_from(before: SocketAddr, host: &str) -> SocketAddr {
        let mut udp = Udp::new(BridgeConfig {
            protocol: Protocol::Udp,
            host: host.to_owned(),
            port: before.port(),
            secret: None,
            prefix: String::new(),
        });
        udp.socket = Some(connect_udp(before).await.unwrap());
        let interval = Interval {
            counters: BTreeMap::from([("shutdown", 1)]),
            ..Interval::default()
        };
        udp.send(&interval).await;
        assert!(udp.look_up_at >= Instant::now() || host.parse::<IpAddr>().is_ok());
        udp.socket.unwrap().peer_addr().unwrap()
    }

    #[tokio::test]
    async fn a_name_that_has_moved_is_followed_and_one_that_is_not_found_is_where_it_was() {
        // Nobody refuses what is sent to the old address.
        let old = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).await.unwrap();
        let before = old.local_addr().unwrap();
        assert!(goes_from(before, "localhost").await != before);
        for stays in ["127.0.0.3", "no\0name"] {
            assert_eq!(goes_from(before, stays).await, before, "{stays}");
        }
        let here = look_up("localhost", before.port()).await.unwrap();
        for address in here {
            assert_eq!(goes_from(address, "localhost").await, address);
        }
    }

    #[test]
    fn an_interval_becomes_plain_lines_with_fractional_timers() {
        let interval = Interval {
            counters: BTreeMap::from([("verify.requests", 3000), ("shutdown", u64::from(u32::MAX) * 4)]),
            gauges: BTreeMap::from([("keys.count", 5.0), ("document.age_seconds", 0.25)]),
            timers: BTreeMap::from([(
                "verify.duration",
                vec![Duration::from_micros(21), Duration::from_millis(1500)],
            )]),
        };
        let packets = Lines::new("heare-auth").packets(&interval);
        assert_eq!(packets.len(), 1);
        insta::assert_snapshot!(std::str::from_utf8(&packets[0]).unwrap(), @"
        heare-auth.shutdown:17179869180|c
        heare-auth.verify.requests:3000|c
        heare-auth.document.age_seconds:0.25|g
        heare-auth.keys.count:5|g
        heare-auth.verify.duration:0.021|ms
        heare-auth.verify.duration:1500.000|ms
        ");
    }

    #[test]
    fn many_lines_fill_datagrams_of_whole_lines() {
        let sample = vec![Duration::from_micros(1234); 1000];
        let interval = Interval {
            timers: BTreeMap::from([("verify.duration", sample)]),
            ..Interval::default()
        };
        let packets = Lines::new("heare-auth").packets(&interval);
        assert_eq!(line_count(&packets.concat()), 1000);
        assert!(
            packets
                .iter()
                .all(|packet| packet.len() <= DATAGRAM && packet.ends_with(b"\n"))
        );
        assert!(packets.len() < 40, "{} datagrams", packets.len());
    }
}
