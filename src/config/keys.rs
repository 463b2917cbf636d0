//! The settings that concern keys themselves: how their secrets begin, and what becomes of expired ones.

use std::{ops::RangeInclusive, time::Duration};

use super::{ConfigError, Lookup, Values};
use crate::core::id::Prefixes;

const DAY: Duration = Duration::from_hours(24);
const EXPIRED_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24 * 3650);

/// For the server and for the commands that make secrets.
pub fn key_prefixes(lookup: Lookup<'_>) -> Result<Prefixes, ConfigError> {
    let prefixes = Values(lookup).read(
        "KEY_PREFIXES",
        |text| text.parse().ok(),
        "a list such as production=hk_live_,test=hk_test_,development=hk_dev_, whose prefixes end in _ and do not begin one another",
    )?;
    Ok(prefixes.unwrap_or_default())
}

/// `None` for the word `off`.
pub(super) fn expired_after(values: &Values<'_>) -> Result<Option<Duration>, ConfigError> {
    let text = values.get("EXPIRED_AFTER").unwrap_or_default();
    if text.trim().eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let after = values.read(
        "EXPIRED_AFTER",
        |text| {
            let after = humantime::parse_duration(text).ok();
            after.filter(|after| EXPIRED_AFTER.contains(after))
        },
        "a duration from 1s to 3650days, such as 30days, or off",
    )?;
    Ok(Some(after.unwrap_or(30 * DAY)))
}
