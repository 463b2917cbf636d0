//! The only writer of the index. One task polls the store and serves refreshes, and publishes each whole new
//! index on a watch channel; everybody else holds the reading end.

mod answer;
mod intake;
mod load;
mod pace;
mod report;
mod retired;
mod rules;
mod saver;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

pub use self::rules::Rules;
use self::{
    answer::{Answer, Outcome},
    load::Work,
    pace::Pace,
    retired::Retired,
    rules::Standard,
};
use crate::{
    clock::Clock,
    core::{document::DocumentError, index::Index, time::Timestamp},
    envelope::{Envelope, EnvelopeError},
    snapshot::SnapshotFile,
    store::{Store, StoreError},
    telemetry::{Telemetry, metrics::Metrics},
};

/// The store answers or fails within 30 s; this leaves room for opening and indexing what it answered.
const REFRESH_WAIT: Duration = Duration::from_secs(35);

/// Refreshes that may wait at once; more wait for room among them.
const WAITING_REFRESHES: usize = 1024;

/// How often the age gauge is set and superseded indexes are looked at.
const PULSE: Duration = Duration::from_secs(1);

/// One whole loaded document.
pub struct Loaded {
    pub index: Index,
    /// The store's version of it; `None` for a snapshot or for a store that holds nothing yet.
    pub etag: Option<String>,
    pub loaded_at: Timestamp,
}

/// Why a load changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("the object is gone")]
    Gone,
    #[error("the object is not encrypted any more")]
    NotEncrypted,
    #[error("the object is of an older generation")]
    OlderGeneration,
    #[error("the object has no generation any more")]
    GenerationLost,
    /// A defect of this program; the log has a line about the panic.
    #[error("the object could not be processed")]
    Internal,
    #[error("the service is stopping")]
    Stopping,
}

impl LoadError {
    /// The class on `/ready`, in the log and in a refused refresh.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Store(error) => error.word(),
            Self::Document(DocumentError::TooLarge) => StoreError::TooLarge.word(),
            Self::Envelope(EnvelopeError::SecretMissing) => "secret_missing",
            Self::Envelope(EnvelopeError::WrongSecret) => "wrong_secret",
            Self::Document(DocumentError::Empty) => "object_empty",
            Self::Document(DocumentError::NotJson) => "object_not_json",
            Self::Document(DocumentError::Truncated) => "object_truncated",
            Self::Document(DocumentError::NoKeys) => "object_without_keys",
            Self::Gone => "object_gone",
            Self::NotEncrypted => "object_not_encrypted",
            Self::OlderGeneration => "older_generation",
            Self::GenerationLost => "generation_lost",
            Self::Internal => "internal",
            Self::Stopping => "stopping",
        }
    }
}

/// How the loader works; all durations are bounds the documents promise.
#[derive(Clone, Copy, Debug)]
pub struct LoaderOptions {
    pub poll_interval: Duration,
    pub strict_generation: bool,
    /// Between 0 and 1, by which waits are spread.
    pub chance: fn() -> f64,
}

/// Asks for a refresh and waits for a load that began after it asked.
#[derive(Clone)]
pub struct Refresher {
    requests: mpsc::Sender<Request>,
    stop: Arc<StopOnDrop>,
}

struct Request {
    allow_older: bool,
    answer: oneshot::Sender<Answer>,
}

/// Stops the loader when the last `Refresher` is gone, also in the middle of a load.
struct StopOnDrop(Arc<Notify>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Refresher {
    /// The number of keys in force afterwards. `allow_older` is the operator's word for a rollback.
    pub async fn refresh(&self, allow_older: bool) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let request = Request { allow_older, answer };
            self.requests.send(request).await.map_err(|_| LoadError::Stopping)?;
            answered.await.map_err(|_| LoadError::Stopping)?.take().await
        };
        timeout(REFRESH_WAIT, asked)
            .await
            .unwrap_or(Err(LoadError::Store(StoreError::Timeout)))
    }

    /// Ends the loader now, whatever it is doing. The index in force stays readable.
    pub fn stop(&self) {
        self.stop.0.notify_one();
    }
}

/// The reading end: what is in force, and how fresh it is.
#[derive(Clone)]
pub struct Reader {
    current: watch::Receiver<Option<Arc<Loaded>>>,
    progress: Arc<Progress>,
    standard: Arc<Standard>,
}

/// For `/ready` and the age gauge.
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    /// Since the store last confirmed or delivered what is in force.
    pub age: Option<Duration>,
    pub last_error: Option<LoadError>,
}

impl Reader {
    /// The index in force; `None` until the first whole document.
    pub fn current(&self) -> Option<Arc<Loaded>> {
        self.current.borrow().clone()
    }

    /// Waits until something is in force; for ever when the loader stops before that.
    pub async fn loaded(&self) {
        if self.current.clone().wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub fn freshness(&self) -> Freshness {
        self.progress.freshness()
    }

    /// What a document would have to hold up against now. For a change to be asked of before the document is read: what
    /// comes into force meanwhile is then no older.
    pub fn rules(&self) -> Rules {
        let in_force = self.current().and_then(|loaded| loaded.index.generation());
        self.standard.rules(in_force, false)
    }
}

/// How the last loads went.
#[derive(Default)]
struct Progress(Mutex<State>);

#[derive(Default)]
struct State {
    confirmed: Option<Instant>,
    last_error: Option<LoadError>,
}

impl Progress {
    fn freshness(&self) -> Freshness {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Freshness {
            age: state.confirmed.map(|confirmed| confirmed.elapsed()),
            last_error: state.last_error,
        }
    }

    /// `began`: what the store says is true of the moment at which it was asked.
    fn note(&self, began: Instant, outcome: Result<(), LoadError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if outcome.is_ok() {
            state.confirmed = Some(began);
        }
        state.last_error = outcome.err();
    }
}

pub struct Loader {
    requests: mpsc::Receiver<Request>,
    stop: Arc<Notify>,
    pace: Pace,
    work: Work,
}

/// The writer (to be run as one task), the asker and the reader.
pub fn loader(
    store: impl Into<Arc<Store>>,
    envelope: Envelope,
    snapshot: Option<SnapshotFile>,
    options: LoaderOptions,
    clock: Arc<Clock>,
    telemetry: Telemetry,
) -> (Loader, Refresher, Reader) {
    let (ask, requests) = mpsc::channel(WAITING_REFRESHES);
    let (publish, current) = watch::channel(None);
    let stop = Arc::new(Notify::new());
    let pace = Pace::new(options.poll_interval, options.chance);
    let work = Work::new(store.into(), envelope, snapshot, options, clock, telemetry, publish);
    let reader = Reader {
        current,
        progress: Arc::clone(&work.progress),
        standard: Arc::clone(&work.standard),
    };
    let refresher = Refresher {
        requests: ask,
        stop: Arc::new(StopOnDrop(Arc::clone(&stop))),
    };
    let loader = Loader {
        requests,
        stop,
        pace,
        work,
    };
    (loader, refresher, reader)
}

impl Loader {
    /// Polls and refreshes until it is stopped or every `Refresher` is gone.
    pub async fn run(mut self) {
        let stop = Arc::clone(&self.stop);
        let metrics = Arc::clone(&self.work.telemetry.metrics);
        let pulse = pulse(Arc::clone(&self.work.progress), Arc::clone(&self.work.retired), metrics);
        tokio::select! {
            () = stop.notified() => {}
            () = pulse => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&mut self) {
        self.work.boot().await;
        let mut next_poll = Instant::now();
        loop {
            let first = tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(request) => Some(request),
                    None => return,
                },
                () = sleep_until(next_poll) => None,
            };
            let outcome = match first {
                Some(request) => self.refresh(request).await,
                None => self.work.poll().await,
            };
            next_poll = Instant::now() + self.pace.until_next(outcome, self.work.is_loaded());
        }
    }

    /// One load for everybody who has asked until now; who asks during it waits for the next.
    async fn refresh(&mut self, first: Request) -> Result<(), LoadError> {
        let mut allow_older = first.allow_older;
        let mut waiting = VecDeque::from([first.answer]);
        while let Ok(request) = self.requests.try_recv() {
            allow_older |= request.allow_older;
            waiting.push_back(request.answer);
        }
        self.pace.reset();
        let outcome = self.work.refresh(allow_older).await;
        Answer::tell(outcome, waiting);
        outcome.map(drop)
    }
}

/// Goes on during a load too: a store that stalls is just when the age matters.
async fn pulse(progress: Arc<Progress>, retired: Arc<Retired>, metrics: Arc<Metrics>) {
    loop {
        sleep(PULSE).await;
        if let Some(age) = progress.freshness().age {
            metrics.age(age);
        }
        retired.sweep();
    }
}

#[cfg(test)]
mod tests;
