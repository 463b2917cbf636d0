//! What the holder of a key has agreed to beyond being known: whose it is, where it comes from, what it is for, how often.

use std::ops::Deref;

pub use super::terms::Environment;
use super::{network::Networks, scope::Scope, window::Limit};

/// The hourly limit of a key that has an owner and no limit of its own.
pub const OWNED_LIMIT_PER_HOUR: u32 = 1000;

/// The name of the window that `rate_limit_per_hour` sets.
pub const HOUR: &str = "hour";

/// The part of a policy that many keys have in common; an index keeps each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    pub environment: Option<Environment>,
    pub allowed_ips: Networks,
    pub scopes: Box<[Scope<'static>]>,
    /// The hourly one first, when there is one.
    pub limits: Box<[Limit]>,
}

impl Terms {
    pub fn rate_limit_per_hour(&self) -> Option<u32> {
        let hourly = self.limits.first().filter(|limit| *limit.name == *HOUR);
        hourly.map(|limit| limit.max)
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
