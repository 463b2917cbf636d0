//! What is told of logins at the dashboard: one line each, and for people the same counts as of any login.

use std::net::IpAddr;

use super::session::Trouble;
use crate::{
    http::{
        App, identity,
        keys::{Asked, principal::Who},
    },
    telemetry::events::Trace,
};

/// A call, as far as it is told about.
pub struct Told<'a> {
    app: &'a App,
    request_id: &'a str,
    trace: Trace<'a>,
    client: IpAddr,
}

impl<'a> Told<'a> {
    pub fn new(app: &'a App, asked: &'a Asked, client: IpAddr) -> Self {
        Self {
            app,
            request_id: &asked.caller.request_id,
            trace: identity::trace(&asked.headers),
            client,
        }
    }

    pub fn logged_in(&self, who: &Who) {
        if who.user_id().is_some() {
            self.app.telemetry.metrics.account_login_success();
        }
        tracing::info!(
            event = "dashboard_login",
            request_id = self.request_id,
            traceparent = self.trace.parent,
            trace_id = self.trace.id,
            span_id = self.trace.span,
            client_ip = %self.client,
            key_id = who.key_id(),
            user_id = who.user_id(),
            "somebody logged in to the dashboard"
        );
    }

    pub fn login_failed(&self, trouble: &Trouble) {
        if matches!(trouble, Trouble::Account(_)) {
            self.app.telemetry.metrics.account_login_failed();
        }
        tracing::warn!(
            event = "dashboard_login_failed",
            request_id = self.request_id,
            traceparent = self.trace.parent,
            trace_id = self.trace.id,
            span_id = self.trace.span,
            client_ip = %self.client,
            status = trouble.status().as_u16(),
            reason = trouble.word(),
            "a login to the dashboard was refused"
        );
    }

    pub fn logged_out(&self, who: &Who) {
        tracing::info!(
            event = "dashboard_logout",
            request_id = self.request_id,
            traceparent = self.trace.parent,
            trace_id = self.trace.id,
            span_id = self.trace.span,
            client_ip = %self.client,
            key_id = who.key_id(),
            user_id = who.user_id(),
            "somebody logged out of the dashboard"
        );
    }
}
