//! The command line: which command is meant, and what its end says to the shell.

mod args;
mod client;
mod completions;
mod doctor;
mod export;
mod failure;
mod help;
mod history;
mod import;
mod issue;
mod jwt;
mod keys;
mod list;
mod man;
mod output;
mod progress;
mod record;
mod scan;
mod serve;
mod service;
mod signals;
mod store;
mod terms;
mod trail;
mod trust;
mod update;
mod usage;
mod users;
mod verify;

use std::{ffi::OsString, process::ExitCode};

use pico_args::Arguments;

pub use self::serve::DRAIN;
use self::{args::Args, failure::Failure};
use crate::version;

/// A word after `heare-auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Serve,
    Create,
    List,
    Show,
    Update,
    Rotate,
    Revoke,
    Reactivate,
    Delete,
    Refresh,
    Migrate,
    Import,
    Export,
    History,
    Rollback,
    Scan,
    Verify,
    Usage,
    Audit,
    Users,
    Jwt,
    Database,
    Doctor,
    Health,
    Completions,
    Man,
}

impl Command {
    pub const ALL: [Self; 26] = [
        Self::Serve,
        Self::Create,
        Self::List,
        Self::Show,
        Self::Update,
        Self::Rotate,
        Self::Revoke,
        Self::Reactivate,
        Self::Delete,
        Self::Refresh,
        Self::Migrate,
        Self::Import,
        Self::Export,
        Self::History,
        Self::Rollback,
        Self::Scan,
        Self::Verify,
        Self::Usage,
        Self::Audit,
        Self::Users,
        Self::Jwt,
        Self::Database,
        Self::Doctor,
        Self::Health,
        Self::Completions,
        Self::Man,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Create => "create",
            Self::List => "list",
            Self::Show => "show",
            Self::Update => "update",
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
            Self::Reactivate => "reactivate",
            Self::Delete => "delete",
            Self::Refresh => "refresh",
            Self::Migrate => "migrate",
            Self::Import => "import",
            Self::Export => "export",
            Self::History => "history",
            Self::Rollback => "rollback",
            Self::Scan => "scan",
            Self::Verify => "verify",
            Self::Usage => "usage",
            Self::Audit => "audit",
            Self::Users => "users",
            Self::Jwt => "jwt",
            Self::Database => "database",
            Self::Doctor => "doctor",
            Self::Health => "health",
            Self::Completions => "completions",
            Self::Man => "man",
        }
    }

    /// By its word, or by the name that the list of tasks before this program had for it.
    fn from_word(word: &str) -> Option<Self> {
        let alias = Self::ALIASES.iter().find(|(alias, _)| *alias == word);
        let known = Self::ALL.into_iter().find(|command| command.word() == word);
        known.or(alias.map(|(_, command)| *command))
    }

    pub const ALIASES: [(&'static str, Self); 4] = [
        ("create-key", Self::Create),
        ("list-keys", Self::List),
        ("revoke-key", Self::Revoke),
        ("rotate-key", Self::Rotate),
    ];
}

/// Runs the command that the arguments (without the program's name) ask for.
/// 0 is done, 1 is failed, 2 is wrong usage.
pub fn run(args: Vec<OsString>) -> ExitCode {
    if args.is_empty() {
        output::note(&help::program());
        return failure::WRONG_USAGE.into();
    }
    let mut arguments = Arguments::from_vec(args);
    let command = match arguments.subcommand() {
        Ok(Some(word)) if word == "help" => return explain(arguments),
        Ok(Some(word)) => match Command::from_word(&word) {
            Some(command) => command,
            None => return failure::unknown_command(&word).report(None),
        },
        Ok(None) => return without_command(arguments),
        Err(_) => return failure::unknown_command("").report(None),
    };
    if arguments.contains(["-h", "--help"]) {
        return end(output::answer(&help::command(command)));
    }
    match dispatch(command, Args::new(arguments)) {
        Ok(code) => code,
        Err(failure) => failure.report(Some(command)),
    }
}

fn dispatch(command: Command, args: Args) -> Result<ExitCode, Failure> {
    if command == Command::Serve {
        return serve::serve(args);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| Failure::failed("the system gives this program no event loop"))?;
    let trail = args.trail();
    runtime.block_on(async {
        let outcome = match command {
            Command::Serve => unreachable!("it has been run above, on a runtime of its own"),
            Command::Create => issue::create(args).await,
            Command::Rotate => issue::rotate(args).await,
            Command::Update => update::update(args).await,
            Command::Revoke => keys::revoke(args).await,
            Command::Reactivate => keys::reactivate(args).await,
            Command::Delete => keys::delete(args).await,
            Command::Migrate => keys::migrate(args).await,
            Command::Import => import::import(args).await,
            Command::Export => export::export(args).await,
            Command::History => history::history(args).await,
            Command::Rollback => history::rollback(args).await,
            Command::Scan => scan::scan(args).await,
            Command::List => list::list(args).await,
            Command::Show => list::show(args).await,
            Command::Refresh => service::refresh(args).await,
            Command::Health => service::health(args).await,
            Command::Verify => verify::verify(args).await,
            Command::Usage => usage::usage(args).await,
            Command::Audit => usage::audit(args).await,
            Command::Users => users::users(args).await,
            Command::Jwt => jwt::jwt(args),
            Command::Database => usage::database_tables(args).await,
            Command::Doctor => doctor::doctor(args).await,
            Command::Completions => completions::completions(args),
            Command::Man => man::man(args),
        };
        trail.finish().await;
        outcome
    })
}

/// `heare-auth --help`, `heare-auth --version`, or an option that belongs behind a command.
fn without_command(mut arguments: Arguments) -> ExitCode {
    if arguments.contains(["-h", "--help"]) {
        return end(output::answer(&help::program()));
    }
    if arguments.contains(["-V", "--version"]) {
        if let Err(failure) = Args::new(arguments).end() {
            return failure.report(None);
        }
        return end(output::answer(&format!("{}\n", version::line())));
    }
    Failure::usage("the command is missing").report(None)
}

/// `heare-auth help` and `heare-auth help COMMAND`.
fn explain(mut arguments: Arguments) -> ExitCode {
    let text = match arguments.subcommand() {
        Ok(None) => help::program(),
        Ok(Some(word)) => match Command::from_word(&word) {
            Some(command) => help::command(command),
            None => return failure::unknown_command(&word).report(None),
        },
        Err(_) => return failure::unknown_command("").report(None),
    };
    // `help --help` asks for the same twice.
    arguments.contains(["-h", "--help"]);
    match Args::new(arguments).end() {
        Ok(()) => end(output::answer(&text)),
        Err(failure) => failure.report(None),
    }
}

fn end(written: Result<(), Failure>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(None),
    }
}
