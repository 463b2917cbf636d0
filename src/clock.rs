//! The wall clock, the only place that reads it. It never goes back behind what was already seen,
//! so a clock set back revives no expired key.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::core::time::Timestamp;

#[derive(Debug, Default)]
pub struct Clock {
    latest_ms: AtomicI64,
}

/// One look at the clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time for decisions about keys: the wall clock, or the latest time seen when the wall clock went back.
    pub now: Timestamp,
    /// The plain wall clock in microseconds since 1970, for the time on a log line.
    pub wall_micros: i64,
}

impl Clock {
    pub fn look(&self) -> Moment {
        let wall_micros = Self::wall_micros();
        let wall = wall_micros / 1000;
        let seen = self.latest_ms.load(Ordering::Relaxed);
        // Most calls of a busy service come within one millisecond, and only read.
        if wall > seen {
            self.latest_ms.fetch_max(wall, Ordering::Relaxed);
        }
        Moment {
            now: Timestamp::from_millis(wall.max(seen)),
            wall_micros,
        }
    }

    /// The time for decisions about keys.
    pub fn now(&self) -> Timestamp {
        self.look().now
    }

    /// The plain wall clock, for waits and the like. The latest time seen stands still for as long as the clock was set back,
    /// and they would not end before it goes on.
    pub fn wall() -> Timestamp {
        Timestamp::from_millis(Self::wall_micros() / 1000)
    }

    /// The plain wall clock in microseconds since 1970.
    pub fn wall_micros() -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_does_not_take_time_back() {
        let clock = Clock::default();
        let seen = Clock::wall_micros() / 1000 + 3_600_000;
        clock.latest_ms.store(seen, Ordering::Relaxed);
        assert_eq!(clock.now(), Timestamp::from_millis(seen));
    }

    #[test]
    fn time_goes_on_with_the_wall_clock() {
        let clock = Clock::default();
        let before = Clock::wall_micros() / 1000;
        assert!(clock.now().as_millis() >= before);
    }
}
