//! Protection against guessing. `Guard::check` is the one way by which a password is held against somebody's hash, on
//! whatever route.
//!
//! Failures are counted for the login, whether there is such a user or not, and for the client's address, by all instances
//! together. A password is looked at when it is its turn, and as many have their turn at a time as there are threads that
//! hash: so of many guesses at once no more than the free ones and one for each thread are looked at, before their
//! failures count for the others.
//!
//! A stranger can keep somebody's account in its wait by guessing on. That is the price of a wait for each account: without
//! one, guesses from many addresses at one account would be free. No wait is longer than fifteen minutes, whatever the clock
//! does: all of this goes by the plain wall clock.

pub mod count;
mod redis;
mod sql;
mod turns;

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::sleep;

use self::{
    count::{Admission, FREE, Failures, Hold, wait_after_ms},
    redis::RedisGuesses,
    sql::SqlGuesses,
    turns::Turns,
};
use super::{
    Unavailable,
    hasher::{Hasher, HasherError, Outcome},
    login_name::LoginName,
    password::Password,
};
use crate::{
    clock::Clock,
    core::{
        network::holder,
        secret::{Digest, Secret},
        time::Timestamp,
    },
    database::pool::Pool,
    telemetry::metrics::Metrics,
};

const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// Why a password was not looked at, or may not be answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("too many wrong passwords")]
    TooMany { retry_after: Duration },
    #[error("too many passwords are being checked")]
    Busy,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<HasherError> for Refusal {
    fn from(error: HasherError) -> Self {
        match error {
            // To check needs no random numbers.
            HasherError::Busy | HasherError::NoRandomness => Self::Busy,
        }
    }
}

pub struct Guard {
    guesses: Guesses,
    hasher: Arc<Hasher>,
    turns: Turns,
    metrics: Arc<Metrics>,
}

impl Guard {
    pub fn new(guesses: Guesses, hasher: Arc<Hasher>, metrics: Arc<Metrics>) -> Self {
        Self {
            guesses,
            turns: Turns::new(hasher.threads()),
            hasher,
            metrics,
        }
    }

    /// Whether the password is that of the stored hash; without one, of nobody. To be run to its end even if the caller has
    /// gone: what is not counted was free.
    pub async fn check(
        &self,
        login: &LoginName,
        address: IpAddr,
        stored: Option<&str>,
        password: &Password,
    ) -> Result<Outcome, Refusal> {
        let checked = self.check_in_turn(login, address, stored, password).await;
        match checked {
            Ok(outcome) if outcome.is_right() => {}
            Ok(_) => self.metrics.accounts.guess_wrong(),
            Err(Refusal::TooMany { .. }) => self.metrics.accounts.guess_refused(),
            Err(Refusal::Unavailable(_)) => self.metrics.accounts.unavailable(),
            // Counted where there was no room.
            Err(Refusal::Busy) => {}
        }
        checked
    }

    async fn check_in_turn(
        &self,
        login: &LoginName,
        address: IpAddr,
        stored: Option<&str>,
        password: &Password,
    ) -> Result<Outcome, Refusal> {
        let subjects = Subjects::new(login, address);
        let arrived = Clock::wall();
        let turn = self
            .turns
            .wait()
            .await
            .inspect_err(|refusal| self.note_full(*refusal))?;
        let admitted = Clock::wall();
        let holds = match turn.ask(self.guesses.admit(&subjects, arrived, admitted)).await? {
            Admission::Admitted(holds) => holds,
            Admission::Refused { wait_ms } => {
                let retry_after = Duration::from_millis(wait_ms.unsigned_abs());
                return Err(Refusal::TooMany { retry_after });
            }
        };
        let checked = self.hasher.check(stored, password).await;
        let now = Clock::wall();
        if checked == Ok(Outcome::Wrong) {
            let counts = turn.ask(self.guesses.wrong(&subjects, holds, now)).await?;
            log_waits(counts, address);
        } else {
            let settlements = Settlement::of(holds, checked.is_ok());
            turn.ask(self.guesses.settle(&subjects, settlements, admitted, now))
                .await?;
        }
        checked.map_err(Refusal::from)
    }

    /// To be run beside the service, for as long as it runs.
    pub async fn keep_pruned(&self) {
        self.guesses.keep_pruned().await;
    }

    fn note_full(&self, refusal: Refusal) {
        if refusal == Refusal::Busy {
            self.metrics.accounts.hasher_busy();
        }
    }
}

/// One line for each failure that brought about a wait. A name is not shown: it may be a password that was typed into the
/// wrong field.
fn log_waits(counts: [u32; 2], address: IpAddr) {
    for (subject, count) in ["login", "address"].into_iter().zip(counts) {
        if count >= FREE {
            tracing::warn!(
                event = "guesses_wait",
                subject,
                failures = count,
                wait_seconds = wait_after_ms(count) / 1000,
                client_ip = %address,
                "wrong passwords: the next one has to wait"
            );
        }
    }
}

/// What becomes of a hold when the guess was not wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Nothing,
    Forget,
    GiveBack { before: Failures },
}

impl Settlement {
    /// Of the account and the address, after a password that was right, or was not looked at for other reasons.
    ///
    /// An address keeps its failures: else whoever has one account could guess at all others.
    pub const fn of([account, address]: [Hold; 2], is_right: bool) -> [Self; 2] {
        let account = match account {
            Hold::Free | Hold::Reserved { .. } if is_right => Self::Forget,
            account => Self::given_back(account),
        };
        [account, Self::given_back(address)]
    }

    const fn given_back(hold: Hold) -> Self {
        match hold {
            Hold::Clean | Hold::Free => Self::Nothing,
            Hold::Reserved { before } => Self::GiveBack { before },
        }
    }
}

/// For whom a guess is counted, as digests: neither names nor addresses are kept.
pub struct Subjects {
    account: String,
    address: String,
}

impl Subjects {
    pub fn new(login: &LoginName, address: IpAddr) -> Self {
        Self {
            account: Digest::of(&format!("login:{}", login.key())).to_string(),
            address: Digest::of(&format!("address:{}", holder(address))).to_string(),
        }
    }

    fn both(&self) -> [&str; 2] {
        [&self.account, &self.address]
    }

    fn in_order(&self) -> [usize; 2] {
        if self.account < self.address { [0, 1] } else { [1, 0] }
    }
}

/// Where failures are counted. Both count alike.
pub enum Guesses {
    Sql(SqlGuesses),
    Redis(Box<RedisGuesses>),
}

impl Guesses {
    pub const fn in_database(pool: Arc<Pool>) -> Self {
        Self::Sql(SqlGuesses::new(pool))
    }

    /// Connects to nothing yet.
    pub fn in_redis(url: &Secret) -> Result<Self, Unavailable> {
        Ok(Self::Redis(Box::new(RedisGuesses::new(url)?)))
    }

    /// Decides whether a guess that arrived then may be looked at now.
    pub async fn admit(
        &self,
        subjects: &Subjects,
        arrived: Timestamp,
        now: Timestamp,
    ) -> Result<Admission, Unavailable> {
        match self {
            Self::Sql(guesses) => guesses.admit(subjects, arrived, now).await,
            Self::Redis(guesses) => guesses.admit(subjects, arrived, now).await,
        }
    }

    /// Counts a failure where it is not counted yet. Returns the failures of each.
    pub async fn wrong(&self, subjects: &Subjects, holds: [Hold; 2], now: Timestamp) -> Result<[u32; 2], Unavailable> {
        match self {
            Self::Sql(guesses) => guesses.wrong(subjects, holds, now).await,
            Self::Redis(guesses) => guesses.wrong(subjects, holds, now).await,
        }
    }

    /// Undoes what an admitted guess was counted as.
    pub async fn settle(
        &self,
        subjects: &Subjects,
        settlements: [Settlement; 2],
        admitted: Timestamp,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        if settlements == [Settlement::Nothing; 2] {
            return Ok(());
        }
        match self {
            Self::Sql(guesses) => guesses.settle(subjects, settlements, admitted).await,
            Self::Redis(guesses) => guesses.settle(subjects, settlements, admitted, now).await,
        }
    }

    /// Removes some of what is forgotten and tells how much; nothing where the store does so by itself.
    pub async fn prune(&self, now: Timestamp) -> Result<u64, Unavailable> {
        match self {
            Self::Sql(guesses) => guesses.prune(now).await,
            Self::Redis(_) => Ok(0),
        }
    }

    async fn keep_pruned(&self) {
        loop {
            // What cannot be removed now is removed later, and counts for nothing meanwhile.
            let has_more = self.prune(Clock::wall()).await.is_ok_and(|removed| removed > 0);
            if !has_more {
                sleep(PRUNE_EVERY).await;
            }
        }
    }
}
