//! What all timers held between two takes, by their names.

use std::time::Duration;

use super::{buckets::Counts, timer::Taken};

/// What the timers held. The start has one duration and no histogram.
#[derive(Default)]
pub(super) struct Durations {
    pub(super) verify: Taken,
    pub(super) authz: Taken,
    pub(super) refresh: Taken,
    pub(super) management: Taken,
    pub(super) routed: Taken,
    pub(super) account_calls: Taken,
    pub(super) startup: Taken,
    pub(super) hashes: Taken,
}

impl Durations {
    /// The slowest is a timer and not a gauge: a bridge keeps every value of a timer, but of a gauge only the last.
    pub(super) fn into_timers(self) -> Vec<(&'static str, Vec<Duration>)> {
        vec![
            ("verify.duration", self.verify.sample),
            ("verify.duration_max", self.verify.slowest.into_iter().collect()),
            ("authz.duration", self.authz.sample),
            ("authz.duration_max", self.authz.slowest.into_iter().collect()),
            ("refresh.duration", self.refresh.sample),
            ("refresh.duration_max", self.refresh.slowest.into_iter().collect()),
            ("management.duration", self.management.sample),
            ("management.duration_max", self.management.slowest.into_iter().collect()),
            ("http.duration", self.routed.sample),
            ("http.duration_max", self.routed.slowest.into_iter().collect()),
            ("accounts.duration", self.account_calls.sample),
            (
                "accounts.duration_max",
                self.account_calls.slowest.into_iter().collect(),
            ),
            ("startup.duration", self.startup.sample),
            ("accounts.hash_duration", self.hashes.sample),
            ("accounts.hash_duration_max", self.hashes.slowest.into_iter().collect()),
        ]
    }

    pub(super) fn histograms(&self) -> [(&'static str, Counts); 7] {
        [
            ("verify.duration", self.verify.buckets),
            ("authz.duration", self.authz.buckets),
            ("refresh.duration", self.refresh.buckets),
            ("management.duration", self.management.buckets),
            ("http.duration", self.routed.buckets),
            ("accounts.duration", self.account_calls.buckets),
            ("accounts.hash_duration", self.hashes.buckets),
        ]
    }
}
