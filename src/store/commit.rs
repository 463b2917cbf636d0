//! A change to the stored document that loses nobody else's: read, apply, write if unchanged, and again.

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::{
    clock::Clock,
    core::{
        change::{self, Applied, Change, ChangeError},
        document::{Document, DocumentError},
    },
    envelope::{Envelope, EnvelopeError},
    store::{Expect, Fetched, Store, StoreError, Written},
};

/// What was written, or that nothing had to be.
#[derive(Clone, Debug)]
pub struct Committed {
    pub applied: Applied,
    pub keys_count: usize,
    pub generation: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(
        "the store ignores write conditions, so a write could undo somebody else's; ALLOW_UNCONDITIONAL_WRITES=true overrides"
    )]
    ConditionsIgnored,
    #[error("the store gave no clear answer, and it could not be found out whether the change was made")]
    Unknown,
    #[error("other writers were faster every time; nothing was changed")]
    Contended,
}

impl CommitError {
    /// Something is stored, and it is no document, or does not open with this secret.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Document(_) | Self::Envelope(EnvelopeError::WrongSecret))
    }

    /// The one word for it, wherever it is told: in the audit log, and as the `code` of an answer.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Change(error) => match error {
                ChangeError::UnknownKey => "not_found",
                ChangeError::Revoked => "key_revoked",
                ChangeError::Expired => "key_expired",
                ChangeError::Changed => "precondition_failed",
                ChangeError::NotAllowed => "broader_than_maker",
                ChangeError::Unsound => "store_unfit",
                ChangeError::BadRecord => "key_defective",
                ChangeError::TooManySecrets => "no_overlap",
                ChangeError::IdTaken | ChangeError::ImportRefused(_) | ChangeError::Overtaken => "contended",
            },
            Self::Store(StoreError::TooLarge) | Self::Envelope(_) | Self::Document(_) | Self::ConditionsIgnored => {
                "store_unfit"
            }
            Self::Store(_) => "store_unavailable",
            Self::Unknown => "outcome_unknown",
            Self::Contended => "contended",
        }
    }
}

/// How often and how long a commit tries.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Writes that another writer was faster than.
    pub conflicts: u32,
    /// Writes whose outcome the store did not tell.
    pub failures: u32,
    /// From the first such write until its outcome must be known.
    pub settle_within: Duration,
    /// Between 0 and 1, by which the pauses between tries are spread.
    pub chance: fn() -> f64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            conflicts: 20,
            failures: 5,
            settle_within: Duration::from_secs(20),
            chance: rand::random,
        }
    }
}

/// The stored document as it is now, for commands that only look.
pub async fn read(store: &Store, envelope: &Envelope) -> Result<Document, CommitError> {
    parse(&store.read_if_changed(None).await?, envelope)
}

/// A version of the stored document.
pub struct Kept {
    pub document: Document,
    pub is_sealed: bool,
}

/// One version; `None` when there is no such version.
pub async fn read_version(store: &Store, envelope: &Envelope, id: &str) -> Result<Option<Kept>, CommitError> {
    match store.read_version(id).await? {
        Fetched::Missing | Fetched::Unchanged => Ok(None),
        fetched @ Fetched::Object { .. } => Ok(Some(Kept {
            document: parse(&fetched, envelope)?,
            is_sealed: is_sealed(&fetched),
        })),
    }
}

/// Makes one change. Repeats are bounded and jittered; a lost answer is settled by looking for the write's own id.
pub async fn commit(
    store: &Store,
    envelope: &Envelope,
    change: &Change,
    clock: &Clock,
    allow_unconditional: bool,
) -> Result<Committed, CommitError> {
    commit_with(store, envelope, change, clock, allow_unconditional, Patience::default()).await
}

/// What is stored, as a change finds it.
pub struct Found<'a> {
    pub document: &'a Document,
    pub is_sealed: bool,
}

/// What else has to hold for a change to be made: asked of each document that is about to be changed, so that nothing can
/// come between the check and the write.
pub type Check<'a> = &'a (dyn Fn(&Found<'_>) -> Result<(), ChangeError> + Send + Sync);

/// Makes one change if the check allows it.
pub async fn commit_checked(
    store: &Store,
    envelope: &Envelope,
    change: &Change,
    clock: &Clock,
    allow_unconditional: bool,
    check: Check<'_>,
) -> Result<Committed, CommitError> {
    let patience = Patience::default();
    Commit::new(store, envelope, change, clock, allow_unconditional, patience, check)
        .run()
        .await
}

/// The same with another patience.
pub async fn commit_with(
    store: &Store,
    envelope: &Envelope,
    change: &Change,
    clock: &Clock,
    allow_unconditional: bool,
    patience: Patience,
) -> Result<Committed, CommitError> {
    Commit::new(store, envelope, change, clock, allow_unconditional, patience, &|_| {
        Ok(())
    })
    .run()
    .await
}

struct Commit<'a> {
    store: &'a Store,
    envelope: &'a Envelope,
    change: &'a Change,
    clock: &'a Clock,
    allow_unconditional: bool,
    patience: Patience,
    check: Check<'a>,
    /// The same in every attempt: it marks this change, whichever of its writes got through.
    write_id: String,
    /// What the change did to the document that was offered to the store last.
    offered: Option<Applied>,
    lost: Option<Lost>,
    /// There was an object, so its absence would be a fault and not an empty document.
    seen: bool,
}

/// A write whose outcome is open.
struct Lost {
    error: StoreError,
    since: Instant,
    times: u32,
}

/// What is stored, and what it says.
struct Current {
    fetched: Fetched,
    document: Document,
    expect: Expect,
}

impl<'a> Commit<'a> {
    fn new(
        store: &'a Store,
        envelope: &'a Envelope,
        change: &'a Change,
        clock: &'a Clock,
        allow_unconditional: bool,
        patience: Patience,
        check: Check<'a>,
    ) -> Self {
        Self {
            store,
            envelope,
            change,
            clock,
            allow_unconditional,
            patience,
            check,
            write_id: new_write_id(),
            offered: None,
            lost: None,
            seen: false,
        }
    }
}

impl Commit<'_> {
    async fn run(mut self) -> Result<Committed, CommitError> {
        let mut conflicts = 0;
        loop {
            let current = self.current().await?;
            if let Some(made) = self.made_before(&current.document) {
                return Ok(made);
            }
            if conflicts >= self.patience.conflicts || self.is_out_of_patience() {
                return Err(self.give_up());
            }
            match self.write(current).await? {
                Outcome::Made(committed) => return Ok(committed),
                Outcome::Conflict => conflicts += 1,
                Outcome::Open => {}
            }
            self.pause(conflicts).await;
        }
    }

    /// Reads the document. While an outcome is open, reading is all that can settle it, so it is repeated.
    async fn current(&mut self) -> Result<Current, CommitError> {
        loop {
            let error = match self.read().await {
                Ok(current) => return Ok(current),
                Err(error) => error,
            };
            match &self.lost {
                // The store has said "no" to a write, which something on the way may have sent twice.
                None if self.offered.is_some() => return Err(CommitError::Unknown),
                None => return Err(error),
                Some(lost) if lost.since.elapsed() > self.patience.settle_within => return Err(CommitError::Unknown),
                Some(_) => self.pause(0).await,
            }
        }
    }

    async fn read(&mut self) -> Result<Current, CommitError> {
        let fetched = self.store.read_if_changed(None).await?;
        if self.seen && matches!(fetched, Fetched::Missing) {
            return Err(StoreError::Failed.into());
        }
        self.seen |= matches!(fetched, Fetched::Object { .. });
        let document = match parse(&fetched, self.envelope) {
            // An earlier version takes the place of what is no document, too.
            Err(error) if error.is_damage() && matches!(self.change, Change::Restore(_)) => Document::empty(),
            parsed => parsed?,
        };
        Ok(Current {
            document,
            expect: expect(&fetched),
            fetched,
        })
    }

    /// The result, if the document shows that a write of ours has happened. Others may have written since. The store's word
    /// that it has not is no proof: something on the way may have sent the write twice, and passed on the second answer.
    fn made_before(&self, document: &Document) -> Option<Committed> {
        let offered = self.offered.as_ref()?;
        let is_told_by_the_change = self.lost.is_some() || change::shows_itself(self.change);
        let made = document.write_id() == Some(&self.write_id)
            || is_told_by_the_change && change::is_in(document, self.change);
        made.then(|| committed(offered.clone(), document))
    }

    async fn write(&mut self, current: Current) -> Result<Outcome, CommitError> {
        let Current {
            fetched,
            mut document,
            expect,
        } = current;
        match (self.check)(&Found {
            document: &document,
            is_sealed: is_sealed(&fetched),
        }) {
            // What was read may be a document from before an earlier write of this change.
            Err(ChangeError::Unsound) if self.offered.is_some() => return Err(CommitError::Unknown),
            checked => checked?,
        }
        let applied = change::apply(&mut document, self.change)?;
        if self.is_needless(&fetched, &applied) {
            return Ok(Outcome::Made(committed(applied, &document)));
        }
        if !self.allow_unconditional {
            match self.store.keeps_conditions(&fetched).await {
                Ok(true) => {}
                Ok(false) => return Err(CommitError::ConditionsIgnored),
                Err(error) if self.lost.is_none() => return Err(error.into()),
                Err(error) => return Ok(self.stays_open(error)),
            }
        }
        // Large documents: from here on memory holds one form of it at a time.
        drop(fetched);
        document.stamp(&self.write_id, self.clock.now());
        let committed = committed(applied, &document);
        let json = document.to_json();
        drop(document);
        let object = Bytes::from(self.envelope.seal(json));
        self.offered = Some(committed.applied.clone());
        match self.store.write_if_unchanged(object, &expect).await {
            Ok(Written::Done(_)) => Ok(Outcome::Made(committed)),
            Ok(Written::Conflict) => Ok(Outcome::Conflict),
            Err(error) if is_refusal(error) && self.lost.is_none() => Err(error.into()),
            Err(error) => Ok(self.stays_open(error)),
        }
    }

    /// A change that finds nothing to do writes nothing; a migration also sees to it that the object is encrypted.
    fn is_needless(&self, fetched: &Fetched, applied: &Applied) -> bool {
        let may_stay_as_it_is = match fetched {
            Fetched::Object { .. } => is_sealed(fetched) || !self.envelope.seals(),
            Fetched::Missing | Fetched::Unchanged => true,
        };
        let changes_nothing = applied.changed == 0 && applied.sealed == 0;
        changes_nothing && (may_stay_as_it_is || !matches!(self.change, Change::Migrate))
    }

    /// A write may have happened, or one before it: a refusal says nothing of what may still be on its way.
    fn stays_open(&mut self, error: StoreError) -> Outcome {
        match &mut self.lost {
            None => {
                let (since, times) = (Instant::now(), 1);
                self.lost = Some(Lost { error, since, times });
            }
            Some(lost) => {
                lost.times += 1;
                // Who was not answered once does not know, whatever is answered later.
                if lost.error == StoreError::Failed {
                    lost.error = error;
                }
            }
        }
        Outcome::Open
    }

    fn is_out_of_patience(&self) -> bool {
        let Some(lost) = &self.lost else {
            return false;
        };
        lost.times >= self.patience.failures || lost.since.elapsed() > self.patience.settle_within
    }

    /// The document was just read and the change is not in it.
    fn give_up(&self) -> CommitError {
        match self.lost.as_ref().map(|lost| lost.error) {
            None => CommitError::Contended,
            Some(StoreError::Failed) => CommitError::Store(StoreError::Failed),
            // A write that was not answered may still be on its way.
            Some(_) => CommitError::Unknown,
        }
    }

    /// Full jitter: other writers, and other services after an outage, are spread over the whole time.
    async fn pause(&self, conflicts: u32) {
        let longest_ms = match &self.lost {
            Some(lost) => 100 << lost.times.min(4),
            None => (5 << conflicts.min(7)).min(500),
        };
        sleep(Duration::from_millis(longest_ms).mul_f64((self.patience.chance)())).await;
    }
}

enum Outcome {
    Made(Committed),
    Conflict,
    Open,
}

fn parse(fetched: &Fetched, envelope: &Envelope) -> Result<Document, CommitError> {
    match fetched {
        Fetched::Object { bytes, .. } => Ok(Document::parse(&envelope.open(bytes)?)?),
        // Nothing was known that could be unchanged.
        Fetched::Missing | Fetched::Unchanged => Ok(Document::empty()),
    }
}

fn expect(fetched: &Fetched) -> Expect {
    match fetched {
        Fetched::Object { version, .. } => Expect::Version(version.clone()),
        Fetched::Missing | Fetched::Unchanged => Expect::Absent,
    }
}

fn is_sealed(fetched: &Fetched) -> bool {
    matches!(fetched, Fetched::Object { bytes, .. } if Envelope::is_sealed(bytes))
}

/// Errors after which the write certainly did not happen.
const fn is_refusal(error: StoreError) -> bool {
    match error {
        StoreError::Forbidden | StoreError::NoBucket | StoreError::NoCredentials | StoreError::TooLarge => true,
        StoreError::Unreachable | StoreError::Timeout | StoreError::Failed | StoreError::Incomplete => false,
    }
}

fn committed(applied: Applied, document: &Document) -> Committed {
    Committed {
        applied,
        keys_count: document.records().len(),
        generation: document.generation().unwrap_or_default(),
    }
}

fn new_write_id() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}
