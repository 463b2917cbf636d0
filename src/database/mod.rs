//! The two databases behind one face: open, run a statement, read rows. Statements are written so that both take them.
//!
//! A connection that has failed is to be dropped: what it was in the middle of is undone with it.

mod failure;
pub mod pool;
pub mod schema;

use std::{
    fs::{self, Metadata, OpenOptions},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection as _, Executor, Row as _, TypeInfo, ValueRef,
    postgres::{PgConnectOptions, PgConnection, PgRow},
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use tokio::time::sleep;

use self::failure::meaning;
pub use self::failure::{DatabaseError, in_time};
use crate::{
    config::DatabasePlace,
    core::{secret::Digest, time::Timestamp},
    durable,
};

/// How long a statement waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(2);

/// How soon a file that could not be opened, as somebody else held it, is tried again.
const AGAIN: Duration = Duration::from_millis(10);

/// What a statement is given, and what a row holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Int(i64),
    Text(String),
    Null,
}

impl Value {
    /// 0 where there is no number, as in the sum of no rows.
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            Self::Text(_) | Self::Null => 0,
        }
    }

    /// The same, where it is known to be a count.
    pub fn count(&self) -> u64 {
        u64::try_from(self.int()).unwrap_or_default()
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Int(_) | Self::Null => None,
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Int(time.as_millis())
    }
}

impl From<&Digest> for Value {
    fn from(digest: &Digest) -> Self {
        Self::Text(digest.to_string())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

pub type Row = Vec<Value>;

/// Where the tables are, and how to get there.
#[derive(Clone)]
pub enum Database {
    Sqlite { path: PathBuf },
    Postgres(Box<PgConnectOptions>),
}

/// Whether opening may make what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Create,
    Existing,
}

/// One connection, with the tables as this version knows them.
pub struct Connection {
    kind: Kind,
    /// The file that was opened, to notice when another has taken its place.
    file: Option<(PathBuf, FileId)>,
}

enum Kind {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

type FileId = (u64, u64);

impl Database {
    /// `None` when it is switched off.
    pub fn new(place: &DatabasePlace) -> Option<Self> {
        match place {
            DatabasePlace::Off => None,
            DatabasePlace::Sqlite { path } => Some(Self::Sqlite { path: path.clone() }),
            DatabasePlace::Postgres { url } => {
                let options = PgConnectOptions::from_str(url.expose()).expect("the setting was read as such a URL");
                let options = options.application_name("heare-auth").disable_statement_logging();
                Some(Self::Postgres(Box::new(options)))
            }
        }
    }

    /// For people, without a password.
    pub fn location(&self) -> String {
        match self {
            Self::Sqlite { path } => format!("sqlite:{}", path.display()),
            Self::Postgres(options) => {
                let database = options.get_database().unwrap_or_default();
                format!("postgres://{}:{}/{database}", options.get_host(), options.get_port())
            }
        }
    }

    /// Whether it is a file that nobody has made yet.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Sqlite { path } if !path.exists())
    }

    /// Opens it and brings the tables up to date, whoever else does so at the same time.
    pub async fn open(&self, access: Access) -> Result<Connection, DatabaseError> {
        let mut connection = self.open_as_it_is(access).await?;
        schema::up(&mut connection).await?;
        Ok(connection)
    }

    /// Opens it without a look at the tables.
    pub async fn open_as_it_is(&self, access: Access) -> Result<Connection, DatabaseError> {
        match self {
            Self::Sqlite { .. } if matches!(access, Access::Existing) && self.is_missing() => {
                Err(DatabaseError::Missing)
            }
            Self::Sqlite { path } => open_sqlite(path, access).await,
            Self::Postgres(options) => Ok(Connection {
                kind: Kind::Postgres(Box::new(options.connect().await.map_err(meaning)?)),
                file: None,
            }),
        }
    }
}

async fn open_sqlite(path: &Path, access: Access) -> Result<Connection, DatabaseError> {
    if matches!(access, Access::Create) {
        make_file(path)?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    let connection = connect_in_turn(&options).await?;
    let file = file_id(path).map(|id| (path.to_owned(), id));
    Ok(Connection {
        kind: Kind::Sqlite(Box::new(connection)),
        file,
    })
}

/// Of two who open a new file at once, the one who comes second to its mode is turned away without a wait.
async fn connect_in_turn(options: &SqliteConnectOptions) -> Result<SqliteConnection, DatabaseError> {
    let began = Instant::now();
    loop {
        let connected = options.connect().await.map_err(meaning);
        if !matches!(connected, Err(DatabaseError::Locked)) || began.elapsed() >= BUSY {
            return connected;
        }
        sleep(AGAIN).await;
    }
}

/// Made here and not by the driver, so that it is nobody else's to read and belongs to whom the directory belongs.
fn make_file(path: &Path) -> Result<(), DatabaseError> {
    if path.is_file() {
        return Ok(());
    }
    let made = durable::create_directory(durable::directory(path)).and_then(|()| {
        let owner = durable::owner_for(path);
        durable::open_private(path, owner.as_ref(), OpenOptions::new().create(true))
    });
    made.map(drop).map_err(|_| DatabaseError::ReadOnly)
}

fn file_id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|file: Metadata| (file.dev(), file.ino()))
}

/// Binds the values in their order.
macro_rules! bound {
    ($database:ty, $sql:expr, $values:expr) => {
        $values.iter().fold(
            sqlx::query::<$database>(AssertSqlSafe($sql)),
            |query, value| match value {
                Value::Int(number) => query.bind(*number),
                Value::Text(text) => query.bind(text.clone()),
                Value::Null => query.bind(None::<String>),
            },
        )
    };
}

impl Connection {
    pub fn is_sqlite(&self) -> bool {
        matches!(self.kind, Kind::Sqlite(_))
    }

    /// Whether the file that it writes to is not the one that others find at its path.
    pub fn is_astray(&self) -> bool {
        self.file.as_ref().is_some_and(|(path, id)| file_id(path) != Some(*id))
    }

    /// Returns how many rows it changed.
    pub async fn execute(&mut self, sql: impl Into<String>, values: &[Value]) -> Result<u64, DatabaseError> {
        let sql = sql.into();
        match &mut self.kind {
            Kind::Sqlite(connection) => {
                let done = bound!(sqlx::Sqlite, sql, values).execute(&mut **connection).await;
                done.map(|done| done.rows_affected())
            }
            Kind::Postgres(connection) => {
                let done = bound!(sqlx::Postgres, sql, values).execute(&mut **connection).await;
                done.map(|done| done.rows_affected())
            }
        }
        .map_err(meaning)
    }

    pub async fn fetch(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        let sql = sql.to_owned();
        match &mut self.kind {
            Kind::Sqlite(connection) => {
                let rows = bound!(sqlx::Sqlite, sql, values).fetch_all(&mut **connection).await;
                rows.and_then(|rows| rows.iter().map(sqlite_row).collect())
            }
            Kind::Postgres(connection) => {
                let rows = bound!(sqlx::Postgres, sql, values).fetch_all(&mut **connection).await;
                rows.and_then(|rows| rows.iter().map(postgres_row).collect())
            }
        }
        .map_err(meaning)
    }

    /// Runs several statements that take no values.
    pub async fn script(&mut self, sql: &'static str) -> Result<(), DatabaseError> {
        match &mut self.kind {
            Kind::Sqlite(connection) => (&mut **connection).execute(sqlx::raw_sql(sql)).await.map(drop),
            Kind::Postgres(connection) => (&mut **connection).execute(sqlx::raw_sql(sql)).await.map(drop),
        }
        .map_err(meaning)
    }

    /// Begins what is to happen as a whole. In a file nobody else writes until its end.
    pub async fn begin(&mut self) -> Result<(), DatabaseError> {
        let begin = if self.is_sqlite() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.script(begin).await
    }

    /// Begins to read several things as they were at one moment. It ends with `commit`.
    pub async fn begin_reading(&mut self) -> Result<(), DatabaseError> {
        let begin = if self.is_sqlite() {
            "BEGIN"
        } else {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        };
        self.script(begin).await
    }

    pub async fn commit(&mut self) -> Result<(), DatabaseError> {
        self.script("COMMIT").await
    }

    /// Ends what was begun as if it had not been.
    pub async fn roll_back(&mut self) -> Result<(), DatabaseError> {
        self.script("ROLLBACK").await
    }

    /// Says goodbye, so that a file's log is folded into it.
    pub async fn close(self) {
        // All that was to be kept is committed.
        let _ = match self.kind {
            Kind::Sqlite(connection) => connection.close().await,
            Kind::Postgres(connection) => connection.close().await,
        };
    }
}

fn sqlite_row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let value = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        match raw.type_info().name() {
            "INTEGER" => row.try_get(at).map(Value::Int),
            _ => row.try_get(at).map(Value::Text),
        }
    };
    row.columns().iter().map(|column| value(column.ordinal())).collect()
}

fn postgres_row(row: &PgRow) -> Result<Row, sqlx::Error> {
    let value = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        match raw.type_info().name() {
            "INT8" => row.try_get(at).map(Value::Int),
            _ => row.try_get(at).map(Value::Text),
        }
    };
    row.columns().iter().map(|column| value(column.ordinal())).collect()
}
