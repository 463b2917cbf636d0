//! Two ways to look at what was counted: moving it out, for the bridge that sends differences, or leaving it where it is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Moves the value out; nothing added meanwhile is lost.
    Take,
    Leave,
}

impl Look {
    pub fn at(self, atomic: &AtomicU64) -> u64 {
        match self {
            Self::Take => atomic.swap(0, Relaxed),
            Self::Leave => atomic.load(Relaxed),
        }
    }
}
