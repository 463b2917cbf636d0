//! What is told of a call once it is over: one log line, one count, and for a change one audit entry.

use std::{net::IpAddr, sync::Arc, time::Instant};

use hyper::{HeaderMap, Method, StatusCode};

use super::{App, Done, answer::Answer, principal::Who, problem::Problem, route::Call, usage};
use crate::{
    core::id,
    telemetry::events::Trace,
    usage::{AuditEntry, NO_ID},
};

/// A call, as far as it is told about.
pub struct Told {
    pub app: Arc<App>,
    pub began: Instant,
    pub request_id: String,
    pub traceparent: Option<String>,
    pub method: Method,
    pub route: &'static str,
    pub caller: Option<Who>,
}

impl Told {
    pub fn refused(&self, problem: &Problem, headers: &HeaderMap) -> Answer {
        let answer = Answer::problem(problem, headers);
        self.log(answer.status, Some(problem.code()), None);
        answer
    }

    /// One entry for each change and each attempt at one by somebody who may manage keys. An answer that was only given
    /// again changed nothing.
    pub async fn audit(&self, call: &Call, peer: IpAddr, outcome: &Result<Done, Problem>) {
        let Some((what, in_path)) = usage::action(call) else {
            return;
        };
        let (key_id, result) = match outcome {
            Ok(Done { target: None, .. }) => return,
            Ok(done) => (done.target.as_deref(), "ok"),
            Err(problem) => (self.named(in_path).await, problem.code()),
        };
        self.app.usage.audit(&AuditEntry {
            who: self.caller.as_ref().map(Who::name).unwrap_or_default(),
            what,
            key_id: key_id.map(str::to_owned),
            from: peer.to_canonical().to_string(),
            when: self.app.clock.now(),
            result: result.to_owned(),
            request_id: Some(self.request_id.clone()),
        });
    }

    /// What stands in a path may be anything, such as a secret of another system. It is written down when it has the form
    /// of our own ids or when a key has it.
    async fn named<'p>(&self, in_path: Option<&'p str>) -> Option<&'p str> {
        let id = in_path?;
        let is_an_id = id::is_key_id(id) || self.app.management.catalogue.knows(id).await;
        Some(if is_an_id { id } else { NO_ID })
    }

    pub fn done(&self, done: Done) -> Answer {
        self.log(done.answer.status, None, done.target.as_deref());
        done.answer
    }

    fn log(&self, status: StatusCode, code: Option<&str>, target: Option<&str>) {
        self.app
            .telemetry
            .metrics
            .management(status.as_u16(), self.began.elapsed());
        let (request_id, trace) = (self.request_id.as_str(), Trace::of(self.traceparent.as_deref()));
        let (method, route, status) = (self.method.as_str(), self.route, status.as_u16());
        let key_id = self.caller.as_ref().and_then(Who::key_id);
        let user_id = self.caller.as_ref().and_then(Who::user_id);
        let duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match status {
            500.. => {
                tracing::error!(
                    event = "management",
                    request_id,
                    traceparent = trace.parent,
                    trace_id = trace.id,
                    span_id = trace.span,
                    key_id,
                    user_id,
                    method,
                    route,
                    status,
                    code,
                    duration_ms,
                    "a management call failed"
                );
            }
            400.. => {
                tracing::warn!(
                    event = "management",
                    request_id,
                    traceparent = trace.parent,
                    trace_id = trace.id,
                    span_id = trace.span,
                    key_id,
                    user_id,
                    method,
                    route,
                    status,
                    code,
                    duration_ms,
                    "a management call was refused"
                );
            }
            _ => {
                tracing::info!(
                    event = "management",
                    request_id,
                    traceparent = trace.parent,
                    trace_id = trace.id,
                    span_id = trace.span,
                    key_id,
                    user_id,
                    method,
                    route,
                    status,
                    target_key_id = target,
                    duration_ms,
                    "a management call was carried out"
                );
            }
        }
    }
}
