//! Imported keys, known by a bcrypt hash alone: each secret is checked once, away from the threads that answer, and is
//! known by its digest from then on.
//!
//! What is known outlives every swap of the index and revives nothing: it only leads from a secret to a record's
//! stand-in, and what that record says is looked up in the index in force each time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockWriteGuard,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::{
    core::{
        imported::{BcryptHash, can_be_hashed},
        index::{Candidate, Index},
        network::holder,
        secret::{Digest, Secret},
    },
    courtesy,
    telemetry::Telemetry,
};

/// Secrets that are checked at the same time.
const CHECKERS: usize = 2;
/// Secrets that may wait to be checked; whoever comes then is told to come again.
const WAITING: usize = 64;
/// How many of them one guesser may have at a time, those that are being checked included, so that others find room.
const SHARE: usize = 16;
/// How long an answer waits for its check, which goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many wrong guesses are remembered at least; at most twice as many are.
const REMEMBERED: usize = 32 * 1024;
/// How many known secrets may be of no use before they are looked through.
const SPARE: usize = 1024;

/// It cannot be said yet whose secret this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// What the process has found out about imported keys. Starts no thread before there is something to check.
pub struct Imported {
    shared: Arc<Shared>,
    /// `None` when the system gave no thread.
    queue: OnceLock<Option<SyncSender<Check>>>,
}

struct Shared {
    /// From a secret's digest to the stand-in of the record that it belongs to.
    known: RwLock<HashMap<Digest, Digest>>,
    checks: Mutex<Checks>,
    telemetry: Telemetry,
}

#[derive(Default)]
struct Checks {
    /// Secret and record that do not belong together.
    wrong: Generations,
    running: HashMap<Pair, Running>,
}

/// A check that waits or is being computed.
struct Running {
    outcome: Outcome,
    /// Who was the first to ask for it.
    guesser: IpAddr,
}

/// `None` until it is known whether they belong together.
type Outcome = watch::Receiver<Option<bool>>;

/// A secret and a record: the difference of two digests, which no caller can steer.
type Pair = [u8; 32];

/// Forgets the older half when there are too many.
#[derive(Default)]
struct Generations {
    young: HashSet<Pair>,
    old: HashSet<Pair>,
}

/// One bcrypt to compute.
struct Check {
    secret: Secret,
    digest: Digest,
    hash: Box<str>,
    stand_in: Digest,
    outcome: watch::Sender<Option<bool>>,
}

impl Imported {
    pub fn new(telemetry: Telemetry) -> Self {
        Self {
            shared: Arc::new(Shared {
                known: RwLock::default(),
                checks: Mutex::default(),
                telemetry,
            }),
            queue: OnceLock::new(),
        }
    }

    /// The digest under which the index has the key that this secret belongs to, if it has one. Costs nothing but the
    /// digest where no key is imported. `Busy` while there is a record that the secret was not tried against.
    pub fn digest_of(&self, index: &Index, presented: &str) -> Result<Digest, Busy> {
        let digest = Digest::of(presented);
        if !index.has_imported() || index.find(&digest).is_some() {
            return Ok(digest);
        }
        if let Some(stand_in) = self.known(index, &digest) {
            return Ok(stand_in);
        }
        if can_be_hashed(presented) && self.shared.checks().untried(index, presented, &digest).is_some() {
            return Err(Busy);
        }
        Ok(digest)
    }

    /// Tries each of these secrets against the first record that it may belong to and was not tried against yet. Others
    /// that share the prefix are tried when the secret comes again. Waits for the outcomes as long as is bearable, and
    /// begins what is beyond the guesser's share as others are over.
    pub async fn settle<'p>(&self, index: &Index, guesser: IpAddr, presented: impl IntoIterator<Item = &'p str>) {
        let guesser = holder(guesser);
        let mut running = VecDeque::new();
        let mut left = VecDeque::new();
        for secret in presented {
            match self.start(index, guesser, secret) {
                Ok(outcome) => running.extend(outcome),
                Err(Busy) => left.push_back(secret),
            }
        }
        if running.is_empty() {
            return;
        }
        let all = async {
            while let Some(mut outcome) = running.pop_front() {
                // A check that broke off has no outcome.
                let _ = outcome.wait_for(Option::is_some).await;
                while let Some(Ok(outcome)) = left.front().map(|secret| self.start(index, guesser, secret)) {
                    left.pop_front();
                    running.extend(outcome);
                }
            }
        };
        // What has begun and takes longer goes on, and is known the next time.
        let _ = timeout(PATIENCE, all).await;
        self.shared.forget_useless(index);
    }

    fn known(&self, index: &Index, digest: &Digest) -> Option<Digest> {
        self.shared
            .known(digest)
            .filter(|stand_in| index.find(stand_in).is_some())
    }

    /// `None` where there is nothing to find out, `Busy` where there is no room to do it.
    fn start(&self, index: &Index, guesser: IpAddr, presented: &str) -> Result<Option<Outcome>, Busy> {
        // Most secrets begin like no imported one, and are not digested for nothing.
        if index.candidates(presented).next().is_none() {
            return Ok(None);
        }
        let digest = Digest::of(presented);
        let is_settled = index.find(&digest).is_some() || self.known(index, &digest).is_some();
        if is_settled || !can_be_hashed(presented) {
            return Ok(None);
        }
        let mut checks = self.shared.checks();
        let candidate = checks.untried(index, presented, &digest);
        candidate
            .map(|candidate| self.join_or_start(&mut checks, guesser, presented, digest, candidate))
            .transpose()
    }

    fn join_or_start(
        &self,
        checks: &mut Checks,
        guesser: IpAddr,
        presented: &str,
        digest: Digest,
        candidate: &Candidate,
    ) -> Result<Outcome, Busy> {
        let pair = pair(&digest, &candidate.stand_in);
        if let Some(running) = checks.running.get(&pair) {
            return Ok(running.outcome.clone());
        }
        if checks.of(guesser) >= SHARE {
            return Err(Busy);
        }
        let queue = self.queue.get_or_init(|| start_checkers(&self.shared));
        let (sender, outcome) = watch::channel(None);
        let check = Check {
            secret: Secret::new(presented),
            digest,
            hash: candidate.hash.clone(),
            stand_in: candidate.stand_in,
            outcome: sender,
        };
        let queue = queue.as_ref().ok_or(Busy)?;
        queue.try_send(check).map_err(|_| Busy)?;
        let running = Running {
            outcome: outcome.clone(),
            guesser,
        };
        checks.running.insert(pair, running);
        Ok(outcome)
    }
}

impl Checks {
    fn untried<'i>(&self, index: &'i Index, presented: &str, digest: &Digest) -> Option<&'i Candidate> {
        index
            .candidates(presented)
            .find(|candidate| !self.wrong.contains(&pair(digest, &candidate.stand_in)))
    }

    /// Looks through all that run, as there are few.
    fn of(&self, guesser: IpAddr) -> usize {
        self.running.values().filter(|check| check.guesser == guesser).count()
    }
}

impl Shared {
    fn known(&self, digest: &Digest) -> Option<Digest> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).copied()
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_off(&self, checks: &Mutex<Receiver<Check>>) {
        loop {
            let next = checks.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(check) = next else {
                return;
            };
            let hash = BcryptHash::parse(&check.hash);
            let matched = hash.is_some_and(|hash| hash.matches(check.secret.expose()));
            self.telemetry.metrics.bcrypt();
            tracing::debug!(
                event = "bcrypt_checked",
                matched,
                "a secret was checked against an imported key"
            );
            self.note(&check, matched);
            // Nobody may be waiting any more.
            let _ = check.outcome.send(Some(matched));
        }
    }

    /// What was found out is known before the check is over, so that nobody begins it again.
    fn note(&self, check: &Check, matched: bool) {
        let pair = pair(&check.digest, &check.stand_in);
        if matched {
            self.known_mut().insert(check.digest, check.stand_in);
        }
        let mut checks = self.checks();
        if !matched {
            checks.wrong.insert(pair);
        }
        checks.running.remove(&pair);
    }

    /// A record has one secret, so what is of use is no more than there are records; the rest goes when it is much.
    fn forget_useless(&self, index: &Index) {
        let is_much = self.known_mut().len() > 2 * index.imported_count() + SPARE;
        if is_much {
            self.known_mut().retain(|_, stand_in| index.find(stand_in).is_some());
        }
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, HashMap<Digest, Digest>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn contains(&self, pair: &Pair) -> bool {
        self.young.contains(pair) || self.old.contains(pair)
    }

    fn insert(&mut self, pair: Pair) {
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(pair);
    }
}

fn pair(digest: &Digest, stand_in: &Digest) -> Pair {
    std::array::from_fn(|at| digest.as_bytes()[at] ^ stand_in.as_bytes()[at])
}

/// They end when the sender is dropped.
fn start_checkers(shared: &Arc<Shared>) -> Option<SyncSender<Check>> {
    let (queue, checks) = sync_channel(WAITING);
    let checks = Arc::new(Mutex::new(checks));
    let start = |number| {
        let (shared, checks) = (Arc::clone(shared), Arc::clone(&checks));
        let checker = thread::Builder::new().name(format!("bcrypt-{number}"));
        checker.spawn(move || {
            courtesy::stand_back();
            shared.work_off(&checks);
        })
    };
    let started = (0..CHECKERS).filter(|&number| start(number).is_ok()).count();
    (started > 0).then_some(queue)
}

#[cfg(test)]
mod tests;
