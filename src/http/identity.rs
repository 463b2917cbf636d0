//! What names a request in the log: its id, its trace and its sender, taken from headers only where they are well-formed.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
};

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue, USER_AGENT},
};

use crate::{
    core::id,
    telemetry::events::{RequestId, RequestInfo, Trace},
};

/// Made once: a name given as text is read and checked anew at each look-up.
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The most characters of a caller's own request id.
const MAX_ID: usize = 64;
/// The most bytes of a user agent that are worth a log line.
const MAX_USER_AGENT: usize = 512;
/// `00-` trace id `-` parent id `-` flags. Later versions may have more behind it.
const TRACEPARENT_LEN: usize = 55;

/// Makes request ids: a random start, and a step for each.
pub struct RequestIds(AtomicU64);

impl RequestIds {
    pub const fn starting_at(random: u64) -> Self {
        Self(AtomicU64::new(random))
    }

    fn next(&self) -> [u8; 16] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut number = self.0.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 16];
        for digit in text.iter_mut().rev() {
            *digit = DIGITS[(number & 15) as usize];
            number >>= 4;
        }
        text
    }
}

/// What a log line says about a request. Most requests have few headers, and walking past them costs less than looking
/// three of them up.
pub fn request_info<'a>(headers: &'a HeaderMap, ids: &RequestIds) -> RequestInfo<'a> {
    let (mut request_id, mut user_agent, mut traceparent) = (None, None, None);
    let mut traces = 0;
    for (name, value) in headers {
        let found = match name {
            name if name == USER_AGENT => &mut user_agent,
            name if name == X_REQUEST_ID => &mut request_id,
            name if name == TRACEPARENT => {
                traces += 1;
                &mut traceparent
            }
            _ => continue,
        };
        // Of a header that was sent twice the first counts, as everywhere; but two traces are none.
        found.get_or_insert(value);
    }
    RequestInfo {
        request_id: sent_or_made(request_id, ids),
        user_agent: user_agent.map(readable),
        traceparent: traceparent.filter(|_| traces == 1).and_then(carried),
    }
}

/// `X-Request-Id` when it is 1 to 64 of `[A-Za-z0-9._-]` and no secret in the wrong place, else a new one.
pub fn request_id<'a>(headers: &'a HeaderMap, ids: &RequestIds) -> RequestId<'a> {
    sent_or_made(headers.get(&X_REQUEST_ID), ids)
}

fn sent_or_made<'a>(sent: Option<&'a HeaderValue>, ids: &RequestIds) -> RequestId<'a> {
    let sent = sent
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_request_id(id));
    sent.map_or_else(|| RequestId::Made(ids.next()), RequestId::Sent)
}

fn is_request_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && !id::may_be_secret(id)
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// `traceparent` when it was sent once and has the form of W3C Trace Context.
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(&TRACEPARENT).iter();
    match (sent.next(), sent.next()) {
        (Some(only), None) => carried(only),
        _ => None,
    }
}

/// What lines say about the trace of these headers.
pub fn trace(headers: &HeaderMap) -> Trace<'_> {
    Trace::of(traceparent(headers))
}

/// The part that every version has, without what a later one may have behind it.
fn carried(sent: &HeaderValue) -> Option<&str> {
    let sent = sent.to_str().ok()?;
    let text = sent.get(..TRACEPARENT_LEN)?;
    let has_more = sent.len() > TRACEPARENT_LEN;
    let may_have_more = !sent.starts_with("00") && sent.as_bytes().get(TRACEPARENT_LEN) == Some(&b'-');
    (is_traceparent(text) && (!has_more || may_have_more)).then_some(text)
}

fn is_traceparent(text: &str) -> bool {
    !text.starts_with("ff")
        && text.bytes().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
        && text[3..35].bytes().any(|digit| digit != b'0')
        && text[36..52].bytes().any(|digit| digit != b'0')
}

/// Bytes that are no UTF-8 are replaced, and an endless one is cut.
pub fn user_agent(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    headers.get(USER_AGENT).map(readable)
}

fn readable(sent: &HeaderValue) -> Cow<'_, str> {
    let sent = &sent.as_bytes()[..sent.len().min(MAX_USER_AGENT)];
    str::from_utf8(sent).map_or_else(|_| String::from_utf8_lossy(sent), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        headers
    }

    #[test]
    fn a_callers_id_is_taken_only_when_it_is_harmless() {
        let ids = RequestIds::starting_at(0xabc);
        let long = "x".repeat(65);
        for (sent, taken) in [
            ("a-1_.Z", true),
            ("", false),
            ("a b", false),
            ("é", false),
            ("\"", false),
            ("sec_0001vDmowg2tzwvpaFL", false),
            (&long, false),
        ] {
            let headers = headers("x-request-id", sent);
            assert_eq!(request_id(&headers, &ids).as_str() == sent, taken, "{sent}");
        }
    }

    #[test]
    fn a_line_says_what_the_first_of_each_header_says() {
        let (ids, mut sent) = (RequestIds::starting_at(0), HeaderMap::new());
        for (name, value) in [
            ("user-agent", "first"),
            ("host", "a"),
            ("user-agent", "second"),
            ("x-request-id", "one"),
            ("x-request-id", "two"),
        ] {
            sent.append(name, HeaderValue::from_static(value));
        }
        let info = request_info(&sent, &ids);
        assert_eq!(info.user_agent.as_deref(), Some("first"));
        assert_eq!(info.request_id.as_str(), "one");
        assert_eq!(info.traceparent, None);
    }

    #[test]
    fn made_ids_are_sixteen_digits_and_differ() {
        let ids = RequestIds::starting_at(u64::MAX);
        let none = HeaderMap::new();
        assert_eq!(request_id(&none, &ids).as_str(), "ffffffffffffffff");
        assert_eq!(request_id(&none, &ids).as_str(), "0000000000000000");
    }

    #[test]
    fn a_traceparent_is_carried_only_when_well_formed() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let table = [
            (good, true),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", false),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more", false),
            ("", false),
        ];
        for (text, carried) in table {
            assert_eq!(traceparent(&headers("traceparent", text)).is_some(), carried, "{text}");
        }
    }

    #[test]
    fn of_a_later_version_only_the_part_that_is_known_is_carried_and_of_two_traces_none() {
        let (ids, mut sent) = (RequestIds::starting_at(0), HeaderMap::new());
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        sent.append("traceparent", HeaderValue::from_static(later));
        let known = later.strip_suffix("-more");
        assert_eq!(
            (traceparent(&sent), request_info(&sent, &ids).traceparent),
            (known, known)
        );
        let trace = trace(&sent);
        assert_eq!(trace.id, Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace.span, Some("00f067aa0ba902b7"));
        sent.append("traceparent", HeaderValue::from_static(later));
        assert_eq!(
            (traceparent(&sent), request_info(&sent, &ids).traceparent),
            (None, None)
        );
    }

    #[test]
    fn a_user_agent_that_is_no_utf_8_is_shown_as_far_as_it_goes() {
        let mut sent = HeaderMap::new();
        sent.insert(USER_AGENT, HeaderValue::from_bytes(b"curl\xff/8").unwrap());
        assert_eq!(user_agent(&sent).as_deref(), Some("curl\u{fffd}/8"));
    }
}
