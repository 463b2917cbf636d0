//! Changes within a record that is there: rotate, revoke, reactivate, update, and retire what has long expired.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Applied, ChangeError, MAX_PREVIOUS, has_id, holders, members_of_records, name_of, present, seal};
use crate::core::{
    document::{Document, Members, json_of, text},
    key::{Imported, Key},
    secret::Digest,
    tag::Tag,
    terms::{Burst, Networks, RateLimit, Scopes, Windows},
    time::Timestamp,
};

/// Another secret for a key.
#[derive(Clone, Debug)]
pub struct Rotation {
    pub id: String,
    /// Of the new secret.
    pub digest: Digest,
    /// The beginning of the new secret that may be shown; `None` for one that begins with `sec_`.
    pub key_prefix: Option<String>,
    /// How long the secret before this one, and any before that, stays good; `None` ends them all now.
    pub overlap_until: Option<Timestamp>,
    pub at: Timestamp,
}

/// What an update does to one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    #[default]
    Leave,
    Clear,
    Set(T),
}

/// The members that can be changed.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// A key always has one, so it is set or left.
    pub name: Option<String>,
    /// A JSON object, kept to the letter.
    pub metadata: Edit<Box<RawValue>>,
    pub scopes: Edit<Scopes>,
    pub allowed_ips: Edit<Networks>,
    pub rate_limit_per_hour: Edit<RateLimit>,
    pub burst: Edit<Burst>,
    pub limits: Edit<Windows>,
    pub expires_at: Edit<Timestamp>,
}

/// An earlier secret that is still good, as it is written.
#[derive(Serialize)]
struct Previous<'a> {
    /// As it was stored.
    secret_hash: &'a RawValue,
    /// What leads to a bcrypt hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_prefix: Option<Cow<'a, str>>,
    not_after: String,
}

pub(super) fn rotate(document: &mut Document, rotation: &Rotation) -> Result<Applied, ChangeError> {
    let Rotation {
        id,
        digest,
        key_prefix,
        overlap_until,
        at,
    } = rotation;
    edit_one(document, id, *at, |members, key| {
        alive(key.ok_or(ChangeError::BadRecord)?, *at)?;
        let until = overlap_until.filter(|until| until > at);
        let imported = key.and_then(|key| key.imported.as_ref());
        let previous = until.map_or(Ok(Vec::new()), |until| previous(members, imported, until, *at))?;
        set_or_remove(members, "previous", (!previous.is_empty()).then(|| json_of(&previous)));
        members.set("secret_hash", json_of(&digest.to_string()));
        let key_prefix = key_prefix.as_deref().map(json_of::<str>);
        set_or_remove(members, "key_prefix", key_prefix);
        Ok(())
    })
}

/// What is dead is dead for the reason that a verify gives.
fn alive(key: &Key<'_>, at: Timestamp) -> Result<(), ChangeError> {
    match key.has_expired(at) {
        _ if key.is_alive(at) => Ok(()),
        true if !key.revoked || key.is_merely_inactive() => Err(ChangeError::Expired),
        true | false => Err(ChangeError::Revoked),
    }
}

/// The secrets that stay good, the newest first. None outlives the one that came after it.
fn previous(
    members: &Members<'_>,
    imported: Option<&Imported<'_>>,
    until: Timestamp,
    at: Timestamp,
) -> Result<Vec<Box<RawValue>>, ChangeError> {
    let newest = Previous {
        secret_hash: present(members, "secret_hash").ok_or(ChangeError::BadRecord)?,
        key_prefix: imported.map(|imported| Cow::Borrowed(&*imported.key_prefix)),
        not_after: until.to_string(),
    };
    let mut previous = vec![json_of(&newest)];
    for entry in entries(members) {
        let mut entry = Members::read(entry).ok_or(ChangeError::BadRecord)?;
        let not_after = not_after(&entry).ok_or(ChangeError::BadRecord)?;
        if not_after > until {
            entry.set("not_after", json_of(&until.to_string()));
        }
        if not_after > at {
            previous.push(entry.to_raw());
        }
    }
    if previous.len() > MAX_PREVIOUS {
        return Err(ChangeError::TooManySecrets);
    }
    Ok(previous)
}

/// The new digest is random: it stands in the record only if this rotation was made, be it the latest or not.
pub(super) fn is_rotated(document: &Document, rotation: &Rotation) -> bool {
    let is_new = |members: &Members<'_>| seal::digest(members) == Some(rotation.digest);
    holders(document, &rotation.id).any(|(_, members)| {
        let earlier = entries(&members).filter_map(Members::read).any(|entry| is_new(&entry));
        is_new(&members) || earlier
    })
}

/// All records with this id: a key that is to be taken away shall not come back with the end of a duplicate.
pub(super) fn revoke(
    document: &mut Document,
    id: &str,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<Applied, ChangeError> {
    let positions: Vec<usize> = holders(document, id).map(|(position, _)| position).collect();
    let mut applied: Option<Applied> = None;
    for position in positions {
        let one = revoke_at(document, position, reason, at)?;
        applied = Some(match applied {
            None => one,
            Some(first) => Applied {
                sealed: first.sealed + one.sealed,
                changed: first.changed + one.changed,
                ..first
            },
        });
    }
    applied.ok_or(ChangeError::UnknownKey)
}

/// An owner without keys has nothing to lose.
pub(super) fn revoke_owned(
    document: &mut Document,
    owner: &str,
    reason: &str,
    at: Timestamp,
) -> Result<Applied, ChangeError> {
    let id_of = |members: &Members<'_>| present(members, "id").and_then(text).map(Cow::into_owned);
    let found: Vec<_> = owned(document, owner)
        .map(|(position, members)| (position, id_of(&members)))
        .collect();
    let mut applied = Applied::default();
    for (position, id) in found {
        let one = revoke_at(document, position, Some(reason), at)?;
        applied.sealed += one.sealed;
        applied.changed += one.changed;
        applied.keys.extend(id.filter(|_| one.changed > 0));
    }
    Ok(applied)
}

/// Whether this owner has a key that nobody has revoked.
pub(super) fn has_unrevoked(document: &Document, owner: &str) -> bool {
    owned(document, owner).any(|(_, members)| !is_revoked(&members))
}

/// The records of this owner, with their places.
fn owned<'d>(document: &'d Document, owner: &str) -> impl Iterator<Item = (usize, Members<'d>)> {
    let members = document.records().enumerate();
    let members = members.filter_map(|(position, record)| Some((position, Members::read(record)?)));
    members.filter(move |(_, members)| {
        present(members, "user_id")
            .and_then(text)
            .is_some_and(|own| own == owner)
    })
}

fn revoke_at(
    document: &mut Document,
    position: usize,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<Applied, ChangeError> {
    edit_at(document, position, at, |members, _| {
        if !is_revoked(members) {
            members.set("is_active", json_of(&false));
            members.set("revoked_at", json_of(&at.to_string()));
            set_or_remove(members, "revoke_reason", reason.map(json_of::<str>));
        }
        Ok(())
    })
}

pub(super) fn reactivate(document: &mut Document, id: &str, at: Timestamp) -> Result<Applied, ChangeError> {
    edit_one(document, id, at, |members, key| {
        if key.ok_or(ChangeError::BadRecord)?.has_expired(at) {
            return Err(ChangeError::Expired);
        }
        if is_inactive(members) {
            members.remove("revoked_at");
            members.remove("revoke_reason");
            members.set("is_active", json_of(&true));
        }
        Ok(())
    })
}

/// Also mends a record that is defective in a member which the patch sets.
pub(super) fn update(
    document: &mut Document,
    id: &str,
    patch: &Patch,
    expected: Option<Tag>,
    at: Timestamp,
) -> Result<Applied, ChangeError> {
    if let Some(expected) = expected {
        let is_expected = |record: &RawValue| Tag::of(record) == expected;
        let mut holding = document
            .records()
            .filter(|record| Members::read(record).is_some_and(|members| has_id(&members, id)));
        if holding.next().is_some_and(|record| !is_expected(record)) {
            return Err(ChangeError::Changed);
        }
    }
    edit_one(document, id, at, |members, _| {
        patch.apply(members);
        Ok(())
    })
}

pub(super) fn retire_expired(document: &mut Document, until: Timestamp, at: Timestamp) -> Applied {
    if members_of_records(document).any(|members| seal::has_plaintext(&members)) {
        return Applied::default();
    }
    let changed = document.edit(|record| {
        let mut members = Members::read(record).filter(|_| is_due(record, until))?;
        members.set("is_active", json_of(&false));
        members.set("updated_at", json_of(&at.to_string()));
        Some(members.to_raw())
    });
    Applied {
        changed,
        ..Applied::default()
    }
}

/// Whether there is a key to retire.
pub(super) fn has_expired(document: &Document, until: Timestamp) -> bool {
    document.records().any(|record| is_due(record, until))
}

fn is_due(record: &RawValue, until: Timestamp) -> bool {
    Key::read(record).is_ok_and(|key| !key.revoked && key.has_expired(until))
}

/// Revoked by somebody, with a time. A key that is merely inactive can still be revoked.
pub(super) fn is_revoked(members: &Members<'_>) -> bool {
    present(members, "revoked_at").and_then(text).is_some()
}

/// Revoked or retired.
pub(super) fn is_inactive(members: &Members<'_>) -> bool {
    let flag = present(members, "is_active").map(RawValue::get);
    present(members, "revoked_at").is_some() || flag.is_some_and(|flag| flag != "true")
}

impl Patch {
    /// Whether it would change nothing anywhere.
    pub fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.metadata.is_leave()
            && self.scopes.is_leave()
            && self.allowed_ips.is_leave()
            && self.rate_limit_per_hour.is_leave()
            && self.burst.is_leave()
            && self.limits.is_leave()
            && self.expires_at.is_leave()
    }

    pub(super) fn is_in(&self, members: &Members<'_>) -> bool {
        self.patched(members.clone()).get() == members.to_raw().get()
    }

    /// The record with these members.
    pub(super) fn patched(&self, mut members: Members<'_>) -> Box<RawValue> {
        self.apply(&mut members);
        members.to_raw()
    }

    fn apply(&self, members: &mut Members<'_>) {
        if let Some(name) = &self.name {
            members.set("name", json_of(name));
        }
        match &self.metadata {
            Edit::Leave => {}
            Edit::Clear => set_if_present(members, "metadata", "{}"),
            Edit::Set(metadata) => members.set("metadata", metadata.clone()),
        }
        match &self.expires_at {
            Edit::Leave => {}
            Edit::Clear => set_if_present(members, "expires_at", "null"),
            Edit::Set(time) => members.set("expires_at", json_of(&time.to_string())),
        }
        self.scopes.apply(members, "scopes");
        self.allowed_ips.apply(members, "allowed_ips");
        self.rate_limit_per_hour.apply(members, "rate_limit_per_hour");
        self.burst.apply(members, "burst");
        self.limits.apply(members, "limits");
    }
}

impl<T> Edit<T> {
    pub const fn is_leave(&self) -> bool {
        matches!(self, Self::Leave)
    }
}

impl<T: Serialize> Edit<T> {
    fn apply(&self, members: &mut Members<'_>, name: &str) {
        match self {
            Self::Leave => {}
            Self::Clear => members.remove(name),
            Self::Set(value) => members.set(name, json_of(value)),
        }
    }
}

/// Edits the one record with this id. `edit` also gets the key that the record is, if it is one.
fn edit_one(
    document: &mut Document,
    id: &str,
    at: Timestamp,
    edit: impl FnOnce(&mut Members<'_>, Option<&Key<'_>>) -> Result<(), ChangeError>,
) -> Result<Applied, ChangeError> {
    let positions: Vec<usize> = holders(document, id).map(|(position, _)| position).collect();
    match positions[..] {
        [] => Err(ChangeError::UnknownKey),
        [position] => edit_at(document, position, at, edit),
        _ => Err(ChangeError::BadRecord),
    }
}

/// What `edit` sees has no plaintext any more. `updated_at` is set where something else has changed.
fn edit_at(
    document: &mut Document,
    position: usize,
    at: Timestamp,
    edit: impl FnOnce(&mut Members<'_>, Option<&Key<'_>>) -> Result<(), ChangeError>,
) -> Result<Applied, ChangeError> {
    let record = document.records().nth(position).ok_or(ChangeError::UnknownKey)?;
    let mut members = Members::read(record).ok_or(ChangeError::BadRecord)?;
    let sealed = seal::seal(&mut members);
    let before = members.to_raw();
    edit(&mut members, Key::read(record).ok().as_ref())?;
    let changed = members.to_raw().get() != before.get();
    if changed {
        members.set("updated_at", json_of(&at.to_string()));
    }
    let after = members.to_raw();
    let applied = Applied {
        sealed: usize::from(sealed),
        changed: usize::from(changed),
        name: name_of(&members),
        record: Some(after.get().to_owned()),
        ..Applied::default()
    };
    if changed || sealed {
        document.replace(position, after);
    }
    Ok(applied)
}

/// The list of earlier secrets; what is no list is none.
fn entries<'m>(members: &'m Members<'_>) -> impl Iterator<Item = &'m RawValue> {
    let list = present(members, "previous").map(RawValue::get).unwrap_or_default();
    serde_json::from_str::<Vec<&RawValue>>(list)
        .unwrap_or_default()
        .into_iter()
}

fn not_after(entry: &Members<'_>) -> Option<Timestamp> {
    entry.get("not_after").and_then(text)?.parse().ok()
}

fn set_or_remove(members: &mut Members<'_>, name: &str, value: Option<Box<RawValue>>) {
    match value {
        Some(value) => members.set(name, value),
        None => members.remove(name),
    }
}

/// A member that every key has is emptied, not removed; where it was left out it stays out.
fn set_if_present(members: &mut Members<'_>, name: &str, json: &str) {
    if members.get(name).is_some() {
        let value = RawValue::from_string(json.to_owned()).expect("the caller wrote JSON");
        members.set(name, value);
    }
}

#[cfg(test)]
mod tests;
