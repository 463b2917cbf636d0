//! Imported keys, known by a bcrypt hash alone: each secret is checked once, away from the threads that answer, and is
//! known by its digest from then on.
//!
//! What is known outlives every swap of the index and revives nothing: it only leads from a secret to a record's
//! stand-in, and what that record says is looked up in the index in force each time.

use std::{
    collections::{HashMap, HashSet},
    mem,
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
        secret::{Digest, Secret},
    },
    courtesy,
    telemetry::Telemetry,
};

/// Secrets that are checked at the same time.
const CHECKERS: usize = 2;
/// Secrets that may wait to be checked; whoever comes then is told to come again.
const WAITING: usize = 64;
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
    running: HashMap<Pair, watch::Receiver<Option<bool>>>,
}

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
    /// that share the prefix are tried when the secret comes again. Waits for the outcomes as long as is bearable.
    pub async fn settle<'p>(&self, index: &Index, presented: impl IntoIterator<Item = &'p str>) {
        let started: Vec<_> = presented
            .into_iter()
            .filter_map(|secret| self.start(index, secret))
            .collect();
        if started.is_empty() {
            return;
        }
        let all = async {
            for mut outcome in started {
                // A check that broke off has no outcome.
                let _ = outcome.wait_for(Option::is_some).await;
            }
        };
        // What takes longer goes on, and is known the next time.
        let _ = timeout(PATIENCE, all).await;
        self.shared.forget_useless(index);
    }

    fn known(&self, index: &Index, digest: &Digest) -> Option<Digest> {
        self.shared
            .known(digest)
            .filter(|stand_in| index.find(stand_in).is_some())
    }

    /// `None` where there is nothing to find out, or no room to do it.
    fn start(&self, index: &Index, presented: &str) -> Option<watch::Receiver<Option<bool>>> {
        // Most secrets begin like no imported one, and are not digested for nothing.
        index.candidates(presented).next()?;
        let digest = Digest::of(presented);
        let is_settled = index.find(&digest).is_some() || self.known(index, &digest).is_some();
        if is_settled || !can_be_hashed(presented) {
            return None;
        }
        let mut checks = self.shared.checks();
        let candidate = checks.untried(index, presented, &digest)?;
        self.join_or_start(&mut checks, presented, digest, candidate)
    }

    fn join_or_start(
        &self,
        checks: &mut Checks,
        presented: &str,
        digest: Digest,
        candidate: &Candidate,
    ) -> Option<watch::Receiver<Option<bool>>> {
        let pair = pair(&digest, &candidate.stand_in);
        if let Some(running) = checks.running.get(&pair) {
            return Some(running.clone());
        }
        let queue = self.queue.get_or_init(|| start_checkers(&self.shared));
        let (outcome, outcome_of) = watch::channel(None);
        let check = Check {
            secret: Secret::new(presented),
            digest,
            hash: candidate.hash.clone(),
            stand_in: candidate.stand_in,
            outcome,
        };
        queue.as_ref()?.try_send(check).ok()?;
        checks.running.insert(pair, outcome_of.clone());
        Some(outcome_of)
    }
}

impl Checks {
    fn untried<'i>(&self, index: &'i Index, presented: &str, digest: &Digest) -> Option<&'i Candidate> {
        index
            .candidates(presented)
            .find(|candidate| !self.wrong.contains(&pair(digest, &candidate.stand_in)))
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
mod tests {
    use super::*;
    use crate::telemetry::{log::LogQueue, metrics::Metrics};

    fn hash_of(secret: &str) -> String {
        bcrypt::hash(secret, 4).expect("the cost is allowed")
    }

    fn record(id: &str, hash: &str, more: &str) -> String {
        format!(r#"{{"id":"{id}","secret_hash":"{hash}","key_prefix":"hk_live_abc","name":"{id}"{more}}}"#)
    }

    fn index(records: &[String]) -> Index {
        Index::build(format!(r#"{{"keys":[{}]}}"#, records.join(",")).as_bytes()).unwrap()
    }

    fn imported() -> (Imported, Telemetry) {
        let telemetry = Telemetry {
            metrics: Arc::new(Metrics::default()),
            log: LogQueue::stdout().unwrap(),
        };
        (Imported::new(telemetry.clone()), telemetry)
    }

    fn computed(telemetry: &Telemetry) -> u64 {
        telemetry
            .metrics
            .take()
            .counters
            .get("verify.bcrypt")
            .copied()
            .unwrap_or_default()
    }

    async fn holder(imported: &Imported, index: &Index, presented: &str) -> Result<Option<String>, Busy> {
        imported.settle(index, [presented]).await;
        let digest = imported.digest_of(index, presented)?;
        Ok(index.find(&digest).map(|entry| entry.id.to_owned()))
    }

    #[tokio::test]
    async fn many_presentations_of_one_secret_at_once_cost_one_bcrypt() {
        let (imported, telemetry) = imported();
        let index = index(&[record("a", &hash_of("hk_live_abc1"), "")]);
        for (presented, expected) in [("hk_live_abc1", Some("a".to_owned())), ("hk_live_abc2", None)] {
            let at_once = (0..50).map(|_| holder(&imported, &index, presented));
            let answers = futures_of(at_once).await;
            assert!(
                answers.iter().all(|answer| *answer == Ok(expected.clone())),
                "{answers:?}"
            );
            assert_eq!(computed(&telemetry), 1);
        }
    }

    #[tokio::test]
    async fn records_that_share_a_prefix_are_tried_one_for_each_presentation() {
        let (imported, telemetry) = imported();
        let hashes = ["hk_live_abc1", "hk_live_abc2", "hk_live_abc3"].map(hash_of);
        let index = index(&[("a", 0), ("b", 1), ("c", 2)].map(|(id, at)| record(id, &hashes[at], "")));
        for expected in [Err(Busy), Err(Busy), Ok(Some("c".to_owned()))] {
            assert_eq!(holder(&imported, &index, "hk_live_abc3").await, expected);
            assert_eq!(computed(&telemetry), 1);
        }
        for expected in [Err(Busy), Err(Busy), Ok(None), Ok(None)] {
            assert_eq!(holder(&imported, &index, "hk_live_abc4").await, expected);
        }
        assert_eq!(computed(&telemetry), 3);
    }

    #[tokio::test]
    async fn what_is_known_outlives_the_index_and_revives_nothing() {
        let (imported, telemetry) = imported();
        let hash = hash_of("hk_live_abc1");
        let first = index(&[record("a", &hash, "")]);
        assert_eq!(
            holder(&imported, &first, "hk_live_abc1").await,
            Ok(Some("a".to_owned()))
        );
        let revoked = index(&[
            record("a", &hash, r#","is_active":false"#),
            record("b", &hash_of("x"), ""),
        ]);
        let digest = imported.digest_of(&revoked, "hk_live_abc1").unwrap();
        assert!(revoked.find(&digest).unwrap().revoked);
        let without = index(&[record("b", &hash_of("hk_live_abc9"), "")]);
        assert_eq!(holder(&imported, &without, "hk_live_abc1").await, Ok(None));
        assert_eq!(computed(&telemetry), 2, "once for a, once for b");
        let again = index(&[record("a", &hash, "")]);
        assert_eq!(
            holder(&imported, &again, "hk_live_abc1").await,
            Ok(Some("a".to_owned()))
        );
        assert_eq!(computed(&telemetry), 0);
        let hashed_anew = index(&[record("a", &hash_of("hk_live_abc1"), "")]);
        assert_eq!(
            holder(&imported, &hashed_anew, "hk_live_abc1").await,
            Ok(Some("a".to_owned()))
        );
    }

    #[tokio::test]
    async fn a_secret_without_a_matching_prefix_costs_no_bcrypt() {
        let (imported, telemetry) = imported();
        let index = index(&[record("a", &hash_of("hk_live_abc1"), "")]);
        let long = format!("hk_live_abc{}", "x".repeat(72));
        for presented in ["", "hk_live_ab", "hk_live_abd1", "sec_x", &long, "hk_live_abc\0"] {
            assert_eq!(holder(&imported, &index, presented).await, Ok(None), "{presented:?}");
        }
        assert_eq!(computed(&telemetry), 0);
        assert!(imported.queue.get().is_none(), "no thread was started");
    }

    #[test]
    fn wrong_guesses_are_remembered_in_bounded_memory() {
        let mut wrong = Generations::default();
        let guess = |number: usize| {
            let mut pair = [0; 32];
            pair[..8].copy_from_slice(&number.to_le_bytes());
            pair
        };
        for number in 0..3 * REMEMBERED {
            wrong.insert(guess(number));
        }
        assert!(wrong.young.len() + wrong.old.len() <= 2 * REMEMBERED);
        assert!((2 * REMEMBERED..3 * REMEMBERED).all(|number| wrong.contains(&guess(number))));
    }

    async fn futures_of<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut pending: Vec<_> = futures.map(Box::pin).collect();
        let mut done = Vec::new();
        std::future::poll_fn(|context| {
            pending.retain_mut(|future| match future.as_mut().poll(context) {
                std::task::Poll::Ready(value) => {
                    done.push(value);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if pending.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        done
    }
}
