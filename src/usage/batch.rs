//! Writes rows as a whole, and at most once: a batch that is in the tables already is not counted again.

use super::{
    aggregate::Row,
    audit::{self, AuditRow, Logged},
};
use crate::{
    core::time::Timestamp,
    database::{Connection, DatabaseError, Value},
};

/// The most rows of one transaction, so that nobody else waits long for its end.
pub const MAX_BATCH: usize = 5_000;

/// What is written together.
pub struct Batch {
    /// Counts up; with the writer's name it says which batch this is.
    pub number: i64,
    pub rows: Vec<Row>,
    pub audits: Vec<AuditRow>,
}

impl Batch {
    pub fn requests(&self) -> u64 {
        self.rows.iter().map(|row| row.requests).sum()
    }
}

const COLUMNS: usize = 13;

const USAGE_HEAD: &str = "INSERT INTO api_key_usage (key_id, hour, endpoint, status_class, requests, total_us, max_us, \
                          within_100us, within_1ms, within_10ms, within_100ms, within_1s, over_1s) VALUES ";

const USAGE_TAIL: &str = " ON CONFLICT (key_id, hour, endpoint, status_class) DO UPDATE SET \
    requests = api_key_usage.requests + excluded.requests, \
    total_us = api_key_usage.total_us + excluded.total_us, \
    max_us = CASE WHEN excluded.max_us > api_key_usage.max_us THEN excluded.max_us ELSE api_key_usage.max_us END, \
    within_100us = api_key_usage.within_100us + excluded.within_100us, \
    within_1ms = api_key_usage.within_1ms + excluded.within_1ms, \
    within_10ms = api_key_usage.within_10ms + excluded.within_10ms, \
    within_100ms = api_key_usage.within_100ms + excluded.within_100ms, \
    within_1s = api_key_usage.within_1s + excluded.within_1s, \
    over_1s = api_key_usage.over_1s + excluded.over_1s";

const LAST_USED_HEAD: &str = "INSERT INTO key_last_used (key_id, last_used_at) VALUES ";

const LAST_USED_TAIL: &str = " ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at \
    WHERE excluded.last_used_at > key_last_used.last_used_at";

pub async fn write(
    connection: &mut Connection,
    writer: &str,
    batch: &Batch,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    connection.begin().await?;
    let is_new = "INSERT INTO usage_writers (writer, batch, seen_at) VALUES ($1, $2, $3) \
                  ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, seen_at = excluded.seen_at \
                  WHERE usage_writers.batch < excluded.batch";
    let values = [writer.into(), batch.number.into(), now.as_millis().into()];
    if connection.execute(is_new, &values).await? > 0 {
        let usage: Vec<[Value; COLUMNS]> = batch.rows.iter().map(usage_values).collect();
        upsert(connection, USAGE_HEAD, &usage, USAGE_TAIL).await?;
        upsert(connection, LAST_USED_HEAD, &last_used(&batch.rows), LAST_USED_TAIL).await?;
        for row in &batch.audits {
            audit::insert(connection, row, Logged::Yes).await?;
        }
    }
    connection.commit().await
}

/// Several rows to a statement, in numbers that halve, so that there are few different statements to prepare.
async fn upsert<const N: usize>(
    connection: &mut Connection,
    head: &str,
    rows: &[[Value; N]],
    tail: &str,
) -> Result<(), DatabaseError> {
    let mut rest = rows;
    while !rest.is_empty() {
        let count = 64.min(1 << rest.len().ilog2());
        let (now, later) = rest.split_at(count);
        let sql = format!("{head}{}{tail}", places(connection.is_sqlite(), count, N));
        connection.execute(sql, now.as_flattened()).await?;
        rest = later;
    }
    Ok(())
}

/// `($1,$2),($3,$4)`, or `(?,?),(?,?)` for SQLite: there a numbered place is a name, and the driver has each of hundreds
/// of names looked for among all of them.
fn places(is_sqlite: bool, rows: usize, columns: usize) -> String {
    let place = |at: usize| if is_sqlite { "?".to_owned() } else { format!("${at}") };
    let row = |row: usize| {
        let places: Vec<String> = (1..=columns).map(|at| place(row * columns + at)).collect();
        format!("({})", places.join(","))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(",")
}

fn usage_values(row: &Row) -> [Value; COLUMNS] {
    let [first, second, third, fourth, fifth, over] = row.buckets.map(Value::from);
    [
        (&*row.key_id).into(),
        row.hour.into(),
        (&*row.endpoint).into(),
        i64::from(row.class).into(),
        row.requests.into(),
        row.total_us.into(),
        row.max_us.into(),
        first,
        second,
        third,
        fourth,
        fifth,
        over,
    ]
}

/// When each key was last good for something. The rows of a key stand together.
fn last_used(rows: &[Row]) -> Vec<[Value; 2]> {
    rows.chunk_by(|a, b| a.key_id == b.key_id)
        .filter_map(|of_key| {
            let good = of_key.iter().filter(|row| matches!(row.class, 2 | 3));
            let last = good.map(|row| row.last_ms).max()?;
            Some([(&*of_key[0].key_id).into(), last.into()])
        })
        .collect()
}

/// Removes hours that are older, the oldest first and a bounded number at a time, and writers that are gone. Tells
/// whether there may be more.
pub async fn prune(connection: &mut Connection, before: Timestamp) -> Result<bool, DatabaseError> {
    const AT_ONCE: usize = 24;
    let hours = "SELECT DISTINCT hour FROM api_key_usage WHERE hour < $1 ORDER BY hour LIMIT 24";
    let oldest = connection
        .fetch(hours, &[before.as_seconds().div_euclid(3600).into()])
        .await?;
    for hour in &oldest {
        connection
            .execute("DELETE FROM api_key_usage WHERE hour = $1", hour)
            .await?;
    }
    let writers = "DELETE FROM usage_writers WHERE seen_at < $1";
    connection.execute(writers, &[before.as_millis().into()]).await?;
    Ok(oldest.len() == AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_through_all_rows() {
        assert_eq!(places(false, 1, 3), "($1,$2,$3)");
        assert_eq!(places(false, 2, 2), "($1,$2),($3,$4)");
        assert_eq!(places(true, 2, 2), "(?,?),(?,?)");
    }
}
