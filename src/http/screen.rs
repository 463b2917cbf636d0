//! What every request must fulfil before it is routed, so that no two readers of the same bytes can see two
//! different requests in them.
//!
//! hyper 1.12 (`proto/h1/role.rs`) has refused these already, with 400 and a closed connection: white space before a
//! colon, folded header lines, NUL and other control characters, two different `Content-Length`s or one that is no
//! number, a `Transfer-Encoding` that does not end in `chunked` or that comes with HTTP/1.0. Of a `Content-Length` beside
//! `Transfer-Encoding: chunked` it removes the former (so it cannot be seen here), reads the chunks, and
//! closes the connection after the answer, as RFC 9112, 6.3 demands: what follows is never read as a second request.

use hyper::{
    HeaderMap, Method, Request, Version,
    body::Body,
    header::{HOST, HeaderValue, TRANSFER_ENCODING},
};

use super::reply::Refusal;

pub fn screen<B: Body>(request: &Request<B>) -> Result<(), Refusal> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodNotAllowed {
            allow: "GET, HEAD, POST",
        });
    }
    if !names_one_host(request) {
        return Err(Refusal::BadHost);
    }
    // Only a body of unknown length can have come with a transfer encoding.
    if request.body().size_hint().exact().is_none() && !is_plainly_chunked(request.headers()) {
        return Err(Refusal::BadTransferEncoding);
    }
    Ok(())
}

/// HTTP/1.1 must send `Host` once, HTTP/2 may leave it to `:authority`, HTTP/1.0 may leave it out. Two names for the
/// host that differ are two readings of one request.
fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return false;
    }
    match (host, request.uri().authority()) {
        (None, None) => request.version() == Version::HTTP_10,
        (None, Some(_)) => request.version() == Version::HTTP_2,
        (Some(host), None) => is_host(host.as_bytes()),
        (Some(host), Some(target)) => {
            is_host(host.as_bytes()) && host.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes())
        }
    }
}

/// A name, a port, an address in brackets: letters, digits and little else. User information is none of it.
fn is_host(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|&byte| IN_HOST[usize::from(byte)]) && host[0] != b':'
}

/// The bytes that a host may have: a table, because every request has one.
const IN_HOST: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        allowed[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%');
        byte += 1;
    }
    allowed
};

/// Codings beside `chunked` are none this service could undo.
fn is_plainly_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    codings.next().is_none() && first.is_none_or(is_chunked)
}

fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn outcome(version: Version, target: &str, hosts: &[&str]) -> Result<(), Refusal> {
        let mut request = Request::builder().method("POST").uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        screen(&request.body(Empty::<bytes::Bytes>::new()).unwrap())
    }

    #[test]
    fn one_valid_host_is_enough_for_every_version() {
        for host in [
            "localhost",
            "localhost:8080",
            "127.0.0.1",
            "[::1]:8080",
            "auth.example.com",
            "a_b",
        ] {
            for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
                assert_eq!(outcome(version, "/verify", &[host]), Ok(()), "{host} {version:?}");
            }
        }
    }

    #[test]
    fn http_1_1_without_a_host_with_two_or_with_a_bad_one_is_refused() {
        let tables: [&[&str]; 8] = [
            &[],
            &["a", "b"],
            &["a", "a"],
            &[""],
            &["a b"],
            &["u@a"],
            &["a/b"],
            &[":80"],
        ];
        for hosts in tables {
            assert_eq!(
                outcome(Version::HTTP_11, "/verify", hosts),
                Err(Refusal::BadHost),
                "{hosts:?}"
            );
        }
    }

    #[test]
    fn http_1_0_may_leave_the_host_out() {
        assert_eq!(outcome(Version::HTTP_10, "/verify", &[]), Ok(()));
    }

    #[test]
    fn a_target_that_names_another_host_is_refused() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(outcome(version, "http://a/verify", &["b"]), Err(Refusal::BadHost));
            assert_eq!(outcome(version, "http://a/verify", &["A"]), Ok(()));
        }
    }
}
