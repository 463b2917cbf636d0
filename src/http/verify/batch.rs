//! `POST /verify/batch`: many keys at once, each answered as it would be alone.

use std::time::Instant;

use super::{Reply, Sender};
use crate::{
    core::request::{Malformed, VerifyRequest, parse_batch},
    loader::Loaded,
};

/// All of them are looked up in the same document.
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
    let mut replies = Vec::with_capacity(requests.len());
    for one in requests {
        replies.push(judge(sender, &loaded, one).await);
    }
    Reply::batch(&replies)
}

async fn judge(sender: &Sender<'_>, loaded: &Loaded, one: Result<VerifyRequest<'_>, Malformed>) -> Reply {
    match one {
        Ok(request) => sender.look_up(loaded, &request, Instant::now()).await,
        Err(reason) => sender.malformed(reason),
    }
}
