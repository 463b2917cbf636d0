//! What is told of requests: of those that are routed how many there were and how long they took, and of every one that
//! was slow a line in the log.

use std::time::{Duration, Instant};

use hyper::{Method, Request, Response, body::Incoming};

use super::{App, connection::Connection, identity, outgoing::Outgoing, patterns, verify::Route};
use crate::telemetry::events::{RequestInfo, Trace};

/// A request on its way to its route.
pub struct Watch<'a> {
    app: &'a App,
    began: Instant,
    method: Method,
    pub route: &'static str,
    pub request_id: String,
    traceparent: Option<String>,
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
            traceparent: identity::traceparent(request.headers()).map(str::to_owned),
        }
    }

    pub fn end(self, response: Response<Outgoing>) -> Response<Outgoing> {
        let (status, took) = (response.status().as_u16(), self.began.elapsed());
        self.app.telemetry.metrics.routed(status, took);
        if took >= self.app.slow_request {
            let slow = Slow {
                method: Some(self.method.as_str()),
                route: self.route,
                request_id: &self.request_id,
                trace: Trace::of(self.traceparent.as_deref()),
            };
            slow.tell(self.app, status, took);
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
    let slow = Slow {
        method,
        route: route.path(),
        request_id: caller.request_id.as_str(),
        trace: Trace::of(caller.traceparent),
    };
    slow.tell(app, status, took);
}

/// A request that took long, as the log tells of it.
struct Slow<'a> {
    method: Option<&'a str>,
    route: &'a str,
    request_id: &'a str,
    trace: Trace<'a>,
}

impl Slow<'_> {
    fn tell(self, app: &App, status: u16, took: Duration) {
        app.telemetry.metrics.http_slow();
        tracing::warn!(
            event = "slow_request",
            method = self.method,
            route = self.route,
            status,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            request_id = self.request_id,
            traceparent = self.trace.parent,
            trace_id = self.trace.id,
            span_id = self.trace.span,
            "a request took long"
        );
    }
}
