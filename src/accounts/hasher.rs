//! Makes the hashes of passwords and checks passwords against them: Argon2id on threads of its own, as many as there are
//! cores, so that a flood of logins takes neither the threads nor the memory of anything else.

mod pool;
mod stored;

use std::{io, num::NonZero, sync::Arc, time::Instant};

use self::{
    pool::{Memory, Pool},
    stored::{StoredHash, argon2id, phc_string},
};
use super::password::{NewPassword, Password};
use crate::{core::secret::Secret, telemetry::metrics::Metrics};

/// Fills a buffer with random bytes, and says whether the system had any.
pub type Fill = fn(&mut [u8]) -> bool;

pub const SALT_BYTES: usize = 16;
pub const OUTPUT_BYTES: usize = 32;

/// Why there is no hash, or no answer about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HasherError {
    /// More are waiting than could be done in a bearable time.
    #[error("too many passwords are being hashed")]
    Busy,
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Wrong,
    Right,
    /// Right, and the hash is weaker than one that would be made now: a new one should take its place.
    RightButOld,
}

impl Outcome {
    pub const fn is_right(self) -> bool {
        matches!(self, Self::Right | Self::RightButOld)
    }
}

/// A new hash, as a PHC string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One for the process. Its threads end with it.
pub struct Hasher {
    pool: Pool,
    fill: Fill,
    /// The hash of no password, which costs what any other does: it is checked where there is no user.
    nobodys: Arc<str>,
    metrics: Arc<Metrics>,
}

impl Hasher {
    pub fn start(threads: NonZero<usize>, fill: Fill, metrics: Arc<Metrics>) -> io::Result<Self> {
        let mut output = [0; OUTPUT_BYTES];
        let salt = random_salt(fill).filter(|_| fill(&mut output));
        let salt = salt.ok_or_else(|| io::Error::other(HasherError::NoRandomness))?;
        Ok(Self {
            pool: Pool::start(threads)?,
            fill,
            // That a password has this very output is as likely as that it is guessed by its output.
            nobodys: phc_string(&salt, &output).into(),
            metrics,
        })
    }

    pub fn threads(&self) -> NonZero<usize> {
        self.pool.threads()
    }

    pub async fn hash(&self, password: &NewPassword) -> Result<PasswordHash, HasherError> {
        let salt = random_salt(self.fill).ok_or(HasherError::NoRandomness)?;
        let text = password.to_hash();
        let hashing = move |memory: &mut Memory| PasswordHash(phc_string(&salt, &output_of(&text, &salt, memory)));
        self.run(hashing).await
    }

    /// Checks against the stored hash, or, where there is no user, against nobody's, which takes the same time.
    pub async fn check(&self, stored: Option<&str>, password: &Password) -> Result<Outcome, HasherError> {
        let nobodys = Arc::clone(&self.nobodys);
        let stored = stored.map_or_else(|| Arc::clone(&nobodys), Into::into);
        let password = password.clone();
        self.run(move |memory| check(&stored, &nobodys, &password, memory))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, HasherError> {
        let metrics = Arc::clone(&self.metrics);
        let timed = move |memory: &mut Memory| {
            let began = Instant::now();
            let answer = work(memory);
            metrics.accounts.hashed(began.elapsed());
            answer
        };
        let answer = self.pool.run(timed).await;
        if answer.is_none() {
            self.metrics.accounts.hasher_busy();
        }
        answer.ok_or(HasherError::Busy)
    }
}

/// Whether a stored hash is one that passwords can be checked against; no password is right for any other.
pub fn is_usable(stored: &str) -> bool {
    StoredHash::parse(stored).is_some()
}

fn check(stored: &str, nobodys: &str, password: &Password, memory: &mut Memory) -> Outcome {
    let Some(hash) = StoredHash::parse(stored) else {
        tracing::warn!(
            event = "password_hash_unusable",
            "a stored password hash cannot be checked: it is malformed, or costs more than is allowed"
        );
        // As long as any other wrong password takes.
        let nobodys = StoredHash::parse(nobodys).expect("the hasher made it");
        nobodys.matches(password, memory);
        return Outcome::Wrong;
    };
    match (hash.matches(password, memory), hash.is_old()) {
        (false, _) => Outcome::Wrong,
        (true, false) => Outcome::Right,
        (true, true) => Outcome::RightButOld,
    }
}

fn output_of(text: &Secret, salt: &[u8], memory: &mut Memory) -> [u8; OUTPUT_BYTES] {
    let mut output = [0; OUTPUT_BYTES];
    let hashed = memory.hash(&argon2id(), text.expose().as_bytes(), salt, &mut output);
    hashed.expect("the terms are fixed and within Argon2's own bounds");
    output
}

fn random_salt(fill: Fill) -> Option<[u8; SALT_BYTES]> {
    let mut salt = [0; SALT_BYTES];
    fill(&mut salt).then_some(salt)
}

#[cfg(test)]
mod tests;
