//! Which of the records that a reader may see they look for, and in which order.

use std::{cmp::Reverse, str::FromStr};

use super::record::{Record, Status};
use crate::core::{terms::Environment, time::Timestamp};

/// What is not set is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    pub text: Option<Needle>,
    pub status: Option<Status>,
    pub environment: Option<Environment>,
    pub order: Order,
}

/// Stands somewhere in a key's name, id, prefix, owner or one of its scopes, in whatever case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle(String);

/// Of records that stand alike the newest comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
    ByName,
    ByNameBackwards,
    ExpiringFirst,
    ExpiringLast,
}

impl Search {
    pub fn finds(&self, record: &Record, now: Timestamp) -> bool {
        self.status.is_none_or(|status| record.status(now) == status)
            && self
                .environment
                .is_none_or(|environment| record.environment == Some(environment))
            && self.text.as_ref().is_none_or(|needle| needle.is_in(record))
    }
}

impl Needle {
    const MAX_CHARS: usize = 100;

    /// `None` for a text that is longer than anything that is searched needs to be.
    pub fn new(text: &str) -> Option<Self> {
        (text.chars().count() <= Self::MAX_CHARS).then(|| Self(text.to_lowercase()))
    }

    fn is_in(&self, record: &Record) -> bool {
        let texts = [&record.name, &record.key_prefix, &record.owner];
        let texts = texts.into_iter().filter_map(Option::as_deref).chain([&*record.id]);
        let scopes = record.scopes.iter().flatten().map(String::as_str);
        texts.chain(scopes).any(|text| text.to_lowercase().contains(&self.0))
    }
}

impl Order {
    /// Puts records in order that stand newest first.
    pub fn apply<T>(self, found: &mut [T], record: impl Fn(&T) -> &Record) {
        let name = |one: &T| record(one).name.as_deref().map(str::to_lowercase);
        let named = |one: &T| (name(one).is_none(), name(one));
        // What never expires does so last.
        let expiry = |one: &T| record(one).expires_at.map_or(i64::MAX, Timestamp::as_millis);
        match self {
            Self::NewestFirst => {}
            Self::OldestFirst => found.reverse(),
            Self::ByName => found.sort_by_cached_key(named),
            Self::ByNameBackwards => found.sort_by_cached_key(|one| Reverse(named(one))),
            Self::ExpiringFirst => found.sort_by_key(expiry),
            Self::ExpiringLast => found.sort_by_key(|one| Reverse(expiry(one))),
        }
    }
}

impl FromStr for Order {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "-created" => Ok(Self::NewestFirst),
            "created" => Ok(Self::OldestFirst),
            "name" => Ok(Self::ByName),
            "-name" => Ok(Self::ByNameBackwards),
            "expires" => Ok(Self::ExpiringFirst),
            "-expires" => Ok(Self::ExpiringLast),
            _ => Err(()),
        }
    }
}
