//! Metrics from the running service to the real stats bridge, to receivers of our own, and to nobody.

use crate::support::{
    bridge::{Answer, HttpReceiver, StatsServer, TcpReceiver, Totals, UdpReceiver},
    flood::{Statuses, flood, verify_request},
    ports::RefusingPort,
    service::{Service, Settings},
};
use serde_json::Value;
use std::{collections::BTreeSet, io::BufRead, net::SocketAddr};

const DOCUMENT: &str =
    r#"{"keys":[{"id":"key_a","secret":"sec_a","name":"A"},{"id":"key_b","secret":"sec_b","name":"B"}]}"#;

/// What `drive` does, as the contract counts it.
const COUNTED: [(&str, u64); 15] = [
    ("verify.requests", 17),
    ("verify.success", 7),
    ("verify.failed", 6),
    ("verify.malformed", 4),
    ("verify.duration_count", 13),
    ("refresh.duration_count", 3),
    ("refresh.requests", 6),
    ("refresh.success", 2),
    ("refresh.failed", 1),
    ("refresh.rejected", 3),
    ("health.requests", 5),
    ("http.status.4xx", 3),
    ("startup.success", 1),
    ("poll.changed", 1),
    ("shutdown", 1),
];
/// Counted as often as it happens.
const COUNTED_TOO: [&str; 9] = [
    "http.requests",
    "http.status.2xx",
    "http.status.5xx",
    "http.duration_count",
    "http.duration_sum_us",
    "poll.unchanged",
    "poll.failed",
    "verify.duration_sum_us",
    "refresh.duration_sum_us",
];
const GAUGES: [&str; 3] = ["keys.count", "document.age_seconds", "connections.open"];
const TIMERS: [&str; 7] = [
    "http.duration",
    "http.duration_max",
    "verify.duration",
    "verify.duration_max",
    "refresh.duration",
    "refresh.duration_max",
    "startup.duration",
];

fn sending(protocol: &str, address: SocketAddr) -> Settings {
    let settings = Settings::file_store()
        .with("PROTOCOL", protocol)
        // How often it writes depends on the machine; the metrics of use have tests of their own.
        .with("DATABASE_URL", "off")
        .with("DEST_HOST", address.ip().to_string())
        .with("DEST_PORT", address.port().to_string());
    settings.write_document(DOCUMENT);
    settings
}

/// Starts it and does one thing of every sort.
fn drive(settings: &Settings) -> Service {
    let service = settings.clone().with("POLL_INTERVAL", "50ms").start_ready();
    for (secret, times) in [("sec_a", 5), ("sec_b", 2), ("sec_no", 4), ("", 2)] {
        (0..times).for_each(|_| drop(service.verify(secret)));
    }
    for body in [&b"not json"[..], b"{}", b"[]", "x".repeat(70_000).as_bytes()] {
        assert!(service.post("/verify", body).status >= 413);
    }
    (0..5).for_each(|_| drop(service.health()));
    assert_eq!((service.refresh().0, service.refresh().0), (200, 200));
    for header in ["Via", "Origin", "X-Real-IP"] {
        let answer = service.connect().request("POST", "/refresh", &[(header, "x")], b"");
        assert_eq!(answer.unwrap().status, 403);
    }
    settings.write_document("<html>");
    service.wait_for_event("load_failed", |_| true);
    assert_eq!(service.refresh().0, 502);
    settings.write_document(r#"{"keys":[]}"#);
    service.wait_for_event("keys_loaded", |line| line["keys_loaded"] == 0);
    service
}

/// Every name is there and no other, and the counts are those of `drive`. `receive` adds what comes next.
fn assert_everything_arrives(settings: &Settings, prefix: &str, mut receive: impl FnMut(&mut Totals)) {
    let service = drive(settings);
    let mut totals = Totals::default();
    // These two are about time that has passed.
    let (unchanged, age) = (
        format!("{prefix}.poll.unchanged"),
        format!("{prefix}.document.age_seconds"),
    );
    while totals.counter(&unchanged) == 0 || !totals.gauges.contains_key(&age) {
        receive(&mut totals);
    }
    assert_eq!(service.stop().code(), Some(0));
    while COUNTED
        .iter()
        .any(|(name, _)| totals.counter(&format!("{prefix}.{name}")) == 0)
    {
        receive(&mut totals);
    }
    assert_is_everything(&totals, prefix);
}

fn assert_is_everything(totals: &Totals, prefix: &str) {
    let named = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| format!("{prefix}.{name}")).collect() };
    for (name, expected) in COUNTED {
        assert_eq!(
            totals.counter(&format!("{prefix}.{name}")),
            expected,
            "{name}: {totals:?}"
        );
    }
    let counters: Vec<&str> = COUNTED.iter().map(|(name, _)| *name).chain(COUNTED_TOO).collect();
    assert_eq!(
        totals.counters.keys().cloned().collect::<BTreeSet<_>>(),
        named(&counters)
    );
    assert_eq!(totals.gauges.keys().cloned().collect::<BTreeSet<_>>(), named(&GAUGES));
    assert_eq!(totals.timers.keys().cloned().collect::<BTreeSet<_>>(), named(&TIMERS));
    let durations = |name: &str| &totals.timers[&format!("{prefix}.{name}")];
    assert_eq!(
        (durations("verify.duration").len(), durations("refresh.duration").len()),
        (13, 3)
    );
    assert!(totals.timers.values().flatten().all(|took| *took > 0.0), "{totals:?}");
    assert_eq!(totals.gauges[&format!("{prefix}.keys.count")].to_string(), "0");
}

#[test]
fn the_real_bridge_gets_every_metric_by_udp_and_by_tcp_and_its_counts_are_the_requests() {
    // The Python service took the protocol in any case.
    for protocol in ["udp", "TCP"] {
        let receiver = HttpReceiver::start(Answer::Status(200));
        let bridge = StatsServer::forwarding_to(&receiver);
        let settings = sending(protocol, bridge.address);
        assert_everything_arrives(&settings, "heare-auth", |totals| totals.add_json(&receiver.next().body));
    }
}

#[test]
fn a_plain_statsd_receiver_gets_every_metric_by_udp_under_the_configured_prefix() {
    let receiver = UdpReceiver::start();
    let settings = sending("UDP", receiver.address()).with("PREFIX", "acme.auth");
    assert_everything_arrives(&settings, "acme.auth", |totals| totals.add_lines(&receiver.next()));
}

#[test]
fn a_plain_statsd_receiver_gets_every_metric_by_tcp_on_one_connection() {
    let receiver = TcpReceiver::start();
    let mut connection = None;
    let settings = sending("tcp", receiver.address());
    assert_everything_arrives(&settings, "heare-auth", |totals| {
        let mut line = String::new();
        let connection = connection.get_or_insert_with(|| receiver.accept());
        connection.read_line(&mut line).unwrap();
        totals.add_lines(&line);
    });
}

#[test]
fn an_http_bridge_gets_every_metric_as_json_with_the_secret_as_user() {
    let receiver = HttpReceiver::start(Answer::Status(200));
    let settings = sending("HTTP", receiver.address).with("SECRET", "s3cret");
    assert_everything_arrives(&settings, "heare-auth", |totals| {
        let post = receiver.next();
        assert_eq!(post.path, "/http");
        assert_eq!(post.authorization.as_deref(), Some("Basic czNjcmV0Og=="));
        assert_is_the_bridges_json(&post.body);
        totals.add_json(&post.body);
    });
}

/// Groups by kind, none of them empty: counts, numbers, lists of milliseconds.
fn assert_is_the_bridges_json(body: &Value) {
    for (group, metrics) in body.as_object().unwrap() {
        let is_right: fn(&Value) -> bool = match group.as_str() {
            "counters" => Value::is_u64,
            "gauges" => Value::is_number,
            "timers" => |sample| sample.as_array().is_some_and(|all| all.iter().all(Value::is_number)),
            _ => panic!("no such group: {body}"),
        };
        let metrics = metrics.as_object().unwrap();
        assert!(!metrics.is_empty() && metrics.values().all(is_right), "{group}: {body}");
    }
}

const REQUESTS: usize = 2_000;

/// Every request is answered and the memory stays where it was.
fn assert_undisturbed(service: &Service) {
    let before = service.resident_kib();
    let statuses = flood(service, 4, REQUESTS, |number| {
        verify_request(["sec_a", "sec_no"][number % 2], &[])
    });
    assert_eq!(statuses, Statuses::from([(200, REQUESTS / 2), (403, REQUESTS / 2)]));
    let grown = service.peak_resident_kib().saturating_sub(before);
    assert!(grown < 20 << 10, "{grown} KiB");
}

fn requests_counted(totals: &Totals) -> u64 {
    totals.counter("heare-auth.verify.requests")
}

#[test]
fn what_was_counted_while_the_bridge_refused_arrives_once_it_listens() {
    let port = RefusingPort::bind();
    let service = sending("tcp", port.address()).start_ready();
    service.wait_for_event("bridge_failed", |line| line["error"] == "unreachable");
    assert_undisturbed(&service);

    let receiver = TcpReceiver::on(port.listen());
    service.wait_for_event("bridge_recovered", |_| true);
    assert_eq!(service.stop().code(), Some(0));
    let mut totals = Totals::default();
    for line in receiver.accept().lines() {
        totals.add_lines(&(line.unwrap() + "\n"));
    }
    assert_eq!(requests_counted(&totals), REQUESTS as u64);
    // Durations do not wait, unless it listened before the second was over.
    let dropped = totals.counter("heare-auth.metrics.dropped") > 0;
    let arrived = totals.timers.contains_key("heare-auth.verify.duration");
    assert!(dropped || arrived, "{totals:?}");
}

#[test]
fn a_bridge_that_swallows_everything_costs_counted_metrics_and_nothing_else() {
    let receiver = HttpReceiver::start(Answer::Never);
    let service = sending("http", receiver.address).start_ready();
    receiver.next();
    assert_undisturbed(&service);
    service.wait_for_event("bridge_failed", |line| line["error"] == "stalled");

    receiver.answer(Answer::Status(200));
    let dropped = |totals: &Totals| totals.counter("heare-auth.metrics.dropped") > 0;
    let totals = receiver.totals_until(|totals| dropped(totals) && requests_counted(totals) > 0);
    // What was posted and never confirmed is not posted again.
    assert_eq!(requests_counted(&totals), REQUESTS as u64);
    service.wait_for_event("bridge_recovered", |_| true);
}

#[test]
fn a_bridge_that_accepts_and_never_reads_costs_nothing() {
    for protocol in ["tcp", "http"] {
        // The system completes the connections, and nobody ever takes them.
        let swallowing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let service = sending(protocol, swallowing.local_addr().unwrap()).start_ready();
        assert_undisturbed(&service);
        assert_eq!(service.stop().code(), Some(0), "{protocol}");
    }
}

#[test]
fn without_a_protocol_no_metrics_are_sent() {
    let receiver = UdpReceiver::start();
    let service = sending("udp", receiver.address()).without("PROTOCOL").start_ready();
    assert_eq!(service.stop().code(), Some(0));
    assert!(receiver.is_empty());
}
