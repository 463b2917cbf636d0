//! A certificate of any bytes is read without a panic, and its end is a time that can be written.

use heare_auth::core::certificate::not_after;

pub fn check(data: &[u8]) {
    if let Some(end) = not_after(data) {
        assert!(!end.to_string().is_empty());
    }
}
