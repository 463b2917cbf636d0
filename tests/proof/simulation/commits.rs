//! What the schedules have found, each alone: what a writer is told when the network does one thing to its write.

use super::{
    actor::{Chance, acting},
    bucket::{Bucket, Fault, Ruin, Way, Weather},
    history::History,
    schedule::{CHANCE, on_its_own_clock},
};
use heare_auth::{
    clock::Clock,
    core::{
        change::{Change, NewKey, Rotation},
        secret::Digest,
        time::Timestamp,
    },
    envelope::Envelope,
    store::{
        Store, StoreError,
        commit::{CommitError, Committed, Patience, commit_with},
    },
};
use std::sync::Arc;

/// A bucket in which `key_w_1` is, and a way to it over which conditions have been asked for.
struct Scene {
    bucket: Arc<Bucket>,
    way: Way,
    store: Store,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self::empty();
        scene.commit(&create("key_w_1")).await.expect("a calm bucket");
        scene
    }

    /// The same before anything was written.
    fn empty() -> Self {
        let envelope = Envelope::new(None);
        let calm = Weather {
            faults: 0,
            stale: false,
            cut_off: false,
        };
        let bucket = Bucket::new(calm, History::new(envelope));
        let way = Way::new(&bucket, 8, "w".to_owned(), false, Chance::new(1, 1));
        Self {
            store: way.store(),
            bucket,
            way,
        }
    }

    async fn commit(&self, change: &Change) -> Result<Committed, CommitError> {
        let patience = Patience {
            chance: CHANCE,
            ..Patience::default()
        };
        let (envelope, clock) = (Envelope::new(None), Clock::default());
        let commit = commit_with(&self.store, &envelope, change, &clock, false, patience);
        acting(Chance::new(1, 2), commit).await
    }

    /// Asks whether conditions are kept, as the first change of an object does.
    async fn ask_for_conditions(&self) {
        let current = self.store.read_if_changed(None).await.expect("a calm bucket");
        assert_eq!(self.store.keeps_conditions(&current).await, Ok(true));
    }

    fn has(&self, id: &str) -> bool {
        self.bucket.look(|history| history.keys().contains_key(id))
    }

    fn assert_nothing_is_broken(&self) {
        self.bucket
            .look(|history| assert!(history.broken.is_empty(), "{:#?}", history.broken));
    }
}

fn create(id: &str) -> Change {
    let at = Timestamp::from_millis(0);
    Change::Create(Box::new(NewKey::new(id.to_owned(), Digest::of(id), id.to_owned(), at)))
}

fn rotate(id: &str) -> Change {
    Change::Rotate(Rotation {
        id: id.to_owned(),
        digest: Digest::of("another secret"),
        key_prefix: None,
        overlap_until: None,
        at: Timestamp::from_millis(0),
    })
}

#[test]
fn a_change_whose_write_is_delivered_twice_is_told_as_made() {
    let delete = Change::Delete {
        id: "key_w_1".to_owned(),
    };
    for change in [create("key_w_2"), rotate("key_w_1"), delete] {
        on_its_own_clock(async {
            let scene = Scene::new().await;
            scene.ask_for_conditions().await;
            scene.way.next_writes([Fault::Twice]);
            let made = scene.commit(&change).await.expect("it is made");
            assert_eq!(made.generation, 2, "once");
            scene.assert_nothing_is_broken();
        });
    }
}

#[test]
fn a_refusal_after_a_lost_answer_does_not_say_that_nothing_was_changed() {
    on_its_own_clock(async {
        let scene = Scene::new().await;
        scene.ask_for_conditions().await;
        scene.way.next_writes([Fault::AnswerLost]);
        scene.commit(&create("key_w_2")).await.expect("it is recognised");
        scene.way.next_writes([Fault::Stuck]);
        scene.way.next_writes([Fault::Forbidden; 9]);
        let told = scene.commit(&create("key_w_3")).await;
        assert_ne!(told.err(), Some(CommitError::Store(StoreError::Forbidden)));
        tokio::time::sleep(std::time::Duration::from_secs(40)).await;
        assert!(scene.has("key_w_3"), "the first write has come through");
        scene.assert_nothing_is_broken();
    });
}

#[test]
fn a_refused_question_about_conditions_after_a_lost_answer_does_not_say_that_nothing_was_changed() {
    on_its_own_clock(async {
        let scene = Scene::empty();
        scene.bucket.ruin(Some(Ruin::Gone));
        // The question, the write that lands and is not seen, and the questions of all further tries.
        scene.way.next_writes([Fault::Twice, Fault::AnswerLost]);
        scene.way.next_writes([Fault::Forbidden; 9]);
        let told = scene.commit(&create("key_w_1")).await;
        assert_eq!(told.err(), Some(CommitError::Unknown));
        assert!(scene.has("key_w_1"));
        scene.assert_nothing_is_broken();
    });
}

#[test]
fn a_change_that_was_refused_and_cannot_be_looked_for_is_not_told_as_not_made() {
    on_its_own_clock(async {
        let scene = Scene::new().await;
        scene.ask_for_conditions().await;
        scene.way.next_writes([Fault::Twice]);
        let change = rotate("key_w_1");
        let (told, ()) = tokio::join!(scene.commit(&change), async {
            while scene.bucket.look(|history| history.generation()) < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            scene.bucket.ruin(Some(Ruin::Page));
        });
        assert_eq!(told.err(), Some(CommitError::Unknown));
        scene.assert_nothing_is_broken();
    });
}

#[test]
fn a_page_instead_of_an_answer_does_not_prove_that_conditions_are_ignored() {
    on_its_own_clock(async {
        let scene = Scene::new().await;
        scene.way.next_writes([Fault::Page]);
        let told = scene.commit(&create("key_w_2")).await;
        assert_eq!(told.err(), Some(CommitError::Store(StoreError::Failed)));
        scene.commit(&create("key_w_2")).await.expect("and it is asked again");
        scene.assert_nothing_is_broken();
    });
}
