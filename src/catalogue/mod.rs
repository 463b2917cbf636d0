//! The document as those see it who manage keys over HTTP: read as fresh as the store has it, changed with nobody else's
//! change lost, and each change in force on this instance before it is answered.
//!
//! All of it runs on the runtime that carries the loader, and the long part on that runtime's threads for blocking work:
//! a worker that answers verifies only waits for a message.

mod listing;
mod record;
mod search;

use std::sync::{Arc, PoisonError};

use serde_json::value::RawValue;
use tokio::{
    runtime::Handle,
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
    time::{Duration, Instant, sleep, timeout},
};

pub use self::{
    listing::{After, Filter, Listing, Page},
    record::{Record, Status},
    search::{Needle, Order, Search},
};
use crate::{
    clock::Clock,
    core::{
        bounds::Bounds,
        change::{Change, ChangeError},
        document::Document,
        index::Index,
        key::Key,
        time::Timestamp,
        verify::Refusal,
    },
    envelope::Envelope,
    loader::{Reader, Refresher, Rules},
    store::{
        Fetched, Store, StoreError, Version,
        commit::{self, CommitError, Committed, Found},
    },
};

/// How long a listing stays in memory after it was last asked for.
const KEPT: Duration = Duration::from_mins(1);
/// How many changes may wait for their turn, and for how long.
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// Cloning is cheap.
#[derive(Clone)]
pub struct Catalogue {
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    store: Arc<Store>,
    envelope: Envelope,
    clock: Arc<Clock>,
    refresher: Refresher,
    reader: Reader,
    allow_unconditional: bool,
    /// Own changes go one after the other: they would only be in each other's way at the store.
    turn: Semaphore,
    waiting: Semaphore,
    known: Mutex<Option<Known>>,
}

/// The latest listing, and when it was last found to be what the store has.
struct Known {
    version: Version,
    listing: Arc<Listing>,
    confirmed: Instant,
}

/// Why nothing could be read, or nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    UnknownKey,
    /// The one who asks may not make this change.
    NotAllowed,
    /// The key by which it is asked for is not what it was.
    Asker(Refusal),
    /// The record is not the one that was expected.
    Changed,
    KeyRevoked,
    KeyExpired,
    BadRecord,
    /// An earlier secret cannot stay good.
    NoOverlap,
    Store,
    /// The document cannot be read or is one that is refused, or the store cannot be trusted with a write.
    Unfit,
    Contended,
    Busy,
    /// The change may have been made.
    Unknown,
}

/// A change that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The record as it now stands; `None` where the change was not about one that is still there.
    pub record: Option<Record>,
}

/// A record, and within what its key is held; `None` when that cannot be read.
#[derive(Clone, Debug)]
pub struct Standing {
    pub record: Record,
    pub bounds: Option<Bounds>,
}

impl Standing {
    pub fn read(raw: &RawValue) -> Option<Self> {
        Some(Self::of(Record::read(raw, None)?, raw))
    }

    fn of(record: Record, raw: &RawValue) -> Self {
        let bounds = Key::read(raw).ok().as_ref().map(Bounds::of_key);
        Self { record, bounds }
    }
}

/// What has to be true of a record, as it is and as it will be.
pub type Guard = Arc<dyn Fn(&Standing, &Standing) -> Result<(), Trouble> + Send + Sync>;

/// What has to be true of the one who asks.
pub type AskerGuard = Arc<dyn Fn(&Document, Timestamp) -> Result<(), Refusal> + Send + Sync>;

/// What has to be true for a change to be made; asked of the very document that is written back.
#[derive(Clone, Default)]
pub struct Conditions {
    pub asker: Option<AskerGuard>,
    /// Of the record that is changed, which has to be there.
    pub record: Option<Guard>,
}

impl Catalogue {
    /// To be called within the runtime that is to do the work.
    pub fn new(
        store: Arc<Store>,
        envelope: Envelope,
        clock: Arc<Clock>,
        refresher: Refresher,
        reader: Reader,
        allow_unconditional: bool,
    ) -> Self {
        let shared = Shared {
            store,
            envelope,
            clock,
            refresher,
            reader,
            allow_unconditional,
            turn: Semaphore::new(1),
            waiting: Semaphore::new(WAITING),
            known: Mutex::new(None),
        };
        Self {
            shared: Arc::new(shared),
            runtime: Handle::current(),
        }
    }

    /// Carries something out to its end, whether or not the one who asked still waits. `None` after a defect.
    pub async fn carry_out<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.runtime.spawn(work).await.ok()
    }

    /// Whether a key has this id. While the store does not answer none is known to.
    pub async fn knows(&self, id: &str) -> bool {
        self.listing().await.is_ok_and(|listing| listing.find(id).is_some())
    }

    /// All records, as the store has them at a moment after this was called.
    pub async fn listing(&self) -> Result<Arc<Listing>, Trouble> {
        let asked = Instant::now();
        let mut known = self.shared.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.confirmed >= asked) {
            return Ok(Arc::clone(&known.listing));
        }
        let (began, rules) = (Instant::now(), self.shared.reader.rules());
        let version = known.as_ref().map(|known| known.version.clone());
        let fetched = self.shared.store.read_if_changed(version.as_ref()).await;
        match fetched.map_err(Trouble::from)? {
            Fetched::Unchanged => {}
            // As everywhere: absence after a document is a fault, absence before the first one is no keys.
            Fetched::Missing if known.is_some() || self.shared.has_seen_keys() => return Err(Trouble::Store),
            Fetched::Missing => return Ok(Arc::default()),
            Fetched::Object { version, bytes } => {
                let envelope = self.shared.envelope.clone();
                let listing = spawn_blocking(move || read(&envelope, &bytes, &rules))
                    .await
                    .unwrap_or(Err(Trouble::Unfit))?;
                if known.is_none() {
                    self.runtime.spawn(forget(Arc::clone(&self.shared)));
                }
                *known = Some(Known {
                    version,
                    listing: Arc::new(listing),
                    confirmed: began,
                });
            }
        }
        let known = known.as_mut().ok_or(Trouble::Store)?;
        known.confirmed = began;
        Ok(Arc::clone(&known.listing))
    }

    /// Asks all records something that takes its time where there are many.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Listing) -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let listing = self.listing().await?;
        spawn_blocking(move || question(&listing))
            .await
            .map_err(|_| Trouble::Unfit)
    }

    /// Takes away every key of this owner by one write, and tells which those were. To be called within `carry_out`.
    pub async fn revoke_all_of(&self, owner: String, reason: &str, at: Timestamp) -> Result<Vec<String>, Trouble> {
        let filter = Filter {
            owner: Some(owner.clone()),
            good_only: false,
        };
        let unrevoked = self.ask(move |listing| listing.unrevoked(&filter)).await?;
        if unrevoked.is_empty() {
            return Ok(unrevoked);
        }
        let reason = reason.to_owned();
        let change = Change::RevokeOwned { owner, reason, at };
        self.change(change, Conditions::default()).await?;
        Ok(unrevoked)
    }

    /// Makes the change if the conditions hold. To be called within `carry_out`.
    pub async fn change(&self, change: Change, conditions: Conditions) -> Result<Made, Trouble> {
        let _waiting = self.shared.waiting.try_acquire().map_err(|_| Trouble::Busy)?;
        let turn = timeout(PATIENCE, self.shared.turn.acquire())
            .await
            .map_err(|_| Trouble::Busy)?;
        let (shared, runtime) = (Arc::clone(&self.shared), self.runtime.clone());
        let committed = spawn_blocking(move || runtime.block_on(shared.commit(&change, &conditions))).await;
        drop(turn);
        let committed = committed.unwrap_or(Err(Trouble::Unknown))?;
        // When this fails the loader says so, and the change is in force here at the next poll.
        let _ = self.shared.refresher.refresh(false).await;
        let record = committed
            .applied
            .record
            .and_then(|json| RawValue::from_string(json).ok());
        Ok(Made {
            record: record.and_then(|raw| Record::read(&raw, None)),
        })
    }
}

impl Shared {
    async fn commit(&self, change: &Change, conditions: &Conditions) -> Result<Committed, Trouble> {
        let refusal = std::sync::Mutex::new(None);
        let rules = self.reader.rules();
        let check = |found: &Found<'_>| {
            rules.check_found(found)?;
            self.judge(found.document, change, conditions).map_err(|trouble| {
                *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
                ChangeError::NotAllowed
            })
        };
        let committing = commit::commit_checked(
            &self.store,
            &self.envelope,
            change,
            &self.clock,
            self.allow_unconditional,
            &check,
        );
        let committed = committing.await;
        let refusal = refusal.into_inner().unwrap_or_else(PoisonError::into_inner);
        committed.map_err(|error| match (error, refusal) {
            (CommitError::Change(ChangeError::NotAllowed), Some(trouble)) => trouble,
            (error, _) => error.into(),
        })
    }

    fn judge(&self, document: &Document, change: &Change, conditions: &Conditions) -> Result<(), Trouble> {
        let is_blank = document.generation().is_none() && document.records().len() == 0;
        if is_blank && self.has_seen_keys() {
            // A document that is gone must not be begun anew: whoever has seen the old one would never take the new.
            return Err(Trouble::Store);
        }
        if let Some(asker) = &conditions.asker {
            asker(document, self.clock.now()).map_err(Trouble::Asker)?;
        }
        match (&conditions.record, change.key_id()) {
            (Some(guard), Some(id)) => judge_record(document, id, change, guard),
            _ => Ok(()),
        }
    }

    /// Whether a document with something in it is in force here.
    fn has_seen_keys(&self) -> bool {
        let loaded = self.reader.current();
        loaded.is_some_and(|loaded| loaded.index.generation().is_some() || loaded.index.keys_count() > 0)
    }
}

/// Asks the guard about every record with this id.
fn judge_record(document: &Document, id: &str, change: &Change, guard: &Guard) -> Result<(), Trouble> {
    let mut found = false;
    for raw in document.records() {
        let Some(record) = Record::read(raw, None).filter(|record| record.id == id) else {
            continue;
        };
        found = true;
        let before = Standing::of(record, raw);
        let after = change.patched(raw).and_then(|raw| Standing::read(&raw));
        guard(&before, after.as_ref().unwrap_or(&before))?;
    }
    if found { Ok(()) } else { Err(Trouble::UnknownKey) }
}

fn read(envelope: &Envelope, bytes: &[u8], rules: &Rules) -> Result<Listing, Trouble> {
    let json = envelope.open(bytes).map_err(|_| Trouble::Unfit)?;
    let index = Index::build(&json).map_err(|_| Trouble::Unfit)?;
    let document = Document::parse(&json).map_err(|_| Trouble::Unfit)?;
    let is_sound = rules.check(Envelope::is_sealed(bytes), document.generation());
    is_sound.map_err(|_| Trouble::Unfit)?;
    Ok(Listing::new(&document, &index))
}

/// Gives the memory back once nobody has asked for a while.
async fn forget(shared: Arc<Shared>) {
    loop {
        sleep(KEPT).await;
        let mut known = shared.known.lock().await;
        if known.as_ref().is_none_or(|known| known.confirmed.elapsed() >= KEPT) {
            *known = None;
            return;
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreachable
            | StoreError::Timeout
            | StoreError::Forbidden
            | StoreError::NoBucket
            | StoreError::Failed
            | StoreError::Incomplete
            | StoreError::NoCredentials => Self::Store,
            StoreError::TooLarge => Self::Unfit,
        }
    }
}

impl From<CommitError> for Trouble {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Change(error) => error.into(),
            CommitError::Store(error) => error.into(),
            CommitError::Envelope(_) | CommitError::Document(_) | CommitError::ConditionsIgnored => Self::Unfit,
            CommitError::Unknown => Self::Unknown,
            CommitError::Contended => Self::Contended,
        }
    }
}

impl From<ChangeError> for Trouble {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::UnknownKey => Self::UnknownKey,
            // A new id is random: that it is taken is as good as another writer's being faster. And what only imports and
            // rollbacks come to means that the document is not the one they were planned for.
            ChangeError::IdTaken | ChangeError::ImportRefused(_) | ChangeError::Overtaken => Self::Contended,
            ChangeError::Revoked => Self::KeyRevoked,
            ChangeError::Expired => Self::KeyExpired,
            ChangeError::Changed => Self::Changed,
            ChangeError::NotAllowed => Self::NotAllowed,
            ChangeError::Unsound => Self::Unfit,
            ChangeError::BadRecord => Self::BadRecord,
            ChangeError::TooManySecrets => Self::NoOverlap,
        }
    }
}
