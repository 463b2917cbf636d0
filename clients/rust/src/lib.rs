//! Asks heare-auth whether API keys are good.
//!
//! ```no_run
//! # async fn answer(api_key: &str, peer: std::net::IpAddr) -> Result<(), Box<dyn std::error::Error>> {
//! use heare_auth_client::{Client, Options, Question};
//!
//! let client = Client::new("https://auth.example.com", Options::default())?;
//! match client.verify(Question::of(api_key).from(peer).requiring(&["orders:read"])).await {
//!     Ok(key) => println!("{} may", key.name),
//!     Err(refusal) => println!("answer {}, and wait for {:?}", refusal.status(), refusal.retry_after()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Answers are remembered for a few seconds, under a digest that is worth nothing elsewhere; the key itself is not kept.
//! Those for keys with limits never are, because each use has to be counted. One client, and its clones, serve a process.

mod answer;
mod memory;
mod options;
mod peer;
mod question;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use ring::{hmac, rand::SystemRandom};
use tokio::{sync::watch, time::Instant};

pub use answer::{Code, Key, NotAllowed, Outcome};
pub use options::{BadOptions, LONGEST_MAX_AGE, Options};
pub use question::Question;

use memory::{Age, Memory, Moment};
use peer::Peer;
use question::Digest;

const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Cheap to clone; all clones share one memory and one pool of connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    peer: Peer,
    options: Options,
    random: SystemRandom,
    digest_key: hmac::Key,
    state: Mutex<State>,
}

/// What is known and what is being asked. `epoch` grows whenever all of it is forgotten.
struct State {
    epoch: u64,
    good: Memory<Arc<Key>>,
    refused: Memory<NotAllowed>,
    limited: Memory<()>,
    flights: HashMap<Digest, Flight>,
}

/// A question on its way; whoever wants to know the same waits for it.
type Flight = watch::Receiver<Option<Asked>>;

#[derive(Clone)]
struct Asked {
    outcome: Outcome,
    is_limited: bool,
}

enum Step {
    Known(Outcome),
    AskAlone,
    Lead(Flight),
    Follow(Flight),
}

impl Client {
    /// `url` is where the service is, such as `https://auth.example.com`.
    pub fn new(url: &str, options: Options) -> Result<Self, BadOptions> {
        let options = options.checked()?;
        let random = SystemRandom::new();
        // Keyed by a number that this process alone knows, so that not even a guess can be checked against it elsewhere.
        let digest_key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| BadOptions::NoRandomness)?;
        Ok(Self(Arc::new(Inner {
            peer: Peer::new(url)?,
            random,
            digest_key,
            state: Mutex::new(State::new(0, options.max_entries)),
            options,
        })))
    }

    /// Whose a good key is, or why nobody is let in; at most `Options::total` later. Needs a Tokio runtime with time and IO.
    pub async fn verify(&self, question: Question<'_>) -> Outcome {
        if !question.may_be_a_key() {
            return Err(NotAllowed::malformed());
        }
        let deadline = Instant::now() + self.0.options.total;
        let digest = question.digest(&self.0.digest_key);
        let asked = match self.step(digest, &question, deadline) {
            Step::Known(outcome) => return outcome,
            Step::AskAlone => self.0.ask(question.body(), deadline).await,
            Step::Lead(flight) => landed(flight, deadline).await,
            Step::Follow(flight) => match landed(flight, deadline).await {
                // Where limits apply, the answer that was waited for was another's use of the key.
                another if another.is_limited => self.0.ask(question.body(), deadline).await,
                shared => shared,
            },
        };
        asked.outcome
    }

    /// Nothing that was asked before this call is used after it; for who learns of a revocation.
    pub fn forget_all(&self) {
        let mut state = self.0.state();
        *state = State::new(state.epoch + 1, self.0.options.max_entries);
    }

    fn step(&self, digest: Digest, question: &Question<'_>, deadline: Instant) -> Step {
        let mut state = self.0.state();
        if state.limited.get(&digest).is_some() {
            return Step::AskAlone;
        }
        if let Some(known) = state.known(&digest) {
            return Step::Known(known);
        }
        // A flight whose task is gone without a word will never land.
        let underway = state.flights.get(&digest).filter(|flight| flight.has_changed().is_ok());
        if let Some(flight) = underway {
            return Step::Follow(flight.clone());
        }
        let (sender, flight) = watch::channel(None);
        state.flights.insert(digest, flight.clone());
        let (inner, epoch, body) = (Arc::clone(&self.0), state.epoch, question.body());
        // A task of its own, so that the others get their answer even if the first of them goes away.
        tokio::spawn(async move {
            let asked_at = Moment::now();
            let asked = inner.ask(body, deadline).await;
            inner.remember(digest, epoch, asked_at, &asked);
            sender.send_replace(Some(asked));
        });
        Step::Lead(flight)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Nothing that is done under the lock leaves half a state behind, so a panic of another thread does not matter.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, body: Bytes, deadline: Instant) -> Asked {
        let mut retry_after = None;
        for attempt in 0..self.options.attempts {
            let ends = deadline.min(Instant::now() + self.options.attempt);
            let answer = self.peer.ask(body.clone(), ends).await;
            if let Some(outcome) = answer.outcome {
                let is_limited = answer.is_limited;
                return Asked { outcome, is_limited };
            }
            retry_after = answer.retry_after;
            let pause = retry_after.unwrap_or_default() + self.jitter(attempt);
            let is_last = attempt + 1 == self.options.attempts;
            if !answer.may_pass || is_last || Instant::now() + pause >= deadline {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        Asked::unavailable(retry_after)
    }

    /// Between nothing and a pause that doubles, so that many clients do not come back at the same moment.
    fn jitter(&self, attempt: u32) -> Duration {
        let longest = FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(10));
        let share = ring::rand::generate::<[u8; 1]>(&self.random).map_or(255, |byte| byte.expose()[0]);
        longest * u32::from(share) / 255
    }

    fn remember(&self, digest: Digest, epoch: u64, asked_at: Moment, asked: &Asked) {
        let mut state = self.state();
        if state.epoch != epoch {
            return; // It began before `forget_all`.
        }
        state.flights.remove(&digest);
        let good = Age {
            asked_at,
            longest: self.options.max_age,
            ends: None,
        };
        match &asked.outcome {
            _ if asked.is_limited => state.limited.put(
                digest,
                (),
                Age {
                    longest: LONGEST_MAX_AGE,
                    ..good
                },
            ),
            Ok(key) => state.good.put(
                digest,
                Arc::clone(key),
                Age {
                    ends: key.ends(),
                    ..good
                },
            ),
            Err(refusal) if refusal.may_be_remembered() => {
                let longest = self.options.max_age_refused;
                state.refused.put(digest, refusal.clone(), Age { longest, ..good });
            }
            Err(_) => {}
        }
    }
}

impl State {
    fn new(epoch: u64, max_entries: usize) -> Self {
        Self {
            epoch,
            good: Memory::new(max_entries),
            refused: Memory::new(max_entries),
            limited: Memory::new(max_entries),
            flights: HashMap::new(),
        }
    }

    fn known(&mut self, digest: &Digest) -> Option<Outcome> {
        let good = self.good.get(digest).map(Ok);
        good.or_else(|| self.refused.get(digest).map(Err))
    }
}

impl Asked {
    fn unavailable(retry_after: Option<Duration>) -> Self {
        Self {
            outcome: Err(NotAllowed::Unavailable { retry_after }),
            is_limited: false,
        }
    }
}

/// What came of a question; that nobody could say if its task is gone or the time is over.
async fn landed(mut flight: Flight, deadline: Instant) -> Asked {
    let landed = tokio::time::timeout_at(deadline, flight.wait_for(Option::is_some)).await;
    let asked = landed.ok().and_then(Result::ok).and_then(|asked| asked.clone());
    asked.unwrap_or_else(|| Asked::unavailable(None))
}
