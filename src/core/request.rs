//! The body of `POST /verify`, read exactly and without building a tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroize;

use super::key;

/// The most characters a presented key may have.
pub const MAX_API_KEY_CHARS: usize = 1024;

pub struct VerifyRequest<'a> {
    /// Owned only when the JSON string had escapes; then it is wiped on drop.
    pub api_key: Cow<'a, str>,
}

/// Why a body is no verify request. Each has one fixed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    NotJson,
    NotAnObject,
    MissingApiKey,
    ApiKeyNotAString,
    ApiKeyTooLong,
}

impl<'a> VerifyRequest<'a> {
    /// The whole body must be one JSON object. Unknown members are ignored; of a repeated one the last counts.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(body).map_err(|_| Malformed::NotJson)?;
        let body: Body = serde_json::from_str(text).map_err(|_| without_object(text))?;
        let raw = body.api_key.ok_or(Malformed::MissingApiKey)?;
        if !raw.get().starts_with('"') {
            return Err(Malformed::ApiKeyNotAString);
        }
        // What is JSON and yet no text is half a surrogate pair.
        let request = Self {
            api_key: key::text(raw).ok_or(Malformed::NotJson)?,
        };
        if request.is_too_long() {
            Err(Malformed::ApiKeyTooLong)
        } else {
            Ok(request)
        }
    }

    fn is_too_long(&self) -> bool {
        // A text has no more characters than bytes, so most are not counted.
        self.api_key.len() > MAX_API_KEY_CHARS && self.api_key.chars().nth(MAX_API_KEY_CHARS).is_some()
    }
}

impl Drop for VerifyRequest<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(api_key) = &mut self.api_key {
            api_key.zeroize();
        }
    }
}

impl fmt::Debug for VerifyRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyRequest(***)")
    }
}

/// The parts of a 422 answer, in the words of the service that clients were written against.
impl Malformed {
    pub const ALL: [Self; 5] = [
        Self::NotJson,
        Self::NotAnObject,
        Self::MissingApiKey,
        Self::ApiKeyNotAString,
        Self::ApiKeyTooLong,
    ];

    /// The sentence in `error`.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotJson => "The body is not JSON",
            Self::NotAnObject => "The body is not a JSON object",
            Self::MissingApiKey => "The body has no api_key",
            Self::ApiKeyNotAString => "api_key is not a string",
            Self::ApiKeyTooLong => "api_key has more than 1024 characters",
        }
    }

    /// The detail's `type`.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::NotJson => "json_invalid",
            Self::NotAnObject => "model_attributes_type",
            Self::MissingApiKey => "missing",
            Self::ApiKeyNotAString => "string_type",
            Self::ApiKeyTooLong => "string_too_long",
        }
    }

    /// The detail's `loc`.
    pub const fn location(self) -> &'static [&'static str] {
        match self {
            Self::NotJson | Self::NotAnObject => &["body"],
            Self::MissingApiKey | Self::ApiKeyNotAString | Self::ApiKeyTooLong => &["body", "api_key"],
        }
    }

    /// The detail's `msg`.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotJson => "JSON decode error",
            Self::NotAnObject => "Input should be a valid dictionary or object to extract fields from",
            Self::MissingApiKey => "Field required",
            Self::ApiKeyNotAString => "Input should be a valid string",
            Self::ApiKeyTooLong => "String should have at most 1024 characters",
        }
    }
}

/// Why a body that is no JSON object is none.
fn without_object(text: &str) -> Malformed {
    let is_other_json = !text.trim_ascii_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
    if is_other_json {
        Malformed::NotAnObject
    } else {
        Malformed::NotJson
    }
}

/// What the body's object says, undecoded.
struct Body<'a> {
    api_key: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Body<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a verify request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut body = Body { api_key: None };
        while let Some(name) = map.next_key::<&RawValue>()? {
            if key::text(name).as_deref() == Some("api_key") {
                body.api_key = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests;
