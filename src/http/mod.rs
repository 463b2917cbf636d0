//! The HTTP side: connections, routes, answers. `POST /verify` with its kin and `/authz` are matched here by hand, so
//! that they cost what bare hyper costs; warp composes every other route.

pub mod accounts;
pub mod authz;
pub mod body;
pub mod connection;
pub mod cors;
pub mod dashboard;
pub mod deadlines;
pub mod door;
pub mod gate;
pub mod health;
pub mod identity;
pub mod imported;
pub mod keys;
pub mod limits;
pub mod listen;
pub mod local;
pub mod metrics;
pub mod openapi;
pub mod outgoing;
pub mod page;
pub mod patterns;
pub mod proxies;
pub mod refresh;
pub mod reply;
pub mod routes;
pub mod screen;
pub mod slots;
pub mod stream;
pub mod tls;
pub mod together;
pub mod verify;
pub mod watch;
pub mod worker;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Method, Request, Response, Version, body::Body as _, body::Incoming, header::ORIGIN};

use crate::{
    accounts::Accounts,
    clock::Clock,
    core::network::chain::TrustedProxies,
    limiter::Limits,
    loader::{Reader, Refresher},
    telemetry::Telemetry,
    usage::Usage,
};
use connection::Connection;
use dashboard::Dashboard;
use gate::Gate;
use imported::Imported;
use keys::{Management, route::Place};
use local::Caller;
use outgoing::Outgoing;
use reply::{Refusal, Reply};
use tls::Tls;
use watch::Watch;

/// What answering needs; one for the whole process.
pub struct App {
    pub reader: Reader,
    pub refresher: Refresher,
    pub limits: Limits,
    pub telemetry: Telemetry,
    pub clock: Arc<Clock>,
    pub usage: Usage,
    pub imported: Imported,
    pub health_opaque: bool,
    /// This machine's name, by which a `Host` header may call it.
    pub hostname: String,
    /// Whose word about a client's address is taken.
    pub proxies: TrustedProxies,
    /// Whether `/authz` takes a key from a query.
    pub authz_query_key: bool,
    pub management: Management,
    /// Whether the routes are described at `/openapi.json`, `/docs` and `/redoc`.
    pub described: bool,
    /// How often a client may call the routes below `/api/`.
    pub gate: Gate,
    /// What takes this long is logged.
    pub slow_request: Duration,
    /// `None` where there are none: then their routes are unknown paths.
    pub accounts: Option<Accounts>,
    /// `None` where it is switched off.
    pub dashboard: Option<Dashboard>,
    /// Set once the service is to stop.
    pub draining: AtomicBool,
}

impl App {
    /// From now on `/ready` says that no new work should come here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// What one listener serves.
pub struct Face {
    /// `/verify` with its kin, and `/authz`.
    pub verify: bool,
    /// With it everything here is said by TLS.
    pub tls: Option<Arc<Tls>>,
    pub routes: routes::Routes,
}

/// Answers one request. Nothing that was sent ever comes back in an answer.
pub async fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Result<Response<Outgoing>, Infallible> {
    let _open = connection.open_request(request.version());
    if verify::is_single(&connection.face, &request) {
        return Ok(match screen::screen(&request) {
            Err(refusal) => refuse(&connection, &request, refusal),
            Ok(()) => verify::answer(&connection, request, verify::Form::Single).await,
        });
    }
    // Apart, so that a verify does not carry the room that all the others need.
    Ok(Box::pin(answer_other(&connection, request)).await)
}

async fn answer_other(connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Outgoing> {
    if cors::covers(request.uri().path()) {
        return answer_pages(connection, request).await;
    }
    match screen::screen(&request) {
        Err(refusal) => refuse(connection, &request, refusal),
        Ok(()) => dispatch(connection, request).await,
    }
}

async fn dispatch(connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Outgoing> {
    if connection.face.verify && authz::is_at(request.uri().path()) {
        return authz::answer(connection, request).await;
    }
    let form = verify::Form::of(request.uri().path()).filter(|_| connection.face.verify);
    match form {
        Some(form) if request.method() == Method::POST => verify::answer(connection, request, form).await,
        Some(_) => refuse(connection, &request, Refusal::MethodNotAllowed { allow: "POST" }),
        None if request.uri().path() == dashboard::route::EVENTS && connection.worker.app.dashboard.is_some() => {
            Box::pin(dashboard::feed::answer(connection, request)).await
        }
        None if is_of_dashboard(connection, request.uri().path()) => call(connection, request).await,
        None => {
            let watch = Watch::begin(connection, &request);
            let response = if is_of_accounts(connection, request.uri().path()) {
                read_and_pass_on(connection, request, &watch).await
            } else {
                route(connection, request, &watch).await
            };
            watch.end(response)
        }
    }
}

fn refuse(connection: &Connection, request: &Request<Incoming>, refusal: Refusal) -> Response<Outgoing> {
    expect_no_body(connection, request);
    Reply::from(refusal).into_response(request.version())
}

/// Answers what a web page may have asked: whatever the answer is, it says whether the page may read it.
async fn answer_pages(connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Outgoing> {
    let origins = &connection.worker.app.management.origins;
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = match screen::screen(&request) {
        Err(refusal) => refuse(connection, &request, refusal),
        Ok(()) if cors::is_preflight(request.method(), request.headers()) => {
            expect_no_body(connection, &request);
            return cors::preflight(origins, request.headers());
        }
        Ok(()) if connection.face.verify && verify::Form::of(request.uri().path()).is_some() => {
            dispatch(connection, request).await
        }
        Ok(()) => call(connection, request).await,
    };
    cors::decorate(origins, origin.as_ref(), response.headers_mut());
    response
}

/// A call of a client, as often as it may make it.
async fn call(connection: &Connection, request: Request<Incoming>) -> Response<Outgoing> {
    let watch = Watch::begin(connection, &request);
    let gate = &connection.worker.app.gate;
    let path = request.uri().path();
    let reads_body = Place::of(path).is_some() || is_of_accounts(connection, path) || is_of_dashboard(connection, path);
    let response = match gate.admit(connection, &request, watch.route).await {
        Err(too_often) => {
            expect_no_body(connection, &request);
            too_often.into_response(request.version())
        }
        Ok(()) if reads_body => read_and_pass_on(connection, request, &watch).await,
        Ok(()) => route(connection, request, &watch).await,
    };
    watch.end(response)
}

fn is_of_accounts(connection: &Connection, path: &str) -> bool {
    connection.worker.app.accounts.is_some() && accounts::route::Place::of(path).is_some()
}

fn is_of_dashboard(connection: &Connection, path: &str) -> bool {
    connection.worker.app.dashboard.is_some() && dashboard::route::Place::of(path).is_some()
}

/// The calls of key management, of accounts and of the dashboard have bodies, which arrive before they are routed.
async fn read_and_pass_on(
    connection: &Connection,
    request: Request<Incoming>,
    watch: &Watch<'_>,
) -> Response<Outgoing> {
    let (head, body) = request.into_parts();
    let body = body::receive(body, connection).await;
    if body.is_err() {
        connection.close_gently();
    }
    let mut request = Request::from_parts(head, Empty::new());
    request.extensions_mut().insert(Arc::new(body));
    pass_on(connection, request, watch).await
}

/// Every other route. None of them reads a body.
async fn route(connection: &Connection, request: Request<Incoming>, watch: &Watch<'_>) -> Response<Outgoing> {
    expect_no_body(connection, &request);
    pass_on(connection, request.map(|_| Empty::new()), watch).await
}

async fn pass_on(connection: &Connection, mut request: Request<Empty<Bytes>>, watch: &Watch<'_>) -> Response<Outgoing> {
    let caller = caller_of(connection, &request, &watch.request_id);
    request.extensions_mut().insert(caller);
    (connection.face.routes)(request).await
}

/// Who asks, as far as connection and request line tell.
fn caller_of<B>(connection: &Connection, request: &Request<B>, request_id: &str) -> Caller {
    Caller {
        peer: connection.peer,
        secure: connection.is_secure(),
        version: request.version(),
        authority: request.uri().authority().cloned(),
        request_id: request_id.to_owned(),
    }
}

/// A body that nobody will read is still on its way when the answer is: the connection has to be closed gently.
fn expect_no_body(connection: &Connection, request: &Request<Incoming>) {
    if !request.body().is_end_stream() && request.version() != Version::HTTP_2 {
        connection.close_gently();
    }
}
