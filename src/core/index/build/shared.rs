//! Finds the records that share an id or a digest with another one: none of them is a key.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{Builder, number};
use crate::core::{index::text, key::Defect, secret::Digest};

/// How many records are looked at between two pauses: some twentieths of a millisecond.
const IN_TURN: u32 = 512;

/// A record, by its number, and what it shares.
pub type Shared = (u32, Defect);

/// A record's number below its id's hash: in one integer, because those sort fastest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hashed(u64);

impl Hashed {
    fn new(id: &str, record: u32) -> Self {
        Self((u64::from(text::hash(id)) << 32) + u64::from(record))
    }

    fn hash(self) -> u64 {
        self.0 >> 32
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the number")]
    fn record(self) -> u32 {
        self.0 as u32
    }
}

/// A record may be found more than once.
impl Builder {
    /// Sorting hashes takes less time and memory than a table of ids. Ids that this service makes begin with the time, so
    /// that they mostly stand in order already and need not even that.
    pub(super) fn shared_ids(&self, mut pause: impl FnMut()) -> Vec<Shared> {
        if !self.ids_unsorted && self.defective.ids.is_empty() {
            return Vec::new();
        }
        let mut by_hash: Vec<_> = (0..number(self.records.len()))
            .map(|record| {
                if record.is_multiple_of(IN_TURN) {
                    pause();
                }
                Hashed::new(self.id(record), record)
            })
            .collect();
        by_hash.sort_unstable();
        let mut shared = Vec::new();
        for suspects in by_hash
            .chunk_by(|a, b| a.hash() == b.hash())
            .filter(|suspects| suspects.len() > 1)
        {
            let mut suspects: Vec<_> = suspects.iter().map(|suspect| suspect.record()).collect();
            suspects.sort_unstable_by_key(|&record| self.id(record));
            let holders = suspects
                .chunk_by(|&a, &b| self.id(a) == self.id(b))
                .filter(|holders| holders.len() > 1);
            shared.extend(holders.flatten().map(|&record| (record, Defect::DuplicateId)));
        }
        for &claimed in &self.defective.ids {
            let claimed = self.defective.id_texts.label(claimed).id;
            let holders = suspects(&by_hash, claimed).filter(|&record| self.id(record) == claimed);
            shared.extend(holders.map(|record| (record, Defect::DuplicateId)));
        }
        shared
    }

    /// All secrets by digest, earlier ones too, of equal ones the first; whoever shares a digest is added to `shared`.
    pub(super) fn table_by_digest(&self, shared: &mut Vec<Shared>, mut pause: impl FnMut()) -> HashTable<u32> {
        let count = self.records.len() + self.previous.len();
        let mut by_digest = HashTable::with_capacity(count);
        let hash = |&secret: &u32| self.digest(secret).table_hash();
        for secret in 0..number(count) {
            if secret.is_multiple_of(IN_TURN) {
                pause();
            }
            let same = |&other: &u32| self.digest(other) == self.digest(secret);
            match by_digest.entry(hash(&secret), same, hash) {
                Entry::Occupied(first) => {
                    let holders = [*first.get(), secret].map(|secret| self.record_of(secret));
                    // What a record says twice of itself it says once.
                    if holders[0] != holders[1] {
                        shared.extend(holders.map(|holder| (holder, Defect::DuplicateSecret)));
                    }
                }
                Entry::Vacant(free) => drop(free.insert(secret)),
            }
        }
        for claimed in &self.defective.digests {
            let holder = by_digest.find(claimed.table_hash(), |&secret| self.digest(secret) == claimed);
            shared.extend(holder.map(|&holder| (self.record_of(holder), Defect::DuplicateSecret)));
        }
        by_digest
    }

    /// The numbers of a record's secrets: its own, and those of the earlier ones.
    pub(super) fn numbers_of(&self, record: u32) -> impl Iterator<Item = u32> + use<> {
        let first = self.previous.partition_point(|previous| previous.record < record);
        let end = self.previous.partition_point(|previous| previous.record <= record);
        let behind = self.records.len();
        std::iter::once(record).chain(number(behind + first)..number(behind + end))
    }

    fn record_of(&self, secret: u32) -> u32 {
        match (secret as usize).checked_sub(self.records.len()) {
            None => secret,
            Some(previous) => self.previous[previous].record,
        }
    }

    pub(super) fn id(&self, record: u32) -> &str {
        self.texts.label(self.records[record as usize].text).id
    }

    pub(super) fn digest(&self, secret: u32) -> &Digest {
        match self.records.get(secret as usize) {
            Some(record) => &record.digest,
            None => &self.previous[secret as usize - self.records.len()].digest,
        }
    }
}

/// The records whose ids have the same hash as this one.
fn suspects(by_hash: &[Hashed], id: &str) -> impl Iterator<Item = u32> {
    let first = Hashed::new(id, 0);
    let from = by_hash.partition_point(|hashed| *hashed < first);
    by_hash[from..]
        .iter()
        .take_while(move |hashed| hashed.hash() == first.hash())
        .map(|hashed| hashed.record())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_the_hash_of_an_id_come_back_from_one_integer() {
        for (id, record) in [("key_1", 0), ("key_2", 7), ("", u32::MAX)] {
            let hashed = Hashed::new(id, record);
            assert_eq!((hashed.hash(), hashed.record()), (text::hash(id).into(), record));
        }
    }
}
