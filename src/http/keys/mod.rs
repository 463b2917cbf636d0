//! Key management below `/api/v1/auth/keys`: who may call, each call carried out to its end, and what is told of it.

pub mod answer;
pub mod caller;
mod change;
mod create;
mod cursor;
pub mod https;
mod idempotency;
pub mod leaving;
mod members;
mod precondition;
pub mod principal;
pub mod problem;
mod read;
pub mod route;
mod told;
mod usage;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode, header::HeaderValue};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use self::{
    answer::Answer,
    caller::Origin,
    idempotency::{IDEMPOTENT_REPLAYED, Requests, Token, Turn},
    principal::Principal,
    problem::Problem,
    route::{Call, Place},
    told::Told,
};
use super::{
    App,
    body::{Received, Unread},
    identity,
    limits::Charged,
    local::Caller,
};
use crate::{
    accounts::AccountError,
    catalogue::{Catalogue, Record, Trouble},
    clock::Clock,
    config::{ManagementConfig, Origins},
    core::{id::Prefixes, scope::Scope, secret::Secret, time::Timestamp},
    usage::{Seen, Usage},
};

/// Fills a buffer with random bytes, and says whether the system had any.
pub type Fill = fn(&mut [u8]) -> bool;

/// What management needs; one for the process.
pub struct Management {
    pub catalogue: Catalogue,
    pub https: https::Rule,
    pub origins: Origins,
    pub prefixes: Prefixes,
    /// What people may give to their keys.
    pub user_scopes: Vec<Scope<'static>>,
    usage: Usage,
    clock: Arc<Clock>,
    fill: Fill,
    requests: Requests,
}

/// One call as it was sent.
pub struct Asked {
    pub caller: Caller,
    pub headers: HeaderMap,
    pub query: String,
    pub body: Arc<Result<Received, Unread>>,
}

/// A call that was carried out.
struct Done {
    answer: Answer,
    /// The key that was changed.
    target: Option<String>,
}

impl Done {
    const fn read(answer: Answer) -> Self {
        Self { answer, target: None }
    }

    const fn about(target: String, answer: Answer) -> Self {
        let target = Some(target);
        Self { answer, target }
    }
}

impl Management {
    pub fn new(
        catalogue: Catalogue,
        https: https::Rule,
        config: &ManagementConfig,
        prefixes: Prefixes,
        usage: Usage,
        clock: Arc<Clock>,
        fill: Fill,
    ) -> Self {
        Self {
            catalogue,
            https,
            origins: config.cors_origins.clone(),
            prefixes,
            user_scopes: config.user_scopes.clone(),
            usage,
            clock,
            fill,
            requests: Requests::default(),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    const fn random(&self) -> Random {
        Random {
            fill: self.fill,
            failed: false,
        }
    }
}

impl Asked {
    /// Only a call whose body has arrived is carried out.
    pub fn body(&self) -> &[u8] {
        (*self.body).as_ref().map_or(&[], Received::as_bytes)
    }
}

/// Random bytes for one key. A key made while the system had none must not be handed out.
struct Random {
    fill: Fill,
    failed: bool,
}

impl Random {
    fn fill(&mut self) -> impl FnMut(&mut [u8]) {
        |bytes| self.failed |= !(self.fill)(bytes)
    }

    fn check(self) -> Result<(), Problem> {
        if self.failed {
            Err(Problem::NoRandomness)
        } else {
            Ok(())
        }
    }
}

/// Answers a call. Who may not call is told so here; what is to be done is done on the control thread's runtime, to its
/// end, even if the caller has gone by then.
pub async fn answer(app: Arc<App>, place: Place, method: Method, asked: Asked) -> Answer {
    if method == Method::OPTIONS {
        let allow = HeaderValue::from_static(place.allow());
        return Answer::empty(StatusCode::NO_CONTENT).with(hyper::header::ALLOW, allow);
    }
    let (began, route) = (Instant::now(), place.pattern());
    let mut told = Told {
        app: Arc::clone(&app),
        began,
        request_id: asked.caller.request_id.clone(),
        traceparent: identity::traceparent(&asked.headers).map(str::to_owned),
        method: method.clone(),
        route,
        caller: None,
    };
    let mut presented = Presented::default();
    let mut answer = match admit(&app, place, &method, &asked, &mut presented).await {
        Ok(admitted) => {
            told.caller = Some(admitted.principal.who.clone());
            carry_out(&app, admitted, asked, told).await
        }
        Err(problem) => told.refused(&problem, &asked.headers),
    };
    presented.tell(&app, route, &mut answer, began);
    answer
}

/// What is known of the key that a call came with, whatever becomes of the call.
#[derive(Default)]
pub struct Presented {
    charged: Charged,
    /// Of a good key, as the index holds it.
    key_id: Option<String>,
}

impl Presented {
    /// A call is a use of the key that ends as its answer says, and not as its key was found.
    pub fn tell(self, app: &App, endpoint: &str, answer: &mut Answer, began: Instant) {
        self.count(app, endpoint, answer.status, began.elapsed());
        self.tell_limits(answer);
    }

    /// Of a call that is no use of the key, but of whoever looks on.
    pub fn tell_limits(self, answer: &mut Answer) {
        self.charged.insert_into(&mut answer.headers);
    }

    fn count(&self, app: &App, endpoint: &str, status: StatusCode, took: Duration) {
        let Some(key_id) = self.key_id.as_deref() else {
            return;
        };
        app.usage.count(&Seen {
            key_id,
            endpoint,
            status: status.as_u16(),
            took,
            at: app.clock.now(),
        });
    }
}

/// What is asked for, by whom and from where.
struct Admitted {
    call: Call,
    principal: Principal,
    presented: Secret,
    client_ip: IpAddr,
}

async fn carry_out(app: &Arc<App>, admitted: Admitted, asked: Asked, told: Told) -> Answer {
    let headers = asked.headers.clone();
    if let Err(unread) = &*asked.body {
        return told.refused(&Problem::from(*unread), &headers);
    }
    let lost = headers.clone();
    let management = Arc::clone(app);
    let carried_out = app.management.catalogue.carry_out(async move {
        let Admitted {
            call,
            principal,
            presented,
            client_ip,
        } = admitted;
        let mut outcome = once(&management.management, &principal, &presented, &call, &asked).await;
        if outcome.is_ok()
            && let Err(problem) = caller::still_there(&management, &principal, &call, client_ip, &told.request_id).await
        {
            outcome = Err(problem);
        }
        told.audit(&call, client_ip, &outcome).await;
        match outcome {
            Ok(done) => told.done(done),
            Err(problem) => told.refused(&problem, &headers),
        }
    });
    let answer = carried_out.await;
    answer.unwrap_or_else(|| Answer::problem(&Problem::OutcomeUnknown, &lost))
}

/// Nothing of the body is looked at yet. A key with limits is charged for its management calls, too.
async fn admit(
    app: &App,
    place: Place,
    method: &Method,
    asked: &Asked,
    known: &mut Presented,
) -> Result<Admitted, Problem> {
    if !app.management.https.allows(&asked.caller, &asked.headers) {
        return Err(Problem::HttpsRequired);
    }
    let origin = Origin::of(app, asked, place.pattern());
    let call = place.call(method)?;
    let found = caller::find(app, asked, &origin, method, known).await?;
    Ok(Admitted {
        call,
        principal: found.principal,
        presented: found.presented,
        client_ip: origin.address(),
    })
}

/// Carries the call out, unless it was sent before with the same `Idempotency-Key`.
async fn once(
    management: &Management,
    principal: &Principal,
    presented: &Secret,
    call: &Call,
    asked: &Asked,
) -> Result<Done, Problem> {
    let token = match call {
        Call::Create | Call::Rotate(_) | Call::Reactivate(_) => {
            let route = format!("{call:?}");
            Token::of(
                &asked.headers,
                &principal.who.name(),
                presented.expose(),
                &route,
                asked.body(),
            )?
        }
        Call::List
        | Call::Show(_)
        | Call::Change(_)
        | Call::Revoke(_)
        | Call::Usage(_)
        | Call::Summary
        | Call::Audit => None,
    };
    let Some(token) = token else {
        return perform(management, principal, call, asked).await;
    };
    match management.requests.turn(token).await? {
        Turn::Again(answer) => Ok(Done::read(
            answer.with(IDEMPOTENT_REPLAYED.clone(), HeaderValue::from_static("true")),
        )),
        Turn::First(pending) => {
            let done = perform(management, principal, call, asked).await?;
            management.requests.keep(pending, &done.answer);
            Ok(done)
        }
    }
}

async fn perform(management: &Management, principal: &Principal, call: &Call, asked: &Asked) -> Result<Done, Problem> {
    match call {
        Call::Create => create::create(management, principal, asked).await,
        Call::List => read::list(management, principal, asked).await,
        Call::Show(id) => read::show(management, principal, asked, id).await,
        Call::Change(id) => change::patch(management, principal, asked, id).await,
        Call::Revoke(id) => change::revoke(management, principal, id).await,
        Call::Rotate(id) => change::rotate(management, principal, asked, id).await,
        Call::Reactivate(id) => change::reactivate(management, principal, asked, id).await,
        Call::Usage(id) => usage::of_key(management, principal, asked, id).await,
        Call::Summary => usage::summary(management, principal, asked).await,
        Call::Audit => usage::audit(management, principal, asked).await,
    }
}

fn shown(record: &Record, now: Timestamp, last_used_at: Option<Timestamp>) -> Box<RawValue> {
    let mut json = Vec::new();
    record.write(&mut json, now, last_used_at);
    let json = String::from_utf8(json).expect("a record is shown as text");
    RawValue::from_string(json).expect("a record is shown as JSON")
}

const MESSAGE: &str = r#","message":"Save the key now: it is not shown again"}"#;

/// The record with its secret in front, in memory that is wiped when the answer has left.
fn with_secret(record: &Record, secret: &Secret, now: Timestamp) -> Bytes {
    let shown = shown(record, now, None);
    let secret = secret.expose();
    // All the room at once: a vector that grows leaves copies behind that are not wiped.
    let mut json = Zeroizing::new(Vec::with_capacity(
        shown.get().len() + secret.len() + MESSAGE.len() + 16,
    ));
    json.extend_from_slice(br#"{"key":""#);
    json.extend_from_slice(secret.as_bytes());
    json.extend_from_slice(b"\",");
    json.extend_from_slice(&shown.get().as_bytes()[1..shown.get().len() - 1]);
    json.extend_from_slice(MESSAGE.as_bytes());
    Bytes::from_owner(json)
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::BodyTooLarge,
            Unread::TooSlow => Self::BodyTooSlow,
            Unread::Broken => Self::BodyBroken,
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Token(trouble) => Self::BadToken(trouble),
            // Nobody asks for anything but whose token it is.
            _ => Self::AccountsUnavailable,
        }
    }
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::UnknownKey => Self::NotFound,
            Trouble::NotAllowed => Self::BroaderThanMaker,
            Trouble::Asker(refusal) => principal::refused(refusal),
            Trouble::Changed => Self::PreconditionFailed,
            Trouble::KeyRevoked => Self::KeyRevoked,
            Trouble::KeyExpired => Self::KeyExpired,
            Trouble::BadRecord => Self::KeyDefective,
            Trouble::NoOverlap => Self::NoOverlap,
            Trouble::Store => Self::StoreUnavailable,
            Trouble::Unfit => Self::StoreUnfit,
            Trouble::Contended => Self::Contended,
            Trouble::Busy => Self::Busy,
            Trouble::Unknown => Self::OutcomeUnknown,
        }
    }
}
