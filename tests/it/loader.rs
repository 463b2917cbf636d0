//! The loader over a real S3 server that fails in every way: what is in force stays, and refreshes cost few loads.

use crate::support::{
    PATIENCE,
    fault_proxy::{Fault, FaultProxy},
    seaweed::Seaweed,
};
use heare_auth::{
    core::secret::Digest,
    envelope::Envelope,
    loader::{LoaderOptions, Reader, Refresher, loader},
    store::s3::S3Limits,
    telemetry::{Telemetry, log::LogQueue},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::timeout};

const MAX_BYTES: usize = 1 << 20;

/// A loader that reads an object of its own through a proxy.
struct Behind {
    seaweed: &'static Seaweed,
    key: String,
    proxy: FaultProxy,
    refresher: Refresher,
    reader: Reader,
}

impl Behind {
    /// The loader polls so seldom that only its first load and the refreshes ask the store.
    fn start(fault: Option<Fault>) -> Self {
        let seaweed = Seaweed::get();
        let (key, proxy) = (seaweed.fresh_key(), FaultProxy::start(seaweed.address()));
        if let Some(fault) = fault {
            proxy.set(fault);
        }
        let limits = S3Limits {
            first_byte: Duration::from_secs(1),
            chunk_idle: Duration::from_millis(500),
            ..S3Limits::default()
        };
        let (loader, refresher, reader) = loader(
            seaweed.store_with(proxy.address(), &key, MAX_BYTES, limits),
            Envelope::new(None),
            None,
            LoaderOptions {
                poll_interval: Duration::from_hours(1),
                strict_generation: false,
                chance: rand::random,
            },
            Arc::default(),
            Telemetry {
                metrics: Arc::default(),
                log: LogQueue::start(io::sink(), 1 << 20).expect("a thread"),
            },
        );
        tokio::spawn(loader.run());
        Self {
            seaweed,
            key,
            proxy,
            refresher,
            reader,
        }
    }

    async fn put(&self, generation: u64, secret: &str) {
        let digest = Digest::of(secret);
        let record = format!(r#"{{"id":"key_1","name":"n","secret_hash":"{digest}"}}"#);
        let document = format!(r#"{{"keys":[{record}],"generation":{generation}}}"#);
        self.seaweed.put_object(&self.key, document.as_bytes()).await;
    }

    fn knows(&self, secret: &str) -> bool {
        let current = self.reader.current();
        current.is_some_and(|loaded| loaded.index.find(&Digest::of(secret)).is_some())
    }

    /// Waits until the store has been asked more often than this.
    async fn asked_more_often_than(&self, count: usize) {
        let asked = async {
            while self.proxy.count("GET") <= count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the store is asked");
    }
}

#[tokio::test]
async fn three_hundred_refreshes_at_once_cost_few_loads_and_all_are_answered() {
    let behind = Behind::start(None);
    behind.put(1, "a").await;
    assert_eq!(behind.refresher.refresh(false).await, Ok(1));
    let before = behind.proxy.count("GET");
    let mut askers = JoinSet::new();
    for _ in 0..300 {
        let refresher = behind.refresher.clone();
        askers.spawn(async move { refresher.refresh(false).await });
    }
    assert_eq!(askers.join_all().await, vec![Ok(1); 300]);
    let loads = behind.proxy.count("GET") - before;
    assert!((1..=5).contains(&loads), "{loads} loads");
}

#[tokio::test]
async fn who_asks_during_a_load_is_answered_by_the_next() {
    let behind = Behind::start(None);
    behind.put(1, "a").await;
    behind.refresher.refresh(false).await.expect("a healthy store");
    let before = behind.proxy.count("GET");
    // The object changes while the first question is with the store.
    behind.proxy.fail("GET", 1, Fault::Delay(Duration::from_millis(700)));
    let refresher = behind.refresher.clone();
    let first = tokio::spawn(async move { refresher.refresh(false).await });
    behind.asked_more_often_than(before).await;
    behind.put(2, "b").await;
    assert_eq!(behind.refresher.refresh(false).await, Ok(1));
    assert!(behind.knows("b"));
    assert_eq!(first.await.expect("no panic"), Ok(1));
    assert_eq!(behind.proxy.count("GET"), before + 2);
}

#[tokio::test]
async fn whatever_the_store_does_the_keys_in_force_stay() {
    let behind = Behind::start(None);
    behind.put(1, "a").await;
    behind.refresher.refresh(false).await.expect("a healthy store");
    let in_force = behind.reader.current().expect("loaded");
    // Something to fetch, so that a body can be cut.
    behind.put(2, "b").await;
    for (fault, word) in [
        (Fault::Refuse, "store_unreachable"),
        (Fault::Silence, "store_timeout"),
        (Fault::CutBody, "object_incomplete"),
        (Fault::ResetMidBody, "object_incomplete"),
        (Fault::Status(403, "AccessDenied"), "store_forbidden"),
        (Fault::Status(404, "NoSuchKey"), "object_gone"),
        (Fault::Status(404, "NoSuchBucket"), "bucket_missing"),
        (Fault::Status(500, "InternalError"), "store_failed"),
    ] {
        behind.proxy.set(fault);
        let error = behind.refresher.refresh(false).await.expect_err("a failure");
        assert_eq!(error.word(), word, "{fault:?}");
        assert_eq!(behind.reader.freshness().last_error, Some(error));
        assert!(Arc::ptr_eq(&in_force, &behind.reader.current().expect("loaded")));
    }
    behind.proxy.heal();
    assert_eq!(behind.refresher.refresh(false).await, Ok(1));
    assert!(behind.knows("b"));
    assert_eq!(behind.reader.freshness().last_error, None);
}

#[tokio::test]
async fn a_deleted_object_is_no_empty_store_and_its_successor_is_taken() {
    let behind = Behind::start(None);
    behind.put(1, "a").await;
    behind.refresher.refresh(false).await.expect("a healthy store");
    behind.seaweed.delete_object(&behind.key).await;
    let error = behind.refresher.refresh(false).await.expect_err("it is gone");
    assert_eq!(error.word(), "object_gone");
    assert!(behind.knows("a"));
    behind.put(2, "b").await;
    assert_eq!(behind.refresher.refresh(false).await, Ok(1));
    assert!(behind.knows("b"));
}

#[tokio::test]
async fn a_store_that_is_down_at_boot_is_loaded_when_it_comes_back() {
    let behind = Behind::start(Some(Fault::Refuse));
    behind.put(1, "a").await;
    behind.refresher.refresh(false).await.expect_err("the store is down");
    assert!(behind.reader.current().is_none());
    behind.proxy.heal();
    timeout(PATIENCE, behind.reader.loaded()).await.expect("loaded");
    assert!(behind.knows("a"));
}
