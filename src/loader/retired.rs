//! Superseded indexes. To free one with a million keys takes a while, and no request shall pay for it by being the
//! last to hold it: each is kept here until nobody else does, and freed on a thread for such work.

use std::sync::{Arc, Mutex, PoisonError};

use super::Loaded;
use crate::courtesy;

#[derive(Default)]
pub(super) struct Retired(Mutex<Vec<Arc<Loaded>>>);

impl Retired {
    pub(super) fn push(&self, superseded: Option<Arc<Loaded>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(superseded);
        self.sweep();
    }

    /// Nobody can come to hold a superseded index any more, so one that is held only here stays so.
    pub(super) fn sweep(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unheld: Vec<_> = kept.extract_if(.., |loaded| Arc::strong_count(loaded) == 1).collect();
        drop(kept);
        if !unheld.is_empty() {
            courtesy::begin_aside(move || drop(unheld));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{index::Index, time::Timestamp};

    #[tokio::test]
    async fn a_superseded_index_lives_until_its_last_reader_lets_go_and_is_freed_elsewhere() {
        let retired = Retired::default();
        let loaded = Arc::new(Loaded {
            index: Index::empty(),
            etag: None,
            loaded_at: Timestamp::from_millis(0),
        });
        let weak = Arc::downgrade(&loaded);
        retired.push(Some(Arc::clone(&loaded)));
        retired.sweep();
        drop(loaded);
        assert_eq!(weak.strong_count(), 1);
        retired.sweep();
        while weak.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
