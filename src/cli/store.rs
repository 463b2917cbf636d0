//! Opens the stored document for a command: read it, change it, and say what to do when that does not work.

use super::{
    args::Settings,
    failure::{Failure, unknown_key},
    service::{RefreshPlan, remedy},
    trail::Trail,
};
use crate::{
    clock::Clock,
    config::{DatabasePlace, StoreConfig},
    core::{
        change::{Change, ChangeError},
        document::Document,
        time::Timestamp,
    },
    envelope::{Envelope, EnvelopeError},
    loader::{LoadError, Rules},
    store::{
        Store, StoreError, Versions,
        commit::{self, CommitError, Committed, Kept},
    },
};

/// The stored document, as one command sees it.
pub struct DocumentStore {
    pub store: Store,
    pub envelope: Envelope,
    clock: Clock,
    allow_unconditional: bool,
    /// Where changes are put down, and which database keeps them.
    audit: Option<(Trail, DatabasePlace)>,
}

impl DocumentStore {
    pub async fn open(settings: &Settings) -> Result<Self, Failure> {
        let config = StoreConfig::from_lookup(&|name| settings.get(name))?;
        let place = DatabasePlace::from_lookup(&|name| settings.get(name))?;
        let mut opened = Self::open_config(&config)
            .await
            .map_err(|error| Failure::Failed(format!("{error}\n{}", advice(error))))?;
        opened.audit = Some((settings.trail.clone(), place));
        Ok(opened)
    }

    pub async fn open_config(config: &StoreConfig) -> Result<Self, StoreError> {
        Ok(Self {
            store: Store::open(config).await?,
            envelope: Envelope::new(config.storage_secret.as_ref()),
            clock: Clock::default(),
            allow_unconditional: config.allow_unconditional_writes,
            audit: None,
        })
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub async fn read(&self) -> Result<Document, Failure> {
        let read = commit::read(&self.store, &self.envelope).await;
        read.map_err(|error| self.failure(&error, None))
    }

    /// Also where something is stored that is no document: then an empty one stands for it, beside what is wrong with it.
    pub async fn read_or_damage(&self) -> Result<(Document, Option<CommitError>), Failure> {
        match commit::read(&self.store, &self.envelope).await {
            Ok(document) => Ok((document, None)),
            Err(error) if error.is_damage() => Ok((Document::empty(), Some(error))),
            Err(error) => Err(self.failure(&error, None)),
        }
    }

    pub async fn versions(&self, limit: usize) -> Result<Versions, Failure> {
        let versions = self.store.versions(limit).await;
        versions.map_err(|error| self.failure(&error.into(), None))
    }

    pub async fn read_version(&self, id: &str) -> Result<Option<Kept>, Failure> {
        let read = commit::read_version(&self.store, &self.envelope, id).await;
        read.map_err(|error| self.failure(&error, None))
    }

    /// Makes a change, but not of a document that the service refuses to load: that would come into force with it. An earlier
    /// version is put in its place.
    pub async fn commit(&self, change: &Change, service: &RefreshPlan) -> Result<Committed, Failure> {
        let (outcome, loss) = match change {
            Change::Restore(_) => (self.commit_unasked(change).await, None),
            _ => self.commit_to_what_is_loaded(change, service).await,
        };
        if let Some((trail, place)) = &self.audit {
            let applied = outcome.as_ref().map(|committed| &committed.applied);
            trail.add(place, change, applied, self.now());
        }
        match loss {
            Some(loss) => Err(self.refused(loss)),
            None => outcome.map_err(|error| self.failure(&error, Some(change))),
        }
    }

    /// The service is asked to load only what may be refused, as that is told and counted each time.
    async fn commit_to_what_is_loaded(
        &self,
        change: &Change,
        service: &RefreshPlan,
    ) -> (Result<Committed, CommitError>, Option<LoadError>) {
        let rules = Rules::strictest(&self.envelope, service.in_force().await);
        let outcome = commit::commit_checked(
            &self.store,
            &self.envelope,
            change,
            &self.clock,
            self.allow_unconditional,
            &|found| rules.check_found(found),
        )
        .await;
        if !matches!(outcome, Err(CommitError::Change(ChangeError::Unsound))) {
            return (outcome, None);
        }
        match service.loss().await {
            Some(loss) => (outcome, Some(loss)),
            None => (self.commit_unasked(change).await, None),
        }
    }

    async fn commit_unasked(&self, change: &Change) -> Result<Committed, CommitError> {
        commit::commit(
            &self.store,
            &self.envelope,
            change,
            &self.clock,
            self.allow_unconditional,
        )
        .await
    }

    fn refused(&self, loss: LoadError) -> Failure {
        let location = self.store.location();
        Failure::Failed(format!(
            "the service does not load what is stored: {loss} ({location})\nNothing was changed. {}\n--no-refresh changes what is stored all the same.",
            remedy(loss.word())
        ))
    }

    pub fn failure(&self, error: &CommitError, change: Option<&Change>) -> Failure {
        let location = self.store.location();
        Failure::Failed(match error {
            CommitError::Change(ChangeError::UnknownKey) => match change.and_then(Change::key_id) {
                Some(id) => return unknown_key(id),
                None => error.to_string(),
            },
            CommitError::Change(ChangeError::ImportRefused(_) | ChangeError::Overtaken) => {
                format!("{error}\nNothing was changed. Run the command again to see the plan as it is now.")
            }
            CommitError::Change(ChangeError::IdTaken) => format!("{error}; try again"),
            CommitError::Change(ChangeError::Revoked) => {
                format!("{error}\nReactivate it first, or create another one.")
            }
            CommitError::Change(ChangeError::Expired) => {
                format!("{error}\nMove its end first: heare-auth update KEY_ID --expires-at DATE")
            }
            CommitError::Change(ChangeError::BadRecord) => {
                format!("{error}\nLook at it with 'heare-auth list --detailed'.")
            }
            CommitError::Store(store) => format!("{error} ({location})\n{}", advice(*store)),
            CommitError::Envelope(envelope) => format!("{error} ({location})\n{}", envelope_advice(*envelope)),
            CommitError::Document(_) => {
                format!("{error} ({location})\nNothing was changed. Restore an earlier version of it.")
            }
            CommitError::Change(
                ChangeError::TooManySecrets | ChangeError::Changed | ChangeError::NotAllowed | ChangeError::Unsound,
            )
            | CommitError::ConditionsIgnored => error.to_string(),
            CommitError::Unknown => format!("{error}\n{}", after_unknown(change)),
            CommitError::Contended => format!("{error}\nTry again."),
        })
    }
}

/// What may be there now, and what to do about it. A secret that was made for the change has been shown to nobody.
fn after_unknown(change: Option<&Change>) -> String {
    match change {
        Some(Change::Create(key)) => format!(
            "The key {} may exist, with a secret that nobody has: delete it when 'heare-auth list' shows it, and create another one.",
            key.id
        ),
        Some(Change::Rotate(_)) => {
            "The key may have a new secret, which nobody has, in the place of the one before: rotate the key again."
                .to_owned()
        }
        _ => "Look with 'heare-auth list' before trying again.".to_owned(),
    }
}

/// What an operator can do about a store that does not answer.
pub const fn advice(error: StoreError) -> &'static str {
    match error {
        StoreError::Unreachable => "Check the network and AWS_ENDPOINT_URL.",
        StoreError::Timeout => "Check the network and AWS_ENDPOINT_URL, then try again.",
        StoreError::Forbidden => "Check the credentials and what they may do with this object.",
        StoreError::NoBucket => "Check S3_BUCKET and S3_REGION, or create the bucket.",
        StoreError::Failed => "Check the store itself, then try again.",
        StoreError::TooLarge => "Raise MAX_DOCUMENT_BYTES if the object is meant to be this large.",
        StoreError::Incomplete => "Try again.",
        StoreError::NoCredentials => {
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role provides credentials."
        }
    }
}

pub const fn envelope_advice(error: EnvelopeError) -> &'static str {
    match error {
        EnvelopeError::SecretMissing => "Set STORAGE_SECRET to the text it was encrypted with.",
        EnvelopeError::WrongSecret => "Set STORAGE_SECRET to the text it was encrypted with; nothing was changed.",
    }
}
