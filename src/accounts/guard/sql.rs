//! Failed guesses in the database.

use std::sync::Arc;

use super::{
    Settlement, Subjects,
    count::{Admission, FREE, FREE_KEPT_MS, Failures, Hold, MORE_KEPT_MS, MOST, decide},
};
use crate::{
    accounts::Unavailable,
    core::time::Timestamp,
    database::{Connection, DatabaseError, Row, Value, pool::Pool},
};

/// How many rows one pruning removes, so that nobody waits for it for long.
const PRUNED_AT_ONCE: i64 = 1000;

pub struct SqlGuesses {
    pool: Arc<Pool>,
}

impl SqlGuesses {
    pub const fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Most guesses only have to be looked up. Where something has to be written, it is decided anew with the rows held.
    pub(super) async fn admit(
        &self,
        subjects: &Subjects,
        arrived: Timestamp,
        now: Timestamp,
    ) -> Result<Admission, Unavailable> {
        let known = self.pool.run(async |c| known(c, subjects, false).await).await?;
        let (admission, kept) = decide(known, arrived, now);
        if kept == [None, None] {
            return Ok(admission);
        }
        let deciding = self.pool.run(async |connection| {
            connection.begin().await?;
            let known = known_and_held(connection, subjects).await?;
            let (admission, kept) = decide(known, arrived, now);
            keep(connection, subjects, kept).await?;
            connection.commit().await?;
            Ok(admission)
        });
        Ok(deciding.await?)
    }

    pub(super) async fn wrong(
        &self,
        subjects: &Subjects,
        holds: [Hold; 2],
        now: Timestamp,
    ) -> Result<[u32; 2], Unavailable> {
        let counting = self.pool.run(async |connection| {
            let mut counts = [0; 2];
            connection.begin().await?;
            // Whoever writes to both does so in this order, so that two never wait for one another.
            for at in subjects.in_order() {
                counts[at] = match holds[at] {
                    Hold::Reserved { before } => before.count + 1,
                    Hold::Clean | Hold::Free => count_failure(connection, subjects.both()[at], now).await?,
                };
            }
            connection.commit().await?;
            Ok(counts)
        });
        Ok(counting.await?)
    }

    pub(super) async fn settle(
        &self,
        subjects: &Subjects,
        settlements: [Settlement; 2],
        admitted: Timestamp,
    ) -> Result<(), Unavailable> {
        let settling = self.pool.run(async |connection| {
            connection.begin().await?;
            for at in subjects.in_order() {
                let subject = subjects.both()[at];
                match settlements[at] {
                    Settlement::Nothing => {}
                    Settlement::Forget => forget(connection, subject).await?,
                    Settlement::GiveBack { before } => give_back(connection, subject, before, admitted).await?,
                }
            }
            connection.commit().await
        });
        Ok(settling.await?)
    }

    /// Removes some of what is forgotten, and tells how much.
    pub(super) async fn prune(&self, now: Timestamp) -> Result<u64, Unavailable> {
        let sql = "DELETE FROM guesses WHERE subject IN (
                       SELECT subject FROM guesses
                       WHERE last_at <= $1 AND (failures < $2 OR last_at <= $3) ORDER BY last_at LIMIT $4)";
        let values: [Value; 4] = [
            (now.as_millis() - FREE_KEPT_MS).into(),
            i64::from(FREE).into(),
            (now.as_millis() - MORE_KEPT_MS).into(),
            PRUNED_AT_ONCE.into(),
        ];
        Ok(self.pool.run(async |c| c.execute(sql, &values).await).await?)
    }
}

async fn known(connection: &mut Connection, subjects: &Subjects, held: bool) -> Result<[Failures; 2], DatabaseError> {
    let sql = if held {
        "SELECT subject, failures, last_at FROM guesses WHERE subject IN ($1, $2) ORDER BY subject FOR UPDATE"
    } else {
        "SELECT subject, failures, last_at FROM guesses WHERE subject IN ($1, $2)"
    };
    let rows = connection.fetch(sql, &subjects.both().map(Value::from)).await?;
    Ok(subjects.both().map(|subject| {
        let row = rows.iter().find(|row| row[0].text() == Some(subject));
        row.map_or(Failures::NONE, failures)
    }))
}

/// To the end of the transaction nobody else changes these rows. In a file nobody else writes anyway.
async fn known_and_held(connection: &mut Connection, subjects: &Subjects) -> Result<[Failures; 2], DatabaseError> {
    let held = !connection.is_sqlite();
    known(connection, subjects, held).await
}

fn failures(row: &Row) -> Failures {
    Failures {
        count: u32::try_from(row[1].int()).unwrap_or(MOST),
        last_at: Timestamp::from_millis(row[2].int()),
    }
}

async fn keep(
    connection: &mut Connection,
    subjects: &Subjects,
    kept: [Option<Failures>; 2],
) -> Result<(), DatabaseError> {
    let sql = "UPDATE guesses SET failures = $2, last_at = $3 WHERE subject = $1";
    for at in subjects.in_order() {
        if let Some(failures) = kept[at] {
            let values = [
                subjects.both()[at].into(),
                i64::from(failures.count).into(),
                failures.last_at.as_millis().into(),
            ];
            connection.execute(sql, &values).await?;
        }
    }
    Ok(())
}

/// In one statement, so that of fifty at once none is lost.
async fn count_failure(connection: &mut Connection, subject: &str, now: Timestamp) -> Result<u32, DatabaseError> {
    let sql = "INSERT INTO guesses (subject, failures, last_at) VALUES ($1, 1, $2)
               ON CONFLICT (subject) DO UPDATE SET
                   failures = CASE
                       WHEN guesses.failures < $3 AND guesses.last_at <= $4 THEN 1
                       WHEN guesses.last_at <= $5 THEN 1
                       WHEN guesses.failures >= $6 THEN guesses.failures
                       ELSE guesses.failures + 1 END,
                   last_at = $2
               RETURNING failures";
    let values: [Value; 6] = [
        subject.into(),
        now.as_millis().into(),
        i64::from(FREE).into(),
        (now.as_millis() - FREE_KEPT_MS).into(),
        (now.as_millis() - MORE_KEPT_MS).into(),
        i64::from(MOST).into(),
    ];
    let rows = connection.fetch(sql, &values).await?;
    let row = rows.first().ok_or(DatabaseError::Failed)?;
    Ok(u32::try_from(row[0].int()).unwrap_or(MOST))
}

async fn forget(connection: &mut Connection, subject: &str) -> Result<(), DatabaseError> {
    let sql = "DELETE FROM guesses WHERE subject = $1";
    connection.execute(sql, &[subject.into()]).await.map(drop)
}

/// Others may have failed meanwhile: then the wait is theirs.
async fn give_back(
    connection: &mut Connection,
    subject: &str,
    before: Failures,
    admitted: Timestamp,
) -> Result<(), DatabaseError> {
    let sql = "UPDATE guesses SET failures = failures - 1,
                   last_at = CASE WHEN last_at = $2 THEN $3 ELSE last_at END
               WHERE subject = $1 AND failures > 0";
    let values: [Value; 3] = [
        subject.into(),
        admitted.as_millis().into(),
        before.last_at.as_millis().into(),
    ];
    connection.execute(sql, &values).await.map(drop)
}
