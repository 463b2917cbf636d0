//! What all metrics are called, below the configured prefix, and how their values are taken out.

use std::{sync::atomic::AtomicU64, time::Duration};

use super::{
    Interval, Metrics,
    durations::Durations,
    interval::METRICS_DROPPED,
    set,
    shard::{SHARDS, Shard, take_counts},
    taken,
    timer::joined,
};

/// Taking moves the value out; nothing added meanwhile is lost.
impl Metrics {
    pub fn take(&self) -> Interval {
        let durations = self.take_durations();
        Interval {
            counters: self
                .take_counters(&durations)
                .into_iter()
                .filter(|&(_, n)| n > 0)
                .collect(),
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

    /// Every name there is, for the documentation's test.
    pub fn names() -> Vec<&'static str> {
        let none = Self::default();
        let counters = none
            .take_counters(&Durations::default())
            .into_iter()
            .map(|(name, _)| name);
        let gauges = none.gauges().into_iter().map(|(name, _)| name);
        let timers = Durations::default().into_timers().into_iter().map(|(name, _)| name);
        counters.chain(gauges).chain(timers).collect()
    }

    fn take_counters(&self, durations: &Durations) -> Vec<(&'static str, u64)> {
        let [success, failed, malformed, requests] = take_counts(&self.verify);
        let [authz_success, authz_failed, authz_malformed, authz_requests] = take_counts(&self.authz);
        let [refreshed, refresh_failed] = [taken(&self.refresh_success), taken(&self.refresh_failed)];
        let [managed, unmanaged] = [taken(&self.management_done), taken(&self.management_refused)];
        let management_failed = taken(&self.management_failed);
        let rejected = taken(&self.refresh_rejected);
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
            ("verify.bcrypt", taken(&self.bcrypt)),
            ("refresh.requests", refreshed + refresh_failed + rejected),
            ("refresh.success", refreshed),
            ("refresh.failed", refresh_failed),
            ("refresh.rejected", rejected),
            ("refresh.duration_count", durations.refresh.seen),
            ("refresh.duration_sum_us", durations.refresh.sum_us),
            ("health.requests", taken(&self.health_requests)),
            ("management.requests", managed + unmanaged + management_failed),
            ("management.refused", unmanaged),
            ("management.failed", management_failed),
            ("management.duration_count", durations.management.seen),
            ("management.duration_sum_us", durations.management.sum_us),
            ("startup.success", taken(&self.startup_success)),
            ("startup.failed", taken(&self.startup_failed)),
            ("shutdown", taken(&self.shutdown)),
            ("poll.changed", taken(&self.poll_changed)),
            ("poll.unchanged", taken(&self.poll_unchanged)),
            ("poll.failed", taken(&self.poll_failed)),
            ("connections.refused", taken(&self.connections_refused)),
            ("ratelimit.allowed", taken(&self.ratelimit_allowed)),
            ("ratelimit.limited", taken(&self.ratelimit_limited)),
            ("ratelimit.guesses", taken(&self.ratelimit_guesses)),
            ("ratelimit.forgotten", taken(&self.ratelimit_forgotten)),
            ("log.dropped", taken(&self.log_dropped)),
            (METRICS_DROPPED, taken(&self.lines_dropped)),
            ("usage.written", taken(&self.usage_written)),
            ("usage.dropped", taken(&self.usage_dropped)),
            ("usage.failed", taken(&self.usage_failed)),
            ("audit.dropped", taken(&self.audit_dropped)),
        ];
        counters.extend(self.routed.take_counters(&durations.routed));
        counters.extend(self.accounts.take_counters(&durations.hashes));
        counters.extend(self.account_calls.take(&durations.account_calls));
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

    fn take_durations(&self) -> Durations {
        let of_all = |shards: &[Shard; SHARDS]| joined(shards.iter().map(|shard| shard.duration.take()).collect());
        Durations {
            verify: of_all(&self.verify),
            authz: of_all(&self.authz),
            refresh: self.refresh_duration.take(),
            management: self.management_duration.take(),
            routed: self.routed.duration.take(),
            account_calls: self.account_calls.take_duration(),
            startup: self.startup_duration.take(),
            hashes: self.accounts.take_durations(),
        }
    }
}
