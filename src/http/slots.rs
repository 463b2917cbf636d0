//! How many connections there may be at once.

use std::{fs, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::Telemetry;

/// Descriptors that are kept back for everything but connections.
const KEPT_BACK: usize = 64;

/// A slot for each connection. It is free again when the connection's `Slot` is dropped.
#[derive(Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    all: usize,
}

pub type Slot = OwnedSemaphorePermit;

impl Slots {
    /// As many as wanted, or as the process may have open descriptors.
    pub fn new(wanted: usize) -> Self {
        let descriptors = descriptor_limit().unwrap_or(usize::MAX);
        let all = wanted
            .min(descriptors.saturating_sub(KEPT_BACK))
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

    pub fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
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
        assert_eq!(Slots::new(0).all, 1);
    }
}
