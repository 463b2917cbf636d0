//! `usage`, `audit` and `database`: what the database holds, read by the service's own settings.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use serde::Serialize;
use tokio::time::timeout;

use super::{
    args::{Args, Settings},
    failure::{Failure, unknown_key},
    output::{self, note, shown},
    record,
    store::DocumentStore,
};
use crate::{
    clock::Clock,
    config::DatabasePlace,
    core::id,
    database::{Access, Connection, Database, DatabaseError, schema},
    usage::{
        AuditFilter, AuditPage, AuditRow, KeyUsage, MAX_HOURS, MAX_PAGE, Summary, audit, query,
        query::{EndpointUsage, HourUsage, Totals},
    },
};

const PATIENCE: Duration = Duration::from_secs(30);
const WIDTH: usize = 80;

/// `database --json`.
#[derive(Serialize)]
struct Tables {
    database: String,
    version: i64,
    latest: i64,
}

pub async fn usage(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    let json = args.contains("--json");
    let hours = number(args.option("--hours")?, "--hours", 24, MAX_HOURS)?;
    let key_id = args.optional_key_id()?;
    let settings = args.settings()?;
    let database = database(&settings)?;
    let text = if let Some(key_id) = key_id {
        let found = of_key(&settings, &database, key_id, hours).await?;
        if json {
            output::json_line(&found)
        } else {
            key_text(&found)
        }
    } else {
        let now = Clock::default().now();
        let found = ask(&database, async |c| query::summary(c, hours, now).await).await?;
        let found = found.unwrap_or_else(|| Summary {
            usage: Totals::none(hours),
            ..Summary::default()
        });
        if json {
            output::json_line(&found)
        } else {
            summary_text(&found)
        }
    };
    output::answer(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Zeros are the use of a key that there is. Of one that was deleted there is what the database has kept.
async fn of_key(settings: &Settings, database: &Database, key_id: String, hours: u32) -> Result<KeyUsage, Failure> {
    let now = Clock::default().now();
    let asked = ask(database, async |c| {
        let usage = query::of_key(c, &key_id, hours, now).await?;
        Ok((usage, query::has_history(c, &key_id).await?))
    });
    let (usage, is_known) = asked.await?.unwrap_or_else(|| {
        let usage = KeyUsage {
            key_id: key_id.clone(),
            usage: Totals::none(hours),
            ..KeyUsage::default()
        };
        (usage, false)
    });
    if !is_known {
        let document = DocumentStore::open(settings).await?.read().await?;
        record::find(&document, &key_id).ok_or_else(|| unknown_key(&key_id))?;
    }
    Ok(usage)
}

pub async fn audit(mut args: Args) -> Result<ExitCode, Failure> {
    let json = args.contains("--json");
    let given_limit = args.option("--limit")?;
    let limit = number(given_limit.clone(), "--limit", 50, MAX_PAGE)?;
    let before = args.option("--before")?;
    if before.as_deref().is_some_and(|before| !audit::is_entry_id(before)) {
        return Err(Failure::usage(
            "--before must be the id of an entry, as an earlier answer names it",
        ));
    }
    let filter = AuditFilter {
        key_id: args.option("--key-id")?,
        who: args.option("--who")?,
        what: args.option("--what")?,
    };
    let database = database(&args.settings()?)?;
    let page = ask(&database, async |c| {
        audit::page(c, &filter, before.as_deref(), limit).await
    })
    .await?
    .unwrap_or_default();
    output::answer(&if json {
        output::json_line(&page)
    } else {
        audit_text(&page, &same_again(&filter, given_limit.as_deref()))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The options that ask for the same again, as they are typed in a shell.
fn same_again(filter: &AuditFilter, limit: Option<&str>) -> String {
    let options = [
        ("--key-id", filter.key_id.as_deref()),
        ("--who", filter.who.as_deref()),
        ("--what", filter.what.as_deref()),
        ("--limit", limit),
    ];
    let mut text = String::new();
    for (name, value) in options {
        if let Some(value) = value.filter(|value| !id::may_be_secret(value)) {
            write!(text, " {name} {}", in_shell(&shown(value))).expect("a String takes everything");
        }
    }
    text
}

fn in_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// `database status`, `database up`, `database down --yes`.
pub async fn database_tables(mut args: Args) -> Result<ExitCode, Failure> {
    let json = args.contains("--json");
    let yes = args.contains_either("-y", "--yes");
    let action = args.word("ACTION", &["status", "up", "down"])?;
    let database = database(&args.settings()?)?;
    if action == "down" && !yes {
        return Err(Failure::usage(
            "'database down' removes all use, the whole audit log and all accounts; say --yes",
        ));
    }
    let access = if action == "up" {
        Access::Create
    } else {
        Access::Existing
    };
    let work = async {
        let mut connection = database.open_as_it_is(access).await?;
        match action {
            "up" => schema::up(&mut connection).await?,
            "down" => schema::down(&mut connection, 0).await?,
            _ => {}
        }
        let version = schema::version(&mut connection).await?;
        connection.close().await;
        Ok(version)
    };
    let version = in_time(&database, work).await?;
    let tables = Tables {
        database: database.location(),
        version,
        latest: schema::LATEST,
    };
    output::answer(&if json {
        output::json_line(&tables)
    } else {
        format!("{}: version {version} of {}\n", shown(&tables.database), tables.latest)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What an operator can do about a database that does not answer.
pub const fn advice(error: DatabaseError) -> &'static str {
    match error {
        DatabaseError::Unreachable | DatabaseError::Timeout => "Check DATABASE_URL, the network and the database.",
        DatabaseError::Refused => "Check user, password and database in DATABASE_URL, and what that user may do.",
        DatabaseError::Locked => "See who holds it, such as another program that has the file open.",
        DatabaseError::Full => "Make room for it, or set a shorter USAGE_RETENTION.",
        DatabaseError::ReadOnly => "Check DATA_DIR or the path in DATABASE_URL: the service has to write there.",
        DatabaseError::Missing => "The service makes it when it starts.",
        DatabaseError::Foreign => "Give the service a database of its own; users of an older service are imported.",
        DatabaseError::Failed => "The database's own log says more; 'heare-auth database status' shows the tables.",
    }
}

fn database(settings: &Settings) -> Result<Database, Failure> {
    let place = DatabasePlace::from_lookup(&|name| settings.get(name))?;
    Database::new(&place)
        .ok_or_else(|| Failure::failed("use is not recorded: no database is named, or DATABASE_URL is off"))
}

/// Nothing where there is no database yet, which says so: then nothing has been recorded, and nothing is made by asking.
async fn ask<T>(
    database: &Database,
    question: impl AsyncFnOnce(&mut Connection) -> Result<T, DatabaseError>,
) -> Result<Option<T>, Failure> {
    let work = async {
        let mut connection = match database.open(Access::Existing).await {
            Err(DatabaseError::Missing) => return Ok(None),
            opened => opened?,
        };
        let answer = question(&mut connection).await?;
        connection.close().await;
        Ok(Some(answer))
    };
    let answer = in_time(database, work).await?;
    if answer.is_none() {
        let location = shown(&database.location());
        note(&format!(
            "Nothing has been recorded yet: {location} is made when the service starts.\n"
        ));
    }
    Ok(answer)
}

async fn in_time<T>(database: &Database, work: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, Failure> {
    let done = timeout(PATIENCE, work).await.unwrap_or(Err(DatabaseError::Timeout));
    done.map_err(|error| Failure::Failed(format!("{error} ({})\n{}", shown(&database.location()), advice(error))))
}

fn number(text: Option<String>, flag: &str, default: u32, most: u32) -> Result<u32, Failure> {
    let Some(text) = text else {
        return Ok(default);
    };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| Failure::Usage(format!("{flag} must be a number from 1 to {most}")))
}

fn key_text(found: &KeyUsage) -> String {
    let mut text = format!("Usage of {}, last {} hours\n", shown(&found.key_id), found.usage.hours);
    push_totals(&mut text, &found.usage);
    let last_used = found.last_used_at.as_deref().unwrap_or("Never");
    push(&mut text, "Last used", last_used);
    push_endpoints(&mut text, &found.top_endpoints);
    push_hours(&mut text, &found.by_hour);
    text
}

fn summary_text(found: &Summary) -> String {
    let mut text = format!("Usage of all keys, last {} hours\n", found.usage.hours);
    push_totals(&mut text, &found.usage);
    push(&mut text, "Keys used", &found.active_keys.to_string());
    if !found.keys.is_empty() {
        push_table(&mut text, "Key ID", "Requests");
        for key in &found.keys {
            push_row(
                &mut text,
                &key.key_id,
                key.total_requests,
                key.error_rate,
                key.average_response_time_ms,
            );
        }
    }
    push_endpoints(&mut text, &found.top_endpoints);
    push_hours(&mut text, &found.by_hour);
    text
}

fn push_totals(text: &mut String, totals: &Totals) {
    text.push_str(&"━".repeat(WIDTH));
    text.push('\n');
    push(text, "Requests", &totals.total_requests.to_string());
    push(text, "Today", &totals.requests_today.to_string());
    push(text, "This hour", &totals.requests_this_hour.to_string());
    push(text, "Errors", &percent(totals.error_rate));
    let times = format!(
        "{:.3} ms on average, {:.3} ms at most",
        totals.average_response_time_ms, totals.max_response_time_ms
    );
    push(text, "Took", &times);
}

fn push_endpoints(text: &mut String, endpoints: &[EndpointUsage]) {
    if endpoints.is_empty() {
        return;
    }
    push_table(text, "Endpoint", "Requests");
    for endpoint in endpoints {
        let average = endpoint.average_response_time_ms;
        push_row(
            text,
            &endpoint.endpoint,
            endpoint.requests,
            endpoint.error_rate,
            average,
        );
    }
}

fn push_hours(text: &mut String, hours: &[HourUsage]) {
    if hours.is_empty() {
        return;
    }
    writeln!(text, "\n{:<42}{:>12}{:>10}", "Hour", "Requests", "Errors").expect("a String takes everything");
    for hour in hours {
        writeln!(text, "{:<42}{:>12}{:>10}", hour.hour, hour.requests, hour.errors).expect("a String takes everything");
    }
}

fn push(text: &mut String, label: &str, value: &str) {
    writeln!(text, "{:<13}{value}", format!("{label}:")).expect("a String takes everything");
}

fn push_table(text: &mut String, first: &str, second: &str) {
    writeln!(text, "\n{first:<42}{second:>12}{:>10}{:>14}", "Errors", "Average").expect("a String takes everything");
}

fn push_row(text: &mut String, name: &str, requests: u64, error_rate: f64, average_ms: f64) {
    let average = format!("{average_ms:.3} ms");
    writeln!(
        text,
        "{:<42}{requests:>12}{:>10}{average:>14}",
        shown(name),
        percent(error_rate)
    )
    .expect("a String takes everything");
}

fn percent(part: f64) -> String {
    format!("{:.2} %", part * 100.0)
}

fn audit_text(page: &AuditPage, options: &str) -> String {
    if page.entries.is_empty() {
        return "No changes found.\n".to_owned();
    }
    let key_id = |entry: &AuditRow| shown(entry.key_id.as_deref().unwrap_or("-"));
    let width = |least: usize, text: &dyn Fn(&AuditRow) -> String| {
        let lengths = page.entries.iter().map(|entry| text(entry).chars().count() + 2);
        lengths.max().unwrap_or_default().max(least)
    };
    let (what, key, who) = (
        width(12, &|entry| shown(&entry.what)),
        width(26, &key_id),
        width(20, &|entry| shown(&entry.who)),
    );
    let mut text = format!(
        "{:<22}{:<what$}{:<key$}{:<who$}Result\n",
        "When", "What", "Key ID", "Who"
    );
    for entry in &page.entries {
        writeln!(
            text,
            "{:<22}{:<what$}{:<key$}{:<who$}{}",
            entry.when.to_string(),
            shown(&entry.what),
            key_id(entry),
            shown(&entry.who),
            shown(&entry.result)
        )
        .expect("a String takes everything");
    }
    if let Some(next) = &page.next {
        writeln!(text, "\nOlder ones: heare-auth audit --before {next}{options}").expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_asked_for_again_without_what_may_be_a_secret() {
        let text = |text: &str| Some(text.to_owned());
        let filter = AuditFilter {
            key_id: text("key_1"),
            who: text("ann o'neill\u{1b}"),
            what: None,
        };
        assert_eq!(
            same_again(&filter, Some("5")),
            r" --key-id key_1 --who 'ann o'\''neill\u{1b}' --limit 5"
        );
        let filter = AuditFilter {
            key_id: text("sec_0001vDmowg2tzwvpaFLq"),
            ..AuditFilter::default()
        };
        assert_eq!(same_again(&filter, None), "");
    }
}
