//! The values a key can be given by people: each checked at the door, so that what the document holds can be read again.

use std::{fmt, net::IpAddr, ops::RangeInclusive};

use ipnet::{IpNet, Ipv4Net};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::id;

/// The longest name of a key that is made over REST.
pub const MAX_OWNED_NAME_CHARS: usize = 100;
pub const MAX_NETWORKS: usize = 20;
pub const MAX_SCOPES: usize = 100;
pub const MAX_SCOPE_BYTES: usize = 100;
pub const MAX_WINDOWS: usize = 10;
/// For how long the secret before a rotation may stay good.
pub const MAX_OVERLAP_SECONDS: u32 = 30 * 24 * 60 * 60;
pub const EXPIRES_IN_DAYS: RangeInclusive<u32> = 1..=365;
/// What a key with an owner gets when nobody chose another rate.
pub const OWNED_RATE_LIMIT: RateLimit = RateLimit(1000);

/// Bytes, as for the ids of keys: whoever reads a record measures it so.
const MAX_OWNER_BYTES: usize = 256;
const MAX_REASON_CHARS: usize = 500;
const RATES: RangeInclusive<u32> = 1..=100_000;
const WINDOW_SECONDS: RangeInclusive<u32> = 1..=31 * 24 * 60 * 60;
/// The name of the window that `rate_limit_per_hour` sets.
const HOUR: &str = "hour";
const MAX_WINDOW_NAME_BYTES: usize = 32;

/// What is wrong with a value. Each sentence continues the name of the option or member that has it, and repeats no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadTerm {
    #[error("must have 1 to {most} characters")]
    Length { most: usize },
    #[error("must have 1 to {most} bytes")]
    Bytes { most: usize },
    #[error("must not contain control characters")]
    Control,
    #[error("must not contain the secret of a key; rotate that key if it was in the wrong place")]
    HoldsSecret,
    #[error("must be production, test or development")]
    Environment,
    #[error("must be words of A-Z a-z 0-9 . _ - / joined by ':', such as orders:write; a whole word may be *")]
    Scope,
    #[error("must not be more than 100 scopes")]
    TooManyScopes,
    #[error("must be an address or a network such as 192.0.2.0/24 or 2001:db8::/32")]
    Network,
    #[error("must not be more than 20 networks")]
    TooManyNetworks,
    #[error("must be a number from 1 to 100000")]
    Rate,
    #[error("must be a number from 0 to 100000")]
    Burst,
    #[error(
        "must have a name of a-z 0-9 _ - other than 'hour', a limit from 1 to 100000 and a window of 1 second to 31 days"
    )]
    Window,
    #[error("must not name a window twice")]
    WindowTwice,
    #[error("must not be more than 10 windows")]
    TooManyWindows,
}

/// Where a key is used. It decides how its secret begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Environment {
    #[default]
    Production,
    Test,
    Development,
}

impl Environment {
    pub const ALL: [Self; 3] = [Self::Production, Self::Test, Self::Development];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Test => "test",
            Self::Development => "development",
        }
    }
}

impl std::str::FromStr for Environment {
    type Err = BadTerm;

    fn from_str(text: &str) -> Result<Self, BadTerm> {
        let known = Self::ALL.into_iter().find(|known| known.word() == text);
        known.ok_or(BadTerm::Environment)
    }
}

impl Serialize for Environment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What a key may do, each scope once, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Scopes(Vec<String>);

impl Scopes {
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, BadTerm> {
        let mut scopes: Vec<String> = Vec::new();
        for text in texts {
            let text = text.as_ref();
            if !is_scope(text) {
                return Err(BadTerm::Scope);
            }
            without_secret(text)?;
            if !scopes.iter().any(|known| known == text) {
                scopes.push(text.to_owned());
            }
        }
        if scopes.len() > MAX_SCOPES {
            return Err(BadTerm::TooManyScopes);
        }
        Ok(Self(scopes))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_scope(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_scope_byte);
    text.len() <= MAX_SCOPE_BYTES && text.split(':').all(|segment| segment == "*" || is_word(segment))
}

const fn is_scope_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/')
}

/// From where a key may be used; empty means from everywhere. Each network once, in the one form it is written in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, BadTerm> {
        let mut networks = Vec::new();
        for text in texts {
            let network = network(text.as_ref()).ok_or(BadTerm::Network)?;
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        if networks.len() > MAX_NETWORKS {
            return Err(BadTerm::TooManyNetworks);
        }
        Ok(Self(networks))
    }

    /// As they are written: an address alone where the network is no larger.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = String> {
        self.0.iter().map(|network| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bits behind the prefix are cleared, and an IPv4 network written as IPv6 (`::ffff:192.0.2.0/120`) is the IPv4 one.
fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    Some(canonical(network).trunc())
}

fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    let four = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    four.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
        .map_or(network, IpNet::V4)
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Requests in an hour, or in another window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateLimit(u32);

impl RateLimit {
    pub fn new(number: u64) -> Result<Self, BadTerm> {
        within(number, &RATES).map(Self).ok_or(BadTerm::Rate)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Requests that may be made at once on top of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Burst(u32);

impl Burst {
    pub fn new(number: u64) -> Result<Self, BadTerm> {
        within(number, &(0..=*RATES.end())).map(Self).ok_or(BadTerm::Burst)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A named window beside the hour, as the document writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    name: String,
    limit: RateLimit,
    #[serde(rename = "window_seconds")]
    seconds: u32,
}

impl Window {
    pub fn new(name: &str, limit: u64, seconds: u64) -> Result<Self, BadTerm> {
        let is_name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        let is_name = (1..=MAX_WINDOW_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_name_byte);
        if !is_name || name == HOUR {
            return Err(BadTerm::Window);
        }
        Ok(Self {
            name: name.to_owned(),
            limit: RateLimit::new(limit).map_err(|_| BadTerm::Window)?,
            seconds: within(seconds, &WINDOW_SECONDS).ok_or(BadTerm::Window)?,
        })
    }
}

/// The named windows of one key.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Windows(Vec<Window>);

impl Windows {
    pub fn new(windows: Vec<Window>) -> Result<Self, BadTerm> {
        let is_named_before = |at: usize| windows[..at].iter().any(|other| other.name == windows[at].name);
        if windows.len() > MAX_WINDOWS {
            Err(BadTerm::TooManyWindows)
        } else if (0..windows.len()).any(is_named_before) {
            Err(BadTerm::WindowTwice)
        } else {
            Ok(Self(windows))
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A name, trimmed, of 1 to `most` characters.
pub fn name(text: &str, most: usize) -> Result<String, BadTerm> {
    line(text, most)
}

/// Whose key it is: an id of the caller's own making.
pub fn owner(text: &str) -> Result<String, BadTerm> {
    if !(1..=MAX_OWNER_BYTES).contains(&text.trim().len()) {
        return Err(BadTerm::Bytes { most: MAX_OWNER_BYTES });
    }
    line(text, MAX_OWNER_BYTES)
}

/// Why a key was revoked; for people, so it must be fit to be shown.
pub fn reason(text: &str) -> Result<String, BadTerm> {
    line(text, MAX_REASON_CHARS)
}

fn line(text: &str, most: usize) -> Result<String, BadTerm> {
    let text = text.trim();
    if !(1..=most).contains(&text.chars().count()) {
        return Err(BadTerm::Length { most });
    }
    if text.chars().any(steers) {
        return Err(BadTerm::Control);
    }
    without_secret(text)?;
    Ok(text.to_owned())
}

/// Whatever people write down of a key is shown to others: a secret that was pasted into it, told by its checksum, must
/// not get there.
fn without_secret(text: &str) -> Result<(), BadTerm> {
    if id::holds_secret(text) {
        Err(BadTerm::HoldsSecret)
    } else {
        Ok(())
    }
}

/// The same for every text in a JSON value, the names of members included.
pub fn json_without_secret(json: &str) -> Result<(), BadTerm> {
    fn texts_without_secret(value: &Value) -> Result<(), BadTerm> {
        match value {
            Value::String(text) => without_secret(text),
            Value::Array(values) => values.iter().try_for_each(texts_without_secret),
            Value::Object(members) => members.iter().try_for_each(|(name, value)| {
                without_secret(name)?;
                texts_without_secret(value)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }
    // Every secret has an underscore, and one that is written as an escape has a backslash.
    if memchr::memchr2(b'_', b'\\', json.as_bytes()).is_none() {
        return Ok(());
    }
    // As it stands first: of a member that is written twice only the last would be looked at.
    without_secret(json)?;
    serde_json::from_str(json).map_or(Ok(()), |value| texts_without_secret(&value))
}

/// Control characters, line and paragraph separators, and marks that change the direction of writing.
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn within(number: u64, range: &RangeInclusive<u32>) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| range.contains(number))
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests;
