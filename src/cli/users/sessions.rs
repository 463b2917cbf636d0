//! `users sessions`: where a user is logged in, and the end of it.

use std::{fmt::Write as _, process::ExitCode};

use serde::Serialize;

use super::{Action, Failure, Named, Options, Session, ended_line, output, shown};
use crate::accounts::sessions::SessionId;

/// `users sessions --json`.
#[derive(Serialize)]
struct SessionList<'a> {
    id: i64,
    login: &'a str,
    ended: u64,
    /// Those that are left.
    sessions: Vec<ShownSession<'a>>,
}

#[derive(Serialize)]
struct ShownSession<'a> {
    id: &'a str,
    created_at: String,
    refreshed_at: String,
    expires_at: String,
    address: &'a str,
    user_agent: Option<&'a str>,
}

impl<'a> ShownSession<'a> {
    fn of(session: &'a Session) -> Self {
        Self {
            id: session.id.as_str(),
            created_at: session.created_at.to_string(),
            refreshed_at: session.rotated_at.to_string(),
            expires_at: session.expires_at.to_string(),
            address: &session.address,
            user_agent: session.user_agent.as_deref(),
        }
    }
}

pub async fn sessions(named: Named, options: &Options) -> Result<ExitCode, Failure> {
    let ended = end_sessions(&named, options).await?;
    if ended > 0 {
        named.accounts.write_down(Action::EndSessions, Some(named.user.id));
    }
    let sessions = named.list_sessions().await?;
    let list = SessionList {
        id: named.user.id.0,
        login: &named.user.login,
        ended,
        sessions: sessions.iter().map(ShownSession::of).collect(),
    };
    output::answer(&if options.json {
        output::json_line(&list)
    } else {
        sessions_text(&list)
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn end_sessions(named: &Named, options: &Options) -> Result<u64, Failure> {
    if options.end_all {
        return named.end_all().await;
    }
    let Some(id) = &options.end else {
        return Ok(0);
    };
    let unknown = || Failure::failed("this user has no such session");
    let id = SessionId::parse(id).ok_or_else(unknown)?;
    let ended = named.accounts.sessions.end(named.user.id, &id).await;
    let ended = ended.map_err(|error| named.accounts.failure(error))?;
    if ended { Ok(1) } else { Err(unknown()) }
}

fn sessions_text(list: &SessionList<'_>) -> String {
    let mut text = ended_line(list.ended);
    if list.sessions.is_empty() {
        writeln!(text, "{} is not logged in.", shown(list.login)).expect("a String takes everything");
        return text;
    }
    writeln!(
        text,
        "{:<38}{:<22}{:<22}{:<16}Client",
        "Session", "Created", "Refreshed", "Address"
    )
    .expect("a String takes everything");
    for session in &list.sessions {
        let client = session.user_agent.map_or_else(|| "-".to_owned(), shown);
        writeln!(
            text,
            "{:<38}{:<22}{:<22}{:<16}{client}",
            session.id,
            session.created_at,
            session.refreshed_at,
            shown(session.address)
        )
        .expect("a String takes everything");
    }
    text
}
