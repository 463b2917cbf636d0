//! Sessions in the database.

use std::sync::Arc;

use super::{GRACE, MOST_SESSIONS, NewSession, REMEMBERED, Rotation, Session, SessionId, Successor};
use crate::{
    accounts::{Unavailable, users::UserId},
    core::{secret::Digest, time::Timestamp},
    database::{Connection, DatabaseError, Row, Value, pool::Pool},
};

/// The most sessions that are removed at once after they have expired, so that nobody waits for long.
const PRUNED_AT_ONCE: u32 = 500;

macro_rules! select_session {
    ($($rest:literal)+) => {
        concat!(
            "SELECT s.id, s.user_id, s.epoch, s.created_at, s.rotated_at, s.expires_at, s.address, s.user_agent",
            $(" ", $rest,)+
        )
    };
}

pub struct SqlSessions {
    pool: Arc<Pool>,
}

impl SqlSessions {
    pub const fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    pub(super) async fn create(&self, session: &NewSession) -> Result<(), Unavailable> {
        let creating = self.pool.run(async |connection| {
            connection.begin().await?;
            insert(connection, session).await?;
            remove_surplus(connection, session.user).await?;
            connection.commit().await
        });
        Ok(creating.await?)
    }

    pub(super) async fn by_jti(&self, jti: &Digest, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        let sql = select_session!(
            "FROM sessions s WHERE (s.jti_digest = $1 OR s.previous_jti_digest = $1) AND s.expires_at > $2"
        );
        Ok(self.fetch(sql, &[jti.into(), now.into()]).await?.pop())
    }

    pub(super) async fn by_id(&self, id: &SessionId, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        let sql = select_session!("FROM sessions s WHERE s.id = $1 AND s.expires_at > $2");
        Ok(self.fetch(sql, &[id.as_str().into(), now.into()]).await?.pop())
    }

    pub(super) async fn by_refresh(&self, refresh: &Digest, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        let sql = select_session!(
            "FROM session_refreshes r JOIN sessions s ON s.id = r.session_id AND s.rotation = r.rotation"
            "WHERE r.digest = $1 AND s.expires_at > $2"
        );
        Ok(self.fetch(sql, &[refresh.into(), now.into()]).await?.pop())
    }

    pub(super) async fn rotate(
        &self,
        presented: &Digest,
        successor: &Successor,
        now: Timestamp,
    ) -> Result<Rotation, Unavailable> {
        let rotating = self.pool.run(async |connection| {
            connection.begin().await?;
            let rotation = rotate(connection, presented, successor, now).await?;
            connection.commit().await?;
            Ok(rotation)
        });
        Ok(rotating.await?)
    }

    pub(super) async fn end(&self, user: UserId, id: &SessionId) -> Result<bool, Unavailable> {
        let sql = "DELETE FROM sessions WHERE user_id = $1 AND id = $2";
        let values = [user.0.into(), id.as_str().into()];
        Ok(self.pool.run(async |c| c.execute(sql, &values).await).await? > 0)
    }

    pub(super) async fn end_all(&self, user: UserId, except: Option<(&SessionId, i64)>) -> Result<u64, Unavailable> {
        let (id, epoch) = except.map_or(("", 0), |(id, epoch)| (id.as_str(), epoch));
        let ending = self.pool.run(async |connection| {
            connection.begin().await?;
            let carry = "UPDATE sessions SET epoch = $3 WHERE user_id = $1 AND id = $2";
            connection
                .execute(carry, &[user.0.into(), id.into(), epoch.into()])
                .await?;
            let end = "DELETE FROM sessions WHERE user_id = $1 AND id <> $2";
            let ended = connection.execute(end, &[user.0.into(), id.into()]).await?;
            connection.commit().await?;
            Ok(ended)
        });
        Ok(ending.await?)
    }

    pub(super) async fn list(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, Unavailable> {
        let sql = select_session!("FROM sessions s WHERE s.user_id = $1 AND s.expires_at > $2");
        self.fetch(sql, &[user.0.into(), now.into()]).await
    }

    /// Removes some of those that have expired and tells how many.
    pub async fn prune(&self, now: Timestamp) -> Result<u64, Unavailable> {
        let sql = "DELETE FROM sessions WHERE id IN
                   (SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
        let values = [now.into(), i64::from(PRUNED_AT_ONCE).into()];
        Ok(self.pool.run(async |c| c.execute(sql, &values).await).await?)
    }

    async fn fetch(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Session>, Unavailable> {
        let rows = self.pool.run(async |c| c.fetch(sql, values).await).await?;
        Ok(rows.iter().filter_map(session).collect())
    }
}

async fn insert(connection: &mut Connection, session: &NewSession) -> Result<(), DatabaseError> {
    let sql =
        "INSERT INTO sessions (id, user_id, epoch, jti_digest, rotation, created_at, rotated_at, expires_at, address,
               user_agent) VALUES ($1, $2, $3, $4, 0, $5, $5, $6, $7, $8)";
    let values = [
        session.id.as_str().into(),
        session.user.0.into(),
        session.epoch.into(),
        (&session.jti).into(),
        session.created_at.into(),
        session.expires_at.into(),
        session.device.address.to_string().as_str().into(),
        session.device.user_agent.as_deref().into(),
    ];
    connection.execute(sql, &values).await?;
    remember(connection, &session.refresh, session.id.as_str(), 0).await
}

async fn remember(
    connection: &mut Connection,
    refresh: &Digest,
    session: &str,
    rotation: i64,
) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO session_refreshes (digest, session_id, rotation) VALUES ($1, $2, $3)";
    let values = [refresh.into(), session.into(), rotation.into()];
    connection.execute(sql, &values).await.map(drop)
}

async fn remove_surplus(connection: &mut Connection, user: UserId) -> Result<(), DatabaseError> {
    let sql = "DELETE FROM sessions WHERE id IN
               (SELECT id FROM sessions WHERE user_id = $1 ORDER BY expires_at DESC, id LIMIT 100 OFFSET $2)";
    let values = [user.0.into(), i64::from(MOST_SESSIONS).into()];
    connection.execute(sql, &values).await.map(drop)
}

/// Within a transaction. Whoever refreshes the same session at the same time waits for its end.
async fn rotate(
    connection: &mut Connection,
    presented: &Digest,
    successor: &Successor,
    now: Timestamp,
) -> Result<Rotation, DatabaseError> {
    let lock = "UPDATE sessions SET rotation = rotation
                WHERE id = (SELECT session_id FROM session_refreshes WHERE digest = $1)";
    connection.execute(lock, &[presented.into()]).await?;
    let sql = select_session!(
        ", s.rotation, r.rotation FROM session_refreshes r JOIN sessions s ON s.id = r.session_id"
        "WHERE r.digest = $1 AND s.expires_at > $2"
    );
    let rows = connection.fetch(sql, &[presented.into(), now.into()]).await?;
    let Some((found, newest, theirs)) = rows
        .first()
        .and_then(|row| Some((session(row)?, row[8].int(), row[9].int())))
    else {
        return Ok(Rotation::Unknown);
    };
    // In either direction: a clock that was set back keeps no grace open.
    let since_ms = successor.made_at.as_millis().abs_diff(found.rotated_at.as_millis());
    let is_recent = u128::from(since_ms) <= GRACE.as_millis();
    if theirs == newest {
        return advance(connection, found, newest + 1, successor).await;
    }
    if theirs == newest - 1 && is_recent {
        return retry(connection, found, newest, successor).await;
    }
    let end = "DELETE FROM sessions WHERE id = $1";
    connection.execute(end, &[found.id.as_str().into()]).await?;
    Ok(Rotation::Reused(found))
}

async fn advance(
    connection: &mut Connection,
    mut session: Session,
    rotation: i64,
    successor: &Successor,
) -> Result<Rotation, DatabaseError> {
    let id = session.id.as_str();
    let sql = "UPDATE sessions SET previous_jti_digest = jti_digest, jti_digest = $2, rotation = $3, rotated_at = $4,
               expires_at = $5 WHERE id = $1";
    let values = [
        id.into(),
        (&successor.jti).into(),
        rotation.into(),
        successor.made_at.into(),
        successor.expires_at.into(),
    ];
    connection.execute(sql, &values).await?;
    remember(connection, &successor.refresh, id, rotation).await?;
    let forget = "DELETE FROM session_refreshes WHERE session_id = $1 AND rotation <= $2";
    let forgotten = rotation - i64::from(REMEMBERED);
    connection.execute(forget, &[id.into(), forgotten.into()]).await?;
    session.rotated_at = successor.made_at;
    session.expires_at = successor.expires_at;
    Ok(Rotation::Rotated(session))
}

/// What was reckoned with another key than the first time is not in force, and must not be handed out.
async fn retry(
    connection: &mut Connection,
    session: Session,
    newest: i64,
    successor: &Successor,
) -> Result<Rotation, DatabaseError> {
    let sql = "SELECT COUNT(*) FROM session_refreshes WHERE digest = $1 AND session_id = $2 AND rotation = $3";
    let values = [(&successor.refresh).into(), session.id.as_str().into(), newest.into()];
    let rows = connection.fetch(sql, &values).await?;
    let is_in_force = rows.first().is_some_and(|row| row[0].int() > 0);
    Ok(if is_in_force {
        Rotation::Retried(session)
    } else {
        Rotation::Unknown
    })
}

/// In the order of the columns above. What cannot be read is no session.
fn session(row: &Row) -> Option<Session> {
    Some(Session {
        id: SessionId::parse(row[0].text()?)?,
        user: UserId(row[1].int()),
        epoch: row[2].int(),
        created_at: Timestamp::from_millis(row[3].int()),
        rotated_at: Timestamp::from_millis(row[4].int()),
        expires_at: Timestamp::from_millis(row[5].int()),
        address: row[6].text()?.to_owned(),
        user_agent: row[7].text().map(ToOwned::to_owned),
    })
}
