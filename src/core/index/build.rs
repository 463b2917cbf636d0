//! Builds an index from a document's text in one pass: each record is read, checked and stored, then forgotten.

mod read;
mod shared;

use std::borrow::Cow;

use self::shared::Shared;
use super::imported::Imported;
use super::terms::{AllTerms, SeenTerms};
use super::text::{Label, Rules, Seen, Texts};
use super::{BadRecord, Index, MAX_BAD_RECORDS, NEVER, PreviousSecret, Record};
use crate::core::{
    key::{Defect, Key, KeyPolicy, Members, Previous},
    secret::Digest,
    time::Timestamp,
};

pub use self::read::Arriving;

/// An index in the making.
#[derive(Default)]
struct Builder {
    records: Vec<Record>,
    /// Each record's place in the document's list.
    positions: Vec<u32>,
    /// In the order of their records.
    previous: Vec<PreviousSecret>,
    texts: Texts,
    imported: Imported,
    seen: Seen,
    terms: AllTerms,
    seen_terms: SeenTerms,
    plaintext_count: usize,
    /// How many elements of the list were read.
    read: usize,
    /// Some id is not greater than the one before it, so that one may stand there twice.
    ids_unsorted: bool,
    defective: Defective,
}

/// The records that are no keys. What they claim is remembered: nobody else may have it either.
#[derive(Default)]
struct Defective {
    count: usize,
    first: Vec<BadRecord>,
    ids: Vec<u32>,
    id_texts: Texts,
    digests: Vec<Digest>,
}

impl Builder {
    /// Takes the next element of the list; `None` is one that is not an object.
    fn push(&mut self, members: Option<&Members<'_>>) {
        let position = self.read;
        self.read += 1;
        let Some(members) = members else {
            return self.defective.push(position, None, Defect::NotAnObject);
        };
        match members.key() {
            Ok(key) => self.push_key(position, key),
            Err(defect) => {
                self.plaintext_count += usize::from(members.has_plaintext());
                self.defective.digests.extend(members.claimed_digests());
                self.defective.push(position, members.id(), defect);
            }
        }
    }

    fn push_key(&mut self, position: usize, key: Key<'_>) {
        self.push_previous(&key.previous);
        self.push_imported(&key);
        let marks = [key.revoked, key.is_merely_inactive()];
        let (id, name) = (escaped(key.id), escaped(key.name));
        self.ids_unsorted |= self
            .records
            .last()
            .is_some_and(|last| *id <= *self.texts.label(last.text).id);
        let text = self.push_label(marks, [&id, &name], key.policy);
        let metadata = key.metadata.unwrap_or("{}");
        let metadata = self.seen.intern(&mut self.texts, metadata);
        let expires_at = key.expires_at.map_or(NEVER, Timestamp::as_millis);
        self.records.push(Record {
            digest: key.digest,
            expires_at,
            text,
            metadata,
        });
        self.positions.push(number(position));
        self.plaintext_count += usize::from(key.plaintext);
    }

    fn push_label(
        &mut self,
        [revoked, merely_inactive]: [bool; 2],
        [id, name]: [&str; 2],
        policy: Option<KeyPolicy<'_>>,
    ) -> u32 {
        let label = Label {
            revoked,
            merely_inactive,
            id,
            name,
            rules: None,
        };
        let Some(policy) = policy else {
            return self.texts.push_label(&label);
        };
        let [user_id, key_prefix] = [policy.user_id, policy.key_prefix].map(|text| text.map(escaped));
        let rules = Rules {
            terms: self.seen_terms.intern(&mut self.terms, policy.terms),
            user_id: user_id.as_deref(),
            key_prefix: key_prefix.as_deref(),
        };
        self.texts.push_label(&Label {
            rules: Some(rules),
            ..label
        })
    }

    /// Those of the record that is pushed next.
    fn push_previous(&mut self, previous: &[Previous]) {
        let record = number(self.records.len());
        self.previous.extend(previous.iter().map(|previous| PreviousSecret {
            digest: previous.digest,
            not_after: previous.not_after.as_millis(),
            record,
        }));
    }

    /// What leads to the secrets of the record that is pushed next.
    fn push_imported(&mut self, key: &Key<'_>) {
        let record = number(self.records.len());
        let own = key.imported.iter().map(|imported| (imported, key.digest));
        let earlier = key
            .previous
            .iter()
            .filter_map(|previous| Some((previous.imported.as_ref()?, previous.digest)));
        for (imported, stand_in) in own.chain(earlier) {
            self.imported.push(imported, stand_in, record);
        }
    }

    /// Calls `pause` again and again.
    fn finish(mut self, generation: Option<u64>, write_id: Option<Box<str>>, mut pause: impl FnMut()) -> Index {
        self.seen = Seen::default();
        self.seen_terms = SeenTerms::default();
        let mut shared = self.shared_ids(&mut pause);
        let mut by_digest = self.table_by_digest(&mut shared, pause);
        shared.extend(self.imported.crowded().map(|record| (record, Defect::SharedPrefix)));
        // A record that shares both is named once, by its id.
        shared.sort_unstable_by_key(|&(record, defect)| (record, defect != Defect::DuplicateId));
        shared.dedup_by_key(|&mut (record, _)| record);
        for denied in shared.iter().flat_map(|&(record, _)| self.numbers_of(record)) {
            let hash = self.digest(denied).table_hash();
            if let Ok(holder) = by_digest.find_entry(hash, |&number| number == denied) {
                holder.remove();
            }
        }
        let keys_count = self.records.len() - shared.len();
        let mut imported = std::mem::take(&mut self.imported);
        imported.retain(|digest| {
            let same = |&number: &u32| self.digest(number) == digest;
            by_digest.find(digest.table_hash(), same).is_some()
        });
        let bad_records_count = self.defective.count + shared.len();
        let bad_records = self.bad_records(&shared);
        self.records.shrink_to_fit();
        self.previous.shrink_to_fit();
        self.texts.shrink_to_fit();
        self.terms.shrink_to_fit();
        let Self {
            records,
            previous,
            texts,
            terms,
            plaintext_count,
            ..
        } = self;
        Index {
            by_digest,
            records,
            previous,
            texts,
            terms,
            keys_count,
            imported,
            generation,
            write_id,
            plaintext_count,
            bad_records,
            bad_records_count,
        }
    }

    /// The first of all denied records, in the document's order.
    fn bad_records(&mut self, shared: &[Shared]) -> Vec<BadRecord> {
        let mut bad_records = std::mem::take(&mut self.defective.first);
        bad_records.extend(shared.iter().take(MAX_BAD_RECORDS).map(|&(record, defect)| BadRecord {
            id: Some(unescaped(self.id(record))),
            position: self.positions[record as usize] as usize,
            defect,
        }));
        bad_records.sort_unstable_by_key(|bad| bad.position);
        bad_records.truncate(MAX_BAD_RECORDS);
        bad_records.shrink_to_fit();
        bad_records
    }
}

impl Defective {
    fn push(&mut self, position: usize, id: Option<Cow<'_, str>>, defect: Defect) {
        self.count += 1;
        if let Some(id) = &id {
            let label = Label {
                revoked: false,
                merely_inactive: false,
                id: &escaped(id.clone()),
                name: "",
                rules: None,
            };
            self.ids.push(self.id_texts.push_label(&label));
        }
        if self.first.len() < MAX_BAD_RECORDS {
            self.first.push(BadRecord {
                id: id.map(Cow::into_owned),
                position,
                defect,
            });
        }
    }
}

/// Whether the places and numbers in a document of this many bytes stay below 2³². Texts take less room in the index
/// than in the document, where each has a name and quotation marks around it.
pub fn fits(document_len: usize) -> bool {
    u32::try_from(document_len).is_ok()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a document has fewer records than bytes, and its length was checked")
}

/// The text as JSON writes it inside quotation marks. A borrowed one came from JSON without escapes and needs none.
fn escaped(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(text) => {
            let mut json = serde_json::Value::from(text).to_string();
            json.pop();
            json.remove(0);
            Cow::Owned(json)
        }
    }
}

fn unescaped(inside: &str) -> String {
    serde_json::from_str(&format!("\"{inside}\"")).expect("it was written by `escaped`")
}
