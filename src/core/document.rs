//! The JSON document that holds all keys, for those who change it: everything it says is kept on rewrite,
//! at both levels, to the letter and in order.

mod members;

use std::fmt;

use serde::de::IgnoredAny;
use serde_json::value::{RawValue, to_raw_value};

pub use self::members::{Members, text};
use super::time::Timestamp;

/// The document. Records stay raw text; `Key::read` looks into one.
#[derive(Clone)]
pub struct Document {
    /// The top level. Its `keys` is a mere marker of the place where `records` are written.
    members: Members<'static>,
    records: Vec<Box<RawValue>>,
}

/// Why bytes are not a whole document. Nothing is changed by such bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DocumentError {
    #[error("the object is empty")]
    Empty,
    #[error("the object is not JSON")]
    NotJson,
    #[error("the object ends in the middle")]
    Truncated,
    #[error("the object is JSON without a list of keys")]
    NoKeys,
    #[error("the object is larger than the 4 GiB an index can hold")]
    TooLarge,
}

impl Document {
    /// The store's first document: no keys, no generation yet.
    pub fn empty() -> Self {
        Self::parse(br#"{"keys":[]}"#).expect("this is a document")
    }

    pub fn parse(json: &[u8]) -> Result<Self, DocumentError> {
        let text = str::from_utf8(json).map_err(|_| DocumentError::of(json))?;
        let mut members: Members = serde_json::from_str(text).map_err(|_| DocumentError::of(json))?;
        let keys = members.get("keys").ok_or(DocumentError::NoKeys)?;
        let records = serde_json::from_str(keys.get()).map_err(|_| DocumentError::NoKeys)?;
        members.set("keys", RawValue::NULL.to_owned());
        Ok(Self {
            members: members.into_owned(),
            records,
        })
    }

    /// One record a line, so that a person can read a diff of two versions.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.json_len_at_most());
        json.push(b'{');
        for (index, member) in self.members.iter().enumerate() {
            json.extend_from_slice(if index == 0 { b"" } else { b",\n" });
            json.extend_from_slice(member.name.get().as_bytes());
            json.push(b':');
            if member.is("keys") {
                self.push_records(&mut json);
            } else {
                push_compact(&mut json, &member.value);
            }
        }
        json.extend_from_slice(b"}\n");
        json
    }

    pub fn generation(&self) -> Option<u64> {
        let generation = serde_json::from_str(self.members.get("generation")?.get()).ok()?;
        (generation >= 1).then_some(generation)
    }

    pub fn write_id(&self) -> Option<&str> {
        serde_json::from_str(self.members.get("write_id")?.get()).ok()
    }

    /// Marks the document as the next write: `generation` + 1, `write_id`, `written_at`.
    pub fn stamp(&mut self, write_id: &str, now: Timestamp) {
        let generation = self.generation().unwrap_or(0).saturating_add(1);
        self.set_in_front_of_keys("generation", json_of(&generation));
        self.set_in_front_of_keys("write_id", json_of(write_id));
        self.set_in_front_of_keys("written_at", json_of(&now.to_string()));
    }

    pub fn records(&self) -> impl ExactSizeIterator<Item = &RawValue> {
        self.records.iter().map(|record| &**record)
    }

    pub fn push(&mut self, record: Box<RawValue>) {
        self.records.push(record);
    }

    /// Puts another record in the place of the one there.
    pub fn replace(&mut self, position: usize, record: Box<RawValue>) {
        self.records[position] = record;
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&RawValue) -> bool) {
        self.records.retain(|record| keep(record));
    }

    /// Replaces each record for which `edit` has another text, and says how many those were.
    pub fn edit(&mut self, edit: impl Fn(&RawValue) -> Option<Box<RawValue>>) -> usize {
        let mut edited = 0;
        for record in &mut self.records {
            if let Some(new) = edit(record) {
                *record = new;
                edited += 1;
            }
        }
        edited
    }

    pub(super) fn set_in_front_of_keys(&mut self, name: &str, value: Box<RawValue>) {
        if self.members.get(name).is_some() {
            self.members.set(name, value);
        } else {
            self.members.insert_before("keys", name, value);
        }
    }

    fn push_records(&self, json: &mut Vec<u8>) {
        json.push(b'[');
        for (index, record) in self.records().enumerate() {
            json.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
            push_compact(json, record);
        }
        json.extend_from_slice(if self.records.is_empty() { b"]" } else { b"\n]" });
    }

    fn json_len_at_most(&self) -> usize {
        let members = self
            .members
            .iter()
            .map(|member| member.name.get().len() + member.value.get().len() + 3);
        let records = self.records().map(|record| record.get().len() + 2);
        members.chain(records).sum()
    }
}

/// Records may carry plaintext secrets, so what they say is not shown.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("generation", &self.generation())
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}

impl DocumentError {
    /// Why bytes that are no JSON object, or one without a list of keys, are no document.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::of_text(text),
            // One cut off inside a character is still told from rubbish.
            Err(error) => {
                let text = str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
                match (error.error_len(), Self::of_text(text)) {
                    (None, Self::Truncated) => Self::Truncated,
                    _ => Self::NotJson,
                }
            }
        }
    }

    fn of_text(text: &str) -> Self {
        if text.trim_ascii().is_empty() {
            return Self::Empty;
        }
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Self::NoKeys,
            Err(error) if error.is_eof() || ends_in_a_number(text) => Self::Truncated,
            Err(_) => Self::NotJson,
        }
    }
}

/// Whether a text breaks off between the parts of a number, which the parser calls wrong and not unfinished.
fn ends_in_a_number(text: &str) -> bool {
    let finished = || serde_json::from_str::<IgnoredAny>(&format!("{text}0"));
    text.ends_with(['-', '+', '.', 'e', 'E']) && finished().is_err_and(|error| error.is_eof())
}

/// The JSON of what the service itself puts into a document: texts, numbers, and lists and structs of such.
pub(super) fn json_of<T: serde::Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("what has text names only is always JSON")
}

/// A record as it is written: without the white space between its tokens.
pub fn compact(raw: &RawValue) -> Vec<u8> {
    let mut json = Vec::with_capacity(raw.get().len());
    push_compact(&mut json, raw);
    json
}

/// Whether two values say the same: layout and the spelling of a text do not count, that of a number does.
pub(super) fn same_value(a: &RawValue, b: &RawValue) -> bool {
    a.get() == b.get() || compact(a) == compact(b) || text(a).is_some_and(|own| text(b) == Some(own))
}

/// Copies JSON without the white space between its tokens; no token spans lines, so the copy is one line.
fn push_compact(json: &mut Vec<u8>, raw: &RawValue) {
    let (mut in_string, mut escaped) = (false, false);
    for &byte in raw.get().as_bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        json.push(byte);
    }
}

#[cfg(test)]
mod tests;
