//! The changes that can be made to a document: what CLI, REST, import and the service itself all call.

mod edit;
mod record;
mod seal;

use serde_json::value::RawValue;

pub use self::{
    edit::{Edit, Patch, Rotation},
    record::NewKey,
    seal::seal_secrets,
};
use super::{
    document::{Document, Members, text},
    import::{self, Import},
    restore::{self, Restore},
    tag::Tag,
    time::Timestamp,
};

/// How many earlier secrets of one key may still be good.
pub const MAX_PREVIOUS: usize = 10;

#[derive(Clone, Debug)]
pub enum Change {
    Create(Box<NewKey>),
    Delete {
        id: String,
    },
    /// Another secret for the same key. Not for a key that is revoked or expired.
    Rotate(Rotation),
    /// Takes a key away. The second time changes nothing: the first time and reason stay.
    Revoke {
        id: String,
        reason: Option<String>,
        at: Timestamp,
    },
    /// Takes away all keys of one owner, as `Revoke` does, in one write.
    RevokeOwned {
        owner: String,
        reason: String,
        at: Timestamp,
    },
    /// Takes a revocation back. Not for an expired key.
    Reactivate {
        id: String,
        at: Timestamp,
    },
    /// Sets and clears what can be set. With `expected` only if the record is still the one with this tag.
    Update {
        id: String,
        patch: Box<Patch>,
        expected: Option<Tag>,
        at: Timestamp,
    },
    /// Marks every key inactive that expired at or before `until`. It touches no document that holds a plaintext secret:
    /// another program may still depend on those.
    RetireExpired {
        until: Timestamp,
        at: Timestamp,
    },
    /// Changes nothing by itself; every change but `RetireExpired` stores plaintext secrets as digests.
    Migrate,
    /// All of it or, when something is in its way, nothing.
    Import(Import),
    Restore(Box<Restore>),
}

impl Change {
    /// The key that the change is about, if it is about one.
    pub fn key_id(&self) -> Option<&str> {
        match self {
            Self::Create(key) => Some(&key.id),
            Self::Rotate(rotation) => Some(&rotation.id),
            Self::Delete { id } | Self::Revoke { id, .. } | Self::Reactivate { id, .. } | Self::Update { id, .. } => {
                Some(id)
            }
            Self::RevokeOwned { .. }
            | Self::RetireExpired { .. }
            | Self::Migrate
            | Self::Import(_)
            | Self::Restore(_) => None,
        }
    }
}

impl Change {
    /// What the change makes of one record's members, where it sets any that people choose.
    pub fn patched(&self, record: &RawValue) -> Option<Box<RawValue>> {
        match self {
            Self::Update { patch, .. } => Some(patch.patched(Members::read(record)?)),
            _ => None,
        }
    }
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records whose plaintext secret became a digest on the way.
    pub sealed: usize,
    /// Records that the change itself made, altered or removed. A revocation that is repeated alters none.
    pub changed: usize,
    /// The name of the key that the change was about.
    pub name: Option<String>,
    /// The ids of the keys that a change of an owner's keys altered.
    pub keys: Vec<String>,
    /// That key's record as it now stands, without any plaintext; `None` after a delete and for changes that are not about one key.
    pub record: Option<String>,
}

impl Applied {
    /// A change of so many keys, none of which is the one that it is about.
    fn to(changed: usize) -> Self {
        Self {
            changed,
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("API key not found")]
    UnknownKey,
    #[error("a key with this id exists already")]
    IdTaken,
    #[error("the key is revoked")]
    Revoked,
    #[error("the key has expired")]
    Expired,
    #[error("the key's record was changed by somebody else in the meantime")]
    Changed,
    #[error("whoever asks for the change may not make it")]
    NotAllowed,
    #[error("the stored document is one that would not be brought into force")]
    Unsound,
    #[error("the key's record is defective, or another one has the same id")]
    BadRecord,
    #[error("too many earlier secrets of this key are still good; rotate it without overlap")]
    TooManySecrets,
    #[error("{0} of the keys cannot be imported any more: somebody else has changed the document")]
    ImportRefused(usize),
    #[error("somebody else has changed the document since it was looked at")]
    Overtaken,
}

/// Applies the change and stores every plaintext secret as its digest. On an error the document is as it was.
pub fn apply(document: &mut Document, change: &Change) -> Result<Applied, ChangeError> {
    let mut applied = match change {
        Change::Create(key) => create(document, key)?,
        Change::Delete { id } => delete(document, id)?,
        Change::Rotate(rotation) => edit::rotate(document, rotation)?,
        Change::Revoke { id, reason, at } => edit::revoke(document, id, reason.as_deref(), *at)?,
        Change::RevokeOwned { owner, reason, at } => edit::revoke_owned(document, owner, reason, *at)?,
        Change::Reactivate { id, at } => edit::reactivate(document, id, *at)?,
        Change::Update {
            id,
            patch,
            expected,
            at,
        } => edit::update(document, id, patch, *expected, *at)?,
        Change::RetireExpired { until, at } => return Ok(edit::retire_expired(document, *until, *at)),
        Change::Migrate => Applied::default(),
        Change::Import(import) => Applied::to(import::apply(document, import).map_err(ChangeError::ImportRefused)?),
        Change::Restore(restore) => {
            if !restore::apply(document, restore) {
                return Err(ChangeError::Overtaken);
            }
            // A document without keys, too, is another one than what was there.
            Applied::to(document.records().len().max(1))
        }
    };
    applied.sealed += seal_secrets(document);
    Ok(applied)
}

/// Whether the document shows that this change has been made: for a writer whose answer was lost.
pub fn is_in(document: &Document, change: &Change) -> bool {
    match change {
        Change::Create(key) => {
            holders(document, &key.id).any(|(_, members)| seal::digest(&members) == Some(key.digest))
        }
        Change::Delete { id } => holders(document, id).next().is_none(),
        Change::Rotate(rotation) => edit::is_rotated(document, rotation),
        Change::Revoke { id, .. } => all_holders(document, id, edit::is_revoked),
        Change::RevokeOwned { owner, .. } => !edit::has_unrevoked(document, owner),
        Change::Reactivate { id, .. } => all_holders(document, id, |members| !edit::is_inactive(members)),
        Change::Update { id, patch, .. } => all_holders(document, id, |members| patch.is_in(members)),
        Change::RetireExpired { until, .. } => !edit::has_expired(document, *until),
        Change::Migrate => !members_of_records(document).any(|members| seal::has_plaintext(&members)),
        Change::Import(import) => import::is_in(document, import),
        // Only the write's own id can tell it from a document that merely looks the same.
        Change::Restore(_) => false,
    }
}

/// Whether a document in which this change is, after it had been offered, has it from nobody else, or might as well: a secret
/// of one's own is in it, or the key that was there is gone.
pub const fn shows_itself(change: &Change) -> bool {
    match change {
        Change::Create(_) | Change::Rotate(_) | Change::Delete { .. } => true,
        Change::Revoke { .. }
        | Change::RevokeOwned { .. }
        | Change::Reactivate { .. }
        | Change::Update { .. }
        | Change::RetireExpired { .. }
        | Change::Migrate
        | Change::Import(_)
        | Change::Restore(_) => false,
    }
}

fn create(document: &mut Document, key: &NewKey) -> Result<Applied, ChangeError> {
    if holders(document, &key.id).next().is_some() {
        return Err(ChangeError::IdTaken);
    }
    let record = key.to_record();
    let applied = Applied {
        changed: 1,
        name: Some(key.name.clone()),
        record: Some(record.get().to_owned()),
        ..Applied::default()
    };
    document.push(record);
    Ok(applied)
}

/// Removes all records with this id: a repeated id means that none of them was a good key.
fn delete(document: &mut Document, id: &str) -> Result<Applied, ChangeError> {
    let mut applied = Applied::default();
    document.retain(|record| {
        let Some(members) = Members::read(record).filter(|members| has_id(members, id)) else {
            return true;
        };
        applied.changed += 1;
        applied.name = applied.name.take().or_else(|| name_of(&members));
        false
    });
    if applied.changed == 0 {
        return Err(ChangeError::UnknownKey);
    }
    Ok(applied)
}

fn has_id(members: &Members<'_>, id: &str) -> bool {
    members.get("id").and_then(text).is_some_and(|own| own == id)
}

fn name_of(members: &Members<'_>) -> Option<String> {
    Some(members.get("name").and_then(text)?.into_owned())
}

/// The records with this id, with their places.
fn holders<'d>(document: &'d Document, id: &str) -> impl Iterator<Item = (usize, Members<'d>)> {
    let members = document
        .records()
        .enumerate()
        .filter_map(|(position, record)| Some((position, Members::read(record)?)));
    members.filter(move |(_, members)| has_id(members, id))
}

/// Whether there are records with this id and all of them are like that.
fn all_holders(document: &Document, id: &str, is_so: impl Fn(&Members<'_>) -> bool) -> bool {
    let mut holders = holders(document, id).peekable();
    holders.peek().is_some() && holders.all(|(_, members)| is_so(&members))
}

fn members_of_records(document: &Document) -> impl Iterator<Item = Members<'_>> {
    document.records().filter_map(Members::read)
}

/// A member that is there and not `null`.
fn present<'m>(members: &'m Members<'_>, name: &str) -> Option<&'m RawValue> {
    members.get(name).filter(|raw| raw.get() != "null")
}

#[cfg(test)]
mod tests;
