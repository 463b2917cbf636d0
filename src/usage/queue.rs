//! What a verify leaves behind for the counting thread: a few bytes in a buffer, never a wait.
//!
//! There are as many buffers as threads that usually write, and each is locked only for one copy or one swap. Who
//! finds its own locked takes the next, so that nobody ever waits for anybody.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::core::time::Timestamp;

const SHARDS: usize = 16;

/// The most bytes that wait in one buffer, some fifteen thousand verifies.
const CAPACITY: usize = 1 << 20;

/// From here on the counting thread is called before its time.
const CALL_AT: usize = CAPACITY / 2;

/// Time, duration in microseconds, status, and the lengths of both texts.
const HEAD: usize = 8 + 4 + 2 + 2 + 2;

/// The longest text that is counted by itself. No key's id is longer, even with every character escaped.
pub const MAX_TEXT: usize = 2048;

/// One verify of a known key, good or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// As the index holds it: the inside of a JSON string.
    pub key_id: &'a str,
    /// What the caller says that its key was presented for, else the route.
    pub endpoint: &'a str,
    pub status: u16,
    pub took: Duration,
    pub at: Timestamp,
}

#[derive(Default)]
pub struct Queue {
    shards: [Shard; SHARDS],
    called: Notify,
}

/// Aligned to two cache lines, as processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<u8>>);

impl Queue {
    /// False when there is no room.
    pub fn push(&self, seen: &Seen<'_>) -> bool {
        let Some(mut buffer) = self.free_buffer() else {
            return false;
        };
        let (id, endpoint) = (cut(seen.key_id), cut(seen.endpoint));
        let before = buffer.len();
        if before + HEAD + id.len() + endpoint.len() > CAPACITY {
            return false;
        }
        buffer.extend_from_slice(&head(seen, id.len(), endpoint.len()));
        buffer.extend_from_slice(id.as_bytes());
        buffer.extend_from_slice(endpoint.as_bytes());
        let crossed = before < CALL_AT && buffer.len() >= CALL_AT;
        drop(buffer);
        if crossed {
            self.called.notify_one();
        }
        true
    }

    /// Returns when a buffer is half full.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    /// Hands over everything that has been pushed. `spare` is what the buffers are exchanged for.
    pub fn drain(&self, spare: &mut Vec<u8>, mut take: impl FnMut(Seen<'_>)) {
        for shard in &self.shards {
            spare.clear();
            mem::swap(&mut *shard.0.lock().unwrap_or_else(PoisonError::into_inner), spare);
            let mut rest = spare.as_slice();
            while let Some((seen, after)) = read(rest) {
                take(seen);
                rest = after;
            }
        }
    }

    fn free_buffer(&self) -> Option<MutexGuard<'_, Vec<u8>>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = NEXT.fetch_add(1, Relaxed);
        }
        let mine = MINE.with(|mine| *mine);
        (0..SHARDS).find_map(|step| match self.shards[(mine + step) % SHARDS].0.try_lock() {
            Ok(buffer) => Some(buffer),
            // Nothing panics while it holds a buffer, and what is in it would still be whole up to the last event.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

fn head(seen: &Seen<'_>, id_len: usize, endpoint_len: usize) -> [u8; HEAD] {
    let took_us = u32::try_from(seen.took.as_micros()).unwrap_or(u32::MAX);
    let length = |len: usize| u16::try_from(len).expect("a cut text is short").to_le_bytes();
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&seen.at.as_millis().to_le_bytes());
    head[8..12].copy_from_slice(&took_us.to_le_bytes());
    head[12..14].copy_from_slice(&seen.status.to_le_bytes());
    head[14..16].copy_from_slice(&length(id_len));
    head[16..].copy_from_slice(&length(endpoint_len));
    head
}

/// The first event and what follows it; `None` at the end.
fn read(bytes: &[u8]) -> Option<(Seen<'_>, &[u8])> {
    let (at, rest) = bytes.split_first_chunk()?;
    let (took_us, rest) = rest.split_first_chunk()?;
    let (status, rest) = rest.split_first_chunk()?;
    let (id_len, rest) = rest.split_first_chunk()?;
    let (endpoint_len, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_at_checked(u16::from_le_bytes(*id_len).into())?;
    let (endpoint, rest) = rest.split_at_checked(u16::from_le_bytes(*endpoint_len).into())?;
    let seen = Seen {
        key_id: str::from_utf8(id).ok()?,
        endpoint: str::from_utf8(endpoint).ok()?,
        status: u16::from_le_bytes(*status),
        took: Duration::from_micros(u32::from_le_bytes(*took_us).into()),
        at: Timestamp::from_millis(i64::from_le_bytes(*at)),
    };
    Some((seen, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<'a>(key_id: &'a str, endpoint: &'a str) -> Seen<'a> {
        Seen {
            key_id,
            endpoint,
            status: 403,
            took: Duration::from_micros(1234),
            at: Timestamp::from_millis(1_705_746_600_123),
        }
    }

    fn drained(queue: &Queue) -> Vec<(String, String)> {
        let mut found = Vec::new();
        queue.drain(&mut Vec::new(), |seen| {
            found.push((seen.key_id.to_owned(), seen.endpoint.to_owned()));
        });
        found
    }

    #[test]
    fn what_is_pushed_comes_out_once_and_whole() {
        let queue = Queue::default();
        let pushed = [seen("key_1", "/verify"), seen("key_é", ""), seen("", "/a/b?c")];
        assert!(pushed.iter().all(|seen| queue.push(seen)));
        let mut count = 0;
        queue.drain(&mut Vec::new(), |seen| {
            assert_eq!(seen, pushed[count]);
            count += 1;
        });
        assert_eq!(count, 3);
        assert_eq!(drained(&queue), []);
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_once_it_is_drained() {
        let queue = Queue::default();
        let long = "x".repeat(MAX_TEXT);
        let one = seen("key_1", &long);
        let mut taken = 0;
        while queue.push(&one) {
            taken += 1;
            assert!(taken <= CAPACITY / MAX_TEXT, "it is bounded");
        }
        assert_eq!(drained(&queue).len(), taken);
        assert!(queue.push(&one));
    }

    #[test]
    fn a_buffer_in_use_is_passed_over() {
        let queue = Queue::default();
        let held: Vec<_> = queue.shards[1..].iter().map(|shard| shard.0.lock().unwrap()).collect();
        assert!(queue.push(&seen("key_1", "/verify")), "one buffer is free");
        let last = queue.shards[0].0.lock().unwrap();
        assert!(
            !queue.push(&seen("key_1", "/verify")),
            "no buffer is free, and nobody waits"
        );
        drop((held, last));
        assert_eq!(drained(&queue).len(), 1);
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_two_characters() {
        let queue = Queue::default();
        assert!(queue.push(&seen("key_1", &"é".repeat(MAX_TEXT))));
        assert_eq!(drained(&queue)[0].1, "é".repeat(MAX_TEXT / 2));
    }
}
