//! What is told of a call once it is over: a log line, counts, and for a change of an account an audit entry. People are
//! named by their id: a login, and what was sent as one, is nobody's business but theirs.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Done, refusal::Refusal, route::Place};
use crate::{
    accounts::UserId,
    http::{
        App, identity,
        keys::{Asked, answer::Answer},
    },
    telemetry::events::Trace,
    usage::{Action, AuditEntry},
};

/// What a call came to.
#[derive(Clone, Copy, Debug)]
pub enum Happened {
    /// Somebody looked, and nothing else.
    Nothing,
    Registered(UserId),
    LoggedIn(UserId),
    Refreshed(UserId),
    LoggedOut(UserId),
    PasswordChanged(UserId),
    SessionEnded(UserId),
    /// With so many keys.
    Deleted(UserId, usize),
}

/// A call, as far as it is told about.
pub struct Told {
    app: Arc<App>,
    began: Instant,
    request_id: String,
    traceparent: Option<String>,
    client: IpAddr,
    is_login: bool,
    route: &'static str,
}

/// One line, whatever the event.
macro_rules! line {
    ($level:ident, $event:literal, $told:expr, $sentence:literal $(, $name:ident = $value:expr)*) => {
        tracing::$level!(
            event = $event,
            request_id = $told.request_id,
            traceparent = $told.traceparent.as_deref(),
            trace_id = Trace::of($told.traceparent.as_deref()).id,
            span_id = Trace::of($told.traceparent.as_deref()).span,
            client_ip = %$told.client,
            $($name = $value,)*
            $sentence
        )
    };
}

impl Told {
    pub fn new(app: &Arc<App>, place: &Place, asked: &Asked, client: IpAddr) -> Self {
        Self {
            app: Arc::clone(app),
            began: Instant::now(),
            request_id: asked.caller.request_id.clone(),
            traceparent: identity::traceparent(&asked.headers).map(str::to_owned),
            client,
            is_login: *place == Place::Login,
            route: place.pattern(),
        }
    }

    pub fn tell(&self, outcome: Result<Done, Refusal>) -> Answer {
        let answer = match outcome {
            Ok(done) => {
                self.done(done.happened);
                done.answer
            }
            Err(refusal) => {
                self.refused(&refusal);
                refusal.answer()
            }
        };
        let metrics = &self.app.telemetry.metrics;
        metrics.account_call(answer.status.as_u16(), self.began.elapsed());
        answer
    }

    fn done(&self, happened: Happened) {
        let metrics = &self.app.telemetry.metrics;
        match happened {
            Happened::Nothing => {}
            Happened::Registered(UserId(user_id)) => {
                metrics.account_registered();
                line!(
                    info,
                    "account_registered",
                    self,
                    "an account was made",
                    user_id = user_id
                );
                self.audit(Action::RegisterAccount, user_id);
            }
            Happened::LoggedIn(UserId(user_id)) => {
                metrics.account_login_success();
                line!(info, "login_success", self, "somebody logged in", user_id = user_id);
            }
            Happened::Refreshed(UserId(user_id)) => {
                line!(info, "token_refreshed", self, "a session goes on", user_id = user_id);
            }
            Happened::LoggedOut(UserId(user_id)) => {
                line!(info, "logout", self, "somebody logged out", user_id = user_id);
            }
            Happened::PasswordChanged(UserId(user_id)) => {
                line!(
                    info,
                    "password_changed",
                    self,
                    "a password was changed",
                    user_id = user_id
                );
                self.audit(Action::ChangePassword, user_id);
            }
            Happened::SessionEnded(UserId(user_id)) => {
                line!(
                    info,
                    "session_ended",
                    self,
                    "somebody ended another session of theirs",
                    user_id = user_id
                );
            }
            Happened::Deleted(UserId(user_id), keys) => {
                line!(
                    info,
                    "account_deleted",
                    self,
                    "an account is gone, with its sessions and keys",
                    user_id = user_id,
                    keys_revoked = keys
                );
                self.audit(Action::DeleteAccount, user_id);
            }
        }
    }

    fn refused(&self, refusal: &Refusal) {
        let metrics = &self.app.telemetry.metrics;
        let (reason, status, route) = (refusal.word(), refusal.status().as_u16(), self.route);
        if self.is_login {
            metrics.account_login_failed();
        }
        let duration_ms = u64::try_from(self.took().as_millis()).unwrap_or(u64::MAX);
        match (status, self.is_login) {
            (500.., _) => line!(
                error,
                "account_call_failed",
                self,
                "a call of accounts failed",
                route = route,
                status = status,
                reason = reason,
                duration_ms = duration_ms
            ),
            (_, true) => line!(
                warn,
                "login_failed",
                self,
                "a login was refused",
                status = status,
                reason = reason
            ),
            (_, false) => line!(
                warn,
                "account_call_refused",
                self,
                "a call of accounts was refused",
                route = route,
                status = status,
                reason = reason
            ),
        }
    }

    fn took(&self) -> Duration {
        self.began.elapsed()
    }

    fn audit(&self, what: Action, user_id: i64) {
        self.app.usage.audit(&AuditEntry {
            who: format!("user:{user_id}"),
            what,
            key_id: Some(format!("user:{user_id}")),
            from: self.client.to_string(),
            when: self.app.clock.now(),
            result: "ok".to_owned(),
            request_id: Some(self.request_id.clone()),
        });
    }
}
