//! Commits: nobody's change is lost and nothing is overwritten that could not be read, whatever the other
//! writers, the network and the store do.

use crate::support::{
    fault_proxy::{Fault, FaultProxy},
    seaweed::Seaweed,
};
use heare_auth::{
    clock::Clock,
    core::{
        change::{Change, ChangeError, NewKey, Patch, Rotation},
        document::DocumentError,
        secret::{Digest, Secret},
        time::Timestamp,
    },
    envelope::{Envelope, EnvelopeError},
    store::{
        Store, StoreError,
        commit::{CommitError, Committed, Patience, commit, commit_with, read},
        file::FileStore,
    },
};
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const STORAGE_SECRET: &str = "a storage secret";
/// As `json.dumps(indent=2)` of the Python service lays it out, with one key whose secret is in plain text.
const PYTHON_DOCUMENT: &str = r#"{
  "keys": [
    {
      "id": "key_old",
      "secret": "sec_plain_text",
      "name": "Old",
      "created_at": "2024-01-20T10:30:00+00:00",
      "metadata": {"team": "a"}
    }
  ]
}"#;

fn create(id: &str) -> Change {
    let created_at = Timestamp::from_millis(0);
    Change::Create(Box::new(NewKey::new(
        id.to_owned(),
        Digest::of(id),
        id.to_owned(),
        created_at,
    )))
}

fn delete(id: &str) -> Change {
    Change::Delete { id: id.to_owned() }
}

fn plain() -> Envelope {
    Envelope::new(None)
}

fn sealing() -> Envelope {
    Envelope::new(Some(&Secret::new(STORAGE_SECRET)))
}

fn hasty() -> Patience {
    Patience {
        conflicts: 3,
        failures: 3,
        settle_within: Duration::from_millis(300),
        chance: rand::random,
    }
}

fn ids(document: &[u8]) -> Vec<String> {
    let document: Value = serde_json::from_slice(document).expect("JSON");
    let records = document["keys"].as_array().expect("a list of keys");
    records
        .iter()
        .map(|record| record["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// An object with one key, `key_old`, seen through a proxy by a store that has already shown that it keeps conditions.
struct Scene {
    seaweed: &'static Seaweed,
    proxy: FaultProxy,
    key: String,
    store: Store,
}

impl Scene {
    async fn new() -> Self {
        Self::with_object(PYTHON_DOCUMENT.as_bytes()).await
    }

    async fn with_object(object: &[u8]) -> Self {
        let seaweed = Seaweed::get();
        let key = seaweed.fresh_key();
        seaweed.put_object(&key, object).await;
        let proxy = FaultProxy::start(seaweed.address());
        let store = seaweed.store(proxy.address(), &key);
        let current = store.read_if_changed(None).await.expect("a healthy proxy");
        assert_eq!(store.keeps_conditions(&current).await, Ok(true));
        Self {
            seaweed,
            proxy,
            key,
            store,
        }
    }

    async fn commit(&self, change: &Change) -> Result<Committed, CommitError> {
        commit(&self.store, &plain(), change, &Clock::default(), false).await
    }

    async fn hasty_commit(&self, change: &Change) -> Result<Committed, CommitError> {
        commit_with(&self.store, &plain(), change, &Clock::default(), false, hasty()).await
    }

    /// Another writer, with a connection of its own.
    async fn commit_elsewhere(&self, change: &Change) {
        let store = self.seaweed.store(self.seaweed.address(), &self.key);
        commit(&store, &plain(), change, &Clock::default(), false)
            .await
            .expect("the other writer's change");
    }

    async fn object(&self) -> Vec<u8> {
        self.seaweed.object(&self.key).await.expect("an object")
    }

    async fn ids(&self) -> Vec<String> {
        ids(&self.object().await)
    }
}

/// Sixteen writers, each with a store of its own as if in a process of its own.
async fn sixteen_writers_lose_nothing(open: impl Fn() -> Store) {
    let wanted: BTreeSet<String> = (0..16).map(|n| format!("key_{n}")).collect();
    let writers: Vec<_> = wanted
        .iter()
        .map(|id| {
            let (store, change) = (open(), create(id));
            tokio::spawn(async move { commit(&store, &plain(), &change, &Clock::default(), false).await })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic").expect("the change is made");
    }
    let document = read(&open(), &plain()).await.expect("a document");
    let found = ids(&document.to_json());
    assert_eq!(found.len(), 16);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(document.generation(), Some(16));
}

#[tokio::test]
async fn sixteen_writers_at_once_lose_nothing_in_s3() {
    let seaweed = Seaweed::get();
    let key = seaweed.fresh_key();
    sixteen_writers_lose_nothing(|| seaweed.store(seaweed.address(), &key)).await;
}

#[tokio::test]
async fn sixteen_writers_at_once_lose_nothing_in_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys.json");
    sixteen_writers_lose_nothing(|| Store::File(FileStore::open(path.clone(), 1 << 20))).await;
}

#[tokio::test]
async fn a_commit_tells_what_it_did() {
    let scene = Scene::new().await;
    let created = scene.commit(&create("key_new")).await.expect("the change is made");
    assert_eq!(
        (created.applied.name.as_deref(), created.applied.sealed),
        (Some("key_new"), 1)
    );
    assert_eq!((created.keys_count, created.generation), (2, 1));
    let deleted = scene.commit(&delete("key_old")).await.expect("the change is made");
    assert_eq!(
        (deleted.applied.name.as_deref(), deleted.applied.sealed),
        (Some("Old"), 0)
    );
    assert_eq!((deleted.keys_count, deleted.generation), (1, 2));
    let unknown = scene.commit(&delete("key_old")).await.expect_err("it is gone");
    assert_eq!(unknown, CommitError::Change(ChangeError::UnknownKey));
}

#[tokio::test]
async fn a_lost_answer_is_recognised_as_the_own_write() {
    let scene = Scene::new().await;
    for (change, left) in [
        (create("key_new"), vec!["key_old", "key_new"]),
        (delete("key_old"), vec!["key_new"]),
    ] {
        let puts = scene.proxy.count("PUT");
        scene.proxy.fail("PUT", 1, Fault::LoseAnswer);
        scene.commit(&change).await.expect("the change is made");
        assert_eq!(scene.ids().await, left);
        assert_eq!(scene.proxy.count("PUT"), puts + 1, "it is not written again");
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_change_within_a_record_is_recognised() {
    let (id, at) = (|| "key_old".to_owned(), Timestamp::from_millis(1_705_746_600_000));
    let rotation = Rotation {
        id: id(),
        digest: Digest::of("new"),
        key_prefix: None,
        overlap_until: None,
        at,
    };
    let patch = Box::new(Patch {
        name: Some("Other".to_owned()),
        ..Patch::default()
    });
    let (reason, expected) = (None, None);
    for change in [
        Change::Rotate(rotation),
        Change::Revoke { id: id(), reason, at },
        Change::Update {
            id: id(),
            patch,
            expected,
            at,
        },
    ] {
        let scene = Scene::new().await;
        scene.proxy.fail("PUT", 1, Fault::LoseAnswer);
        let committed = scene.commit(&change).await.expect("the change was made");
        assert_eq!((committed.generation, committed.applied.changed), (1, 1), "{change:?}");
    }
}

#[tokio::test]
async fn a_write_that_did_not_arrive_is_repeated() {
    for fault in [
        Fault::Hangup,
        Fault::Status(500, "InternalError"),
        Fault::Status(503, "SlowDown"),
    ] {
        let scene = Scene::new().await;
        scene.proxy.fail("PUT", 2, fault);
        let committed = scene.commit(&create("key_new")).await.expect("the change is made");
        assert_eq!(committed.generation, 1);
        assert_eq!(scene.ids().await, ["key_old", "key_new"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_recognised_below_the_write_of_another() {
    for (change, left) in [
        (create("key_new"), vec!["key_old", "key_new", "key_other"]),
        (delete("key_old"), vec!["key_other"]),
        (Change::Migrate, vec!["key_old", "key_other"]),
    ] {
        let scene = Arc::new(Scene::new().await);
        let gets = scene.proxy.count("GET");
        scene.proxy.fail("PUT", 1, Fault::LoseAnswer);
        scene.proxy.pass("GET", 1);
        scene.proxy.fail("GET", usize::MAX, Fault::Status(500, "InternalError"));
        let writer = {
            let (scene, change) = (Arc::clone(&scene), change.clone());
            tokio::spawn(async move { scene.commit(&change).await })
        };
        scene.proxy.wait_for_count("GET", gets + 2).await;
        scene.commit_elsewhere(&create("key_other")).await;
        scene.proxy.heal();
        let committed = writer.await.expect("no panic").expect("the change was made");
        assert_eq!(committed.keys_count, left.len());
        assert_eq!(scene.ids().await, left, "{change:?}");
    }
}

#[tokio::test]
async fn a_write_that_did_not_arrive_is_repeated_on_top_of_another() {
    let scene = Arc::new(Scene::new().await);
    let gets = scene.proxy.count("GET");
    scene.proxy.fail("PUT", 1, Fault::Hangup);
    scene.proxy.pass("GET", 1);
    scene.proxy.fail("GET", usize::MAX, Fault::Status(500, "InternalError"));
    let writer = {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move { scene.commit(&create("key_new")).await })
    };
    scene.proxy.wait_for_count("GET", gets + 2).await;
    scene.commit_elsewhere(&create("key_other")).await;
    scene.proxy.heal();
    writer.await.expect("no panic").expect("the change is made");
    assert_eq!(scene.ids().await, ["key_old", "key_other", "key_new"]);
}

#[tokio::test]
async fn an_outcome_that_cannot_be_found_out_is_said_to_be_unknown() {
    for fault in [Fault::LoseAnswer, Fault::Hangup, Fault::Status(500, "InternalError")] {
        let scene = Scene::new().await;
        scene.proxy.fail("PUT", 1, fault);
        scene.proxy.pass("GET", 1);
        scene.proxy.fail("GET", usize::MAX, Fault::Status(500, "InternalError"));
        let outcome = scene.hasty_commit(&create("key_new")).await;
        assert_eq!(outcome.expect_err("nobody knows"), CommitError::Unknown, "{fault:?}");
    }
}

#[tokio::test]
async fn a_store_that_takes_no_writes_changes_nothing() {
    let refused = CommitError::Store(StoreError::Forbidden);
    let failed = CommitError::Store(StoreError::Failed);
    for (fault, expected, most_writes) in [
        (Fault::Status(403, "AccessDenied"), refused, 1),
        (Fault::Status(500, "InternalError"), failed, 3),
        (
            Fault::Status(409, "ConditionalRequestConflict"),
            CommitError::Contended,
            3,
        ),
        (Fault::Status(412, "PreconditionFailed"), CommitError::Contended, 3),
        (Fault::Hangup, CommitError::Unknown, 3),
    ] {
        let scene = Scene::new().await;
        let puts = scene.proxy.count("PUT");
        scene.proxy.fail("PUT", usize::MAX, fault);
        assert_eq!(
            scene.hasty_commit(&create("key_new")).await.expect_err("no write"),
            expected,
            "{fault:?}"
        );
        assert!(scene.proxy.count("PUT") - puts <= most_writes, "{fault:?}");
        assert_eq!(scene.object().await, PYTHON_DOCUMENT.as_bytes());
    }
}

#[tokio::test]
async fn an_object_that_disappears_during_a_commit_is_not_made_anew() {
    let scene = Scene::new().await;
    scene.proxy.fail("PUT", 1, Fault::Status(412, "PreconditionFailed"));
    scene.proxy.pass("GET", 1);
    scene.proxy.fail("GET", 1, Fault::Status(404, "NoSuchKey"));
    let outcome = scene.commit(&create("key_new")).await;
    assert_eq!(outcome.expect_err("absence is not emptiness"), CommitError::Unknown);
    assert_eq!(scene.object().await, PYTHON_DOCUMENT.as_bytes());
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_unless_told_otherwise() {
    let seaweed = Seaweed::unsigned();
    let (key, proxy) = (seaweed.fresh_key(), FaultProxy::start(seaweed.address()));
    proxy.set(Fault::IgnoreConditions);
    seaweed.put_object(&key, PYTHON_DOCUMENT.as_bytes()).await;
    let store = seaweed.store(proxy.address(), &key);

    let change = create("key_new");
    let refused = commit(&store, &plain(), &change, &Clock::default(), false).await;
    assert_eq!(
        refused.expect_err("it could undo a change"),
        CommitError::ConditionsIgnored
    );
    assert_eq!(
        seaweed.object(&key).await.expect("an object"),
        PYTHON_DOCUMENT.as_bytes()
    );

    commit(&store, &plain(), &change, &Clock::default(), true)
        .await
        .expect("the operator's word");
    assert_eq!(
        ids(&seaweed.object(&key).await.expect("an object")),
        ["key_old", "key_new"]
    );
}

#[tokio::test]
async fn an_empty_store_that_ignores_conditions_is_refused() {
    let seaweed = Seaweed::unsigned();
    let (key, proxy) = (seaweed.fresh_key(), FaultProxy::start(seaweed.address()));
    proxy.set(Fault::IgnoreConditions);
    let store = seaweed.store(proxy.address(), &key);
    let refused = commit(&store, &plain(), &create("key_new"), &Clock::default(), false).await;
    assert_eq!(
        refused.expect_err("it could undo a change"),
        CommitError::ConditionsIgnored
    );
    assert_eq!(seaweed.object(&key).await.expect("the probe"), br#"{"keys":[]}"#);
}

#[tokio::test]
async fn conditions_are_asked_about_once() {
    let seaweed = Seaweed::get();
    let (key, proxy) = (seaweed.fresh_key(), FaultProxy::start(seaweed.address()));
    seaweed.put_object(&key, PYTHON_DOCUMENT.as_bytes()).await;
    let store = seaweed.store(proxy.address(), &key);
    for (id, puts) in [("key_1", 3), ("key_2", 4)] {
        commit(&store, &plain(), &create(id), &Clock::default(), false)
            .await
            .expect("the change is made");
        assert_eq!(proxy.count("PUT"), puts);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_never_overwritten() {
    let sealed = sealing().seal(PYTHON_DOCUMENT.into());
    let wrong = Envelope::new(Some(&Secret::new("another secret")));
    let half = &PYTHON_DOCUMENT.as_bytes()[..PYTHON_DOCUMENT.len() / 2];
    for (object, envelope, expected) in [
        (
            &sealed[..],
            plain(),
            CommitError::Envelope(EnvelopeError::SecretMissing),
        ),
        (&sealed, wrong, CommitError::Envelope(EnvelopeError::WrongSecret)),
        (
            &sealed[..sealed.len() / 2],
            sealing(),
            CommitError::Envelope(EnvelopeError::WrongSecret),
        ),
        (b"", plain(), CommitError::Document(DocumentError::Empty)),
        (half, plain(), CommitError::Document(DocumentError::Truncated)),
        (b"<html></html>", plain(), CommitError::Document(DocumentError::NotJson)),
        (b"{\"other\":1}", plain(), CommitError::Document(DocumentError::NoKeys)),
    ] {
        let scene = Scene::with_object(object).await;
        for change in [create("key_new"), delete("key_old"), Change::Migrate] {
            let outcome = commit(&scene.store, &envelope, &change, &Clock::default(), true).await;
            assert_eq!(outcome.expect_err("unreadable"), expected);
        }
        assert_eq!(scene.object().await, object);
    }
}

#[tokio::test]
async fn a_migration_with_nothing_to_do_writes_nothing() {
    let scene = Scene::new().await;
    let puts = scene.proxy.count("PUT");
    for sealed in [1, 0] {
        let committed = scene.commit(&Change::Migrate).await.expect("a migration");
        assert_eq!(
            (committed.applied.sealed, committed.keys_count, committed.generation),
            (sealed, 1, 1)
        );
    }
    assert_eq!(scene.proxy.count("PUT"), puts + 1);
}

#[tokio::test]
async fn a_migration_encrypts_a_plain_document_once_there_is_a_storage_secret() {
    let scene = Scene::with_object(br#"{"keys":[]}"#).await;
    for generation in [1, 1] {
        let committed = commit(&scene.store, &sealing(), &Change::Migrate, &Clock::default(), false).await;
        assert_eq!(committed.expect("a migration").generation, generation);
        assert!(Envelope::is_sealed(&scene.object().await));
    }
}

#[tokio::test]
async fn a_migration_of_an_empty_store_leaves_it_empty() {
    let seaweed = Seaweed::get();
    let key = seaweed.fresh_key();
    let store = seaweed.store(seaweed.address(), &key);
    commit(&store, &sealing(), &Change::Migrate, &Clock::default(), false)
        .await
        .expect("nothing to do");
    assert_eq!(seaweed.object(&key).await, None);
}
