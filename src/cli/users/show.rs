//! `users list` and `users show`: who there is.

use std::{fmt::Write as _, process::ExitCode};

use serde::Serialize;

use super::{Accounts, Args, Failure, Named, Options, User, output, shown};

const LABEL_WIDTH: usize = 13;

/// A user without the hash. The members' names are the command line's JSON.
#[derive(Serialize)]
struct Shown<'a> {
    id: i64,
    login: &'a str,
    status: &'static str,
    created_at: String,
    last_login: Option<String>,
    disabled_at: Option<String>,
    hash: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<usize>,
}

impl<'a> Shown<'a> {
    fn of(user: &'a User) -> Self {
        let hash = ["argon2id", "argon2i", "argon2d"]
            .into_iter()
            .find(|kind| user.password_hash.starts_with(&format!("${kind}$")));
        Self {
            id: user.id.0,
            login: &user.login,
            status: if user.disabled_at.is_some() { "disabled" } else { "good" },
            created_at: user.created_at.to_string(),
            last_login: user.last_login.map(|time| time.to_string()),
            disabled_at: user.disabled_at.map(|time| time.to_string()),
            hash: hash.unwrap_or("bcrypt"),
            sessions: None,
        }
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    users: Vec<Shown<'a>>,
    total: usize,
}

pub async fn list(args: Args, options: &Options) -> Result<ExitCode, Failure> {
    let accounts = Accounts::open(args.settings()?)?;
    let users = if accounts.are_kept() {
        accounts.all().await?
    } else {
        Vec::new()
    };
    let listed = Listed {
        users: users.iter().map(Shown::of).collect(),
        total: users.len(),
    };
    output::answer(&if options.json {
        output::json_line(&listed)
    } else {
        table(&listed)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn table(listed: &Listed<'_>) -> String {
    if listed.users.is_empty() {
        return "No users found.\n".to_owned();
    }
    let logins: Vec<String> = listed.users.iter().map(|user| shown(user.login)).collect();
    let width = logins
        .iter()
        .map(|login| login.chars().count())
        .max()
        .unwrap_or_default()
        .max(20)
        + 2;
    let mut text = format!("{:<8}{:<width$}{:<22}Last login\n", "ID", "Login", "Created");
    for (user, login) in listed.users.iter().zip(logins) {
        let last_login = user.last_login.as_deref().unwrap_or("Never");
        let mark = if user.disabled_at.is_some() { "  (disabled)" } else { "" };
        writeln!(
            text,
            "{:<8}{login:<width$}{:<22}{last_login}{mark}",
            user.id, user.created_at
        )
        .expect("a String takes everything");
    }
    writeln!(text, "Total: {} users", listed.total).expect("a String takes everything");
    text
}

pub async fn show(named: Named, options: &Options) -> Result<ExitCode, Failure> {
    let count = named.list_sessions().await?.len();
    let user = Shown {
        sessions: Some(count),
        ..Shown::of(&named.user)
    };
    if options.json {
        output::answer(&output::json_line(&user))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    push(&mut text, "Login", &named.login());
    push(&mut text, "ID", &user.id.to_string());
    push(&mut text, "Created", &user.created_at);
    push(&mut text, "Last login", user.last_login.as_deref().unwrap_or("Never"));
    if let Some(disabled_at) = &user.disabled_at {
        push(&mut text, "Disabled", disabled_at);
    }
    push(&mut text, "Hash", user.hash);
    push(&mut text, "Sessions", &count.to_string());
    output::answer(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn push(text: &mut String, label: &str, value: &str) {
    writeln!(text, "{:<LABEL_WIDTH$}{value}", format!("{label}:")).expect("a String takes everything");
}
