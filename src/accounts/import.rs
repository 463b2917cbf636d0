//! Users of another system on their way into the database: read from a file, held against what is there, and written all
//! or not at all. Their passwords stay theirs: a bcrypt hash verifies here, and is replaced at the next login.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::login_name::{BadLoginName, LoginName};
use crate::{
    core::{
        import::{
            Format,
            csv::{BadQuote, Rows},
        },
        imported::BcryptHash,
        time::Timestamp,
    },
    database::{Connection, DatabaseError, Value},
};

/// One user of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The line of a table, or the number of a JSON record.
    pub row: usize,
    /// Kept when it is greater than any that was ever given here.
    pub id: Option<i64>,
    pub login: LoginName,
    pub password_hash: String,
    pub created_at: Timestamp,
    pub last_login: Option<Timestamp>,
}

/// Why one row is not good. Never says what stands there: it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it is no object with the texts login and password_hash")]
    NotAUser,
    #[error("it has more cells than the first line")]
    TooManyCells,
    #[error("{0}")]
    Login(#[from] BadLoginName),
    #[error("the hash is no bcrypt hash such as $2b$12$..., with a cost of 4 to 15")]
    Hash,
    #[error("the id is no number from 1")]
    Id,
    #[error("created_at is no date")]
    CreatedAt,
    #[error("last_login is no date")]
    LastLogin,
    #[error("its login is that of row {0}")]
    SameLogin(usize),
    #[error("its id is that of row {0}")]
    SameId(usize),
}

/// Why a file is no list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("line {0} is not JSON")]
    NotJson(usize),
    #[error("the file has no list of users")]
    NoUsers,
    #[error("column {0} of the first line has no name that is known, or that of an earlier one")]
    Column(usize),
    #[error("a quotation mark in line {0} is not closed or has text behind it")]
    BadQuote(usize),
}

/// A row that is in the way of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub row: usize,
    pub reason: String,
}

/// What an import would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub new: Vec<Incoming>,
    /// There already, with the same hash.
    pub identical: usize,
    pub conflicting: Vec<Problem>,
}

/// Why a plan was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// Somebody has registered meanwhile.
    Overtaken,
    Database(DatabaseError),
}

impl From<DatabaseError> for Unwritten {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

/// A row as it was written.
#[derive(Default, Deserialize)]
struct Raw<'a> {
    #[serde(default)]
    id: Option<i64>,
    #[serde(borrow)]
    login: Cow<'a, str>,
    #[serde(borrow, alias = "password", alias = "hash")]
    password_hash: Cow<'a, str>,
    #[serde(borrow, default)]
    created_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    last_login: Option<Cow<'a, str>>,
}

/// All good users of a file, and what is wrong with the others.
pub fn read(text: &str, format: Format, now: Timestamp) -> Result<(Vec<Incoming>, Vec<Problem>), FileError> {
    let rows = match format {
        Format::Json => json(text)?,
        Format::Csv => table(text)?,
    };
    let (mut good, mut bad) = (Vec::with_capacity(rows.len()), Vec::new());
    let (mut logins, mut ids) = (HashMap::new(), HashMap::new());
    for (row, raw) in rows {
        let read = raw.and_then(|raw| incoming(row, &raw, now));
        let read = read.and_then(|user| match logins.insert(user.login.key().to_owned(), row) {
            Some(other) => Err(Flaw::SameLogin(other)),
            None => Ok(user),
        });
        let read = read.and_then(|user| match user.id.and_then(|id| ids.insert(id, row)) {
            Some(other) => Err(Flaw::SameId(other)),
            None => Ok(user),
        });
        match read {
            Ok(user) => good.push(user),
            Err(flaw) => bad.push(Problem {
                row,
                reason: flaw.to_string(),
            }),
        }
    }
    Ok((good, bad))
}

fn incoming(row: usize, raw: &Raw<'_>, now: Timestamp) -> Result<Incoming, Flaw> {
    let time = |text: &Option<Cow<'_, str>>, flaw| {
        let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|_| flaw)).transpose()
    };
    BcryptHash::parse(&raw.password_hash).ok_or(Flaw::Hash)?;
    if raw.id.is_some_and(|id| id < 1) {
        return Err(Flaw::Id);
    }
    Ok(Incoming {
        row,
        id: raw.id,
        login: LoginName::parse(&raw.login)?,
        password_hash: raw.password_hash.clone().into_owned(),
        created_at: time(&raw.created_at, Flaw::CreatedAt)?.unwrap_or(now),
        last_login: time(&raw.last_login, Flaw::LastLogin)?,
    })
}

type RawRow<'a> = (usize, Result<Raw<'a>, Flaw>);

/// A list of users, an object with such a list in `users`, or one user after another.
fn json(text: &str) -> Result<Vec<RawRow<'_>>, FileError> {
    #[derive(Deserialize)]
    struct Listed<'a> {
        #[serde(borrow)]
        users: Vec<&'a RawValue>,
    }
    let values: Vec<&RawValue> = serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| FileError::NotJson(error.line()))?;
    let records = match values[..] {
        [] => return Err(FileError::NoUsers),
        [one] if one.get().starts_with('[') => serde_json::from_str(one.get()).map_err(|_| FileError::NoUsers)?,
        [one] => serde_json::from_str(one.get()).map_or(vec![one], |listed: Listed<'_>| listed.users),
        _ => values,
    };
    let rows = records.into_iter().enumerate();
    let rows = rows.map(|(at, record)| (at + 1, serde_json::from_str(record.get()).map_err(|_| Flaw::NotAUser)));
    Ok(rows.collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    Login,
    Hash,
    CreatedAt,
    LastLogin,
}

fn table(text: &str) -> Result<Vec<RawRow<'_>>, FileError> {
    let bad_quote = |BadQuote(line)| FileError::BadQuote(line);
    let mut rows = Rows::of(text);
    let header = rows.next().ok_or(FileError::NoUsers)?.map_err(bad_quote)?;
    let mut columns = Vec::with_capacity(header.cells.len());
    for (at, title) in header.cells.iter().enumerate() {
        let column = column(title).filter(|column| !columns.contains(column));
        columns.push(column.ok_or(FileError::Column(at + 1))?);
    }
    let rows = rows.map(|row| {
        let row = row.map_err(bad_quote)?;
        Ok((row.line, raw(&columns, row.cells)))
    });
    rows.collect()
}

fn column(title: &str) -> Option<Column> {
    match title.trim().to_ascii_lowercase().as_str() {
        "id" => Some(Column::Id),
        "login" => Some(Column::Login),
        "password_hash" | "password" | "hash" => Some(Column::Hash),
        "created_at" => Some(Column::CreatedAt),
        "last_login" => Some(Column::LastLogin),
        _ => None,
    }
}

fn raw<'a>(columns: &[Column], cells: Vec<Cow<'a, str>>) -> Result<Raw<'a>, Flaw> {
    if cells.len() > columns.len() {
        return Err(Flaw::TooManyCells);
    }
    let mut raw = Raw::default();
    for (column, cell) in columns.iter().zip(cells) {
        match column {
            Column::Id if cell.trim().is_empty() => {}
            Column::Id => raw.id = Some(cell.trim().parse().map_err(|_| Flaw::Id)?),
            Column::Login => raw.login = cell,
            Column::Hash => raw.password_hash = cell,
            Column::CreatedAt => raw.created_at = Some(cell),
            Column::LastLogin => raw.last_login = Some(cell),
        }
    }
    Ok(raw)
}

/// Holds what came against what is there.
pub async fn plan(connection: &mut Connection, incoming: Vec<Incoming>) -> Result<Plan, DatabaseError> {
    let last = last_id(connection).await?;
    let mut plan = Plan::default();
    for user in incoming {
        let sql = "SELECT password_hash FROM users WHERE login_key = $1";
        let found = connection.fetch(sql, &[user.login.key().into()]).await?;
        let stored = found.first().and_then(|row| row[0].text());
        let reason = match stored {
            Some(stored) if stored == user.password_hash => {
                plan.identical += 1;
                continue;
            }
            Some(_) => Some("there is another user with this login".to_owned()),
            None if user.id.is_some_and(|id| id <= last) => Some(format!(
                "its id must be greater than {last}, the last that was given here"
            )),
            None => None,
        };
        match reason {
            Some(reason) => plan.conflicting.push(Problem { row: user.row, reason }),
            None => plan.new.push(user),
        }
    }
    // Ids of the file come first, so that none that is given beside them is in their way.
    plan.new.sort_by_key(|user| user.id.unwrap_or(i64::MAX));
    Ok(plan)
}

/// Writes all of them, or none. Whoever registers at the same time waits for its end.
pub async fn write(connection: &mut Connection, users: &[Incoming]) -> Result<(), Unwritten> {
    connection.begin().await?;
    // Takes the lock before anything is read.
    connection.execute("UPDATE user_ids SET last = last", &[]).await?;
    let mut last = last_id(connection).await?;
    for user in users {
        let id = user.id.unwrap_or(last + 1);
        if id <= last || !insert(connection, id, user).await? {
            return Err(Unwritten::Overtaken);
        }
        last = id;
    }
    connection
        .execute("UPDATE user_ids SET last = $1", &[last.into()])
        .await?;
    Ok(connection.commit().await?)
}

async fn last_id(connection: &mut Connection) -> Result<i64, DatabaseError> {
    let rows = connection.fetch("SELECT last FROM user_ids", &[]).await?;
    rows.first().map(|row| row[0].int()).ok_or(DatabaseError::Failed)
}

async fn insert(connection: &mut Connection, id: i64, user: &Incoming) -> Result<bool, DatabaseError> {
    let mut values: Vec<Value> = vec![
        id.into(),
        user.login.as_given().into(),
        user.login.key().into(),
        user.password_hash.as_str().into(),
        user.created_at.into(),
    ];
    // Apart, as PostgreSQL takes no absent number for a parameter that it was told to be a text.
    let sql = match user.last_login {
        None => {
            "INSERT INTO users (id, login, login_key, password_hash, epoch, created_at)
             VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (login_key) DO NOTHING"
        }
        Some(last_login) => {
            values.push(last_login.into());
            "INSERT INTO users (id, login, login_key, password_hash, epoch, created_at, last_login)
             VALUES ($1, $2, $3, $4, 0, $5, $6) ON CONFLICT (login_key) DO NOTHING"
        }
    };
    Ok(connection.execute(sql, &values).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const HASH: &str = "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde";

    fn problems(text: &str, format: Format) -> Vec<String> {
        let (_, problems) = read(text, format, NOW).unwrap();
        problems
            .into_iter()
            .map(|problem| format!("{}: {}", problem.row, problem.reason))
            .collect()
    }

    #[test]
    fn the_same_users_are_read_from_a_table_and_from_json() {
        let csv = format!(
            "id,login,password,created_at,last_login\n3,ada,{HASH},2024-01-20 10:30:00.5+00,\n,\"Bob, the second\",{HASH},,2024-02-01T00:00:00Z\n"
        );
        let list = format!(
            r#"[{{"id":3,"login":"ada","password_hash":"{HASH}","created_at":"2024-01-20T10:30:00.5Z","email":"x"}},
               {{"login":"Bob, the second","hash":"{HASH}","last_login":"2024-02-01"}}]"#
        );
        let (from_csv, bad) = read(&csv, Format::Csv, NOW).unwrap();
        assert_eq!(bad, []);
        assert_eq!(from_csv.len(), 2);
        assert_eq!(
            (from_csv[0].id, from_csv[0].created_at.as_millis()),
            (Some(3), 1_705_746_600_500)
        );
        assert_eq!((from_csv[1].id, from_csv[1].created_at), (None, NOW));
        let lines = list[1..list.len() - 1].replace("},", "}\n");
        for json in [list.clone(), format!(r#"{{"users":{list}}}"#), lines] {
            let (from_json, bad) = read(&json, Format::of(&json), NOW).unwrap();
            assert_eq!(bad, []);
            for (one, other) in from_json.iter().zip(&from_csv) {
                assert_eq!(
                    (&one.login, one.created_at, one.last_login),
                    (&other.login, other.created_at, other.last_login)
                );
            }
        }
    }

    #[test]
    fn a_row_that_is_not_good_is_named_and_nothing_of_it_shown() {
        let csv = format!(
            "login,hash,created_at\nada,plain password,\nab,{HASH},\nbob,{HASH},soon\ncarl,{},\nAda,{HASH},\nada,{HASH},\nx,y,z,w\n",
            HASH.replace("$12$", "$31$"),
        );
        let bad = problems(&csv, Format::Csv);
        let expected = [
            "2: the hash is no bcrypt hash such as $2b$12$..., with a cost of 4 to 15",
            "3: The login has fewer than 3 characters",
            "4: created_at is no date",
            "5: the hash is no bcrypt hash such as $2b$12$..., with a cost of 4 to 15",
            "7: its login is that of row 6",
            "8: it has more cells than the first line",
        ];
        assert_eq!(bad, expected);
        let json = format!(
            r#"[7, {{"login":"ada"}}, {{"login":"ada","hash":"{HASH}","id":0}}, {{"login":"a","login":"b","hash":"x"}},
               {{"login":"abc","hash":"{HASH}","id":5}}, {{"login":"abd","hash":"{HASH}","id":5}}]"#
        );
        let expected = [
            "1: it is no object with the texts login and password_hash",
            "2: it is no object with the texts login and password_hash",
            "3: the id is no number from 1",
            "4: it is no object with the texts login and password_hash",
            "6: its id is that of row 5",
        ];
        assert_eq!(problems(&json, Format::Json), expected);
    }

    #[test]
    fn what_is_no_list_of_users_is_refused_as_a_whole() {
        for (text, error) in [
            ("", FileError::NoUsers),
            ("{", FileError::NotJson(1)),
            ("[1,\n}", FileError::NotJson(2)),
            ("login,shoe size\n", FileError::Column(2)),
            ("login,hash,password\n", FileError::Column(3)),
            ("login,hash\n\"ada", FileError::BadQuote(2)),
        ] {
            assert_eq!(read(text, Format::of(text), NOW).err(), Some(error), "{text}");
        }
    }
}
