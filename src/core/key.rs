//! One record of the document read as a key: every member checked, or the reason why it cannot be one.

mod defect;
mod imported;
mod life;
mod policy;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{CowStrDeserializer, Error};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use self::policy::PolicyMembers;
pub use self::policy::{
    KeyPolicy, MAX_KEY_PREFIX_BYTES, MAX_LIMIT, MAX_LIMIT_NAME_BYTES, MAX_RATE_PER_HOUR, MAX_USER_ID_BYTES,
    MAX_WINDOW_SECONDS, Previous,
};
pub use self::{defect::Defect, imported::Imported};
use super::{
    imported::stored_digest as digest_of_hash,
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
    pub metadata: Option<&'a RawValue>,
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
        let members = Members::of(record).ok_or((None, Defect::NotAnObject))?;
        members.key().map_err(|defect| (members.id(), defect))
    }
}

/// The members of one record that this version knows, each as it stands in the text. Of a repeated one the last.
#[derive(Default)]
pub(super) struct Members<'a> {
    id: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    secret: Option<&'a RawValue>,
    secret_hash: Option<&'a RawValue>,
    secret_type: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    updated_at: Option<&'a RawValue>,
    expires_at: Option<&'a RawValue>,
    revoked_at: Option<&'a RawValue>,
    revoke_reason: Option<&'a RawValue>,
    is_active: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    /// Made when the first of its members is met, so that a record without any is read as fast as ever.
    policy: Option<Box<PolicyMembers<'a>>>,
}

impl<'a> Members<'a> {
    /// `None` when the record is not an object.
    pub(super) fn of(record: &'a RawValue) -> Option<Self> {
        // A raw value is JSON already, and the members are only cut out: nothing else can be wrong.
        let mut deserializer = serde_json::Deserializer::from_str(record.get());
        deserializer
            .deserialize_map(MembersVisitor::<RawName>(PhantomData))
            .ok()
    }

    pub(super) fn key(&self) -> Result<Key<'a>, Defect> {
        let (is_active, revoked_at) = (self.is_active()?, self.revoked_at()?);
        Ok(Key {
            id: self.id().ok_or(Defect::BadId)?,
            name: self.name.and_then(text).ok_or(Defect::BadName)?,
            digest: self.digest()?,
            imported: self.imported()?,
            plaintext: present(self.secret).is_some(),
            secret_type: self.secret_type()?,
            created_at: self.created_at.and_then(text),
            updated_at: self.updated_at.and_then(text),
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
            .and_then(text)
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
            .map(|raw| digest_of_secret(raw).ok_or(Defect::BadSecret))
            .transpose()?;
        let stored = present(self.secret_hash)
            .map(|raw| stored_digest(raw).ok_or(Defect::BadDigest))
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
        let Some(raw) = present(self.secret_type) else {
            return Ok(SecretType::default());
        };
        let word = text(raw).ok_or(Defect::UnknownSecretType)?;
        SecretType::ALL
            .into_iter()
            .find(|known| known.word() == word)
            .ok_or(Defect::UnknownSecretType)
    }

    fn expires_at(&self) -> Result<Option<Timestamp>, Defect> {
        let Some(raw) = present(self.expires_at) else {
            return Ok(None);
        };
        let date = text(raw).ok_or(Defect::BadExpiry)?;
        date.parse().map(Some).map_err(|_| Defect::BadExpiry)
    }

    fn is_active(&self) -> Result<bool, Defect> {
        match present(self.is_active).map(RawValue::get) {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Defect::BadRevocation),
        }
    }

    /// Any text revokes, a date or not: somebody meant to take the key away.
    fn revoked_at(&self) -> Result<Option<Cow<'a, str>>, Defect> {
        match present(self.revoked_at) {
            None => Ok(None),
            Some(raw) if is_string(raw) => Ok(Some(text(raw).unwrap_or_default())),
            Some(_) => Err(Defect::BadRevocation),
        }
    }

    fn revoke_reason(&self) -> Result<Option<Cow<'a, str>>, Defect> {
        let reason = present(self.revoke_reason).map(|raw| text(raw).ok_or(Defect::BadRevocation));
        reason.transpose()
    }

    fn metadata(&self) -> Result<Option<&'a RawValue>, Defect> {
        match present(self.metadata) {
            None => Ok(None),
            Some(raw) if raw.get().starts_with('{') => Ok(Some(raw)),
            Some(_) => Err(Defect::BadMetadata),
        }
    }

    fn set(&mut self, name: Member, value: &'a RawValue) {
        let member = match name {
            Member::Id => &mut self.id,
            Member::Name => &mut self.name,
            Member::Secret => &mut self.secret,
            Member::SecretHash => &mut self.secret_hash,
            Member::SecretType => &mut self.secret_type,
            Member::CreatedAt => &mut self.created_at,
            Member::UpdatedAt => &mut self.updated_at,
            Member::ExpiresAt => &mut self.expires_at,
            Member::RevokedAt => &mut self.revoked_at,
            Member::RevokeReason => &mut self.revoke_reason,
            Member::IsActive => &mut self.is_active,
            Member::Metadata => &mut self.metadata,
            Member::UserId => &mut self.policy().user_id,
            Member::Environment => &mut self.policy().environment,
            Member::KeyPrefix => &mut self.policy().key_prefix,
            Member::RateLimitPerHour => &mut self.policy().rate_limit_per_hour,
            Member::Burst => &mut self.policy().burst,
            Member::Limits => &mut self.policy().limits,
            Member::AllowedIps => &mut self.policy().allowed_ips,
            Member::Scopes => &mut self.policy().scopes,
            Member::Previous => &mut self.policy().previous,
            Member::Unknown => return,
        };
        *member = Some(value);
    }

    fn policy(&mut self) -> &mut PolicyMembers<'a> {
        self.policy.get_or_insert_default()
    }
}

/// The name of a member.
#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Id,
    Name,
    Secret,
    SecretHash,
    SecretType,
    CreatedAt,
    UpdatedAt,
    ExpiresAt,
    RevokedAt,
    RevokeReason,
    IsActive,
    Metadata,
    UserId,
    Environment,
    KeyPrefix,
    RateLimitPerHour,
    Burst,
    Limits,
    AllowedIps,
    Scopes,
    Previous,
    #[serde(other)]
    Unknown,
}

/// A name that was only cut out: one that cannot be decoded is merely unknown.
#[derive(Deserialize)]
struct RawName<'a>(#[serde(borrow)] &'a RawValue);

impl From<RawName<'_>> for Member {
    fn from(name: RawName<'_>) -> Self {
        let known = text(name.0).and_then(|name| Self::deserialize(CowStrDeserializer::<Error>::new(name)).ok());
        known.unwrap_or(Self::Unknown)
    }
}

/// Reads swiftly, and fails on anything that is not an object or that has a name which cannot be decoded.
impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor::<Member>(PhantomData))
    }
}

/// Reads an object whose names come as `N`.
struct MembersVisitor<N>(PhantomData<N>);

impl<'de, N: Deserialize<'de> + Into<Member>> Visitor<'de> for MembersVisitor<N> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<N>()? {
            members.set(name.into(), map.next_value()?);
        }
        Ok(members)
    }
}

/// A member that is there and not `null`.
pub(super) fn present(member: Option<&RawValue>) -> Option<&RawValue> {
    member.filter(|raw| raw.get() != "null")
}

fn is_string(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

/// A JSON string's text, borrowed exactly when it was written without escapes; `None` when it is no string or holds
/// half a surrogate pair, which is no text.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inside = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.as_bytes().contains(&b'\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// `None` for what cannot be a secret: no text, or the empty one, which would let an empty guess in.
fn digest_of_secret(raw: &RawValue) -> Option<Digest> {
    match text(raw)? {
        Cow::Borrowed(secret) => (!secret.is_empty()).then(|| Digest::of(secret)),
        Cow::Owned(secret) => {
            let secret = Secret::new(secret);
            (!secret.expose().is_empty()).then(|| secret.digest())
        }
    }
}

fn stored_digest(raw: &RawValue) -> Option<Digest> {
    digest_of_hash(&text(raw)?)
}

#[cfg(test)]
mod tests;
