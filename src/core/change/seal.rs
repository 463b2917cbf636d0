//! Takes plaintext secrets out of records and leaves their digests there.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::core::{
    document::{Document, Members, json_of, text},
    secret::{Digest, Secret},
};

/// Stores every plaintext secret as its digest, without any other change, and says in how many records there was one.
pub fn seal_secrets(document: &mut Document) -> usize {
    document.edit(|record| {
        let mut members = Members::read(record)?;
        seal(&mut members).then(|| members.to_raw())
    })
}

/// Takes the plaintext out of a record, if it has some. What was no good key stays none: a digest that contradicts the
/// secret is kept beside the secret's own, as a list, and a secret that is no text (it can never be presented) is emptied.
pub(super) fn seal(members: &mut Members<'_>) -> bool {
    if !has_plaintext(members) {
        return false;
    }
    let stored = members
        .get("secret_hash")
        .filter(|raw| raw.get() != "null")
        .map(ToOwned::to_owned);
    match (secret_digest(members), stored) {
        (Some(digest), None) => {
            members.remove("secret_hash");
            members.replace("secret", "secret_hash", json_of(&digest.to_string()));
        }
        (Some(of_secret), Some(stored)) => {
            if digest(members) != Some(of_secret) {
                members.set("secret_hash", json_of(&(stored, of_secret.to_string())));
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
    true
}

/// Also finds secrets that no longer count because the member is repeated. An empty text is no secret.
pub(super) fn has_plaintext(members: &Members<'_>) -> bool {
    members.all("secret").any(is_plaintext)
}

/// The digest that is stored, if it is one of ours.
pub(super) fn digest(members: &Members<'_>) -> Option<Digest> {
    members.get("secret_hash").and_then(text)?.parse().ok()
}

fn is_plaintext(secret: &RawValue) -> bool {
    secret.get().starts_with('"') && secret.get() != r#""""#
}

fn secret_digest(members: &Members<'_>) -> Option<Digest> {
    let secret = members
        .get("secret")
        .and_then(text)
        .filter(|secret| !secret.is_empty())?;
    Some(match secret {
        Cow::Borrowed(secret) => Digest::of(secret),
        Cow::Owned(secret) => Secret::new(secret).digest(),
    })
}
