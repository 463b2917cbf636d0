//! The answer to a management call: JSON of a resource, or a problem in the form that the caller asked for.

use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use serde::Serialize;

use super::problem::Problem;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// How a caller without a good key can identify itself.
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="heare-auth", ApiKey realm="heare-auth""#);

/// Its body may hold a secret, so it has no `Debug`.
#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The form of this service's other errors.
#[derive(Serialize)]
struct Plain<'a> {
    error: &'a str,
    code: &'a str,
    detail: &'a str,
}

/// What clients of the older service read.
#[derive(Serialize)]
struct DetailOnly<'a> {
    detail: &'a str,
}

/// RFC 9457. The type is a name and not an address: nothing has to be there to be understood.
#[derive(Serialize)]
struct Rfc9457<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}

impl Answer {
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: with_type(JSON),
            body: body.into(),
        }
    }

    pub fn json_of(status: StatusCode, body: &impl Serialize) -> Self {
        Self::json(
            status,
            serde_json::to_vec(body).expect("numbers and texts are always JSON"),
        )
    }

    pub fn empty(status: StatusCode) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self {
            status,
            headers,
            body: Bytes::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A problem, as `application/problem+json` for those who accept that.
    pub fn problem(problem: &Problem, asked: &HeaderMap) -> Self {
        let (code, detail, status) = (problem.code(), problem.detail(), problem.status());
        let mut answer = if accepts_problem_json(asked) {
            let body = Rfc9457 {
                r#type: format!("urn:heare-auth:{code}"),
                title: problem.title(),
                status: status.as_u16(),
                detail,
                code,
            };
            Self::json_of(status, &body).with(CONTENT_TYPE, PROBLEM_JSON)
        } else if *problem == Problem::KeyRequired {
            Self::json_of(status, &DetailOnly { detail })
        } else {
            let error = problem.title();
            Self::json_of(status, &Plain { error, code, detail })
        };
        answer.problem_headers(problem);
        answer
    }

    fn problem_headers(&mut self, problem: &Problem) {
        if problem.status() == StatusCode::UNAUTHORIZED {
            self.headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(methods) = problem.allow() {
            self.headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(seconds) = problem.retry_after() {
            self.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if problem.ends_connection() {
            self.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

fn with_type(content_type: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// Whether the caller names the media type itself; `*/*` asks for nothing in particular.
fn accepts_problem_json(asked: &HeaderMap) -> bool {
    let ranges = asked.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("application/problem+json"));
        named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

impl warp::Reply for Answer {
    fn into_response(self) -> warp::reply::Response {
        let mut response = warp::reply::Response::new(self.body.into());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn accepting(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))])
    }

    fn body(answer: &Answer) -> Value {
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn problem_json_is_sent_to_those_who_name_it() {
        for (accept, asked) in [
            ("application/problem+json", true),
            ("application/json, Application/Problem+JSON;q=0.5", true),
            ("application/problem+json;q=0", false),
            ("application/json", false),
            ("*/*", false),
            ("application/*", false),
        ] {
            let answer = Answer::problem(&Problem::NotFound, &accepting(accept));
            assert_eq!(answer.headers[CONTENT_TYPE] == PROBLEM_JSON, asked, "{accept}");
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let plain = body(&Answer::problem(&Problem::NotFound, &HeaderMap::new()));
        let expected = json!({"error": "API key not found", "code": "not_found", "detail": "API key not found"});
        assert_eq!(plain, expected);
        let problem = body(&Answer::problem(
            &Problem::NotFound,
            &accepting("application/problem+json"),
        ));
        assert_eq!(problem["type"], "urn:heare-auth:not_found");
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&json!(404), &json!("not_found"))
        );
    }

    #[test]
    fn a_caller_without_a_key_gets_the_words_it_always_got() {
        let answer = Answer::problem(&Problem::KeyRequired, &HeaderMap::new());
        assert_eq!(&answer.body[..], br#"{"detail":"API key required"}"#);
        assert!(answer.headers.contains_key(WWW_AUTHENTICATE));
    }
}
