//! The document's records as people see them: good keys with their status, and bad records as far as they can be read.

use std::{borrow::Cow, collections::HashMap};

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{failure::Failure, terms::Terms};
use crate::core::{
    document::{self, Document, Members},
    index::Index,
    key::Key,
    time::Timestamp,
};

/// One record, without its secret. The members' names are the command line's JSON.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    pub id: Option<Cow<'a, str>>,
    pub name: Option<Cow<'a, str>>,
    pub secret_type: Option<Cow<'a, str>>,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
    pub expires_at: Option<String>,
    pub metadata: Option<Cow<'a, RawValue>>,
    pub status: Status,
    /// Why a defective record is denied.
    pub defect: Option<&'static str>,
    /// Still stored with its secret; any write stores the digest instead.
    pub plaintext: bool,
    #[serde(flatten)]
    pub terms: Terms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Good,
    Expired,
    Revoked,
    Defective,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Defective => "defective",
        }
    }
}

impl Record<'_> {
    /// What a table adds behind a record that does not verify.
    pub fn mark(&self) -> Option<String> {
        match self.status {
            Status::Good => None,
            Status::Expired => Some("expired".to_owned()),
            Status::Revoked => Some("revoked".to_owned()),
            Status::Defective => Some(format!("denied: {}", self.defect.unwrap_or("duplicate"))),
        }
    }
}

/// All records in the document's order.
pub fn read_all(document: &Document, now: Timestamp) -> Result<Vec<Record<'_>>, Failure> {
    let index = Index::build(&document.to_json()).map_err(|error| Failure::Failed(error.to_string()))?;
    let defects: HashMap<usize, &'static str> = index
        .bad_records()
        .iter()
        .map(|bad| (bad.position, bad.defect.word()))
        .collect();
    let record = |(position, raw)| match Key::read(raw) {
        // The index alone knows which keys deny each other by a shared id or secret.
        Ok(key) if index.find(&key.digest).is_none() => Record {
            status: Status::Defective,
            defect: defects.get(&position).copied(),
            ..good(key, raw, now)
        },
        Ok(key) => good(key, raw, now),
        Err((_, defect)) => defective(raw, defect.word()),
    };
    Ok(document.records().enumerate().map(record).collect())
}

/// The record with this id, if there is one.
pub fn find<'d>(document: &'d Document, id: &str) -> Option<&'d RawValue> {
    document.records().find(|record| {
        Members::read(record).is_some_and(|members| members.get("id").and_then(document::text).as_deref() == Some(id))
    })
}

fn good<'a>(key: Key<'a>, raw: &RawValue, now: Timestamp) -> Record<'a> {
    let has_expired = key.has_expired(now);
    let status = match key.revoked {
        // As a verify has it: what is inactive for its age has expired.
        true if has_expired && key.is_merely_inactive() => Status::Expired,
        true => Status::Revoked,
        false if has_expired => Status::Expired,
        false => Status::Good,
    };
    Record {
        id: Some(key.id),
        name: Some(key.name),
        secret_type: Some(key.secret_type.word().into()),
        created_at: key.created_at.map(|text| in_utc(&text)),
        updated_at: key.updated_at.map(|text| in_utc(&text)),
        expires_at: key.expires_at.map(|time| time.to_string()),
        metadata: key
            .metadata
            .and_then(|json| serde_json::from_str(json).ok())
            .map(on_one_line),
        status,
        defect: None,
        plaintext: key.plaintext,
        terms: Terms::of(raw),
    }
}

/// Shows what such a record says about itself. Only members that are shown anyway are looked at.
fn defective(raw: &RawValue, defect: &'static str) -> Record<'static> {
    let members: Map<String, Value> = serde_json::from_str(raw.get()).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let metadata = members.get("metadata").filter(|value| value.is_object());
    Record {
        id: text("id").map(|id| id.to_owned().into()),
        name: text("name").map(|name| name.to_owned().into()),
        secret_type: text("secret_type").map(|word| word.to_owned().into()),
        created_at: text("created_at").map(in_utc),
        updated_at: text("updated_at").map(in_utc),
        expires_at: text("expires_at").map(in_utc),
        metadata: metadata.and_then(|value| serde_json::value::to_raw_value(value).ok().map(Cow::Owned)),
        status: Status::Defective,
        defect: Some(defect),
        plaintext: text("secret").is_some_and(|secret| !secret.is_empty()),
        terms: Terms::of(raw),
    }
}

/// The same JSON without line breaks, which cannot stand inside its texts.
pub fn on_one_line(json: &RawValue) -> Cow<'_, RawValue> {
    let breaks = ['\n', '\r'];
    if !json.get().contains(breaks) {
        return Cow::Borrowed(json);
    }
    let line = RawValue::from_string(json.get().replace(breaks, ""));
    Cow::Owned(line.expect("white space between JSON's tokens can be taken out"))
}

/// The index holds the inside of JSON strings.
pub fn unescaped(inside: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{inside}\"")).ok()
}

/// A date in the one form in which dates are shown, or as it stands when it is none.
fn in_utc(text: &str) -> String {
    text.parse::<Timestamp>()
        .map_or_else(|_| text.to_owned(), |time| time.to_string())
}
