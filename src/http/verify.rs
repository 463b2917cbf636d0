//! Answers `POST /verify`, its batch and `POST /api/v1/keys/validate`. Nothing here waits but for the body, for Redis about
//! a key with limits, and for the one bcrypt of an imported key that is seen for the first time.

mod batch;
mod decide;
mod validate;

use std::{sync::Arc, time::Instant};

use hyper::{HeaderMap, Method, Request, Response, body::Incoming};

use self::decide::{Decided, decide_here};
pub(super) use self::decide::{Question, Route, decide, settled};
use super::{
    Face, body,
    connection::Connection,
    identity,
    imported::Busy,
    outgoing::Outgoing,
    reply::{Refusal, Reply},
};
use crate::{
    core::{
        request::{Malformed, VerifyRequest},
        secret::Digest,
        verify::{self, Finding, Outcome},
    },
    loader::Loaded,
    telemetry::events::RequestInfo,
};

/// The routes answered here.
#[derive(Clone, Copy)]
pub enum Form {
    Single,
    Batch,
    Validate,
}

impl Form {
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/verify" => Some(Self::Single),
            "/verify/batch" => Some(Self::Batch),
            "/api/v1/keys/validate" => Some(Self::Validate),
            _ => None,
        }
    }

    const fn route(self) -> Route {
        match self {
            Self::Single => Route::Verify,
            Self::Batch => Route::Batch,
            Self::Validate => Route::Validate,
        }
    }
}

/// Whether it is the one request that nearly all are.
pub fn is_single(face: &Face, request: &Request<Incoming>) -> bool {
    face.verify && request.method() == Method::POST && request.uri().path() == "/verify"
}

pub async fn answer(connection: &Connection, request: Request<Incoming>, form: Form) -> Response<Outgoing> {
    let (head, body) = request.into_parts();
    let reply = match body::receive(body, connection).await {
        Ok(body) => {
            let sender = Sender {
                connection,
                headers: &head.headers,
                route: form.route(),
                began: Instant::now(),
            };
            match form {
                // What needs nobody is not kept waiting by anything, and what does is apart: that keeps the task of a
                // connection small.
                Form::Single => sender.single(body.as_bytes()).await,
                Form::Batch => Box::pin(batch::answer(&sender, body.as_bytes())).await,
                Form::Validate => Box::pin(validate::answer(&sender, body.as_bytes())).await,
            }
        }
        Err(unread) => {
            connection.close_gently();
            malformed(connection, &head.headers, unread.word(), Refusal::Body(unread))
        }
    };
    reply.into_response_with(head.version, head.headers)
}

/// Who has sent a whole body, and when.
struct Sender<'a> {
    connection: &'a Connection,
    headers: &'a HeaderMap,
    route: Route,
    began: Instant,
}

impl Sender<'_> {
    async fn single(&self, body: &[u8]) -> Reply {
        let request = match VerifyRequest::parse(body) {
            Ok(request) => request,
            Err(reason) => return self.malformed(reason),
        };
        match self.at_once(&request) {
            Some(reply) => reply,
            None => Box::pin(self.in_time(&request)).await,
        }
    }

    /// Nearly every answer: nothing is awaited. `None` where somebody has to be asked first, or nothing is loaded.
    fn at_once(&self, request: &VerifyRequest<'_>) -> Option<Reply> {
        let app = &self.connection.worker.app;
        let loaded = app.reader.current()?;
        if loaded.index.has_imported() {
            return None;
        }
        let digest = Digest::of(&request.api_key);
        let question = self.question(request, digest);
        let decided = decide_here(app, &loaded, &question, || self.info(), self.began)?;
        Some(self.reply(&loaded, &digest, request, decided))
    }

    async fn in_time(&self, request: &VerifyRequest<'_>) -> Reply {
        match self.loaded_for([&*request.api_key]).await {
            Ok(loaded) => self.look_up(&loaded, request, self.began).await,
            Err(refusal) => Reply::from(refusal),
        }
    }

    async fn look_up(&self, loaded: &Loaded, request: &VerifyRequest<'_>, began: Instant) -> Reply {
        let digest = match self.digest(loaded, request) {
            Ok(digest) => digest,
            Err(refusal) => return Reply::from(refusal),
        };
        let decided = self.decide(loaded, digest, request, began).await;
        self.reply(loaded, &digest, request, decided)
    }

    fn reply(&self, loaded: &Loaded, digest: &Digest, request: &VerifyRequest<'_>, decided: Decided<'_>) -> Reply {
        let Decided { verdict, charged } = decided;
        let limits = charged.outcome();
        let reply = charged.tell(match verdict {
            Ok(key) => Reply::good_key(&key),
            Err(refusal) => refused(Refusal::Key(refusal), request),
        });
        match self.explained(loaded, digest, request, limits) {
            Some(findings) => reply.with_checks(&findings),
            None => reply,
        }
    }

    async fn decide<'l>(
        &self,
        loaded: &'l Loaded,
        digest: Digest,
        request: &VerifyRequest<'_>,
        began: Instant,
    ) -> Decided<'l> {
        let question = self.question(request, digest);
        decide(&self.connection.worker.app, loaded, &question, || self.info(), began).await
    }

    fn question<'r>(&self, request: &'r VerifyRequest<'_>, digest: Digest) -> Question<'r> {
        Question::of(request, digest, self.route, self.connection.peer.ip())
    }

    /// What a log line says about the request.
    fn info(&self) -> RequestInfo<'_> {
        identity::request_info(self.headers, &self.connection.worker.request_ids)
    }

    fn explained(
        &self,
        loaded: &Loaded,
        digest: &Digest,
        request: &VerifyRequest<'_>,
        limits: Outcome,
    ) -> Option<Vec<Finding>> {
        if !request.explain {
            return None;
        }
        let now = self.connection.worker.app.clock.now();
        verify::explain(&loaded.index, digest, &request.asked, limits, now)
    }

    /// What these keys are decided by. Without it a key is not bad but unknowable.
    async fn loaded_for<'p>(&self, presented: impl IntoIterator<Item = &'p str>) -> Result<Arc<Loaded>, Refusal> {
        let app = &self.connection.worker.app;
        match app.reader.current() {
            Some(loaded) => Ok(settled(app, loaded, self.connection.peer.ip(), presented).await),
            None => Err(self.unavailable(Refusal::NotLoaded)),
        }
    }

    fn digest(&self, loaded: &Loaded, request: &VerifyRequest<'_>) -> Result<Digest, Refusal> {
        let imported = &self.connection.worker.app.imported;
        let digest = imported.digest_of(&loaded.index, &request.api_key);
        digest.map_err(|Busy| self.unavailable(Refusal::Busy))
    }

    fn unavailable(&self, refusal: Refusal) -> Refusal {
        let worker = &self.connection.worker;
        worker.app.telemetry.metrics.verify_unavailable();
        let trace = identity::trace(self.headers);
        tracing::debug!(
            event = "verification_unavailable",
            request_id = identity::request_id(self.headers, &worker.request_ids).as_str(),
            traceparent = trace.parent,
            trace_id = trace.id,
            span_id = trace.span,
            "a key was asked for before it could be told"
        );
        refusal
    }

    fn malformed(&self, reason: Malformed) -> Reply {
        malformed(self.connection, self.headers, reason.kind(), Refusal::Malformed(reason))
    }
}

fn refused(refusal: Refusal, request: &VerifyRequest<'_>) -> Reply {
    let reply = Reply::from(refusal);
    match refusal {
        Refusal::Key(verify::Refusal::InsufficientScope) | Refusal::Credential(verify::Refusal::InsufficientScope) => {
            reply.with_required_scopes(&request.asked.required_scopes)
        }
        _ => reply,
    }
}

fn malformed(connection: &Connection, headers: &HeaderMap, reason: &'static str, refusal: Refusal) -> Reply {
    connection.worker.app.telemetry.metrics.verify_malformed();
    let trace = identity::trace(headers);
    tracing::debug!(
        event = "verification_malformed",
        request_id = identity::request_id(headers, &connection.worker.request_ids).as_str(),
        traceparent = trace.parent,
        trace_id = trace.id,
        span_id = trace.span,
        reason,
        "a request body was no verify request"
    );
    Reply::from(refusal)
}
