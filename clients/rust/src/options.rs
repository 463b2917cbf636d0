//! What a client is made with: how long answers may be used, and how long may be asked.

use std::time::Duration;

/// The longest that a good answer may be used, whatever a client is told: a revoked key works no longer than this.
pub const LONGEST_MAX_AGE: Duration = Duration::from_mins(1);

/// Whoever sets nothing has `Options::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a good answer may be used, counted from before it was asked for; zero remembers nothing.
    pub max_age: Duration,
    /// How long a refusal may be used: shorter, so that a key that was just made works soon.
    pub max_age_refused: Duration,
    /// How many answers of each kind are remembered.
    pub max_entries: usize,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// How long all attempts together may take, with the pauses between them.
    pub total: Duration,
    pub attempts: u32,
}

/// Why there is no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOptions {
    #[error("the URL of heare-auth is http:// or https:// with a host, and no user or query")]
    Url,
    #[error("max_age is at most 60 seconds, and max_age_refused not above it")]
    Age,
    #[error("attempts, max_entries and all times are above 0, and one attempt is not longer than all")]
    Bounds,
    #[error("no root certificates for https were found")]
    NoRootCertificates,
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(5),
            max_age_refused: Duration::from_secs(1),
            max_entries: 10_000,
            attempt: Duration::from_secs(2),
            total: Duration::from_secs(5),
            attempts: 3,
        }
    }
}

impl Options {
    pub(crate) fn checked(self) -> Result<Self, BadOptions> {
        if self.max_age > LONGEST_MAX_AGE || self.max_age_refused > self.max_age {
            return Err(BadOptions::Age);
        }
        let has_time = !self.attempt.is_zero() && self.attempt <= self.total;
        if !has_time || self.attempts == 0 || self.max_entries == 0 {
            return Err(BadOptions::Bounds);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_bounded_is_no_client() {
        let usual = Options::default();
        let second = Duration::from_secs(1);
        assert_eq!(usual.checked(), Ok(usual));
        let too_old = Options {
            max_age: LONGEST_MAX_AGE + second,
            ..usual
        };
        let refused_longer = Options {
            max_age: second,
            max_age_refused: second * 2,
            ..usual
        };
        for options in [too_old, refused_longer] {
            assert_eq!(options.checked(), Err(BadOptions::Age));
        }
        let no_attempt = Options { attempts: 0, ..usual };
        let no_time = Options {
            attempt: Duration::ZERO,
            ..usual
        };
        let longer_than_all = Options {
            attempt: second * 9,
            ..usual
        };
        let no_room = Options {
            max_entries: 0,
            ..usual
        };
        for options in [no_attempt, no_time, longer_than_all, no_room] {
            assert_eq!(options.checked(), Err(BadOptions::Bounds));
        }
    }
}
