//! Looks at the lines of the log on their way out, on the writer's own thread. Who writes a line never waits for whoever
//! looks, and pays nothing for it; where nobody looks, the writer asks once in many lines.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Is shown whole lines, or none at all where it is only asked, and says whether it wants to see more.
pub type Look = Box<dyn FnMut(&[u8]) -> bool + Send>;

#[derive(Default)]
pub(super) struct Taps {
    open: AtomicUsize,
    looks: Mutex<Vec<Look>>,
}

impl Taps {
    pub(super) fn add(&self, look: Look) {
        let mut looks = self.looks();
        // While no line is written, nobody else notices that they have gone.
        looks.retain_mut(|look| look(b""));
        looks.push(look);
        self.open.store(looks.len(), Relaxed);
    }

    /// To be called by the writer.
    pub(super) fn show(&self, lines: &[u8]) {
        if self.open.load(Relaxed) == 0 {
            return;
        }
        let mut looks = self.looks();
        looks.retain_mut(|look| look(lines));
        self.open.store(looks.len(), Relaxed);
    }

    fn looks(&self) -> MutexGuard<'_, Vec<Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_look_sees_what_comes_after_it_until_it_has_seen_enough() {
        let taps = Taps::default();
        taps.show(b"before\n");
        let seen = Arc::new(Mutex::new(Vec::new()));
        for enough in [1, 3] {
            let (seen, mut count) = (Arc::clone(&seen), 0);
            taps.add(Box::new(move |lines| {
                if lines.is_empty() {
                    return true;
                }
                count += 1;
                seen.lock().unwrap().push((enough, lines.to_vec()));
                count < enough
            }));
        }
        for lines in [b"a\n", b"b\n", b"c\n", b"d\n"] {
            taps.show(lines);
        }
        let seen: Vec<_> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|(who, lines)| (*who, lines[0]))
            .collect();
        assert_eq!(seen, [(1, b'a'), (3, b'a'), (3, b'b'), (3, b'c')]);
        assert_eq!(taps.open.load(Relaxed), 0);
    }

    #[test]
    fn who_has_gone_is_let_go_although_no_line_is_written() {
        let taps = Taps::default();
        for _ in 0..3 {
            let page = Arc::new(());
            let watched = Arc::downgrade(&page);
            taps.add(Box::new(move |_| watched.strong_count() > 0));
        }
        assert_eq!(taps.open.load(Relaxed), 1);
    }
}
