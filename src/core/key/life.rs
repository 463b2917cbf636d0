//! Whether a key is still to be reckoned with.

use super::Key;
use crate::core::time::Timestamp;

impl Key<'_> {
    /// Neither revoked nor expired.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        !self.revoked && !self.has_expired(now)
    }

    /// Revoked by no more than `is_active`, without a time: by somebody, or because it has long expired.
    pub fn is_merely_inactive(&self) -> bool {
        !self.is_active && self.revoked_at.is_none()
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at)
    }
}
