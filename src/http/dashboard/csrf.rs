//! Whether a request that a cookie came with was made by a page of this very service: a browser sends the cookie, whoever
//! has made it ask.

use hyper::{
    HeaderMap, Method, Uri,
    header::{HOST, HeaderName, ORIGIN},
    http::uri::Authority,
};

use super::ticket::Ticket;
use crate::{core::secret::Digest, http::local::Caller};

static X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Reading changes nothing, and another site's page cannot read what is answered. All else needs the token that only a
/// page of this service was told.
pub fn allows(ticket: &Ticket, method: &Method, caller: &Caller, headers: &HeaderMap) -> bool {
    method.is_safe() || (is_own_page(caller, headers) && brings_token(ticket, headers))
}

fn brings_token(ticket: &Ticket, headers: &HeaderMap) -> bool {
    let mut sent = headers.get_all(&X_CSRF_TOKEN).iter();
    let (Some(token), None) = (sent.next(), sent.next()) else {
        return false;
    };
    // Of digests nobody learns anything by how long a comparison takes.
    token
        .to_str()
        .is_ok_and(|token| Digest::of(token) == ticket.csrf.digest())
}

/// As far as the browser says from where the request comes; what is no browser says nothing. `Sec-Fetch-Site` is the
/// browser's own judgement, which no proxy between has a part in; `Origin` is held against the host that was asked.
pub fn is_own_page(caller: &Caller, headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(&SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| site == "same-origin");
    }
    headers.get_all(ORIGIN).iter().all(|origin| {
        let origin = Uri::try_from(origin.as_bytes())
            .ok()
            .filter(|origin| origin.scheme().is_some());
        let origin = origin.as_ref().and_then(Uri::authority).map(Authority::as_str);
        let sent = headers.get(HOST).and_then(|host| host.to_str().ok());
        let asked = caller.authority.as_ref().map(Authority::as_str).or(sent);
        origin
            .zip(asked)
            .is_some_and(|(origin, asked)| origin.eq_ignore_ascii_case(asked))
    })
}

#[cfg(test)]
mod tests {
    use hyper::{Version, header::HeaderValue};

    use super::*;
    use crate::{
        core::{secret::Secret, time::Timestamp},
        http::dashboard::ticket::Holder,
    };

    fn sent(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn caller(authority: Option<&'static str>) -> Caller {
        Caller {
            peer: "127.0.0.1:1".parse().unwrap(),
            secure: false,
            version: Version::HTTP_11,
            authority: authority.map(|text| text.parse().unwrap()),
            request_id: String::new(),
        }
    }

    #[test]
    fn a_page_is_known_by_what_its_browser_says() {
        let table: [(&[(&'static str, &'static str)], bool); 10] = [
            (&[], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (
                &[("sec-fetch-site", "same-origin"), ("origin", "https://a.example")],
                true,
            ),
            (&[("sec-fetch-site", "same-site")], false),
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8080")],
                false,
            ),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "http://localhost:8080")], true),
            (&[("origin", "http://localhost")], false),
            (&[("origin", "null")], false),
            (
                &[("origin", "http://localhost:8080"), ("origin", "http://evil.example")],
                false,
            ),
        ];
        for (lines, expected) in table {
            let mut headers = sent(lines);
            headers.insert(HOST, HeaderValue::from_static("localhost:8080"));
            assert_eq!(is_own_page(&caller(None), &headers), expected, "{lines:?}");
        }
        let origin = sent(&[("origin", "https://auth.example")]);
        assert!(is_own_page(&caller(Some("auth.example")), &origin));
        assert!(!is_own_page(&caller(Some("other.example")), &origin));
        assert!(!is_own_page(&caller(None), &origin));
    }

    type Lines = [(&'static str, &'static str)];

    #[test]
    fn whatever_changes_something_needs_the_token_once() {
        let ticket = Ticket {
            holder: Holder::Key(Digest::of("x")),
            csrf: Secret::new("right"),
            expires_at: Timestamp::from_millis(0),
        };
        let table: [(Method, &Lines, bool); 7] = [
            (Method::GET, &[], true),
            (Method::HEAD, &[("sec-fetch-site", "cross-site")], true),
            (Method::POST, &[], false),
            (Method::POST, &[("x-csrf-token", "right")], true),
            (Method::DELETE, &[("x-csrf-token", "wrong")], false),
            (
                Method::PATCH,
                &[("x-csrf-token", "right"), ("x-csrf-token", "right")],
                false,
            ),
            (
                Method::POST,
                &[("x-csrf-token", "right"), ("sec-fetch-site", "cross-site")],
                false,
            ),
        ];
        for (method, lines, expected) in table {
            let allowed = allows(&ticket, &method, &caller(None), &sent(lines));
            assert_eq!(allowed, expected, "{method} {lines:?}");
        }
    }
}
