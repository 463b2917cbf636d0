//! Calls the running service over HTTP: one request, five seconds, one JSON answer.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector},
    },
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio_rustls::rustls::{self, CertificateError};

use super::trust;

const TIMEOUT: Duration = Duration::from_secs(5);

/// More than the service ever answers.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// An `http` or `https` URL without credentials, fit to be shown.
#[derive(Clone, Debug)]
pub struct Url {
    uri: Uri,
    /// The file of a certificate that is good there, whoever vouches for it.
    certificate: Option<PathBuf>,
}

impl Url {
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.trim().parse().ok()?;
        let known_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let plain_host = uri
            .authority()
            .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
        (known_scheme && plain_host).then_some(Self { uri, certificate: None })
    }

    #[must_use]
    pub fn trusting(self, certificate: Option<PathBuf>) -> Self {
        Self { certificate, ..self }
    }

    /// The same service's route beside this one: `/auth/refresh` becomes `/auth/verify`.
    pub fn beside(&self, route: &str) -> Self {
        let directory = self.uri.path().strip_suffix("/refresh").unwrap_or_default();
        self.with_path(&format!("{directory}/{route}"))
    }

    pub fn with_query(&self, query: &str) -> Self {
        self.with_path(&format!("{}?{query}", self.uri.path()))
    }

    fn with_path(&self, path_and_query: &str) -> Self {
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = path_and_query.parse().ok();
        Self {
            uri: Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone()),
            certificate: self.certificate.clone(),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// What the service said.
pub struct Answer {
    pub status: StatusCode,
    /// `Null` when the body was no JSON.
    pub json: Value,
    pub body: Bytes,
}

impl Answer {
    /// The answer's own sentence about what is wrong, wherever one of our answers carries it.
    pub fn error(&self) -> Option<&str> {
        let detail = &self.json["detail"];
        [&self.json["error"], &detail["error"], detail]
            .into_iter()
            .find_map(Value::as_str)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    #[error("nothing answers at {0}")]
    Unreachable(Url),
    #[error(
        "the certificate at {url} is not trusted: {why}; SSL_CERTFILE names the service's own certificate, SSL_CERT_FILE that of its authority"
    )]
    Untrusted { url: Url, why: &'static str },
    #[error("no answer from {0} within 5 seconds")]
    TimedOut(Url),
    #[error("the answer from {0} broke off")]
    BrokeOff(Url),
    #[error("no root certificates for https were found")]
    NoRootCertificates,
}

pub async fn get(url: &Url) -> Result<Answer, CallError> {
    call(Method::GET, url, Bytes::new()).await
}

pub async fn post(url: &Url, json: Bytes) -> Result<Answer, CallError> {
    call(Method::POST, url, json).await
}

async fn call(method: Method, url: &Url, body: Bytes) -> Result<Answer, CallError> {
    let answer = async {
        if url.uri.scheme_str() == Some("https") {
            // Only now: reading the system's certificates takes longer than a whole call.
            let trust = trust::config(url.certificate.as_deref());
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(trust.ok_or(CallError::NoRootCertificates)?)
                .https_only()
                .enable_http1()
                .build();
            exchange(connector, method, url, body).await
        } else {
            exchange(HttpConnector::new(), method, url, body).await
        }
    };
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(CallError::TimedOut(url.clone())),
    }
}

async fn exchange<C>(connector: C, method: Method, url: &Url, body: Bytes) -> Result<Answer, CallError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::builder()
        .method(method)
        .uri(url.uri.clone())
        .header(header::USER_AGENT, concat!("heare-auth/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("a parsed URL and fixed headers make a request");
    let response = client.request(request).await.map_err(|error| {
        if let Some(why) = distrust(&error) {
            CallError::Untrusted { url: url.clone(), why }
        } else if error.is_connect() {
            CallError::Unreachable(url.clone())
        } else {
            CallError::BrokeOff(url.clone())
        }
    })?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(|_| CallError::BrokeOff(url.clone()))?
        .to_bytes();
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(Answer {
        status,
        json,
        body: bytes,
    })
}

/// What is wrong with the certificate, where that is why there is no connection.
fn distrust(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(rustls::Error::InvalidCertificate(wrong)) = error.downcast_ref() {
        return Some(match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for another name"
            }
            _ => "nobody vouches for it who is known here",
        });
    }
    // An I/O error does not name what it wraps as its source.
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match within {
        Some(within) => distrust(within),
        None => error.source().and_then(distrust),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_without_credentials_are_taken() {
        for text in [
            "http://localhost:8080/refresh",
            "https://auth.example/refresh",
            "http://[::1]:8080/refresh",
        ] {
            assert!(Url::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "localhost:8080/refresh",
            "/refresh",
            "ftp://a/refresh",
            "http://u:p@a/refresh",
            "http://",
            "http://a b/",
        ] {
            assert!(Url::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn other_routes_are_found_beside_refresh() {
        let beside = |text: &str| Url::parse(text).unwrap().beside("verify").to_string();
        assert_eq!(beside("http://localhost:8080/refresh"), "http://localhost:8080/verify");
        assert_eq!(
            beside("https://a.example/auth/refresh?x=1"),
            "https://a.example/auth/verify"
        );
        assert_eq!(beside("http://localhost:8080"), "http://localhost:8080/verify");
    }
}
