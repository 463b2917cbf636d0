//! Decides presented keys, for every route that is asked about one, and answers `POST /verify`, its batch and
//! `POST /api/v1/keys/validate`. Nothing here waits but for the body, for Redis about a key with limits, and for the one
//! bcrypt of an imported key that is seen for the first time.

mod batch;
mod validate;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Request, Response, body::Incoming};

use super::{
    App, body,
    connection::Connection,
    identity,
    imported::Busy,
    limits::{self, Charged},
    reply::{Refusal, Reply},
};
use crate::{
    core::{
        request::{Malformed, VerifyRequest},
        secret::{Digest, shown_prefix},
        time::Timestamp,
        verify::{self, Asked, Finding, Good, Outcome},
    },
    loader::Loaded,
    telemetry::{Telemetry, events::RequestInfo},
    usage::Seen,
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

/// Where a key was presented: each has metrics of its own, and log lines that say so.
#[derive(Clone, Copy)]
pub enum Route {
    Verify,
    Batch,
    Validate,
    Authz,
    /// Counted by itself, as a call and not as a verify.
    Management,
}

impl Route {
    const fn path(self) -> &'static str {
        match self {
            Self::Verify => "/verify",
            Self::Batch => "/verify/batch",
            Self::Validate => "/api/v1/keys/validate",
            Self::Authz => "/authz",
            Self::Management => "/api/v1/auth",
        }
    }
}

/// A presented key, and what it is asked to be good for.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub route: Route,
    pub api_key: &'a str,
    /// What the index has it under.
    pub digest: Digest,
    pub asked: &'a Asked<'a>,
    /// Against whom it counts when the key is not good.
    pub guesser: IpAddr,
    /// How many calls it counts as.
    pub cost: u32,
    /// What it is used for, in the caller's own words.
    pub endpoint: Option<&'a str>,
}

impl<'a> Question<'a> {
    fn of(request: &'a VerifyRequest<'_>, digest: Digest, route: Route, peer: IpAddr) -> Self {
        Self {
            route,
            api_key: &request.api_key,
            digest,
            asked: &request.asked,
            guesser: peer,
            cost: request.cost,
            endpoint: request.endpoint.as_deref(),
        }
    }
}

/// The document to decide these keys by. Waits where one of them may be an imported key that has not been seen yet.
pub(crate) async fn settled<'p>(
    app: &App,
    loaded: Arc<Loaded>,
    presented: impl IntoIterator<Item = &'p str>,
) -> Arc<Loaded> {
    if !loaded.index.has_imported() {
        return loaded;
    }
    app.imported.settle(&loaded.index, presented).await;
    // What was revoked in the meantime is revoked.
    app.reader.current().unwrap_or(loaded)
}

/// The one place where a presented key is decided: `/verify`, its batch, validation and whatever else lets somebody in by
/// a key. What record, request and time say comes first; what depends on earlier requests can only take away from that.
/// Only a key with limits is ever waited for.
pub(crate) async fn decide<'a, 'r>(
    app: &App,
    loaded: &'a Loaded,
    question: &Question<'_>,
    caller: impl FnOnce() -> RequestInfo<'r>,
    began: Instant,
) -> Decided<'a> {
    let now = app.clock.now();
    let decided = match verify::verify_digest(&loaded.index, &question.digest, question.asked, now) {
        Ok(key) => match key.policy.filter(|policy| !policy.limits.is_empty()) {
            Some(policy) => {
                let charged = limits::charge(app, key.id, &policy.limits(), question.cost).await;
                Decided {
                    verdict: charged.verdict(key),
                    charged,
                }
            }
            None => Decided::uncharged(Ok(key)),
        },
        Err(refusal) => {
            let (refusal, charged) = limits::guessed(app, question.guesser, refusal);
            Decided {
                verdict: Err(refusal),
                charged,
            }
        }
    };
    let took = began.elapsed();
    tell(&app.telemetry, question, caller, &decided.verdict, took);
    if let Some(key_id) = whose(loaded, question, &decided.verdict, now) {
        app.usage.count(&Seen {
            key_id,
            endpoint: question.endpoint.unwrap_or(question.route.path()),
            status: status(&decided.verdict),
            took,
            at: now,
        });
    }
    decided
}

/// Of the statuses with which routes answer, the class is what is counted.
const fn status(verdict: &Result<Good<'_>, verify::Refusal>) -> u16 {
    match verdict {
        Ok(_) => 200,
        Err(verify::Refusal::RateLimited) => 429,
        Err(_) => 403,
    }
}

/// The key whose use it was. One that was refused is looked up once more, as such refusals are rare; an unknown
/// secret is nobody's.
fn whose<'a>(
    loaded: &'a Loaded,
    question: &Question<'_>,
    verdict: &Result<Good<'a>, verify::Refusal>,
    now: Timestamp,
) -> Option<&'a str> {
    match verdict {
        Ok(key) => Some(key.id),
        Err(verify::Refusal::Invalid) => None,
        Err(_) => verify::holder(&loaded.index, &question.digest, now).map(|key| key.id),
    }
}

/// A verdict, and what its caller is told of limits.
pub(crate) struct Decided<'a> {
    pub verdict: Result<Good<'a>, verify::Refusal>,
    pub charged: Charged,
}

impl<'a> Decided<'a> {
    fn uncharged(verdict: Result<Good<'a>, verify::Refusal>) -> Self {
        Self {
            verdict,
            charged: Charged::default(),
        }
    }
}

fn tell<'r>(
    telemetry: &Telemetry,
    question: &Question<'_>,
    caller: impl FnOnce() -> RequestInfo<'r>,
    verdict: &Result<Good<'_>, verify::Refusal>,
    took: Duration,
) {
    let client_ip = question.asked.client_ip;
    match (question.route, verdict) {
        (Route::Verify | Route::Batch | Route::Validate, Ok(key)) => {
            telemetry.verification_success(caller, key.id, key.name);
            telemetry.metrics.verify_success(took);
        }
        (Route::Verify | Route::Batch | Route::Validate, Err(refusal)) => {
            telemetry.verification_failed(caller, shown_prefix(question.api_key), refusal.code());
            telemetry.metrics.verify_failed(took);
        }
        (Route::Management, Ok(_)) => {}
        (Route::Management, Err(refusal)) => {
            telemetry.verification_failed(caller, shown_prefix(question.api_key), refusal.code());
        }
        (Route::Authz, Ok(key)) => {
            telemetry.authz_success(caller, client_ip, key.id, key.name);
            telemetry.metrics.authz_success(took);
        }
        (Route::Authz, Err(refusal)) => {
            telemetry.authz_failed(caller, client_ip, shown_prefix(question.api_key), refusal.code());
            telemetry.metrics.authz_failed(took);
        }
    }
}

pub async fn answer(connection: &Connection, request: Request<Incoming>, form: Form) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let reply = match body::receive(body, connection.worker.deadlines.body).await {
        Ok(body) => {
            let sender = Sender {
                connection,
                headers: &head.headers,
                route: form.route(),
                began: Instant::now(),
            };
            match form {
                Form::Single => sender.single(body.as_bytes()).await,
                Form::Batch => batch::answer(&sender, body.as_bytes()).await,
                Form::Validate => validate::answer(&sender, body.as_bytes()).await,
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
        match self.loaded_for([&*request.api_key]).await {
            Ok(loaded) => self.look_up(&loaded, &request, self.began).await,
            Err(refusal) => Reply::from(refusal),
        }
    }

    async fn look_up(&self, loaded: &Loaded, request: &VerifyRequest<'_>, began: Instant) -> Reply {
        let digest = match self.digest(loaded, request) {
            Ok(digest) => digest,
            Err(refusal) => return Reply::from(refusal),
        };
        let Decided { verdict, charged } = self.decide(loaded, digest, request, began).await;
        let limits = charged.outcome();
        let reply = charged.tell(match verdict {
            Ok(key) => Reply::good_key(&key),
            Err(refusal) => refused(Refusal::Key(refusal), request),
        });
        match self.explained(loaded, &digest, request, limits) {
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
        let worker = &self.connection.worker;
        let caller = || identity::request_info(self.headers, &worker.request_ids);
        let question = Question::of(request, digest, self.route, self.connection.peer.ip());
        decide(&worker.app, loaded, &question, caller, began).await
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
            Some(loaded) => Ok(settled(app, loaded, presented).await),
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
        tracing::debug!(
            event = "verification_unavailable",
            request_id = identity::request_id(self.headers, &worker.request_ids).as_str(),
            traceparent = identity::traceparent(self.headers),
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
    tracing::debug!(
        event = "verification_malformed",
        request_id = identity::request_id(headers, &connection.worker.request_ids).as_str(),
        traceparent = identity::traceparent(headers),
        reason,
        "a request body was no verify request"
    );
    Reply::from(refusal)
}
