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

impl Clock {
    /// The time for decisions about keys: the wall clock, or the latest time seen when the wall clock went back.
    pub fn now(&self) -> Timestamp {
        let wall = Self::wall_micros() / 1000;
        let seen = self.latest_ms.load(Ordering::Relaxed);
        // Most calls of a busy service come within one millisecond, and only read.
        if wall > seen {
            self.latest_ms.fetch_max(wall, Ordering::Relaxed);
        }
        Timestamp::from_millis(wall.max(seen))
    }

    /// The plain wall clock in microseconds since 1970, for the time on a log line.
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
