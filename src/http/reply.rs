//! What every outcome is answered with: the one table from verdict or error to status and body.

mod verdict;

use bytes::Bytes;
use hyper::{
    HeaderMap, Response, StatusCode, Version,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::{body::Unread, limits::LimitHeaders};
use crate::core::{request::Malformed, verify};

/// An answer with a fixed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Key(verify::Refusal),
    /// A key in the caller's own name that is refused, or is missing.
    Credential(verify::Refusal),
    NoCredential,
    Malformed(Malformed),
    NotLoaded,
    Busy,
    /// A client has called a route too often.
    TooManyCalls,
    NotLocal,
    MetricsNotLocal,
    NotFound,
    MethodNotAllowed {
        allow: &'static str,
    },
    BadHost,
    BadTransferEncoding,
    Body(Unread),
}

impl Refusal {
    /// One of each, for whoever describes them.
    pub fn all() -> Vec<Self> {
        let of_keys = verify::Refusal::ALL.into_iter();
        let others = [
            Self::NoCredential,
            Self::NotLoaded,
            Self::Busy,
            Self::TooManyCalls,
            Self::NotLocal,
            Self::MetricsNotLocal,
            Self::NotFound,
            Self::MethodNotAllowed { allow: "POST" },
            Self::BadHost,
            Self::BadTransferEncoding,
            Self::Body(Unread::TooLarge),
            Self::Body(Unread::TooSlow),
            Self::Body(Unread::Broken),
        ];
        of_keys
            .flat_map(|refusal| [Self::Key(refusal), Self::Credential(refusal)])
            .chain(Malformed::ALL.map(Self::Malformed))
            .chain(others)
            .collect()
    }
}

/// Whole seconds for `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(u64);

impl Wait {
    pub const A_SECOND: Self = Self(1);

    /// Not before it makes sense to come back: rounded up.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.div_ceil(1000).max(1))
    }
}

impl From<Wait> for HeaderValue {
    fn from(wait: Wait) -> Self {
        Self::from(wait.0)
    }
}

/// A status, a JSON body, and the headers that some answers carry.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    body: Bytes,
    allow: Option<&'static str>,
    /// What a caller without a good credential is told.
    challenge: Option<&'static str>,
    retry_after: Option<Wait>,
    /// What a limited key's caller is told of its limits.
    limits: Option<Box<LimitHeaders>>,
    /// What else the connection brings cannot be trusted or is not wanted.
    close: bool,
}

impl Reply {
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            allow: None,
            challenge: None,
            retry_after: None,
            limits: None,
            close: false,
        }
    }

    pub fn json_of(status: StatusCode, body: &impl Serialize) -> Self {
        Self::json(
            status,
            serde_json::to_vec(body).expect("numbers and texts are always JSON"),
        )
    }

    fn fixed(status: StatusCode, body: &'static str) -> Self {
        Self::json(status, Bytes::from_static(body.as_bytes()))
    }

    /// When the caller should come back.
    #[must_use]
    pub fn retry_after(mut self, wait: Wait) -> Self {
        self.retry_after = Some(wait);
        self
    }

    #[must_use]
    pub fn limits(mut self, limits: Box<LimitHeaders>) -> Self {
        self.limits = Some(limits);
        self
    }

    fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    fn close(mut self) -> Self {
        self.close = true;
        self
    }

    pub fn into_response<B: From<Bytes>>(self, version: Version) -> Response<B> {
        self.into_response_with(version, HeaderMap::with_capacity(4))
    }

    /// As `into_response`, in the request's own header map: hyper hands that map to the next request of the
    /// connection, so that neither of them allocates one.
    pub fn into_response_with<B: From<Bytes>>(self, version: Version, mut headers: HeaderMap) -> Response<B> {
        headers.clear();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, wait.into());
        }
        if let Some(limits) = self.limits {
            limits.insert_into(&mut headers);
        }
        if self.close && version != Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut response = Response::new(B::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Key(refusal) => Self::key_refused(refusal),
            Refusal::Credential(refusal) => Self::credential_refused(refusal),
            Refusal::NoCredential => Self::no_credential(),
            Refusal::Malformed(reason) => Self::json_of(StatusCode::UNPROCESSABLE_ENTITY, &malformed(reason)),
            Refusal::NotLoaded => Self::fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"valid":false,"error":"Key data is not loaded yet"}"#,
            )
            .retry_after(Wait::A_SECOND),
            Refusal::Busy => Self::fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"valid":false,"error":"The key is still being checked"}"#,
            )
            .retry_after(Wait::A_SECOND),
            Refusal::TooManyCalls => Self::fixed(StatusCode::TOO_MANY_REQUESTS, r#"{"error":"Rate limit exceeded"}"#),
            Refusal::NotLocal => Self::fixed(
                StatusCode::FORBIDDEN,
                r#"{"error":"Refresh endpoint only accessible from localhost","detail":{"error":"Refresh endpoint only accessible from localhost"}}"#,
            ),
            Refusal::MetricsNotLocal => Self::fixed(
                StatusCode::FORBIDDEN,
                r#"{"error":"Metrics endpoint only accessible from localhost"}"#,
            ),
            Refusal::NotFound => Self::fixed(StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#),
            Refusal::MethodNotAllowed { allow } => {
                Self::fixed(StatusCode::METHOD_NOT_ALLOWED, r#"{"detail":"Method Not Allowed"}"#).allow(allow)
            }
            Refusal::BadHost => Self::fixed(
                StatusCode::BAD_REQUEST,
                r#"{"error":"The request must name one valid host"}"#,
            )
            .close(),
            Refusal::BadTransferEncoding => Self::fixed(
                StatusCode::NOT_IMPLEMENTED,
                r#"{"error":"The only transfer encoding understood is chunked, once"}"#,
            )
            .close(),
            Refusal::Body(Unread::TooLarge) => Self::fixed(
                StatusCode::PAYLOAD_TOO_LARGE,
                r#"{"error":"The request body is larger than 64 KiB"}"#,
            )
            .close(),
            Refusal::Body(Unread::TooSlow) => Self::fixed(
                StatusCode::REQUEST_TIMEOUT,
                r#"{"error":"The request body did not arrive in time"}"#,
            )
            .close(),
            Refusal::Body(Unread::Broken) => Self::fixed(
                StatusCode::BAD_REQUEST,
                r#"{"error":"The request body did not arrive whole"}"#,
            )
            .close(),
        }
    }
}

/// `detail` has the form that clients of the older services know, without the `input` that would repeat what was sent.
#[derive(Serialize)]
struct MalformedBody {
    error: &'static str,
    detail: [MalformedDetail; 1],
}

#[derive(Serialize)]
struct MalformedDetail {
    r#type: &'static str,
    loc: &'static [&'static str],
    msg: &'static str,
}

fn malformed(malformed: Malformed) -> MalformedBody {
    MalformedBody {
        error: malformed.sentence(),
        detail: [MalformedDetail {
            r#type: malformed.kind(),
            loc: malformed.location(),
            msg: malformed.message(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_fixed_body_is_a_json_object() {
        for refusal in Refusal::all() {
            let reply = Reply::from(refusal);
            let body: Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(body.is_object(), "{refusal:?}");
        }
    }

    #[test]
    fn a_connection_header_is_never_sent_over_http_2() {
        let response: Response<Bytes> = Reply::from(Refusal::Body(Unread::TooLarge)).into_response(Version::HTTP_2);
        assert!(!response.headers().contains_key(CONNECTION));
    }

    #[test]
    fn nothing_of_the_request_stays_in_its_reused_header_map() {
        let mut sent = HeaderMap::new();
        sent.insert("x-sent", HeaderValue::from_static("marker"));
        let response: Response<Bytes> = Reply::from(Refusal::NotFound).into_response_with(Version::HTTP_11, sent);
        assert!(!response.headers().contains_key("x-sent"));
    }
}
