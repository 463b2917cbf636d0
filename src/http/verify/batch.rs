//! `POST /verify/batch`: many keys at once, each answered as it would be alone.

use std::time::Instant;

use super::{Reply, Sender};
use crate::{
    core::request::{Malformed, VerifyRequest, parse_batch},
    http::together::together,
    loader::Loaded,
};

/// All of them are looked up in the same document, and those that Redis has to be asked for are asked for together: a batch
/// waits no longer than a single key.
pub async fn answer(sender: &Sender<'_>, body: &[u8]) -> Reply {
    let requests = match parse_batch(body) {
        Ok(requests) => requests,
        Err(reason) => return sender.malformed(reason),
    };
    let requests: Vec<_> = requests
        .iter()
        .map(|one| VerifyRequest::parse_text(one.get()))
        .collect();
    let presented = requests.iter().flatten().map(|request| &*request.api_key);
    let loaded = match sender.loaded_for(presented).await {
        Ok(loaded) => loaded,
        Err(refusal) => return Reply::from(refusal),
    };
    let judged = requests.into_iter().map(|one| judge(sender, &loaded, one));
    Reply::batch(&together(judged).await)
}

async fn judge(sender: &Sender<'_>, loaded: &Loaded, one: Result<VerifyRequest<'_>, Malformed>) -> Reply {
    match one {
        Ok(request) => sender.look_up(loaded, &request, Instant::now()).await,
        Err(reason) => sender.malformed(reason),
    }
}
