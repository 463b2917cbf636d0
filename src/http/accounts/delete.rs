//! `POST /api/delete`: an account goes, and with it everything that lets somebody in by it.
//!
//! The order matters. First nobody can log in to the account any more nor use its tokens; then its keys are taken away by
//! one write; then its sessions and the account itself go. Whatever fails in between, the call can be made again, with the
//! same login and password, and with the same token where one came, and until then nobody is let in.

use hyper::StatusCode;

use super::{
    Done, Door,
    calls::{Credentials, Message},
    refusal::Refusal,
    told::Happened,
};
use crate::http::keys::{answer::Answer, leaving};

pub async fn delete(door: Door) -> Result<Done, Refusal> {
    let Credentials { login, password } = Credentials::read(door.asked.body())?;
    // A token is not needed; one that comes has to be good, and this user's.
    let asking = match door.token() {
        Ok(token) => Some(door.accounts.leaver(token).await?),
        Err(_) if door.asked.headers.contains_key(hyper::header::AUTHORIZATION) => return Err(Refusal::NoToken),
        Err(_) => None,
    };
    let catalogue = door.app.management.catalogue.clone();
    let carried_out = catalogue.carry_out(async move {
        let visitor = door.visitor();
        let user = door.accounts.begin_deletion(login, password, asking, visitor).await?;
        let keys = leaving::take_keys(&door.app, user, door.client, &door.asked.caller.request_id).await;
        let keys = keys.map_err(Refusal::Keys)?;
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
