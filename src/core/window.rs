//! Limits on how often a key may be used: so many calls in a window of so many seconds.

/// The name of the window that `rate_limit_per_hour` sets.
pub const HOUR: &str = "hour";

/// In any `window_seconds` at most `max` calls, and `burst` on top of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    pub name: Box<str>,
    pub max: u32,
    pub burst: u32,
    pub window_seconds: u32,
}
