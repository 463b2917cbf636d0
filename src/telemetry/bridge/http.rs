//! One second's metrics as one JSON body, in the form that the bridge's own clients post.

use std::{collections::BTreeMap, io, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Serialize;
use serde_json::Number;
use tokio::time::timeout;

use super::{Interval, Outcome, PATIENCE, full_name};
use crate::{config::BridgeConfig, core::secret::Secret};

/// From the connection to the head of the answer.
const TOTAL: Duration = Duration::from_secs(5);

/// For the rest of the answer, which changes nothing any more.
const REST: Duration = Duration::from_millis(500);

/// A longer answer is not read to its end, which costs the connection.
const MAX_ANSWER: usize = 64 * 1024;

pub struct Http {
    url: String,
    authorization: Option<HeaderValue>,
    prefix: String,
    tls: bool,
    client: Option<Transport>,
}

impl Http {
    pub fn new(config: BridgeConfig) -> Self {
        let tls = config.port == 443;
        Self {
            url: url(tls, &config.host, config.port),
            authorization: config.secret.as_ref().map(basic),
            prefix: config.prefix,
            tls,
            client: None,
        }
    }

    pub async fn send(&mut self, interval: &Interval) -> Outcome {
        let Ok(request) = self.request(interval) else {
            return Outcome::NotTaken("DEST_HOST is no host name");
        };
        if self.client.is_none() {
            self.client = Transport::new(self.tls).ok();
        }
        let Some(client) = &self.client else {
            return Outcome::NotTaken("no root certificates");
        };
        let response = match timeout(TOTAL, client.post(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Outcome::NotTaken("unreachable"),
            Ok(Err(_)) => return Outcome::Unknown("connection lost"),
            Err(_) => return Outcome::Unknown("stalled"),
        };
        let outcome = judged(response.status());
        // Read only so that the connection can be used again; the status has said everything.
        let _ = timeout(REST, Limited::new(response.into_body(), MAX_ANSWER).collect()).await;
        outcome
    }

    fn request(&self, interval: &Interval) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::post(&self.url).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(Bytes::from(body(interval, &self.prefix))))
    }
}

/// Root certificates are read only by those who need them: a plain bridge works on a host without any.
enum Transport {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Transport {
    fn new(tls: bool) -> io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        connector.set_nodelay(true);
        let builder = Client::builder(TokioExecutor::new());
        if !tls {
            return Ok(Self::Plain(builder.build(connector)));
        }
        connector.enforce_http(false);
        let tls = HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_only()
            .enable_http1();
        Ok(Self::Tls(builder.build(tls.wrap_connector(connector))))
    }

    async fn post(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        }
    }
}

/// A failure at the other end, or of a proxy in front of it, may come after everything was counted. A refusal does not.
fn judged(status: StatusCode) -> Outcome {
    if status.is_success() {
        Outcome::Sent
    } else if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        Outcome::Unknown("failed")
    } else {
        Outcome::NotTaken("rejected")
    }
}

fn url(tls: bool, host: &str, port: u16) -> String {
    let scheme = if tls { "https" } else { "http" };
    if host.contains(':') && !host.starts_with('[') {
        format!("{scheme}://[{host}]:{port}/http")
    } else {
        format!("{scheme}://{host}:{port}/http")
    }
}

/// The secret is the user; there is no password.
fn basic(secret: &Secret) -> HeaderValue {
    let credentials = BASE64_STANDARD.encode(format!("{}:", secret.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {credentials}")).expect("base64 is a good header value");
    value.set_sensitive(true);
    value
}

#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counters: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gauges: BTreeMap<String, Number>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    timers: BTreeMap<String, Vec<f64>>,
}

fn body(interval: &Interval, prefix: &str) -> Vec<u8> {
    let named = |name: &&str| full_name(prefix, name);
    let body = Body {
        counters: interval
            .counters
            .iter()
            .map(|(name, &count)| (named(name), count))
            .collect(),
        gauges: interval
            .gauges
            .iter()
            .map(|(name, &value)| (named(name), number(value)))
            .collect(),
        timers: interval
            .timers
            .iter()
            .map(|(name, sample)| (named(name), millis(sample)))
            .collect(),
    };
    serde_json::to_vec(&body).expect("texts and numbers are always JSON")
}

/// Whole values without a fraction, as a count of keys reads best.
fn number(value: f64) -> Number {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked by the comparison"
    )]
    let whole = value as u64;
    #[expect(
        clippy::cast_precision_loss,
        clippy::float_cmp,
        reason = "exactly the values that survive are whole"
    )]
    let is_whole = whole as f64 == value;
    if is_whole {
        whole.into()
    } else {
        Number::from_f64(value).unwrap_or_else(|| 0.into())
    }
}

fn millis(sample: &[Duration]) -> Vec<f64> {
    sample.iter().map(|took| took.as_secs_f64() * 1000.0).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_body_leaves_empty_groups_out_and_writes_whole_gauges_whole() {
        let interval = Interval {
            counters: BTreeMap::from([("verify.requests", 5)]),
            gauges: BTreeMap::from([("keys.count", 5.0), ("document.age_seconds", 0.25)]),
            timers: BTreeMap::new(),
        };
        let text = String::from_utf8(body(&interval, "heare-auth")).unwrap();
        let expected = r#"{"counters":{"heare-auth.verify.requests":5},"gauges":{"heare-auth.document.age_seconds":0.25,"heare-auth.keys.count":5}}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn only_a_refusal_says_that_nothing_was_counted() {
        let outcome = |status| judged(StatusCode::from_u16(status).unwrap());
        for status in [200, 202, 204] {
            assert_eq!(outcome(status), Outcome::Sent, "{status}");
        }
        for status in [301, 307, 400, 401, 404, 413, 429] {
            assert_eq!(outcome(status), Outcome::NotTaken("rejected"), "{status}");
        }
        for status in [408, 500, 502, 503, 504] {
            assert_eq!(outcome(status), Outcome::Unknown("failed"), "{status}");
        }
    }

    #[test]
    fn port_443_is_https_and_an_ipv6_host_gets_brackets() {
        assert_eq!(url(true, "stats.example", 443), "https://stats.example:443/http");
        assert_eq!(url(false, "127.0.0.1", 8080), "http://127.0.0.1:8080/http");
        assert_eq!(url(false, "::1", 8080), "http://[::1]:8080/http");
    }

    #[test]
    fn a_bridge_on_443_is_spoken_to_by_tls() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut http = Http {
            url: url(true, "127.0.0.1", listener.local_addr().unwrap().port()),
            authorization: None,
            prefix: String::new(),
            tls: true,
            client: None,
        };
        let first_byte = std::thread::spawn(move || {
            let mut byte = [0];
            listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
            byte[0]
        });
        let interval = Interval {
            counters: BTreeMap::from([("shutdown", 1)]),
            ..Interval::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let outcome = runtime.block_on(http.send(&interval));
        // 22 is a TLS handshake; the listener does not shake hands, so nothing was taken.
        assert_eq!(
            (outcome, first_byte.join().unwrap()),
            (Outcome::NotTaken("unreachable"), 22)
        );
    }

    #[test]
    fn the_secret_is_the_user_of_basic_authentication_and_never_shown() {
        let value = basic(&Secret::new("s3cret"));
        assert_eq!(value.to_str().unwrap(), "Basic czNjcmV0Og==");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
