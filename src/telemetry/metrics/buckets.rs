//! How many durations were how long, since the process began: what a histogram is made of.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The bounds in nanoseconds, and in seconds as they are written. Each is at least twice the one before it.
pub const BOUNDS: [(u64, &str); 20] = [
    (5_000, "0.000005"),
    (10_000, "0.00001"),
    (25_000, "0.000025"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

/// One for each bound, and one for what is longer than all of them.
const BUCKETS: usize = BOUNDS.len() + 1;

/// For a number of so many bits the first bucket that it may be in: the one, or else the next, as bounds at least double.
const FIRST: [usize; 65] = {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits < first.len() {
        first[bits] = first[bits - 1];
        while first[bits] < BOUNDS.len() && BOUNDS[first[bits]].0 < 1 << (bits - 1) {
            first[bits] += 1;
        }
        bits += 1;
    }
    first
};

pub struct Buckets([AtomicU64; BUCKETS]);

impl Buckets {
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }

    pub fn add(&self, nanos: u64) {
        self.0[place(nanos)].fetch_add(1, Relaxed);
    }

    pub fn counts(&self) -> Counts {
        Counts(self.0.each_ref().map(|bucket| bucket.load(Relaxed)))
    }
}

fn place(nanos: u64) -> usize {
    let first = FIRST[(u64::BITS - nanos.leading_zeros()) as usize];
    first + usize::from(BOUNDS.get(first).is_some_and(|&(bound, _)| nanos > bound))
}

/// How many there were in each bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; BUCKETS]);

impl Counts {
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
        self
    }

    /// For each bound how many were at most so long, and last how many there were at all.
    pub fn up_to(&self) -> [u64; BUCKETS] {
        let mut sum = 0;
        self.0.map(|count| {
            sum += count;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_of_the_first_bound_that_is_not_shorter() {
        let around = BOUNDS.iter().flat_map(|&(bound, _)| [bound - 1, bound, bound + 1]);
        let powers = (0..64).flat_map(|bits| [1 << bits, (1_u64 << bits) - 1]);
        for nanos in around.chain(powers).chain([0, u64::MAX]) {
            let expected = BOUNDS.iter().filter(|&&(bound, _)| bound < nanos).count();
            assert_eq!(place(nanos), expected, "{nanos}");
        }
    }

    #[test]
    fn the_bounds_at_least_double_and_are_written_in_seconds() {
        for pair in BOUNDS.windows(2) {
            assert!(pair[1].0 >= 2 * pair[0].0);
        }
        for (nanos, text) in BOUNDS {
            let seconds: f64 = text.parse().unwrap();
            assert_eq!((seconds * 1e9).round().to_string(), nanos.to_string());
        }
    }
}
