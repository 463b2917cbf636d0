//! The body of a verify, read exactly and without building a tree: one, a batch of them, and one whose key may stand in a
//! header instead.

mod malformed;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use zeroize::Zeroize;

pub use self::malformed::Malformed;
use super::{
    json::{Json, NotJson, Scanner},
    key::present,
    network,
    scope::{MAX_SCOPES, Scope},
    secret::Digest,
    verify::Asked,
};

/// The most characters of a presented key.
pub const MAX_API_KEY_CHARS: usize = 1024;
/// The most characters of an endpoint's name.
pub const MAX_ENDPOINT_CHARS: usize = 256;
/// The most that one verify may cost.
pub const MAX_COST: u32 = 100_000;
/// The most requests of a batch.
pub const MAX_BATCH: usize = 100;

pub struct VerifyRequest<'a> {
    /// Owned only when the JSON string had escapes; then it is wiped on drop.
    pub api_key: Cow<'a, str>,
    pub asked: Asked<'a>,
    /// How many calls it counts as in the key's limits.
    pub cost: u32,
    /// What the key is used for, in the caller's own words.
    pub endpoint: Option<Cow<'a, str>>,
    pub explain: bool,
}

impl<'a> VerifyRequest<'a> {
    /// The whole body must be one JSON object. Unknown members are ignored; of a repeated one the last counts.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        Body::read(utf8(body)?)?.request()
    }

    /// One element of a batch, or any other text.
    pub fn parse_text(text: &'a str) -> Result<Self, Malformed> {
        Body::read(text)?.request()
    }

    /// The key may come from the body or from elsewhere; `None` when it does from neither. There the body may be empty.
    pub fn parse_with(body: &'a [u8], sent_elsewhere: Option<&'a str>) -> Result<Option<Self>, Malformed> {
        let text = utf8(body)?;
        let mut body = if text.trim_ascii().is_empty() {
            Body::default()
        } else {
            Body::read(text)?
        };
        body.api_key = present(body.api_key);
        let Some(api_key) = body.api_key()?.or(sent_elsewhere.map(Cow::Borrowed)) else {
            return Ok(None);
        };
        let request = body.with(api_key)?;
        if sent_elsewhere.is_some_and(|sent| Digest::of(sent) != Digest::of(&request.api_key)) {
            return Err(Malformed::TwoApiKeys);
        }
        Ok(Some(request))
    }

    fn is_too_long(&self) -> bool {
        is_longer(&self.api_key, MAX_API_KEY_CHARS)
    }
}

/// The requests of a batch, undecoded: each is judged for itself. The body is a list of them, or an object with the list
/// in `requests`.
pub fn parse_batch(body: &[u8]) -> Result<Vec<&RawValue>, Malformed> {
    let text = utf8(body)?;
    let requests: Vec<&RawValue> = if text.trim_ascii_start().starts_with('[') {
        serde_json::from_str(text).map_err(|_| Malformed::NotJson)?
    } else {
        let list = Body::read(text)?.requests.ok_or(Malformed::MissingRequests)?;
        serde_json::from_str(list.get()).map_err(|_| Malformed::RequestsNotAList)?
    };
    if requests.len() > MAX_BATCH {
        return Err(Malformed::TooManyRequests);
    }
    Ok(requests)
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

/// A text has no more characters than bytes, so most are not counted.
fn is_longer(text: &str, most_chars: usize) -> bool {
    text.len() > most_chars && text.chars().nth(most_chars).is_some()
}

fn utf8(body: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(body).map_err(|_| Malformed::NotJson)
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
#[derive(Default)]
struct Body<'a> {
    api_key: Option<Json<'a>>,
    client_ip: Option<Json<'a>>,
    required_scopes: Option<Json<'a>>,
    cost: Option<Json<'a>>,
    endpoint: Option<Json<'a>>,
    explain: Option<Json<'a>>,
    requests: Option<Json<'a>>,
}

impl<'a> Body<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        Self::scan(text).map_err(|NotJson| without_object(text))
    }

    /// The text must be one JSON object.
    fn scan(text: &'a str) -> Result<Self, NotJson> {
        let mut body = Self::default();
        let mut scanner = Scanner::new(text);
        scanner.object(|scanner, name| {
            let value = scanner.value()?;
            if let Some(member) = name.text().and_then(|name| body.member(&name)) {
                *member = Some(value);
            }
            Ok(())
        })?;
        scanner.end()?;
        Ok(body)
    }

    fn request(&self) -> Result<VerifyRequest<'a>, Malformed> {
        self.with(self.api_key()?.ok_or(Malformed::MissingApiKey)?)
    }

    fn with(&self, api_key: Cow<'a, str>) -> Result<VerifyRequest<'a>, Malformed> {
        let mut request = VerifyRequest {
            api_key,
            asked: Asked::default(),
            cost: 1,
            endpoint: None,
            explain: false,
        };
        if request.is_too_long() {
            return Err(Malformed::ApiKeyTooLong);
        }
        request.asked.client_ip = present(self.client_ip).map(client_ip).transpose()?;
        request.asked.required_scopes = present(self.required_scopes).map_or(Ok(Vec::new()), scopes)?;
        request.cost = present(self.cost).map_or(Ok(1), cost)?;
        request.endpoint = present(self.endpoint).map_or(Ok(None), endpoint)?;
        request.explain = present(self.explain).map_or(Ok(false), boolean)?;
        Ok(request)
    }

    fn api_key(&self) -> Result<Option<Cow<'a, str>>, Malformed> {
        let api_key = self.api_key.map(|json| string(json, Malformed::ApiKeyNotAString));
        api_key.transpose()
    }

    fn member(&mut self, name: &str) -> Option<&mut Option<Json<'a>>> {
        Some(match name {
            "api_key" => &mut self.api_key,
            "client_ip" => &mut self.client_ip,
            "required_scopes" => &mut self.required_scopes,
            "cost" => &mut self.cost,
            "endpoint" => &mut self.endpoint,
            "explain" => &mut self.explain,
            "requests" => &mut self.requests,
            _ => return None,
        })
    }
}

/// What is a JSON string and yet no text is half a surrogate pair.
fn string(json: Json<'_>, otherwise: Malformed) -> Result<Cow<'_, str>, Malformed> {
    if json.is_string() {
        json.text().ok_or(Malformed::NotJson)
    } else {
        Err(otherwise)
    }
}

fn client_ip(json: Json<'_>) -> Result<IpAddr, Malformed> {
    network::address(&string(json, Malformed::ClientIpNotAString)?).ok_or(Malformed::ClientIpNotAnAddress)
}

fn scopes(json: Json<'_>) -> Result<Vec<Scope<'_>>, Malformed> {
    let mut scopes = Vec::new();
    let mut malformed = None;
    let list = Scanner::new(json.get()).list(|scanner| {
        match scope(scanner.value()?) {
            _ if scopes.len() == MAX_SCOPES => malformed = Some(Malformed::TooManyScopes),
            Ok(scope) => scopes.push(scope),
            Err(reason) => malformed = malformed.or(Some(reason)),
        }
        Ok(())
    });
    list.map_err(|NotJson| Malformed::ScopesNotAList)?;
    malformed.map_or(Ok(scopes), Err)
}

fn scope(json: Json<'_>) -> Result<Scope<'_>, Malformed> {
    Scope::parse(string(json, Malformed::ScopeNotAString)?).map_err(|_| Malformed::ScopeMalformed)
}

fn cost(json: Json<'_>) -> Result<u32, Malformed> {
    let digits = json.get().strip_prefix('-').unwrap_or(json.get());
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed::CostNotAnInteger);
    }
    match json.get().parse() {
        Ok(cost @ 1..=MAX_COST) => Ok(cost),
        Ok(0) => Err(Malformed::CostTooSmall),
        Err(_) if digits != json.get() => Err(Malformed::CostTooSmall),
        Ok(_) | Err(_) => Err(Malformed::CostTooLarge),
    }
}

/// The empty text is as good as none.
fn endpoint(json: Json<'_>) -> Result<Option<Cow<'_, str>>, Malformed> {
    let text = string(json, Malformed::EndpointNotAString)?;
    if is_longer(&text, MAX_ENDPOINT_CHARS) {
        return Err(Malformed::EndpointTooLong);
    }
    Ok((!text.is_empty()).then_some(text))
}

fn boolean(json: Json<'_>) -> Result<bool, Malformed> {
    json.get().parse().map_err(|_| Malformed::ExplainNotABoolean)
}

#[cfg(test)]
mod tests;
