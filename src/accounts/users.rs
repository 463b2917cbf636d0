//! Users in the database, whichever it is.

use std::sync::Arc;

use super::Unavailable;
use crate::{
    core::time::Timestamp,
    database::{Connection, DatabaseError, Row, Value, pool::Pool},
};

/// Counts from 1. That of a deleted user is never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub i64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// As it was typed.
    pub login: String,
    pub password_hash: String,
    /// Sessions of another epoch are over.
    pub epoch: i64,
    pub created_at: Timestamp,
    pub last_login: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    /// Since when it is being deleted: from then on nothing else can be done with it.
    pub leaving_at: Option<Timestamp>,
}

/// What is known of a user before there is one.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    pub login: &'a str,
    /// The form in which two logins are the same.
    pub login_key: &'a str,
    pub password_hash: &'a str,
    pub created_at: Timestamp,
}

#[derive(Clone)]
pub struct Users {
    pool: Arc<Pool>,
}

impl Users {
    pub const fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// `None` when the login is taken.
    pub async fn register(&self, user: NewUser<'_>) -> Result<Option<UserId>, Unavailable> {
        let ids = self.import(&[user]).await?;
        Ok(ids[0])
    }

    /// All of them or, when it fails, none; with `None` for those whose login is taken. It is to be done in time, so a long
    /// list is given in parts.
    pub async fn import(&self, users: &[NewUser<'_>]) -> Result<Vec<Option<UserId>>, Unavailable> {
        let adding = self.pool.run(async |connection| {
            connection.begin().await?;
            let ids = add(connection, users).await?;
            if ids.iter().any(Option::is_some) {
                connection.commit().await?;
            } else {
                // Nothing was added, and nothing is to be put on disk.
                connection.roll_back().await?;
            }
            Ok(ids)
        });
        Ok(adding.await?)
    }

    pub async fn by_login(&self, login_key: &str) -> Result<Option<User>, Unavailable> {
        let sql = "SELECT id, login, password_hash, epoch, created_at, last_login, disabled_at, leaving_at
                   FROM users WHERE login_key = $1";
        self.one(sql, &[login_key.into()]).await
    }

    pub async fn by_id(&self, id: UserId) -> Result<Option<User>, Unavailable> {
        let sql = "SELECT id, login, password_hash, epoch, created_at, last_login, disabled_at, leaving_at
                   FROM users WHERE id = $1";
        self.one(sql, &[id.0.into()]).await
    }

    /// At most `limit` users with an id beyond this one, by id.
    pub async fn list(&self, after: UserId, limit: u32) -> Result<Vec<User>, Unavailable> {
        let sql = "SELECT id, login, password_hash, epoch, created_at, last_login, disabled_at, leaving_at
                   FROM users WHERE id > $1 ORDER BY id LIMIT $2";
        self.fetch(sql, &[after.0.into(), i64::from(limit).into()]).await
    }

    /// All sessions end with it but those that are carried into the epoch that this returns. `None` when the user is gone,
    /// is disabled or leaving, or has had another password since this epoch: then the one that was proven counts no more.
    pub async fn set_password(&self, id: UserId, epoch: i64, hash: &str) -> Result<Option<i64>, Unavailable> {
        let sql = "UPDATE users SET password_hash = $3, epoch = epoch + 1
                   WHERE id = $1 AND epoch = $2 AND disabled_at IS NULL AND leaving_at IS NULL RETURNING epoch";
        let values = [id.0.into(), epoch.into(), hash.into()];
        let rows = self.pool.run(async |c| c.fetch(sql, &values).await).await?;
        Ok(rows.first().map(|row| row[0].int()))
    }

    /// Puts a newer hash of the same password in the place of an older one, unless the password was changed meanwhile.
    pub async fn rehash(&self, id: UserId, old: &str, new: &str) -> Result<bool, Unavailable> {
        let sql = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        self.change(sql, &[id.0.into(), old.into(), new.into()]).await
    }

    /// Never earlier than what another instance has noted.
    pub async fn note_login(&self, id: UserId, at: Timestamp) -> Result<bool, Unavailable> {
        let sql = "UPDATE users SET last_login = $2 WHERE id = $1 AND (last_login IS NULL OR last_login <= $2)";
        self.change(sql, &[id.0.into(), at.into()]).await
    }

    /// Ends all sessions. False when there is nothing to change, as for a user who is gone.
    pub async fn disable(&self, id: UserId, at: Timestamp) -> Result<bool, Unavailable> {
        let sql = "UPDATE users SET disabled_at = $2, epoch = epoch + 1 WHERE id = $1 AND disabled_at IS NULL";
        self.change(sql, &[id.0.into(), at.into()]).await
    }

    /// False when there is nothing to change.
    pub async fn enable(&self, id: UserId) -> Result<bool, Unavailable> {
        let sql = "UPDATE users SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL";
        self.change(sql, &[id.0.into()]).await
    }

    /// Ends all sessions, for good: from here on the user can only be deleted. False for a user who is gone.
    pub async fn begin_deletion(&self, id: UserId, at: Timestamp) -> Result<bool, Unavailable> {
        let sql = "UPDATE users SET leaving_at = COALESCE(leaving_at, $2), epoch = epoch + 1 WHERE id = $1";
        self.change(sql, &[id.0.into(), at.into()]).await
    }

    /// The same by its holder, whose password was proven in this epoch. False when it is not theirs any more, but true when
    /// the deletion was begun meanwhile: it only has to be finished.
    pub async fn begin_own_deletion(&self, id: UserId, epoch: i64, at: Timestamp) -> Result<bool, Unavailable> {
        let sql = "UPDATE users SET leaving_at = COALESCE(leaving_at, $3), epoch = epoch + 1
                   WHERE id = $1 AND (epoch = $2 OR leaving_at IS NOT NULL)";
        self.change(sql, &[id.0.into(), epoch.into(), at.into()]).await
    }

    /// The login is free for others from now on. False when the user was gone already.
    pub async fn delete(&self, id: UserId) -> Result<bool, Unavailable> {
        self.change("DELETE FROM users WHERE id = $1", &[id.0.into()]).await
    }

    async fn one(&self, sql: &'static str, values: &[Value]) -> Result<Option<User>, Unavailable> {
        Ok(self.fetch(sql, values).await?.pop())
    }

    async fn fetch(&self, sql: &'static str, values: &[Value]) -> Result<Vec<User>, Unavailable> {
        let rows = self.pool.run(async |c| c.fetch(sql, values).await).await?;
        Ok(rows.iter().map(user).collect())
    }

    async fn change(&self, sql: &'static str, values: &[Value]) -> Result<bool, Unavailable> {
        Ok(self.pool.run(async |c| c.execute(sql, values).await).await? > 0)
    }
}

/// Within a transaction. Whoever adds at the same time waits for its end.
async fn add(connection: &mut Connection, users: &[NewUser<'_>]) -> Result<Vec<Option<UserId>>, DatabaseError> {
    let locked = connection
        .fetch("UPDATE user_ids SET last = last RETURNING last", &[])
        .await?;
    let first = locked.first().ok_or(DatabaseError::Failed)?[0].int();
    let mut last = first;
    let mut ids = Vec::with_capacity(users.len());
    for user in users {
        let is_new = insert(connection, last + 1, user).await?;
        last += i64::from(is_new);
        ids.push(is_new.then_some(UserId(last)));
    }
    if last > first {
        let count = "UPDATE user_ids SET last = $1";
        connection.execute(count, &[last.into()]).await?;
    }
    Ok(ids)
}

async fn insert(connection: &mut Connection, id: i64, user: &NewUser<'_>) -> Result<bool, DatabaseError> {
    let sql = "INSERT INTO users (id, login, login_key, password_hash, epoch, created_at)
               VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (login_key) DO NOTHING";
    let values = [
        id.into(),
        user.login.into(),
        user.login_key.into(),
        user.password_hash.into(),
        user.created_at.into(),
    ];
    Ok(connection.execute(sql, &values).await? > 0)
}

/// In the order of the columns above.
fn user(row: &Row) -> User {
    User {
        id: UserId(row[0].int()),
        login: row[1].text().unwrap_or_default().to_owned(),
        password_hash: row[2].text().unwrap_or_default().to_owned(),
        epoch: row[3].int(),
        created_at: Timestamp::from_millis(row[4].int()),
        last_login: time(&row[5]),
        disabled_at: time(&row[6]),
        leaving_at: time(&row[7]),
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Int(millis) => Some(Timestamp::from_millis(*millis)),
        Value::Text(_) | Value::Null => None,
    }
}
