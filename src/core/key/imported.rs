//! What leads to a key, or to an earlier secret of one, that is known by a bcrypt hash alone.

use std::borrow::Cow;

use super::{Defect, policy::key_prefix};
use crate::core::{imported::BcryptHash, json::Json};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported<'a> {
    pub key_prefix: Cow<'a, str>,
    pub hash: Cow<'a, str>,
}

impl<'a> Imported<'a> {
    /// `None` for a secret whose digest is stored, as that of nearly every key is.
    pub(super) fn read(secret_hash: Option<Json<'a>>, shown_prefix: Option<Json<'a>>) -> Result<Option<Self>, Defect> {
        let is_bcrypt = |hash: &Cow<'a, str>| BcryptHash::parse(hash).is_some();
        let stored = secret_hash.filter(|json| !json.get().starts_with("\"sha256:"));
        let Some(hash) = stored.and_then(Json::text).filter(is_bcrypt) else {
            return Ok(None);
        };
        let key_prefix = key_prefix(shown_prefix)?.ok_or(Defect::NoKeyPrefix)?;
        Ok(Some(Self { key_prefix, hash }))
    }
}
