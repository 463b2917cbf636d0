//! The store's contract, the same over S3 and over a file, and what each failure of S3 is called.

use crate::support::{
    fault_proxy::{Fault, FaultProxy},
    seaweed::{Seaweed, sdk_config},
};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future};
use bytes::Bytes;
use heare_auth::store::{
    Expect, Fetched, Store, StoreError, Version, Written,
    file::FileStore,
    s3::{S3Limits, S3Store},
};
use std::time::Duration;

const FIRST: &[u8] = br#"{"keys":[]}"#;
const SECOND: &[u8] = br#"{"keys":[],"generation":2}"#;
const MAX_BYTES: usize = 1 << 20;

/// Short enough to run into, long enough for a healthy server on a busy machine.
fn short_limits() -> S3Limits {
    S3Limits {
        credentials: Duration::from_millis(200),
        first_byte: Duration::from_secs(1),
        chunk_idle: Duration::from_millis(500),
        confirm: Duration::from_secs(1),
        ..S3Limits::default()
    }
}

fn object(fetched: Fetched) -> (Version, Bytes) {
    match fetched {
        Fetched::Object { version, bytes } => (version, bytes),
        other => panic!("expected an object, not {other:?}"),
    }
}

fn version(written: Written) -> Version {
    match written {
        Written::Done(version) => version,
        Written::Conflict => panic!("expected a write"),
    }
}

/// The script that both kinds of store follow.
async fn keeps_the_contract(store: &Store) -> Result<(), StoreError> {
    let never = Expect::Version(Version("\"never\"".to_owned()));
    let [first, second] = [FIRST, SECOND].map(Bytes::from_static);

    assert!(matches!(store.read_if_changed(None).await?, Fetched::Missing));
    assert_eq!(
        store.write_if_unchanged(second.clone(), &never).await?,
        Written::Conflict
    );
    assert!(matches!(store.read_if_changed(None).await?, Fetched::Missing));

    let one = version(store.write_if_unchanged(first.clone(), &Expect::Absent).await?);
    assert_eq!(
        store.write_if_unchanged(second.clone(), &Expect::Absent).await?,
        Written::Conflict
    );
    assert_eq!(
        store.write_if_unchanged(second.clone(), &never).await?,
        Written::Conflict
    );
    assert_eq!(object(store.read_if_changed(None).await?), (one.clone(), first.clone()));
    assert!(matches!(store.read_if_changed(Some(&one)).await?, Fetched::Unchanged));

    let two = version(
        store
            .write_if_unchanged(second.clone(), &Expect::Version(one.clone()))
            .await?,
    );
    assert_ne!(one, two);
    assert_eq!(
        store.write_if_unchanged(first, &Expect::Version(one.clone())).await?,
        Written::Conflict
    );
    let current = store.read_if_changed(Some(&one)).await?;
    assert!(store.keeps_conditions(&current).await?);
    assert_eq!(object(current), (two.clone(), second.clone()));
    assert_eq!(object(store.read_if_changed(None).await?), (two, second));
    Ok(())
}

#[tokio::test]
async fn s3_keeps_the_contract() {
    let seaweed = Seaweed::get();
    let store = seaweed.store(seaweed.address(), &seaweed.fresh_key());
    keeps_the_contract(&store).await.expect("no failure");
}

#[tokio::test]
async fn a_file_keeps_the_contract() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys.json");
    let store = Store::File(FileStore::open(path, MAX_BYTES));
    keeps_the_contract(&store).await.expect("no failure");
}

/// A store behind a proxy, with an object of some size in it.
async fn stored_behind_proxy() -> (Store, FaultProxy, Version) {
    let seaweed = Seaweed::get();
    let key = seaweed.fresh_key();
    let proxy = FaultProxy::start(seaweed.address());
    let store = seaweed.store_with(proxy.address(), &key, MAX_BYTES, short_limits());
    let stored = store
        .write_if_unchanged(vec![b'x'; 200_000].into(), &Expect::Absent)
        .await;
    (store, proxy, version(stored.expect("a healthy proxy")))
}

#[tokio::test]
async fn each_failure_of_a_read_has_its_name() {
    let (store, proxy, _) = stored_behind_proxy().await;
    for (fault, expected) in [
        (Fault::Refuse, StoreError::Unreachable),
        (Fault::Hangup, StoreError::Unreachable),
        (Fault::Silence, StoreError::Timeout),
        (Fault::Delay(Duration::from_mins(1)), StoreError::Timeout),
        (Fault::Trickle, StoreError::Timeout),
        (Fault::ResetMidBody, StoreError::Incomplete),
        (Fault::CutBody, StoreError::Incomplete),
        (Fault::Status(403, "AccessDenied"), StoreError::Forbidden),
        (Fault::Status(404, "NoSuchBucket"), StoreError::NoBucket),
        (Fault::Status(404, "SomethingElse"), StoreError::Failed),
        (Fault::Status(409, "OperationAborted"), StoreError::Failed),
        (Fault::Status(500, "InternalError"), StoreError::Failed),
        (Fault::Status(503, "SlowDown"), StoreError::Failed),
        (Fault::Html, StoreError::Failed),
        (Fault::DropHeader("ETag"), StoreError::Failed),
    ] {
        proxy.set(fault);
        assert_eq!(
            store.read_if_changed(None).await.expect_err("a failure"),
            expected,
            "{fault:?}"
        );
    }
    proxy.heal();
    object(store.read_if_changed(None).await.expect("the store is back"));
}

#[tokio::test]
async fn each_failure_of_a_write_has_its_name() {
    let (store, proxy, current) = stored_behind_proxy().await;
    let current = Expect::Version(current);
    for (fault, expected) in [
        (Fault::Refuse, Err(StoreError::Unreachable)),
        (Fault::Hangup, Err(StoreError::Unreachable)),
        (Fault::Silence, Err(StoreError::Timeout)),
        (Fault::Status(403, "AccessDenied"), Err(StoreError::Forbidden)),
        (Fault::Status(404, "NoSuchBucket"), Err(StoreError::NoBucket)),
        (Fault::Status(404, "NoSuchKey"), Ok(Written::Conflict)),
        (Fault::Status(409, "ConditionalRequestConflict"), Ok(Written::Conflict)),
        (Fault::Status(412, "PreconditionFailed"), Ok(Written::Conflict)),
        (Fault::Status(500, "InternalError"), Err(StoreError::Failed)),
        (Fault::Status(503, "SlowDown"), Err(StoreError::Failed)),
        (Fault::Html, Err(StoreError::Failed)),
    ] {
        proxy.set(fault);
        assert_eq!(
            store.write_if_unchanged(Bytes::from_static(FIRST), &current).await,
            expected,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_trickles_runs_into_the_deadline() {
    let seaweed = Seaweed::get();
    let (key, proxy) = (seaweed.fresh_key(), FaultProxy::start(seaweed.address()));
    seaweed.put_object(&key, FIRST).await;
    let limits = S3Limits {
        deadline: Duration::from_secs(2),
        ..S3Limits::default()
    };
    let store = seaweed.store_with(proxy.address(), &key, MAX_BYTES, limits);
    proxy.set(Fault::Trickle);
    assert_eq!(
        store.read_if_changed(None).await.expect_err("too slow"),
        StoreError::Timeout
    );
}

#[tokio::test]
async fn a_connection_that_was_closed_is_opened_again_once() {
    let (store, proxy, _) = stored_behind_proxy().await;
    proxy.fail("GET", 1, Fault::Hangup);
    object(store.read_if_changed(None).await.expect("the second try"));
    assert_eq!(proxy.count("GET"), 2);
}

#[tokio::test]
async fn a_write_is_sent_once() {
    let (store, proxy, current) = stored_behind_proxy().await;
    proxy.set(Fault::LoseAnswer);
    let answer = store
        .write_if_unchanged(Bytes::from_static(FIRST), &Expect::Version(current))
        .await;
    assert_eq!(answer, Err(StoreError::Unreachable));
    assert_eq!(proxy.count("PUT"), 2, "the one that made the object and this one");
}

#[tokio::test]
async fn a_write_answered_without_an_etag_is_read_back() {
    let (store, proxy, current) = stored_behind_proxy().await;
    proxy.fail("PUT", 1, Fault::DropHeader("ETag"));
    let answer = store
        .write_if_unchanged(Bytes::from_static(FIRST), &Expect::Version(current))
        .await;
    let written = version(answer.expect("the object says so"));
    assert_eq!(object(store.read_if_changed(None).await.expect("an object")).0, written);
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_of_a_read_answers_unchanged_all_the_same() {
    let seaweed = Seaweed::unsigned();
    let (key, proxy) = (seaweed.fresh_key(), FaultProxy::start(seaweed.address()));
    seaweed.put_object(&key, FIRST).await;
    let store = seaweed.store(proxy.address(), &key);
    let (known, _) = object(store.read_if_changed(None).await.expect("an object"));
    proxy.set(Fault::IgnoreConditions);
    assert!(matches!(
        store.read_if_changed(Some(&known)).await,
        Ok(Fetched::Unchanged)
    ));
}

#[tokio::test]
async fn an_object_over_the_cap_is_refused_with_and_without_its_length_announced() {
    let seaweed = Seaweed::get();
    let (key, proxy) = (seaweed.fresh_key(), FaultProxy::start(seaweed.address()));
    seaweed.put_object(&key, FIRST).await;
    for (max_bytes, fits) in [(FIRST.len(), true), (FIRST.len() - 1, false)] {
        let store = seaweed.store_with(proxy.address(), &key, max_bytes, short_limits());
        for fault in [Fault::Delay(Duration::ZERO), Fault::DropHeader("Content-Length")] {
            proxy.set(fault);
            let answer = store.read_if_changed(None).await.map(|fetched| object(fetched).1);
            let expected = if fits {
                Ok(Bytes::from_static(FIRST))
            } else {
                Err(StoreError::TooLarge)
            };
            assert_eq!(answer, expected, "{fault:?} with a cap of {max_bytes}");
        }
    }
}

#[tokio::test]
async fn an_object_over_the_cap_is_not_written() {
    let seaweed = Seaweed::get();
    let key = seaweed.fresh_key();
    let store = seaweed.store_with(seaweed.address(), &key, FIRST.len() - 1, short_limits());
    let answer = store
        .write_if_unchanged(Bytes::from_static(FIRST), &Expect::Absent)
        .await;
    assert_eq!(answer, Err(StoreError::TooLarge));
    assert_eq!(seaweed.object(&key).await, None);
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    let sdk = sdk_config(Seaweed::get().address());
    let store = Store::S3(S3Store::from_sdk_config(
        &sdk,
        "no-such-bucket".to_owned(),
        "k".to_owned(),
        MAX_BYTES,
        short_limits(),
    ));
    assert_eq!(
        store.read_if_changed(None).await.expect_err("no bucket"),
        StoreError::NoBucket
    );
    let answer = store
        .write_if_unchanged(Bytes::from_static(FIRST), &Expect::Absent)
        .await;
    assert_eq!(answer, Err(StoreError::NoBucket));
}

/// A source of credentials on a machine that has none.
#[derive(Debug)]
enum NoCredentials {
    SaysSo,
    NeverAnswers,
}

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match self {
            Self::SaysSo => future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nowhere"))),
            Self::NeverAnswers => future::ProvideCredentials::new(std::future::pending()),
        }
    }
}

#[tokio::test]
async fn missing_credentials_are_said_to_be_missing() {
    for source in [NoCredentials::SaysSo, NoCredentials::NeverAnswers] {
        let provider = SharedCredentialsProvider::new(source);
        let sdk = sdk_config(Seaweed::get().address())
            .into_builder()
            .credentials_provider(provider)
            .build();
        let store = Store::S3(S3Store::from_sdk_config(
            &sdk,
            "b".to_owned(),
            "k".to_owned(),
            MAX_BYTES,
            short_limits(),
        ));
        assert_eq!(
            store.read_if_changed(None).await.expect_err("nobody"),
            StoreError::NoCredentials
        );
    }
}
