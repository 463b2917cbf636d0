//! The newest answers, each until its time is over.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use crate::question::Digest;

/// A point in time by two clocks: one stands still while the machine sleeps, the other may be set.
#[derive(Clone, Copy)]
pub struct Moment {
    pub steady: Instant,
    pub wall: SystemTime,
}

/// How long an answer may be used.
#[derive(Clone, Copy)]
pub struct Age {
    pub asked_at: Moment,
    pub longest: Duration,
    /// An end that the service told.
    pub ends: Option<SystemTime>,
}

pub struct Memory<T> {
    max_entries: usize,
    entries: HashMap<Digest, (u64, T, Age)>,
    /// In the order in which they came, with the number of each; one that was replaced has another number by now.
    order: VecDeque<(u64, Digest)>,
    next: u64,
}

impl Moment {
    pub fn now() -> Self {
        Self {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

impl Age {
    /// A clock that went backwards is a doubt, and a doubt is an age.
    fn is_over(&self, now: Moment) -> bool {
        let steady = now.steady.checked_duration_since(self.asked_at.steady);
        let wall = now.wall.duration_since(self.asked_at.wall).ok();
        let is_young = |age: Option<Duration>| age.is_some_and(|age| age < self.longest);
        !is_young(steady) || !is_young(wall) || self.ends.is_some_and(|ends| ends <= now.wall)
    }
}

impl<T: Clone> Memory<T> {
    pub fn new(max_entries: usize) -> Self {
        Self {
            max_entries,
            entries: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
        }
    }

    pub fn get(&mut self, digest: &Digest) -> Option<T> {
        self.get_at(digest, Moment::now())
    }

    fn get_at(&mut self, digest: &Digest, now: Moment) -> Option<T> {
        let (_, value, age) = self.entries.get(digest)?;
        if age.is_over(now) {
            self.entries.remove(digest);
            return None;
        }
        Some(value.clone())
    }

    pub fn put(&mut self, digest: Digest, value: T, age: Age) {
        if age.longest.is_zero() {
            return;
        }
        self.next += 1;
        self.entries.insert(digest, (self.next, value, age));
        self.order.push_back((self.next, digest));
        // Also bounds the order itself, in which one digest may stand several times.
        while self.order.len() > self.max_entries {
            let Some((number, oldest)) = self.order.pop_front() else {
                break;
            };
            if self.entries.get(&oldest).is_some_and(|entry| entry.0 == number) {
                self.entries.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_is_used_until_either_clock_says_that_it_is_old() {
        let asked_at = Moment::now();
        let at = |steady: Duration, wall: Duration| Moment {
            steady: asked_at.steady + steady,
            wall: asked_at.wall + wall,
        };
        let set_back = Moment {
            wall: asked_at.wall - SECOND,
            ..at(SECOND, SECOND)
        };
        let cases = [
            (asked_at, true),
            (at(4 * SECOND, 4 * SECOND), true),
            (at(5 * SECOND, 4 * SECOND), false),
            (at(SECOND, 5 * SECOND), false),
            (set_back, false),
        ];
        for (at, (now, is_used)) in cases.into_iter().enumerate() {
            let mut memory = Memory::new(10);
            memory.put(
                [1; 32],
                "good",
                Age {
                    asked_at,
                    longest: 5 * SECOND,
                    ends: None,
                },
            );
            assert_eq!(memory.get_at(&[1; 32], now).is_some(), is_used, "case {at}");
        }
    }

    #[test]
    fn an_answer_is_not_used_past_the_end_that_was_told() {
        let asked_at = Moment::now();
        let ends = Some(asked_at.wall + SECOND);
        let mut memory = Memory::new(10);
        memory.put(
            [1; 32],
            "good",
            Age {
                asked_at,
                longest: 5 * SECOND,
                ends,
            },
        );
        assert_eq!(memory.get_at(&[1; 32], asked_at), Some("good"));
        let then = Moment {
            steady: asked_at.steady + SECOND,
            wall: asked_at.wall + SECOND,
        };
        assert_eq!(memory.get_at(&[1; 32], then), None);
    }

    #[test]
    fn only_the_newest_answers_are_remembered() {
        let age = Age {
            asked_at: Moment::now(),
            longest: 60 * SECOND,
            ends: None,
        };
        let mut memory = Memory::new(3);
        for digest in [1, 2, 2, 2, 3, 4, 4, 5] {
            memory.put([digest; 32], digest, age);
        }
        assert!(memory.entries.len() <= 3 && memory.order.len() <= 3);
        assert_eq!((memory.get(&[1; 32]), memory.get(&[5; 32])), (None, Some(5)));
    }

    #[test]
    fn an_age_of_zero_remembers_nothing() {
        let mut memory = Memory::new(3);
        memory.put(
            [1; 32],
            (),
            Age {
                asked_at: Moment::now(),
                longest: Duration::ZERO,
                ends: None,
            },
        );
        assert!(memory.entries.is_empty());
    }
}
