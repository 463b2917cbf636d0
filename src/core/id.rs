//! heare-ids: `<prefix>_<generation character><8 base62 characters of unix seconds><entropy>`, alphabet `0-9A-Za-z`;
//! and the secrets of keys that were made for an environment: `<prefix><entropy>`. Both end in a checksum.

mod prefixes;

use zeroize::Zeroizing;

pub use self::prefixes::{BadPrefixes, MAX_PREFIX_BYTES, Prefixes};
use super::{
    secret::{Secret, shown_prefix},
    terms::Environment,
    time::Timestamp,
};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const KEY_PREFIX: &str = "key_";
const SECRET_PREFIX: &str = "sec_";
const REFRESH_PREFIX: &str = "hr_";
/// The only generation of heare-ids there is.
const GENERATION: char = '0';
const TIME_CHARS: usize = 8;
const KEY_ENTROPY_CHARS: usize = 10;
const SECRET_CHARS: usize = 64;
const CHECKSUM_CHARS: usize = 6;
/// Of a secret with an environment's prefix, behind the prefix: 34 characters of entropy (202 bits) and the checksum.
const ENVIRONMENT_SECRET_CHARS: usize = 40;
/// Of a refresh token, behind its prefix: 54 characters of entropy (321 bits) and the checksum.
const REFRESH_CHARS: usize = SECRET_CHARS - SECRET_PREFIX.len();
/// Of an environment's secret, behind the prefix: what may be shown.
const DISPLAYED_CHARS: usize = 3;

/// Makes `key_` + `0` + time + 10 characters of entropy. `fill` fills a buffer with random bytes.
pub fn new_key_id(now: Timestamp, fill: &mut dyn FnMut(&mut [u8])) -> String {
    let mut id = String::with_capacity(KEY_PREFIX.len() + 1 + TIME_CHARS + KEY_ENTROPY_CHARS);
    push_head(&mut id, KEY_PREFIX, now);
    push_entropy(&mut id, KEY_ENTROPY_CHARS, fill);
    id
}

/// Makes `sec_` + `0` + time + 51 characters, 64 in all; the last 6 are the checksum of everything before them.
pub fn new_secret(now: Timestamp, fill: &mut dyn FnMut(&mut [u8])) -> Secret {
    // Room for all of it at once: a string that grows leaves copies behind that nobody wipes.
    let mut secret = Zeroizing::new(String::with_capacity(SECRET_CHARS));
    push_head(&mut secret, SECRET_PREFIX, now);
    let entropy = SECRET_CHARS - CHECKSUM_CHARS - secret.len();
    push_entropy(&mut secret, entropy, fill);
    push_checksum(&mut secret);
    Secret::new(std::mem::take(&mut *secret))
}

/// A secret for an environment, and the beginning of it that may be stored and shown.
#[derive(Clone, Debug)]
pub struct EnvironmentSecret {
    pub secret: Secret,
    pub key_prefix: String,
}

/// Makes the environment's prefix + 40 characters; the last 6 are the checksum of everything before them.
pub fn new_environment_secret(
    environment: Environment,
    prefixes: &Prefixes,
    fill: &mut dyn FnMut(&mut [u8]),
) -> EnvironmentSecret {
    let prefix = prefixes.of(environment);
    let mut secret = Zeroizing::new(String::with_capacity(prefix.len() + ENVIRONMENT_SECRET_CHARS));
    secret.push_str(prefix);
    push_entropy(&mut secret, ENVIRONMENT_SECRET_CHARS - CHECKSUM_CHARS, fill);
    push_checksum(&mut secret);
    EnvironmentSecret {
        key_prefix: secret[..prefix.len() + DISPLAYED_CHARS].to_owned(),
        secret: Secret::new(std::mem::take(&mut *secret)),
    }
}

/// Makes `hr_` + 60 characters, with which a session goes on; the last 6 are the checksum of everything before them.
pub fn new_refresh_token(fill: &mut dyn FnMut(&mut [u8])) -> Secret {
    let mut token = Zeroizing::new(String::with_capacity(REFRESH_PREFIX.len() + REFRESH_CHARS));
    token.push_str(REFRESH_PREFIX);
    push_entropy(&mut token, REFRESH_CHARS - CHECKSUM_CHARS, fill);
    push_checksum(&mut token);
    Secret::new(std::mem::take(&mut *token))
}

/// What a recognised secret says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretForm {
    /// `sec_…`, with or without an owner.
    Operator,
    Environment(Environment),
    /// `hr_…`: no key, but what a session goes on with.
    Refresh,
}

/// How secrets begin, each with the length of a whole one.
pub fn beginnings(prefixes: &Prefixes) -> [(&str, usize); 2 + Environment::ALL.len()] {
    let [first, second, third] = Environment::ALL.map(|environment| prefixes.of(environment));
    let whole = |prefix: &str| prefix.len() + ENVIRONMENT_SECRET_CHARS;
    [
        (SECRET_PREFIX, SECRET_CHARS),
        (first, whole(first)),
        (second, whole(second)),
        (third, whole(third)),
        (REFRESH_PREFIX, REFRESH_PREFIX.len() + REFRESH_CHARS),
    ]
}

/// Whether a text is a secret of ours, told by its form and its checksum alone: for scanners that look for leaked ones.
pub fn recognise(text: &str, prefixes: &Prefixes) -> Option<SecretForm> {
    if checksum(text) == Checksum::Good && text.starts_with(SECRET_PREFIX) {
        return Some(SecretForm::Operator);
    }
    if is_refresh_token(text) {
        return Some(SecretForm::Refresh);
    }
    Environment::ALL.into_iter().find_map(|environment| {
        let rest = text.strip_prefix(prefixes.of(environment))?;
        let is_ours = rest.len() == ENVIRONMENT_SECRET_CHARS && is_base62(rest) && has_checksum(text);
        is_ours.then_some(SecretForm::Environment(environment))
    })
}

/// Whether a text has the form of a refresh token, and its checksum holds.
pub fn is_refresh_token(text: &str) -> bool {
    let rest = text.strip_prefix(REFRESH_PREFIX).unwrap_or_default();
    rest.len() == REFRESH_CHARS && is_base62(rest) && has_checksum(text)
}

/// Whether a text that somebody sent in another's place, such as that of an id, may be a secret: then it is not written
/// down.
pub fn may_be_secret(text: &str) -> bool {
    shown_prefix(text) != "***" || holds_secret(text)
}

/// Whether a secret of ours stands somewhere in the text, whatever prefix it was made with: told by its checksum, so that
/// no id is taken for one.
pub fn holds_secret(text: &str) -> bool {
    memchr::memchr_iter(b'_', text.as_bytes()).any(|underscore| {
        let behind = underscore + 1;
        let whole = [ENVIRONMENT_SECRET_CHARS, SECRET_CHARS - SECRET_PREFIX.len()];
        let runs = whole.into_iter().filter_map(|length| text.get(behind..behind + length));
        let ends = runs.filter(|run| is_base62(run)).map(|run| behind + run.len());
        let beginnings = behind.saturating_sub(MAX_PREFIX_BYTES)..underscore;
        let is_secret = |start, end| text.get(start..end).is_some_and(has_checksum);
        ends.into_iter()
            .any(|end| beginnings.clone().any(|start| is_secret(start, end)))
    })
}

/// When an id or secret of ours was made; `None` for any other text.
pub fn made_at(id: &str) -> Option<Timestamp> {
    let rest = id
        .strip_prefix(KEY_PREFIX)
        .or_else(|| id.strip_prefix(SECRET_PREFIX))?
        .strip_prefix(GENERATION)?;
    let (time, entropy) = rest.split_at_checked(TIME_CHARS)?;
    let seconds = base62_value(time)?;
    if entropy.is_empty() || !is_base62(entropy) {
        return None;
    }
    seconds.checked_mul(1000).map(Timestamp::from_millis)
}

/// What a checksum says about a text, without looking anything up.
///
/// For scanners that look for leaked keys, never for refusing one: the Python service wrote secrets of the same
/// form and length without a checksum, and those are good keys that read as `Wrong` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The form carries a checksum and it holds.
    Good,
    /// The form carries a checksum and it does not hold.
    Wrong,
    /// An older form without one, or not ours at all.
    None,
}

pub fn checksum(secret: &str) -> Checksum {
    if secret.len() != SECRET_CHARS || made_at(secret).is_none() {
        return Checksum::None;
    }
    if has_checksum(secret) {
        Checksum::Good
    } else {
        Checksum::Wrong
    }
}

/// Whether the last 6 characters are the checksum of everything before them.
fn has_checksum(secret: &str) -> bool {
    let split = secret.len().checked_sub(CHECKSUM_CHARS);
    let Some((body, given)) = split.and_then(|at| secret.split_at_checked(at)) else {
        return false;
    };
    base62_value(given) == Some(crc32fast::hash(body.as_bytes()).into())
}

fn push_checksum(secret: &mut String) {
    let checksum = crc32fast::hash(secret.as_bytes());
    push_base62(secret, checksum.into(), CHECKSUM_CHARS);
}

fn push_head(id: &mut String, prefix: &str, now: Timestamp) {
    id.push_str(prefix);
    id.push(GENERATION);
    push_base62(id, u64::try_from(now.as_seconds()).unwrap_or(0), TIME_CHARS);
}

/// Pads on the left with `0`. Of a number too large for `width` the upper end is cut off, which the eight characters
/// of time leave to the year seven million.
fn push_base62(text: &mut String, number: u64, width: usize) {
    let place = |exponent: usize| (0..exponent).fold(1_u64, |value, _| value * 62);
    for exponent in (0..width).rev() {
        let digit = number / place(exponent) % 62;
        text.push(char::from(
            ALPHABET[usize::try_from(digit).expect("a number below 62 fits")],
        ));
    }
}

/// Appends characters that are all equally likely: bytes from 248 on are thrown away, because 256 is no multiple of 62
/// and folding them in would make eight characters more likely than the rest.
fn push_entropy(text: &mut String, count: usize, fill: &mut dyn FnMut(&mut [u8])) {
    const FAIR_BYTES: u8 = 248;
    let mut random = Zeroizing::new([0; SECRET_CHARS]);
    let end = text.len() + count;
    while text.len() < end {
        fill(&mut *random);
        let fair = random.iter().filter(|&&byte| byte < FAIR_BYTES);
        text.extend(
            fair.take(end - text.len())
                .map(|&byte| char::from(ALPHABET[usize::from(byte % 62)])),
        );
    }
}

/// The number that base62 digits stand for; `None` for other characters or a number beyond 64 bits.
fn base62_value(digits: &str) -> Option<i64> {
    digits.bytes().try_fold(0_i64, |value, digit| {
        value.checked_mul(62)?.checked_add(digit_value(digit)?)
    })
}

fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn digit_value(digit: u8) -> Option<i64> {
    let value = match digit {
        b'0'..=b'9' => digit - b'0',
        b'A'..=b'Z' => digit - b'A' + 10,
        b'a'..=b'z' => digit - b'a' + 36,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests;
