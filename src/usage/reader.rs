//! Asks the tables questions over one connection of its own, one question at a time.

use std::{pin::Pin, time::Duration};

use tokio::sync::Mutex;

use crate::database::{Access, Connection, Database, DatabaseError, in_time};

/// How long a question may take, with the wait for those before it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question on its way.
pub type Asking<'c, T> = Pin<Box<dyn Future<Output = Result<T, DatabaseError>> + Send + 'c>>;

pub struct Reader {
    database: Database,
    connection: Mutex<Option<Connection>>,
}

impl Reader {
    pub fn new(database: Database) -> Self {
        Self {
            database,
            connection: Mutex::new(None),
        }
    }

    /// A connection that has lain idle may be dead, as after a restart of the database: then it is asked once more over
    /// a new one.
    pub async fn ask<T>(
        &self,
        question: impl for<'c> Fn(&'c mut Connection) -> Asking<'c, T>,
    ) -> Result<T, DatabaseError> {
        let asking = async {
            let mut idle = self.connection.lock().await;
            if let Some(mut connection) = idle.take().filter(|connection| !connection.is_astray())
                && let Ok(answer) = question(&mut connection).await
            {
                *idle = Some(connection);
                return Ok(answer);
            }
            let mut connection = self.database.open(Access::Create).await?;
            let answer = question(&mut connection).await?;
            *idle = Some(connection);
            Ok(answer)
        };
        in_time(PATIENCE, asking).await
    }
}
