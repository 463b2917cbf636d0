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
        let redis_url = redis_url(&values)?;
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

/// As one URL, or in the parts that the older service had.
fn redis_url(values: &Values<'_>) -> Result<Option<Secret>, ConfigError> {
    let url = values.read("REDIS_URL", parse::redis_url, "a URL such as redis://localhost:6379/0")?;
    let host = values.read(
        "REDIS_HOST",
        parse::host_name,
        "a host name or an address, without a port",
    )?;
    let (None, Some(host)) = (&url, host) else {
        return Ok(url);
    };
    let port = values.read(
        "REDIS_PORT",
        |text| parse::number(text, 1, u16::MAX),
        "a number from 1 to 65535",
    )?;
    let database = values.read(
        "REDIS_DB",
        |text| parse::number(text, 0, u16::MAX),
        "a number from 0 to 65535",
    )?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let (port, database) = (port.unwrap_or(6379), database.unwrap_or(0));
    Ok(Some(Secret::new(format!("redis://{host}:{port}/{database}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(settings: &[(&str, &str)]) -> Result<Option<String>, ConfigError> {
        let found = |name: &str| settings.iter().find(|(setting, _)| *setting == name);
        let config = LimitConfig::from_lookup(&|name| found(name).map(|(_, value)| (*value).to_owned()))?;
        Ok(config.redis_url.map(|url| url.expose().to_owned()))
    }

    #[test]
    fn redis_can_be_named_in_parts() {
        for (settings, expected) in [
            (&[][..], None),
            (&[("REDIS_PORT", "6380"), ("REDIS_DB", "2")], None),
            (&[("REDIS_HOST", "cache")], Some("redis://cache:6379/0")),
            (
                &[("REDIS_HOST", "::1"), ("REDIS_PORT", "6380"), ("REDIS_DB", "2")],
                Some("redis://[::1]:6380/2"),
            ),
            (
                &[("REDIS_HOST", "cache"), ("REDIS_URL", "redis://other")],
                Some("redis://other"),
            ),
        ] {
            assert_eq!(url(settings).unwrap().as_deref(), expected, "{settings:?}");
            if let Some(expected) = expected {
                assert!(parse::redis_url(expected).is_some(), "{expected}");
            }
        }
        for (name, value) in [("REDIS_PORT", "0"), ("REDIS_DB", "first"), ("REDIS_DB", "-1")] {
            assert_eq!(
                url(&[("REDIS_HOST", "cache"), (name, value)]).unwrap_err().variable,
                name
            );
        }
        assert_eq!(
            url(&[("REDIS_HOST", "redis://cache")]).unwrap_err().variable,
            "REDIS_HOST"
        );
    }
}
