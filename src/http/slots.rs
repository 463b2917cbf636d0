//! How many connections there may be at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{machine, telemetry::Telemetry};

/// Unless somebody says otherwise, and where there is memory for them.
const BY_DEFAULT: usize = 10_000;
/// What a connection takes at most while it sends the largest request slowly, in bytes.
const PER_CONNECTION: u64 = 128 << 10;

/// Descriptors that are kept back for the store, databases, Redis, the bridge and the log.
const KEPT_BACK: usize = 96;
/// What the runtime of each worker takes.
const PER_WORKER: usize = 4;

/// A slot for each connection. It is free again when the connection's `Slot` is dropped.
#[derive(Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    all: usize,
}

pub type Slot = OwnedSemaphorePermit;

impl Slots {
    /// As many as wanted, or as half of the memory is enough for; but never more than the process may have open descriptors
    /// beside those of so many workers and of so many connections that are counted elsewhere: whoever takes all slots must
    /// not keep the keys from being loaded.
    pub fn new(wanted: Option<usize>, workers: usize, elsewhere: usize) -> Self {
        let wanted = wanted.unwrap_or_else(|| machine::memory().map_or(BY_DEFAULT, fitting));
        let descriptors = machine::descriptors().unwrap_or(usize::MAX);
        let all = wanted
            .min(left(descriptors, workers, elsewhere))
            .clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// Waits while all are taken, and counts that somebody had to wait.
    pub async fn take(&self, telemetry: &Telemetry) -> Slot {
        if let Some(slot) = self.try_take() {
            return slot;
        }
        telemetry.metrics.connections_refused();
        self.free
            .clone()
            .acquire_owned()
            .await
            .expect("the slots are never closed")
    }

    /// One that is free now.
    pub fn try_take(&self) -> Option<Slot> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// How many connections there may be.
    pub const fn all(&self) -> usize {
        self.all
    }

    pub fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

fn left(descriptors: usize, workers: usize, elsewhere: usize) -> usize {
    let needed = workers
        .saturating_mul(PER_WORKER)
        .saturating_add(elsewhere)
        .saturating_add(KEPT_BACK);
    descriptors.saturating_sub(needed)
}

fn fitting(memory: u64) -> usize {
    usize::try_from(memory / 2 / PER_CONNECTION).map_or(BY_DEFAULT, |fitting| fitting.min(BY_DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_memory_is_for_connections_that_are_not_counted_by_hand() {
        let table = [
            (64 << 20, 256),
            (512 << 20, 2048),
            (2 << 30, 8192),
            (16 << 30, 10_000),
            (u64::MAX, 10_000),
        ];
        for (memory, connections) in table {
            assert_eq!(fitting(memory), connections);
        }
        assert_eq!(Slots::new(Some(7), 1, 0).all, 7);
    }

    #[test]
    fn there_is_always_one_slot() {
        assert_eq!(Slots::new(Some(0), 1, 0).all, 1);
        assert_eq!(left(20, 2, 0), 0);
    }

    #[test]
    fn what_the_workers_and_other_listeners_need_is_kept_back() {
        assert_eq!(left(1024, 2, 0), 920);
        assert_eq!(left(1024, 64, 64), 608);
        assert!(left(usize::MAX, 1024, 64) >= Semaphore::MAX_PERMITS);
    }
}
