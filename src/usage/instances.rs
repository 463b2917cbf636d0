//! Which instances of the service there are and how fresh their keys are: each writes a row of its own every few seconds,
//! and whoever asks reads them all.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    core::time::Timestamp,
    database::{Connection, DatabaseError, Row, Value},
};

/// How often an instance writes its row.
const EVERY: Duration = Duration::from_secs(5);
/// An instance that was not heard of for this long is not there any more. Before, whoever asks sees since when it is silent.
const GONE_MS: i64 = 300_000;
/// How long its row is left lying.
const FORGOTTEN_MS: i64 = 600_000;
/// More are not shown.
const MOST: i64 = 200;

/// What an instance says of itself, once.
pub struct Announced {
    pub name: String,
    pub version: &'static str,
    pub started_at: Timestamp,
    /// Asked each time.
    pub standing: Box<dyn Fn() -> Standing + Send + Sync>,
}

/// How fresh the keys of an instance are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub generation: Option<u64>,
    pub keys: usize,
    pub loaded_at: Option<Timestamp>,
    pub age: Option<Duration>,
}

/// An instance, as it was when it was heard of last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub name: String,
    pub version: String,
    pub started_at: Timestamp,
    pub standing: Standing,
    pub seen_at: Timestamp,
    /// The one that asks.
    pub is_own: bool,
}

/// When the row is to be written the next time.
pub struct Due(Instant);

impl Due {
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// True every few seconds.
    pub fn is_over(&mut self) -> bool {
        let is_over = self.0 <= Instant::now();
        if is_over {
            self.0 = Instant::now() + EVERY;
        }
        is_over
    }
}

/// Writes the row of this instance, and forgets those that were not heard of for long.
pub async fn announce(
    connection: &mut Connection,
    id: &str,
    announced: &Announced,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO instances (id, name, version, started_at, generation, keys, loaded_at, age_ms, seen_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET \
               generation = excluded.generation, keys = excluded.keys, loaded_at = excluded.loaded_at, \
               age_ms = excluded.age_ms, seen_at = excluded.seen_at";
    let standing = (announced.standing)();
    let values = [
        id.into(),
        announced.name.as_str().into(),
        announced.version.into(),
        announced.started_at.into(),
        or_none(standing.generation.and_then(|number| i64::try_from(number).ok())),
        or_none(i64::try_from(standing.keys).ok()),
        or_none(standing.loaded_at.map(Timestamp::as_millis)),
        or_none(standing.age.and_then(|age| i64::try_from(age.as_millis()).ok())),
        now.into(),
    ];
    connection.execute(sql, &values).await?;
    let forget = "DELETE FROM instances WHERE seen_at < $1";
    let before = now.as_millis() - FORGOTTEN_MS;
    connection.execute(forget, &[before.into()]).await.map(drop)
}

/// An instance that stops is not waited for.
pub async fn leave(connection: &mut Connection, id: &str) -> Result<(), DatabaseError> {
    let sql = "DELETE FROM instances WHERE id = $1";
    connection.execute(sql, &[id.into()]).await.map(drop)
}

/// Those that are there, by name.
pub async fn list(connection: &mut Connection, own: &str, now: Timestamp) -> Result<Vec<Instance>, DatabaseError> {
    let sql = "SELECT name, version, started_at, generation, keys, loaded_at, age_ms, seen_at, id FROM instances \
               WHERE seen_at >= $1 ORDER BY name, started_at, id LIMIT $2";
    let since = now.as_millis() - GONE_MS;
    let rows = connection.fetch(sql, &[since.into(), MOST.into()]).await?;
    Ok(rows.iter().map(|row| instance(row, own)).collect())
}

fn instance(row: &Row, own: &str) -> Instance {
    let text = |at: usize| row[at].text().unwrap_or_default().to_owned();
    let standing = Standing {
        generation: known(&row[3]),
        keys: known(&row[4])
            .and_then(|keys| usize::try_from(keys).ok())
            .unwrap_or_default(),
        loaded_at: known(&row[5]).map(|_| Timestamp::from_millis(row[5].int())),
        age: known(&row[6]).map(Duration::from_millis),
    };
    Instance {
        name: text(0),
        version: text(1),
        started_at: Timestamp::from_millis(row[2].int()),
        standing,
        seen_at: Timestamp::from_millis(row[7].int()),
        is_own: row[8].text() == Some(own),
    }
}

/// As the table has it: -1 is none.
fn or_none(number: Option<i64>) -> Value {
    number.unwrap_or(-1).into()
}

fn known(value: &Value) -> Option<u64> {
    u64::try_from(value.int()).ok()
}
