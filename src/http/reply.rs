//! What every outcome is answered with: the one table from verdict or error to status and body.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use hyper::{
    HeaderMap, Response, StatusCode, Version,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde::Serialize;

use super::body::Unread;
use crate::core::{index::Entry, request::Malformed, verify};

/// An answer with a fixed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Key(verify::Refusal),
    Malformed(Malformed),
    NotLoaded,
    NotLocal,
    NotFound,
    MethodNotAllowed { allow: &'static str },
    BadHost,
    BadTransferEncoding,
    Body(Unread),
}

/// A status, a JSON body, and the headers that some answers carry.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    body: Bytes,
    allow: Option<&'static str>,
    retry_after: bool,
    /// What else the connection brings cannot be trusted or is not wanted.
    close: bool,
}

impl Reply {
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            allow: None,
            retry_after: false,
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

    /// The caller should come back in a second.
    #[must_use]
    pub fn retry_after(mut self) -> Self {
        self.retry_after = true;
        self
    }

    fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// A good key's answer lies behind the ones before it in a buffer of the thread, which is used again once all of
    /// them have left.
    pub fn good_key(key: &Entry<'_>) -> Self {
        let length = key.answer_len();
        let body = ANSWERS.with_borrow_mut(|room| {
            if room.capacity() < length {
                room.reserve(length.max(ROOM));
            }
            key.write_answer(room);
            room.split().freeze()
        });
        Self::json(StatusCode::OK, body)
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
        if self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
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
            Refusal::Key(refusal) => Self::fixed(StatusCode::FORBIDDEN, key_refused(refusal)),
            Refusal::Malformed(reason) => Self::json_of(StatusCode::UNPROCESSABLE_ENTITY, &malformed(reason)),
            Refusal::NotLoaded => Self::fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"valid":false,"error":"Key data is not loaded yet"}"#,
            )
            .retry_after(),
            Refusal::NotLocal => Self::fixed(
                StatusCode::FORBIDDEN,
                r#"{"error":"Refresh endpoint only accessible from localhost","detail":{"error":"Refresh endpoint only accessible from localhost"}}"#,
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

/// Both shapes that clients of the older services read: flat, and wrapped in `detail`.
macro_rules! key_refused {
    ($code:literal) => {
        concat!(
            r#"{"valid":false,"error":"Invalid API key","code":""#,
            $code,
            r#"","detail":{"valid":false,"error":"Invalid API key"}}"#
        )
    };
}

const fn key_refused(refusal: verify::Refusal) -> &'static str {
    match refusal {
        verify::Refusal::Invalid => key_refused!("invalid"),
        verify::Refusal::Expired => key_refused!("expired"),
        verify::Refusal::Revoked => key_refused!("revoked"),
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

/// How much room for answers a thread asks for at once.
const ROOM: usize = 64 * 1024;

thread_local! {
    static ANSWERS: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(ROOM));
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const EVERY_REFUSAL: [Refusal; 17] = [
        Refusal::Key(verify::Refusal::Invalid),
        Refusal::Key(verify::Refusal::Expired),
        Refusal::Key(verify::Refusal::Revoked),
        Refusal::Malformed(Malformed::NotJson),
        Refusal::Malformed(Malformed::NotAnObject),
        Refusal::Malformed(Malformed::MissingApiKey),
        Refusal::Malformed(Malformed::ApiKeyNotAString),
        Refusal::Malformed(Malformed::ApiKeyTooLong),
        Refusal::NotLoaded,
        Refusal::NotLocal,
        Refusal::NotFound,
        Refusal::MethodNotAllowed { allow: "POST" },
        Refusal::BadHost,
        Refusal::BadTransferEncoding,
        Refusal::Body(Unread::TooLarge),
        Refusal::Body(Unread::TooSlow),
        Refusal::Body(Unread::Broken),
    ];

    #[test]
    fn every_fixed_body_is_a_json_object() {
        for refusal in EVERY_REFUSAL {
            let reply = Reply::from(refusal);
            let body: Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(body.is_object(), "{refusal:?}");
        }
    }

    #[test]
    fn every_refused_key_carries_the_code_of_its_refusal() {
        for refusal in verify::Refusal::ALL {
            let body: Value = serde_json::from_str(key_refused(refusal)).unwrap();
            assert_eq!(body["code"], refusal.code());
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

    #[test]
    fn an_answer_longer_than_the_room_is_whole() {
        let name = "x".repeat(2 * ROOM);
        let key = Entry {
            id: "key_1",
            name: &name,
            metadata: "{}",
            expires_at: None,
            revoked: false,
        };
        for _ in 0..3 {
            let body: Value = serde_json::from_slice(&Reply::good_key(&key).body).unwrap();
            assert_eq!(body["name"], *name);
        }
    }
}
