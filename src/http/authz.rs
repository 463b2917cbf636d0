//! `/authz`: what a reverse proxy asks before it lets a request through. No body is read, and nothing here waits but
//! for the one bcrypt of an imported key that is seen for the first time.

pub mod credential;
mod identity_headers;
pub mod query;

use std::time::Instant;

use bytes::Bytes;
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE},
    http::request::Parts,
};
use serde_json::json;

use self::{
    credential::{Credential, NoCredential},
    identity_headers::IdentityHeaders,
    query::{Malformed, Parameters, Profile},
};
use super::{
    connection::Connection,
    expect_no_body, identity,
    limits::Charged,
    outgoing::Outgoing,
    proxies,
    reply::{Refusal, Reply, Wait},
    verify::{self, Question, Route},
};
use crate::core::verify::{Asked, Refusal as KeyRefusal};

static X_ERROR_STATUS: HeaderName = HeaderName::from_static("x-error-status");

/// Whether a path is this route's: `/authz` and everything below it.
pub fn is_at(path: &str) -> bool {
    path.strip_prefix("/authz")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A proxy may pass on the length of a body that it keeps to itself; whatever comes, none is waited for.
pub async fn answer(connection: &Connection, request: Request<Incoming>) -> Response<Outgoing> {
    expect_no_body(connection, &request);
    let (head, _) = request.into_parts();
    let mut charged = Charged::default();
    let outcome = decide(connection, &head, &mut charged).await;
    let profile = Profile::of(query(&head));
    match outcome {
        Ok(identity) => let_through(identity, charged, head.version, head.headers),
        Err(refused) => refused.answered(charged, profile, head.version, head.headers),
    }
}

/// All is said in the headers.
fn let_through(
    identity: IdentityHeaders,
    charged: Charged,
    version: Version,
    headers: HeaderMap,
) -> Response<Outgoing> {
    let reply = charged.tell(Reply::json(StatusCode::OK, Bytes::new()));
    let mut response: Response<Outgoing> = reply.into_response_with(version, headers);
    response.headers_mut().remove(CONTENT_TYPE);
    identity.insert_into(response.headers_mut());
    response
}

/// Why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Query(Malformed),
    NoCredential(NoCredential),
    NotLoaded,
    /// An imported key that cannot be told yet.
    Busy,
    Key(KeyRefusal),
}

async fn decide(connection: &Connection, head: &Parts, charged: &mut Charged) -> Result<IdentityHeaders, Refused> {
    let began = Instant::now();
    let app = &connection.worker.app;
    let parameters = Parameters::parse(query(head)).map_err(Refused::Query);
    let in_query = app.authz_query_key.then(|| query(head));
    let credential = Credential::find(&head.headers, in_query).map_err(Refused::NoCredential);
    let (parameters, credential) = match (parameters, credential) {
        (Ok(parameters), Ok(credential)) => (parameters, credential),
        (Err(refused), _) | (_, Err(refused)) => return Err(malformed(connection, head, refused)),
    };
    let Some(loaded) = app.reader.current() else {
        return Err(unavailable(connection, head, Refused::NotLoaded));
    };
    let api_key = credential.as_str();
    let client_ip = proxies::client_ip(&app.proxies, connection.peer.ip(), &head.headers);
    // Not the proxy, behind which everybody stands, where it says who its client is.
    let guesser = client_ip.unwrap_or(connection.peer.ip());
    let loaded = verify::settled(app, loaded, guesser, [api_key]).await;
    let Ok(digest) = app.imported.digest_of(&loaded.index, api_key) else {
        return Err(unavailable(connection, head, Refused::Busy));
    };
    let question = Question {
        route: Route::Authz,
        api_key,
        digest,
        asked: &Asked {
            client_ip,
            required_scopes: parameters.required_scopes,
        },
        guesser,
        cost: parameters.cost,
        endpoint: None,
    };
    let caller = || identity::request_info(&head.headers, &connection.worker.request_ids);
    let decided = verify::decide(app, &loaded, &question, caller, began).await;
    *charged = decided.charged;
    decided
        .verdict
        .map(|key| IdentityHeaders::of(&key))
        .map_err(Refused::Key)
}

fn malformed(connection: &Connection, head: &Parts, refused: Refused) -> Refused {
    connection.worker.app.telemetry.metrics.authz_malformed();
    let trace = identity::trace(&head.headers);
    tracing::debug!(
        event = "verification_malformed",
        endpoint = "/authz",
        request_id = identity::request_id(&head.headers, &connection.worker.request_ids).as_str(),
        traceparent = trace.parent,
        trace_id = trace.id,
        span_id = trace.span,
        reason = refused.word(),
        "an auth request presented no key to decide about"
    );
    refused
}

fn unavailable(connection: &Connection, head: &Parts, refused: Refused) -> Refused {
    connection.worker.app.telemetry.metrics.authz_unavailable();
    let trace = identity::trace(&head.headers);
    tracing::debug!(
        event = "verification_unavailable",
        endpoint = "/authz",
        request_id = identity::request_id(&head.headers, &connection.worker.request_ids).as_str(),
        traceparent = trace.parent,
        trace_id = trace.id,
        span_id = trace.span,
        "a proxy asked for a key before it could be told"
    );
    refused
}

fn query(head: &Parts) -> &str {
    head.uri.query().unwrap_or_default()
}

/// Every refusal as it is sent, to any proxy and to nginx: for whoever describes them.
pub fn every_refusal() -> Vec<Response<Bytes>> {
    let refused = (Malformed::ALL.into_iter().map(Refused::Query))
        .chain(NoCredential::ALL.map(Refused::NoCredential))
        .chain(KeyRefusal::ALL.map(Refused::Key))
        .chain([Refused::NotLoaded, Refused::Busy]);
    let answers = refused.flat_map(|refused| {
        [Profile::Any, Profile::Nginx]
            .map(|profile| refused.answered(Charged::default(), profile, Version::HTTP_11, HeaderMap::new()))
    });
    answers.collect()
}

impl Refused {
    /// The code in the body and in the log.
    const fn word(self) -> &'static str {
        match self {
            Self::Query(malformed) => malformed.word(),
            Self::NoCredential(reason) => reason.code(),
            Self::NotLoaded => "not_loaded",
            Self::Busy => "busy",
            Self::Key(refusal) => refusal.code(),
        }
    }

    /// Who has no good key is asked for one; who has one and may not is told so.
    const fn status(self) -> StatusCode {
        match self {
            Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::NoCredential(_) | Self::Key(KeyRefusal::Invalid | KeyRefusal::Revoked | KeyRefusal::Expired) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Key(KeyRefusal::IpNotAllowed | KeyRefusal::InsufficientScope) => StatusCode::FORBIDDEN,
            Self::Key(KeyRefusal::RateLimited) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotLoaded | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// As RFC 6750 words it.
    const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::NoCredential(NoCredential::Missing) => Some(r#"Bearer realm="heare-auth""#),
            Self::NoCredential(NoCredential::Conflicting) => {
                Some(r#"Bearer realm="heare-auth", error="invalid_request""#)
            }
            Self::Key(KeyRefusal::Invalid | KeyRefusal::Revoked | KeyRefusal::Expired) => {
                Some(r#"Bearer realm="heare-auth", error="invalid_token""#)
            }
            Self::Key(KeyRefusal::InsufficientScope) => {
                Some(r#"Bearer realm="heare-auth", error="insufficient_scope""#)
            }
            Self::Key(KeyRefusal::IpNotAllowed | KeyRefusal::RateLimited)
            | Self::Query(_)
            | Self::NotLoaded
            | Self::Busy => None,
        }
    }

    /// What a key is refused with has the body that it has on `/verify`.
    fn reply(self) -> Reply {
        match self {
            Self::Key(refusal) => Reply::from(Refusal::Key(refusal)),
            Self::NotLoaded => self.flat("Key data is not loaded yet").retry_after(Wait::A_SECOND),
            Self::Busy => self.flat("The key is still being checked").retry_after(Wait::A_SECOND),
            Self::Query(Malformed::Require) => self.flat("require must name 1 to 100 scopes"),
            Self::Query(Malformed::Cost) => self.flat("cost must be a number from 1 to 100000"),
            Self::NoCredential(NoCredential::Missing) => self.flat("API key required"),
            Self::NoCredential(NoCredential::Conflicting) => self.flat("Two different API keys were sent"),
        }
    }

    fn flat(self, error: &'static str) -> Reply {
        let body = json!({"valid": false, "error": error, "code": self.word(), "detail": error});
        Reply::json_of(self.status(), &body)
    }

    fn answered<B: From<Bytes>>(
        self,
        charged: Charged,
        profile: Profile,
        version: Version,
        headers: HeaderMap,
    ) -> Response<B> {
        let reply = charged.tell(self.reply());
        let mut response: Response<B> = reply.into_response_with(version, headers);
        let status = self.status();
        *response.status_mut() = status;
        if let Some(challenge) = self.challenge() {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if profile == Profile::Nginx && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            *response.status_mut() = StatusCode::FORBIDDEN;
            response.headers_mut().insert(&X_ERROR_STATUS, status.as_u16().into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_and_everything_below_it_are_this_routes() {
        for (path, is_ours) in [
            ("/authz", true),
            ("/authz/", true),
            ("/authz/orders/1", true),
            ("/authz//x", true),
            ("/authzx", false),
            ("/AUTHZ", false),
            ("//authz", false),
            ("/x/authz", false),
            ("/auth", false),
        ] {
            assert_eq!(is_at(path), is_ours, "{path}");
        }
    }
}
