//! Puts the changes that commands make into the audit log. It is written beside the command, and only warns when it
//! cannot be: the change itself is made.

use std::{
    env,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};

use super::output;
use crate::{
    config::DatabasePlace,
    core::{
        change::{Applied, Change, ChangeError},
        id,
        time::Timestamp,
    },
    database::{Access, Database, DatabaseError},
    store::commit::CommitError,
    usage::{
        Action, AuditEntry, AuditRow, NO_ID,
        audit::{self, AuditIds, Logged},
    },
};

/// How long the database may hold up the end of a command.
const PATIENCE: Duration = Duration::from_secs(3);
/// The result of what was carried out.
const DONE: &str = "ok";

/// The rows that are on their way. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Trail(Arc<Mutex<Vec<Writing>>>);

type Writing = JoinHandle<Result<(), DatabaseError>>;

impl Trail {
    /// Begins to write the row of a change that was made, or was not.
    pub fn add(
        &self,
        place: &DatabasePlace,
        change: &Change,
        outcome: Result<&Applied, &CommitError>,
        when: Timestamp,
    ) {
        let what = Action::of(change);
        match outcome {
            // Each of an owner's keys has a row of its own, as if it alone had been changed.
            Ok(applied) if matches!(change, Change::RevokeOwned { .. }) => {
                for id in &applied.keys {
                    self.write_down(place, what, Some(id.clone()), DONE.to_owned(), when);
                }
            }
            Ok(_) => {
                let id = change.key_id().map(ToOwned::to_owned);
                self.write_down(place, what, id, DONE.to_owned(), when);
            }
            Err(error) => {
                let id = named(change, error).map(ToOwned::to_owned);
                self.write_down(place, what, id, error.word().to_owned(), when);
            }
        }
    }

    /// The same for what was done to an account or to the keys that sign tokens; `target` is what it was done to.
    pub fn add_account(&self, place: &DatabasePlace, what: Action, target: Option<String>, when: Timestamp) {
        self.write_down(place, what, target, DONE.to_owned(), when);
    }

    fn write_down(&self, place: &DatabasePlace, what: Action, target: Option<String>, result: String, when: Timestamp) {
        let entry = AuditEntry {
            who: format!("cli:{}", user()),
            what,
            key_id: target,
            from: gethostname::gethostname().to_string_lossy().into_owned(),
            when,
            result,
            request_id: None,
        };
        let row = AuditRow::new(&entry, &AuditIds::new(rand::random()));
        let place = place.clone();
        let writing = tokio::spawn(async move {
            timeout(PATIENCE, write(&place, &row))
                .await
                .unwrap_or(Err(DatabaseError::Timeout))
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(writing);
    }

    /// To be awaited before the command ends.
    pub async fn finish(&self) {
        let writings = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for writing in writings {
            if let Ok(Err(error)) = writing.await {
                output::note(&format!(
                    "⚠️  Warning: this is not in the audit log: {error}\n   Check DATABASE_URL with 'heare-auth doctor'.\n"
                ));
            }
        }
    }
}

/// What no key has as its id may be anything that was typed, such as a secret of another system.
fn named<'c>(change: &'c Change, error: &CommitError) -> Option<&'c str> {
    let is_unknown = matches!(error, CommitError::Change(ChangeError::UnknownKey));
    let id = change.key_id()?;
    Some(if is_unknown && !id::is_key_id(id) { NO_ID } else { id })
}

async fn write(place: &DatabasePlace, row: &AuditRow) -> Result<(), DatabaseError> {
    let Some(database) = Database::new(place) else {
        return Ok(());
    };
    let mut connection = database.open(Access::Create).await?;
    audit::insert(&mut connection, row, Logged::ByService).await?;
    connection.close().await;
    Ok(())
}

/// Who sits at the terminal, as far as the shell says.
fn user() -> String {
    let named = |name: &str| env::var(name).ok().filter(|user| !user.is_empty());
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(named)
        .unwrap_or_else(|| "unknown".to_owned())
}
