//! An instance: the product's loader over its own way to the bucket, with those who look at it, refresh it and kill it.

use super::{
    actor::{Chance, acting},
    bucket::{Bucket, LANES, Way},
    history::Written,
    schedule::CHANCE,
};
use heare_auth::{
    core::index::Index,
    envelope::Envelope,
    loader::{LoadError, LoaderOptions, Reader, Refresher, loader},
    snapshot::SnapshotFile,
    telemetry::{Telemetry, log::LogQueue},
};
use std::{
    collections::BTreeMap,
    fs, io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};

/// A refresh is answered within its own bound.
const REFRESH_WAIT: Duration = Duration::from_secs(36);

/// How long a question that gets no answer may last before the same load asks once more.
const ASKED_AGAIN: Duration = Duration::from_millis(300);

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
    /// The newest generation that anybody saw in force here, or that the snapshot had when this life began.
    seen: u64,
    saved: Saved,
}

/// What the snapshot's file holds, and what it held before it was last replaced in this life: that is what a kill leaves
/// which comes before the document is saved.
#[derive(Default)]
struct Saved {
    now: Snapshot,
    before: Snapshot,
}

#[derive(Clone, Default)]
struct Snapshot {
    generation: u64,
    /// `None` where there is no file.
    file: Option<Vec<u8>>,
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
        let left = Snapshot::default();
        let life = begin(&way, envelope, snapshot.as_ref(), poll_interval, chance, 0, left);
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
            let pause = u64::from(chance.below(40_000));
            if !self.quiet_moment(pause).await {
                return;
            }
            let drawn = u64::from(chance.below(u32::MAX));
            let saved_too_late = Chance::new(drawn, LANES + number).below(2) == 0;
            let left = self.be_killed(Chance::new(drawn, number), number, saved_too_late);
            // Before anything can arrive from the store.
            sleep(Duration::from_millis(1)).await;
            let (now, name) = (self.look(), shared.way.name());
            let loaded = self.is_loaded() == left.is_some();
            let as_left = loaded && now == left.unwrap_or_default();
            shared.bucket.look(|history| {
                history.hold("P2 a snapshot is in force at once", as_left, || {
                    format!("{name} has {now} in force, and its snapshot was left as {left:?}")
                });
            });
        }
    }

    /// Waits at least so long, until a millisecond in which nobody else does anything; false when that is too late for a kill.
    async fn quiet_moment(&self, pause: u64) -> bool {
        let now = self.0.bucket.now_ms();
        let at = (now + pause) / LANES * LANES + LANES - 1;
        if at >= LAST_KILL {
            return false;
        }
        sleep(Duration::from_millis(at - now)).await;
        true
    }

    /// A kill may come before the last save, which goes on beside the loader: then the next life knows what the snapshot was
    /// before that, and nothing newer. The generation of the snapshot that is left, if one is.
    fn be_killed(&self, chance: Chance, number: u64, saved_too_late: bool) -> Option<u64> {
        let shared = &self.0;
        self.look();
        self.has_not_ended();
        let mut life = shared.life.lock().expect("no panic while it was held");
        life.task.abort();
        let mut left = Snapshot::default();
        if let Some(path) = &shared.snapshot {
            life.note_saved(path);
            let saved = mem::take(&mut life.saved);
            left = if saved_too_late {
                saved.before.put_back(path);
                saved.before
            } else {
                saved.now
            };
        }
        let generation = left.file.is_some().then_some(left.generation);
        let name = shared.way.name();
        shared.bucket.look(|history| history.see("kills", 1));
        shared
            .bucket
            .tell(format!("{name} is killed and leaves {generation:?} of {}", life.seen));
        let (way, snapshot) = (&shared.way, shared.snapshot.as_ref());
        *life = begin(
            way,
            &shared.envelope,
            snapshot,
            shared.poll_interval,
            chance,
            number,
            left,
        );
        generation
    }

    /// Looks what is saved, in milliseconds in which nothing arrives: so that every save has come to its end, and none is
    /// followed by another before it is looked at.
    pub async fn be_checked_for_saves(self) {
        let Some(path) = &self.0.snapshot else {
            return;
        };
        while self.quiet_moment(1).await {
            self.0.life.lock().expect("no panic while it was held").note_saved(path);
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
        self.look_at_freshness(&life.reader);
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
            let known = history.written_in(generation);
            let other: Vec<String> = known.map_or(vec!["all".to_owned()], |keys| {
                let other = keys.iter().filter(|(id, key)| !is_in_force(index, id, key));
                other.map(|(id, _)| id.clone()).collect()
            });
            // Secrets that were rotated or deleted, or are not made yet.
            let besides = history.secrets().iter().filter(|secret| {
                let of_key = |id| known.and_then(|keys| keys.get(id));
                let found = index.find(secret);
                found.is_some_and(|entry| of_key(entry.id).is_none_or(|key| key.digest != **secret))
            });
            let (besides, known) = (besides.count(), known.map_or(0, BTreeMap::len));
            let shown = || format!("{name} has others than were written in generation {generation}: {other:?}");
            history.hold("P3 key for key", other.is_empty(), shown);
            let whole = besides == 0 && index.keys_count() == known && index.bad_records_count() == 0;
            let shown = || {
                let count = index.keys_count();
                format!("{name} has {count} keys of {known} in generation {generation}, and {besides} secrets besides")
            };
            history.hold("P3 all or nothing", whole, shown);
        });
        life.seen = life.seen.max(generation);
        generation
    }

    /// What is in force is as old as the question to which the store last said that it is what is stored.
    fn look_at_freshness(&self, reader: &Reader) {
        let (shared, freshness) = (&self.0, reader.freshness());
        let name = shared.way.name();
        let in_force = reader
            .current()
            .map(|loaded| loaded.index.generation().unwrap_or_default());
        let confirmed = in_force.and_then(|generation| shared.way.confirmed(generation));
        if confirmed.is_some_and(|confirmed| confirmed.told.elapsed().is_zero()) {
            // It may not have been taken yet.
            return;
        }
        let least = confirmed.map(|confirmed| confirmed.asked.elapsed());
        let most = least.map(|least| least + ASKED_AGAIN);
        shared.bucket.look(|history| {
            let true_age = least <= freshness.age && freshness.age <= most;
            history.hold("P5 the age can be seen", true_age, || {
                format!("{name} says {freshness:?} of {in_force:?}, which was confirmed {least:?} ago")
            });
            let no_defect = freshness.last_error != Some(LoadError::Internal);
            history.hold("nobody panics", no_defect, || format!("a load of {name} did"));
            let is_outdated = freshness.age.is_some() && freshness.last_error.is_some();
            history.see("looks at an age while loads failed", is_outdated.into());
        });
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
            let is_success = answer.is_ok() && honest && same_life;
            history.see("refreshes that succeeded", is_success.into());
            history.hold("P5 in force when refreshed", !is_success || now >= generation, || {
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

    /// A loader is killed or goes on.
    pub fn has_not_ended(&self) {
        let life = self.0.life.lock().expect("no panic while it was held");
        let (ended, name) = (life.task.is_finished(), self.0.way.name());
        self.0.bucket.look(|history| {
            history.hold("nobody panics", !ended, || format!("the loader of {name} has ended"));
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

impl Life {
    fn note_saved(&mut self, path: &Path) {
        // Nothing is in force yet in the millisecond in which a life begins, and of an empty store nothing is saved.
        let Some(generation) = self.reader.current().and_then(|loaded| loaded.index.generation()) else {
            return;
        };
        if generation != self.saved.now.generation {
            let file = fs::read(path).ok();
            self.saved.before = mem::replace(&mut self.saved.now, Snapshot { generation, file });
        }
    }
}

impl Snapshot {
    fn put_back(&self, path: &Path) {
        match &self.file {
            Some(file) => fs::write(path, file).expect("a file that can be written"),
            None => {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// As it is written, and with no more.
fn is_in_force(index: &Index, id: &str, key: &Written) -> bool {
    index.find(&key.digest).is_some_and(|entry| {
        let per_hour = entry.policy.and_then(|policy| policy.rate_limit_per_hour());
        let same = (entry.id, entry.name, per_hour) == (id, &key.name, key.per_hour);
        same && entry.revoked != key.active && entry.expires_at.is_none() && entry.previous_until.is_none()
    })
}

fn begin(
    way: &Way,
    envelope: &Envelope,
    snapshot: Option<&PathBuf>,
    poll_interval: Duration,
    chance: Chance,
    number: u64,
    left: Snapshot,
) -> Life {
    let snapshot = snapshot.map(|path| SnapshotFile {
        path: path.clone(),
        envelope: envelope.clone(),
        max_document_bytes: 1 << 20,
    });
    way.begin_anew();
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
        seen: left.generation,
        saved: Saved {
            now: left.clone(),
            before: left,
        },
    }
}

fn log() -> LogQueue {
    static LOG: OnceLock<LogQueue> = OnceLock::new();
    LOG.get_or_init(|| LogQueue::start(io::sink(), 1 << 20).expect("a thread"))
        .clone()
}
