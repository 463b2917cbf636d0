//! The text format 0.0.4 of Prometheus: all counters, gauges and timers since the process began.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use super::{
    Metrics,
    buckets::{BOUNDS, Counts},
    help::help,
};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const PREFIX: &str = "heare_auth_";
const WRITTEN: &str = "a text takes every write";

/// What happened since the process began.
pub struct Reading {
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// One that nobody has set yet is left out.
    pub(super) gauges: Vec<(&'static str, Option<f64>)>,
    pub(super) startup: Option<Duration>,
    pub(super) histograms: [(&'static str, Counts); 7],
}

impl Reading {
    /// `version` is that of this program.
    pub fn text(&self, version: &str) -> String {
        let mut text = String::with_capacity(24 * 1024);
        self.write(&mut text, version).expect(WRITTEN);
        text
    }

    fn write(&self, out: &mut String, version: &str) -> fmt::Result {
        head(
            out,
            "heare_auth_build_info",
            "gauge",
            "Which program this is; always 1.",
        )?;
        writeln!(out, "heare_auth_build_info{{version=\"{version}\"}} 1")?;
        for (name, count) in self.counters.iter().filter(|(name, _)| !is_of_timer(name)) {
            let full = full_name(name, Kind::Counter);
            head(out, &full, "counter", help(name))?;
            writeln!(out, "{full} {count}")?;
        }
        for (name, value) in &self.gauges {
            if let Some(value) = value {
                write_gauge(out, name, *value)?;
            }
        }
        if let Some(took) = self.startup {
            write_gauge(out, "startup.duration", took.as_secs_f64())?;
        }
        for (name, counts) in &self.histograms {
            self.write_histogram(out, name, counts)?;
        }
        Ok(())
    }

    fn write_histogram(&self, out: &mut String, name: &str, counts: &Counts) -> fmt::Result {
        let full = full_name(name, Kind::Duration);
        head(out, &full, "histogram", help(name))?;
        let up_to = counts.up_to();
        for ((_, bound), count) in BOUNDS.iter().zip(up_to) {
            writeln!(out, "{full}_bucket{{le=\"{bound}\"}} {count}")?;
        }
        let all = up_to[BOUNDS.len()];
        writeln!(out, "{full}_bucket{{le=\"+Inf\"}} {all}")?;
        let sum_us = self.counters.get(format!("{name}_sum_us").as_str());
        let sum = Duration::from_micros(sum_us.copied().unwrap_or_default());
        writeln!(out, "{full}_sum {}\n{full}_count {all}", sum.as_secs_f64())
    }
}

impl Metrics {
    /// What each metric of the bridge is called here, for those who write about them; `None` where a histogram says
    /// what it says.
    pub fn name_in_text(name: &str) -> Option<String> {
        let nothing = Self::default();
        let kind = match nothing.take_kind(name) {
            Kind::Counter if is_of_timer(name) => return None,
            Kind::Duration if name.ends_with("_max") => return None,
            kind => kind,
        };
        Some(full_name(name, kind))
    }

    fn take_kind(&self, name: &str) -> Kind {
        let reading = self.read();
        if reading.counters.contains_key(name) {
            Kind::Counter
        } else if reading.gauges.iter().any(|(own, _)| *own == name) {
            Kind::Gauge
        } else {
            Kind::Duration
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Duration,
}

/// A dot becomes an underscore, and the end says what is counted, as is usual there.
fn full_name(name: &str, kind: Kind) -> String {
    let flat = name.replace('.', "_");
    match (kind, name) {
        // Only what a histogram counts may end so.
        (_, "keys.count") => format!("{PREFIX}keys"),
        (Kind::Counter, _) => format!("{PREFIX}{flat}_total"),
        (Kind::Gauge, _) => format!("{PREFIX}{flat}"),
        (Kind::Duration, _) => format!("{PREFIX}{flat}_seconds"),
    }
}

/// Whether a histogram says the same.
fn is_of_timer(name: &str) -> bool {
    name.ends_with("duration_count") || name.ends_with("duration_sum_us")
}

fn write_gauge(out: &mut String, name: &str, value: f64) -> fmt::Result {
    let kind = if name.ends_with("duration") {
        Kind::Duration
    } else {
        Kind::Gauge
    };
    let full = full_name(name, kind);
    head(out, &full, "gauge", help(name))?;
    writeln!(out, "{full} {value}")
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> String {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).to_owned()
    }

    #[test]
    fn what_the_bridge_takes_is_still_read() {
        let metrics = Metrics::default();
        metrics.verify_success(Duration::from_micros(7));
        metrics.startup_success(Duration::from_millis(1500));
        metrics.keys_count(3);
        for _ in 0..3 {
            metrics.verify_failed(Duration::from_millis(2));
            metrics.health();
            metrics.take();
        }
        metrics.verify_failed(Duration::from_secs(20));
        let text = metrics.read().text("1.2.3");
        for (name, expected) in [
            ("heare_auth_verify_requests_total", "5"),
            ("heare_auth_verify_failed_total", "4"),
            ("heare_auth_health_requests_total", "3"),
            ("heare_auth_keys", "3"),
            ("heare_auth_startup_duration_seconds", "1.5"),
            ("heare_auth_verify_duration_seconds_bucket{le=\"0.000005\"}", "0"),
            ("heare_auth_verify_duration_seconds_bucket{le=\"0.00001\"}", "1"),
            ("heare_auth_verify_duration_seconds_bucket{le=\"0.0025\"}", "4"),
            ("heare_auth_verify_duration_seconds_bucket{le=\"+Inf\"}", "5"),
            ("heare_auth_verify_duration_seconds_count", "5"),
            ("heare_auth_verify_duration_seconds_sum", "20.006007"),
            ("heare_auth_build_info{version=\"1.2.3\"}", "1"),
        ] {
            assert_eq!(value(&text, name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_read_is_not_taken_from_the_bridge() {
        let metrics = Metrics::default();
        metrics.verify_success(Duration::from_micros(7));
        metrics.read();
        let interval = metrics.take();
        assert_eq!(interval.counters["verify.success"], 1);
        assert_eq!(interval.timers["verify.duration"], [Duration::from_micros(7)]);
    }

    #[test]
    fn a_sum_never_falls_while_the_bridge_takes() {
        const EACH: u64 = 20_000;
        let metrics = Metrics::default();
        let counted = || metrics.read().counters["verify.failed"];
        std::thread::scope(|scope| {
            let count = || (0..EACH).for_each(|_| metrics.verify_failed(Duration::from_nanos(5)));
            let threads = [(); 2].map(|()| scope.spawn(count));
            scope.spawn(|| (0..2000).for_each(|_| drop(metrics.take())));
            let mut last = 0;
            while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                let now = counted();
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        });
        assert_eq!(counted(), 2 * EACH);
    }

    #[test]
    fn every_metric_has_a_sentence_and_a_name_of_its_own() {
        let mut names = Vec::new();
        for name in Metrics::names() {
            if let Some(full) = Metrics::name_in_text(name) {
                let sentence = help(name);
                assert!(
                    sentence.ends_with('.') && !sentence.contains(['\n', '\\']),
                    "{name}: {sentence:?}"
                );
                assert!(
                    full.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                    "{full}"
                );
                names.push(full);
            }
        }
        let count = names.len();
        assert!(count > 50, "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
