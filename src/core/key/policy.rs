//! The members of a record that make its policy, and the digests of its earlier secrets: each understood, or a defect.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Defect, Imported, present, stored_digest};
use crate::core::{
    json::Json,
    network::Networks,
    policy::{Environment, HOUR, OWNED_LIMIT_PER_HOUR, Terms},
    scope::{MAX_SCOPES, Scope},
    secret::Digest,
    time::Timestamp,
    window::{Limit, MAX_NAMED_LIMITS},
};

/// The highest `rate_limit_per_hour`, and the highest `burst`.
pub const MAX_RATE_PER_HOUR: u32 = 100_000;
/// The most calls and seconds of a further window.
pub const MAX_LIMIT: u32 = 1_000_000_000;
pub const MAX_WINDOW_SECONDS: u32 = 31 * 24 * 3600;
/// The most bytes of an owner's id, of a display prefix, and of a window's name.
pub const MAX_USER_ID_BYTES: usize = 256;
pub const MAX_KEY_PREFIX_BYTES: usize = 64;
pub const MAX_LIMIT_NAME_BYTES: usize = 40;

const SECONDS_PER_HOUR: u32 = 3600;

/// What a record says beyond who the key is.
#[derive(Debug)]
pub struct KeyPolicy<'a> {
    /// `None` for an operator's key.
    pub user_id: Option<Cow<'a, str>>,
    pub key_prefix: Option<Cow<'a, str>>,
    pub terms: Terms,
}

/// A secret that was replaced and is good until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous<'a> {
    /// What it is looked up under, as the key's own.
    pub digest: Digest,
    pub imported: Option<Imported<'a>>,
    pub not_after: Timestamp,
}

/// Each as it stands in the text. Most records have none of them, so they are kept apart.
#[derive(Default)]
pub struct PolicyMembers<'a> {
    pub user_id: Option<Json<'a>>,
    pub environment: Option<Json<'a>>,
    pub key_prefix: Option<Json<'a>>,
    pub rate_limit_per_hour: Option<Json<'a>>,
    pub burst: Option<Json<'a>>,
    pub limits: Option<Json<'a>>,
    pub allowed_ips: Option<Json<'a>>,
    pub scopes: Option<Json<'a>>,
    pub previous: Option<Json<'a>>,
}

impl<'a> PolicyMembers<'a> {
    const NAMES: [&'static str; 9] = [
        "user_id",
        "environment",
        "key_prefix",
        "rate_limit_per_hour",
        "burst",
        "limits",
        "allowed_ips",
        "scopes",
        "previous",
    ];

    pub fn has(name: &str) -> bool {
        Self::NAMES.contains(&name)
    }

    pub fn member(&mut self, name: &str) -> Option<&mut Option<Json<'a>>> {
        Some(match name {
            "user_id" => &mut self.user_id,
            "environment" => &mut self.environment,
            "key_prefix" => &mut self.key_prefix,
            "rate_limit_per_hour" => &mut self.rate_limit_per_hour,
            "burst" => &mut self.burst,
            "limits" => &mut self.limits,
            "allowed_ips" => &mut self.allowed_ips,
            "scopes" => &mut self.scopes,
            "previous" => &mut self.previous,
            _ => return None,
        })
    }

    /// `None` when nothing is set: such a key is as plain as one without the members.
    pub fn policy(&self) -> Result<Option<KeyPolicy<'a>>, Defect> {
        let user_id = short_text(self.user_id, MAX_USER_ID_BYTES).map_err(|()| Defect::BadUserId)?;
        let key_prefix = key_prefix(self.key_prefix)?;
        let terms = Terms {
            environment: self.environment()?,
            allowed_ips: self.allowed_ips()?,
            scopes: self.scopes()?,
            limits: self.limits(user_id.is_some()).ok_or(Defect::BadLimits)?,
        };
        let is_plain = user_id.is_none() && key_prefix.is_none() && terms == Terms::default();
        Ok((!is_plain).then_some(KeyPolicy {
            user_id,
            key_prefix,
            terms,
        }))
    }

    pub fn previous(&self) -> Result<Vec<Previous<'a>>, Defect> {
        let read = |raw: &RawPrevious<'a>| {
            let [secret_hash, key_prefix] = [raw.secret_hash, raw.key_prefix].map(|raw| raw.map(Json::from));
            Some(Previous {
                digest: secret_hash.and_then(stored_digest)?,
                imported: Imported::read(secret_hash, key_prefix).ok()?,
                not_after: Json::from(raw.not_after?).parse()?,
            })
        };
        let listed: Vec<RawPrevious> = list(self.previous).ok_or(Defect::BadPrevious)?;
        listed
            .iter()
            .map(read)
            .collect::<Option<_>>()
            .ok_or(Defect::BadPrevious)
    }

    /// The earlier digests that can be read, also where the list as a whole cannot.
    pub fn claimed_digests(&self) -> Vec<Digest> {
        let listed: Vec<&RawValue> = list(self.previous).unwrap_or_default();
        let claimed = |raw: &RawValue| {
            serde_json::from_str::<RawPrevious>(raw.get())
                .ok()?
                .secret_hash
                .map(Json::from)
                .and_then(stored_digest)
        };
        listed.into_iter().filter_map(claimed).collect()
    }

    fn environment(&self) -> Result<Option<Environment>, Defect> {
        let word = short_text(self.environment, usize::MAX).map_err(|()| Defect::BadEnvironment)?;
        word.map(|word| word.parse().map_err(|_| Defect::BadEnvironment))
            .transpose()
    }

    fn allowed_ips(&self) -> Result<Networks, Defect> {
        let texts: Vec<Cow<str>> = list(self.allowed_ips).ok_or(Defect::BadAllowedIps)?;
        Networks::parse(&texts).map_err(|_| Defect::BadAllowedIps)
    }

    fn scopes(&self) -> Result<Box<[Scope<'static>]>, Defect> {
        let texts: Vec<Cow<str>> = list(self.scopes).ok_or(Defect::BadScopes)?;
        if texts.len() > MAX_SCOPES {
            return Err(Defect::BadScopes);
        }
        let scopes = texts.into_iter().map(|text| Scope::parse(text).map(Scope::into_owned));
        scopes.collect::<Result<_, _>>().map_err(|_| Defect::BadScopes)
    }

    fn limits(&self, owned: bool) -> Option<Box<[Limit]>> {
        let per_hour = number(self.rate_limit_per_hour, 1, MAX_RATE_PER_HOUR).ok()?;
        let burst = number(self.burst, 0, MAX_RATE_PER_HOUR).ok()?.unwrap_or_default();
        let hourly = per_hour.or(owned.then_some(OWNED_LIMIT_PER_HOUR)).map(|max| Limit {
            name: Cow::Borrowed(HOUR),
            max,
            burst,
            window_seconds: SECONDS_PER_HOUR,
        });
        let named: Vec<RawLimit> = list(self.limits)?;
        if named.len() > MAX_NAMED_LIMITS {
            return None;
        }
        let mut limits: Vec<Limit> = hourly.into_iter().collect();
        for raw in named {
            let limit = raw
                .limit()
                .filter(|limit| limits.iter().all(|other| other.name != limit.name))?;
            limits.push(limit);
        }
        Some(limits.into())
    }
}

#[derive(Deserialize)]
struct RawPrevious<'a> {
    #[serde(borrow)]
    secret_hash: Option<&'a RawValue>,
    #[serde(borrow)]
    key_prefix: Option<&'a RawValue>,
    #[serde(borrow)]
    not_after: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawLimit<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    limit: u32,
    window_seconds: u32,
}

impl RawLimit<'_> {
    /// A name stands in headers and metrics, and `hour` is that of the hourly limit.
    fn limit(&self) -> Option<Limit> {
        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_name = (1..=MAX_LIMIT_NAME_BYTES).contains(&self.name.len())
            && self.name.bytes().all(is_inside)
            && self.name != HOUR;
        let in_range = (1..=MAX_LIMIT).contains(&self.limit) && (1..=MAX_WINDOW_SECONDS).contains(&self.window_seconds);
        (is_name && in_range).then(|| Limit {
            name: Cow::Owned(self.name.clone().into_owned()),
            max: self.limit,
            burst: 0,
            window_seconds: self.window_seconds,
        })
    }
}

/// The beginning of a secret that may be shown.
pub(super) fn key_prefix(member: Option<Json<'_>>) -> Result<Option<Cow<'_, str>>, Defect> {
    short_text(member, MAX_KEY_PREFIX_BYTES).map_err(|()| Defect::BadKeyPrefix)
}

/// The empty text is as good as none.
fn short_text(member: Option<Json<'_>>, longest: usize) -> Result<Option<Cow<'_, str>>, ()> {
    let Some(json) = present(member) else {
        return Ok(None);
    };
    let text = json.text().filter(|text| text.len() <= longest).ok_or(())?;
    Ok((!text.is_empty()).then_some(text))
}

/// A whole number of that range, where there is one.
fn number(member: Option<Json<'_>>, least: u32, most: u32) -> Result<Option<u32>, ()> {
    let Some(json) = present(member) else {
        return Ok(None);
    };
    let number = json.get().parse().ok().filter(|number| (least..=most).contains(number));
    number.map(Some).ok_or(())
}

/// What a list holds; nothing when the member is absent, `None` when it is something else.
fn list<'a, T: Deserialize<'a>>(member: Option<Json<'a>>) -> Option<Vec<T>> {
    match present(member).map(Json::get) {
        None | Some("[]") => Some(Vec::new()),
        Some(json) => serde_json::from_str(json).ok(),
    }
}
