//! What happens to passwords: hashes, and guesses.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    look::Look,
    timer::{Taken, Timer},
};

pub struct AccountMetrics {
    hash_duration: Timer,
    hasher_busy: AtomicU64,
    guesses_wrong: AtomicU64,
    guesses_refused: AtomicU64,
    unavailable: AtomicU64,
}

impl AccountMetrics {
    pub(super) const fn new() -> Self {
        Self {
            hash_duration: Timer::new(),
            hasher_busy: AtomicU64::new(0),
            guesses_wrong: AtomicU64::new(0),
            guesses_refused: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
        }
    }

    /// A hash was made or checked; how long that took, without the wait for its turn.
    pub fn hashed(&self, took: Duration) {
        self.hash_duration.record(took);
    }

    /// More waited to be hashed than may.
    pub fn hasher_busy(&self) {
        self.hasher_busy.fetch_add(1, Relaxed);
    }

    /// A password was not the right one, or there was nobody whose it could be.
    pub fn guess_wrong(&self) {
        self.guesses_wrong.fetch_add(1, Relaxed);
    }

    /// A password was not looked at, as there were too many wrong ones.
    pub fn guess_refused(&self) {
        self.guesses_refused.fetch_add(1, Relaxed);
    }

    /// A store did not do what it was asked for.
    pub fn unavailable(&self) {
        self.unavailable.fetch_add(1, Relaxed);
    }

    pub(super) fn durations(&self, look: Look) -> Taken {
        self.hash_duration.look(look)
    }

    pub(super) fn counters(&self, look: Look, hashes: &Taken) -> [(&'static str, u64); 6] {
        [
            ("accounts.hash_duration_count", hashes.seen),
            ("accounts.hash_duration_sum_us", hashes.sum_us),
            ("accounts.hasher_busy", look.at(&self.hasher_busy)),
            ("accounts.guesses_wrong", look.at(&self.guesses_wrong)),
            ("accounts.guesses_refused", look.at(&self.guesses_refused)),
            ("accounts.unavailable", look.at(&self.unavailable)),
        ]
    }
}
