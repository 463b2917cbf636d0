//! Records from elsewhere on their way into the document: each read and completed, then all compared with what is stored.

mod cells;
pub mod csv;
pub mod export;
mod plan;
mod read;

use std::{borrow::Cow, sync::Arc};

use serde_json::value::RawValue;

use super::{
    document::{Document, Members, json_of, text},
    id::may_be_secret,
    imported::{BcryptHash, stored_digest},
    key::{Defect, Key},
    secret::Digest,
    terms,
    time::Timestamp,
};

pub use self::cells::COLUMNS;
pub use self::plan::{Conflict, Plan, Reason, plan};
pub use self::read::{FileError, Format, Found, read};

/// What members of a new record are called that is made here and not brought along.
const MADE_HERE: [&str; 2] = ["id", "created_at"];

/// A record that could be stored as it is.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Where it begins in the file.
    pub line: usize,
    pub id: String,
    digest: Digest,
    /// Of the secrets before that one.
    previous: Box<[Digest]>,
    /// It came without an id, so nobody knows it by one yet.
    is_new_here: bool,
    record: Box<RawValue>,
}

/// All that one import brings.
#[derive(Clone, Debug)]
pub struct Import(pub Arc<[Incoming]>);

/// Why a row of the file cannot be a record. Never says what stands there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("{}", .0.word())]
    Defect(Defect),
    #[error("{0} cannot be read")]
    BadCell(&'static str),
    #[error("it has more cells than the header")]
    TooManyCells,
    #[error("{0} looks like a secret")]
    LooksLikeSecret(&'static str),
}

impl From<Defect> for Flaw {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

impl Incoming {
    /// Completes what was found in the file. The record holds no plaintext secret any more.
    pub fn new(found: Found<'_>, new_id: &mut dyn FnMut() -> String, now: Timestamp) -> Result<Self, Flaw> {
        let mut members = found.members?;
        take_over_names(&mut members);
        take_over_hash(&mut members)?;
        let is_new_here = present(&members, "id").is_none();
        if is_new_here {
            complete(&mut members, &new_id(), now);
        }
        let record = members.to_raw();
        let key = Key::read(&record).map_err(|(_, defect)| defect)?;
        for (member, value) in [("id", &key.id), ("name", &key.name)] {
            if may_be_secret(value) {
                return Err(Flaw::LooksLikeSecret(member));
            }
        }
        let free = [
            ("metadata", key.metadata),
            ("revoke_reason", key.revoke_reason.as_deref()),
        ];
        for (member, text) in free {
            if text.is_some_and(|text| terms::json_without_secret(text).is_err()) {
                return Err(Flaw::LooksLikeSecret(member));
            }
        }
        let previous = key.previous.iter().map(|previous| previous.digest).collect();
        let (id, digest) = (key.id.into_owned(), key.digest);
        Ok(Self {
            line: found.line,
            id,
            digest,
            previous,
            is_new_here,
            record,
        })
    }
}

/// The members of a table of another system by the names that they have here.
fn take_over_names(members: &mut Members<'_>) {
    if let Some(hash) = owned(members, "key_hash") {
        members.remove("secret_hash");
        members.replace("key_hash", "secret_hash", hash);
    }
    // When a key was last used is kept with its use.
    for dropped in ["key_hash", "last_used_at"] {
        members.remove(dropped);
    }
    for member in ["id", "user_id"] {
        let number = present(members, member).filter(|raw| raw.get().parse::<u64>().is_ok());
        if let Some(number) = number.map(|raw| json_of(raw.get())) {
            members.set(member, number);
        }
    }
}

/// One hash, in the document's form. The plaintext is digested where it lies and copied nowhere.
fn take_over_hash(members: &mut Members<'_>) -> Result<(), Flaw> {
    if let Some(hash) = present(members, "secret_hash").and_then(text).map(Cow::into_owned) {
        if let Some(digest) = bare_digest(&hash) {
            members.set("secret_hash", json_of(&digest.to_string()));
        } else if BcryptHash::parse(&hash).is_some() {
            take_over_prefix(members);
        }
    }
    let Some(secret) = present(members, "secret") else {
        members.remove("secret");
        return Ok(());
    };
    let secret = text(secret)
        .filter(|secret| !secret.is_empty())
        .ok_or(Defect::BadSecret)?;
    let digest = Digest::of(&secret);
    match present(members, "secret_hash") {
        None => {
            members.remove("secret_hash");
            members.replace("secret", "secret_hash", json_of(&digest.to_string()));
        }
        Some(hash) if text(hash).and_then(|hash| stored_digest(&hash)) == Some(digest) => members.remove("secret"),
        Some(_) => return Err(Defect::SecretAndDigestDiffer.into()),
    }
    Ok(())
}

/// What a table shows of a secret often ends in dots or asterisks, which are no part of it.
fn take_over_prefix(members: &mut Members<'_>) {
    let Some(shown) = present(members, "key_prefix").and_then(text).map(Cow::into_owned) else {
        return;
    };
    let prefix = shown.trim_end_matches(['.', '*', '…']);
    if prefix.len() < shown.len() {
        let prefix = json_of(prefix);
        members.set("key_prefix", prefix);
    }
}

/// A SHA-256 digest written as 64 digits alone.
fn bare_digest(hash: &str) -> Option<Digest> {
    format!("sha256:{}", hash.to_ascii_lowercase()).parse().ok()
}

fn complete(members: &mut Members<'_>, id: &str, now: Timestamp) {
    members.remove("id");
    let first = members
        .iter()
        .next()
        .and_then(|member| text(&member.name))
        .map(Cow::into_owned);
    members.insert_before(first.as_deref().unwrap_or_default(), "id", json_of(id));
    for (member, value) in [
        ("secret_type", json_of("shared_secret")),
        ("created_at", json_of(&now.to_string())),
        ("updated_at", RawValue::NULL.to_owned()),
        ("expires_at", RawValue::NULL.to_owned()),
        (
            "metadata",
            RawValue::from_string("{}".to_owned()).expect("this is JSON"),
        ),
    ] {
        if present(members, member).is_none() {
            members.set(member, value);
        }
    }
}

/// A member that is there and not `null`.
fn present<'m>(members: &'m Members<'_>, name: &str) -> Option<&'m RawValue> {
    members.get(name).filter(|raw| raw.get() != "null")
}

fn owned(members: &Members<'_>, name: &str) -> Option<Box<RawValue>> {
    present(members, name).map(ToOwned::to_owned)
}

impl Incoming {
    fn digests(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.digest).chain(&self.previous)
    }
}

/// Appends what is new and says how many that are, or changes nothing when anything stands in the way: the number of
/// conflicts.
pub(super) fn apply(document: &mut Document, import: &Import) -> Result<usize, usize> {
    let plan = plan(document, &import.0);
    if !plan.conflicts.is_empty() {
        return Err(plan.conflicts.len());
    }
    for &new in &plan.new {
        document.push(import.0[new].record.clone());
    }
    Ok(plan.new.len())
}

/// Whether everything is stored already.
pub(super) fn is_in(document: &Document, import: &Import) -> bool {
    let plan = plan(document, &import.0);
    plan.new.is_empty() && plan.conflicts.is_empty()
}

#[cfg(test)]
mod tests;
