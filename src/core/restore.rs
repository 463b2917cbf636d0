//! An earlier version of the document that is made the newest one again.

use std::borrow::Cow;

use sha2::Digest as _;

use super::{
    document::{Document, Members, json_of, text},
    secret::Digest,
};

/// What to write, and what it was decided upon.
#[derive(Clone, Debug)]
pub struct Restore {
    pub earlier: Document,
    /// What was stored when the plan was shown.
    pub seen: Seen,
    /// The highest generation that instances may have in force.
    pub floor: u64,
}

/// A document as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(Digest);

impl Seen {
    pub fn of(document: &Document) -> Self {
        Self(Digest::from_bytes(sha2::Sha256::digest(document.to_json()).into()))
    }
}

/// Nothing happens when somebody else has written since the document was looked at: that change was in no plan.
pub(super) fn apply(document: &mut Document, restore: &Restore) -> bool {
    if Seen::of(document) != restore.seen {
        return false;
    }
    let in_force = document.generation().unwrap_or_default();
    let mut earlier = restore.earlier.clone();
    let own = earlier.generation().unwrap_or_default();
    // The next write has a higher one.
    let generation = in_force.max(restore.floor).max(own);
    earlier.set_in_front_of_keys("generation", json_of(&generation));
    *document = earlier;
    true
}

/// What it would be for the keys, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub appears: Vec<String>,
    pub disappears: Vec<String>,
    pub changes: Vec<String>,
}

/// Between two versions of a document. Records without an id have no name by which they could be told.
pub fn difference(from: &Document, to: &Document) -> Difference {
    let (old, new) = (by_id(from), by_id(to));
    let only = |these: &ById, those: &ById| these.keys().filter(|id| !those.contains_key(*id)).cloned().collect();
    let changes = old
        .iter()
        .filter(|(id, record)| new.get(*id).is_some_and(|other| other != *record));
    Difference {
        appears: only(&new, &old),
        disappears: only(&old, &new),
        changes: changes.map(|(id, _)| id.clone()).collect(),
    }
}

type ById = std::collections::BTreeMap<String, Vec<Vec<u8>>>;

/// Every record as it would be stored, so that a secret that became a digest is no change.
fn by_id(document: &Document) -> ById {
    let mut sealed = document.clone();
    super::change::seal_secrets(&mut sealed);
    let mut found = ById::new();
    for record in sealed.records() {
        let id = Members::read(record).and_then(|members| members.get("id").and_then(text).map(Cow::into_owned));
        if let Some(id) = id {
            found.entry(id).or_default().push(super::document::compact(record));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str) -> Document {
        Document::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_generation_rises_above_all_that_may_be_in_force() {
        let earlier = document(r#"{"generation":3,"note":"old","keys":[{"id":"a"}]}"#);
        for (stored, floor, expected) in [
            (r#"{"generation":7,"keys":[]}"#, 0, 8),
            (r#"{"generation":7,"keys":[]}"#, 9, 10),
            (r#"{"keys":[]}"#, 0, 4),
            (r#"{"generation":2,"keys":[]}"#, 1, 4),
        ] {
            let mut stored = document(stored);
            let restore = Restore {
                earlier: earlier.clone(),
                seen: Seen::of(&stored),
                floor,
            };
            assert!(apply(&mut stored, &restore));
            stored.stamp("w", super::super::time::Timestamp::from_millis(0));
            assert_eq!(stored.generation(), Some(expected));
            assert_eq!(stored.records().len(), 1);
            assert!(String::from_utf8(stored.to_json()).unwrap().contains(r#""note":"old""#));
        }
    }

    #[test]
    fn a_document_that_was_changed_since_is_left_alone() {
        let seen = Seen::of(&document(r#"{"generation":7,"keys":[]}"#));
        let mut stored = document(r#"{"generation":8,"keys":[{"id":"b"}]}"#);
        let restore = Restore {
            earlier: Document::empty(),
            seen,
            floor: 0,
        };
        assert!(!apply(&mut stored, &restore));
        assert_eq!(stored.records().len(), 1);
    }

    #[test]
    fn the_difference_tells_what_appears_disappears_and_changes() {
        let from = document(
            r#"{"keys":[{"id":"same","x":1},{"id":"gone"},{"id":"other","is_active":false},{"id":"p","secret":"s"},7]}"#,
        );
        let hash = Digest::of("s");
        let to = document(&format!(
            r#"{{"keys":[{{"id":"back"}},{{"id":"other"}},{{ "id": "same", "x": 1 }},{{"id":"p","secret_hash":"{hash}"}}]}}"#
        ));
        let text = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            difference(&from, &to),
            Difference {
                appears: text(&["back"]),
                disappears: text(&["gone"]),
                changes: text(&["other"]),
            }
        );
    }
}
