//! One record of the document read as a key: every member checked, or the reason why it cannot be one.

mod defect;
mod imported;
mod life;
mod policy;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::policy::PolicyMembers;
pub use self::policy::{
    KeyPolicy, MAX_KEY_PREFIX_BYTES, MAX_LIMIT, MAX_LIMIT_NAME_BYTES, MAX_RATE_PER_HOUR, MAX_USER_ID_BYTES,
    MAX_WINDOW_SECONDS, Previous,
};
pub use self::{defect::Defect, imported::Imported};
use super::{
    imported::stored_digest as digest_of_hash,
    json::{Json, NotJson, Scanner},
    secret::{Digest, Secret},
    time::Timestamp,
};

/// The most bytes an id may have; longer ones would only serve to fill logs.
pub const MAX_ID_BYTES: usize = 256;

/// A record that holds. Borrowed from the document's text.
#[derive(Debug)]
pub struct Key<'a> {
    pub id: Cow<'a, str>,
    pub name: Cow<'a, str>,
    /// What the key is looked up under: of an imported one the stand-in for its hash.
    pub digest: Digest,
    pub imported: Option<Imported<'a>>,
    /// Still stored with its plaintext secret; the next write stores the digest instead.
    pub plaintext: bool,
    pub secret_type: SecretType,
    /// As written in the document; shown, never compared.
    pub created_at: Option<Cow<'a, str>>,
    pub updated_at: Option<Cow<'a, str>>,
    pub expires_at: Option<Timestamp>,
    /// By either of the two members below.
    pub revoked: bool,
    pub is_active: bool,
    /// As written in the document; any text revokes.
    pub revoked_at: Option<Cow<'a, str>>,
    pub revoke_reason: Option<Cow<'a, str>>,
    /// A JSON object; `None` when the record has none (answered as `{}`).
    pub metadata: Option<&'a str>,
    /// `None` for a plain key.
    pub policy: Option<KeyPolicy<'a>>,
    /// Secrets that were replaced and are still good for a while.
    pub previous: Vec<Previous<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SecretType {
    #[default]
    SharedSecret,
}

impl SecretType {
    pub const ALL: [Self; 1] = [Self::SharedSecret];

    pub const fn word(self) -> &'static str {
        match self {
            Self::SharedSecret => "shared_secret",
        }
    }
}

impl<'a> Key<'a> {
    /// Reads one record. On a defect the id comes back where the record had a readable one, so that it can be named.
    pub fn read(record: &'a RawValue) -> Result<Self, (Option<Cow<'a, str>>, Defect)> {
        let Ok(Some(members)) = Members::pass(&mut Scanner::new(record.get())) else {
            return Err((None, Defect::NotAnObject));
        };
        members.key().map_err(|defect| (members.id(), defect))
    }
}

/// The members of one record that this version knows, each as it stands in the text. Of a repeated one the last.
#[derive(Default)]
pub(super) struct Members<'a> {
    id: Option<Json<'a>>,
    name: Option<Json<'a>>,
    secret: Option<Json<'a>>,
    secret_hash: Option<Json<'a>>,
    secret_type: Option<Json<'a>>,
    created_at: Option<Json<'a>>,
    updated_at: Option<Json<'a>>,
    expires_at: Option<Json<'a>>,
    revoked_at: Option<Json<'a>>,
    revoke_reason: Option<Json<'a>>,
    is_active: Option<Json<'a>>,
    metadata: Option<Json<'a>>,
    /// Made when the first of its members is met, so that a record without any is read as fast as ever.
    policy: Option<Box<PolicyMembers<'a>>>,
}

impl<'a> Members<'a> {
    /// Passes one record; `None` is one that is not an object.
    pub(super) fn pass(scanner: &mut Scanner<'a>) -> Result<Option<Self>, NotJson> {
        if scanner.peek()? != b'{' {
            return scanner.value().map(|_| None);
        }
        let mut members = Self::default();
        scanner.object(|scanner, name| {
            let value = scanner.value()?;
            members.set(name, value);
            Ok(())
        })?;
        Ok(Some(members))
    }

    pub(super) fn key(&self) -> Result<Key<'a>, Defect> {
        let (is_active, revoked_at) = (self.is_active()?, self.revoked_at()?);
        Ok(Key {
            id: self.id().ok_or(Defect::BadId)?,
            name: self.name.and_then(Json::text).ok_or(Defect::BadName)?,
            digest: self.digest()?,
            imported: self.imported()?,
            plaintext: present(self.secret).is_some(),
            secret_type: self.secret_type()?,
            created_at: self.created_at.and_then(Json::text),
            updated_at: self.updated_at.and_then(Json::text),
            expires_at: self.expires_at()?,
            revoked: !is_active || revoked_at.is_some(),
            is_active,
            revoked_at,
            revoke_reason: self.revoke_reason()?,
            metadata: self.metadata()?,
            policy: self.policy.as_ref().map_or(Ok(None), |members| members.policy())?,
            previous: self
                .policy
                .as_ref()
                .map_or(Ok(Vec::new()), |members| members.previous())?,
        })
    }

    pub(super) fn id(&self) -> Option<Cow<'a, str>> {
        self.id
            .and_then(Json::text)
            .filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES)
    }

    /// Every digest the record lays claim to, also when it is no key for another reason.
    pub(super) fn claimed_digests(&self) -> impl Iterator<Item = Digest> + use<> {
        let of_secret = self.secret.and_then(digest_of_secret);
        let stored = self.secret_hash.and_then(stored_digest);
        let previous = self.policy.as_ref().map(|members| members.claimed_digests());
        of_secret.into_iter().chain(stored).chain(previous.unwrap_or_default())
    }

    pub(super) fn has_plaintext(&self) -> bool {
        self.secret.and_then(digest_of_secret).is_some()
    }

    fn digest(&self) -> Result<Digest, Defect> {
        let of_secret = present(self.secret)
            .map(|json| digest_of_secret(json).ok_or(Defect::BadSecret))
            .transpose()?;
        let stored = present(self.secret_hash)
            .map(|json| stored_digest(json).ok_or(Defect::BadDigest))
            .transpose()?;
        match (of_secret, stored) {
            (Some(of_secret), Some(stored)) if of_secret != stored => Err(Defect::SecretAndDigestDiffer),
            (Some(digest), _) | (None, Some(digest)) => Ok(digest),
            (None, None) => Err(Defect::NoSecret),
        }
    }

    fn imported(&self) -> Result<Option<Imported<'a>>, Defect> {
        let key_prefix = self.policy.as_ref().and_then(|members| members.key_prefix);
        Imported::read(self.secret_hash, key_prefix)
    }

    fn secret_type(&self) -> Result<SecretType, Defect> {
        let Some(json) = present(self.secret_type) else {
            return Ok(SecretType::default());
        };
        let word = json.text().ok_or(Defect::UnknownSecretType)?;
        SecretType::ALL
            .into_iter()
            .find(|known| known.word() == word)
            .ok_or(Defect::UnknownSecretType)
    }

    fn expires_at(&self) -> Result<Option<Timestamp>, Defect> {
        let Some(json) = present(self.expires_at) else {
            return Ok(None);
        };
        json.parse().map(Some).ok_or(Defect::BadExpiry)
    }

    fn is_active(&self) -> Result<bool, Defect> {
        match present(self.is_active).map(Json::get) {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Defect::BadRevocation),
        }
    }

    /// Any text revokes, a date or not: somebody meant to take the key away.
    fn revoked_at(&self) -> Result<Option<Cow<'a, str>>, Defect> {
        match present(self.revoked_at) {
            None => Ok(None),
            Some(json) if json.is_string() => Ok(Some(json.text().unwrap_or_default())),
            Some(_) => Err(Defect::BadRevocation),
        }
    }

    fn revoke_reason(&self) -> Result<Option<Cow<'a, str>>, Defect> {
        let reason = present(self.revoke_reason).map(|json| json.text().ok_or(Defect::BadRevocation));
        reason.transpose()
    }

    fn metadata(&self) -> Result<Option<&'a str>, Defect> {
        match present(self.metadata) {
            None => Ok(None),
            Some(json) if json.is_object() => Ok(Some(json.get())),
            Some(_) => Err(Defect::BadMetadata),
        }
    }

    fn set(&mut self, name: Json<'a>, value: Json<'a>) {
        if let Some(member) = name.inside().and_then(|name| self.member(name)) {
            *member = Some(value);
        } else if let Some(Cow::Owned(name)) = name.text() {
            // It was written with escapes. One that cannot be decoded is merely unknown.
            let _ = self.member(&name).map(|member| *member = Some(value));
        }
    }

    fn member(&mut self, name: &str) -> Option<&mut Option<Json<'a>>> {
        Some(match name {
            "id" => &mut self.id,
            "name" => &mut self.name,
            "secret" => &mut self.secret,
            "secret_hash" => &mut self.secret_hash,
            "secret_type" => &mut self.secret_type,
            "created_at" => &mut self.created_at,
            "updated_at" => &mut self.updated_at,
            "expires_at" => &mut self.expires_at,
            "revoked_at" => &mut self.revoked_at,
            "is_active" => &mut self.is_active,
            "metadata" => &mut self.metadata,
            "revoke_reason" => &mut self.revoke_reason,
            _ if PolicyMembers::has(name) => return self.policy.get_or_insert_default().member(name),
            _ => return None,
        })
    }
}

/// A member that is there and not `null`.
pub(super) fn present(member: Option<Json<'_>>) -> Option<Json<'_>> {
    member.filter(|json| json.get() != "null")
}

/// `None` for what cannot be a secret: no text, or the empty one, which would let an empty guess in.
fn digest_of_secret(json: Json<'_>) -> Option<Digest> {
    match json.text()? {
        Cow::Borrowed(secret) => (!secret.is_empty()).then(|| Digest::of(secret)),
        Cow::Owned(secret) => {
            let secret = Secret::new(secret);
            (!secret.expose().is_empty()).then(|| secret.digest())
        }
    }
}

/// The digest that is stored, or the stand-in for a hash of another kind.
fn stored_digest(json: Json<'_>) -> Option<Digest> {
    json.parse().or_else(|| digest_of_hash(&json.text()?))
}

#[cfg(test)]
mod tests;
