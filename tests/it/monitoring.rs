//! What is in documentation/monitoring: the rules are judged by promtool, and every metric that a rule, a dashboard or the
//! guide names is one of ours.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use heare_auth::telemetry::metrics::Metrics;
use serde_json::Value;

const DASHBOARDS: [&str; 2] = ["grafana/prometheus.json", "grafana/graphite.json"];

/// What statsd adds to the name of a timer.
const OF_STATSD: [&str; 2] = [".median", ".upper_99"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("documentation/monitoring")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn promtool(directory: &Path, arguments: &[&str]) {
    let said = Command::new("promtool")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("scripts/setup has installed promtool");
    let words = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "promtool {arguments:?}: {words}");
}

/// Every word of these characters that begins so.
fn words_with<'a>(text: &'a str, beginning: &'a str, of: &'a str) -> impl Iterator<Item = &'a str> {
    let belongs = move |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || of.contains(c);
    text.match_indices(beginning).map(move |(at, _)| {
        let rest = &text[at..];
        let end = rest[beginning.len()..].find(|c| !belongs(c));
        rest[..end.map_or(rest.len(), |end| end + beginning.len())].trim_end_matches('.')
    })
}

fn names_of_prometheus() -> BTreeSet<String> {
    let names = Metrics::names().into_iter().filter_map(Metrics::name_in_text);
    let mut all: BTreeSet<String> = names.collect();
    let histograms: Vec<String> = all.iter().filter(|name| name.ends_with("_seconds")).cloned().collect();
    for name in histograms {
        all.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
    }
    all.insert("heare_auth_build_info".to_owned());
    all
}

fn panels(name: &str) -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read(name)).expect("a dashboard is JSON");
    dashboard["panels"].as_array().expect("panels").clone()
}

/// All that a dashboard asks Prometheus for.
fn queries() -> Vec<String> {
    let panels = panels(DASHBOARDS[0]);
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets
        .map(|target| target["expr"].as_str().expect("a query").to_owned())
        .collect()
}

#[test]
fn every_metric_that_monitoring_names_is_one() {
    let prometheus = names_of_prometheus();
    let bridge: BTreeSet<String> = Metrics::names()
        .into_iter()
        .map(|name| format!("heare-auth.{name}"))
        .collect();
    let files = [
        "README.md",
        "prometheus/alerts.yml",
        "prometheus/alerts.test.yml",
        DASHBOARDS[0],
        DASHBOARDS[1],
    ];
    for file in files {
        let text = read(file);
        for word in words_with(&text, "heare_auth_", "_") {
            assert!(prometheus.contains(word), "{file}: {word}");
        }
        // The log's file is called so, too.
        for word in words_with(&text, "heare-auth.", "_.").filter(|word| *word != "heare-auth.log") {
            let name = OF_STATSD.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
            assert!(bridge.contains(name), "{file}: {word}");
        }
    }
}

#[test]
fn both_dashboards_show_every_counter_and_gauge() {
    for (file, is_of_prometheus) in DASHBOARDS.into_iter().zip([true, false]) {
        let text = read(file);
        let shown: BTreeSet<&str> = words_with(&text, "heare_auth_", "_")
            .chain(words_with(&text, "heare-auth.", "_."))
            .collect();
        // These are sums of others or say the same for people who look at a process.
        let left_out = ["refresh.requests", "health.requests", "http.requests", "authz.requests"];
        for name in Metrics::names() {
            let Some(full) = Metrics::name_in_text(name) else {
                continue;
            };
            let is_number = !full.ends_with("_seconds") || name.ends_with("_seconds");
            let found = if is_of_prometheus {
                shown.contains(full.as_str())
            } else {
                shown.contains(format!("heare-auth.{name}").as_str())
            };
            assert!(
                found || !is_number || left_out.contains(&name),
                "{file} does not show {name}"
            );
        }
    }
}

#[test]
fn each_alert_fires_when_it_should_and_none_while_all_is_well() {
    let directory = folder().join("prometheus");
    promtool(&directory, &["check", "config", "prometheus.yml"]);
    promtool(&directory, &["check", "rules", "alerts.yml"]);
    promtool(&directory, &["test", "rules", "alerts.test.yml"]);
}

#[test]
fn each_alert_is_tried_and_in_the_guide_and_leads_to_a_document() {
    let (rules, tried, guide) = (
        read("prometheus/alerts.yml"),
        read("prometheus/alerts.test.yml"),
        read("README.md"),
    );
    let value = |name: &str| -> Vec<String> {
        let lines = rules
            .lines()
            .filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(name));
        lines.map(str::to_owned).collect()
    };
    let alerts = value("alert: ");
    assert!(alerts.len() > 15, "{alerts:?}");
    for alert in &alerts {
        assert!(
            tried.contains(&format!("name: {alert} fires\n")),
            "{alert} is not tried"
        );
        assert!(guide.contains(&format!("| `{alert}` |")), "{alert} is not in the guide");
    }
    let todo = value("todo: ");
    assert_eq!(todo.len(), alerts.len());
    for document in todo {
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(&document).is_file(),
            "{document}"
        );
    }
}

#[test]
fn prometheus_understands_every_query_of_its_dashboard() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let rule = |(number, query): (usize, String)| {
        let query = query.replace("$__rate_interval", "5m").replace("$instance", ".*");
        serde_json::json!({"record": format!("query_{number}"), "expr": query})
    };
    let rules: Vec<Value> = queries().into_iter().enumerate().map(rule).collect();
    assert!(rules.len() > 50, "{rules:?}");
    // JSON is YAML, too.
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(directory.path().join("queries.yml"), groups.to_string()).expect("the queries are written");
    promtool(directory.path(), &["check", "rules", "queries.yml"]);
}

#[test]
fn no_panel_of_a_dashboard_lies_on_another() {
    for file in DASHBOARDS {
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in panels(file) {
            assert!(ids.insert(panel["id"].as_u64()), "{file}: {}", panel["title"]);
            let place = |side: &str| panel["gridPos"][side].as_u64().expect("a number");
            assert!(place("x") + place("w") <= 24, "{file}: {}", panel["title"]);
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{file}: {}", panel["title"]);
                }
            }
        }
    }
}
