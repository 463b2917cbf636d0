//! Access tokens: made for a session, and read back by whoever is shown one. Refresh tokens, which only a store can tell
//! good from bad, and their successors.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{key_file::Fill, keys::Keys, signing::SigningKey};
use crate::{
    config::TokenConfig,
    core::{id, secret::Secret, time::Timestamp},
};

/// How far another instance's clock may be ahead of ours. Nobody gains by it: the end of a token has no leeway.
const LEEWAY_SECONDS: i64 = 10;
/// The last second that a calendar of four digits knows.
const LAST_SECOND: i64 = 253_402_300_799;
const MAX_ID_BYTES: usize = 64;
const ID_BYTES: usize = 16;

/// What a token says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`.
    pub login: String,
    pub user_id: i64,
    /// `jti`.
    pub token_id: String,
    /// `sid`.
    pub session_id: String,
    /// `iat`, `nbf` and `exp`, in seconds since 1970.
    pub issued_at: i64,
    pub not_before: i64,
    pub expires_at: i64,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("Invalid token")]
    Invalid,
    /// It was good once.
    #[error("Token has expired")]
    Expired,
}

/// Whose token it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub login: &'a str,
    pub user_id: i64,
    pub session_id: &'a str,
}

/// A token that was just made.
#[derive(Debug)]
pub struct Issued {
    pub token: Secret,
    pub claims: Claims,
}

/// Makes tokens and checks them.
pub struct Tokens {
    pub keys: Keys,
    issuer: String,
    audience: String,
    ttl_seconds: i64,
}

impl Tokens {
    pub fn new(keys: Keys, config: &TokenConfig) -> Self {
        Self {
            keys,
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            ttl_seconds: i64::try_from(config.token_ttl.as_secs()).unwrap_or(LAST_SECOND),
        }
    }

    /// The `expires_in` of a token that is made now.
    pub fn ttl_seconds(&self) -> i64 {
        self.ttl_seconds
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Each token has an id of its own, so that no two are the same.
    pub fn issue(&self, subject: Subject<'_>, now: Timestamp, fill: Fill<'_>) -> Issued {
        let issued_at = now.as_seconds();
        let claims = Claims {
            login: subject.login.to_owned(),
            user_id: subject.user_id,
            token_id: new_id(fill),
            session_id: subject.session_id.to_owned(),
            issued_at,
            not_before: issued_at,
            expires_at: issued_at + self.ttl_seconds,
        };
        Issued {
            token: self.keys.current().signing().sign(&self.payload(&claims)),
            claims,
        }
    }

    /// What a good token says. Whether its session is still there is another question.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let payload = self.keys.current().open(token).ok_or(TokenError::Invalid)?;
        let claims = self.read(&payload).ok_or(TokenError::Invalid)?;
        let latest_begin = now.as_seconds() + LEEWAY_SECONDS;
        if claims.not_before > latest_begin || claims.issued_at > latest_begin {
            return Err(TokenError::Invalid);
        }
        if now.as_seconds() >= claims.expires_at {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }

    fn payload(&self, claims: &Claims) -> String {
        let payload = Payload {
            sub: Cow::Borrowed(&claims.login),
            user_id: claims.user_id,
            iat: claims.issued_at,
            nbf: claims.not_before,
            exp: claims.expires_at,
            iss: Cow::Borrowed(&self.issuer),
            aud: Cow::Borrowed(&self.audience),
            jti: Cow::Borrowed(&claims.token_id),
            sid: Cow::Borrowed(&claims.session_id),
        };
        serde_json::to_string(&payload).expect("texts and numbers are always JSON")
    }

    /// A key can be shared with somebody who signs other things by it, so a good signature is not yet a good token.
    fn read(&self, payload: &[u8]) -> Option<Claims> {
        let payload: Payload<'_> = serde_json::from_slice(payload).ok()?;
        let times = [payload.iat, payload.nbf, payload.exp];
        let is_id = |id: &str| (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        let holds = payload.iss == self.issuer
            && payload.aud == self.audience
            && times.iter().all(|time| (0..=LAST_SECOND).contains(time))
            && payload.iat < payload.exp
            && payload.user_id >= 1
            && !payload.sub.is_empty()
            && is_id(&payload.jti)
            && is_id(&payload.sid);
        holds.then(|| Claims {
            login: payload.sub.into_owned(),
            user_id: payload.user_id,
            token_id: payload.jti.into_owned(),
            session_id: payload.sid.into_owned(),
            issued_at: payload.iat,
            not_before: payload.nbf,
            expires_at: payload.exp,
        })
    }

    /// What can take the place of this refresh token. It is derived, so that a retry gets the same without anything being
    /// stored from which it could be told. The first is for use; the others are what other keys, that may have signed
    /// when it was used first, would have made.
    pub fn successors(&self, presented: &Secret) -> Vec<Secret> {
        let keys = self.keys.current();
        let successor = |key: &SigningKey| id::new_refresh_token(&mut key.derive(presented));
        keys.iter().map(successor).collect()
    }
}

/// For tokens and sessions: 128 random bits.
pub fn new_id(fill: Fill<'_>) -> String {
    let mut bytes = [0; ID_BYTES];
    fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims as they stand in a token. A name that is there twice is an error; names that we do not know are somebody
/// else's (RFC 7519).
#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    user_id: i64,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
    #[serde(borrow)]
    jti: Cow<'a, str>,
    #[serde(borrow)]
    sid: Cow<'a, str>,
}

#[cfg(test)]
mod tests;
