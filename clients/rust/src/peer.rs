//! One whole answer of the service within a time, by HTTP or HTTPS.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, Uri,
    body::Incoming,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::Instant;

use crate::{
    answer::{self, Outcome},
    options::BadOptions,
};

/// More than the service ever answers.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Shorter than the service keeps a connection that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

const LIMIT_HEADERS: [&str; 3] = ["x-ratelimit-limit", "ratelimit-policy", "ratelimit"];

pub struct Peer {
    uri: Uri,
    transport: Transport,
}

/// What came of one attempt.
pub struct Answer {
    pub outcome: Option<Outcome>,
    pub is_limited: bool,
    pub retry_after: Option<Duration>,
    /// Whether another attempt may have more luck.
    pub may_pass: bool,
}

enum Transport {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Peer {
    pub fn new(url: &str) -> Result<Self, BadOptions> {
        let uri: Uri = url.parse().map_err(|_| BadOptions::Url)?;
        let has_host = uri
            .authority()
            .is_some_and(|it| !it.host().is_empty() && !it.as_str().contains('@'));
        let transport = match uri.scheme_str() {
            Some("http") => Transport::plain(),
            Some("https") => Transport::tls()?,
            _ => return Err(BadOptions::Url),
        };
        if !has_host || uri.query().is_some() || url.contains('#') {
            return Err(BadOptions::Url);
        }
        let path = format!("{}/verify", uri.path().trim_end_matches('/'));
        let mut parts = uri.into_parts();
        parts.path_and_query = Some(path.parse().map_err(|_| BadOptions::Url)?);
        let uri = Uri::from_parts(parts).map_err(|_| BadOptions::Url)?;
        Ok(Self { uri, transport })
    }

    /// No redirect is followed and no proxy is used: both would get the key.
    pub async fn ask(&self, body: Bytes, ends: Instant) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("heare-auth-client/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .expect("a parsed URL and fixed headers make a request");
        let answer = tokio::time::timeout_at(ends, self.transport.answer(request)).await;
        answer.ok().flatten().unwrap_or(Answer::NONE)
    }
}

impl Answer {
    const NONE: Self = Self {
        outcome: None,
        is_limited: false,
        retry_after: None,
        may_pass: true,
    };
}

impl Transport {
    fn plain() -> Self {
        Self::Plain(pool().build(connector()))
    }

    fn tls() -> Result<Self, BadOptions> {
        let tls = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|_| BadOptions::NoRootCertificates)?
            .https_only()
            .enable_http1();
        let mut connector = connector();
        connector.enforce_http(false);
        Ok(Self::Tls(pool().build(tls.wrap_connector(connector))))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let response = self.send(request).await.ok()?;
        let status = response.status();
        let is_limited = LIMIT_HEADERS.iter().any(|name| response.headers().contains_key(*name));
        let retry_after = retry_after(response.headers());
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .ok()?;
        let outcome = answer::judge(status.as_u16(), &body.to_bytes(), retry_after);
        Some(Answer {
            outcome,
            is_limited,
            retry_after,
            may_pass: status.is_server_error(),
        })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        }
    }
}

fn pool() -> hyper_util::client::legacy::Builder {
    let mut pool = Client::builder(TokioExecutor::new());
    pool.pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(16)
        .pool_timer(TokioTimer::new());
    pool
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

/// Whole seconds, as the service tells them.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.parse::<u32>()
        .ok()
        .map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_is_below_the_path_of_the_url() {
        for (url, asked) in [
            ("http://localhost:8080", "http://localhost:8080/verify"),
            ("http://[::1]:8080/", "http://[::1]:8080/verify"),
            ("http://a.example/auth/", "http://a.example/auth/verify"),
        ] {
            let peer = Peer::new(url).unwrap_or_else(|_| panic!("{url}"));
            assert_eq!(peer.uri, asked);
        }
        for url in [
            "",
            "localhost",
            "/x",
            "ftp://a",
            "http://u:p@a",
            "http://a?x",
            "http://a#x",
        ] {
            assert!(matches!(Peer::new(url), Err(BadOptions::Url)), "{url}");
        }
    }
}
