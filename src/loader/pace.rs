//! When to ask the store again.

use std::time::Duration;

use super::LoadError;

/// While nothing is loaded: soon, as every request is refused. With the 3 s in which a store must begin to answer,
/// the longest wait still makes the service ready within 5 s of the store's return.
const BOOT_FIRST: Duration = Duration::from_millis(250);
const BOOT_LONGEST: Duration = Duration::from_millis(1500);

/// While something is loaded, a store that fails is asked less and less often, but at least this often.
const LONGEST: Duration = Duration::from_secs(30);

pub(super) struct Pace {
    poll_interval: Duration,
    failures: u32,
    /// Spreads instances.
    chance: fn() -> f64,
}

impl Pace {
    pub(super) fn new(poll_interval: Duration, chance: fn() -> f64) -> Self {
        Self {
            poll_interval,
            failures: 0,
            chance,
        }
    }

    /// Somebody says that it is worth asking now.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(super) fn until_next(&mut self, outcome: Result<(), LoadError>, loaded: bool) -> Duration {
        let wait = self.wait(outcome, loaded);
        // At boot only shorter, so that the bound above holds.
        let (least, most) = if loaded { (0.9, 1.1) } else { (0.8, 1.0) };
        wait.mul_f64(least + (most - least) * (self.chance)())
    }

    fn wait(&mut self, outcome: Result<(), LoadError>, loaded: bool) -> Duration {
        let doublings = self.failures;
        self.failures = if outcome.is_err() {
            doublings.saturating_add(1)
        } else {
            0
        };
        match outcome {
            Err(_) if !loaded => doubled(BOOT_FIRST, doublings).min(BOOT_LONGEST),
            Err(LoadError::Store(_)) => doubled(self.poll_interval, doublings).min(self.poll_interval.max(LONGEST)),
            // The store works, and to ask again whether a refused object was replaced costs it next to nothing.
            Ok(()) | Err(_) => self.poll_interval,
        }
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    const POLL: Duration = Duration::from_secs(5);
    const DOWN: Result<(), LoadError> = Err(LoadError::Store(StoreError::Unreachable));

    fn waits(outcome: Result<(), LoadError>, loaded: bool) -> [u128; 6] {
        let mut pace = Pace::new(POLL, rand::random);
        [(); 6].map(|()| pace.wait(outcome, loaded).as_millis())
    }

    #[test]
    fn a_store_that_fails_is_asked_less_often_and_soon_while_nothing_is_loaded() {
        assert_eq!(waits(DOWN, false), [250, 500, 1000, 1500, 1500, 1500]);
        assert_eq!(waits(DOWN, true), [5_000, 10_000, 20_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn an_object_that_was_refused_is_looked_at_again_at_each_poll() {
        assert_eq!(waits(Err(LoadError::Gone), true), [5_000; 6]);
        assert_eq!(waits(Ok(()), true), [5_000; 6]);
    }

    #[test]
    fn a_success_or_a_refresh_ends_the_backing_off() {
        type End = fn(&mut Pace);
        let succeed: End = |pace| assert_eq!(pace.wait(Ok(()), true), POLL);
        let mut pace = Pace::new(POLL, rand::random);
        for end in [Pace::reset, succeed] {
            pace.wait(DOWN, true);
            pace.wait(DOWN, true);
            end(&mut pace);
            assert_eq!(pace.wait(DOWN, true), POLL);
        }
    }

    #[test]
    fn a_poll_interval_longer_than_the_longest_wait_stays_the_longest_wait() {
        let mut pace = Pace::new(Duration::from_hours(1), rand::random);
        for _ in 0..100 {
            assert_eq!(pace.wait(DOWN, true), Duration::from_hours(1));
        }
    }

    #[test]
    fn waits_are_spread_but_never_past_their_bounds() {
        let mut pace = Pace::new(POLL, rand::random);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let wait = pace.until_next(Ok(()), true);
            assert!((POLL.mul_f64(0.899)..=POLL.mul_f64(1.101)).contains(&wait), "{wait:?}");
            seen.insert(wait);
        }
        assert!(seen.len() > 100);
        for _ in 0..200 {
            assert!(pace.until_next(DOWN, false) <= BOOT_LONGEST);
        }
    }
}
