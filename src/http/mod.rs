//! The HTTP side: connections, routes, answers. `POST /verify` with its kin and `/authz` are matched here by hand, so
//! that they cost what bare hyper costs; warp composes every other route.

pub mod authz;
pub mod body;
pub mod connection;
pub mod deadlines;
pub mod health;
pub mod identity;
pub mod limits;
pub mod listen;
pub mod local;
pub mod proxies;
pub mod refresh;
pub mod reply;
pub mod routes;
pub mod screen;
pub mod slots;
pub mod verify;
pub mod worker;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, Version, body::Body as _, body::Incoming};

use crate::{
    clock::Clock,
    core::network::chain::TrustedProxies,
    limiter::Limits,
    loader::{Reader, Refresher},
    telemetry::Telemetry,
    usage::Usage,
};
use connection::Connection;
use local::Caller;
use reply::{Refusal, Reply};

/// What answering needs; one for the whole process.
pub struct App {
    pub reader: Reader,
    pub refresher: Refresher,
    pub limits: Limits,
    pub telemetry: Telemetry,
    pub clock: Arc<Clock>,
    pub usage: Usage,
    pub health_opaque: bool,
    /// This machine's name, by which a `Host` header may call it.
    pub hostname: String,
    /// Whose word about a client's address is taken.
    pub proxies: TrustedProxies,
    /// Whether `/authz` takes a key from a query.
    pub authz_query_key: bool,
    draining: AtomicBool,
}

impl App {
    pub fn new(
        reader: Reader,
        refresher: Refresher,
        limits: Limits,
        telemetry: Telemetry,
        clock: Arc<Clock>,
        usage: Usage,
        hostname: String,
    ) -> Self {
        Self {
            reader,
            refresher,
            limits,
            telemetry,
            clock,
            usage,
            health_opaque: false,
            hostname,
            proxies: TrustedProxies::default(),
            authz_query_key: false,
            draining: AtomicBool::new(false),
        }
    }

    /// The same, whose `/health` shows no number of keys.
    #[must_use]
    pub fn opaque(self, health_opaque: bool) -> Self {
        Self { health_opaque, ..self }
    }

    /// The same with these proxies in front of it.
    #[must_use]
    pub fn behind(self, proxies: TrustedProxies, authz_query_key: bool) -> Self {
        Self {
            proxies,
            authz_query_key,
            ..self
        }
    }

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
    pub routes: routes::Routes,
}

/// Answers one request. Nothing that was sent ever comes back in an answer.
pub async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _open = connection.open_request(request.version());
    if let Err(refusal) = screen::screen(&request) {
        return Ok(refuse(&connection, &request, refusal));
    }
    if connection.face.verify && authz::is_at(request.uri().path()) {
        return Ok(authz::answer(&connection, request).await);
    }
    let form = verify::Form::of(request.uri().path()).filter(|_| connection.face.verify);
    Ok(match form {
        Some(form) if request.method() == Method::POST => verify::answer(&connection, request, form).await,
        Some(_) => refuse(&connection, &request, Refusal::MethodNotAllowed { allow: "POST" }),
        None => route(&connection, request).await,
    })
}

fn refuse(connection: &Connection, request: &Request<Incoming>, refusal: Refusal) -> Response<Full<Bytes>> {
    expect_no_body(connection, request);
    Reply::from(refusal).into_response(request.version())
}

/// Every route but verify. None of them reads a body.
async fn route(connection: &Connection, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    expect_no_body(connection, &request);
    let caller = Caller {
        peer: connection.peer,
        version: request.version(),
        authority: request.uri().authority().cloned(),
        request_id: identity::request_id(request.headers(), &connection.worker.request_ids)
            .as_str()
            .to_owned(),
    };
    request.extensions_mut().insert(caller);
    (connection.face.routes)(request).await
}

/// A body that nobody will read is still on its way when the answer is: the connection has to be closed gently.
fn expect_no_body(connection: &Connection, request: &Request<Incoming>) {
    if !request.body().is_end_stream() && request.version() != Version::HTTP_2 {
        connection.close_gently();
    }
}
