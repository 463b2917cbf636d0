//! The way to Redis: how to connect, what can go wrong, and a link that is made anew after it broke.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, Script, ScriptInvocation,
    aio::MultiplexedConnection,
};
use tokio::time::timeout;

use crate::core::secret::Secret;

/// What one question may take where nothing else is said, with the making of a connection.
pub const BUDGET: Duration = Duration::from_millis(1500);

/// What `probe` waits, for the connection and for each answer.
const PROBE_BUDGET: Duration = Duration::from_secs(1);

/// Writes for a moment, in a script as all writes are.
const PROBE: &str = "return redis.call('SET', KEYS[1], '', 'PX', 10)";
const PROBE_KEY: &str = "heare-auth:probe";

/// Why Redis is not asked, or did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis {}", self.sentence())]
pub enum Trouble {
    /// No answer within the budget.
    Slow,
    /// No connection, or it broke.
    Unreachable,
    /// An answer that says no, such as a wrong password or a read-only replica.
    Refuses,
}

impl Trouble {
    pub const ALL: [Self; 3] = [Self::Slow, Self::Unreachable, Self::Refuses];

    /// The word in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Slow => "redis_slow",
            Self::Unreachable => "redis_unreachable",
            Self::Refuses => "redis_refuses",
        }
    }

    /// For people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Slow => "does not answer in time",
            Self::Unreachable => "cannot be reached",
            Self::Refuses => "refuses what it is asked: a wrong password, or a server that may not be written to",
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            Self::Slow
        } else if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
            Self::Unreachable
        } else {
            Self::Refuses
        }
    }
}

/// Asks once whether it answers and can be written to, for `doctor`.
pub async fn probe(url: &Secret) -> Result<(), Trouble> {
    let slow = |_| Trouble::Slow;
    let client = open(url)?;
    let connecting = timeout(PROBE_BUDGET, connect(&client));
    let mut connection = connecting.await.map_err(slow)??;
    let ping = redis::cmd("PING");
    let answer = timeout(PROBE_BUDGET, ping.exec_async(&mut connection));
    answer.await.map_err(slow)??;
    let script = Script::new(PROBE);
    let written = script.key(PROBE_KEY);
    let answer = timeout(PROBE_BUDGET, written.invoke_async::<()>(&mut connection));
    answer.await.map_err(slow)??;
    Ok(())
}

pub fn open(url: &Secret) -> RedisResult<Client> {
    Client::open(url.expose())
}

pub async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    // Every wait is bounded by who waits.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// One connection for all that ask at the same time. It belongs to the runtime in which the first question is asked.
pub struct Link {
    client: Client,
    current: Mutex<Current>,
    /// Held by who connects, so that the others wait for that connection and make none of their own.
    connecting: tokio::sync::Mutex<()>,
    budget: Duration,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Of the connection, to tell a new one from the one that broke.
    number: u64,
}

impl Link {
    /// Connects to nothing yet.
    pub fn new(url: &Secret) -> Result<Self, Trouble> {
        Self::within(BUDGET, url)
    }

    /// One over which a question may take so long.
    pub fn within(budget: Duration, url: &Secret) -> Result<Self, Trouble> {
        Ok(Self {
            client: open(url)?,
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            budget,
        })
    }

    /// Runs a script within the budget. A connection that has lain idle may be dead, as after a restart of Redis: then the
    /// script is run once more over a new one, so a script must do no harm when it is run twice.
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Trouble> {
        let mut used = 0;
        let asking = async {
            let answer = self.run_once(script, &mut used).await;
            if !matches!(answer, Err(Trouble::Unreachable)) {
                return answer;
            }
            self.forget(used);
            self.run_once(script, &mut used).await
        };
        let answer = timeout(self.budget, asking).await.unwrap_or(Err(Trouble::Slow));
        // After a refusal, too: the address may lead to another server by now, and the one that answers over the old connection
        // be its replica since, which takes no writes. So the next question finds the way anew.
        if answer.is_err() {
            self.forget(used);
        }
        answer
    }

    async fn run_once<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>, used: &mut u64) -> Result<T, Trouble> {
        let (mut connection, number) = self.connection().await?;
        *used = number;
        Ok(script.invoke_async(&mut connection).await?)
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Trouble> {
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let _alone = self.connecting.lock().await;
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let connection = connect(&self.client).await?;
        let mut current = self.current();
        current.number += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.number))
    }

    fn found(&self) -> Option<(MultiplexedConnection, u64)> {
        let current = self.current();
        Some((current.connection.clone()?, current.number))
    }

    /// Unless another has taken its place meanwhile.
    fn forget(&self, number: u64) {
        let mut current = self.current();
        if current.number == number {
            current.connection = None;
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
