//! What all metrics are called, below the configured prefix, and how their values are taken out or read.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use super::{
    Interval, Metrics,
    durations::Durations,
    interval::METRICS_DROPPED,
    look::Look,
    set,
    shard::{SHARDS, Shard, counts},
    text::Reading,
    timer::joined,
};

impl Metrics {
    /// What happened since the last take.
    pub fn take(&self) -> Interval {
        let mut books = self.books();
        let durations = self.durations(Look::Take);
        let counters = self.counters(Look::Take, &durations);
        for &(name, count) in &counters {
            *books.entry(name).or_default() += count;
        }
        drop(books);
        Interval {
            counters: counters.into_iter().filter(|&(_, n)| n > 0).collect(),
            gauges: self
                .gauges()
                .into_iter()
                .filter_map(|(name, v)| Some((name, v?)))
                .collect(),
            timers: durations
                .into_timers()
                .into_iter()
                .filter(|(_, sample)| !sample.is_empty())
                .collect(),
        }
    }

    /// What happened since the process began. Takes of the bridge before or meanwhile change nothing of it.
    pub fn read(&self) -> Reading {
        let books = self.books();
        let durations = self.durations(Look::Leave);
        let mut counters = self.counters(Look::Leave, &durations);
        for (name, count) in &mut counters {
            *count += books.get(name).copied().unwrap_or_default();
        }
        drop(books);
        Reading {
            counters: counters.into_iter().collect(),
            gauges: self.gauges(),
            startup: set(&self.startup_us).map(Duration::from_micros),
            histograms: durations.histograms(),
        }
    }

    /// What was taken so far. A request never waits for it: only takes and reads do, for one another.
    fn books(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every name there is, for the documentation's test.
    pub fn names() -> Vec<&'static str> {
        let none = Self::default();
        let counters = none
            .counters(Look::Leave, &Durations::default())
            .into_iter()
            .map(|(name, _)| name);
        let gauges = none.gauges().into_iter().map(|(name, _)| name);
        let timers = Durations::default().into_timers().into_iter().map(|(name, _)| name);
        counters.chain(gauges).chain(timers).collect()
    }

    fn counters(&self, look: Look, durations: &Durations) -> Vec<(&'static str, u64)> {
        let [success, failed, malformed, requests] = counts(&self.verify, look);
        let [authz_success, authz_failed, authz_malformed, authz_requests] = counts(&self.authz, look);
        let [refreshed, refresh_failed] = [look.at(&self.refresh_success), look.at(&self.refresh_failed)];
        let [managed, unmanaged] = [look.at(&self.management_done), look.at(&self.management_refused)];
        let management_failed = look.at(&self.management_failed);
        let rejected = look.at(&self.refresh_rejected);
        let mut counters = vec![
            ("verify.requests", requests),
            ("verify.success", success),
            ("verify.failed", failed),
            ("verify.malformed", malformed),
            ("verify.duration_count", durations.verify.seen),
            ("verify.duration_sum_us", durations.verify.sum_us),
            ("authz.requests", authz_requests),
            ("authz.success", authz_success),
            ("authz.failed", authz_failed),
            ("authz.malformed", authz_malformed),
            ("authz.duration_count", durations.authz.seen),
            ("authz.duration_sum_us", durations.authz.sum_us),
            ("verify.bcrypt", look.at(&self.bcrypt)),
            ("refresh.requests", refreshed + refresh_failed + rejected),
            ("refresh.success", refreshed),
            ("refresh.failed", refresh_failed),
            ("refresh.rejected", rejected),
            ("refresh.duration_count", durations.refresh.seen),
            ("refresh.duration_sum_us", durations.refresh.sum_us),
            ("health.requests", look.at(&self.health_requests)),
            ("management.requests", managed + unmanaged + management_failed),
            ("management.refused", unmanaged),
            ("management.failed", management_failed),
            ("management.duration_count", durations.management.seen),
            ("management.duration_sum_us", durations.management.sum_us),
            ("startup.success", look.at(&self.startup_success)),
            ("startup.failed", look.at(&self.startup_failed)),
            ("shutdown", look.at(&self.shutdown)),
            ("poll.changed", look.at(&self.poll_changed)),
            ("poll.unchanged", look.at(&self.poll_unchanged)),
            ("poll.failed", look.at(&self.poll_failed)),
            ("connections.refused", look.at(&self.connections_refused)),
            ("ratelimit.allowed", look.at(&self.ratelimit_allowed)),
            ("ratelimit.limited", look.at(&self.ratelimit_limited)),
            ("ratelimit.guesses", look.at(&self.ratelimit_guesses)),
            ("ratelimit.forgotten", look.at(&self.ratelimit_forgotten)),
            ("log.dropped", look.at(&self.log_dropped)),
            (METRICS_DROPPED, look.at(&self.lines_dropped)),
            ("usage.written", look.at(&self.usage_written)),
            ("usage.dropped", look.at(&self.usage_dropped)),
            ("usage.failed", look.at(&self.usage_failed)),
            ("audit.dropped", look.at(&self.audit_dropped)),
        ];
        counters.extend(self.routed.counters(look, &durations.routed));
        counters.extend(self.accounts.counters(look, &durations.hashes));
        counters.extend(self.account_calls.counters(look, &durations.account_calls));
        counters
    }

    fn gauges(&self) -> Vec<(&'static str, Option<f64>)> {
        let age = set(&self.document_age_ms).map(|millis| Duration::from_millis(millis).as_secs_f64());
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number of keys, connections or seconds is far below 2^52"
        )]
        let number = |value: Option<u64>| value.map(|value| value as f64);
        let whole = |gauge: &AtomicU64| number(set(gauge));
        vec![
            ("keys.count", whole(&self.keys_count)),
            ("document.age_seconds", age),
            ("connections.open", whole(&self.connections_open)),
            ("ratelimit.degraded", whole(&self.ratelimit_degraded)),
            ("usage.pending", whole(&self.usage_pending)),
            (
                "tls.certificate_seconds_left",
                number(self.routed.certificate_seconds_left()),
            ),
        ]
    }

    fn durations(&self, look: Look) -> Durations {
        let of_all = |shards: &[Shard; SHARDS]| joined(shards.iter().map(|shard| shard.duration.look(look)).collect());
        Durations {
            verify: of_all(&self.verify),
            authz: of_all(&self.authz),
            refresh: self.refresh_duration.look(look),
            management: self.management_duration.look(look),
            routed: self.routed.duration.look(look),
            account_calls: self.account_calls.duration(look),
            startup: self.startup_duration.look(look),
            hashes: self.accounts.durations(look),
        }
    }
}
