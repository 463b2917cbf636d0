//! Counts in this process: the windows of the keys that were used lately, in bounded memory.
//!
//! At the bound the key that has used least, of a few looked at, is forgotten and counted in a metric. It may then use
//! once more what it had used, which is the least that could be given away; refusing a key that has done nothing wrong
//! would be worse. Only the holders of so many genuine keys can reach the bound.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use hashbrown::HashTable;

use crate::{
    core::window::{Decision, Limit, Window, decide},
    telemetry::metrics::Metrics,
};

/// Windows that are remembered at most, each in little more than a kilobyte when it is as full as it can be.
pub const MAX_WINDOWS: usize = 1 << 17;

/// The same for clients, of whom there may be as many as there are addresses.
pub const MAX_CLIENT_WINDOWS: usize = 1 << 15;

const SHARDS: usize = 32;

/// Slots looked at for one to forget.
const LOOKED_AT: usize = 16;

pub struct Local {
    shards: Box<[Mutex<Shard>]>,
    shard_windows: usize,
    /// Nobody knows its seed, so that no two keys can be made to count as one.
    seed: RandomState,
    origin: Instant,
    metrics: Arc<Metrics>,
}

/// A key, by the hash of its id. Two of all that are remembered share one by chance once in two thousand million times.
type Name = u64;

#[derive(Default)]
struct Shard {
    /// Numbers of `tracked`, hashed by name.
    by_name: HashTable<u32>,
    tracked: Vec<Tracked>,
    windows: usize,
    /// Where the look for idle ones goes on.
    hand: usize,
}

struct Tracked {
    name: Name,
    windows: Vec<Measured>,
}

struct Measured {
    seconds: u32,
    window: Window,
}

impl Local {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self::bounded(MAX_WINDOWS, metrics)
    }

    pub fn of_clients(metrics: Arc<Metrics>) -> Self {
        Self::bounded(MAX_CLIENT_WINDOWS, metrics)
    }

    fn bounded(windows: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_windows: windows / SHARDS,
            seed: RandomState::new(),
            origin: Instant::now(),
            metrics,
        }
    }

    /// It never goes back, whatever is done to the wall clock.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn charge(&self, key_id: &str, limits: &[Limit], cost: u32) -> Decision {
        self.charge_at(key_id, limits, cost, None).0
    }

    /// By this process' own clock, or as if it were that time. Also at what time it was charged.
    pub fn charge_at(&self, key_id: &str, limits: &[Limit], cost: u32, now_ms: Option<u64>) -> (Decision, u64) {
        let name = self.seed.hash_one(key_id);
        let mut shard = self.shard(name);
        // Who has the shard looks at the clock, so that no charge is older than the one before it.
        let now_ms = now_ms.unwrap_or_else(|| self.now_ms());
        let (number, forgotten) = shard.find_or_add(name, limits, self.shard_windows, now_ms);
        let windows = shard.windows_of(number, limits);
        let decision = decide(limits, windows, now_ms, cost);
        drop(shard);
        if forgotten > 0 {
            self.metrics.ratelimit_forgotten(forgotten);
        }
        (decision, now_ms)
    }

    /// Takes back what was charged at that time, because somebody else has refused it.
    pub fn refund(&self, key_id: &str, limits: &[Limit], cost: u32, at_ms: u64) {
        let name = self.seed.hash_one(key_id);
        let mut shard = self.shard(name);
        if let Some(number) = shard.find(name) {
            for measured in shard.windows_of(number, limits) {
                measured.window.refund(at_ms, cost);
            }
        }
    }

    /// By bits of the name that the shard's own table does not look at first.
    fn shard(&self, name: Name) -> MutexGuard<'_, Shard> {
        let number = usize::try_from((name >> 32) % SHARDS as u64).expect("there are few shards");
        // Nothing in here can be left half done by a panic.
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn find(&self, name: Name) -> Option<usize> {
        let same = |&number: &u32| self.tracked[number as usize].name == name;
        self.by_name.find(name, same).map(|&number| number as usize)
    }

    /// The key's number, and how many others had to be forgotten although they were in use.
    fn find_or_add(&mut self, name: Name, limits: &[Limit], most: usize, now_ms: u64) -> (usize, u64) {
        if let Some(number) = self.find(name) {
            return (number, 0);
        }
        let mut forgotten = 0;
        self.forget_idle(2, now_ms);
        while !self.tracked.is_empty() && self.windows + limits.len() > most {
            forgotten += self.forget_one(now_ms);
        }
        let number = self.tracked.len();
        let Self { by_name, tracked, .. } = self;
        tracked.push(Tracked {
            name,
            windows: Vec::new(),
        });
        by_name.insert_unique(name, short(number), |&number| tracked[number as usize].name);
        (number, forgotten)
    }

    /// The key's windows in the order of its limits. They are found again by their length, so that a limit can be given
    /// another name or another maximum without being forgotten.
    fn windows_of(&mut self, number: usize, limits: &[Limit]) -> &mut [Measured] {
        let windows = &mut self.tracked[number].windows;
        let fitting = windows.len() == limits.len()
            && windows
                .iter()
                .zip(limits)
                .all(|(measured, limit)| measured.seconds == limit.window_seconds);
        if !fitting {
            self.windows -= windows.len();
            let mut old = std::mem::take(windows);
            windows.reserve_exact(limits.len());
            windows.extend(limits.iter().map(|limit| {
                let known = old.iter().position(|measured| measured.seconds == limit.window_seconds);
                known.map_or_else(|| Measured::new(limit.window_seconds), |known| old.swap_remove(known))
            }));
            self.windows += limits.len();
        }
        windows
    }

    /// Looks at the next few and forgets those whose windows are empty.
    fn forget_idle(&mut self, few: usize, now_ms: u64) {
        for _ in 0..few.min(self.tracked.len()) {
            let number = self.next();
            if self.tracked[number].charged(now_ms) == 0 {
                self.forget(number);
            }
        }
    }

    /// Forgets the one of the next few that has used least; returns 1 if it had used anything.
    fn forget_one(&mut self, now_ms: u64) -> u64 {
        let few = LOOKED_AT.min(self.tracked.len());
        let looked_at: Vec<usize> = (0..few).map(|_| self.next()).collect();
        let used = looked_at
            .into_iter()
            .map(|number| (self.tracked[number].charged(now_ms), number));
        let Some((charged, number)) = used.min() else {
            return 0;
        };
        self.forget(number);
        u64::from(charged > 0)
    }

    fn next(&mut self) -> usize {
        self.hand = if self.hand + 1 < self.tracked.len() {
            self.hand + 1
        } else {
            0
        };
        self.hand
    }

    fn forget(&mut self, number: usize) {
        let Self {
            by_name,
            tracked,
            windows,
            ..
        } = self;
        let gone = tracked.swap_remove(number);
        *windows -= gone.windows.len();
        if let Ok(entry) = by_name.find_entry(gone.name, |&n| n as usize == number) {
            entry.remove();
        }
        // The last one has moved into its place.
        let last = tracked.len();
        if let Some(moved) = tracked.get(number)
            && let Some(entry) = by_name.find_mut(moved.name, |&n| n as usize == last)
        {
            *entry = short(number);
        }
    }
}

fn short(number: usize) -> u32 {
    u32::try_from(number).expect("no more keys are tracked than windows")
}

impl Tracked {
    /// The most that is charged in one of its windows now.
    fn charged(&mut self, now_ms: u64) -> u64 {
        let charged = self.windows.iter_mut().map(|measured| {
            measured.window.advance(u64::from(measured.seconds) * 1000, now_ms);
            measured.window.charged()
        });
        charged.max().unwrap_or(0)
    }
}

impl AsMut<Window> for Measured {
    fn as_mut(&mut self) -> &mut Window {
        &mut self.window
    }
}

impl Measured {
    fn new(seconds: u32) -> Self {
        Self {
            seconds,
            window: Window::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, slice};

    use super::*;

    const HOUR: Limit = Limit {
        name: Cow::Borrowed("hour"),
        max: 3,
        burst: 0,
        window_seconds: 3600,
    };

    fn local(windows: usize) -> Local {
        Local::bounded(windows, Arc::default())
    }

    fn charge(local: &Local, key_id: &str, limits: &[Limit], cost: u32, now_ms: u64) -> Decision {
        local.charge_at(key_id, limits, cost, Some(now_ms)).0
    }

    fn forgotten(local: &Local) -> u64 {
        let counters = local.metrics.take().counters;
        counters.get("ratelimit.forgotten").copied().unwrap_or(0)
    }

    fn windows(local: &Local) -> usize {
        local.shards.iter().map(|shard| shard.lock().unwrap().windows).sum()
    }

    #[test]
    fn each_key_has_its_own_count() {
        let local = local(1 << 10);
        for key in ["key_1", "key_2"] {
            let passed = (0..9).filter(|_| charge(&local, key, &[HOUR], 1, 0).allowed).count();
            assert_eq!(passed, 3);
        }
    }

    #[test]
    fn a_refund_makes_room_again() {
        let local = local(1 << 10);
        assert!(charge(&local, "key_1", &[HOUR], 3, 0).allowed);
        local.refund("key_1", &[HOUR], 3, 0);
        assert!(charge(&local, "key_1", &[HOUR], 3, 1).allowed);
    }

    #[test]
    fn a_limit_that_changes_keeps_what_was_charged() {
        let local = local(1 << 10);
        let minute = Limit {
            window_seconds: 60,
            ..HOUR
        };
        assert!(charge(&local, "key_1", &[HOUR], 2, 0).allowed);
        let renamed = Limit {
            name: Cow::Borrowed("other"),
            max: 4,
            ..HOUR
        };
        let decision = charge(&local, "key_1", &[minute, renamed], 1, 0);
        let left: Vec<u32> = decision.standings().iter().map(|standing| standing.remaining).collect();
        assert_eq!(left, [2, 1]);
    }

    #[test]
    fn idle_keys_make_room_and_cost_nobody_a_count() {
        let local = local(SHARDS * 4);
        for n in 0..10_000_u64 {
            assert!(charge(&local, &format!("key_{n}"), &[HOUR], 1, n * 3_600_000).allowed);
            assert!(windows(&local) <= SHARDS * 4);
        }
        assert_eq!(forgotten(&local), 0);
    }

    #[test]
    fn a_flood_of_busy_keys_stays_within_the_bound_and_is_counted() {
        let local = local(SHARDS * 4);
        for n in 0..10_000_u64 {
            assert!(charge(&local, &format!("key_{n}"), &[HOUR], 1, 0).allowed);
        }
        assert!(windows(&local) <= SHARDS * 4);
        assert!(forgotten(&local) >= 10_000 - SHARDS as u64 * 4);
    }

    #[test]
    fn under_a_flood_those_are_remembered_that_have_used_most() {
        let local = local(SHARDS * 8);
        let heavy = "key_that_is_at_its_limit";
        assert!(charge(&local, heavy, &[HOUR], 3, 0).allowed);
        for n in 0..10_000_u64 {
            charge(&local, &format!("key_{n}"), &[HOUR], 1, 0);
        }
        assert!(!charge(&local, heavy, &[HOUR], 1, 0).allowed);
    }

    #[test]
    fn who_waits_for_another_is_charged_when_it_is_their_turn() {
        let local = local(1 << 10);
        let name = local.seed.hash_one("key_1");
        let (begun, waiting) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let shard = local.shard(name);
            let late = scope.spawn(|| {
                begun.send(()).unwrap();
                local.charge_at("key_1", &[HOUR], 1, None).1
            });
            waiting.recv().unwrap();
            let before = local.now_ms();
            while local.now_ms() < before + 20 {
                std::thread::yield_now();
            }
            let turn = local.now_ms();
            drop(shard);
            assert!(late.join().unwrap() >= turn);
        });
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let local = local(1 << 10);
        let limit = Limit { max: 1000, ..HOUR };
        let charge = || {
            (0..1000)
                .filter(|_| charge(&local, "key_1", slice::from_ref(&limit), 1, 5).allowed)
                .count()
        };
        let passed: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(charge));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000);
    }
}
