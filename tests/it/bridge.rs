//! Metrics reach the bridge, and a bad bridge reaches nothing else.

use std::{
    io::{BufRead, Read},
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use heare_auth::{
    config::{BridgeConfig, Protocol},
    core::secret::Secret,
    telemetry::{
        Telemetry,
        bridge::Bridge,
        log::{DEFAULT_CAPACITY, LogQueue},
        metrics::{Metrics, SAMPLE},
    },
};
use serde_json::json;

use crate::support::{
    bridge::{Answer, HttpReceiver, StatsServer, TcpReceiver, Totals, UdpReceiver},
    ports::free_port,
    service::eventually,
    tool,
};

/// Longer than anything a good bridge needs.
const ENOUGH: Duration = Duration::from_secs(30);

fn telemetry() -> Telemetry {
    let log = LogQueue::start(std::io::sink(), DEFAULT_CAPACITY).unwrap();
    Telemetry {
        metrics: Arc::new(Metrics::default()),
        log,
    }
}

fn config(protocol: Protocol, address: SocketAddr) -> BridgeConfig {
    BridgeConfig {
        protocol,
        // A name, and one that has an IPv6 address at which nobody listens.
        host: "localhost".to_owned(),
        port: address.port(),
        secret: Some(Secret::new("bridge-secret")),
        prefix: "heare-auth".to_owned(),
    }
}

fn start(protocol: Protocol, address: SocketAddr, telemetry: &Telemetry) -> Bridge {
    Bridge::start(config(protocol, address), telemetry.clone()).unwrap()
}

fn stop(bridge: Bridge, within: Duration) -> bool {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(bridge.stop(within))
}

/// One of everything, and many verifies.
fn count_a_busy_second(metrics: &Metrics) {
    (0..3000).for_each(|_| metrics.verify_success(Duration::from_micros(21)));
    (0..100).for_each(|_| metrics.verify_failed(Duration::from_micros(21)));
    (0..10).for_each(|_| metrics.verify_malformed());
    metrics.verify_unavailable();
    metrics.refresh_success(Duration::from_micros(1500));
    metrics.refresh_failed(Duration::from_micros(2500));
    metrics.refresh_rejected();
    (0..7).for_each(|_| metrics.health());
    metrics.startup_success(Duration::from_millis(40));
    metrics.poll_changed();
    metrics.poll_unchanged();
    metrics.poll_failed();
    metrics.connections_refused();
    metrics.keys_count(5);
    metrics.age(Duration::from_millis(1250));
    metrics.connections(2);
    metrics.shutdown();
}

fn assert_the_busy_second(totals: &Totals) {
    let counters = json!({
        "heare-auth.verify.requests": 3111, "heare-auth.verify.success": 3000, "heare-auth.verify.failed": 100,
        "heare-auth.verify.malformed": 10, "heare-auth.refresh.requests": 3, "heare-auth.refresh.success": 1,
        "heare-auth.refresh.failed": 1, "heare-auth.refresh.rejected": 1, "heare-auth.health.requests": 7,
        "heare-auth.startup.success": 1, "heare-auth.poll.changed": 1, "heare-auth.poll.unchanged": 1,
        "heare-auth.poll.failed": 1, "heare-auth.connections.refused": 1, "heare-auth.shutdown": 1,
        "heare-auth.verify.duration_count": 3100, "heare-auth.verify.duration_sum_us": 65100,
        "heare-auth.refresh.duration_count": 2, "heare-auth.refresh.duration_sum_us": 4000,
    });
    assert_eq!(serde_json::to_value(&totals.counters).unwrap(), counters);
    let gauges = json!({
        "heare-auth.keys.count": 5.0, "heare-auth.document.age_seconds": 1.25, "heare-auth.connections.open": 2.0,
    });
    assert_eq!(serde_json::to_value(&totals.gauges).unwrap(), gauges);
    let timers = json!({
        "heare-auth.verify.duration": vec![0.021; SAMPLE], "heare-auth.verify.duration_max": [0.021],
        "heare-auth.refresh.duration": [1.5, 2.5], "heare-auth.refresh.duration_max": [2.5],
        "heare-auth.startup.duration": [40.0],
    });
    assert_eq!(serde_json::to_value(&totals.timers).unwrap(), timers);
}

#[test]
fn the_real_bridge_counts_what_was_counted() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let receiver = HttpReceiver::start(Answer::Status(200));
        let server = StatsServer::forwarding_to(&receiver);
        let telemetry = telemetry();
        count_a_busy_second(&telemetry.metrics);
        let bridge = start(protocol, server.address, &telemetry);
        let all_is_there = |totals: &Totals| {
            totals.timers.values().map(Vec::len).sum::<usize>() == SAMPLE + 5
                && (totals.counters.len(), totals.gauges.len()) == (19, 3)
        };
        assert_the_busy_second(&receiver.totals_until(all_is_there));
        assert!(stop(bridge, ENOUGH));
    }
}

#[test]
fn counts_from_many_threads_over_several_seconds_all_reach_the_real_bridge() {
    for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Http] {
        let receiver = HttpReceiver::start(Answer::Status(200));
        let server = StatsServer::forwarding_to(&receiver);
        let telemetry = telemetry();
        let address = if protocol == Protocol::Http {
            receiver.address
        } else {
            server.address
        };
        let bridge = start(protocol, address, &telemetry);
        let mut totals = Totals::default();
        for round in 1..=3 {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        (0..1000).for_each(|_| telemetry.metrics.verify_success(Duration::from_micros(21)));
                    });
                }
            });
            receiver.add_until(&mut totals, |totals| {
                totals.counter("heare-auth.verify.success") >= round * 4000
            });
        }
        assert!(stop(bridge, ENOUGH));
        assert_eq!(totals.counter("heare-auth.verify.success"), 12_000);
        assert_eq!(totals.counter("heare-auth.metrics.dropped"), 0);
    }
}

#[test]
fn a_plain_udp_receiver_gets_few_datagrams_of_plain_lines() {
    let receiver = UdpReceiver::start();
    let telemetry = telemetry();
    count_a_busy_second(&telemetry.metrics);
    let bridge = start(Protocol::Udp, receiver.address(), &telemetry);
    let mut totals = Totals::default();
    for _ in 0..3 {
        let datagram = receiver.next();
        assert!(datagram.len() <= 1400);
        totals.add_lines(&datagram);
    }
    assert_the_busy_second(&totals);
    assert!(stop(bridge, ENOUGH));
}

#[test]
fn a_tcp_bridge_that_hangs_up_is_connected_to_again() {
    let receiver = TcpReceiver::start();
    let telemetry = telemetry();
    telemetry.metrics.health();
    let bridge = start(Protocol::Tcp, receiver.address(), &telemetry);
    let mut line = String::new();
    receiver.accept().read_line(&mut line).unwrap();
    assert_eq!(line, "heare-auth.health.requests:1|c\n");
    telemetry.metrics.health();
    telemetry.metrics.health();
    let mut second = receiver.accept();
    assert!(stop(bridge, ENOUGH));
    let mut rest = String::new();
    second.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "heare-auth.health.requests:2|c\n");
}

#[test]
fn an_http_post_is_what_the_real_client_posts() {
    let receiver = HttpReceiver::start(Answer::Status(200));
    let telemetry = telemetry();
    telemetry.metrics.startup_success(Duration::from_micros(1500));
    telemetry.metrics.keys_count(5);
    let bridge = start(Protocol::Http, receiver.address, &telemetry);
    let ours = receiver.next();
    assert!(stop(bridge, ENOUGH));

    let script = format!(
        "from heare.stats.client import HttpClient\n\
         with HttpClient('127.0.0.1', {}, 'bridge-secret', prefix='heare-auth').pipeline() as pipe:\n \
         pipe.incr('startup.success'); pipe.gauge('keys.count', 5)\n \
         pipe.time('startup.duration', 1.5)\n",
        receiver.address.port()
    );
    let status = Command::new(tool("venv/bin/python"))
        .args(["-c", &script])
        .status()
        .unwrap();
    assert!(status.success());
    // Our bridge's last post of gauges may come in between.
    let theirs = loop {
        let post = receiver.next();
        if post.body.get("counters").is_some() {
            break post;
        }
    };
    assert_eq!(
        (ours.path, ours.authorization, ours.body),
        (theirs.path, theirs.authorization, theirs.body)
    );
}

#[test]
fn a_refused_post_is_counted_in_the_next_one() {
    let receiver = HttpReceiver::start(Answer::Status(429));
    let telemetry = telemetry();
    (0..10).for_each(|_| telemetry.metrics.verify_success(Duration::from_micros(21)));
    let bridge = start(Protocol::Http, receiver.address, &telemetry);
    assert_eq!(receiver.next().body["counters"]["heare-auth.verify.success"], 10);
    receiver.answer(Answer::Status(200));
    (0..5).for_each(|_| telemetry.metrics.verify_success(Duration::from_micros(21)));
    let totals = receiver.totals_until(|totals| totals.counter("heare-auth.metrics.dropped") > 0);
    assert_eq!(totals.counter("heare-auth.verify.success"), 15);
    // Ten durations and their maximum went with the refused post.
    assert_eq!(totals.counter("heare-auth.metrics.dropped"), 11);
    assert!(stop(bridge, ENOUGH));
}

#[test]
fn counts_whose_fate_is_unknown_are_never_counted_twice_and_their_loss_is_counted() {
    // The last is what a proxy says when the bridge behind it took too long, and may have counted.
    for answer in [Answer::Close, Answer::Status(503), Answer::Status(504)] {
        let receiver = HttpReceiver::start(answer);
        let telemetry = telemetry();
        telemetry.metrics.health();
        telemetry.metrics.poll_failed();
        let bridge = start(Protocol::Http, receiver.address, &telemetry);
        assert_eq!(receiver.next().body["counters"]["heare-auth.health.requests"], 1);
        receiver.answer(Answer::Status(200));
        let totals = receiver.totals_until(|totals| totals.counter("heare-auth.metrics.dropped") > 0);
        assert_eq!(totals.counter("heare-auth.metrics.dropped"), 2, "{answer:?}");
        assert_eq!(totals.counter("heare-auth.health.requests"), 0, "{answer:?}");
        assert!(stop(bridge, ENOUGH));
    }
}

#[test]
fn an_answer_whose_body_never_comes_is_an_answer() {
    let receiver = HttpReceiver::start(Answer::Head(200));
    let telemetry = telemetry();
    telemetry.metrics.health();
    let bridge = start(Protocol::Http, receiver.address, &telemetry);
    assert_eq!(receiver.next().body["counters"]["heare-auth.health.requests"], 1);
    telemetry.metrics.poll_failed();
    let totals = receiver.totals_until(|totals| totals.counter("heare-auth.poll.failed") > 0);
    assert_eq!(totals.counter("heare-auth.metrics.dropped"), 0);
    assert_eq!(totals.counter("heare-auth.health.requests"), 0, "not twice");
    assert!(stop(bridge, ENOUGH));
}

#[test]
fn refused_datagrams_are_counted() {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let telemetry = telemetry();
    let mut dropped = 0;
    // A system that is busy says late that nobody is there, and of the last datagrams never.
    eventually("most of a busy second is counted", || {
        count_a_busy_second(&telemetry.metrics);
        let bridge = start(Protocol::Udp, nobody, &telemetry);
        assert!(stop(bridge, ENOUGH));
        dropped += telemetry.metrics.take().counters.get("metrics.dropped").unwrap_or(&0);
        dropped > 15
    });
}

#[test]
fn a_bridge_that_swallows_everything_does_not_hold_up_the_end() {
    let http = HttpReceiver::start(Answer::Never);
    let telemetry = telemetry();
    telemetry.metrics.health();
    let bridge = start(Protocol::Http, http.address, &telemetry);
    http.next();
    assert!(!stop(bridge, Duration::from_millis(10)));
}

#[test]
fn dropped_log_lines_are_a_metric() {
    let receiver = HttpReceiver::start(Answer::Status(200));
    let telemetry = Telemetry {
        log: LogQueue::start(std::io::sink(), 0).unwrap(),
        ..telemetry()
    };
    (0..3).for_each(|_| telemetry.log.append(b"{}\n"));
    let bridge = start(Protocol::Http, receiver.address, &telemetry);
    assert_eq!(receiver.next().body, json!({"counters": {"heare-auth.log.dropped": 3}}));
    assert!(stop(bridge, ENOUGH));
}
