//! The events of a verify and of an auth request, written straight into the log's queue in bunyan form: no tracing machinery, no allocation.
//!
//! The members are those, and in the order, in which the formatter of all other lines writes them; a test compares.

use std::{borrow::Cow, cell::RefCell, io::Write as _, net::IpAddr};

use super::{Telemetry, log::Line, stamp::Stamp};
use crate::clock::Moment;

/// Longer values of a caller's headers are cut.
const MAX_HEADER_CHARS: usize = 256;

/// What a line says about the request.
#[derive(Clone, Debug)]
pub struct RequestInfo<'a> {
    pub request_id: RequestId<'a>,
    pub user_agent: Option<Cow<'a, str>>,
    pub traceparent: Option<&'a str>,
}

/// The caller's own id, or one that was made for the request: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub enum RequestId<'a> {
    Sent(&'a str),
    Made([u8; 16]),
}

impl RequestId<'_> {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sent(id) => id,
            Self::Made(digits) => str::from_utf8(digits).expect("hexadecimal digits are ASCII"),
        }
    }
}

/// What lines say of the trace that a request belongs to, in the members by which tools bring lines together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace<'a> {
    pub parent: Option<&'a str>,
    pub id: Option<&'a str>,
    /// That of the caller: no span of our own begins within it.
    pub span: Option<&'a str>,
}

impl<'a> Trace<'a> {
    /// Of a `traceparent` that has been found well-formed.
    pub fn of(parent: Option<&'a str>) -> Self {
        Self {
            parent,
            id: parent.and_then(|text| text.get(3..35)),
            span: parent.and_then(|text| text.get(36..52)),
        }
    }
}

/// The request is only looked at when the line is wanted.
impl Telemetry {
    /// Id and name are the insides of JSON strings already.
    pub fn verification_success<'r>(
        &self,
        at: Moment,
        request: impl FnOnce() -> RequestInfo<'r>,
        key_id: &str,
        key_name_json: &str,
    ) {
        self.write(Line::VerificationSuccess, at, request, |line| {
            push(
                line,
                &[",\"key_id\":\"", key_id, "\",\"key_name\":\"", key_name_json, "\""],
            );
        });
    }

    pub fn verification_failed<'r>(
        &self,
        at: Moment,
        request: impl FnOnce() -> RequestInfo<'r>,
        presented_prefix: &'static str,
        code: &'static str,
    ) {
        self.write(Line::VerificationFailed, at, request, |line| {
            push(
                line,
                &[",\"secret_prefix\":\"", presented_prefix, "\",\"code\":\"", code, "\""],
            );
        });
    }

    /// As `verification_success`, for a proxy that asked on behalf of this client.
    pub fn authz_success<'r>(
        &self,
        at: Moment,
        request: impl FnOnce() -> RequestInfo<'r>,
        client_ip: Option<IpAddr>,
        key_id: &str,
        key_name_json: &str,
    ) {
        self.write(Line::VerificationSuccess, at, request, |line| {
            push(
                line,
                &[",\"key_id\":\"", key_id, "\",\"key_name\":\"", key_name_json, "\""],
            );
            push_client(line, client_ip);
        });
    }

    pub fn authz_failed<'r>(
        &self,
        at: Moment,
        request: impl FnOnce() -> RequestInfo<'r>,
        client_ip: Option<IpAddr>,
        presented_prefix: &'static str,
        code: &'static str,
    ) {
        self.write(Line::VerificationFailed, at, request, |line| {
            push(
                line,
                &[",\"secret_prefix\":\"", presented_prefix, "\",\"code\":\"", code, "\""],
            );
            push_client(line, client_ip);
        });
    }

    fn write<'r>(
        &self,
        event: Line,
        at: Moment,
        request: impl FnOnce() -> RequestInfo<'r>,
        own_members: impl FnOnce(&mut Vec<u8>),
    ) {
        if !self.log.wants(event.level()) {
            return;
        }
        let request = request();
        SCRATCH.with_borrow_mut(|Scratch { line, stamp }| {
            line.clear();
            line.extend_from_slice(self.log.head(event));
            line.extend_from_slice(stamp.at(at.wall_micros));
            push(line, &["\",\"event\":\"", event.word(), "\""]);
            own_members(line);
            push_header(
                line,
                ",\"user_agent\":\"",
                request.user_agent.as_deref().unwrap_or("unknown"),
            );
            push_header(line, ",\"request_id\":\"", request.request_id.as_str());
            let trace = Trace::of(request.traceparent);
            if let (Some(traceparent), Some(id), Some(span)) = (trace.parent, trace.id, trace.span) {
                push_header(line, ",\"traceparent\":\"", traceparent);
                push_header(line, ",\"trace_id\":\"", id);
                push_header(line, ",\"span_id\":\"", span);
            }
            line.extend_from_slice(b"}\n");
            self.log.append(line);
        });
    }
}

/// A thread's own place to build a line in, so that the queue's lock is held for one copy only.
struct Scratch {
    line: Vec<u8>,
    stamp: Stamp,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { line: Vec::new(), stamp: Stamp::new() }) };
}

fn push(line: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        line.extend_from_slice(part.as_bytes());
    }
}

fn push_client(line: &mut Vec<u8>, client_ip: Option<IpAddr>) {
    push(line, &[",\"endpoint\":\"/authz\",\"client_ip\":\""]);
    match client_ip {
        Some(address) => write!(line, "{address}").expect("a vector takes every write"),
        None => push(line, &["unknown"]),
    }
    line.push(b'"');
}

/// A caller's text as a JSON string: cut, and escaped where it has to be, which is almost never.
fn push_header(line: &mut Vec<u8>, member: &str, text: &str) {
    let text = cut(text);
    line.extend_from_slice(member.as_bytes());
    // Without an early exit this compiles to a few vector instructions.
    if text.bytes().fold(false, |found, byte| found | needs_escape(byte)) {
        text.bytes().for_each(|byte| push_escaped(line, byte));
    } else {
        line.extend_from_slice(text.as_bytes());
    }
    line.push(b'"');
}

fn cut(text: &str) -> &str {
    if text.len() <= MAX_HEADER_CHARS {
        return text;
    }
    text.char_indices()
        .nth(MAX_HEADER_CHARS)
        .map_or(text, |(end, _)| &text[..end])
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escaped(line: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
        0..0x20 => line.extend_from_slice(&[
            b'\\',
            b'u',
            b'0',
            b'0',
            HEX[usize::from(byte >> 4)],
            HEX[usize::from(byte & 15)],
        ]),
        _ => line.push(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_always_one_json_string() {
        let long = "é".repeat(300);
        let cases = [
            "",
            "curl/8.0",
            "a \"quoted\" one",
            "back\\slash",
            "line\nbreak\r\t\u{0}\u{1f}",
            "naïve ✓",
            &long,
        ];
        for text in cases {
            let mut line = Vec::new();
            push_header(&mut line, "\"", text);
            let read: String = serde_json::from_slice(&line).unwrap();
            assert_eq!(read, text.chars().take(MAX_HEADER_CHARS).collect::<String>());
        }
    }
}
