//! Where somebody is logged in, and ending that at another place.

use hyper::StatusCode;
use serde::Serialize;

use super::{Done, Door, calls::Message, refusal::Refusal, told::Happened};
use crate::http::keys::answer::Answer;

#[derive(Serialize)]
struct Sessions {
    sessions: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    id: String,
    created_at: String,
    last_used_at: String,
    expires_at: String,
    user_agent: Option<String>,
    address: String,
    /// The one that asks.
    current: bool,
}

pub async fn list(door: &Door) -> Result<Done, Refusal> {
    let person = door.accounts.who(door.token()?).await?;
    let own = person.session.clone();
    let sessions = door.accounts.sessions(person).await?;
    let shown = sessions.into_iter().map(|session| Shown {
        current: session.id == own,
        id: session.id.to_string(),
        created_at: session.created_at.to_string(),
        last_used_at: session.rotated_at.to_string(),
        expires_at: session.expires_at.to_string(),
        user_agent: session.user_agent,
        address: session.address,
    });
    let sessions = Sessions {
        sessions: shown.collect(),
    };
    Ok(Done::quietly(Answer::json_of(StatusCode::OK, &sessions)))
}

pub async fn end(door: &Door, id: String) -> Result<Done, Refusal> {
    let person = door.accounts.who(door.token()?).await?;
    let user = person.user.id;
    door.accounts.end_session(person, id).await?;
    let message = Message {
        message: "Session ended",
    };
    Ok(Done {
        answer: Answer::json_of(StatusCode::OK, &message),
        happened: Happened::SessionEnded(user),
    })
}
