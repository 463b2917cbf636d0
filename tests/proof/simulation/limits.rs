//! Limits that instances keep together: each counts with the product's own code, over a simulated Redis that is slow, gone,
//! emptied and set back. No instance ever lets more pass than the limit, and on a calm day all of them together do not.

use super::{actor::Chance, schedule::on_its_own_clock};
use heare_auth::{
    core::window::{Decision, Limit, Window, decide},
    limiter::{local::Local, redis::BUDGET, together},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// When a link that broke is made again, as the product's first pause.
const PAUSE_MS: u64 = 100;

/// The count of all instances: the arithmetic of which the script in Redis is a twin.
#[derive(Default)]
struct Counts {
    windows: [Window; 2],
    set_back_ms: u64,
}

struct World {
    began: Instant,
    limits: [Limit; 2],
    calm: bool,
    redis: Mutex<Counts>,
    passed: Mutex<Vec<Passed>>,
}

/// A use that was let through.
#[derive(Clone, Copy, Debug)]
struct Passed {
    instance: usize,
    at_ms: u64,
    cost: u32,
}

impl World {
    fn new(chance: &mut Chance) -> Self {
        let limit = |name, max, burst, window_seconds| Limit {
            name,
            max,
            burst,
            window_seconds,
        };
        Self {
            began: Instant::now(),
            limits: [
                limit("minute".into(), 5 + chance.below(200), chance.below(10), 60),
                limit("burst".into(), 2 + chance.below(70), 0, 1 + chance.below(10)),
            ],
            calm: chance.below(2) == 0,
            redis: Mutex::default(),
            passed: Mutex::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("a short run")
    }

    /// One request of an instance to Redis, which may be on its way longer than it is waited for.
    async fn ask(&self, cost: u32, there_ms: u64, back_ms: u64) -> Option<(Decision, u64)> {
        let asked = async {
            sleep(Duration::from_millis(there_ms)).await;
            let at_ms = self.now_ms();
            let decision = {
                let counts = &mut *self.redis.lock().expect("no panic while it was held");
                let its_time = (1_000_000 + at_ms).saturating_sub(counts.set_back_ms);
                decide(&self.limits, &mut counts.windows, its_time, cost)
            };
            sleep(Duration::from_millis(back_ms)).await;
            (decision, at_ms)
        };
        timeout(BUDGET, asked).await.ok()
    }

    async fn instance(self: Arc<Self>, number: usize, local: Arc<Local>, mut chance: Chance) {
        let mut unlinked_until = 0;
        for _ in 0..chance.below(400) {
            sleep(Duration::from_millis(chance.one_of(&[0, 0, 1, 10, 100, 1000]))).await;
            let cost = chance.one_of(&[1, 1, 1, 2, 5]);
            let slow = !self.calm && chance.below(10) == 0;
            let most_ms = if slow { 100 } else { 20 };
            let (there_ms, back_ms) = (chance.below(most_ms).into(), chance.below(most_ms).into());
            let (began_ms, linked) = (self.now_ms(), unlinked_until <= self.now_ms());
            let mut told_at = began_ms;
            let mut broke = false;
            let decision = together(&local, "key_1", &self.limits, cost, Some(began_ms), async || {
                if !linked {
                    return None;
                }
                let answer = self.ask(cost, there_ms, back_ms).await;
                broke = answer.is_none();
                let (decision, at_ms) = answer?;
                told_at = at_ms;
                Some(decision)
            });
            let decision = decision.await;
            if broke {
                unlinked_until = self.now_ms() + PAUSE_MS;
            }
            if decision.allowed {
                // An instance answers for its own count, and a calm Redis for that of all.
                let at_ms = if self.calm { told_at } else { began_ms };
                self.passed.lock().expect("no panic while it was held").push(Passed {
                    instance: number,
                    at_ms,
                    cost,
                });
            }
        }
    }

    /// Redis loses what it counted, or its clock goes back.
    async fn trouble(self: Arc<Self>, mut chance: Chance) {
        loop {
            sleep(Duration::from_millis(chance.below(20_000).into())).await;
            let counts = &mut *self.redis.lock().expect("no panic while it was held");
            if chance.below(2) == 0 {
                counts.windows = <[Window; 2]>::default();
            } else {
                counts.set_back_ms += u64::from(chance.below(5000));
            }
        }
    }

    /// The most that passed in any stretch as long as a window, of those uses.
    fn most(passed: &[Passed], length_ms: u64) -> u64 {
        let within = |from: u64| {
            let stretch = passed
                .iter()
                .filter(|use_| (from..from + length_ms).contains(&use_.at_ms));
            stretch.map(|use_| u64::from(use_.cost)).sum()
        };
        passed.iter().map(|use_| within(use_.at_ms)).max().unwrap_or(0)
    }

    fn judge(&self, seed: u64, instances: usize) -> u64 {
        let passed = self.passed.lock().expect("no panic while it was held");
        for limit in &self.limits {
            let quota = u64::from(limit.quota());
            for number in 0..instances {
                let own: Vec<Passed> = passed.iter().filter(|use_| use_.instance == number).copied().collect();
                let most = Self::most(&own, limit.length_ms());
                assert!(
                    self.calm || most <= quota,
                    "SIMULATE={seed} breaks a promise: instance {number} let {most} of {limit:?} pass"
                );
            }
            let most = Self::most(&passed, limit.length_ms());
            assert!(
                !self.calm || most <= quota,
                "SIMULATE={seed} breaks a promise: together {most} of {limit:?} passed"
            );
        }
        passed.len() as u64
    }
}

async fn schedule(seed: u64) -> u64 {
    let mut chance = Chance::new(seed, 1_000);
    let world = Arc::new(World::new(&mut chance));
    let instances = 1 + chance.below(4) as usize;
    let mut actors = JoinSet::new();
    for number in 0..instances {
        let local = Arc::new(Local::new(Arc::default()));
        // Several at once in each instance.
        for request in 0..=u64::from(chance.below(3)) {
            let chance = Chance::new(seed, 2_000 + number as u64 * 10 + request);
            actors.spawn(Arc::clone(&world).instance(number, Arc::clone(&local), chance));
        }
    }
    let mut troubles = JoinSet::new();
    if !world.calm {
        troubles.spawn(Arc::clone(&world).trouble(Chance::new(seed, 3_000)));
    }
    actors.join_all().await;
    world.judge(seed, instances)
}

/// The number of uses that passed.
pub fn run(seed: u64) -> u64 {
    on_its_own_clock(schedule(seed))
}
