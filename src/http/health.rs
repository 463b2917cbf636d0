//! `GET /health`, alive at all; and `GET /ready`, able to judge keys.

use hyper::StatusCode;
use serde::Serialize;

use super::{
    App,
    reply::{Reply, Wait},
};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_count: Option<usize>,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    keys_count: usize,
    etag: Option<String>,
    generation: Option<u64>,
    loaded_at: Option<String>,
    age_seconds: Option<u64>,
    last_error: Option<&'static str>,
}

pub fn health(app: &App) -> Reply {
    app.telemetry.metrics.health();
    let keys_count = app.reader.current().map_or(0, |loaded| loaded.index.keys_count());
    let body = Health {
        status: "ok",
        keys_count: (!app.health_opaque).then_some(keys_count),
    };
    Reply::json_of(StatusCode::OK, &body)
}

pub fn ready(app: &App) -> Reply {
    let loaded = app.reader.current();
    let loaded = loaded.as_deref();
    let freshness = app.reader.freshness();
    let status = match (app.is_draining(), loaded) {
        (true, _) => "draining",
        (false, None) => "loading",
        (false, Some(_)) => "ready",
    };
    let body = Ready {
        status,
        keys_count: loaded.map_or(0, |loaded| loaded.index.keys_count()),
        etag: loaded.and_then(|loaded| loaded.etag.clone()),
        generation: loaded.and_then(|loaded| loaded.index.generation()),
        loaded_at: loaded.map(|loaded| loaded.loaded_at.to_string()),
        age_seconds: freshness.age.map(|age| age.as_secs()),
        last_error: freshness.last_error.map(crate::loader::LoadError::word),
    };
    if status == "ready" {
        Reply::json_of(StatusCode::OK, &body)
    } else {
        Reply::json_of(StatusCode::SERVICE_UNAVAILABLE, &body).retry_after(Wait::A_SECOND)
    }
}
