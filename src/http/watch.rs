//! What is told of requests: of those that are routed how many there were and how long they took, and of every one that
//! was slow a line in the log.

use std::time::{Duration, Instant};

use hyper::{Method, Request, Response, body::Incoming};

use super::{App, connection::Connection, identity, outgoing::Outgoing, patterns, verify::Route};
use crate::telemetry::events::RequestInfo;

/// A request on its way to its route.
pub struct Watch<'a> {
    app: &'a App,
    began: Instant,
    method: Method,
    pub route: &'static str,
    pub request_id: String,
}

impl<'a> Watch<'a> {
    pub fn begin(connection: &'a Connection, request: &Request<Incoming>) -> Self {
        let worker = &connection.worker;
        let request_id = identity::request_id(request.headers(), &worker.request_ids);
        Self {
            app: &worker.app,
            began: Instant::now(),
            method: request.method().clone(),
            route: patterns::of(request.uri().path()),
            request_id: request_id.as_str().to_owned(),
        }
    }

    pub fn end(self, response: Response<Outgoing>) -> Response<Outgoing> {
        let (status, took) = (response.status().as_u16(), self.began.elapsed());
        self.app.telemetry.metrics.routed(status, took);
        if took >= self.app.slow_request {
            tell(
                self.app,
                Some(self.method.as_str()),
                self.route,
                status,
                took,
                &self.request_id,
            );
        }
        response
    }
}

/// A key was presented, and decided about slowly.
pub fn slow_decision(app: &App, route: Route, status: u16, took: Duration, caller: &RequestInfo<'_>) {
    let method = match route {
        Route::Verify | Route::Batch | Route::Validate => Some("POST"),
        // It is asked by every method that a client uses.
        Route::Authz => None,
        // It is watched as a whole.
        Route::Management => return,
    };
    tell(app, method, route.path(), status, took, caller.request_id.as_str());
}

fn tell(app: &App, method: Option<&str>, route: &str, status: u16, took: Duration, request_id: &str) {
    app.telemetry.metrics.http_slow();
    tracing::warn!(
        event = "slow_request",
        method,
        route,
        status,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        request_id,
        "a request took long"
    );
}
