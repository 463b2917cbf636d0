//! Looks at the database: whether it answers, which tables it has, and whether they can be written.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    cli::{args::Settings, output, usage},
    config::DatabasePlace,
    database::{Access, Database, DatabaseError, schema},
};

use super::report::Report;

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// The service works without a database, so nothing here is worse than a warning.
pub async fn check(settings: &Settings, report: &mut Report) {
    // A wrong setting has been named with the settings.
    let Ok(place) = DatabasePlace::from_lookup(&|name| settings.get(name)) else {
        return;
    };
    let Some(database) = Database::new(&place) else {
        return report.ok(
            "database",
            "none: use and audit are not recorded, and there are no accounts",
        );
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
        Err(DatabaseError::Missing) => report.ok("database", format!("{location} is made when the service starts")),
        Err(error) => report.warn("database", format!("{error} ({location})"), usage::advice(error)),
    }
}
