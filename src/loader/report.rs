//! What the log says about loads: each failure once and its end once, and each new document once.

use std::time::Duration;

use super::{LoadError, Loaded};
use crate::{
    core::{
        id::holds_secret,
        index::{BadRecord, Index},
        secret::shown_prefix,
    },
    store::Version,
};

/// How many bad records of one document are named.
const NAMED_BAD_RECORDS: usize = 100;

/// An id in a bad record can be anything; this much of it is enough to find it.
const SHOWN_ID_CHARS: usize = 64;

/// What the log knows already.
#[derive(Default)]
pub(super) struct Report {
    failing: Option<LoadError>,
    refused: Option<Version>,
}

impl Report {
    /// Says so unless it has been said: of an object that was refused once, of anything else when the class changes.
    pub(super) fn poll_failed(&mut self, error: LoadError, refused: Option<&Version>) {
        let changed = self.failing.replace(error) != Some(error);
        match refused {
            None if changed => tracing::warn!(
                event = "poll_failed",
                error = error.word(),
                "the keys could not be read: {error}"
            ),
            Some(version) if self.refused.as_ref() != Some(version) => {
                self.refused = Some(version.clone());
                tracing::error!(
                    event = "load_failed",
                    error = error.word(),
                    etag = version.0,
                    "the stored object is not taken, the keys in force stay: {error}"
                );
            }
            None | Some(_) => {}
        }
    }

    pub(super) fn recovered(&mut self) {
        self.refused = None;
        if let Some(error) = self.failing.take() {
            tracing::info!(
                event = "poll_recovered",
                error = error.word(),
                "the store is well again"
            );
        }
    }
}

/// A document came into force.
pub(super) fn keys_loaded(loaded: &Loaded, took: Duration) {
    let index = &loaded.index;
    tracing::info!(
        event = "keys_loaded",
        keys_loaded = index.keys_count(),
        generation = index.generation(),
        bad_records = index.bad_records_count(),
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        etag = loaded.etag,
        "keys loaded"
    );
    bad_records(index);
    plaintext_secrets(index.plaintext_count());
}

pub(super) fn snapshot_loaded(index: &Index) {
    tracing::info!(
        event = "snapshot_loaded",
        keys_loaded = index.keys_count(),
        generation = index.generation(),
        bad_records = index.bad_records_count(),
        "the keys of the snapshot are in force until the store answers"
    );
}

pub(super) fn snapshot_unusable() {
    tracing::warn!(
        event = "snapshot_unusable",
        "there is a file at SNAPSHOT_PATH that cannot be used as a snapshot"
    );
}

pub(super) fn generation_missing(in_force: u64) {
    tracing::warn!(
        event = "generation_missing",
        generation = in_force,
        "the new document has no generation although the one before had: it was written by something else; STRICT_GENERATION=true refuses such documents"
    );
}

fn bad_records(index: &Index) {
    for BadRecord { id, position, defect } in index.bad_records().iter().take(NAMED_BAD_RECORDS) {
        tracing::warn!(
            event = "bad_record",
            key_id = id.as_deref().map(shown_id),
            position,
            defect = defect.word(),
            "this record is denied"
        );
    }
    let more = index.bad_records_count().saturating_sub(NAMED_BAD_RECORDS);
    if more > 0 {
        tracing::warn!(event = "bad_records", more, "more records of this document are denied");
    }
}

/// A bad record may have its secret where the id should be.
fn shown_id(id: &str) -> &str {
    match shown_prefix(id) {
        "***" if holds_secret(id) => "***",
        "***" => id.char_indices().nth(SHOWN_ID_CHARS).map_or(id, |(end, _)| &id[..end]),
        prefix => prefix,
    }
}

fn plaintext_secrets(count: usize) {
    if count > 0 {
        tracing::warn!(
            event = "plaintext_secrets",
            count,
            "the stored document still holds plaintext secrets; `heare-auth migrate` replaces them by digests"
        );
    }
}
