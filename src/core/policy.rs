//! What the holder of a key has agreed to beyond being known: whose it is, where it comes from, what it is for, how often.

use std::ops::Deref;

pub use super::terms::Environment;
use super::{
    network::Networks,
    scope::Scope,
    window::{Limit, MAX_LIMITS},
};

/// The hourly limit of a key that has an owner and no limit of its own.
pub const OWNED_LIMIT_PER_HOUR: u32 = 1000;

/// The name of the window that `rate_limit_per_hour` sets.
pub const HOUR: &str = "hour";

/// The most further windows of a key.
pub const MAX_NAMED_LIMITS: usize = 10;

/// The part of a policy that many keys have in common; an index keeps each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    pub environment: Option<Environment>,
    pub allowed_ips: Networks,
    pub scopes: Box<[Scope<'static>]>,
    /// The hourly one first, when there is one.
    pub limits: Box<[KeyLimit]>,
}

/// A limit as a key keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyLimit {
    pub name: Box<str>,
    pub max: u32,
    pub burst: u32,
    pub window_seconds: u32,
}

impl KeyLimit {
    pub fn as_limit(&self) -> Limit<'_> {
        Limit {
            name: &self.name,
            max: self.max,
            burst: self.burst,
            window_seconds: self.window_seconds,
        }
    }
}

impl Terms {
    pub fn rate_limit_per_hour(&self) -> Option<u32> {
        let hourly = self.limits.first().filter(|limit| *limit.name == *HOUR);
        hourly.map(|limit| limit.max)
    }

    /// All limits, for whoever counts. Costs no allocation.
    pub fn limits(&self) -> Limits<'_> {
        const NONE: Limit<'static> = Limit {
            name: "",
            max: 0,
            burst: 0,
            window_seconds: 0,
        };
        let mut all = [NONE; MAX_LIMITS];
        for (place, limit) in all.iter_mut().zip(&self.limits) {
            *place = limit.as_limit();
        }
        Limits {
            all,
            count: self.limits.len().min(all.len()),
        }
    }
}

/// The limits of one key, as a slice.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    all: [Limit<'a>; MAX_LIMITS],
    count: usize,
}

impl<'a> Deref for Limits<'a> {
    type Target = [Limit<'a>];

    fn deref(&self) -> &[Limit<'a>] {
        &self.all[..self.count]
    }
}

/// What one key of an index has agreed to. Its terms are reached through it.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The owner, as the inside of a JSON string; `None` for an operator's key.
    pub user_id: Option<&'a str>,
    /// How the secret begins, for display, as the inside of a JSON string.
    pub key_prefix: Option<&'a str>,
    pub terms: &'a Terms,
    /// The members that the terms add to a good key's answer: JSON, each with a comma in front.
    pub(super) answer: &'a str,
}

impl Deref for Policy<'_> {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        self.terms
    }
}
