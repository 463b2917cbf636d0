//! What is asked of the tables: the use of one key, of all keys, and when keys were last used.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use crate::{
    core::time::Timestamp,
    database::{Connection, DatabaseError, Row, Value},
};

/// The longest time that can be asked for, a year.
pub const MAX_HOURS: u32 = 8760;

const TOP_ENDPOINTS: i64 = 10;
const TOP_KEYS: i64 = 100;
/// Of so many keys at most it is looked up whether they were used lately.
const MOST_USED: i64 = 200_000;

/// The use of one key. The members' names are the JSON of the command line and of the service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KeyUsage {
    pub key_id: String,
    #[serde(flatten)]
    pub usage: Totals,
    pub last_used_at: Option<String>,
    pub top_endpoints: Vec<EndpointUsage>,
    /// Oldest first; hours without a request are left out.
    pub by_hour: Vec<HourUsage>,
}

/// The use of all keys together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub usage: Totals,
    /// Keys that were used at all.
    pub active_keys: u64,
    /// The busiest hundred.
    pub keys: Vec<KeyTotals>,
    pub top_endpoints: Vec<EndpointUsage>,
    pub by_hour: Vec<HourUsage>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// How many hours are added up: the present one, which is not over, and those before it.
    pub hours: u32,
    pub total_requests: u64,
    /// Since midnight in UTC, and in the present hour, whatever `hours` is.
    pub requests_today: u64,
    pub requests_this_hour: u64,
    pub average_response_time_ms: f64,
    pub max_response_time_ms: f64,
    /// The part of the requests that was not answered with success, 0 to 1.
    pub error_rate: f64,
    pub response_times: ResponseTimes,
}

impl Totals {
    /// Of nothing at all.
    pub fn none(hours: u32) -> Self {
        Self {
            hours,
            ..Self::default()
        }
    }
}

/// How many answers took so long, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResponseTimes {
    pub within_100us: u64,
    pub within_1ms: u64,
    pub within_10ms: u64,
    pub within_100ms: u64,
    pub within_1s: u64,
    pub over_1s: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeyTotals {
    pub key_id: String,
    pub total_requests: u64,
    pub error_rate: f64,
    pub average_response_time_ms: f64,
    pub last_used_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointUsage {
    pub endpoint: String,
    pub requests: u64,
    pub error_rate: f64,
    pub average_response_time_ms: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HourUsage {
    /// The hour's begin, in UTC.
    pub hour: String,
    pub requests: u64,
    pub errors: u64,
    pub average_response_time_ms: f64,
}

/// Requests, errors and their whole time stand side by side in every sum.
macro_rules! sums {
    () => {
        "CAST(SUM(requests) AS BIGINT), CAST(SUM(CASE WHEN status_class >= 4 THEN requests ELSE 0 END) AS BIGINT), \
         CAST(SUM(total_us) AS BIGINT)"
    };
}

/// Of one key, or of all when it is none.
macro_rules! chosen {
    () => {
        " FROM api_key_usage WHERE hour >= $1 AND (CAST($2 AS TEXT) IS NULL OR key_id = $2)"
    };
}

pub async fn of_key(
    connection: &mut Connection,
    key_id: &str,
    hours: u32,
    now: Timestamp,
) -> Result<KeyUsage, DatabaseError> {
    connection.begin_reading().await?;
    let found = key_usage(connection, key_id, hours, now).await;
    connection.commit().await?;
    found
}

async fn key_usage(
    connection: &mut Connection,
    key_id: &str,
    hours: u32,
    now: Timestamp,
) -> Result<KeyUsage, DatabaseError> {
    let window = Window::new(hours, now, Some(key_id));
    let last = last_used(connection, &[key_id.to_owned()]).await?;
    Ok(KeyUsage {
        usage: totals(connection, &window).await?,
        last_used_at: last.get(key_id).map(ToString::to_string),
        top_endpoints: top_endpoints(connection, &window).await?,
        by_hour: by_hour(connection, &window).await?,
        key_id: key_id.to_owned(),
    })
}

pub async fn summary(connection: &mut Connection, hours: u32, now: Timestamp) -> Result<Summary, DatabaseError> {
    connection.begin_reading().await?;
    let found = usage_of_all(connection, hours, now).await;
    connection.commit().await?;
    found
}

async fn usage_of_all(connection: &mut Connection, hours: u32, now: Timestamp) -> Result<Summary, DatabaseError> {
    let window = Window::new(hours, now, None);
    let count = concat!("SELECT COUNT(DISTINCT key_id)", chosen!());
    let active = connection.fetch(count, &window.values()).await?;
    Ok(Summary {
        usage: totals(connection, &window).await?,
        active_keys: active[0][0].count(),
        keys: top_keys(connection, &window).await?,
        top_endpoints: top_endpoints(connection, &window).await?,
        by_hour: by_hour(connection, &window).await?,
    })
}

/// Whether anything was ever written down of this key: a use, however long ago, or a change.
pub async fn has_history(connection: &mut Connection, key_id: &str) -> Result<bool, DatabaseError> {
    let sql = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM api_key_usage WHERE key_id = $1) \
               OR EXISTS (SELECT 1 FROM key_last_used WHERE key_id = $1) \
               OR EXISTS (SELECT 1 FROM audit_log WHERE key_id = $1 AND result = 'ok')";
    Ok(!connection.fetch(sql, &[key_id.into()]).await?.is_empty())
}

/// When these keys were last good for something; those never used are absent.
pub async fn last_used(
    connection: &mut Connection,
    key_ids: &[String],
) -> Result<HashMap<String, Timestamp>, DatabaseError> {
    let mut found = HashMap::with_capacity(key_ids.len());
    // A fixed number of places, so that there is one statement; the last of a shorter list stands several times.
    for ids in key_ids.chunks(8) {
        let sql = "SELECT key_id, last_used_at FROM key_last_used WHERE key_id IN ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values: Vec<Value> = (0..8).map(|at| ids[at.min(ids.len() - 1)].as_str().into()).collect();
        for row in connection.fetch(sql, &values).await? {
            found.insert(text(&row[0]), Timestamp::from_millis(row[1].int()));
        }
    }
    Ok(found)
}

/// The keys that were good for something since then; `None` when they are more than can be looked through.
pub async fn used_since(
    connection: &mut Connection,
    since: Timestamp,
) -> Result<Option<HashSet<String>>, DatabaseError> {
    let sql = "SELECT key_id FROM key_last_used WHERE last_used_at >= $1 LIMIT $2";
    let rows = connection.fetch(sql, &[since.into(), (MOST_USED + 1).into()]).await?;
    let is_whole = i64::try_from(rows.len()).is_ok_and(|found| found <= MOST_USED);
    Ok(is_whole.then(|| rows.iter().map(|row| text(&row[0])).collect()))
}

/// The use of all keys by the hour, or of these together.
pub async fn hours(
    connection: &mut Connection,
    key_ids: Option<&[String]>,
    hours: u32,
    now: Timestamp,
) -> Result<Vec<HourUsage>, DatabaseError> {
    let window = Window::new(hours, now, None);
    let Some(key_ids) = key_ids else {
        return by_hour(connection, &window).await;
    };
    let mut sums: BTreeMap<i64, [u64; 3]> = BTreeMap::new();
    // A fixed number of places, as above.
    for ids in key_ids.chunks(8) {
        let sql = concat!(
            "SELECT ",
            sums!(),
            ", hour FROM api_key_usage WHERE hour >= $1 AND key_id IN ($2, $3, $4, $5, $6, $7, $8, $9) GROUP BY hour"
        );
        let mut values: Vec<Value> = vec![window.first_hour.into()];
        values.extend((0..8).map(|at| Value::from(ids[at.min(ids.len() - 1)].as_str())));
        for row in connection.fetch(sql, &values).await? {
            let sum = sums.entry(row[3].int()).or_default();
            for (sum, value) in sum.iter_mut().zip(&row) {
                *sum += value.count();
            }
        }
    }
    let hour = |(hour, [requests, errors, total_us]): (i64, [u64; 3])| HourUsage {
        hour: Timestamp::from_millis(hour * 3_600_000).to_string(),
        requests,
        errors,
        average_response_time_ms: millis(total_us.checked_div(requests).unwrap_or_default()),
    };
    Ok(sums.into_iter().map(hour).collect())
}

/// Which rows are asked for.
struct Window<'a> {
    hours: u32,
    key_id: Option<&'a str>,
    first_hour: i64,
    this_hour: i64,
}

impl<'a> Window<'a> {
    fn new(hours: u32, now: Timestamp, key_id: Option<&'a str>) -> Self {
        let hours = hours.clamp(1, MAX_HOURS);
        let this_hour = now.as_seconds().div_euclid(3600);
        Self {
            hours,
            key_id,
            first_hour: this_hour + 1 - i64::from(hours),
            this_hour,
        }
    }

    fn values(&self) -> [Value; 2] {
        self.since(self.first_hour)
    }

    fn since(&self, hour: i64) -> [Value; 2] {
        [hour.into(), self.key_id.into()]
    }
}

async fn totals(connection: &mut Connection, window: &Window<'_>) -> Result<Totals, DatabaseError> {
    let sql = concat!(
        "SELECT ",
        sums!(),
        ", MAX(max_us), CAST(SUM(within_100us) AS BIGINT), CAST(SUM(within_1ms) AS BIGINT), \
         CAST(SUM(within_10ms) AS BIGINT), CAST(SUM(within_100ms) AS BIGINT), CAST(SUM(within_1s) AS BIGINT), \
         CAST(SUM(over_1s) AS BIGINT)",
        chosen!()
    );
    let rows = connection.fetch(sql, &window.values()).await?;
    let row = &rows[0];
    let midnight = window.this_hour - window.this_hour.rem_euclid(24);
    Ok(Totals {
        hours: window.hours,
        total_requests: row[0].count(),
        requests_today: requests_since(connection, window, midnight).await?,
        requests_this_hour: requests_since(connection, window, window.this_hour).await?,
        average_response_time_ms: average_ms(row),
        max_response_time_ms: millis(row[3].count()),
        error_rate: error_rate(row),
        response_times: ResponseTimes {
            within_100us: row[4].count(),
            within_1ms: row[5].count(),
            within_10ms: row[6].count(),
            within_100ms: row[7].count(),
            within_1s: row[8].count(),
            over_1s: row[9].count(),
        },
    })
}

async fn requests_since(connection: &mut Connection, window: &Window<'_>, hour: i64) -> Result<u64, DatabaseError> {
    let sql = concat!("SELECT CAST(SUM(requests) AS BIGINT)", chosen!());
    let rows = connection.fetch(sql, &window.since(hour)).await?;
    Ok(rows[0][0].count())
}

async fn top_endpoints(connection: &mut Connection, window: &Window<'_>) -> Result<Vec<EndpointUsage>, DatabaseError> {
    let sql = concat!(
        "SELECT ",
        sums!(),
        ", endpoint",
        chosen!(),
        " GROUP BY endpoint ORDER BY 1 DESC, endpoint LIMIT $3"
    );
    let [hour, key_id] = window.values();
    let rows = connection.fetch(sql, &[hour, key_id, TOP_ENDPOINTS.into()]).await?;
    let endpoint = |row: &Row| EndpointUsage {
        endpoint: text(&row[3]),
        requests: row[0].count(),
        error_rate: error_rate(row),
        average_response_time_ms: average_ms(row),
    };
    Ok(rows.iter().map(endpoint).collect())
}

async fn by_hour(connection: &mut Connection, window: &Window<'_>) -> Result<Vec<HourUsage>, DatabaseError> {
    let sql = concat!("SELECT ", sums!(), ", hour", chosen!(), " GROUP BY hour ORDER BY hour");
    let rows = connection.fetch(sql, &window.values()).await?;
    let hour = |row: &Row| HourUsage {
        hour: Timestamp::from_millis(row[3].int() * 3_600_000).to_string(),
        requests: row[0].count(),
        errors: row[1].count(),
        average_response_time_ms: average_ms(row),
    };
    Ok(rows.iter().map(hour).collect())
}

async fn top_keys(connection: &mut Connection, window: &Window<'_>) -> Result<Vec<KeyTotals>, DatabaseError> {
    let sql = concat!(
        "SELECT ",
        sums!(),
        ", key_id",
        chosen!(),
        " GROUP BY key_id ORDER BY 1 DESC, key_id LIMIT $3"
    );
    let [hour, key_id] = window.values();
    let rows = connection.fetch(sql, &[hour, key_id, TOP_KEYS.into()]).await?;
    let ids: Vec<String> = rows.iter().map(|row| text(&row[3])).collect();
    let last = last_used(connection, &ids).await?;
    let key = |(row, key_id): (&Row, String)| KeyTotals {
        total_requests: row[0].count(),
        error_rate: error_rate(row),
        average_response_time_ms: average_ms(row),
        last_used_at: last.get(&key_id).map(ToString::to_string),
        key_id,
    };
    Ok(rows.iter().zip(ids).map(key).collect())
}

fn text(value: &Value) -> String {
    value.text().unwrap_or_default().to_owned()
}

fn average_ms(row: &Row) -> f64 {
    millis(row[2].count().checked_div(row[0].count()).unwrap_or_default())
}

fn error_rate(row: &Row) -> f64 {
    match row[0].count() {
        0 => 0.0,
        requests => rounded(exact(row[1].count()) / exact(requests), 10_000.0),
    }
}

/// To the microsecond.
fn millis(micros: u64) -> f64 {
    exact(micros) / 1000.0
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sums below 2^52 are exact, and larger ones are for people"
)]
const fn exact(number: u64) -> f64 {
    number as f64
}
