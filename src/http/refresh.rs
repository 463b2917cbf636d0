//! `POST /refresh`: loads the store now and answers when the new index is in force. For this host only.

use std::time::Instant;

use hyper::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{
    App, identity,
    local::{self, Caller, NotLocal},
    reply::{Refusal, Reply},
};
use crate::loader::LoadError;

/// Both shapes that clients of the older services read: flat, and wrapped in `detail`.
#[derive(Serialize)]
struct Failed {
    success: bool,
    error: String,
    detail: Detail,
}

#[derive(Serialize)]
struct Detail {
    error: String,
}

#[derive(Serialize)]
struct Refreshed {
    success: bool,
    keys_loaded: usize,
    timestamp: String,
}

pub async fn answer(app: &App, caller: &Caller, headers: &HeaderMap, query: &str) -> Reply {
    if let Err(reason) = local::judge(caller, headers, &app.hostname) {
        return reject(app, caller, headers, reason);
    }
    let trace = identity::trace(headers);
    let began = Instant::now();
    let outcome = app.refresher.refresh(allows_older(query)).await;
    match outcome {
        Ok(keys_loaded) => {
            app.telemetry.metrics.refresh_success(began.elapsed());
            tracing::info!(
                event = "refresh_success",
                request_id = caller.request_id,
                traceparent = trace.parent,
                trace_id = trace.id,
                span_id = trace.span,
                keys_loaded,
                "the keys were loaded again"
            );
            refreshed(app, keys_loaded)
        }
        Err(error) => {
            app.telemetry.metrics.refresh_failed(began.elapsed());
            tracing::error!(
                event = "refresh_failed",
                request_id = caller.request_id,
                traceparent = trace.parent,
                trace_id = trace.id,
                span_id = trace.span,
                error = error.word(),
                "the keys could not be loaded again; those in force stay"
            );
            failed(error)
        }
    }
}

/// `?allow_older=true` is the operator's word for going back to an older generation.
fn allows_older(query: &str) -> bool {
    query.split('&').any(|parameter| parameter == "allow_older=true")
}

fn reject(app: &App, caller: &Caller, headers: &HeaderMap, reason: NotLocal) -> Reply {
    app.telemetry.metrics.refresh_rejected();
    let trace = identity::trace(headers);
    tracing::warn!(
        event = "refresh_rejected",
        request_id = caller.request_id,
        traceparent = trace.parent,
        trace_id = trace.id,
        span_id = trace.span,
        reason = reason.word(),
        peer = %caller.peer.ip().to_canonical(),
        "a refresh was asked for from elsewhere"
    );
    Reply::from(Refusal::NotLocal)
}

fn refreshed(app: &App, keys_loaded: usize) -> Reply {
    let body = Refreshed {
        success: true,
        keys_loaded,
        timestamp: app.clock.now().to_string(),
    };
    Reply::json_of(StatusCode::OK, &body)
}

fn failed(error: LoadError) -> Reply {
    let sentence = error.to_string();
    let body = Failed {
        success: false,
        error: sentence.clone(),
        detail: Detail { error: sentence },
    };
    Reply::json_of(StatusCode::BAD_GATEWAY, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_word_allows_an_older_generation() {
        let table = [
            ("", false),
            ("allow_older=true", true),
            ("a=1&allow_older=true", true),
            ("allow_older", false),
            ("allow_older=1", false),
            ("allow_older=truex", false),
            ("xallow_older=true", false),
        ];
        for (query, allowed) in table {
            assert_eq!(allows_older(query), allowed, "{query}");
        }
    }
}
