//! `users import`: reads a file of users, shows what it would do, and does it in one transaction.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use serde::Serialize;

use super::{Accounts, Action, Args, Failure, Options, output, shown};
use crate::{
    accounts::{
        Unavailable,
        import::{self, Plan, Problem, Unwritten},
    },
    cli::{
        failure::FAILED,
        import::{parse_format, read_file},
        output::note,
    },
    core::import::Format,
    database::{Access, Connection, Database, DatabaseError, in_time},
};

/// How many rows of a kind are shown to people; `--json` has them all.
const SHOWN: usize = 20;

/// A large file takes its time, and nobody waits for it but the operator and those who register meanwhile.
const PATIENCE: Duration = Duration::from_mins(10);

/// `users import --json`.
#[derive(Serialize)]
struct Report {
    new: usize,
    identical: usize,
    conflicting: Vec<Row>,
    invalid: Vec<Row>,
    imported: usize,
}

#[derive(Serialize)]
struct Row {
    row: usize,
    reason: String,
}

impl From<Problem> for Row {
    fn from(problem: Problem) -> Self {
        Self {
            row: problem.row,
            reason: problem.reason,
        }
    }
}

pub async fn import(mut args: Args, options: &Options) -> Result<ExitCode, Failure> {
    let file = args.free()?.ok_or_else(|| Failure::usage("FILE is missing"))?;
    let format = options.format.as_deref().map(parse_format).transpose()?;
    if file == "-" && !options.yes && !options.dry_run {
        return Err(Failure::usage("users from standard input need --yes or --dry-run"));
    }
    let accounts = Accounts::open(args.settings()?)?;
    let text = read_file(&file)?;
    let read = import::read(&text, format.unwrap_or_else(|| Format::of(&text)), accounts.now);
    let (incoming, invalid) = read.map_err(|error| Failure::Failed(format!("{error}; nothing was imported")))?;
    drop(text);
    let unavailable = |error: DatabaseError| accounts.failure(Unavailable::Database(error));
    let planning = async {
        let mut connection = open(&accounts).await?;
        let plan = import::plan(&mut connection, incoming).await?;
        connection.close().await;
        Ok(plan)
    };
    let Plan {
        new,
        identical,
        conflicting,
    } = in_time(PATIENCE, planning).await.map_err(unavailable)?;
    let mut report = Report {
        new: new.len(),
        identical,
        conflicting: conflicting.into_iter().map(Row::from).collect(),
        invalid: invalid.into_iter().map(Row::from).collect(),
        imported: 0,
    };
    if !options.json {
        output::answer(&report.lines(&accounts.location))?;
    }
    if !report.is_possible() {
        report.print_json(options)?;
        if !options.dry_run {
            note("Error: nothing was imported: all rows must be good\n");
        }
        return Ok(FAILED.into());
    }
    let is_agreed = || options.yes || output::is_agreed(&format!("Import {} users?", report.new));
    let outcome = match report.new {
        _ if options.dry_run => "",
        0 => "✓ Nothing to import.\n",
        _ if !is_agreed() => "Cancelled.\n",
        _ => {
            write(&accounts, &new).await?;
            report.imported = report.new;
            "✓ Imported.\n"
        }
    };
    if !options.json {
        output::answer(outcome)?;
    }
    report.print_json(options)?;
    Ok(ExitCode::SUCCESS)
}

async fn write(accounts: &Accounts, users: &[import::Incoming]) -> Result<(), Failure> {
    let writing = async {
        let mut connection = open(accounts).await?;
        let written = match import::write(&mut connection, users).await {
            Ok(()) => true,
            // What was begun is undone with the connection.
            Err(Unwritten::Overtaken) => false,
            Err(Unwritten::Database(error)) => return Err(error),
        };
        if written {
            connection.close().await;
        }
        Ok(written)
    };
    match in_time(PATIENCE, writing).await {
        Ok(true) => {
            accounts.write_down(Action::ImportAccounts, None);
            Ok(())
        }
        Ok(false) => Err(Failure::failed(
            "somebody has registered meanwhile; nothing was imported\nRun the command again to see the plan as it is now.",
        )),
        Err(error) => Err(accounts.failure(Unavailable::Database(error))),
    }
}

async fn open(accounts: &Accounts) -> Result<Connection, DatabaseError> {
    let database = Database::new(&accounts.place).ok_or(DatabaseError::Missing)?;
    database.open(Access::Create).await
}

impl Report {
    fn is_possible(&self) -> bool {
        self.conflicting.is_empty() && self.invalid.is_empty()
    }

    fn print_json(&self, options: &Options) -> Result<(), Failure> {
        if options.json {
            output::answer(&output::json_line(self))
        } else {
            Ok(())
        }
    }

    fn lines(&self, location: &str) -> String {
        let mut lines = format!("Import into {}:\n", shown(location));
        let kinds: [(&str, usize, &[Row]); 4] = [
            ("new", self.new, &[]),
            ("identical", self.identical, &[]),
            ("conflicting", self.conflicting.len(), &self.conflicting),
            ("invalid", self.invalid.len(), &self.invalid),
        ];
        for (kind, count, rows) in kinds {
            writeln!(lines, "  {kind:<12} {count}").expect("a String takes everything");
            for Row { row, reason } in rows.iter().take(SHOWN) {
                writeln!(lines, "    row {row}: {}", shown(reason)).expect("a String takes everything");
            }
            if let Some(more @ 1..) = rows.len().checked_sub(SHOWN) {
                writeln!(lines, "    and {more} more").expect("a String takes everything");
            }
        }
        lines
    }
}
