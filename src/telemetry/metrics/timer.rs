//! A timer that any thread adds to without a lock: every duration up to a bound, beyond it an unbiased sample; and for
//! ever how many took how long.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    buckets::{Buckets, Counts},
    look::Look,
};

/// The most durations of one timer that one interval carries.
pub const SAMPLE: usize = 64;

/// A reservoir of durations in nanoseconds. An empty slot is 0, and a duration is at least 1.
pub struct Timer {
    seen: AtomicU64,
    sum: AtomicU64,
    slowest: AtomicU64,
    slots: [AtomicU64; SAMPLE],
    buckets: Buckets,
}

/// What a timer held. All but the sample is exact.
#[derive(Default)]
pub struct Taken {
    pub seen: u64,
    pub sum_us: u64,
    pub slowest: Option<Duration>,
    pub sample: Vec<Duration>,
    /// Since the process began, however often the rest was taken.
    pub buckets: Counts,
}

impl Timer {
    pub const fn new() -> Self {
        Self {
            seen: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            slowest: AtomicU64::new(0),
            slots: [const { AtomicU64::new(0) }; SAMPLE],
            buckets: Buckets::new(),
        }
    }

    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let before = self.seen.fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
        self.buckets.add(nanos);
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

    pub fn look(&self, look: Look) -> Taken {
        let seen = look.at(&self.seen);
        let sum = look.at(&self.sum);
        if look == Look::Take {
            // What is less than a microsecond waits for the next take, so that the sums add up.
            self.sum.fetch_add(sum % 1000, Relaxed);
        }
        let some = |&nanos: &u64| nanos > 0;
        let slots = self.slots.iter().map(|slot| look.at(slot));
        Taken {
            seen,
            sum_us: sum / 1000,
            slowest: Some(look.at(&self.slowest)).filter(some).map(Duration::from_nanos),
            sample: slots.filter(some).map(Duration::from_nanos).collect(),
            buckets: self.buckets.counts(),
        }
    }
}

/// What all shards of a timer held.
pub fn joined(shards: Vec<Taken>) -> Taken {
    Taken {
        seen: shards.iter().map(|shard| shard.seen).sum(),
        sum_us: shards.iter().map(|shard| shard.sum_us).sum(),
        slowest: shards.iter().filter_map(|shard| shard.slowest).max(),
        buckets: shards
            .iter()
            .fold(Counts::default(), |all, shard| all.with(&shard.buckets)),
        sample: thin(shards),
    }
}

/// One sample of at most 64 out of those of all shards, each shard with a part that fits what it has seen.
fn thin(shards: Vec<Taken>) -> Vec<Duration> {
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
            sum_us: value,
            slowest: Some(Duration::from_nanos(value)),
            sample: vec![Duration::from_nanos(value); SAMPLE],
            buckets: Counts::default(),
        };
        let joined = joined(vec![shard(300, 1), shard(100, 2)]);
        let of_first = joined.sample.iter().filter(|took| took.as_nanos() == 1).count();
        assert_eq!((joined.sample.len(), of_first), (SAMPLE, 48));
        assert_eq!((joined.seen, joined.sum_us), (400, 3));
        assert_eq!(joined.slowest, Some(Duration::from_nanos(2)));
    }

    #[test]
    fn what_is_less_than_a_microsecond_is_added_to_the_next_sum() {
        let timer = Timer::new();
        timer.record(Duration::from_nanos(1600));
        assert_eq!(timer.look(Look::Take).sum_us, 1);
        timer.record(Duration::from_nanos(400));
        assert_eq!(timer.look(Look::Take).sum_us, 1);
    }

    #[test]
    fn count_sum_and_slowest_are_exact_beyond_the_sample() {
        let timer = Timer::new();
        (1..=1000).for_each(|micros| timer.record(Duration::from_micros(micros)));
        let taken = timer.look(Look::Take);
        assert_eq!((taken.seen, taken.sum_us, taken.sample.len()), (1000, 500_500, SAMPLE));
        assert_eq!(taken.slowest, Some(Duration::from_millis(1)));
    }
}
