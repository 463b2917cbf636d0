//! The records whose secret is known by its bcrypt hash alone: a short list beside the index, by the prefix of the secret.

use std::collections::BTreeMap;

use super::Index;
use crate::core::{
    imported::{BcryptHash, MAX_SHARING_PREFIX},
    key,
    secret::Digest,
};

/// Empty in most stores, and then costs nothing.
#[derive(Default)]
pub struct Imported {
    by_prefix: BTreeMap<Box<str>, Vec<Candidate>>,
    /// The lengths that prefixes have, each once.
    lengths: Vec<usize>,
}

/// A record that a presented secret may belong to, as its own or as an earlier one.
pub struct Candidate {
    pub hash: Box<str>,
    /// What is looked up for it.
    pub stand_in: Digest,
    record: u32,
}

impl Index {
    /// Whether there are secrets that only a bcrypt hash leads to.
    pub fn has_imported(&self) -> bool {
        !self.imported.is_empty()
    }

    pub fn imported_count(&self) -> usize {
        self.imported.len()
    }

    /// The records that a secret without a digest here may belong to.
    pub fn candidates(&self, presented: &str) -> impl Iterator<Item = &Candidate> {
        self.imported.candidates(presented)
    }

    /// The digest under which the holder of this secret stands here, found by computing every bcrypt that it takes: for
    /// programs that ask once and may wait.
    pub fn digest_by_trial(&self, secret: &str) -> Digest {
        let digest = Digest::of(secret);
        if self.find(&digest).is_some() {
            return digest;
        }
        let matches =
            |candidate: &&Candidate| BcryptHash::parse(&candidate.hash).is_some_and(|hash| hash.matches(secret));
        let found = self.candidates(secret).find(matches);
        found.map_or(digest, |candidate| candidate.stand_in)
    }
}

impl Imported {
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    /// In the same order every time, as long as the document stays the same.
    pub fn candidates(&self, presented: &str) -> impl Iterator<Item = &Candidate> {
        let prefixes = self.lengths.iter().filter_map(move |&length| presented.get(..length));
        prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten()
    }

    pub(super) fn push(&mut self, imported: &key::Imported<'_>, stand_in: Digest, record: u32) {
        let prefix = &*imported.key_prefix;
        if !self.lengths.contains(&prefix.len()) {
            self.lengths.push(prefix.len());
        }
        self.by_prefix.entry(prefix.into()).or_default().push(Candidate {
            hash: (*imported.hash).into(),
            stand_in,
            record,
        });
    }

    /// The records with a prefix that too many share.
    pub(super) fn crowded(&self) -> impl Iterator<Item = u32> {
        let crowds = self
            .by_prefix
            .values()
            .filter(|sharing| sharing.len() > MAX_SHARING_PREFIX);
        crowds.flatten().map(|candidate| candidate.record)
    }

    /// Forgets the candidates that are no keys after all.
    pub(super) fn retain(&mut self, is_key: impl Fn(&Digest) -> bool) {
        for sharing in self.by_prefix.values_mut() {
            sharing.retain(|candidate| is_key(&candidate.stand_in));
            sharing.shrink_to_fit();
        }
        self.by_prefix.retain(|_, sharing| !sharing.is_empty());
    }

    pub fn len(&self) -> usize {
        self.by_prefix.values().map(Vec::len).sum()
    }

    pub fn resident_bytes(&self) -> usize {
        let hashes = |sharing: &[Candidate]| sharing.iter().map(|candidate| candidate.hash.len()).sum::<usize>();
        let entries = self.by_prefix.iter().map(|(prefix, sharing)| {
            let candidates = sharing.capacity() * size_of::<Candidate>() + hashes(sharing);
            size_of_val(prefix) + prefix.len() + size_of_val(sharing) + candidates
        });
        entries.sum()
    }
}
