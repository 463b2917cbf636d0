//! How many connections there may be at once.

use std::{fs, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::Telemetry;

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
    /// As many as wanted, or as the process may have open descriptors beside those of so many workers and of so many
    /// connections that are counted elsewhere: whoever takes all slots must not keep the keys from being loaded.
    pub fn new(wanted: usize, workers: usize, elsewhere: usize) -> Self {
        let descriptors = descriptor_limit().unwrap_or(usize::MAX);
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
        if let Ok(slot) = self.free.clone().try_acquire_owned() {
            return slot;
        }
        telemetry.metrics.connections_refused();
        self.free
            .clone()
            .acquire_owned()
            .await
            .expect("the slots are never closed")
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

/// The soft limit, where the system tells it in a file.
fn descriptor_limit() -> Option<usize> {
    soft_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_first_number() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             63000                63000                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn there_is_always_one_slot() {
        assert_eq!(Slots::new(0, 1, 0).all, 1);
        assert_eq!(left(20, 2, 0), 0);
    }

    #[test]
    fn what_the_workers_and_other_listeners_need_is_kept_back() {
        assert_eq!(left(1024, 2, 0), 920);
        assert_eq!(left(1024, 64, 64), 608);
        assert!(left(usize::MAX, 1024, 64) >= Semaphore::MAX_PERMITS);
    }
}
