//! Limits on how often a key may be used: so many calls in a window of so many seconds.

/// In any `window_seconds` at most `max` calls, and `burst` on top of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit<'a> {
    pub name: &'a str,
    pub max: u32,
    pub burst: u32,
    pub window_seconds: u32,
}
