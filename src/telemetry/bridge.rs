//! Sends the second's metrics to the stats bridge by udp or tcp statsd, or by http.
//!
//! All of it, names being looked up included, happens on one thread of its own: a bridge that is down, slow or
//! swallows everything delays nothing but itself. Meanwhile the atomics go on adding up, so memory stays bounded.

mod http;
mod statsd;

use std::{io, net::SocketAddr, thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::{MissedTickBehavior, interval, timeout},
};

use self::{
    http::Http,
    statsd::{Tcp, Udp},
};
use super::{Telemetry, metrics::Interval};
use crate::config::{BridgeConfig, Protocol};

/// How often differences are sent.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a name may be looked up, a connection made, and one second's lines written.
const PATIENCE: Duration = Duration::from_secs(2);

/// The running sender.
pub struct Bridge {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Bridge {
    pub fn start(config: BridgeConfig, telemetry: Telemetry) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopping) = oneshot::channel();
        let (report_stopped, stopped) = oneshot::channel();
        let sender = Sender::new(config, telemetry);
        thread::Builder::new().name("bridge".into()).spawn(move || {
            run(runtime, sender, stopping);
            // Nobody listens any more when the stop took too long.
            let _ = report_stopped.send(());
        })?;
        Ok(Self { stop, stopped })
    }

    /// Sends the last differences and waits for that, but not longer than this. Tells whether it was done; the
    /// thread is left to itself otherwise.
    pub async fn stop(self, within: Duration) -> bool {
        // The thread only ends after this message, or by a panic, which the wait below notices.
        let _ = self.stop.send(());
        matches!(timeout(within, self.stopped).await, Ok(Ok(())))
    }
}

fn run(runtime: Runtime, mut sender: Sender, mut stopping: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                _ = tick.tick() => false,
                _ = &mut stopping => true,
            };
            sender.send_differences().await;
            if last {
                break;
            }
        }
    });
    // A look-up of a name that hangs must not be waited for.
    runtime.shutdown_background();
}

/// What became of one second's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything went out.
    Sent,
    /// Some lines went out, and so many did not.
    Partly { lost: u64, trouble: &'static str },
    /// Nothing went out for certain: the counters can be sent later.
    NotTaken(&'static str),
    /// Some of it may have arrived. Sending the counters again could count them twice, so they are given up.
    Unknown(&'static str),
}

enum Route {
    Udp(Udp),
    Tcp(Tcp),
    Http(Box<Http>),
}

impl Route {
    async fn send(&mut self, interval: &Interval) -> Outcome {
        match self {
            Self::Udp(udp) => udp.send(interval).await,
            Self::Tcp(tcp) => tcp.send(interval).await,
            Self::Http(http) => http.send(interval).await,
        }
    }
}

struct Sender {
    route: Route,
    telemetry: Telemetry,
    /// What could not be sent yet: counters only, so it does not grow.
    pending: Interval,
    failing: bool,
}

impl Sender {
    fn new(config: BridgeConfig, telemetry: Telemetry) -> Self {
        let route = match config.protocol {
            Protocol::Udp => Route::Udp(Udp::new(config)),
            Protocol::Tcp => Route::Tcp(Tcp::new(config)),
            Protocol::Http => Route::Http(Box::new(Http::new(config))),
        };
        Self {
            route,
            telemetry,
            pending: Interval::default(),
            failing: false,
        }
    }

    async fn send_differences(&mut self) {
        let metrics = &self.telemetry.metrics;
        metrics.log_dropped_so_far(self.telemetry.log.dropped());
        self.pending.add(metrics.take());
        if self.pending.is_empty() {
            return;
        }
        let trouble = match self.route.send(&self.pending).await {
            Outcome::Sent => {
                self.pending = Interval::default();
                None
            }
            Outcome::Partly { lost, trouble } => {
                metrics.metrics_dropped(lost);
                self.pending = Interval::default();
                Some(trouble)
            }
            Outcome::NotTaken(trouble) => {
                metrics.metrics_dropped(self.pending.keep_counters());
                Some(trouble)
            }
            Outcome::Unknown(trouble) => {
                metrics.metrics_dropped(self.pending.give_up());
                Some(trouble)
            }
        };
        self.log_change(trouble);
    }

    /// A bridge that is down for a day makes two lines, not 86 400.
    fn log_change(&mut self, trouble: Option<&'static str>) {
        match (self.failing, trouble) {
            (false, Some(error)) => tracing::warn!(event = "bridge_failed", error, "metrics do not reach the bridge"),
            (true, None) => tracing::info!(event = "bridge_recovered", "metrics reach the bridge again"),
            (false, None) | (true, Some(_)) => {}
        }
        self.failing = trouble.is_some();
    }
}

/// A name with the configured prefix; a dot at the end of the prefix is not doubled.
fn full_name(prefix: &str, name: &str) -> String {
    match prefix.trim_end_matches('.') {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    }
}

/// Looked up anew for each connection, so that a bridge that has moved is found. IPv4 comes first: the bridge in use
/// listens there, and by udp one does not notice at once that nobody does.
async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(timeout(PATIENCE, tokio::net::lookup_host((host, port)))
        .await??
        .collect())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, UdpSocket},
        sync::Arc,
    };

    use super::*;
    use crate::{
        config::LogLevel,
        telemetry::{
            log::{self, LogQueue},
            metrics::Metrics,
        },
    };

    fn config(protocol: Protocol, port: u16) -> BridgeConfig {
        BridgeConfig {
            protocol,
            host: "127.0.0.1".into(),
            port,
            secret: None,
            prefix: "heare-auth".into(),
        }
    }

    #[test]
    fn the_prefix_is_joined_by_one_dot() {
        for (prefix, expected) in [("heare-auth", "heare-auth.x"), ("a.b.", "a.b.x"), ("", "x"), (".", "x")] {
            assert_eq!(full_name(prefix, "x"), expected);
        }
    }

    #[test]
    fn a_failure_and_its_end_are_one_line_each() {
        let (mut read, write) = io::pipe().unwrap();
        let log = LogQueue::start(write, 1 << 20).unwrap();
        let telemetry = Telemetry {
            metrics: Arc::new(Metrics::default()),
            log: log.clone(),
        };
        telemetry.metrics.keys_count(5);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let good = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sender = Sender::new(config(Protocol::Tcp, nobody.port()), telemetry);
        tracing::subscriber::with_default(log::subscriber(LogLevel::Info, log), || {
            Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async {
                    sender.send_differences().await;
                    sender.send_differences().await;
                    sender.route = Route::Udp(Udp::new(config(Protocol::Udp, good.local_addr().unwrap().port())));
                    sender.send_differences().await;
                    sender.send_differences().await;
                });
        });
        drop(sender);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<_> = lines
            .iter()
            .map(|line| (line["event"].as_str(), line["error"].as_str()))
            .collect();
        assert_eq!(
            events,
            [
                (Some("bridge_failed"), Some("unreachable")),
                (Some("bridge_recovered"), None)
            ]
        );
    }
}
