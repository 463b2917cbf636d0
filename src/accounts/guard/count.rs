//! What failed guesses cost whoever they are counted for: five are free, then each has to be waited for, ever longer.

use crate::core::time::Timestamp;

/// Failures that cost no wait.
pub const FREE: u32 = 5;
/// The wait after the last free one, doubled by each further failure.
pub const FIRST_WAIT_MS: i64 = 1000;
pub const LONGEST_WAIT_MS: i64 = 15 * 60 * 1000;
/// After so long without another, failures are forgotten: those that were all free, and more of them.
pub const FREE_KEPT_MS: i64 = 60 * 60 * 1000;
pub const MORE_KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// Nothing changes beyond so many.
pub const MOST: u32 = 1000;

/// The failures of one account, or from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    pub count: u32,
    /// When the wait began.
    pub last_at: Timestamp,
}

/// What may become of a guess, before the password is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// How it is counted for the account and for the address.
    Admitted([Hold; 2]),
    /// For one of them, the other or both, too many have failed.
    Refused { wait_ms: i64 },
}

/// How an admitted guess is counted as long as nobody knows whether it is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Not at all, and there is nothing to forget when it is right.
    Clean,
    /// Not at all, but others failed before.
    Free,
    /// As a failure already, the only one that the wait before it had to offer. Given back, it leaves these.
    Reserved { before: Failures },
}

/// Decides on a guess that came at `arrived` and has its turn now. Returns what is to be kept instead, where it changes.
///
/// A guess that comes while there is a wait is refused and costs nothing, but one that came before the wait began, beside
/// those that brought it about, counts as one more failure: fifty at once are fifty.
pub fn decide(known: [Failures; 2], arrived: Timestamp, now: Timestamp) -> (Admission, [Option<Failures>; 2]) {
    let known = known.map(|failures| failures.at(now));
    if known.iter().all(|failures| failures.wait_ms(now) == 0) {
        let holds = known.map(Failures::hold);
        let kept = known.map(|failures| (failures.count >= FREE).then(|| failures.with_one_more(now)));
        return (Admission::Admitted(holds), kept);
    }
    let counts = |failures: Failures| failures.wait_ms(now) > 0 && arrived <= failures.last_at;
    let kept = known.map(|failures| counts(failures).then(|| failures.with_one_more(failures.last_at)));
    let [account, address] = [0, 1].map(|at| kept[at].unwrap_or(known[at]).wait_ms(now));
    let wait_ms = account.max(address);
    (Admission::Refused { wait_ms }, kept)
}

impl Failures {
    pub const NONE: Self = Self {
        count: 0,
        last_at: Timestamp::from_millis(0),
    };

    /// What is left of them at this time. Another instance's clock may be ahead; then its time is taken for the present.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        let last_at = self.last_at.min(now);
        if now.as_millis() - last_at.as_millis() >= kept_ms(self.count) {
            return Self::NONE;
        }
        Self { last_at, ..self }
    }

    #[must_use]
    pub fn with_one_more(self, last_at: Timestamp) -> Self {
        Self {
            count: (self.count + 1).min(MOST),
            last_at,
        }
    }

    /// How long until the next guess.
    pub fn wait_ms(self, now: Timestamp) -> i64 {
        let waited = now.as_millis() - self.last_at.as_millis();
        (wait_after_ms(self.count) - waited).max(0)
    }

    const fn hold(self) -> Hold {
        match self.count {
            0 => Hold::Clean,
            1..FREE => Hold::Free,
            _ => Hold::Reserved { before: self },
        }
    }
}

/// How long the wait after so many failures is.
pub fn wait_after_ms(count: u32) -> i64 {
    let Some(doublings) = count.checked_sub(FREE) else {
        return 0;
    };
    // Ten of them are more than the longest already.
    (FIRST_WAIT_MS << doublings.min(10)).min(LONGEST_WAIT_MS)
}

const fn kept_ms(count: u32) -> i64 {
    if count < FREE { FREE_KEPT_MS } else { MORE_KEPT_MS }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(NOON + ms)
    }

    fn failures(count: u32, ms: i64) -> Failures {
        Failures { count, last_at: at(ms) }
    }

    #[test]
    fn waits_double_from_a_second_to_fifteen_minutes() {
        let waits: Vec<i64> = (0..18).map(|count| wait_after_ms(count) / 1000).collect();
        assert_eq!(
            waits,
            [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
        );
        assert_eq!(wait_after_ms(u32::MAX), LONGEST_WAIT_MS);
    }

    #[test]
    fn the_longer_of_two_waits_is_told() {
        let (admission, kept) = decide([failures(6, 0), failures(7, 0)], at(500), at(500));
        assert_eq!(admission, Admission::Refused { wait_ms: 3500 });
        assert_eq!(kept, [None, None]);
    }

    #[test]
    fn a_clock_that_is_ahead_elsewhere_makes_no_wait_longer() {
        let (admission, _) = decide([failures(5, 3_600_000), Failures::NONE], at(0), at(0));
        assert_eq!(
            admission,
            Admission::Refused { wait_ms: 2000 },
            "it came at the very moment, so it counts"
        );
    }

    #[test]
    fn failures_are_forgotten_after_an_hour_or_a_day() {
        for (count, hours) in [(1, 1), (4, 1), (5, 24), (100, 24)] {
            let over = hours * 3_600_000;
            assert_eq!(failures(count, 0).at(at(over - 1)).count, count);
            assert_eq!(failures(count, 0).at(at(over)), Failures::NONE);
        }
    }
}
