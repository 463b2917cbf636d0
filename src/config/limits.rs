//! The settings of limits of use: where instances count together, and how many guesses a peer has.

use std::num::NonZero;

use super::{ConfigError, Lookup, Values, parse};
use crate::core::{guess::MAX_GUESSES, secret::Secret};

/// What limits of use are counted by.
#[derive(Clone, Debug)]
pub struct LimitConfig {
    /// Where all instances count together; may hold a password.
    pub redis_url: Option<Secret>,
    /// Failed verifies a minute that one peer may have.
    pub guess_limit: Option<NonZero<u32>>,
}

impl LimitConfig {
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let values = Values(lookup);
        let redis_url = values.read("REDIS_URL", parse::redis_url, "a URL such as redis://localhost:6379/0")?;
        let guess_limit = values.read(
            "GUESS_LIMIT",
            |text| parse::number(text, 0, MAX_GUESSES),
            "a number from 0 to 1000000",
        )?;
        Ok(Self {
            redis_url,
            guess_limit: guess_limit.and_then(NonZero::new),
        })
    }
}
