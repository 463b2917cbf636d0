use std::{
    fs,
    future::Future,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    config::LogLevel,
    core::secret::{Digest, Secret},
    durable,
    store::file::FileStore,
    telemetry::log::{LogQueue, subscriber},
};

/// Longer than any test waits: with it, only refreshes load.
const NO_POLLS: Duration = Duration::from_hours(1);
const POLL_OFTEN: Duration = Duration::from_millis(5);
const MAX_BYTES: usize = 100_000;
const STORAGE_SECRET: &str = "storage";

/// How long anything awaited may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A place for an object and a snapshot, and how the loader is to be set up for them.
struct Place {
    dir: TempDir,
    storage_secret: Option<&'static str>,
    with_snapshot: bool,
    options: LoaderOptions,
}

/// A running loader.
struct Running {
    refresher: Refresher,
    reader: Reader,
    metrics: Arc<Metrics>,
    task: JoinHandle<()>,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            storage_secret: None,
            with_snapshot: false,
            options: LoaderOptions {
                poll_interval: NO_POLLS,
                strict_generation: false,
                chance: rand::random,
            },
        }
    }

    fn sealing(self) -> Self {
        Self {
            storage_secret: Some(STORAGE_SECRET),
            ..self
        }
    }

    fn polling(mut self) -> Self {
        self.options.poll_interval = POLL_OFTEN;
        self
    }

    fn strict(mut self) -> Self {
        self.options.strict_generation = true;
        self
    }

    fn with_snapshot(self) -> Self {
        Self {
            with_snapshot: true,
            ..self
        }
    }

    fn object(&self) -> PathBuf {
        self.dir.path().join("store/keys.json")
    }

    fn put(&self, object: impl AsRef<[u8]>) {
        durable::replace(&self.object(), object.as_ref()).unwrap();
    }

    fn snapshot(&self) -> SnapshotFile {
        SnapshotFile {
            path: self.dir.path().join("snapshot.json"),
            envelope: envelope(self.storage_secret),
            max_document_bytes: MAX_BYTES,
        }
    }

    fn start(&self) -> Running {
        self.start_logging_to(LogQueue::start(io::sink(), 1 << 20).unwrap())
    }

    fn start_logging_to(&self, log: LogQueue) -> Running {
        let metrics = Arc::<Metrics>::default();
        let telemetry = Telemetry {
            metrics: Arc::clone(&metrics),
            log,
        };
        let (loader, refresher, reader) = loader(
            Store::File(FileStore::open(self.object(), MAX_BYTES)),
            envelope(self.storage_secret),
            self.with_snapshot.then(|| self.snapshot()),
            self.options,
            Arc::default(),
            telemetry,
        );
        let task = tokio::spawn(loader.run());
        Running {
            refresher,
            reader,
            metrics,
            task,
        }
    }
}

impl Running {
    async fn refresh(&self) -> Result<usize, LoadError> {
        self.refresher.refresh(false).await
    }

    fn knows(&self, secret: &str) -> bool {
        let current = self.reader.current();
        current.is_some_and(|loaded| loaded.index.find(&Digest::of(secret)).is_some())
    }

    fn generation(&self) -> Option<u64> {
        self.reader.current().and_then(|loaded| loaded.index.generation())
    }

    async fn counted(&self, name: &str, at_least: u64) {
        let mut count = 0;
        until(|| {
            count += self.metrics.take().counters.get(name).copied().unwrap_or(0);
            count >= at_least
        })
        .await;
    }
}

fn envelope(secret: Option<&str>) -> Envelope {
    Envelope::new(secret.map(Secret::new).as_ref())
}

fn sealed(secret: &str, document: &str) -> Vec<u8> {
    envelope(Some(secret)).seal(document.into())
}

/// A document with one key for each secret. Generation 0 stands for none.
fn document(generation: u64, secrets: &[&str]) -> String {
    let record = |secret: &&str| {
        format!(
            r#"{{"id":"key_{secret}","name":"n","secret_hash":"{}"}}"#,
            Digest::of(secret)
        )
    };
    let records: Vec<_> = secrets.iter().map(record).collect();
    let mark = if generation == 0 {
        String::new()
    } else {
        format!(r#","generation":{generation}"#)
    };
    format!(r#"{{"keys":[{}]{mark}}}"#, records.join(","))
}

/// Waits without sleeping until something is true that comes about on other threads.
async fn until(mut condition: impl FnMut() -> bool) {
    patiently(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn patiently<T>(awaited: impl Future<Output = T>) -> T {
    timeout(PATIENCE, awaited).await.expect("comes about in time")
}

#[tokio::test]
async fn a_store_without_an_object_is_an_empty_store_until_it_gets_one() {
    let place = Place::new();
    let running = place.start();
    assert_eq!(running.refresh().await, Ok(0));
    let loaded = running.reader.current().unwrap();
    assert_eq!((loaded.etag.as_deref(), loaded.index.keys_count()), (None, 0));
    place.put(document(1, &["a"]));
    assert_eq!(running.refresh().await, Ok(1));
    assert!(running.knows("a"));
    assert!(running.reader.current().unwrap().etag.is_some());
}

#[tokio::test]
async fn whatever_becomes_of_the_object_the_keys_stay_and_the_next_good_object_is_taken() {
    type Ruin = fn(&Path);
    let table: [(&str, Ruin); 9] = [
        ("object_gone", |path| fs::remove_file(path).unwrap()),
        ("object_gone", |path| {
            fs::remove_dir_all(path.parent().unwrap()).unwrap();
        }),
        ("object_empty", |path| durable::replace(path, b"").unwrap()),
        ("object_truncated", |path| {
            durable::replace(path, &document(9, &["a", "b"]).as_bytes()[..90]).unwrap();
        }),
        ("object_not_json", |path| {
            durable::replace(path, b"<!DOCTYPE html><title>Bad gateway</title>").unwrap();
        }),
        ("object_without_keys", |path| {
            durable::replace(path, b"{\"error\":\"no\"}").unwrap();
        }),
        ("secret_missing", |path| {
            durable::replace(path, &sealed("other", &document(9, &["b"]))).unwrap();
        }),
        ("object_too_large", |path| {
            durable::replace(path, &vec![b' '; MAX_BYTES + 1]).unwrap();
        }),
        ("older_generation", |path| {
            durable::replace(path, document(1, &["b"]).as_bytes()).unwrap();
        }),
    ];
    for (word, ruin) in table {
        let place = Place::new();
        place.put(document(2, &["a"]));
        let running = place.start();
        assert_eq!(running.refresh().await, Ok(1));
        let before = running.reader.current().unwrap();

        ruin(&place.object());
        // The second time the store says that the refused object is still there, and the verdict is the same.
        for _ in 0..2 {
            assert_eq!(running.refresh().await.map_err(LoadError::word), Err(word));
            assert!(Arc::ptr_eq(&before, &running.reader.current().unwrap()), "{word}");
            assert_eq!(running.reader.freshness().last_error.map(LoadError::word), Some(word));
        }

        place.put(document(3, &["a", "c"]));
        assert_eq!(running.refresh().await, Ok(2), "{word}");
        assert!(running.knows("c"));
        assert_eq!(running.reader.freshness().last_error, None);
    }
}

#[tokio::test]
async fn an_object_encrypted_otherwise_changes_nothing() {
    let place = Place::new().sealing();
    place.put(sealed(STORAGE_SECRET, &document(1, &["a"])));
    let running = place.start();
    assert_eq!(running.refresh().await, Ok(1));
    place.put(sealed("other", &document(2, &["b"])));
    assert_eq!(
        running.refresh().await,
        Err(LoadError::Envelope(EnvelopeError::WrongSecret))
    );
    assert!(running.knows("a") && !running.knows("b"));
}

#[tokio::test]
async fn the_object_in_force_put_back_after_a_bad_one_is_no_failure() {
    let place = Place::new();
    place.put(document(2, &["a"]));
    let running = place.start();
    running.refresh().await.unwrap();
    let before = running.reader.current().unwrap();
    place.put("<html>");
    running.refresh().await.unwrap_err();
    place.put(document(2, &["a"]));
    assert_eq!(running.refresh().await, Ok(1));
    assert!(Arc::ptr_eq(&before, &running.reader.current().unwrap()));
    assert_eq!(running.reader.freshness().last_error, None);
}

#[tokio::test]
async fn a_bad_object_at_first_is_not_an_empty_store() {
    let place = Place::new();
    place.put("");
    let running = place.start();
    assert_eq!(running.refresh().await, Err(LoadError::Document(DocumentError::Empty)));
    assert!(running.reader.current().is_none());
    assert!(running.reader.freshness().age.is_none());
}

#[tokio::test]
async fn an_older_generation_needs_the_operators_word() {
    let place = Place::new();
    place.put(document(7, &["a"]));
    let running = place.start();
    running.refresh().await.unwrap();
    place.put(document(6, &["b"]));
    assert_eq!(running.refresh().await, Err(LoadError::OlderGeneration));
    assert_eq!(running.refresher.refresh(true).await, Ok(1));
    assert_eq!(running.generation(), Some(6));
    assert!(running.knows("b") && !running.knows("a"));
}

#[tokio::test]
async fn a_document_without_generation_is_taken_unless_generations_are_strict() {
    for strict in [false, true] {
        let place = if strict { Place::new().strict() } else { Place::new() };
        place.put(document(7, &["a"]));
        let running = place.start();
        running.refresh().await.unwrap();
        place.put(document(0, &["b"]));
        let expected = if strict { Err(LoadError::GenerationLost) } else { Ok(1) };
        assert_eq!(running.refresh().await, expected);
        assert_eq!(running.knows("b"), !strict);
        assert_eq!(running.refresher.refresh(true).await, Ok(1));
        assert!(running.knows("b"));
    }
}

#[tokio::test]
async fn a_plain_object_is_taken_until_the_first_encrypted_one_was_seen() {
    let place = Place::new().sealing();
    place.put(document(1, &["a"]));
    let running = place.start();
    assert_eq!(running.refresh().await, Ok(1));
    place.put(document(2, &["b"]));
    assert_eq!(running.refresh().await, Ok(1));
    place.put(sealed(STORAGE_SECRET, &document(3, &["c"])));
    assert_eq!(running.refresh().await, Ok(1));
    place.put(document(4, &["d"]));
    assert_eq!(running.refresh().await, Err(LoadError::NotEncrypted));
    assert!(running.knows("c"));
}

#[tokio::test]
async fn a_snapshot_serves_while_the_store_fails() {
    let place = Place::new().with_snapshot();
    place.snapshot().save(document(3, &["a"]).as_bytes(), false).unwrap();
    fs::create_dir_all(place.object()).unwrap();
    let running = place.start();
    patiently(running.reader.loaded()).await;
    assert!(running.knows("a"));
    assert_eq!(running.refresh().await, Err(LoadError::Store(StoreError::Failed)));
    assert!(running.knows("a"));
    let loaded = running.reader.current().unwrap();
    assert_eq!((loaded.etag.as_deref(), loaded.index.generation()), (None, Some(3)));
    assert!(running.reader.freshness().age.is_none());
}

#[tokio::test]
async fn after_a_snapshot_neither_an_older_object_nor_none_is_taken() {
    let place = Place::new().with_snapshot();
    place.snapshot().save(document(3, &["a"]).as_bytes(), false).unwrap();
    let running = place.start();
    assert_eq!(running.refresh().await, Err(LoadError::Gone));
    place.put(document(2, &["b"]));
    assert_eq!(running.refresh().await, Err(LoadError::OlderGeneration));
    assert!(running.knows("a"));
    place.put(document(4, &["c"]));
    assert_eq!(running.refresh().await, Ok(1));
    assert!(running.knows("c"));
}

#[tokio::test]
async fn each_document_that_comes_into_force_is_saved_and_a_refused_one_is_not() {
    let place = Place::new().with_snapshot();
    let running = place.start();
    let saved = || {
        place
            .snapshot()
            .load()
            .map(|saved| Index::build(&saved.document).unwrap().generation())
    };
    for generation in 1..=3 {
        place.put(document(generation, &["a"]));
        running.refresh().await.unwrap();
        until(|| saved() == Some(Some(generation))).await;
    }
    place.put(document(2, &["b"]));
    running.refresh().await.unwrap_err();
    assert_eq!(saved(), Some(Some(3)));
}

#[tokio::test]
async fn the_newest_document_that_could_not_be_saved_is_tried_again() {
    let place = Place::new().polling().with_snapshot();
    fs::create_dir_all(place.snapshot().path.join("in the way")).unwrap();
    place.put(document(1, &["a"]));
    let running = place.start();
    patiently(running.reader.loaded()).await;
    place.put(document(2, &["b"]));
    until(|| running.generation() == Some(2)).await;
    running.counted("poll.unchanged", 4).await;
    fs::remove_dir_all(&place.snapshot().path).unwrap();
    until(|| place.snapshot().load().is_some()).await;
    let saved = place.snapshot().load().unwrap();
    assert_eq!(Index::build(&saved.document).unwrap().generation(), Some(2));
}

#[tokio::test]
async fn the_snapshot_remembers_over_a_restart_whether_the_object_was_encrypted() {
    for object_sealed in [false, true] {
        let place = Place::new().sealing().with_snapshot();
        place
            .snapshot()
            .save(document(1, &["a"]).as_bytes(), object_sealed)
            .unwrap();
        place.put(document(2, &["b"]));
        let expected = if object_sealed {
            Err(LoadError::NotEncrypted)
        } else {
            Ok(1)
        };
        assert_eq!(place.start().refresh().await, expected);
    }
}

#[tokio::test]
async fn an_unusable_snapshot_is_as_good_as_none() {
    for content in ["", "<html>", "HEARE_ENCRYPTED_V1:xyz"] {
        let place = Place::new().with_snapshot();
        fs::write(place.snapshot().path, content).unwrap();
        let running = place.start();
        assert_eq!(running.refresh().await, Ok(0));
    }
}

#[tokio::test]
async fn three_hundred_refreshes_at_once_are_all_answered() {
    let place = Place::new();
    place.put(document(1, &["a", "b"]));
    let running = place.start();
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let refresher = running.refresher.clone();
        askers.spawn(async move { refresher.refresh(false).await });
    }
    let answers = patiently(askers.join_all()).await;
    assert_eq!(answers, vec![Ok(2); 300]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_answered_by_a_load_that_began_after_it() {
    let place = Place::new();
    place.put(document(1, &["a"]));
    let running = Arc::new(place.start());
    let written = Arc::new(Mutex::new(1));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (running, written, path) = (Arc::clone(&running), Arc::clone(&written), place.object());
        writers.spawn(async move {
            for _ in 0..10 {
                let mine = {
                    let mut generation = written.lock().unwrap();
                    *generation += 1;
                    durable::replace(&path, document(*generation, &["a"]).as_bytes()).unwrap();
                    *generation
                };
                assert_eq!(running.refresh().await, Ok(1));
                assert!(running.generation() >= Some(mine));
            }
        });
    }
    patiently(writers.join_all()).await;
    assert_eq!(running.generation(), Some(81));
}

#[tokio::test]
async fn polls_notice_a_change_and_keep_what_is_in_force_when_the_object_goes() {
    let place = Place::new().polling();
    let running = place.start();
    patiently(running.reader.loaded()).await;
    place.put(document(1, &["a"]));
    until(|| running.knows("a")).await;
    running.counted("poll.unchanged", 3).await;
    fs::remove_file(place.object()).unwrap();
    running.counted("poll.failed", 3).await;
    assert!(running.knows("a"));
    assert_eq!(running.reader.freshness().last_error, Some(LoadError::Gone));
    place.put(document(2, &["b"]));
    until(|| running.knows("b")).await;
    running.counted("poll.unchanged", 1).await;
    assert_eq!(running.reader.freshness().last_error, None);
}

#[tokio::test]
async fn a_store_that_fails_at_first_is_loaded_when_it_comes_back_without_being_asked() {
    let place = Place::new();
    fs::create_dir_all(place.object()).unwrap();
    let running = place.start();
    running.counted("poll.failed", 2).await;
    assert!(running.reader.current().is_none());
    fs::remove_dir(place.object()).unwrap();
    place.put(document(1, &["a"]));
    until(|| running.knows("a")).await;
}

#[tokio::test]
async fn a_stopped_loader_refuses_refreshes_and_leaves_its_keys_readable() {
    let place = Place::new();
    place.put(document(1, &["a"]));
    let running = place.start();
    running.refresh().await.unwrap();
    running.refresher.stop();
    patiently(running.refresher.requests.closed()).await;
    assert_eq!(running.refresh().await, Err(LoadError::Stopping));
    assert!(running.knows("a"));
    patiently(running.task).await.unwrap();
}

#[tokio::test]
async fn the_loader_ends_with_the_last_who_could_ask() {
    let running = Place::new().start();
    drop(running.refresher.clone());
    running.refresh().await.unwrap();
    drop(running.refresher);
    patiently(running.task).await.unwrap();
}

/// What was logged, gathered by a subscriber of this test's thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A place's log: the subscriber is in force until this is dropped.
struct Logged {
    lines: Lines,
    queue: LogQueue,
    _in_force: tracing::subscriber::DefaultGuard,
}

impl Logged {
    fn new() -> Self {
        // While a process has only one subscriber, tracing asks the thread that comes to a line first whether it is
        // wanted anywhere. Other tests' threads would say no for all; with a second subscriber all are asked.
        static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        let lines = Lines::default();
        let queue = LogQueue::start(lines.clone(), 1 << 20).unwrap();
        let in_force = tracing::subscriber::set_default(subscriber(LogLevel::Info, queue.clone()));
        Self {
            lines,
            queue,
            _in_force: in_force,
        }
    }

    fn lines(&self, event: &str) -> Vec<serde_json::Value> {
        assert!(self.queue.flush(PATIENCE));
        let bytes = self.lines.0.lock().unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let parsed = lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap());
        parsed.filter(|line| line["event"] == event).collect()
    }
}

#[tokio::test]
async fn a_failure_is_logged_once_and_so_is_its_end() {
    let logged = Logged::new();
    let place = Place::new().polling();
    place.put(document(1, &["a"]));
    let running = place.start_logging_to(logged.queue.clone());
    patiently(running.reader.loaded()).await;

    place.put("<html>");
    running.counted("poll.failed", 4).await;
    place.put("<html>again");
    running.counted("poll.failed", 4).await;
    fs::remove_file(place.object()).unwrap();
    running.counted("poll.failed", 4).await;
    place.put(document(2, &["a"]));
    until(|| running.generation() == Some(2)).await;
    running.counted("poll.unchanged", 1).await;

    let words = |event| {
        logged
            .lines(event)
            .iter()
            .map(|line| line["error"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(words("load_failed"), ["object_not_json", "object_not_json"]);
    assert_eq!(words("poll_failed"), ["object_gone"]);
    assert_eq!(words("poll_recovered"), ["object_gone"]);
    assert_eq!(logged.lines("keys_loaded").len(), 2);
}

#[tokio::test]
async fn a_loaded_document_is_logged_with_its_bad_records_and_plaintext_secrets() {
    let logged = Logged::new();
    let place = Place::new();
    let bad: Vec<_> = (0..103).map(|number| format!(r#"{{"id":"key_{number}"}}"#)).collect();
    let good = r#"{"id":"key_a","name":"n","secret":"sec_private_a"}"#;
    place.put(format!(r#"{{"keys":[{good},{}],"generation":5}}"#, bad.join(",")));
    let running = place.start_logging_to(logged.queue.clone());
    assert_eq!(running.refresh().await, Ok(1));
    assert_eq!(running.refresh().await, Ok(1));

    let [loaded] = &logged.lines("keys_loaded")[..] else {
        panic!("one line")
    };
    assert_eq!(
        [&loaded["keys_loaded"], &loaded["generation"], &loaded["bad_records"]],
        [1, 5, 103]
    );
    assert!(loaded["duration_ms"].is_u64() && loaded["etag"].is_string());
    let named = logged.lines("bad_record");
    assert_eq!(named.len(), 100);
    assert_eq!(
        (&named[2]["key_id"], &named[2]["position"]),
        (&"key_2".into(), &3.into())
    );
    assert_eq!(named[2]["level"], 40);
    assert!(named[2]["defect"].is_string());
    assert_eq!(logged.lines("bad_records")[0]["more"], 3);
    let [plaintext] = &logged.lines("plaintext_secrets")[..] else {
        panic!("one line")
    };
    assert_eq!(plaintext["count"], 1);
    assert!(plaintext["msg"].as_str().unwrap().contains("migrate"));
    let all = logged.lines.0.lock().unwrap();
    assert!(!String::from_utf8_lossy(&all).contains("sec_private_a"));
}

#[tokio::test]
async fn a_lost_generation_is_logged() {
    let logged = Logged::new();
    let place = Place::new();
    place.put(document(7, &["a"]));
    let running = place.start_logging_to(logged.queue.clone());
    running.refresh().await.unwrap();
    place.put(document(0, &["a"]));
    running.refresh().await.unwrap();
    let [line] = &logged.lines("generation_missing")[..] else {
        panic!("one line")
    };
    assert_eq!(line["generation"], 7);
}
