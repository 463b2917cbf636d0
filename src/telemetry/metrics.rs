//! All metrics: one function per event that adds to atomics; names.rs says what they are called.
//!
//! Counters are exact. Of a timer, every duration is kept while there are at most 64 between two takes; beyond that
//! an unbiased sample of 64 is kept, and its `…_count`, `…_sum_us` and `…_max` stay exact.

mod account_calls;
mod accounts;
mod buckets;
mod durations;
mod help;
mod interval;
mod look;
mod names;
mod routed;
mod shard;
mod text;
mod timer;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use self::{
    accounts::AccountMetrics,
    routed::Routed,
    shard::{SHARDS, Shard, mine},
    timer::Timer,
};
pub use self::{
    interval::Interval,
    text::{CONTENT_TYPE, Reading},
    timer::SAMPLE,
};

/// A gauge that nobody has set yet is not sent.
const UNSET: u64 = u64::MAX;

pub struct Metrics {
    /// All that was ever taken, so that a reader finds sums that never fall.
    books: Mutex<BTreeMap<&'static str, u64>>,
    pub accounts: AccountMetrics,
    verify: [Shard; SHARDS],
    authz: [Shard; SHARDS],
    bcrypt: AtomicU64,
    refresh_success: AtomicU64,
    refresh_failed: AtomicU64,
    refresh_rejected: AtomicU64,
    refresh_duration: Timer,
    health_requests: AtomicU64,
    routed: Routed,
    management_done: AtomicU64,
    management_refused: AtomicU64,
    management_failed: AtomicU64,
    management_duration: Timer,
    account_calls: account_calls::Counts,
    startup_success: AtomicU64,
    startup_failed: AtomicU64,
    startup_duration: Timer,
    /// The same for readers, who find it there for ever.
    startup_us: AtomicU64,
    shutdown: AtomicU64,
    poll_changed: AtomicU64,
    poll_unchanged: AtomicU64,
    poll_failed: AtomicU64,
    connections_refused: AtomicU64,
    ratelimit_allowed: AtomicU64,
    ratelimit_limited: AtomicU64,
    ratelimit_guesses: AtomicU64,
    ratelimit_forgotten: AtomicU64,
    log_dropped: AtomicU64,
    log_dropped_known: AtomicU64,
    lines_dropped: AtomicU64,
    usage_written: AtomicU64,
    usage_dropped: AtomicU64,
    usage_failed: AtomicU64,
    audit_dropped: AtomicU64,
    usage_pending: AtomicU64,
    keys_count: AtomicU64,
    document_age_ms: AtomicU64,
    connections_open: AtomicU64,
    ratelimit_degraded: AtomicU64,
}

/// One function per event.
impl Metrics {
    pub fn verify_success(&self, took: Duration) {
        let shard = mine(&self.verify);
        shard.success.fetch_add(1, Relaxed);
        shard.duration.record(took);
    }

    pub fn verify_failed(&self, took: Duration) {
        let shard = mine(&self.verify);
        shard.failed.fetch_add(1, Relaxed);
        shard.duration.record(took);
    }

    pub fn verify_malformed(&self) {
        mine(&self.verify).malformed.fetch_add(1, Relaxed);
    }

    /// Nothing was loaded yet: counts as a request and as nothing else.
    pub fn verify_unavailable(&self) {
        mine(&self.verify).unavailable.fetch_add(1, Relaxed);
    }

    pub fn authz_success(&self, took: Duration) {
        let shard = mine(&self.authz);
        shard.success.fetch_add(1, Relaxed);
        shard.duration.record(took);
    }

    pub fn authz_failed(&self, took: Duration) {
        let shard = mine(&self.authz);
        shard.failed.fetch_add(1, Relaxed);
        shard.duration.record(took);
    }

    pub fn authz_malformed(&self) {
        mine(&self.authz).malformed.fetch_add(1, Relaxed);
    }

    /// As `verify_unavailable`.
    pub fn authz_unavailable(&self) {
        mine(&self.authz).unavailable.fetch_add(1, Relaxed);
    }

    /// A secret was checked against an imported key's hash.
    pub fn bcrypt(&self) {
        self.bcrypt.fetch_add(1, Relaxed);
    }

    pub fn refresh_success(&self, took: Duration) {
        self.refresh_success.fetch_add(1, Relaxed);
        self.refresh_duration.record(took);
    }

    pub fn refresh_failed(&self, took: Duration) {
        self.refresh_failed.fetch_add(1, Relaxed);
        self.refresh_duration.record(took);
    }

    pub fn refresh_rejected(&self) {
        self.refresh_rejected.fetch_add(1, Relaxed);
    }

    pub fn health(&self) {
        self.health_requests.fetch_add(1, Relaxed);
    }

    /// A call of key management: carried out, refused by a status of the 400s, or failed by one of the 500s.
    pub fn management(&self, status: u16, took: Duration) {
        let count = match status {
            500.. => &self.management_failed,
            400.. => &self.management_refused,
            _ => &self.management_done,
        };
        count.fetch_add(1, Relaxed);
        self.management_duration.record(took);
    }

    pub fn keys_count(&self, keys: usize) {
        self.keys_count.store(keys as u64, Relaxed);
    }

    /// How long ago the store last confirmed or delivered what is in force.
    pub fn age(&self, age: Duration) {
        let millis = u64::try_from(age.as_millis()).unwrap_or(UNSET - 1);
        self.document_age_ms.store(millis, Relaxed);
    }

    pub fn startup_success(&self, took: Duration) {
        self.startup_success.fetch_add(1, Relaxed);
        self.startup_duration.record(took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(UNSET - 1);
        self.startup_us.store(micros, Relaxed);
    }

    pub fn startup_failed(&self) {
        self.startup_failed.fetch_add(1, Relaxed);
    }

    pub fn shutdown(&self) {
        self.shutdown.fetch_add(1, Relaxed);
    }

    pub fn poll_changed(&self) {
        self.poll_changed.fetch_add(1, Relaxed);
    }

    pub fn poll_unchanged(&self) {
        self.poll_unchanged.fetch_add(1, Relaxed);
    }

    pub fn poll_failed(&self) {
        self.poll_failed.fetch_add(1, Relaxed);
    }

    /// How many connections are open now.
    pub fn connections(&self, open: usize) {
        self.connections_open.store(open as u64, Relaxed);
    }

    pub fn connections_refused(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    /// A good key was within all its limits.
    pub fn ratelimit_allowed(&self) {
        self.ratelimit_allowed.fetch_add(1, Relaxed);
    }

    /// A good key was over one of its limits.
    pub fn ratelimit_limited(&self) {
        self.ratelimit_limited.fetch_add(1, Relaxed);
    }

    /// A peer had more failed verifies than it may.
    pub fn ratelimit_guesses(&self) {
        self.ratelimit_guesses.fetch_add(1, Relaxed);
    }

    /// Keys whose count had to make room for others.
    pub fn ratelimit_forgotten(&self, keys: u64) {
        self.ratelimit_forgotten.fetch_add(keys, Relaxed);
    }

    /// Whether instances count alone because Redis does not answer.
    pub fn ratelimit_degraded(&self, degraded: bool) {
        self.ratelimit_degraded.store(degraded.into(), Relaxed);
    }

    /// So many log lines have not reached the log since the process began, as whoever asks next finds out.
    pub fn log_dropped_so_far(&self, lines: u64) {
        let known = self.log_dropped_known.fetch_max(lines, Relaxed);
        self.log_dropped.fetch_add(lines.saturating_sub(known), Relaxed);
    }

    /// Metric lines that never reached the bridge.
    pub fn metrics_dropped(&self, lines: u64) {
        self.lines_dropped.fetch_add(lines, Relaxed);
    }

    /// Verifies whose count is in the database.
    pub fn usage_written(&self, verifies: u64) {
        self.usage_written.fetch_add(verifies, Relaxed);
    }

    /// Verifies whose count never reached the database.
    pub fn usage_dropped(&self, verifies: u64) {
        self.usage_dropped.fetch_add(verifies, Relaxed);
    }

    /// The database did not do what it was asked for.
    pub fn usage_failed(&self) {
        self.usage_failed.fetch_add(1, Relaxed);
    }

    /// How many rows wait for the database.
    pub fn usage_pending(&self, rows: usize) {
        self.usage_pending.store(rows as u64, Relaxed);
    }

    /// Changes of keys that never reached the database.
    pub fn audit_dropped(&self, entries: u64) {
        self.audit_dropped.fetch_add(entries, Relaxed);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            books: Mutex::default(),
            accounts: AccountMetrics::new(),
            verify: [const { Shard::new() }; SHARDS],
            authz: [const { Shard::new() }; SHARDS],
            bcrypt: AtomicU64::new(0),
            refresh_success: AtomicU64::new(0),
            refresh_failed: AtomicU64::new(0),
            refresh_rejected: AtomicU64::new(0),
            refresh_duration: Timer::new(),
            health_requests: AtomicU64::new(0),
            routed: Routed::new(),
            management_done: AtomicU64::new(0),
            management_refused: AtomicU64::new(0),
            management_failed: AtomicU64::new(0),
            management_duration: Timer::new(),
            account_calls: account_calls::Counts::new(),
            startup_success: AtomicU64::new(0),
            startup_failed: AtomicU64::new(0),
            startup_duration: Timer::new(),
            startup_us: AtomicU64::new(UNSET),
            shutdown: AtomicU64::new(0),
            poll_changed: AtomicU64::new(0),
            poll_unchanged: AtomicU64::new(0),
            poll_failed: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            ratelimit_allowed: AtomicU64::new(0),
            ratelimit_limited: AtomicU64::new(0),
            ratelimit_guesses: AtomicU64::new(0),
            ratelimit_forgotten: AtomicU64::new(0),
            log_dropped: AtomicU64::new(0),
            log_dropped_known: AtomicU64::new(0),
            lines_dropped: AtomicU64::new(0),
            usage_written: AtomicU64::new(0),
            usage_dropped: AtomicU64::new(0),
            usage_failed: AtomicU64::new(0),
            audit_dropped: AtomicU64::new(0),
            usage_pending: AtomicU64::new(UNSET),
            keys_count: AtomicU64::new(UNSET),
            document_age_ms: AtomicU64::new(UNSET),
            connections_open: AtomicU64::new(UNSET),
            ratelimit_degraded: AtomicU64::new(UNSET),
        }
    }
}

fn set(gauge: &AtomicU64) -> Option<u64> {
    Some(gauge.load(Relaxed)).filter(|&value| value != UNSET)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, thread};

    use super::*;

    #[test]
    fn every_event_adds_to_its_own_names() {
        type Event = fn(&Metrics, Duration);
        let tick = Duration::from_micros(21);
        let events: [(Event, &[&str]); 35] = [
            (
                |m, t| m.verify_success(t),
                &["verify.duration_count", "verify.requests", "verify.success"],
            ),
            (
                |m, t| m.verify_failed(t),
                &["verify.duration_count", "verify.failed", "verify.requests"],
            ),
            (|m, _| m.verify_malformed(), &["verify.malformed", "verify.requests"]),
            (|m, _| m.verify_unavailable(), &["verify.requests"]),
            (
                |m, t| m.authz_success(t),
                &["authz.duration_count", "authz.requests", "authz.success"],
            ),
            (
                |m, t| m.authz_failed(t),
                &["authz.duration_count", "authz.failed", "authz.requests"],
            ),
            (|m, _| m.authz_malformed(), &["authz.malformed", "authz.requests"]),
            (|m, _| m.authz_unavailable(), &["authz.requests"]),
            (
                |m, t| m.refresh_success(t),
                &["refresh.duration_count", "refresh.requests", "refresh.success"],
            ),
            (
                |m, t| m.refresh_failed(t),
                &["refresh.duration_count", "refresh.failed", "refresh.requests"],
            ),
            (|m, _| m.refresh_rejected(), &["refresh.rejected", "refresh.requests"]),
            (|m, _| m.health(), &["health.requests"]),
            (|m, t| m.startup_success(t), &["startup.success"]),
            (
                |m, t| m.management(201, t),
                &["management.duration_count", "management.requests"],
            ),
            (
                |m, t| m.management(404, t),
                &["management.duration_count", "management.refused", "management.requests"],
            ),
            (
                |m, t| m.management(503, t),
                &["management.duration_count", "management.failed", "management.requests"],
            ),
            (
                |m, t| m.account_call(200, t),
                &["accounts.duration_count", "accounts.requests"],
            ),
            (
                |m, t| m.account_call(401, t),
                &["accounts.duration_count", "accounts.refused", "accounts.requests"],
            ),
            (
                |m, t| m.account_call(503, t),
                &["accounts.duration_count", "accounts.failed", "accounts.requests"],
            ),
            (|m, _| m.startup_failed(), &["startup.failed"]),
            (|m, _| m.shutdown(), &["shutdown"]),
            (|m, _| m.poll_changed(), &["poll.changed"]),
            (|m, _| m.poll_unchanged(), &["poll.unchanged"]),
            (|m, _| m.poll_failed(), &["poll.failed"]),
            (|m, _| m.connections_refused(), &["connections.refused"]),
            (|m, _| m.ratelimit_allowed(), &["ratelimit.allowed"]),
            (|m, _| m.ratelimit_limited(), &["ratelimit.limited"]),
            (|m, _| m.ratelimit_guesses(), &["ratelimit.guesses"]),
            (|m, _| m.ratelimit_forgotten(1), &["ratelimit.forgotten"]),
            (|m, _| m.log_dropped_so_far(1), &["log.dropped"]),
            (|m, t| m.accounts.hashed(t), &["accounts.hash_duration_count"]),
            (|m, _| m.accounts.hasher_busy(), &["accounts.hasher_busy"]),
            (|m, _| m.accounts.guess_wrong(), &["accounts.guesses_wrong"]),
            (|m, _| m.accounts.guess_refused(), &["accounts.guesses_refused"]),
            (|m, _| m.accounts.unavailable(), &["accounts.unavailable"]),
        ];
        for (event, names) in events {
            let metrics = Metrics::default();
            event(&metrics, tick);
            let mut interval = metrics.take();
            for timed in [
                "verify.duration_sum_us",
                "authz.duration_sum_us",
                "refresh.duration_sum_us",
                "management.duration_sum_us",
                "accounts.hash_duration_sum_us",
                "accounts.duration_sum_us",
            ] {
                assert_eq!(interval.counters.remove(timed).unwrap_or(21), 21);
            }
            assert_eq!(interval.counters.keys().copied().collect::<Vec<_>>(), names);
            assert!(interval.counters.values().all(|&n| n == 1));
            assert!(interval.timers.values().all(|sample| sample == &[tick]));
            assert!(metrics.take().is_empty());
        }
    }

    #[test]
    fn a_gauge_is_absent_until_it_is_set_and_then_stays() {
        let metrics = Metrics::default();
        assert!(metrics.take().gauges.is_empty());
        metrics.keys_count(0);
        metrics.connections(3);
        metrics.age(Duration::from_millis(1500));
        metrics.ratelimit_degraded(true);
        let expected = BTreeMap::from([
            ("keys.count", 0.0),
            ("connections.open", 3.0),
            ("document.age_seconds", 1.5),
            ("ratelimit.degraded", 1.0),
        ]);
        assert_eq!(metrics.take().gauges, expected);
        assert_eq!(metrics.take().gauges, expected);
    }

    #[test]
    fn up_to_the_bound_every_duration_is_kept() {
        let metrics = Metrics::default();
        let all: Vec<Duration> = (1..=SAMPLE as u64).map(Duration::from_micros).collect();
        for &took in &all {
            metrics.verify_success(took);
        }
        let interval = metrics.take();
        assert_eq!(interval.timers["verify.duration"], all);
        assert_eq!(
            interval.timers["verify.duration_max"],
            [Duration::from_micros(SAMPLE as u64)]
        );
    }

    #[test]
    fn beyond_the_bound_a_timer_is_thinned_evenly_and_its_slowest_kept() {
        let metrics = Metrics::default();
        for round in 0..10_000 {
            metrics.verify_success(Duration::from_micros(round + 1));
        }
        let interval = metrics.take();
        let sample = &interval.timers["verify.duration"];
        assert_eq!((interval.counters["verify.success"], sample.len()), (10_000, SAMPLE));
        assert_eq!(interval.timers["verify.duration_max"], [Duration::from_millis(10)]);
        let late_half = sample.iter().filter(|took| **took > Duration::from_millis(5)).count();
        assert!(
            (16..=48).contains(&late_half),
            "{late_half} of {SAMPLE} from the later half"
        );
    }

    #[test]
    fn taking_while_many_threads_count_loses_nothing() {
        const EACH: u64 = 20_000;
        let metrics = Metrics::default();
        let mut sum = Interval::default();
        thread::scope(|scope| {
            let count = || (0..EACH).for_each(|_| metrics.verify_failed(Duration::from_nanos(5)));
            let threads = [(); 4].map(|()| scope.spawn(count));
            while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                let mut interval = metrics.take();
                interval.keep_counters();
                sum.add(interval);
            }
        });
        sum.add(metrics.take());
        assert_eq!(sum.counters["verify.failed"], 4 * EACH);
        assert_eq!(sum.counters["verify.requests"], 4 * EACH);
    }

    #[test]
    fn a_lost_interval_counts_again_the_losses_it_reported() {
        let metrics = Metrics::default();
        metrics.metrics_dropped(7);
        metrics.health();
        let mut interval = metrics.take();
        assert_eq!(interval.give_up(), 7 + 2);
        assert!(interval.is_empty());
    }

    #[test]
    fn no_name_is_used_twice() {
        let mut names = Metrics::names();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
