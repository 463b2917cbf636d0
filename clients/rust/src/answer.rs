//! What the service said, as a key or as a reason to let nobody in.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Whoever has a key may let its holder in.
pub type Outcome = Result<Arc<Key>, NotAllowed>;

/// Whose a good key is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Key {
    pub key_id: String,
    #[serde(default, deserialize_with = "or_nothing")]
    pub name: String,
    #[serde(default, deserialize_with = "or_nothing")]
    pub metadata: Map<String, Value>,
    pub user_id: Option<String>,
    pub environment: Option<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub scopes: Vec<String>,
    /// Set when the key's holder still uses a secret that was replaced: it ends then.
    pub previous_expires_at: Option<String>,
    expires_at: Option<String>,
}

/// Why nobody is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The service said no.
    #[error("the API key is not let in: {}", code.word())]
    Refused {
        code: Code,
        /// How long the key's holder has to wait; of `Code::RateLimited`.
        retry_after: Option<Duration>,
        /// What the key lacks one of; of `Code::InsufficientScope`.
        required_scopes: Vec<String>,
    },
    /// Nobody could say. That is not a yes.
    #[error("the API key is not let in: nobody could say whether it is good")]
    Unavailable { retry_after: Option<Duration> },
    /// The service does not understand what was asked besides the key, such as a scope.
    #[error("the API key is not let in: the service does not understand what it is wanted for")]
    BadQuestion,
}

/// The reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    Invalid,
    Revoked,
    Expired,
    Malformed,
    IpNotAllowed,
    InsufficientScope,
    RateLimited,
}

impl Code {
    const ALL: [Self; 7] = [
        Self::Invalid,
        Self::Revoked,
        Self::Expired,
        Self::Malformed,
        Self::IpNotAllowed,
        Self::InsufficientScope,
        Self::RateLimited,
    ];

    /// The word that the service has for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Malformed => "malformed",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::InsufficientScope => "insufficient_scope",
            Self::RateLimited => "rate_limited",
        }
    }

    /// A word that is not known yet is a no all the same.
    fn of(word: &str) -> Self {
        let found = Self::ALL.into_iter().find(|code| code.word() == word);
        found.unwrap_or(Self::Invalid)
    }
}

impl NotAllowed {
    /// What to answer one's own client.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Refused { code, .. } => match code {
                Code::Invalid | Code::Revoked | Code::Expired | Code::Malformed => 401,
                Code::IpNotAllowed | Code::InsufficientScope => 403,
                Code::RateLimited => 429,
            },
            Self::Unavailable { .. } => 503,
            Self::BadQuestion => 500,
        }
    }

    /// The reason in one word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code.word(),
            Self::Unavailable { .. } => "unavailable",
            Self::BadQuestion => "bad_question",
        }
    }

    /// How long to wait before asking again makes sense, where that is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Unavailable { retry_after } => *retry_after,
            Self::BadQuestion => None,
        }
    }

    pub(crate) fn malformed() -> Self {
        Self::refused(Code::Malformed)
    }

    fn refused(code: Code) -> Self {
        Self::Refused {
            code,
            retry_after: None,
            required_scopes: Vec::new(),
        }
    }

    /// A limit that is reached now may not be in a moment, and an outage is never remembered.
    pub(crate) const fn may_be_remembered(&self) -> bool {
        match self {
            Self::Refused { code, .. } => !matches!(code, Code::RateLimited | Code::Malformed),
            Self::Unavailable { .. } | Self::BadQuestion => false,
        }
    }
}

impl Key {
    /// The earliest end that the service told. One that cannot be read is over.
    pub(crate) fn ends(&self) -> Option<SystemTime> {
        let told = [&self.expires_at, &self.previous_expires_at];
        let times = told.into_iter().flatten().map(|text| {
            let parsed = text.parse::<jiff::Timestamp>();
            parsed.map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
        });
        times.min()
    }
}

/// `null` is nothing.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct No {
    valid: bool,
    #[serde(default)]
    code: String,
    #[serde(default)]
    required_scopes: Vec<String>,
}

#[derive(Deserialize)]
struct Yes {
    valid: bool,
    #[serde(flatten)]
    key: Key,
}

/// Nothing where the answer says nothing about the key.
pub(crate) fn judge(status: u16, body: &[u8], retry_after: Option<Duration>) -> Option<Outcome> {
    match status {
        200 => {
            let yes: Yes = serde_json::from_slice(body).ok()?;
            yes.valid.then(|| Ok(Arc::new(yes.key)))
        }
        403 | 429 => {
            let no: No = serde_json::from_slice(body).ok()?;
            let retry_after = retry_after.filter(|_| status == 429);
            let (code, required_scopes) = (Code::of(&no.code), no.required_scopes);
            (!no.valid).then_some(Err(NotAllowed::Refused {
                code,
                retry_after,
                required_scopes,
            }))
        }
        422 => {
            let said: Value = serde_json::from_slice(body).ok()?;
            let location = said["detail"][0]["loc"].as_array();
            let is_about_the_key = location
                .and_then(|path| path.last())
                .is_some_and(|last| last == "api_key");
            let reason = if is_about_the_key {
                NotAllowed::malformed()
            } else {
                NotAllowed::BadQuestion
            };
            said["error"].is_string().then_some(Err(reason))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_cannot_be_read_is_over() {
        let ends = |members: &str| {
            let text = format!(r#"{{"key_id":"key_1"{members}}}"#);
            serde_json::from_str::<Key>(&text).expect("a key").ends()
        };
        let year_2100 = SystemTime::UNIX_EPOCH + Duration::from_hours(1_139_568);
        assert_eq!(ends(""), None);
        assert_eq!(ends(r#","previous_expires_at":null"#), None);
        assert_eq!(
            ends(r#","previous_expires_at":"2100-01-01T00:00:00Z""#),
            Some(year_2100)
        );
        assert_eq!(
            ends(r#","expires_at":"2100-01-01T00:00:00Z","previous_expires_at":"soon""#),
            Some(SystemTime::UNIX_EPOCH)
        );
    }

    #[test]
    fn a_reason_that_is_not_known_is_a_no() {
        let outcome = judge(403, br#"{"valid":false,"code":"moon_phase"}"#, None);
        assert_eq!(outcome, Some(Err(NotAllowed::refused(Code::Invalid))));
    }
}
