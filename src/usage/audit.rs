//! Changes of keys and accounts: who changed what, from where, when, and how it went. One log event and one row each.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde::Serialize;

use crate::{
    core::{change::Change, id, time::Timestamp},
    database::{Connection, DatabaseError, Row, Value},
};

/// The longest text of an entry, in bytes.
const MAX_TEXT: usize = 256;

/// Stands for what was given as the id of a key and is none.
pub const NO_ID: &str = "***";

/// What can be done to keys and to accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Update,
    Rotate,
    Revoke,
    Reactivate,
    Expire,
    Delete,
    Import,
    Rollback,
    Migrate,
    RegisterAccount,
    ChangePassword,
    DeleteAccount,
    DisableAccount,
    EnableAccount,
    ImportAccounts,
    EndSessions,
    RotateSigningKey,
}

impl Action {
    pub const ALL: [Self; 18] = [
        Self::Create,
        Self::Update,
        Self::Rotate,
        Self::Revoke,
        Self::Reactivate,
        Self::Expire,
        Self::Delete,
        Self::Import,
        Self::Rollback,
        Self::Migrate,
        Self::RegisterAccount,
        Self::ChangePassword,
        Self::DeleteAccount,
        Self::DisableAccount,
        Self::EnableAccount,
        Self::ImportAccounts,
        Self::EndSessions,
        Self::RotateSigningKey,
    ];

    pub const fn of(change: &Change) -> Self {
        match change {
            Change::Create(_) => Self::Create,
            Change::Update { .. } => Self::Update,
            Change::Rotate(_) => Self::Rotate,
            Change::Revoke { .. } | Change::RevokeOwned { .. } => Self::Revoke,
            Change::Reactivate { .. } => Self::Reactivate,
            Change::RetireExpired { .. } => Self::Expire,
            Change::Delete { .. } => Self::Delete,
            Change::Import(_) => Self::Import,
            Change::Restore(_) => Self::Rollback,
            Change::Migrate => Self::Migrate,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
            Self::Reactivate => "reactivate",
            Self::Expire => "expire",
            Self::Delete => "delete",
            Self::Import => "import",
            Self::Rollback => "rollback",
            Self::Migrate => "migrate",
            Self::RegisterAccount => "register_account",
            Self::ChangePassword => "change_password",
            Self::DeleteAccount => "delete_account",
            Self::DisableAccount => "disable_account",
            Self::EnableAccount => "enable_account",
            Self::ImportAccounts => "import_accounts",
            Self::EndSessions => "end_sessions",
            Self::RotateSigningKey => "rotate_signing_key",
        }
    }
}

/// One change, or the attempt at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// `key:ID`, `user:ID`, `cli:USER` or `service`.
    pub who: String,
    pub what: Action,
    /// `None` for what concerns all keys, such as an import.
    pub key_id: Option<String>,
    /// An address, or the host on which a command ran.
    pub from: String,
    pub when: Timestamp,
    /// `ok`, or the word of the refusal: the `code` of an answer, also where no answer was given.
    pub result: String,
    pub request_id: Option<String>,
}

/// An entry as it is stored and shown. The members' names are the JSON of the command line and of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    /// Begins with the time, so a newer one is greater.
    pub id: String,
    #[serde(serialize_with = "as_text")]
    pub when: Timestamp,
    pub who: String,
    pub what: String,
    pub key_id: Option<String>,
    pub from: String,
    pub result: String,
    pub request_id: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn as_text<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// Makes ids of entries that no other process makes.
pub struct AuditIds {
    writer: u64,
    next: AtomicU32,
}

impl AuditIds {
    pub const fn new(random: u64) -> Self {
        Self {
            writer: random,
            next: AtomicU32::new(0),
        }
    }

    fn next(&self, when: Timestamp) -> String {
        let number = self.next.fetch_add(1, Relaxed);
        format!("{}{:016x}{number:08x}", id_prefix(when), self.writer)
    }
}

/// Twelve of the time, sixteen of the writer, eight of the number.
const ID_DIGITS: usize = 36;

/// Twelve digits of milliseconds, which last until the year 10889. All ids are of one length and of `0-9a-f`, so that every
/// collation puts them in the same order.
fn id_prefix(when: Timestamp) -> String {
    format!("{:012x}", when.as_millis().max(0))
}

impl AuditRow {
    pub fn new(entry: &AuditEntry, ids: &AuditIds) -> Self {
        Self {
            id: ids.next(entry.when),
            when: entry.when,
            who: harmless(&entry.who),
            what: entry.what.word().to_owned(),
            key_id: entry.key_id.as_deref().map(harmless),
            from: harmless(&entry.from),
            result: harmless(&entry.result),
            request_id: entry.request_id.as_deref().map(harmless),
        }
    }

    /// The one log event of this change.
    pub fn log(&self) {
        tracing::info!(
            event = "audit",
            who = self.who,
            what = self.what,
            key_id = self.key_id,
            from = self.from,
            when = %self.when,
            result = self.result,
            request_id = self.request_id,
            "a key or an account was changed, or somebody tried to"
        );
    }

    fn read(row: &Row) -> Self {
        let text = |at: usize| row[at].text().map(ToOwned::to_owned);
        let given = |at: usize| text(at).unwrap_or_default();
        Self {
            id: given(0),
            when: Timestamp::from_millis(row[1].int()),
            who: given(2),
            what: given(3),
            key_id: text(4),
            from: given(5),
            result: given(6),
            request_id: text(7),
        }
    }
}

/// Nobody's text gets into the log and the table but a short one, on one line, and no secret in the wrong place.
fn harmless(text: &str) -> String {
    if id::may_be_secret(text) {
        return NO_ID.to_owned();
    }
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    text.replace(char::is_control, "\u{fffd}")
}

/// Whose event is already in a log, when its row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    Yes,
    /// A running service will do so when it sees the row.
    ByService,
}

/// Writing the same row twice leaves one.
pub async fn insert(connection: &mut Connection, row: &AuditRow, logged: Logged) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO audit_log (id, at, actor, action, key_id, origin, result, request_id, logged) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING";
    let values: [Value; 9] = [
        row.id.as_str().into(),
        row.when.as_millis().into(),
        row.who.as_str().into(),
        row.what.as_str().into(),
        row.key_id.as_deref().into(),
        row.from.as_str().into(),
        row.result.as_str().into(),
        row.request_id.as_deref().into(),
        i64::from(logged == Logged::Yes).into(),
    ];
    connection.execute(sql, &values).await.map(drop)
}

/// Writes the log events of changes that were made on the command line. Of several services one takes over each, and writes
/// it at once: whatever becomes of the rest, nobody looks again at what is marked.
pub async fn claim(connection: &mut Connection) -> Result<(), DatabaseError> {
    let waiting = "SELECT id, at, actor, action, key_id, origin, result, request_id FROM audit_log \
                   WHERE logged = 0 ORDER BY id LIMIT 100";
    for row in connection.fetch(waiting, &[]).await? {
        let mark = "UPDATE audit_log SET logged = 1 WHERE id = $1 AND logged = 0";
        if connection.execute(mark, &row[..1]).await? == 1 {
            AuditRow::read(&row).log();
        }
    }
    Ok(())
}

/// Removes what is older, a bounded number at a time. Tells whether there may be more.
pub async fn prune(connection: &mut Connection, before: Timestamp) -> Result<bool, DatabaseError> {
    const AT_ONCE: u64 = 5_000;
    let sql = "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE id < $1 ORDER BY id LIMIT 5000)";
    let removed = connection.execute(sql, &[id_prefix(before).as_str().into()]).await?;
    Ok(removed == AT_ONCE)
}

/// Which entries of the audit log are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub key_id: Option<String>,
    pub who: Option<String>,
    pub what: Option<String>,
}

/// A part of the audit log, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditPage {
    pub entries: Vec<AuditRow>,
    /// What to ask for the part that follows; `None` at the end.
    pub next: Option<String>,
}

/// Whether it is of the form of an entry's id, as `next` has it.
pub fn is_entry_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// At most `limit` entries older than the one that `before` names.
pub async fn page(
    connection: &mut Connection,
    filter: &AuditFilter,
    before: Option<&str>,
    limit: u32,
) -> Result<AuditPage, DatabaseError> {
    let sql = "SELECT id, at, actor, action, key_id, origin, result, request_id FROM audit_log \
               WHERE (CAST($1 AS TEXT) IS NULL OR id < $1) AND (CAST($2 AS TEXT) IS NULL OR key_id = $2) \
               AND (CAST($3 AS TEXT) IS NULL OR actor = $3) AND (CAST($4 AS TEXT) IS NULL OR action = $4) \
               ORDER BY id DESC LIMIT $5";
    let values: [Value; 5] = [
        asked(before),
        asked(filter.key_id.as_deref()),
        asked(filter.who.as_deref()),
        asked(filter.what.as_deref()),
        // One more than asked for tells whether there is more.
        (i64::from(limit) + 1).into(),
    ];
    let rows = connection.fetch(sql, &values).await?;
    let mut entries: Vec<AuditRow> = rows.iter().map(AuditRow::read).collect();
    let is_last = entries.len() <= limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| !is_last).map(|entry| entry.id.clone());
    Ok(AuditPage { entries, next })
}

/// In the form in which it was written down.
fn asked(text: Option<&str>) -> Value {
    text.map(harmless).as_deref().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(who: &str, when: i64) -> AuditEntry {
        AuditEntry {
            who: who.to_owned(),
            what: Action::Rotate,
            key_id: Some("key_1".to_owned()),
            from: "192.0.2.1".to_owned(),
            when: Timestamp::from_millis(when),
            result: "ok".to_owned(),
            request_id: None,
        }
    }

    #[test]
    fn ids_are_of_one_length_and_in_the_order_of_time() {
        let ids = AuditIds::new(u64::MAX);
        let made: Vec<String> = [1, 1, 2, 1_705_746_600_000, 253_402_300_799_999]
            .map(|when| AuditRow::new(&entry("cli:a", when), &ids).id)
            .into();
        assert!(made.is_sorted_by(|a, b| a < b && a.len() == b.len()), "{made:?}");
        assert!(
            id_prefix(Timestamp::from_millis(2)) > made[1],
            "a prefix stands before its own time"
        );
        assert!(made.iter().all(|id| is_entry_id(id)));
        for wrong in ["", "nope", &made[0][1..], &made[0].replace('0', "g")] {
            assert!(!is_entry_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn no_secret_and_no_line_break_gets_in() {
        let ids = AuditIds::new(1);
        for (text, kept) in [
            ("cli:alice", "cli:alice"),
            ("sec_0001abc", "***"),
            ("hk_live_abc", "***"),
            ("a\n{\"x\":1}\0", "a\u{fffd}{\"x\":1}\u{fffd}"),
        ] {
            let row = AuditRow::new(
                &AuditEntry {
                    key_id: Some(text.to_owned()),
                    ..entry(text, 1)
                },
                &ids,
            );
            assert_eq!((row.who.as_str(), row.key_id.as_deref()), (kept, Some(kept)));
        }
        assert_eq!(AuditRow::new(&entry(&"é".repeat(300), 1), &ids).who.len(), MAX_TEXT);
    }

    #[test]
    fn every_action_has_a_word_of_its_own() {
        let words: std::collections::HashSet<_> = Action::ALL.iter().map(|action| action.word()).collect();
        assert_eq!(words.len(), Action::ALL.len());
    }
}
