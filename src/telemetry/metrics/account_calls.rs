//! The calls of accounts, as they are counted.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    Metrics,
    look::Look,
    timer::{Taken, Timer},
};

pub(super) struct Counts {
    done: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    duration: Timer,
    registered: AtomicU64,
    login_success: AtomicU64,
    login_failed: AtomicU64,
}

/// One function per event.
impl Metrics {
    /// A call of accounts: carried out, refused by a status of the 400s, or failed by one of the 500s.
    pub fn account_call(&self, status: u16, took: Duration) {
        let count = match status {
            500.. => &self.account_calls.failed,
            400.. => &self.account_calls.refused,
            _ => &self.account_calls.done,
        };
        count.fetch_add(1, Relaxed);
        self.account_calls.duration.record(took);
    }

    pub fn account_registered(&self) {
        self.account_calls.registered.fetch_add(1, Relaxed);
    }

    pub fn account_login_success(&self) {
        self.account_calls.login_success.fetch_add(1, Relaxed);
    }

    pub fn account_login_failed(&self) {
        self.account_calls.login_failed.fetch_add(1, Relaxed);
    }
}

impl Counts {
    pub(super) const fn new() -> Self {
        Self {
            done: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            duration: Timer::new(),
            registered: AtomicU64::new(0),
            login_success: AtomicU64::new(0),
            login_failed: AtomicU64::new(0),
        }
    }

    pub(super) fn duration(&self, look: Look) -> Taken {
        self.duration.look(look)
    }

    pub(super) fn counters(&self, look: Look, duration: &Taken) -> [(&'static str, u64); 8] {
        let [done, refused, failed] = [&self.done, &self.refused, &self.failed].map(|count| look.at(count));
        [
            ("accounts.requests", done + refused + failed),
            ("accounts.refused", refused),
            ("accounts.failed", failed),
            ("accounts.duration_count", duration.seen),
            ("accounts.duration_sum_us", duration.sum_us),
            ("accounts.registered", look.at(&self.registered)),
            ("accounts.login_success", look.at(&self.login_success)),
            ("accounts.login_failed", look.at(&self.login_failed)),
        ]
    }
}
