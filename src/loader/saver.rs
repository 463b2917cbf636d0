//! Saves snapshots beside the loader, so that a slow disk delays no refresh. When documents come faster than they
//! can be saved, the newest is what gets saved next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
        queue.newest = Some(candidate);
        if !queue.saving {
            queue.saving = true;
            let shared = Arc::clone(&self.0);
            courtesy::begin_aside(move || shared.save_all());
        }
    }
}

impl Shared {
    fn save_all(&self) {
        while let Some(candidate) = self.next() {
            if let Err(error) = self.file.save(&candidate.document, candidate.object_sealed) {
                tracing::warn!(
                    event = "snapshot_failed",
                    error = %error.kind(),
                    "the snapshot at SNAPSHOT_PATH could not be saved"
                );
            }
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
