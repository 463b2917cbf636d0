//! `users`: who has an account, for an operator. It works on the database itself, whether the service runs or not; what
//! is done is in force at once on every instance.

mod delete;
mod import;
mod sessions;
mod show;

use std::{process::ExitCode, sync::Arc};

use serde::Serialize;

use super::{
    args::{Args, Settings},
    failure::Failure,
    output::{self, shown},
    usage::advice,
};
use crate::{
    accounts::{
        Unavailable,
        login_name::LoginName,
        sessions::{Session, Sessions},
        users::{User, UserId, Users},
    },
    clock::Clock,
    config::{DatabasePlace, LimitConfig},
    core::time::Timestamp,
    database::{Database, pool::Pool},
    usage::Action,
};

const ACTIONS: [&str; 7] = ["list", "show", "disable", "enable", "delete", "sessions", "import"];
/// So many users are asked for at once.
const PAGE: u32 = 500;

pub async fn users(mut args: Args) -> Result<ExitCode, Failure> {
    let options = Options::take(&mut args)?;
    // What the store and the service are told is of use for 'delete' alone, and harmless elsewhere.
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let action = args.word("ACTION", &ACTIONS)?;
    options.check(action)?;
    match action {
        "list" => show::list(args, &options).await,
        "import" => import::import(args, &options).await,
        "show" => show::show(Named::find(args, &options).await?, &options).await,
        "disable" => disable(Named::find(args, &options).await?, &options).await,
        "enable" => enable(Named::find(args, &options).await?, &options).await,
        "sessions" => sessions::sessions(Named::find(args, &options).await?, &options).await,
        _ => delete::delete(Named::find(args, &options).await?, &options).await,
    }
}

/// All options of all actions.
#[expect(clippy::struct_excessive_bools, reason = "each is a word that was said or was not")]
struct Options {
    json: bool,
    yes: bool,
    dry_run: bool,
    no_refresh: bool,
    end_all: bool,
    end: Option<String>,
    id: Option<UserId>,
    format: Option<String>,
}

impl Options {
    fn take(args: &mut Args) -> Result<Self, Failure> {
        let id = args.option("--id")?;
        let number = |text: String| {
            let number = text.parse().ok().filter(|number| *number >= 1);
            number.ok_or_else(|| Failure::usage("--id must be a number from 1"))
        };
        Ok(Self {
            json: args.contains("--json"),
            yes: args.contains_either("-y", "--yes"),
            dry_run: args.contains("--dry-run"),
            no_refresh: args.contains("--no-refresh"),
            end_all: args.contains("--end-all"),
            end: args.option("--end")?,
            id: id.map(number).transpose()?.map(UserId),
            format: args.option("--format")?,
        })
    }

    /// An option that would do nothing was meant for something.
    fn check(&self, action: &str) -> Result<(), Failure> {
        let given = [
            ("--yes", self.yes, ["delete", "import"].as_slice()),
            ("--dry-run", self.dry_run, &["import"]),
            ("--format", self.format.is_some(), &["import"]),
            ("--no-refresh", self.no_refresh, &["delete"]),
            ("--end", self.end.is_some(), &["sessions"]),
            ("--end-all", self.end_all, &["sessions"]),
            (
                "--id",
                self.id.is_some(),
                &["show", "disable", "enable", "delete", "sessions"],
            ),
        ];
        let misplaced = given
            .iter()
            .find(|(_, is_given, actions)| *is_given && !actions.contains(&action));
        match misplaced {
            Some((option, ..)) => Err(Failure::Usage(format!("'users {action}' has no option {option}"))),
            None if self.end_all && self.end.is_some() => {
                Err(Failure::usage("--end and --end-all cannot both be meant"))
            }
            None => Ok(()),
        }
    }
}

/// Where accounts are kept.
struct Accounts {
    settings: Settings,
    place: DatabasePlace,
    location: String,
    /// There is a database, and so may be accounts.
    are_kept: bool,
    users: Users,
    sessions: Sessions,
    now: Timestamp,
}

impl Accounts {
    fn open(settings: Settings) -> Result<Self, Failure> {
        let lookup = |name: &str| settings.get(name);
        let place = DatabasePlace::from_lookup(&lookup)?;
        let redis_url = LimitConfig::from_lookup(&lookup)?.redis_url;
        let database = Database::new(&place)
            .ok_or_else(|| Failure::failed("there are no accounts: no database is named, or DATABASE_URL is off"))?;
        let are_kept = !database.is_missing();
        let pool = Arc::new(Pool::new(database));
        let sessions = match &redis_url {
            Some(url) => Sessions::in_redis(url).map_err(|_| Failure::failed("REDIS_URL is no URL of Redis"))?,
            None => Sessions::in_database(Arc::clone(&pool)),
        };
        Ok(Self {
            place,
            location: pool.location(),
            are_kept,
            users: Users::new(pool),
            sessions,
            now: Clock::default().now(),
            settings,
        })
    }

    /// What an operator can do about a store that does not answer.
    fn failure(&self, unavailable: Unavailable) -> Failure {
        Failure::Failed(match unavailable {
            Unavailable::Database(error) => format!("{error} ({})\n{}", shown(&self.location), advice(error)),
            Unavailable::Redis(_) => format!("{unavailable}\nCheck REDIS_URL and Redis with 'heare-auth doctor'."),
        })
    }

    /// Whether there is anybody to be read of. Nothing is made by asking.
    fn are_kept(&self) -> bool {
        if !self.are_kept {
            output::note(&format!(
                "There are no accounts yet: {} is made when the service starts.\n",
                shown(&self.location)
            ));
        }
        self.are_kept
    }

    fn write_down(&self, what: Action, user: Option<UserId>) {
        let target = user.map(|user| format!("user:{}", user.0));
        self.settings.trail.add_account(&self.place, what, target, self.now);
    }

    async fn all(&self) -> Result<Vec<User>, Failure> {
        let (mut all, mut after) = (Vec::new(), UserId(0));
        loop {
            let page = self
                .users
                .list(after, PAGE)
                .await
                .map_err(|error| self.failure(error))?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = last.id;
            all.extend(page);
        }
    }
}

/// One user, and where accounts are kept.
struct Named {
    accounts: Accounts,
    user: User,
}

impl Named {
    async fn find(mut args: Args, options: &Options) -> Result<Self, Failure> {
        let login = match options.id {
            Some(_) => None,
            None => Some(args.text("LOGIN")?.ok_or_else(|| Failure::usage("LOGIN is missing"))?),
        };
        let accounts = Accounts::open(args.settings()?)?;
        // Who is named is read first, whatever is to be done.
        let found = match (options.id, &login) {
            _ if !accounts.are_kept() => Ok(None),
            (Some(id), _) => accounts.users.by_id(id).await,
            (None, login) => {
                let login = LoginName::presented(login.as_deref().unwrap_or_default());
                accounts.users.by_login(login.key()).await
            }
        };
        let found = found.map_err(|error| accounts.failure(error))?;
        // It is not repeated: somebody may have typed a password.
        let user = found.ok_or_else(|| Failure::failed("there is no such user"))?;
        Ok(Self { accounts, user })
    }

    async fn end_all(&self) -> Result<u64, Failure> {
        let ended = self.accounts.sessions.end_all(self.user.id, None).await;
        ended.map_err(|error| self.accounts.failure(error))
    }

    async fn list_sessions(&self) -> Result<Vec<Session>, Failure> {
        let listed = self.accounts.sessions.list(&self.user, self.accounts.now).await;
        listed.map_err(|error| self.accounts.failure(error))
    }

    fn login(&self) -> String {
        shown(&self.user.login)
    }
}

/// `users disable --json` and `users enable --json`.
#[derive(Serialize)]
struct ChangedUser<'a> {
    id: i64,
    login: &'a str,
    /// False when it was like that already.
    changed: bool,
    sessions_ended: u64,
}

async fn disable(named: Named, options: &Options) -> Result<ExitCode, Failure> {
    let (accounts, id) = (&named.accounts, named.user.id);
    let changed = accounts.users.disable(id, accounts.now).await;
    let changed = changed.map_err(|error| accounts.failure(error))?;
    // What fails below does not take it back, and a repetition changes nothing any more.
    if changed {
        accounts.write_down(Action::DisableAccount, Some(id));
    }
    let ended = named.end_all().await?;
    let sentence = if changed {
        format!("✓ Disabled: {}\n", named.login())
    } else {
        format!("✓ {} is disabled already.\n", named.login())
    };
    tell(&named, options, changed, ended, sentence)
}

async fn enable(named: Named, options: &Options) -> Result<ExitCode, Failure> {
    let (accounts, id) = (&named.accounts, named.user.id);
    let changed = accounts.users.enable(id).await;
    let changed = changed.map_err(|error| accounts.failure(error))?;
    if changed {
        accounts.write_down(Action::EnableAccount, Some(id));
    }
    let sentence = if changed {
        format!("✓ Enabled: {}\n", named.login())
    } else {
        format!("✓ {} is not disabled.\n", named.login())
    };
    tell(&named, options, changed, 0, sentence)
}

fn tell(named: &Named, options: &Options, changed: bool, ended: u64, sentence: String) -> Result<ExitCode, Failure> {
    output::answer(&if options.json {
        output::json_line(&ChangedUser {
            id: named.user.id.0,
            login: &named.user.login,
            changed,
            sessions_ended: ended,
        })
    } else {
        sentence + &ended_line(ended)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn ended_line(ended: u64) -> String {
    match ended {
        0 => String::new(),
        1 => "  1 session ended.\n".to_owned(),
        _ => format!("  {ended} sessions ended.\n"),
    }
}
