//! Where use and audit are kept, and for how long.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;

use super::{ConfigError, DEFAULT_DATA_DIR, Lookup, Setting, Values, parse, settings::setting};
use crate::core::secret::Secret;

const DAY: Duration = Duration::from_hours(24);
const USAGE_RETENTION: Duration = Duration::from_hours(24 * 90);
const AUDIT_RETENTION: Duration = Duration::from_hours(24 * 730);

pub(super) const SETTINGS: [Setting; 3] = [
    setting(
        "DATABASE_URL",
        "",
        "where use and audit are kept: postgres://..., sqlite:PATH, or off; without it $DATA_DIR/heare-auth.db",
    ),
    setting("USAGE_RETENTION", "90days", "how long the hourly use of keys is kept"),
    setting(
        "AUDIT_RETENTION",
        "730days",
        "how long changes of keys are kept in the audit log",
    ),
];

/// What counting and auditing need.
#[derive(Clone, Debug)]
pub struct UsageConfig {
    pub database: DatabasePlace,
    pub usage_retention: Duration,
    pub audit_retention: Duration,
}

#[derive(Clone, Debug)]
pub enum DatabasePlace {
    Off,
    Sqlite {
        path: PathBuf,
        /// Nobody asked for it: a command that only happens to have something to record does not make it.
        implied: bool,
    },
    Postgres {
        /// Carries a password.
        url: Secret,
    },
}

impl UsageConfig {
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let values = Values(lookup);
        let retention = |variable, default| {
            let must_be = "a duration of 1day or more, such as 90days";
            let read = values.read(variable, |text| parse::duration(text, DAY), must_be);
            read.map(|retention| retention.unwrap_or(default))
        };
        Ok(Self {
            database: DatabasePlace::from_lookup(lookup)?,
            usage_retention: retention("USAGE_RETENTION", USAGE_RETENTION)?,
            audit_retention: retention("AUDIT_RETENTION", AUDIT_RETENTION)?,
        })
    }
}

impl DatabasePlace {
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let values = Values(lookup);
        let must_be = "postgres://USER:PASSWORD@HOST/DATABASE, sqlite:PATH, or off";
        let given = values.read("DATABASE_URL", Self::parse, must_be)?;
        Ok(given.unwrap_or_else(|| Self::Sqlite {
            path: Path::new(&values.get_or("DATA_DIR", DEFAULT_DATA_DIR)).join("heare-auth.db"),
            implied: values.get("S3_BUCKET").is_some(),
        }))
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "off" | "none" if rest.is_empty() => Some(Self::Off),
            "postgres" | "postgresql" => PgConnectOptions::from_str(text)
                .ok()
                .map(|_| Self::Postgres { url: Secret::new(text) }),
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                // A database in memory would be another one for each connection.
                let is_path = !path.is_empty() && path != ":memory:" && !path.contains('?');
                is_path.then(|| Self::Sqlite {
                    path: path.into(),
                    implied: false,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<DatabasePlace, ConfigError> {
        DatabasePlace::from_lookup(&|name| (name == "DATABASE_URL").then(|| url.to_owned()))
    }

    #[test]
    fn a_database_is_postgres_a_file_or_off() {
        for (url, path) in [
            ("sqlite:heare-auth.db", "heare-auth.db"),
            ("sqlite:/var/lib/heare-auth.db", "/var/lib/heare-auth.db"),
            ("sqlite:///var/lib/heare-auth.db", "/var/lib/heare-auth.db"),
        ] {
            assert!(
                matches!(place(url), Ok(DatabasePlace::Sqlite { path: found, implied: false }) if found == Path::new(path)),
                "{url}"
            );
        }
        for url in [
            "postgres://auth:pa%20ss@db.internal:5432/auth",
            "postgresql://localhost/auth?sslmode=require",
        ] {
            assert!(matches!(place(url), Ok(DatabasePlace::Postgres { .. })), "{url}");
        }
        assert!(matches!(place("off"), Ok(DatabasePlace::Off)));
    }

    #[test]
    fn another_url_is_refused_and_not_repeated() {
        for url in [
            "mysql://u:pass@h/d",
            "heare-auth.db",
            "sqlite:",
            "sqlite::memory:",
            "postgres://u:pass@h:port/d",
            "off:1",
        ] {
            let error = place(url).unwrap_err();
            assert_eq!(error.variable, "DATABASE_URL");
            assert!(!error.to_string().contains("pass@"), "{error}");
        }
    }

    #[test]
    fn without_a_url_it_is_a_file_in_the_data_directory() {
        let place = DatabasePlace::from_lookup(&|name| (name == "DATA_DIR").then(|| "/data".to_owned()));
        assert!(
            matches!(place, Ok(DatabasePlace::Sqlite { path, implied: false }) if path == Path::new("/data/heare-auth.db"))
        );
    }

    #[test]
    fn retention_is_a_day_or_more() {
        let read = |text: &str| {
            UsageConfig::from_lookup(&|name| (name == "USAGE_RETENTION").then(|| text.to_owned()))
                .map(|config| config.usage_retention)
        };
        assert_eq!(read("30days"), Ok(DAY * 30));
        assert_eq!(read(""), Ok(USAGE_RETENTION));
        for wrong in ["0", "1h", "forever", "-1day"] {
            assert_eq!(read(wrong).unwrap_err().variable, "USAGE_RETENTION", "{wrong}");
        }
    }
}
