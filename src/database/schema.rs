//! The tables, by numbered steps up and down. Safe to run twice, and from any number of instances at once: whoever
//! comes second waits for the first and finds it done.

use super::{Connection, DatabaseError};

/// One step. Both texts stand in `migrations/`.
struct Migration {
    version: i64,
    up: &'static str,
    down: &'static str,
}

const MIGRATIONS: [Migration; 3] = [
    Migration {
        version: 1,
        up: include_str!("../../migrations/0001_usage.up.sql"),
        down: include_str!("../../migrations/0001_usage.down.sql"),
    },
    Migration {
        version: 2,
        up: include_str!("../../migrations/0002_accounts.up.sql"),
        down: include_str!("../../migrations/0002_accounts.down.sql"),
    },
    Migration {
        version: 3,
        up: include_str!("../../migrations/0003_instances.up.sql"),
        down: include_str!("../../migrations/0003_instances.down.sql"),
    },
];

/// The version that this program works with.
pub const LATEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Held for the length of a step by PostgreSQL, where the tables themselves cannot be locked before they are there.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4715238710283)";

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT NOT NULL PRIMARY KEY)";

/// The version of the tables that are there, 0 when there are none.
pub async fn version(connection: &mut Connection) -> Result<i64, DatabaseError> {
    let exists = if connection.is_sqlite() {
        "SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_migrations'"
    } else {
        "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('schema_migrations')"
    };
    let rows = connection.fetch(exists, &[]).await?;
    if rows[0][0].int() == 0 {
        return Ok(0);
    }
    let rows = connection
        .fetch("SELECT MAX(version) FROM schema_migrations", &[])
        .await?;
    Ok(rows[0][0].int())
}

/// Brings the tables up to date. Tables of a newer program stay as they are.
pub async fn up(connection: &mut Connection) -> Result<(), DatabaseError> {
    if version(connection).await? >= LATEST {
        return Ok(());
    }
    begin_alone(connection).await?;
    connection.script(VERSIONS).await?;
    let found = version(connection).await?;
    for step in MIGRATIONS.iter().filter(|step| step.version > found) {
        connection.script(step.up).await?;
        let record = "INSERT INTO schema_migrations (version) VALUES ($1)";
        connection.execute(record, &[step.version.into()]).await?;
    }
    connection.commit().await
}

/// Takes the tables back to an earlier version, 0 for none, with everything in them.
pub async fn down(connection: &mut Connection, to: i64) -> Result<(), DatabaseError> {
    begin_alone(connection).await?;
    connection.script(VERSIONS).await?;
    let found = version(connection).await?;
    let steps = MIGRATIONS.iter().rev();
    for step in steps.filter(|step| step.version > to && step.version <= found) {
        connection.script(step.down).await?;
        let record = "DELETE FROM schema_migrations WHERE version = $1";
        connection.execute(record, &[step.version.into()]).await?;
    }
    connection.commit().await
}

/// Whether rows can be written. Nothing stays of the try.
pub async fn try_to_write(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.begin().await?;
    let sql = "INSERT INTO usage_writers (writer, batch, seen_at) VALUES ('try', 0, 0)";
    connection.execute(sql, &[]).await?;
    connection.roll_back().await
}

async fn begin_alone(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.begin().await?;
    if connection.is_sqlite() {
        return Ok(());
    }
    connection.script(LOCK).await
}
