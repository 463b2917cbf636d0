//! An instance: the product's loader over its own way to the bucket, with those who look at it, refresh it and kill it.

use super::{
    actor::{Chance, acting},
    bucket::{Bucket, LANES, Way},
    schedule::CHANCE,
};
use heare_auth::{
    core::secret::Digest,
    envelope::Envelope,
    loader::{LoaderOptions, Reader, Refresher, loader},
    snapshot::SnapshotFile,
    telemetry::{Telemetry, log::LogQueue},
};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};

/// A refresh is answered within its own bound.
const REFRESH_WAIT: Duration = Duration::from_secs(36);

/// So late that all are up again when it calms.
const LAST_KILL: u64 = 38_000;

#[derive(Clone)]
pub struct Instance(Arc<Shared>);

struct Shared {
    way: Way,
    bucket: Arc<Bucket>,
    envelope: Envelope,
    snapshot: Option<PathBuf>,
    poll_interval: Duration,
    life: Mutex<Life>,
}

/// From one start of the process to its end.
struct Life {
    number: u64,
    refresher: Refresher,
    reader: Reader,
    task: AbortHandle,
    /// The newest generation that anybody saw in force here, also before a restart where a snapshot remembers it.
    seen: u64,
}

impl Instance {
    pub fn start(
        way: Way,
        bucket: &Arc<Bucket>,
        envelope: &Envelope,
        snapshot: Option<PathBuf>,
        poll_interval: Duration,
        chance: Chance,
    ) -> Self {
        let life = begin(&way, envelope, snapshot.as_ref(), poll_interval, chance, 0, 0);
        Self(Arc::new(Shared {
            way,
            bucket: Arc::clone(bucket),
            envelope: envelope.clone(),
            snapshot,
            poll_interval,
            life: Mutex::new(life),
        }))
    }

    /// Is killed now and then, and started again.
    pub async fn live(self, mut chance: Chance) {
        let shared = &self.0;
        for number in 1..=u64::from(chance.below(3)) {
            // In a millisecond in which nobody else does anything.
            let pause = u64::from(chance.below(40_000));
            let at = (shared.bucket.now_ms() + pause) / LANES * LANES + LANES - 1;
            if at >= LAST_KILL {
                return;
            }
            sleep(Duration::from_millis(at - shared.bucket.now_ms())).await;
            let own = Chance::new(u64::from(chance.below(u32::MAX)), number);
            self.look();
            let mut life = shared.life.lock().expect("no panic while it was held");
            life.task.abort();
            let seen = if shared.snapshot.is_some() { life.seen } else { 0 };
            shared.bucket.tell(format!("{} is killed", shared.way.name()));
            let (way, snapshot) = (&shared.way, shared.snapshot.as_ref());
            *life = begin(way, &shared.envelope, snapshot, shared.poll_interval, own, number, seen);
        }
    }

    pub async fn be_looked_at(self, mut chance: Chance) {
        loop {
            sleep(Duration::from_millis((1 + chance.below(400)).into())).await;
            self.look();
        }
    }

    /// What is in force is one document that has been, whole, and none older than what was in force.
    fn look(&self) -> u64 {
        let mut life = self.0.life.lock().expect("no panic while it was held");
        let Some(loaded) = life.reader.current() else {
            return 0;
        };
        let index = &loaded.index;
        let generation = index.generation().unwrap_or_default();
        let (seen, name) = (life.seen, self.0.way.name());
        self.0.bucket.look(|history| {
            history.hold("P7 no rollback", generation >= seen, || {
                format!("{name} has {generation} in force after {seen}")
            });
            let empty = super::history::Keys::new();
            let known = if generation == 0 {
                Some(&empty)
            } else {
                history.keys_of(generation)
            };
            let whole = known.is_some_and(|keys| {
                keys.len() == index.keys_count()
                    && keys.values().all(|record| {
                        let digest = record["secret_hash"]
                            .as_str()
                            .and_then(|text| text.parse::<Digest>().ok());
                        digest.is_some_and(|digest| index.find(&digest).is_some())
                    })
            });
            let shown = || format!("{name} has {} keys in generation {generation}", index.keys_count());
            history.hold("P3 all or nothing", whole, shown);
        });
        life.seen = life.seen.max(generation);
        generation
    }

    pub async fn be_refreshed(self, mut chance: Chance) {
        loop {
            sleep(Duration::from_millis((1 + chance.below(15_000)).into())).await;
            let least = self.0.bucket.look(|history| history.generation());
            let mut asked = JoinSet::new();
            for _ in 0..chance.one_of(&[1, 2, 20]) {
                let instance = self.clone();
                asked.spawn(async move { instance.refresh_to(least).await });
            }
            asked.join_all().await;
        }
    }

    /// A refresh that succeeds brings everything into force that was stored when it was asked for.
    pub async fn refresh_to(&self, generation: u64) {
        let (refresher, number) = {
            let life = self.0.life.lock().expect("no panic while it was held");
            (life.refresher.clone(), life.number)
        };
        let (asked, honest) = (Instant::now(), !self.0.bucket.lies());
        let answer = refresher.refresh(false).await;
        let (now, honest) = (self.look(), honest && !self.0.bucket.lies());
        let same_life = self.0.life.lock().expect("no panic while it was held").number == number;
        let name = self.0.way.name();
        self.0.bucket.look(|history| {
            history.hold("P17 answered in time", asked.elapsed() <= REFRESH_WAIT, || {
                format!("{name} answered {answer:?} after {:?}", asked.elapsed())
            });
            let in_force = answer.is_err() || !honest || !same_life || now >= generation;
            history.hold("P5 in force when refreshed", in_force, || {
                format!("{name} has {now} in force and was refreshed for {generation}")
            });
        });
    }

    pub fn has_come_to_what_is_stored(&self) {
        let now = self.look();
        let name = self.0.way.name();
        self.0.bucket.look(|history| {
            let stored = history.generation();
            history.hold("P5 propagation", now == stored, || {
                format!("{name} still has {now} in force and not {stored}")
            });
        });
    }

    /// Something is in force.
    pub fn is_loaded(&self) -> bool {
        let life = self.0.life.lock().expect("no panic while it was held");
        life.reader.current().is_some()
    }

    pub fn name(&self) -> &str {
        self.0.way.name()
    }
}

fn begin(
    way: &Way,
    envelope: &Envelope,
    snapshot: Option<&PathBuf>,
    poll_interval: Duration,
    chance: Chance,
    number: u64,
    seen: u64,
) -> Life {
    let snapshot = snapshot.map(|path| SnapshotFile {
        path: path.clone(),
        envelope: envelope.clone(),
    });
    let options = LoaderOptions {
        poll_interval,
        strict_generation: true,
        chance: CHANCE,
    };
    let telemetry = Telemetry {
        metrics: Arc::default(),
        log: log(),
    };
    let (loader, refresher, reader) = loader(
        way.store(),
        envelope.clone(),
        snapshot,
        options,
        Arc::default(),
        telemetry,
    );
    let task = tokio::spawn(acting(chance, loader.run())).abort_handle();
    Life {
        number,
        refresher,
        reader,
        task,
        seen,
    }
}

fn log() -> LogQueue {
    static LOG: OnceLock<LogQueue> = OnceLock::new();
    LOG.get_or_init(|| LogQueue::start(io::sink(), 1 << 20).expect("a thread"))
        .clone()
}
