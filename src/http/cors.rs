//! Which web pages may call the routes below `/api/`, by the rules that browsers keep. It surrounds everything there:
//! a preflight needs no key, and a refusal can be read by the page as well as an answer.

use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL,
        HeaderValue, ORIGIN, VARY,
    },
};

use crate::config::Origins;

/// The paths that pages may call.
pub fn covers(path: &str) -> bool {
    path.starts_with("/api/")
}

const METHODS: &str = "GET, HEAD, POST, PATCH, DELETE";
const REQUEST_HEADERS: &str =
    "Authorization, Content-Type, Accept, X-API-Key, X-Request-Id, Idempotency-Key, If-Match, If-None-Match";
const ANSWER_HEADERS: &str = "ETag, Location, Retry-After, WWW-Authenticate, Idempotent-Replayed, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy";
/// How long a browser need not ask again, in seconds.
const MAX_AGE: &str = "600";

/// Whether a browser asks for permission instead of calling.
pub fn is_preflight(method: &Method, asked: &HeaderMap) -> bool {
    method == Method::OPTIONS && asked.contains_key(ORIGIN) && asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight. A page that may not call is told nothing, and the browser keeps it from calling.
pub fn preflight<B: Default>(origins: &Origins, asked: &HeaderMap) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if allowed(origins, asked).is_some() {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }
    decorate(origins, asked.get(ORIGIN), headers);
    response
}

/// Lets the page with this origin read the answer, if it may. No cookies are involved, so credentials are never allowed.
pub fn decorate(origins: &Origins, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    match origins {
        Origins::None => return,
        Origins::Any => {
            if origin.is_some() {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
        }
        Origins::These(_) => {
            // A cache must not show one page's answer to another page.
            answer.append(VARY, HeaderValue::from_static("Origin"));
            let Some(origin) = origin.filter(|origin| is_allowed(origins, origin)) else {
                return;
            };
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
    if origin.is_some() {
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
    }
}

fn allowed<'a>(origins: &Origins, asked: &'a HeaderMap) -> Option<&'a HeaderValue> {
    asked.get(ORIGIN).filter(|origin| is_allowed(origins, origin))
}

fn is_allowed(origins: &Origins, origin: &HeaderValue) -> bool {
    match origins {
        Origins::None => false,
        Origins::Any => true,
        Origins::These(those) => those.iter().any(|one| one.as_bytes() == origin.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (ORIGIN, HeaderValue::from_static(origin)),
            (ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST")),
        ])
    }

    fn these() -> Origins {
        Origins::These(vec![
            "https://app.example.com".to_owned(),
            "http://localhost:3000".to_owned(),
        ])
    }

    #[test]
    fn only_a_named_origin_is_let_in_and_by_its_own_name() {
        for (origin, let_in) in [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("https://app.example.com.evil.example", false),
            ("https://APP.example.com", false),
            ("http://app.example.com", false),
            ("null", false),
        ] {
            let response = preflight::<()>(&these(), &asked(origin));
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            let headers = response.headers();
            let named = headers
                .get(ACCESS_CONTROL_ALLOW_ORIGIN)
                .map(|value| value.to_str().unwrap());
            assert_eq!(named, let_in.then_some(origin));
            assert_eq!(headers.contains_key(ACCESS_CONTROL_ALLOW_METHODS), let_in, "{origin}");
            assert_eq!(headers[VARY], "Origin");
        }
    }

    #[test]
    fn without_origins_no_page_is_let_in_and_with_a_star_each_is() {
        let response = preflight::<()>(&Origins::None, &asked("https://a.example"));
        assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        let response = preflight::<()>(&Origins::Any, &asked("https://a.example"));
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }

    #[test]
    fn options_without_an_origin_or_a_method_is_no_preflight() {
        assert!(is_preflight(&Method::OPTIONS, &asked("https://a.example")));
        assert!(!is_preflight(&Method::POST, &asked("https://a.example")));
        assert!(!is_preflight(&Method::OPTIONS, &HeaderMap::new()));
    }
}
