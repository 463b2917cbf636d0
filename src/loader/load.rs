//! One load, all or nothing: fetch, open, index, check, and one swap. Any failure leaves in force what is in force.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use super::{
    LoadError, Loaded, LoaderOptions, Progress,
    intake::Intake,
    report::{self, Report},
    retired::Retired,
    rules::{Rules, Standard},
    saver::{Candidate, Saver},
};
use crate::{
    clock::Clock,
    core::index::Index,
    courtesy::{NotDone, Turns, aside},
    envelope::Envelope,
    snapshot::SnapshotFile,
    store::{Fetched, Store, Version},
    telemetry::Telemetry,
};

/// Everything a load needs and changes.
pub(super) struct Work {
    store: Arc<Store>,
    envelope: Envelope,
    saver: Option<Saver>,
    clock: Arc<Clock>,
    pub telemetry: Telemetry,
    publish: watch::Sender<Option<Arc<Loaded>>>,
    pub progress: Arc<Progress>,
    pub retired: Arc<Retired>,
    pub standard: Arc<Standard>,
    report: Report,
    /// An object, or the snapshot of one, is or was in force: a store without one is no empty store any more.
    object_seen: bool,
    /// The object that was refused last, while it is still the stored one.
    refused: Option<(Version, LoadError)>,
}

/// Whether a load brought something else into force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Changed,
    Unchanged,
}

/// An object that may come into force.
struct Built {
    index: Index,
    /// For the snapshot, where there is one.
    document: Option<Bytes>,
}

impl Work {
    pub(super) fn new(
        store: Arc<Store>,
        envelope: Envelope,
        snapshot: Option<SnapshotFile>,
        options: LoaderOptions,
        clock: Arc<Clock>,
        telemetry: Telemetry,
        publish: watch::Sender<Option<Arc<Loaded>>>,
    ) -> Self {
        Self {
            standard: Arc::new(Standard::new(&envelope, options)),
            store,
            envelope,
            saver: snapshot.map(Saver::new),
            clock,
            telemetry,
            publish,
            progress: Arc::default(),
            retired: Arc::default(),
            report: Report::default(),
            object_seen: false,
            refused: None,
        }
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.publish.borrow().is_some()
    }

    /// Brings the snapshot into force, if there is one.
    pub(super) async fn boot(&mut self) {
        let Some(file) = self.saver.as_ref().map(Saver::file) else {
            return;
        };
        let read = off_thread(move || {
            if !file.path.exists() {
                return Ok(None);
            }
            let saved = file.load().ok_or(LoadError::Internal)?;
            let turns = Turns::begin();
            let index = Index::build_with_pauses(&saved.document, || turns.pause())?;
            Ok(Some((index, saved.object_sealed)))
        });
        match read.await {
            Ok(None) => {}
            Err(_) => report::snapshot_unusable(),
            Ok(Some((index, object_sealed))) => {
                self.object_seen = true;
                self.standard.note(object_sealed);
                report::snapshot_loaded(&index);
                self.put_in_force(index, None);
            }
        }
    }

    pub(super) async fn poll(&mut self) -> Result<(), LoadError> {
        let outcome = self.load(false).await;
        let metrics = &self.telemetry.metrics;
        match outcome {
            Ok(Outcome::Changed) => metrics.poll_changed(),
            Ok(Outcome::Unchanged) => metrics.poll_unchanged(),
            Err(error) => {
                metrics.poll_failed();
                let refused = self.refused.as_ref().filter(|(_, verdict)| *verdict == error);
                self.report.poll_failed(error, refused.map(|(version, _)| version));
            }
        }
        outcome.map(drop)
    }

    /// The number of keys in force afterwards. Failures are reported to whoever asked.
    pub(super) async fn refresh(&mut self, allow_older: bool) -> Result<usize, LoadError> {
        self.load(allow_older).await?;
        Ok(self
            .publish
            .borrow()
            .as_ref()
            .map_or(0, |loaded| loaded.index.keys_count()))
    }

    async fn load(&mut self, allow_older: bool) -> Result<Outcome, LoadError> {
        let began = Instant::now();
        let outcome = self.fetch(began, allow_older).await;
        self.progress.note(began, outcome.map(drop));
        if outcome.is_ok() {
            self.refused = None;
            self.report.recovered();
        }
        if let (Ok(Outcome::Unchanged), Some(saver)) = (outcome, &self.saver) {
            saver.try_again();
        }
        outcome
    }

    async fn fetch(&mut self, began: Instant, allow_older: bool) -> Result<Outcome, LoadError> {
        // A refused object is not fetched again while it stays, unless the operator's word may change the verdict.
        let refused = if allow_older { None } else { self.refused.clone() };
        let known = refused
            .as_ref()
            .map(|(version, _)| version.clone())
            .or_else(|| self.version_in_force());
        let intake = Intake::new(self.saver.is_some());
        match self.store.read_into(known.as_ref(), intake).await {
            Ok(Fetched::Unchanged) => refused.map_or(Ok(Outcome::Unchanged), |(_, error)| Err(error)),
            Ok(Fetched::Missing) => self.take_nothing(began),
            // What was refused has been replaced by what is in force.
            Ok(Fetched::Object { version, .. }) if self.version_in_force().as_ref() == Some(&version) => {
                Ok(Outcome::Unchanged)
            }
            Ok(Fetched::Object { version, bytes: intake }) => self.take(began, version, intake, allow_older).await,
            Err(error) => Err(error.into()),
        }
    }

    /// At first start a store without an object is an empty store; after that it has lost its object.
    fn take_nothing(&mut self, began: Instant) -> Result<Outcome, LoadError> {
        self.refused = None;
        if self.object_seen {
            return Err(LoadError::Gone);
        }
        if self.is_loaded() {
            return Ok(Outcome::Unchanged);
        }
        let loaded = self.put_in_force(Index::empty(), None);
        report::keys_loaded(&loaded, began.elapsed());
        Ok(Outcome::Changed)
    }

    async fn take(
        &mut self,
        began: Instant,
        version: Version,
        intake: Intake,
        allow_older: bool,
    ) -> Result<Outcome, LoadError> {
        self.refused = None;
        let object_sealed = intake.is_sealed();
        let (envelope, rules) = (self.envelope.clone(), self.rules(allow_older));
        let in_force = rules.in_force();
        let built = off_thread(move || build(intake, &envelope, &rules)).await;
        // An encrypted object that opens shows that the store is encrypted, also when its document is no good.
        self.standard
            .note(object_sealed && !matches!(built, Err(LoadError::Envelope(_))));
        let Built { index, document } = match built {
            Ok(built) => built,
            Err(error @ (LoadError::Internal | LoadError::Stopping)) => return Err(error),
            Err(error) => {
                self.refused = Some((version, error));
                return Err(error);
            }
        };
        self.object_seen = true;
        let loaded = self.put_in_force(index, Some(version));
        if let (Some(saver), Some(document)) = (&self.saver, document) {
            saver.save(Candidate {
                document,
                object_sealed,
            });
        }
        if let (Some(in_force), None) = (in_force, loaded.index.generation()) {
            report::generation_missing(in_force);
        }
        report::keys_loaded(&loaded, began.elapsed());
        Ok(Outcome::Changed)
    }

    fn rules(&self, allow_older: bool) -> Rules {
        let loaded = self.publish.borrow();
        let in_force = loaded.as_ref().and_then(|loaded| loaded.index.generation());
        self.standard.rules(in_force, allow_older)
    }

    /// The one swap.
    fn put_in_force(&self, index: Index, version: Option<Version>) -> Arc<Loaded> {
        self.telemetry.metrics.keys_count(index.keys_count());
        let loaded = Arc::new(Loaded {
            index,
            etag: version.map(|version| version.0),
            loaded_at: self.clock.now(),
        });
        self.retired.push(self.publish.send_replace(Some(Arc::clone(&loaded))));
        loaded
    }

    fn version_in_force(&self) -> Option<Version> {
        self.publish
            .borrow()
            .as_ref()
            .and_then(|loaded| loaded.etag.clone())
            .map(Version)
    }
}

fn build(intake: Intake, envelope: &Envelope, rules: &Rules) -> Result<Built, LoadError> {
    let object_sealed = intake.is_sealed();
    let (index, document) = intake.finish(envelope)?;
    // Only now: what is no document at all, such as an emptied object, is called by its own name.
    rules.check(object_sealed, index.generation())?;
    Ok(Built { index, document })
}

/// Work that takes long is done where it holds up nobody.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    match aside(work).await {
        Ok(result) => result,
        Err(NotDone::Failed) => Err(LoadError::Internal),
        Err(NotDone::Stopping) => Err(LoadError::Stopping),
    }
}
