//! Looks at the database: whether it answers, which tables it has, and whether they can be written.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    cli::{args::Settings, output, usage},
    config::DatabasePlace,
    database::{Access, Database, DatabaseError, schema},
    durable,
};

use super::report::Report;

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a service would have one. It works without, so nothing here is worse than a warning.
pub async fn check(settings: &Settings, report: &mut Report) -> bool {
    // A wrong setting has been named with the settings.
    let Ok(place) = DatabasePlace::from_lookup(&|name| settings.get(name)) else {
        return false;
    };
    let Some(database) = Database::new(&place) else {
        report.ok(
            "database",
            "none: use and audit are not recorded, and there are no accounts",
        );
        return false;
    };
    let location = output::shown(&database.location());
    let look = async {
        let mut connection = database.open_as_it_is(Access::Existing).await?;
        let version = schema::version(&mut connection).await?;
        if version > 0 {
            schema::try_to_write(&mut connection).await?;
        }
        connection.close().await;
        Ok(version)
    };
    let found = timeout(DATABASE_TIMEOUT, look).await;
    match found.unwrap_or(Err(DatabaseError::Timeout)) {
        Ok(0) => report.ok("database", format!("{location} answers and holds no tables yet")),
        Ok(version) => report.ok(
            "database",
            format!("{location} can be written, tables of version {version}"),
        ),
        Err(DatabaseError::Missing) if !can_be_made(&place) => {
            let advice = "Let the service's user write to the folder, or name another database by DATABASE_URL.";
            report.warn(
                "database",
                format!("{location} cannot be made: its folder takes no new file"),
                advice,
            );
            return false;
        }
        Err(DatabaseError::Missing) => report.ok("database", format!("{location} is made when the service starts")),
        Err(error) => {
            report.warn("database", format!("{error} ({location})"), usage::advice(error));
            return false;
        }
    }
    true
}

fn can_be_made(place: &DatabasePlace) -> bool {
    match place {
        DatabasePlace::Sqlite { path } => durable::takes_new_file(path).is_ok(),
        DatabasePlace::Postgres { .. } | DatabasePlace::Off => true,
    }
}
