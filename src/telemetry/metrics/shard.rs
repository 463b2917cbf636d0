//! The counts of the hot routes, in one copy for each of several threads.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::{look::Look, timer::Timer};

/// Threads spread over this many copies of the hot metrics, so that they do not fight for one cache line.
pub(super) const SHARDS: usize = 16;

/// What the threads of one shard counted. Aligned to two cache lines, as processors fetch them in pairs.
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) success: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) unavailable: AtomicU64,
    pub(super) duration: Timer,
}

impl Shard {
    pub(super) const fn new() -> Self {
        Self {
            success: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            duration: Timer::new(),
        }
    }
}

/// This thread's copy.
pub(super) fn mine(shards: &[Shard; SHARDS]) -> &Shard {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Relaxed) % SHARDS;
    }
    &shards[MINE.with(|mine| *mine)]
}

/// What all copies counted: success, failed, malformed, and all of them with what could not be answered.
pub(super) fn counts(shards: &[Shard; SHARDS], look: Look) -> [u64; 4] {
    let sum = |which: fn(&Shard) -> &AtomicU64| shards.iter().map(|shard| look.at(which(shard))).sum::<u64>();
    let [success, failed] = [sum(|s| &s.success), sum(|s| &s.failed)];
    let [malformed, unavailable] = [sum(|s| &s.malformed), sum(|s| &s.unavailable)];
    [success, failed, malformed, success + failed + malformed + unavailable]
}
