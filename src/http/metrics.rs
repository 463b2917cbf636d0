//! `GET /metrics`: what was counted since the process began, in the text format of Prometheus. On the admin listener for
//! whoever reaches it, on the public one for this host alone.

use std::sync::Arc;

use hyper::{
    HeaderMap,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};

use super::{
    App,
    local::{self, Caller, NotLocal},
    reply::{Refusal, Reply},
};
use crate::telemetry::{metrics, process};

/// For whom one listener has the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// A listener whose address was chosen for such calls.
    Anybody,
    ThisHost,
}

pub fn answer(app: &Arc<App>, readers: Readers, caller: &Caller, headers: &HeaderMap) -> warp::reply::Response {
    match readers {
        Readers::Anybody => {}
        Readers::ThisHost => {
            if let Err(reason) = local::judge(caller, headers, &app.hostname) {
                return warp::Reply::into_response(reject(caller, reason));
            }
        }
    }
    let mut response = warp::reply::Response::new(text(app).into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What others tell only once in a while is brought up to date first.
fn text(app: &App) -> String {
    let metrics = &app.telemetry.metrics;
    metrics.log_dropped_so_far(app.telemetry.log.dropped());
    if let Some(age) = app.reader.freshness().age {
        metrics.age(age);
    }
    metrics.read().text(env!("CARGO_PKG_VERSION")) + &process::text()
}

fn reject(caller: &Caller, reason: NotLocal) -> Reply {
    tracing::warn!(
        event = "metrics_rejected",
        request_id = caller.request_id,
        reason = reason.word(),
        peer = %caller.peer.ip().to_canonical(),
        "metrics were asked for from elsewhere"
    );
    Reply::from(Refusal::MetricsNotLocal)
}
