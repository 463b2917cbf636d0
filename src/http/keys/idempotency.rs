//! `Idempotency-Key`: the same request sent twice is carried out once and gets the same answer.
//!
//! Such an answer holds a secret that must not lie about for a day. So it is kept encrypted under a key made of the
//! caller's own secret and its `Idempotency-Key`, neither of which is kept: only whoever sends both again can open it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, header::HeaderName};
use sha2::{Digest as _, Sha256};
use tokio::{sync::OwnedMutexGuard, time::Instant};
use zeroize::Zeroizing;

use super::{answer::Answer, problem::Problem};
use crate::{core::secret::Secret, envelope::Envelope};

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub static IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// How long an answer is kept.
const KEPT: Duration = Duration::from_hours(24);
/// What all kept answers together may take, about fifteen thousand of them; the oldest are given up first.
const MAX_BYTES: usize = 32 << 20;
/// What an entry takes beside its sealed answer.
const OVERHEAD: usize = 1024;
const MAX_KEY_CHARS: usize = 255;

/// What makes two requests the same one, and what opens the answer. Nothing of it tells the texts it was made of.
pub struct Token {
    /// The caller, the route and the `Idempotency-Key`.
    name: [u8; 32],
    /// Of the body.
    content: [u8; 32],
    envelope: Envelope,
}

impl Token {
    /// `None` when the request carries no such header.
    pub fn of(
        headers: &HeaderMap,
        caller: &str,
        presented: &str,
        route: &str,
        body: &[u8],
    ) -> Result<Option<Self>, Problem> {
        let mut sent = headers.get_all(&IDEMPOTENCY_KEY).iter();
        let Some(key) = sent.next() else {
            return Ok(None);
        };
        let key = key.as_bytes();
        let is_good = (1..=MAX_KEY_CHARS).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        if !is_good || sent.next().is_some() {
            let problem = "Idempotency-Key must be sent once, with 1 to 255 visible ASCII characters";
            return Err(Problem::Invalid(problem.to_owned()));
        }
        let opener = Zeroizing::new(hash(&[presented.as_bytes(), key]));
        let opener = Zeroizing::new(URL_SAFE_NO_PAD.encode(*opener));
        Ok(Some(Self {
            name: hash(&[caller.as_bytes(), route.as_bytes(), key]),
            content: hash(&[body]),
            envelope: Envelope::new(Some(&Secret::new(opener.as_str()))),
        }))
    }
}

/// Each part with its length in front, so that no two lists of parts read alike.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The requests of the last day, as far as they fit.
pub struct Requests {
    kept: Mutex<Kept>,
    max_bytes: usize,
}

impl Default for Requests {
    fn default() -> Self {
        Self::bounded(MAX_BYTES)
    }
}

#[derive(Default)]
struct Kept {
    entries: HashMap<[u8; 32], Entry>,
    /// In the order in which they came, which is that of their ends.
    order: VecDeque<([u8; 32], Instant)>,
    bytes: usize,
}

struct Entry {
    content: [u8; 32],
    since: Instant,
    answer: Slot,
    size: usize,
}

/// Locked while the request is being carried out; then it holds the sealed answer, or nothing if there was none to keep.
type Slot = Arc<tokio::sync::Mutex<Option<Sealed>>>;

struct Sealed {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What to do with a request.
pub enum Turn {
    /// It is the first: carry it out, and tell the answer.
    First(Pending),
    /// It was carried out: this was the answer.
    Again(Answer),
}

/// A request that is being carried out. Whoever sends it again waits until this is dropped.
pub struct Pending {
    slot: OwnedMutexGuard<Option<Sealed>>,
    token: Token,
}

impl Requests {
    fn bounded(max_bytes: usize) -> Self {
        Self {
            kept: Mutex::default(),
            max_bytes,
        }
    }

    pub async fn turn(&self, token: Token) -> Result<Turn, Problem> {
        let slot = self.slot(&token)?.lock_owned().await;
        match &*slot {
            None => Ok(Turn::First(Pending { slot, token })),
            Some(sealed) => {
                let body = token.envelope.open(&sealed.body).map_err(|_| Problem::AnswerSealed)?;
                Ok(Turn::Again(Answer {
                    status: sealed.status,
                    headers: sealed.headers.clone(),
                    body: Bytes::from_owner(Zeroizing::new(body.into_owned())),
                }))
            }
        }
    }

    /// Keeps the answer for those who send the request again.
    pub fn keep(&self, mut pending: Pending, answer: &Answer) {
        let Some(body) = pending.token.envelope.seal_only(&answer.body) else {
            return;
        };
        let size = body.len();
        *pending.slot = Some(Sealed {
            status: answer.status,
            headers: answer.headers.clone(),
            body,
        });
        let mut kept = self.lock();
        if let Some(entry) = kept.entries.get_mut(&pending.token.name) {
            entry.size += size;
            kept.bytes += size;
        }
        kept.make_room(Instant::now(), self.max_bytes);
    }

    fn slot(&self, token: &Token) -> Result<Slot, Problem> {
        let now = Instant::now();
        let mut kept = self.lock();
        kept.make_room(now, self.max_bytes);
        if let Some(entry) = kept.entries.get(&token.name) {
            return if entry.content == token.content {
                Ok(entry.answer.clone())
            } else {
                Err(Problem::IdempotencyKeyReused)
            };
        }
        let answer = Slot::default();
        let entry = Entry {
            content: token.content,
            since: now,
            answer: answer.clone(),
            size: OVERHEAD,
        };
        kept.entries.insert(token.name, entry);
        kept.order.push_back((token.name, now));
        kept.bytes += OVERHEAD;
        Ok(answer)
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn make_room(&mut self, now: Instant, max_bytes: usize) {
        while let Some(&(name, since)) = self.order.front() {
            if self.bytes <= max_bytes && now.duration_since(since) < KEPT {
                return;
            }
            self.order.pop_front();
            if let Some(entry) = self.entries.remove(&name).filter(|entry| entry.since == since) {
                self.bytes -= entry.size;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn token(key: &'static str, presented: &str, body: &str) -> Token {
        let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY.clone(), HeaderValue::from_static(key))]);
        Token::of(&headers, "key_1", presented, "POST /keys", body.as_bytes())
            .unwrap()
            .unwrap()
    }

    async fn carried_out(requests: &Requests, token: Token, answer: &str) {
        match requests.turn(token).await {
            Ok(Turn::First(pending)) => requests.keep(pending, &Answer::json(StatusCode::CREATED, answer.to_owned())),
            Ok(Turn::Again(_)) | Err(_) => panic!("not the first"),
        }
    }

    async fn again(requests: &Requests, token: Token) -> Result<Option<String>, Problem> {
        Ok(match requests.turn(token).await? {
            Turn::First(_) => None,
            Turn::Again(answer) => Some(String::from_utf8(answer.body.to_vec()).unwrap()),
        })
    }

    #[tokio::test]
    async fn the_same_request_gets_the_same_answer_and_another_body_is_refused() {
        let requests = Requests::default();
        carried_out(&requests, token("a", "sec_1", "{}"), "the answer").await;
        assert_eq!(
            again(&requests, token("a", "sec_1", "{}")).await,
            Ok(Some("the answer".to_owned()))
        );
        let other = again(&requests, token("a", "sec_1", "{ }")).await;
        assert_eq!(other, Err(Problem::IdempotencyKeyReused));
        assert_eq!(again(&requests, token("b", "sec_1", "{}")).await, Ok(None));
    }

    #[tokio::test]
    async fn an_answer_opens_only_with_the_secret_that_asked_for_it() {
        let requests = Requests::default();
        carried_out(&requests, token("a", "sec_1", "{}"), "the answer").await;
        assert_eq!(
            again(&requests, token("a", "sec_2", "{}")).await,
            Err(Problem::AnswerSealed)
        );
        let kept = requests.lock();
        let slot = kept.entries.values().next().unwrap().answer.try_lock().unwrap();
        let stored = String::from_utf8_lossy(&slot.as_ref().unwrap().body).into_owned();
        assert!(!stored.contains("answer"));
    }

    #[tokio::test]
    async fn who_comes_second_waits_and_goes_first_when_the_first_has_failed() {
        let requests = Requests::default();
        let Ok(Turn::First(pending)) = requests.turn(token("a", "sec_1", "{}")).await else {
            panic!("not the first");
        };
        let mut second = Box::pin(again(&requests, token("a", "sec_1", "{}")));
        let waiting = tokio::time::timeout(Duration::ZERO, &mut second).await;
        assert!(waiting.is_err(), "the first is not done");
        drop(pending);
        assert_eq!(second.await, Ok(None));
    }

    #[tokio::test]
    async fn after_a_day_a_request_is_a_new_one() {
        let requests = Requests::default();
        carried_out(&requests, token("a", "sec_1", "{}"), "the answer").await;
        requests.lock().make_room(Instant::now() + KEPT, MAX_BYTES);
        assert_eq!(requests.lock().bytes, 0);
        assert_eq!(again(&requests, token("a", "sec_1", "{}")).await, Ok(None));
    }

    #[tokio::test]
    async fn memory_is_bounded_and_the_oldest_go_first() {
        let most = 64 * 1024;
        let requests = Requests::bounded(most);
        let large = "x".repeat(most / 4);
        for key in ["a", "b", "c", "d"] {
            carried_out(&requests, token(key, "sec_1", "{}"), &large).await;
        }
        let kept = requests.lock();
        assert!(kept.bytes <= most);
        assert_eq!(kept.order.len(), kept.entries.len());
        let last = kept.order.back().unwrap().0;
        assert_eq!(last, token("d", "sec_1", "{}").name);
    }

    #[test]
    fn a_key_that_is_no_good_is_refused_and_not_repeated() {
        for bad in ["", " ", "a b", "caf\u{e9}"] {
            let mut headers = HeaderMap::new();
            headers.insert(&IDEMPOTENCY_KEY, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            assert!(Token::of(&headers, "", "", "", b"").is_err(), "{bad:?}");
        }
        let long = "x".repeat(256);
        let mut headers = HeaderMap::new();
        headers.insert(&IDEMPOTENCY_KEY, HeaderValue::from_str(&long).unwrap());
        assert!(Token::of(&headers, "", "", "", b"").is_err());
    }
}
