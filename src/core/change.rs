//! The changes that can be made to a document: what CLI, REST and import all call.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    document::{Document, Members, json_of, text},
    key::SecretType,
    secret::{Digest, Secret},
    time::Timestamp,
};

#[derive(Clone, Debug)]
pub enum Change {
    Create(NewKey),
    Delete {
        id: String,
    },
    /// Changes nothing by itself; every change stores plaintext secrets as digests.
    Migrate,
}

#[derive(Clone, Debug)]
pub struct NewKey {
    pub id: String,
    pub digest: Digest,
    pub name: String,
    pub secret_type: SecretType,
    /// As the operator gave it, already found to be a date.
    pub expires_at: Option<String>,
    /// A JSON object, kept to the letter.
    pub metadata: Box<RawValue>,
    pub created_at: Timestamp,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Records whose plaintext secret became a digest on the way.
    pub sealed: usize,
    /// The name of the key that was created or deleted.
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("API key not found")]
    UnknownKey,
    #[error("a key with this id exists already")]
    IdTaken,
}

/// Applies the change and stores every plaintext secret as its digest. On an error the document is as it was.
pub fn apply(document: &mut Document, change: &Change) -> Result<Applied, ChangeError> {
    let name = match change {
        Change::Create(key) => Some(create(document, key)?),
        Change::Delete { id } => delete(document, id)?,
        Change::Migrate => None,
    };
    Ok(Applied {
        sealed: seal_secrets(document),
        name,
    })
}

/// Whether the document shows that this change has been made: for a writer whose answer was lost.
pub fn is_in(document: &Document, change: &Change) -> bool {
    match change {
        Change::Create(key) => holders(document, &key.id).any(|members| stored_digest(&members) == Some(key.digest)),
        Change::Delete { id } => holders(document, id).next().is_none(),
        Change::Migrate => !members_of_records(document).any(|members| has_plaintext(&members)),
    }
}

/// Stores every plaintext secret as its digest, without any other change, and says in how many records there was one.
pub fn seal_secrets(document: &mut Document) -> usize {
    document.edit(|record| {
        let mut members = Members::read(record).filter(has_plaintext)?;
        seal(&mut members);
        Some(members.to_raw())
    })
}

fn create(document: &mut Document, key: &NewKey) -> Result<String, ChangeError> {
    if holders(document, &key.id).next().is_some() {
        return Err(ChangeError::IdTaken);
    }
    document.push(new_record(key));
    Ok(key.name.clone())
}

/// Removes all records with this id: a repeated id means that none of them was a good key.
fn delete(document: &mut Document, id: &str) -> Result<Option<String>, ChangeError> {
    let (mut found, mut name) = (false, None);
    document.retain(|record| {
        let Some(members) = Members::read(record).filter(|members| has_id(members, id)) else {
            return true;
        };
        found = true;
        name = name.take().or_else(|| text_of(&members, "name").map(Cow::into_owned));
        false
    });
    if found { Ok(name) } else { Err(ChangeError::UnknownKey) }
}

/// A record's members in the order in which the Python service wrote them.
#[derive(Serialize)]
struct NewRecord<'a> {
    id: &'a str,
    secret_hash: String,
    name: &'a str,
    secret_type: &'static str,
    created_at: String,
    updated_at: Option<String>,
    expires_at: Option<&'a str>,
    metadata: &'a RawValue,
}

fn new_record(key: &NewKey) -> Box<RawValue> {
    json_of(&NewRecord {
        id: &key.id,
        secret_hash: key.digest.to_string(),
        name: &key.name,
        secret_type: key.secret_type.word(),
        created_at: key.created_at.to_string(),
        updated_at: None,
        expires_at: key.expires_at.as_deref(),
        metadata: &key.metadata,
    })
}

/// Takes the plaintext out of a record that has some. What was no good key stays none: a digest that contradicts the
/// secret is kept beside the secret's own, as a list, and a secret that is no text (it can never be presented) is emptied.
fn seal(members: &mut Members<'_>) {
    let stored = members
        .get("secret_hash")
        .filter(|raw| raw.get() != "null")
        .map(ToOwned::to_owned);
    match (secret_digest(members), stored) {
        (Some(digest), None) => {
            members.remove("secret_hash");
            members.replace("secret", "secret_hash", json_of(&digest.to_string()));
        }
        (Some(digest), Some(stored)) => {
            if stored_digest(members) != Some(digest) {
                members.set("secret_hash", json_of(&(stored, digest.to_string())));
            }
            members.remove("secret");
        }
        (None, _) => {
            let last = members
                .get("secret")
                .filter(|raw| !raw.get().starts_with('"'))
                .map(ToOwned::to_owned);
            members.set("secret", last.unwrap_or_else(|| json_of("")));
        }
    }
}

/// Also finds secrets that no longer count because the member is repeated. An empty text is no secret.
fn has_plaintext(members: &Members<'_>) -> bool {
    members
        .all("secret")
        .any(|raw| raw.get().starts_with('"') && raw.get() != r#""""#)
}

fn secret_digest(members: &Members<'_>) -> Option<Digest> {
    let secret = text_of(members, "secret").filter(|secret| !secret.is_empty())?;
    Some(match secret {
        Cow::Borrowed(secret) => Digest::of(secret),
        Cow::Owned(secret) => Secret::new(secret).digest(),
    })
}

fn stored_digest(members: &Members<'_>) -> Option<Digest> {
    text_of(members, "secret_hash")?.parse().ok()
}

fn has_id(members: &Members<'_>, id: &str) -> bool {
    text_of(members, "id").is_some_and(|own| own == id)
}

fn text_of<'m>(members: &'m Members<'_>, name: &str) -> Option<Cow<'m, str>> {
    members.get(name).and_then(text)
}

fn holders<'d>(document: &'d Document, id: &str) -> impl Iterator<Item = Members<'d>> {
    members_of_records(document).filter(move |members| has_id(members, id))
}

fn members_of_records(document: &Document) -> impl Iterator<Item = Members<'_>> {
    document.records().filter_map(Members::read)
}

#[cfg(test)]
mod tests;
