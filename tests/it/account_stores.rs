//! Users and their sessions by one script over each pair of stores: SQLite or PostgreSQL, sessions there or in Redis.

mod outages;
mod sessions;
mod users;

use std::{path::PathBuf, sync::Arc, time::Duration};

use heare_auth::{
    accounts::{
        sessions::Sessions,
        users::{NewUser, UserId, Users},
    },
    core::{secret::Secret, time::Timestamp},
    database::{Database, pool::Pool},
    redis_link::Link,
};
use tempfile::TempDir;

use crate::support::{at_once::join_all, postgres, redis::Redis, sqlite};

const NOON: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// What is there as long as this is.
enum Place {
    Sqlite(TempDir),
    Postgres(postgres::Database),
}

impl Place {
    fn both() -> [Self; 2] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        [Self::Sqlite(directory), Self::Postgres(postgres::Database::shared())]
    }

    fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(directory) => directory.path().join("heare-auth.db"),
            Self::Postgres(_) => panic!("PostgreSQL has no file"),
        }
    }

    fn database(&self) -> Database {
        match self {
            Self::Sqlite(_) => Database::Sqlite { path: self.file() },
            Self::Postgres(database) => postgres_at(&database.url()),
        }
    }

    /// As another instance would have it.
    fn pool(&self) -> Arc<Pool> {
        patient(self.database())
    }

    fn sql(&self, sql: &str) -> String {
        match self {
            Self::Sqlite(_) => sqlite::sql(&self.file(), sql),
            Self::Postgres(database) => database.sql(sql),
        }
    }
}

fn postgres_at(url: &str) -> Database {
    let place =
        heare_auth::config::DatabasePlace::from_lookup(&|name| (name == "DATABASE_URL").then(|| url.to_owned()));
    Database::new(&place.expect("a URL")).expect("it is not off")
}

/// Where it is not about time, a busy machine may take its time.
const PATIENCE: Duration = Duration::from_mins(1);

fn patient(database: Database) -> Arc<Pool> {
    Arc::new(Pool::within(PATIENCE, database))
}

fn patient_sessions(redis: &Redis) -> Sessions {
    let link = Link::within(PATIENCE, &Secret::new(redis.url()));
    Sessions::over(link.expect("a URL of Redis"))
}

fn new(login: &str) -> NewUser<'_> {
    NewUser {
        login,
        login_key: login,
        password_hash: "$argon2id$first",
        created_at: NOON,
    }
}

async fn register(users: &Users, login: &str) -> UserId {
    let id = users.register(new(login)).await.expect("the database is there");
    id.expect("the login is free")
}
