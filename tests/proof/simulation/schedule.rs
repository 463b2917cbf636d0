//! One schedule: writers, instances, those who ask for refreshes and those who look, on one simulated clock, until everything
//! is calm again. The same seed is the same schedule.

use super::{
    actor::{Chance, acting, fraction},
    bucket::{Bucket, LANES, Ruin, Way, Weather},
    history::{History, Seen},
    instance::Instance,
    writer::Writer,
};
use heare_auth::{core::secret::Secret, envelope::Envelope};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How long things may go wrong.
const TROUBLE: Duration = Duration::from_secs(40);
/// After this nothing is on its way any more, and every writer has come to an end.
const SETTLED: Duration = Duration::from_mins(1);
/// How soon an instance without a document has one when the store answers again.
const BOOT: Duration = Duration::from_secs(5);
/// While a store fails, an instance asks it at least this often; each wait is spread by a tenth.
const LONGEST_PAUSE: Duration = Duration::from_secs(33);
/// A whole load on a calm day.
const LOAD: Duration = Duration::from_secs(1);

/// What came of a schedule.
pub struct Outcome {
    pub broken: Vec<String>,
    pub told: Vec<String>,
    pub seen: Seen,
}

/// Runs a schedule to its end.
pub fn run(seed: u64) -> Outcome {
    on_its_own_clock(async move { Schedule::new(seed).run().await })
}

/// On a clock that goes on whenever nothing else can.
pub fn on_its_own_clock<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(task)
}

struct Schedule {
    seed: u64,
    bucket: Arc<Bucket>,
    envelope: Envelope,
    chance: Chance,
    poll_interval: Duration,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 0);
        let secret = (chance.below(3) == 0).then(|| Secret::new("a storage secret"));
        let envelope = Envelope::new(secret.as_ref());
        let weather = Weather {
            faults: chance.one_of(&[0, 10, 30, 60]),
            stale: chance.below(4) == 0,
            cut_off: Chance::new(seed, 1000).below(6) == 0,
        };
        Self {
            seed,
            bucket: Bucket::new(weather, History::new(envelope.clone())),
            envelope,
            poll_interval: Duration::from_secs(chance.one_of(&[2, 5, 20])),
            chance,
        }
    }

    fn chance(&self, actor: u64) -> Chance {
        Chance::new(self.seed, actor)
    }

    async fn run(mut self) -> Outcome {
        let directory = tempfile::tempdir().expect("a directory");
        let instances: Vec<Instance> = (0..=u64::from(self.chance.below(3)))
            .map(|number| self.instance(number, directory.path()))
            .collect();
        let mut actors = JoinSet::new();
        let mut askers = JoinSet::new();
        let mut writers = JoinSet::new();
        for number in 0..=u64::from(self.chance.below(4)) {
            let way = Way::new(
                &self.bucket,
                8 + number,
                format!("w{number}"),
                false,
                self.chance(100 + number),
            );
            let told = self.chance.pick(&instances).clone();
            let writer = Writer::new(
                &way,
                Arc::clone(&self.bucket),
                &self.envelope,
                told,
                self.chance(200 + number),
            );
            writers.spawn(acting(self.chance(300 + number), writer.run()));
        }
        for (number, instance) in (0..).zip(&instances) {
            actors.spawn(instance.clone().live(self.chance(400 + number)));
            actors.spawn(instance.clone().be_looked_at(self.chance(500 + number)));
            actors.spawn(instance.clone().be_checked_for_saves());
            askers.spawn(instance.clone().be_refreshed(self.chance(600 + number)));
        }
        actors.spawn(ruin(Arc::clone(&self.bucket), self.chance(700)));
        actors.spawn(cut_off(Arc::clone(&self.bucket), self.chance(1100)));
        sleep(TROUBLE).await;
        self.end(askers).await;
        self.bucket.calm();
        self.bucket.tell("calm");
        let unloaded = instances.iter().filter(|instance| !instance.is_loaded()).count();
        self.bucket
            .look(|history| history.see("instances with nothing in force when it calmed", unloaded));
        sleep(BOOT).await;
        for instance in &instances {
            let ready = instance.is_loaded();
            self.bucket
                .look(|history| history.hold("P2 boot", ready, || format!("{} has nothing in force", instance.name())));
        }
        self.settle(instances, writers).await;
        self.end(actors).await;
        self.bucket.look(|history| Outcome {
            broken: std::mem::take(&mut history.broken),
            told: std::mem::take(&mut history.told),
            seen: std::mem::take(&mut history.seen),
        })
    }

    async fn end(&self, mut actors: JoinSet<()>) {
        actors.abort_all();
        while let Some(ended) = actors.join_next().await {
            let panicked = ended.is_err_and(|error| error.is_panic());
            assert!(!panicked, "SIMULATE={}: nobody panics", self.seed);
        }
    }

    fn instance(&self, number: u64, directory: &std::path::Path) -> Instance {
        let way = Way::new(
            &self.bucket,
            number,
            format!("i{number}"),
            true,
            self.chance(800 + number),
        );
        let snapshot = number
            .is_multiple_of(2)
            .then(|| directory.join(format!("{number}.json")));
        Instance::start(
            way,
            &self.bucket,
            &self.envelope,
            snapshot,
            self.poll_interval,
            self.chance(900 + number),
        )
    }

    /// All writers come to an end, and all instances to what is stored.
    async fn settle(&self, instances: Vec<Instance>, mut writers: JoinSet<()>) {
        let calm = Instant::now();
        let ended = timeout(SETTLED, async {
            while let Some(ended) = writers.join_next().await {
                ended.expect("no writer panics");
            }
        });
        let ended = ended.await.is_ok();
        self.bucket
            .look(|history| history.hold("P6 writers end", ended, || "a writer is still at it".to_owned()));
        tokio::time::sleep_until(calm + SETTLED).await;
        sleep(self.poll_interval.mul_f64(1.1).max(LONGEST_PAUSE) + LOAD).await;
        for instance in instances {
            instance.has_come_to_what_is_stored();
            instance.has_not_ended();
        }
    }
}

/// From time to time something else is found where the object should be.
async fn ruin(bucket: Arc<Bucket>, mut chance: Chance) {
    const RUINS: [Ruin; 6] = [
        Ruin::Gone,
        Ruin::Empty,
        Ruin::Page,
        Ruin::Truncated,
        Ruin::NoKeys,
        Ruin::First,
    ];
    for _ in 0..chance.below(3) {
        sleep(Duration::from_millis(chance.below(20_000).into())).await;
        if bucket.now_ms() >= 35_000 {
            return;
        }
        bucket.ruin(Some(chance.one_of(&RUINS)));
        sleep(Duration::from_millis(chance.below(10_000).into())).await;
        bucket.ruin(None);
    }
}

/// In some schedules nobody reaches the store any more until it calms, from a millisecond on in which nothing arrives.
async fn cut_off(bucket: Arc<Bucket>, mut chance: Chance) {
    if chance.below(6) == 0 {
        let at = LANES * u64::from(1 + chance.below(2_000)) - 1;
        sleep(Duration::from_millis(at)).await;
        bucket.cut_off();
    }
}

/// What the product draws its chances from.
pub const CHANCE: fn() -> f64 = fraction;
