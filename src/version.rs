//! Which program this is: its version, and the commit it was built from, as `build.rs` found it out.

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit's name, or `unknown`.
pub const COMMIT: &str = match option_env!("HEARE_AUTH_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The day of that commit, or the one that was given as that of the build.
pub const DATE: Option<&str> = option_env!("HEARE_AUTH_DATE");

/// `heare-auth 1.0.0 (0123456789ab 2026-01-31)`.
pub fn line() -> String {
    match DATE {
        Some(date) => format!("heare-auth {VERSION} ({COMMIT} {date})"),
        None => format!("heare-auth {VERSION} ({COMMIT})"),
    }
}
