//! Where use, audit and accounts are kept, and for how long.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;

use super::{ConfigError, DEFAULT_DATA_DIR, Lookup, Setting, StoreConfig, Values, parse, settings::setting};
use crate::core::secret::Secret;

const DAY: Duration = Duration::from_hours(24);
const USAGE_RETENTION: Duration = Duration::from_hours(24 * 90);
const AUDIT_RETENTION: Duration = Duration::from_hours(24 * 730);

const PORT: &str = "5432";
const USER: &str = "auth_user";
const PASSWORD: &str = "password";
const DATABASE: &str = "auth";
/// What SQLite's file is called in `DATA_DIR`.
pub(super) const DATABASE_FILE: &str = "heare-auth.db";

pub(super) const SETTINGS: [Setting; 8] = [
    setting(
        "DATABASE_URL",
        "",
        "where use, audit and accounts are kept: postgres://..., sqlite:PATH, or off; without one $DATA_DIR/heare-auth.db, unless S3_BUCKET is set",
    ),
    setting("DB_HOST", "", "host of PostgreSQL, instead of DATABASE_URL"),
    setting("DB_PORT", PORT, "its port"),
    setting("DB_USER", USER, "who logs in there"),
    setting("DB_PASSWORD", PASSWORD, "with which password"),
    setting("DB_TABLE", DATABASE, "the name of the database there"),
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
        if let Some(given) = values.read("DATABASE_URL", Self::parse, must_be)? {
            return Ok(given);
        }
        if let Some(host) = values.read(
            "DB_HOST",
            parse::database_host,
            "a host name, an address or a socket's directory",
        )? {
            return Self::on_host(&host, &values);
        }
        // Beside a bucket there may be many instances, each with a disk that is gone when it is: that is no database.
        if StoreConfig::bucket(&values)?.is_some() {
            return Ok(Self::Off);
        }
        let path = Path::new(&values.get_or("DATA_DIR", DEFAULT_DATA_DIR)).join(DATABASE_FILE);
        Ok(Self::Sqlite { path })
    }

    fn on_host(host: &str, values: &Values<'_>) -> Result<Self, ConfigError> {
        let port = values.read(
            "DB_PORT",
            |text| parse::number(text, 1, u16::MAX),
            "a number from 1 to 65535",
        )?;
        let port = port.map_or_else(|| PORT.to_owned(), |port| port.to_string());
        let [user, password, database] = [("DB_USER", USER), ("DB_PASSWORD", PASSWORD), ("DB_TABLE", DATABASE)]
            .map(|(name, default)| escaped(&values.get_or(name, default)));
        // A host that is no plain name has its place behind the question mark.
        let host = escaped(host);
        let url = Secret::new(format!(
            "postgres://{user}:{password}@localhost/{database}?host={host}&port={port}"
        ));
        Ok(Self::Postgres { url })
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
                is_path.then(|| Self::Sqlite { path: path.into() })
            }
            _ => None,
        }
    }
}

/// As a part of a URL.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
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
                matches!(place(url), Ok(DatabasePlace::Sqlite { path: found }) if found == Path::new(path)),
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
        assert!(matches!(place, Ok(DatabasePlace::Sqlite { path }) if path == Path::new("/data/heare-auth.db")));
    }

    fn of(settings: &[(&str, &str)]) -> Result<DatabasePlace, ConfigError> {
        let found = |name: &str| settings.iter().find(|(setting, _)| *setting == name);
        DatabasePlace::from_lookup(&|name| found(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn beside_a_bucket_there_is_a_database_only_when_one_is_named() {
        assert!(matches!(of(&[("S3_BUCKET", "keys")]), Ok(DatabasePlace::Off)));
        assert!(matches!(of(&[("S3_BUCKET", " ")]), Ok(DatabasePlace::Sqlite { .. })));
        let named = [("S3_BUCKET", "keys"), ("DATABASE_URL", "sqlite:a.db")];
        assert!(matches!(of(&named), Ok(DatabasePlace::Sqlite { .. })));
        let named = [("S3_BUCKET", "keys"), ("DB_HOST", "db")];
        assert!(matches!(of(&named), Ok(DatabasePlace::Postgres { .. })));
    }

    #[test]
    fn postgres_can_be_named_in_parts() {
        let url = |settings: &[_]| match of(settings) {
            Ok(DatabasePlace::Postgres { url }) => PgConnectOptions::from_str(url.expose()).unwrap(),
            other => panic!("{other:?}"),
        };
        let usual = url(&[("DB_HOST", "db.internal")]);
        assert_eq!((usual.get_host(), usual.get_port()), ("db.internal", 5432));
        assert_eq!(
            (usual.get_username(), usual.get_database()),
            ("auth_user", Some("auth"))
        );
        let own = url(&[
            ("DB_HOST", "::1"),
            ("DB_PORT", "5433"),
            ("DB_USER", "ä@b:c"),
            ("DB_PASSWORD", "p/a?s#s%20 "),
            ("DB_TABLE", "my auth"),
        ]);
        assert_eq!((own.get_host(), own.get_port()), ("::1", 5433));
        assert_eq!((own.get_username(), own.get_database()), ("ä@b:c", Some("my auth")));
        let socket = url(&[("DB_HOST", "/var/run/postgresql")]);
        assert_eq!(socket.get_socket(), Some(&"/var/run/postgresql".into()));
        assert!(matches!(
            of(&[("DB_HOST", "db"), ("DATABASE_URL", "off")]),
            Ok(DatabasePlace::Off)
        ));
        assert!(matches!(of(&[("DB_TABLE", "auth")]), Ok(DatabasePlace::Sqlite { .. })));
    }

    #[test]
    fn a_wrong_part_is_named() {
        for (name, value) in [
            ("DB_PORT", "0"),
            ("DB_PORT", "many"),
            ("DB_HOST", "db:5432"),
            ("DB_HOST", "a b"),
        ] {
            let error = of(&[("DB_HOST", "db"), (name, value)].into_iter().rev().collect::<Vec<_>>()).unwrap_err();
            assert_eq!(error.variable, name);
            assert!(!error.to_string().contains(value), "{error}");
        }
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
