//! How many failed verifies a minute has seen, in one word of memory: this minute's and the one's before, which counts
//! by the part of it that is less than a minute ago.

/// The most failures a minute that can be counted.
pub const MAX_GUESSES: u32 = 1_000_000;

const MINUTE_MS: u64 = 60_000;
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const _: () = assert!(MAX_GUESSES as u64 <= COUNT_MASK);

/// The failures of somebody. As a word it is 0 for who never failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guesses {
    minute: u64,
    before: u64,
    now: u64,
}

impl Guesses {
    pub const fn from_word(word: u64) -> Self {
        Self {
            minute: word >> (2 * COUNT_BITS),
            before: word >> COUNT_BITS & COUNT_MASK,
            now: word & COUNT_MASK,
        }
    }

    pub const fn word(self) -> u64 {
        (self.minute << (2 * COUNT_BITS)) + (self.before << COUNT_BITS) + self.now
    }

    #[must_use]
    pub fn at(self, now_ms: u64) -> Self {
        let minute = now_ms / MINUTE_MS;
        match minute.saturating_sub(self.minute) {
            0 => self,
            1 => Self {
                minute,
                before: self.now,
                now: 0,
            },
            _ => Self {
                minute,
                before: 0,
                now: 0,
            },
        }
    }

    #[must_use]
    pub fn with_one_more(self) -> Self {
        Self {
            now: (self.now + 1).min(COUNT_MASK),
            ..self
        }
    }

    /// In how long one more failure fits, 0 if it does now. To be asked of what it is at that time.
    pub fn wait_ms(self, now_ms: u64, limit: u32) -> u64 {
        let limit = u64::from(limit.max(1));
        let passed = now_ms % MINUTE_MS;
        if self.now < limit {
            gone_after(self.before, limit - self.now - 1).saturating_sub(passed)
        } else {
            MINUTE_MS - passed + gone_after(self.now, limit - 1)
        }
    }
}

/// After how much of a minute no more than so many of the failures before it count.
fn gone_after(failures: u64, allowed: u64) -> u64 {
    if failures <= allowed {
        return 0;
    }
    ((failures - allowed) * MINUTE_MS).div_ceil(failures)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether one more fits, and what is remembered then.
    fn fail(guesses: &mut Guesses, now_ms: u64, limit: u32) -> bool {
        *guesses = guesses.at(now_ms);
        let fits = guesses.wait_ms(now_ms, limit) == 0;
        if fits {
            *guesses = guesses.with_one_more();
        }
        fits
    }

    #[test]
    fn a_minute_takes_its_limit_and_then_no_more() {
        let mut guesses = Guesses::from_word(0);
        let passed = (0..30_000)
            .step_by(1000)
            .filter(|now| fail(&mut guesses, *now, 5))
            .count();
        assert_eq!(passed, 5);
    }

    #[test]
    fn a_minutes_boundary_gives_no_second_share() {
        let mut guesses = Guesses::from_word(0);
        let passed = (59_000..61_000).filter(|now| fail(&mut guesses, *now, 50)).count();
        assert!(passed <= 52, "{passed} passed");
    }

    #[test]
    fn after_two_quiet_minutes_all_is_forgotten() {
        let mut guesses = Guesses::from_word(0);
        assert!((0..5).all(|_| fail(&mut guesses, 0, 5)));
        assert_eq!((0..9).filter(|_| fail(&mut guesses, 120_000, 5)).count(), 5);
    }

    #[test]
    fn a_wait_is_until_so_many_of_the_failures_before_are_a_minute_old() {
        // Failures of the minute before and of this one, how much of it has passed, the limit, and the wait.
        let table = [
            (10, 2, 0, 5, 48_000),
            (10, 2, 40_000, 5, 8000),
            (10, 2, 48_000, 5, 0),
            (2, 2, 0, 5, 0),
            (0, 5, 10_000, 5, 62_000),
            (0, 5, 10_000, 1, 110_000),
            (0, 1, 0, 0, 120_000),
        ];
        for (before, now, passed, limit, wait) in table {
            let minute = 7;
            let guesses = Guesses { minute, before, now };
            assert_eq!(
                guesses.wait_ms(minute * MINUTE_MS + passed, limit),
                wait,
                "{before} {now} {passed} {limit}"
            );
        }
    }

    proptest! {
        #[test]
        fn after_the_wait_one_more_fits_and_no_sooner(limit in 1..50_u32, pauses in prop::collection::vec(0..20_000_u64, 1..300)) {
            let (mut guesses, mut now) = (Guesses::from_word(0), 0);
            for pause in pauses {
                now += pause;
                fail(&mut guesses, now, limit);
                let later = now + guesses.wait_ms(now, limit);
                prop_assert_eq!(guesses.at(later).wait_ms(later, limit), 0);
                if later > now {
                    prop_assert_eq!(guesses.at(later - 1).wait_ms(later - 1, limit), 1, "no sooner");
                }
            }
        }

        #[test]
        fn a_word_is_read_back(minute in 0..1_u64 << 24, before in 0..=COUNT_MASK, now in 0..=COUNT_MASK) {
            let guesses = Guesses { minute, before, now };
            prop_assert_eq!(Guesses::from_word(guesses.word()), guesses);
        }
    }
}
