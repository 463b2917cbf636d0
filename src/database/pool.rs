//! A bounded number of connections that calls share, each call within a budget.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};

use super::{Access, Connection, Database, DatabaseError, in_time};

/// What one call may take where nothing else is said, with the wait for a connection and for the making of one.
pub const BUDGET: Duration = Duration::from_millis(1500);

/// How long an idle connection may take to show that it is alive. What is left of the budget suffices for a new one.
const SIGN_OF_LIFE: Duration = Duration::from_millis(400);

const MOST_CONNECTIONS: usize = 8;

/// A file has one writer at a time. Those who wait here have their turns in order; at the file the luckiest goes first.
const MOST_TO_A_FILE: usize = 1;

pub struct Pool {
    database: Database,
    slots: Semaphore,
    idle: Mutex<Vec<Connection>>,
    budget: Duration,
}

impl Pool {
    /// Connects to nothing yet.
    pub fn new(database: Database) -> Self {
        Self::within(BUDGET, database)
    }

    /// One in which a call may take so long.
    pub fn within(budget: Duration, database: Database) -> Self {
        let most = match database {
            Database::Sqlite { .. } => MOST_TO_A_FILE,
            Database::Postgres(_) => MOST_CONNECTIONS,
        };
        Self {
            database,
            slots: Semaphore::new(most),
            idle: Mutex::default(),
            budget,
        }
    }

    pub fn location(&self) -> String {
        self.database.location()
    }

    /// Does the work once, over one connection. Of work that failed or was not done in time nobody knows how far it came,
    /// unless all of it was between `begin` and `commit`: then nothing of it stays, or, with a lost answer to the commit, all.
    pub async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let working = async {
            let _slot = self.slots.acquire().await.expect("the pool never closes it");
            let mut connection = self.connection().await?;
            let answer = work(&mut connection).await?;
            self.idle().push(connection);
            Ok(answer)
        };
        in_time(self.budget, working).await
    }

    /// The work is not tried twice, so whether the connection is good is known before.
    async fn connection(&self) -> Result<Connection, DatabaseError> {
        // Apart, so that the lock is not held any longer.
        let idle = self.idle().pop();
        if let Some(mut connection) = idle {
            if is_alive(&mut connection).await {
                return Ok(connection);
            }
            // What ended this one has ended those beside it.
            self.idle().clear();
        }
        let mut connection = self.database.open(Access::Create).await?;
        if connection.is_sqlite() {
            // Who was told that a password is changed finds it changed after a power cut, too.
            connection.script("PRAGMA synchronous = FULL").await?;
        }
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn is_alive(connection: &mut Connection) -> bool {
    if connection.is_sqlite() {
        return !connection.is_astray();
    }
    let answer = timeout(SIGN_OF_LIFE, connection.script("SELECT 1")).await;
    answer.is_ok_and(|answer| answer.is_ok())
}
