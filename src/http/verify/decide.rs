//! The one place where a presented key is decided: `/verify`, its batch, validation and whatever else lets somebody in by
//! a key. What record, request and time say comes first; what depends on earlier requests can only take away from that.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Moment,
    core::{
        policy::Policy,
        request::VerifyRequest,
        secret::{Digest, shown_prefix},
        time::Timestamp,
        verify::{self, Asked, Good},
    },
    http::{
        App,
        limits::{self, Charged},
        watch,
    },
    loader::Loaded,
    telemetry::{Telemetry, events::RequestInfo},
    usage::Seen,
};

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
    pub const fn path(self) -> &'static str {
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
    pub fn of(request: &'a VerifyRequest<'_>, digest: Digest, route: Route, peer: IpAddr) -> Self {
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
pub async fn settled<'p>(
    app: &App,
    loaded: Arc<Loaded>,
    guesser: IpAddr,
    presented: impl IntoIterator<Item = &'p str>,
) -> Arc<Loaded> {
    if !loaded.index.has_imported() {
        return loaded;
    }
    app.imported.settle(&loaded.index, guesser, presented).await;
    // What was revoked in the meantime is revoked.
    app.reader.current().unwrap_or(loaded)
}

/// Only for a key with limits is anybody ever waited for.
pub async fn decide<'a, 'r>(
    app: &App,
    loaded: &'a Loaded,
    question: &Question<'_>,
    caller: impl FnOnce() -> RequestInfo<'r>,
    began: Instant,
) -> Decided<'a> {
    let at = app.clock.look();
    let decided = match judge(app, loaded, question, at.now) {
        Judged::Decided(decided) => decided,
        Judged::Uncharged(key, policy) => charge(app, key, policy, question.cost).await,
    };
    told(app, loaded, question, caller, began, at, decided)
}

/// The same, where nobody has to be asked for it: `None` when Redis has to.
pub fn decide_here<'a, 'r>(
    app: &App,
    loaded: &'a Loaded,
    question: &Question<'_>,
    caller: impl FnOnce() -> RequestInfo<'r>,
    began: Instant,
) -> Option<Decided<'a>> {
    let at = app.clock.look();
    match judge(app, loaded, question, at.now) {
        Judged::Decided(decided) => Some(told(app, loaded, question, caller, began, at, decided)),
        Judged::Uncharged(..) => None,
    }
}

/// How far one gets without asking anybody.
enum Judged<'a> {
    Decided(Decided<'a>),
    /// A good key whose limits all instances count together.
    Uncharged(Good<'a>, Policy<'a>),
}

fn judge<'a>(app: &App, loaded: &'a Loaded, question: &Question<'_>, now: Timestamp) -> Judged<'a> {
    match verify::verify_digest(&loaded.index, &question.digest, question.asked, now) {
        Ok(key) => match key.policy.filter(|policy| !policy.limits.is_empty()) {
            Some(policy) => match limits::charge_here(app, key.id, &policy.limits, question.cost, now) {
                Some(charged) => Judged::Decided(Decided::charged(key, charged)),
                None => Judged::Uncharged(key, policy),
            },
            None => Judged::Decided(Decided::charged(key, Charged::default())),
        },
        Err(refusal) => {
            let (refusal, charged) = limits::guessed(app, question.guesser, refusal);
            Judged::Decided(Decided {
                verdict: Err(refusal),
                charged,
            })
        }
    }
}

async fn charge<'a>(app: &App, key: Good<'a>, policy: Policy<'a>, cost: u32) -> Decided<'a> {
    let charged = limits::charge(app, key.id, &policy.limits, cost).await;
    Decided::charged(key, charged)
}

/// Logs and counts what was decided.
fn told<'a, 'r>(
    app: &App,
    loaded: &'a Loaded,
    question: &Question<'_>,
    caller: impl FnOnce() -> RequestInfo<'r>,
    began: Instant,
    at: Moment,
    decided: Decided<'a>,
) -> Decided<'a> {
    let took = began.elapsed();
    if took < app.slow_request {
        tell(&app.telemetry, question, at, caller, &decided.verdict, took);
    } else {
        tell_slow(app, question, at, caller, &decided.verdict, took);
    }
    // A management call is counted when its own answer is known.
    let is_over = !matches!(question.route, Route::Management) || decided.verdict.is_err();
    if let Some(key_id) = whose(loaded, question, &decided.verdict, at.now).filter(|_| is_over) {
        app.usage.count(&Seen {
            key_id,
            endpoint: question.endpoint.unwrap_or(question.route.path()),
            status: status(&decided.verdict),
            took,
            at: at.now,
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
pub struct Decided<'a> {
    pub verdict: Result<Good<'a>, verify::Refusal>,
    pub charged: Charged,
}

impl<'a> Decided<'a> {
    fn charged(key: Good<'a>, charged: Charged) -> Self {
        Self {
            verdict: charged.verdict(key),
            charged,
        }
    }
}

/// As `tell`. The log has a line about the time besides, with the same request id.
#[cold]
fn tell_slow<'r>(
    app: &App,
    question: &Question<'_>,
    at: Moment,
    caller: impl FnOnce() -> RequestInfo<'r>,
    verdict: &Result<Good<'_>, verify::Refusal>,
    took: Duration,
) {
    let info = caller();
    watch::slow_decision(app, question.route, status(verdict), took, &info);
    tell(&app.telemetry, question, at, || info, verdict, took);
}

fn tell<'r>(
    telemetry: &Telemetry,
    question: &Question<'_>,
    at: Moment,
    caller: impl FnOnce() -> RequestInfo<'r>,
    verdict: &Result<Good<'_>, verify::Refusal>,
    took: Duration,
) {
    let client_ip = question.asked.client_ip;
    match (question.route, verdict) {
        (Route::Verify | Route::Batch | Route::Validate, Ok(key)) => {
            telemetry.verification_success(at, caller, key.id, key.name);
            telemetry.metrics.verify_success(took);
        }
        (Route::Verify | Route::Batch | Route::Validate, Err(refusal)) => {
            telemetry.verification_failed(at, caller, shown_prefix(question.api_key), refusal.code());
            telemetry.metrics.verify_failed(took);
        }
        (Route::Management, Ok(_)) => {}
        (Route::Management, Err(refusal)) => {
            telemetry.verification_failed(at, caller, shown_prefix(question.api_key), refusal.code());
        }
        (Route::Authz, Ok(key)) => {
            telemetry.authz_success(at, caller, client_ip, key.id, key.name);
            telemetry.metrics.authz_success(took);
        }
        (Route::Authz, Err(refusal)) => {
            telemetry.authz_failed(at, caller, client_ip, shown_prefix(question.api_key), refusal.code());
            telemetry.metrics.authz_failed(took);
        }
    }
}
