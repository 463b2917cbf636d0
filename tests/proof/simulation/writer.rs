//! A writer: changes keys of its own, as a command or a route does, and knows after each change what must be stored.

use super::{
    actor::Chance,
    bucket::{Bucket, Way},
    history::Written,
    instance::Instance,
    schedule::CHANCE,
};
use heare_auth::{
    clock::Clock,
    core::{
        change::{Change, Edit, NewKey, Patch, Rotation},
        secret::Digest,
        terms::RateLimit,
        time::Timestamp,
    },
    envelope::Envelope,
    store::{
        Store, StoreError,
        commit::{CommitError, Committed, Patience, commit_with},
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::sleep;

pub struct Writer {
    name: String,
    store: Store,
    bucket: Arc<Bucket>,
    envelope: Envelope,
    /// Asked to refresh after each change, as commands and routes do.
    instance: Instance,
    chance: Chance,
    /// What is certain of each key: how it is written, or that it is not there.
    certain: BTreeMap<String, Option<Written>>,
    made: u32,
}

impl Writer {
    pub fn new(way: &Way, bucket: Arc<Bucket>, envelope: &Envelope, instance: Instance, chance: Chance) -> Self {
        Self {
            name: way.name().to_owned(),
            store: way.store(),
            bucket,
            envelope: envelope.clone(),
            instance,
            chance,
            certain: BTreeMap::new(),
            made: 0,
        }
    }

    pub async fn run(mut self) {
        for _ in 0..=self.chance.below(8) {
            sleep(Duration::from_millis(self.chance.below(5_000).into())).await;
            self.change_something().await;
        }
        self.bucket.tell(format!("{} is done", self.name));
        let end = 95_000_u64.saturating_sub(self.bucket.now_ms());
        sleep(Duration::from_millis(end)).await;
        for id in self.certain.keys() {
            self.is_as_known(id, "at the end");
        }
    }

    async fn change_something(&mut self) {
        let (id, change, after) = self.choose();
        let patience = Patience {
            chance: CHANCE,
            ..Patience::default()
        };
        let before = self.certain.remove(&id);
        let outcome = commit_with(&self.store, &self.envelope, &change, &Clock::default(), false, patience).await;
        let told = match &outcome {
            Ok(committed) => format!("made by {}", committed.generation),
            Err(error) => format!("{error:?}"),
        };
        self.bucket.tell(format!("{} {id}: {told}", self.name));
        let believed = !matches!(outcome, Err(CommitError::ConditionsIgnored));
        self.bucket.look(|history| {
            history.hold("P6 a store that keeps conditions is believed", believed, || {
                self.name.clone()
            });
        });
        match outcome {
            Ok(committed) => {
                self.bucket.look(|history| history.see("changes told as made", 1));
                self.certain.insert(id.clone(), after);
                self.is_as_known(&id, "when it was told that its change is made");
                self.refresh(&committed).await;
            }
            Err(error) if leaves_open(&error) => {}
            Err(error) => {
                self.certain.insert(id.clone(), before.flatten());
                self.is_as_known(&id, &format!("when it was told {error:?}"));
            }
        }
    }

    /// A change, and what is to be found of its key afterwards.
    fn choose(&mut self) -> (String, Change, Option<Written>) {
        let there: Vec<(&String, &Written)> = self
            .certain
            .iter()
            .filter_map(|(id, written)| Some((id, written.as_ref()?)))
            .collect();
        let at = Timestamp::from_millis(0);
        self.made += 1;
        let kind = if there.is_empty() { 0 } else { self.chance.below(8) };
        if kind < 2 {
            let id = format!("key_{}_{}", self.name, self.made);
            let written = Written {
                digest: Digest::of(&id),
                active: true,
                name: id.clone(),
                per_hour: None,
            };
            let key = NewKey::new(id.clone(), written.digest, id.clone(), at);
            return (id, Change::Create(Box::new(key)), Some(written));
        }
        let (id, written) = self.chance.one_of(&there);
        let (id, mut written) = (id.clone(), written.clone());
        let change = match (kind, written.active) {
            (2, _) => {
                return (id.clone(), Change::Delete { id }, None);
            }
            (3, _) => {
                written.name = format!("{id} {}", self.made);
                let rate = RateLimit::new(1 + u64::from(self.made)).expect("a rate");
                written.per_hour = Some(rate.get());
                let patch = Patch {
                    name: Some(written.name.clone()),
                    rate_limit_per_hour: Edit::Set(rate),
                    ..Patch::default()
                };
                Change::Update {
                    id: id.clone(),
                    patch: Box::new(patch),
                    expected: None,
                    at,
                }
            }
            (4 | 5, true) => {
                written.digest = Digest::of(&format!("{id} {}", self.made));
                Change::Rotate(Rotation {
                    id: id.clone(),
                    digest: written.digest,
                    key_prefix: None,
                    overlap_until: None,
                    at,
                })
            }
            (_, true) => {
                written.active = false;
                Change::Revoke {
                    id: id.clone(),
                    reason: None,
                    at,
                }
            }
            (_, false) => {
                written.active = true;
                Change::Reactivate { id: id.clone(), at }
            }
        };
        (id, change, Some(written))
    }

    fn is_as_known(&self, id: &str, when: &str) {
        let expected = self.certain.get(id).and_then(Option::as_ref);
        self.bucket.look(|history| {
            let stored = history.written_in(history.generation());
            let found = stored.and_then(|keys| keys.get(id)).cloned();
            let same = found.as_ref() == expected;
            history.hold("P6 told the truth", same, || {
                format!("{}: {id} is {found:?} and not {expected:?} {when}", self.name)
            });
        });
    }

    /// A refresh that succeeds after a change has brought the change into force.
    async fn refresh(&self, committed: &Committed) {
        self.instance.refresh_to(committed.generation).await;
    }
}

/// Errors that do not say whether the change was made: all others say that it was not.
fn leaves_open(error: &CommitError) -> bool {
    match error {
        CommitError::Unknown => true,
        CommitError::Store(error) => !matches!(error, StoreError::Forbidden | StoreError::TooLarge),
        _ => false,
    }
}
