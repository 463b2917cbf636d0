//! Why a database did not do what it was asked for, told alike for both.

use std::time::Duration;

use tokio::time::timeout;

/// Why the database did not do what it was asked for. The words stand in the log and in USAGE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    #[error("the database cannot be reached")]
    Unreachable,
    #[error("the database did not answer in time")]
    Timeout,
    #[error("the database refused the login or lacks rights")]
    Refused,
    #[error("the database is locked by somebody else")]
    Locked,
    #[error("the database has no space left")]
    Full,
    #[error("the database cannot be written")]
    ReadOnly,
    #[error("there is no database yet")]
    Missing,
    #[error("the database holds a table of another program under the name of one of ours")]
    Foreign,
    #[error("the database reported an error")]
    Failed,
}

impl DatabaseError {
    pub const ALL: [Self; 9] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Refused,
        Self::Locked,
        Self::Full,
        Self::ReadOnly,
        Self::Missing,
        Self::Foreign,
        Self::Failed,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "database_unreachable",
            Self::Timeout => "database_timeout",
            Self::Refused => "database_refused",
            Self::Locked => "database_locked",
            Self::Full => "database_full",
            Self::ReadOnly => "database_read_only",
            Self::Missing => "database_missing",
            Self::Foreign => "database_foreign",
            Self::Failed => "database_failed",
        }
    }
}

/// What took too long is given up in the middle, so its connection is to be dropped like any that failed.
pub async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    timeout(patience, work).await.unwrap_or(Err(DatabaseError::Timeout))
}

pub(super) fn meaning(error: sqlx::Error) -> DatabaseError {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => {
            DatabaseError::Unreachable
        }
        sqlx::Error::PoolTimedOut => DatabaseError::Timeout,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let is_sqlite = error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
            if is_sqlite {
                sqlite_meaning(&code)
            } else {
                postgres_meaning(&code)
            }
        }
        _ => DatabaseError::Failed,
    }
}

/// The lowest byte of an extended result code is the result code itself.
fn sqlite_meaning(code: &str) -> DatabaseError {
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        3 | 8 | 14 => DatabaseError::ReadOnly,
        5 | 6 => DatabaseError::Locked,
        // A limit on the size of files is reported as an error of writing.
        13 => DatabaseError::Full,
        _ => DatabaseError::Failed,
    }
}

/// By class of SQLSTATE where the class says enough.
fn postgres_meaning(code: &str) -> DatabaseError {
    match code {
        "42P07" => DatabaseError::Foreign,
        "25006" => DatabaseError::ReadOnly,
        "42501" | "3D000" => DatabaseError::Refused,
        "57P01" | "57P02" | "57P03" => DatabaseError::Unreachable,
        "57014" => DatabaseError::Timeout,
        "55P03" | "40P01" | "40001" => DatabaseError::Locked,
        _ if code.starts_with("53") => DatabaseError::Full,
        _ if code.starts_with("28") => DatabaseError::Refused,
        _ if code.starts_with("08") => DatabaseError::Unreachable,
        _ => DatabaseError::Failed,
    }
}
