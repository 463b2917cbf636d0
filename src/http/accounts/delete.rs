//! `POST /api/delete`: an account goes, and with it everything that lets somebody in by it.
//!
//! The order matters. First nobody can log in to the account any more nor use its tokens; then its keys are taken away by
//! one write; then its sessions and the account itself go. Whatever fails in between, the call can be made again, with the
//! same login and password, and until then nobody is let in.

use std::sync::Arc;

use hyper::StatusCode;

use super::{
    Done, Door,
    calls::{Credentials, Message},
    refusal::Refusal,
    told::Happened,
};
use crate::{accounts::UserId, http::keys::answer::Answer, usage::AuditEntry};

/// What is written into the records of the keys.
const REASON: &str = "account deleted";

pub async fn delete(door: Door) -> Result<Done, Refusal> {
    let Credentials { login, password } = Credentials::read(door.asked.body())?;
    // A token is not needed; one that comes has to be good, and this user's.
    let owner = match door.token() {
        Ok(token) => Some(door.accounts.who(token).await?),
        Err(_) if door.asked.headers.contains_key(hyper::header::AUTHORIZATION) => return Err(Refusal::NoToken),
        Err(_) => None,
    };
    let catalogue = door.app.management.catalogue.clone();
    let carried_out = catalogue.carry_out(async move {
        let visitor = door.visitor();
        let user = door.accounts.begin_deletion(login, password, owner, visitor).await?;
        let keys = take_keys(&door, user).await?;
        door.accounts.finish_deletion(user).await?;
        Ok(Done {
            answer: Answer::json_of(
                StatusCode::OK,
                &Message {
                    message: "User deleted successfully",
                },
            ),
            happened: Happened::Deleted(user, keys),
        })
    });
    carried_out.await.unwrap_or(Err(Refusal::OutcomeUnknown))
}

/// Tells how many keys were taken away; each of them is in the audit log.
async fn take_keys(door: &Door, user: UserId) -> Result<usize, Refusal> {
    let app = Arc::clone(&door.app);
    let (owner, now) = (user.0.to_string(), app.clock.now());
    let taken = app.management.catalogue.revoke_all_of(owner.clone(), REASON, now).await;
    let taken = taken.map_err(Refusal::Keys)?;
    for key_id in &taken {
        app.usage.audit(&AuditEntry {
            who: format!("user:{owner}"),
            what: crate::usage::Action::Revoke,
            key_id: Some(key_id.clone()),
            from: door.client.to_string(),
            when: now,
            result: "ok".to_owned(),
            request_id: Some(door.asked.caller.request_id.clone()),
        });
    }
    Ok(taken.len())
}
