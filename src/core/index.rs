//! The index: digest to key, immutable and compact, built once from a document and read by every verify.

mod build;
mod imported;
mod terms;
mod text;

use hashbrown::HashTable;

pub use self::{build::Arriving, imported::Candidate};
use self::{imported::Imported, terms::AllTerms, text::Texts};
use super::{document::DocumentError, key::Defect, policy::Policy, secret::Digest, time::Timestamp};

/// How many denied records are named; a document full of them must not fill memory and logs.
pub const MAX_BAD_RECORDS: usize = 1000;

/// All good keys of one document.
pub struct Index {
    /// Numbers of `records`, hashed by digest; behind the last of them the numbers of `previous`.
    by_digest: HashTable<u32>,
    records: Vec<Record>,
    previous: Vec<PreviousSecret>,
    texts: Texts,
    terms: AllTerms,
    keys_count: usize,
    imported: Imported,
    generation: Option<u64>,
    write_id: Option<Box<str>>,
    plaintext_count: usize,
    bad_records: Vec<BadRecord>,
    bad_records_count: usize,
}

/// What every key has, of one size. The rest stands in `texts`.
struct Record {
    digest: Digest,
    /// `NEVER` for a key without expiry.
    expires_at: i64,
    /// Where its flags, id and name begin.
    text: u32,
    /// Where its metadata begins; keys with the same metadata share it.
    metadata: u32,
}

/// A million keys are a million of these: look twice before it grows.
const _: () = assert!(size_of::<Record>() == 48);

/// How much of a document is read at a time, when all of it is there already: little enough to stay in the processor's cache.
const PIECE: usize = 16 << 10;

const NEVER: i64 = i64::MAX;

/// A secret that was replaced and is good for a while.
struct PreviousSecret {
    digest: Digest,
    not_after: i64,
    record: u32,
}

/// A record that was denied, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The record's id, or `None` when it has no readable one.
    pub id: Option<String>,
    /// Its place in the document's list, from 0.
    pub position: usize,
    pub defect: Defect,
}

/// A found key. The texts are JSON already, ready to be copied into an answer.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// A JSON string's inside, without the quotation marks.
    pub id: &'a str,
    pub name: &'a str,
    /// A JSON object, without white space.
    pub metadata: &'a str,
    pub expires_at: Option<Timestamp>,
    /// Taken away by either member that does that.
    pub revoked: bool,
    /// Taken away by no more than `is_active`, as a key is that has long expired: then that is what it is.
    pub merely_inactive: bool,
    /// `None` for a plain key.
    pub policy: Option<Policy<'a>>,
    /// Set when it was found by a secret that was replaced, which is good until then.
    pub previous_until: Option<Timestamp>,
}

impl Index {
    /// The index of a store that holds nothing yet.
    pub fn empty() -> Self {
        Self {
            by_digest: HashTable::new(),
            records: Vec::new(),
            previous: Vec::new(),
            texts: Texts::default(),
            terms: AllTerms::default(),
            keys_count: 0,
            imported: Imported::default(),
            generation: None,
            write_id: None,
            plaintext_count: 0,
            bad_records: Vec::new(),
            bad_records_count: 0,
        }
    }

    /// Reads a document's bytes in one pass, without building a tree.
    pub fn build(json: &[u8]) -> Result<Self, DocumentError> {
        Self::build_with_pauses(json, || ())
    }

    /// The same, calling `pause` between short pieces of the work.
    pub fn build_with_pauses(json: &[u8], mut pause: impl FnMut()) -> Result<Self, DocumentError> {
        let mut arriving = Arriving::default();
        for piece in json.chunks(PIECE) {
            arriving.take(piece);
            pause();
        }
        arriving.finish(pause)
    }

    /// The key that this secret is or was the secret of; whether it still is one is for `verify` to say.
    pub fn find(&self, digest: &Digest) -> Option<Entry<'_>> {
        let same = |&number: &u32| self.digest(number) == digest;
        let number = *self.by_digest.find(digest.table_hash(), same)?;
        Some(match self.records.get(number as usize) {
            Some(record) => self.entry(record),
            None => self.entry_of_previous(self.previous(number)),
        })
    }

    /// Good records, expired and revoked ones included.
    pub fn keys_count(&self) -> usize {
        self.keys_count
    }

    /// At most the first thousand of them; `bad_records_count` is exact.
    pub fn bad_records(&self) -> &[BadRecord] {
        &self.bad_records
    }

    pub fn bad_records_count(&self) -> usize {
        self.bad_records_count
    }

    pub fn generation(&self) -> Option<u64> {
        self.generation
    }

    pub fn write_id(&self) -> Option<&str> {
        self.write_id.as_deref()
    }

    /// How many records still carry their plaintext secret.
    pub fn plaintext_count(&self) -> usize {
        self.plaintext_count
    }

    /// Whether there is a key that expired at or before then and is not marked inactive.
    pub fn has_expired_by(&self, until: Timestamp) -> bool {
        let mut expired = self
            .records
            .iter()
            .filter(|record| record.expires_at <= until.as_millis());
        expired.any(|record| !self.texts.label(record.text).revoked)
    }

    /// Bytes of memory held for keys.
    pub fn resident_bytes(&self) -> usize {
        let records = self.records.capacity() * size_of::<Record>();
        let previous = self.previous.capacity() * size_of::<PreviousSecret>();
        let tables = records + previous + self.by_digest.allocation_size();
        tables + self.texts.resident_bytes() + self.terms.resident_bytes() + self.imported.resident_bytes()
    }

    fn digest(&self, number: u32) -> &Digest {
        match self.records.get(number as usize) {
            Some(record) => &record.digest,
            None => &self.previous(number).digest,
        }
    }

    #[cold]
    fn previous(&self, number: u32) -> &PreviousSecret {
        &self.previous[number as usize - self.records.len()]
    }

    fn entry_of_previous(&self, previous: &PreviousSecret) -> Entry<'_> {
        Entry {
            previous_until: Some(Timestamp::from_millis(previous.not_after)),
            ..self.entry(&self.records[previous.record as usize])
        }
    }

    fn entry(&self, record: &Record) -> Entry<'_> {
        let label = self.texts.label(record.text);
        Entry {
            id: label.id,
            name: label.name,
            metadata: self.texts.metadata(record.metadata),
            expires_at: (record.expires_at != NEVER).then(|| Timestamp::from_millis(record.expires_at)),
            revoked: label.revoked,
            merely_inactive: label.merely_inactive,
            policy: label.rules.map(|rules| self.terms.policy(&rules)),
            previous_until: None,
        }
    }
}

#[cfg(test)]
mod tests;
