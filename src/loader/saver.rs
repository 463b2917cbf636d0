//! Saves snapshots beside the loader, so that a slow disk delays no refresh. When documents come faster than they
//! can be saved, the newest is what gets saved next. One that could not be saved is kept for another try.

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::{courtesy, snapshot::SnapshotFile};

#[derive(Clone)]
pub(super) struct Saver(Arc<Shared>);

struct Shared {
    file: SnapshotFile,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    newest: Option<Candidate>,
    saving: bool,
    /// What could not be saved, while there is nothing newer.
    unsaved: Option<Candidate>,
    failing: bool,
}

/// A document in force, and whether its object was encrypted.
pub(super) struct Candidate {
    pub document: Bytes,
    pub object_sealed: bool,
}

impl Saver {
    pub(super) fn new(file: SnapshotFile) -> Self {
        let queue = Mutex::default();
        Self(Arc::new(Shared { file, queue }))
    }

    pub(super) fn file(&self) -> SnapshotFile {
        self.0.file.clone()
    }

    pub(super) fn save(&self, candidate: Candidate) {
        let mut queue = self.0.queue();
        queue.unsaved = None;
        queue.newest = Some(candidate);
        if !queue.saving {
            self.begin(&mut queue);
        }
    }

    /// An old snapshot would bring back, after a restart without the store, what has been revoked since.
    pub(super) fn try_again(&self) {
        let mut queue = self.0.queue();
        if !queue.saving && queue.unsaved.is_some() {
            queue.newest = queue.unsaved.take();
            self.begin(&mut queue);
        }
    }

    fn begin(&self, queue: &mut Queue) {
        queue.saving = true;
        let shared = Arc::clone(&self.0);
        courtesy::begin_aside(move || shared.save_all());
    }
}

impl Shared {
    fn save_all(&self) {
        while let Some(candidate) = self.next() {
            let outcome = self.file.save(&candidate.document, candidate.object_sealed);
            self.note(candidate, outcome);
        }
    }

    /// A disk that is full for a day makes two lines, however often it is tried.
    fn note(&self, candidate: Candidate, outcome: io::Result<()>) {
        let was_failing = {
            let mut queue = self.queue();
            if outcome.is_err() && queue.newest.is_none() {
                queue.unsaved = Some(candidate);
            }
            mem::replace(&mut queue.failing, outcome.is_err())
        };
        match outcome {
            Err(error) if !was_failing => tracing::warn!(
                event = "snapshot_failed",
                error = %error.kind(),
                "the snapshot at SNAPSHOT_PATH could not be saved, and is tried again with each poll"
            ),
            Ok(()) if was_failing => {
                tracing::info!(
                    event = "snapshot_recovered",
                    "the snapshot at SNAPSHOT_PATH is saved again"
                );
            }
            Err(_) | Ok(()) => {}
        }
    }

    fn next(&self) -> Option<Candidate> {
        let mut queue = self.queue();
        let next = queue.newest.take();
        queue.saving = next.is_some();
        next
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
