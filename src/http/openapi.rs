//! `/openapi.json`, the description of every route that is served, and the two pages that show it. All of them are made
//! once, are the same for everybody and hold no secret.

mod document;
mod refusals;

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
        REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};
use sha2::{Digest as _, Sha256};
use warp::{Filter, Rejection, filters::BoxedFilter, reject};

use super::reply::{Refusal, Reply};
pub use document::document;

/// Which routes a listener has: only those are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// `/verify` with its kin, and `/authz`.
    pub verify: bool,
    /// `/refresh` and `/metrics`, which are for operators.
    pub refresh: bool,
    pub accounts: bool,
}

/// Own scripts and styles alone, calls of this very service alone; no page of others frames these.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What answers one path.
struct Page {
    path: &'static str,
    content_type: HeaderValue,
    etag: HeaderValue,
    body: Bytes,
}

impl Page {
    fn new(path: &'static str, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = u128::from_be_bytes(*Sha256::digest(&body).first_chunk().expect("32 bytes begin with 16"));
        Self {
            path,
            content_type: HeaderValue::from_static(content_type),
            etag: HeaderValue::from_str(&format!("\"{digest:032x}\"")).expect("digits in quotation marks"),
            body,
        }
    }

    /// Kept by whoever likes, and asked for again each time: so a new version is seen at once.
    fn answer(&self, method: &Method, asked: &HeaderMap) -> warp::reply::Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let refusal = Refusal::MethodNotAllowed { allow: "GET, HEAD" };
            return warp::Reply::into_response(Reply::from(refusal));
        }
        let is_known = knows(asked, &self.etag);
        let body = if is_known { Bytes::new() } else { self.body.clone() };
        let mut response = warp::reply::Response::new(body.into());
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let of_pages: [(HeaderName, HeaderValue); 4] = [
            (CONTENT_TYPE, self.content_type.clone()),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        headers.extend(of_pages);
        response
    }
}

/// Whether the caller says that it has this version, or any.
fn knows(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

fn pages(served: Served) -> [Page; 5] {
    const HTML: &str = "text/html; charset=utf-8";
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    [
        Page::new("/openapi.json", "application/json", document(served)),
        Page::new("/docs", HTML, text(include_str!("openapi/pages/docs.html"))),
        Page::new("/redoc", HTML, text(include_str!("openapi/pages/redoc.html"))),
        Page::new(
            "/docs/pages.css",
            "text/css; charset=utf-8",
            text(include_str!("openapi/pages/pages.css")),
        ),
        Page::new(
            "/docs/pages.js",
            "text/javascript; charset=utf-8",
            text(include_str!("openapi/pages/pages.js")),
        ),
    ]
}

/// The routes of the description, for a listener that has these routes.
pub fn routes(served: Served) -> BoxedFilter<(warp::reply::Response,)> {
    let pages = Arc::new(pages(served));
    warp::path::full()
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and_then(move |path: warp::path::FullPath, method: Method, headers: HeaderMap| {
            let page = pages.iter().find(|page| page.path == path.as_str());
            let answer = page.map(|page| page.answer(&method, &headers));
            async move { answer.ok_or_else::<Rejection, _>(reject::not_found) }
        })
        .boxed()
}
