//! `/metrics`, as a real Prometheus and its own judge of the format read it, and who may read it at all.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use heare_auth::telemetry::metrics::Metrics;
use serde_json::Value;

use crate::support::{
    bridge::UdpReceiver,
    http_client::{self, Response},
    ports::free_port,
    service::{Service, Settings, eventually},
};

const DOCUMENT: &str = r#"{"keys":[{"id":"key_a","secret":"sec_a","name":"A"}]}"#;

fn settings() -> Settings {
    let settings = Settings::file_store().with("DATABASE_URL", "off");
    settings.write_document(DOCUMENT);
    settings
}

/// Starts it and counts something of most kinds.
fn driven(settings: &Settings) -> Service {
    let service = settings.start_ready();
    (0..5).for_each(|_| drop(service.verify("sec_a")));
    (0..3).for_each(|_| drop(service.verify("sec_no")));
    assert_eq!(service.post("/verify", b"[]").status, 422);
    assert_eq!(service.refresh().0, 200);
    service
}

fn scraped(service: &Service) -> Response {
    let answer = service.get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    let value = line.unwrap_or_else(|| panic!("{name} is not in {text}"));
    value.parse().expect("a number")
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let service = driven(&settings());
    let answer = scraped(&service);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scripts/setup has installed promtool");
    promtool.stdin.take().unwrap().write_all(&answer.body).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.is_empty(), "{words}\n{}", answer.text());
}

#[test]
fn the_counts_are_the_requests_whether_a_bridge_takes_them_too_or_not() {
    let receiver = UdpReceiver::start();
    let with_bridge = settings()
        .with("PROTOCOL", "udp")
        .with("DEST_HOST", receiver.address().ip().to_string())
        .with("DEST_PORT", receiver.address().port().to_string());
    for settings in [settings(), with_bridge] {
        let is_sent = settings.get("PROTOCOL").is_some();
        let service = driven(&settings);
        if is_sent {
            // What the bridge has been told is taken out of the atomics.
            while !receiver.next().contains("heare-auth.refresh.success:1|c") {}
        }
        let text = scraped(&service).text();
        for (name, expected) in [
            ("heare_auth_verify_requests_total", 9.0),
            ("heare_auth_verify_success_total", 5.0),
            ("heare_auth_verify_failed_total", 3.0),
            ("heare_auth_verify_malformed_total", 1.0),
            ("heare_auth_verify_duration_seconds_count", 8.0),
            ("heare_auth_verify_duration_seconds_bucket{le=\"+Inf\"}", 8.0),
            ("heare_auth_refresh_success_total", 1.0),
            ("heare_auth_keys", 1.0),
        ] {
            assert!((value(&text, name) - expected).abs() < 1e-9, "{name}: {text}");
        }
        assert!(value(&text, "heare_auth_verify_duration_seconds_sum") > 0.0);
        assert!(value(&text, "process_resident_memory_bytes") > 1e6);
        assert!(value(&text, "process_open_fds") > 3.0);
    }
}

#[test]
fn every_metric_of_the_bridge_is_there_but_gauges_that_nobody_has_set() {
    let service = driven(&settings());
    let text = scraped(&service).text();
    let unset = [
        "heare_auth_ratelimit_degraded",
        "heare_auth_usage_pending",
        "heare_auth_tls_certificate_seconds_left",
    ];
    for name in Metrics::names().into_iter().filter_map(Metrics::name_in_text) {
        let is_there = text.contains(&format!("# TYPE {name} "));
        assert_eq!(is_there, !unset.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn on_the_public_port_only_this_host_reads_the_metrics() {
    let service = driven(&settings());
    for header in ["X-Forwarded-For", "Via", "Origin"] {
        let asked = service.connect().request("GET", "/metrics", &[(header, "x")], b"");
        let answer = asked.unwrap();
        assert_eq!(answer.status, 403);
        assert!(!answer.text().contains("heare_auth"), "{}", answer.text());
    }
    for reason in ["forwarded", "origin"] {
        service.wait_for_event("metrics_rejected", |line| line["reason"] == reason);
    }
    assert_eq!(service.post("/metrics", b"").status, 405);
}

#[test]
fn an_admin_port_has_the_metrics_for_whoever_reaches_it_and_the_public_one_has_none() {
    let service = driven(&settings().with("ADMIN_LISTEN", "127.0.0.1:0"));
    assert_eq!(service.get("/metrics").status, 404);
    let mut admin = http_client::Connection::open(service.admin_address());
    let forwarded = [("X-Forwarded-For", "10.0.0.9"), ("Host", "metrics.example")];
    let answer = admin.request("GET", "/metrics", &forwarded, b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("heare_auth_verify_success_total 5\n"));
}

/// A real Prometheus; killed when dropped.
struct Prometheus {
    address: SocketAddr,
    process: Child,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(target: SocketAddr) -> Self {
        // Another process may take the free port first, so a few ports are tried.
        (0..10)
            .find_map(|_| Self::try_start(target))
            .expect("Prometheus starts")
    }

    fn try_start(target: SocketAddr) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let file = directory.path().join("prometheus.yml");
        let configuration = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs: [{{job_name: keys, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&file, configuration).expect("the configuration is written");
        let mut process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/setup has installed Prometheus");
        let mut ended = false;
        eventually("Prometheus listens or gives up", || {
            ended = process.try_wait().expect("a child can be asked").is_some();
            ended || std::net::TcpStream::connect(address).is_ok()
        });
        (!ended).then_some(Self {
            address,
            process,
            _directory: directory,
        })
    }

    fn query(&self, query: &str) -> Option<Value> {
        let mut connection = http_client::Connection::try_open(self.address).ok()?;
        let answer = connection.get(&format!("/api/v1/query?query={query}")).ok()?;
        Some(answer)
            .filter(|answer| answer.status == 200)
            .map(|answer| answer.json())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_real_prometheus_scrapes_the_counts() {
    let service = driven(&settings());
    let prometheus = Prometheus::scraping(service.address());
    let has = |query: &str, expected: &str| {
        let answer = prometheus.query(query).unwrap_or_default();
        answer["data"]["result"][0]["value"][1] == expected
    };
    eventually("Prometheus has the count", || {
        has("heare_auth_verify_success_total", "5")
    });
    eventually("Prometheus has the histogram", || {
        has(
            "histogram_quantile(0.99,heare_auth_verify_duration_seconds_bucket)%3E=bool%200",
            "1",
        )
    });
    assert!(has("up", "1"));
}
