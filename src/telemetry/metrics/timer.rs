//! A timer that any thread adds to without a lock: every duration up to a bound, beyond it an unbiased sample.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::taken;

/// The most durations of one timer that one interval carries.
pub const SAMPLE: usize = 64;

/// A reservoir of durations in nanoseconds. An empty slot is 0, and a duration is at least 1.
pub struct Timer {
    seen: AtomicU64,
    slowest: AtomicU64,
    slots: [AtomicU64; SAMPLE],
}

/// What a timer held.
pub struct Taken {
    pub seen: u64,
    pub slowest: Option<Duration>,
    pub sample: Vec<Duration>,
}

impl Timer {
    pub const fn new() -> Self {
        Self {
            seen: AtomicU64::new(0),
            slowest: AtomicU64::new(0),
            slots: [const { AtomicU64::new(0) }; SAMPLE],
        }
    }

    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let before = self.seen.fetch_add(1, Relaxed);
        if self.slowest.load(Relaxed) < nanos {
            self.slowest.fetch_max(nanos, Relaxed);
        }
        match usize::try_from(before) {
            Ok(place) if place < SAMPLE => self.put(place, nanos),
            _ => self.replace_by_chance(before, nanos),
        }
    }

    /// A slot may still be filled by a thread that counted itself before the last take and was slow to write: then
    /// the next free one is used, so that neither of the two values is lost.
    fn put(&self, place: usize, nanos: u64) {
        for offset in 0..SAMPLE {
            let slot = &self.slots[(place + offset) % SAMPLE];
            if slot.compare_exchange(0, nanos, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Reservoir sampling: the value number n stays with chance 64 / n. What decides is n itself, well mixed, as
    /// the order of arrival is all the chance that is needed.
    fn replace_by_chance(&self, before: u64, nanos: u64) {
        let chance = (u128::from(mixed(before)) * u128::from(before + 1)) >> 64;
        if let Some(slot) = usize::try_from(chance).ok().and_then(|place| self.slots.get(place)) {
            slot.store(nanos, Relaxed);
        }
    }

    pub fn take(&self) -> Taken {
        let seen = taken(&self.seen);
        let slowest = Some(taken(&self.slowest))
            .filter(|&nanos| nanos > 0)
            .map(Duration::from_nanos);
        let sample = self
            .slots
            .iter()
            .map(taken)
            .filter(|&nanos| nanos > 0)
            .map(Duration::from_nanos)
            .collect();
        Taken { seen, slowest, sample }
    }
}

/// One sample of at most 64 out of those of all shards, each shard with a part that fits what it has seen.
pub fn thin(shards: Vec<Taken>) -> Vec<Duration> {
    if shards.iter().map(|shard| shard.sample.len()).sum::<usize>() <= SAMPLE {
        return shards.into_iter().flat_map(|shard| shard.sample).collect();
    }
    let total = shards.iter().map(|shard| shard.seen).sum::<u64>().max(1);
    let share = |seen: u64| usize::try_from(u128::from(seen) * SAMPLE as u128 / u128::from(total)).unwrap_or(SAMPLE);
    let mut seen = 0;
    let mut thinned = Vec::with_capacity(SAMPLE);
    for shard in shards {
        let part = share(seen + shard.seen) - share(seen);
        seen += shard.seen;
        thinned.extend(shard.sample.into_iter().take(part));
    }
    thinned
}

/// `SplitMix64`'s finisher.
const fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_sample_by_what_they_have_seen() {
        let shard = |seen, value| Taken {
            seen,
            slowest: None,
            sample: vec![Duration::from_nanos(value); SAMPLE],
        };
        let thinned = thin(vec![shard(300, 1), shard(100, 2)]);
        let of_first = thinned.iter().filter(|took| took.as_nanos() == 1).count();
        assert_eq!((thinned.len(), of_first), (SAMPLE, 48));
    }
}
