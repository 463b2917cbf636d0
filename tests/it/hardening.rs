//! What the service does with clients that are slow, broken, many or hostile.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use heare_auth::{http::deadlines::Deadlines, server::Options};

use crate::support::{
    frames::{Frames, NO_ERROR, PING},
    server_in_process::{Client, Setup, TestServer, no_hurry},
    service::eventually,
};

/// What an attacker would like to be taken for a second request.
const SMUGGLED: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

const SHORT: Duration = Duration::from_millis(50);

fn with(deadlines: Deadlines) -> TestServer {
    TestServer::with(&Setup {
        deadlines,
        ..Setup::default()
    })
}

#[test]
fn what_serves_gives_a_head_10_s_a_body_30_s_and_an_idle_connection_75_s() {
    let Deadlines { head, body, idle, .. } = Options::default().deadlines;
    assert_eq!([head, body, idle], [10, 30, 75].map(Duration::from_secs));
}

fn answers_in(bytes: &str) -> usize {
    bytes.matches("HTTP/1.1 ").count()
}

#[test]
fn bytes_that_can_be_read_in_two_ways_are_never_answered_twice() {
    let server = TestServer::start();
    let length = SMUGGLED.len();
    let table = [
        (
            "length and chunks",
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "chunks and length",
            format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "two lengths",
            format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a list of lengths",
            format!("Content-Length: 0, {length}\r\n\r\n{SMUGGLED}"),
        ),
        ("a signed length", format!("Content-Length: +0\r\n\r\n{SMUGGLED}")),
        ("a negative length", format!("Content-Length: -1\r\n\r\n{SMUGGLED}")),
        ("a hexadecimal length", format!("Content-Length: 0x0\r\n\r\n{SMUGGLED}")),
        (
            "a length too large to be one",
            format!("Content-Length: 99999999999999999999\r\n\r\n{SMUGGLED}"),
        ),
        (
            "space before the colon",
            format!("Content-Length : {length}\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a folded line",
            format!("X-A: b\r\n Content-Length: 0\r\n\r\n{SMUGGLED}"),
        ),
        ("a folded first line", format!(" X-A: b\r\n\r\n{SMUGGLED}")),
        ("a NUL in a value", format!("X-A: b\0c\r\n\r\n{SMUGGLED}")),
        ("a NUL in a name", format!("X\0A: b\r\n\r\n{SMUGGLED}")),
        (
            "a lone CR in a value",
            format!("X-A: b\rContent-Length: 0\r\n\r\n{SMUGGLED}"),
        ),
        ("no colon", format!("X-A\r\n\r\n{SMUGGLED}")),
        ("an empty name", format!(": b\r\n\r\n{SMUGGLED}")),
        (
            "an unknown coding",
            format!("Transfer-Encoding: xchunked\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a second coding",
            format!("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "chunked twice",
            format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "chunked, then not",
            format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a coding behind a vertical tab",
            format!("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a chunk size that is no number",
            format!("Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a chunk size too large",
            format!("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{SMUGGLED}"),
        ),
        (
            "a signed chunk size",
            format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{SMUGGLED}"),
        ),
        (
            "a chunk that is longer than it says",
            format!("Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a chunk size with a lone LF",
            format!("Transfer-Encoding: chunked\r\n\r\n0\n\r\n{SMUGGLED}"),
        ),
        ("a second host", format!("Host: other\r\n\r\n{SMUGGLED}")),
        ("the same host twice", format!("Host: localhost\r\n\r\n{SMUGGLED}")),
    ];
    for (what, rest) in table {
        let mut client = server.client();
        client.send(format!("POST /verify HTTP/1.1\r\nHost: localhost\r\n{rest}"));
        let answered = client.rest();
        assert!(answers_in(&answered) <= 1, "{what}: {answered}");
        assert!(!answered.contains("keys_count"), "{what}: {answered}");
    }
    assert_eq!(server.verify("sec_good").status, 200);
}

#[test]
fn a_request_line_or_host_that_is_ambiguous_ends_the_connection() {
    let server = TestServer::start();
    let table = [
        ("no host", "GET /health HTTP/1.1\r\n\r\n"),
        ("an empty host", "GET /health HTTP/1.1\r\nHost: \r\n\r\n"),
        ("a host that is none", "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (
            "a host with user information",
            "GET /health HTTP/1.1\r\nHost: u@localhost\r\n\r\n",
        ),
        (
            "a target with another host",
            "GET http://other/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        (
            "a tab in the request line",
            "GET\t/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        (
            "a space in the target",
            "GET /health x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        (
            "a NUL in the target",
            "GET /health\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        ("an unknown version", "GET /health HTTP/1.2\r\nHost: localhost\r\n\r\n"),
        ("no version", "GET /health\r\nHost: localhost\r\n\r\n"),
        (
            "chunks with HTTP/1.0",
            "POST /verify HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("bytes of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\u{7f}\x03\x03"),
    ];
    for (what, request) in table {
        let mut client = server.client();
        let sent = client.stream.write_all(format!("{request}{SMUGGLED}").as_bytes());
        sent.unwrap();
        let answered = client.rest();
        assert!(
            answers_in(&answered) <= 1 && !answered.contains("keys_count"),
            "{what}: {answered}"
        );
        assert!(
            answered.is_empty() || answered.starts_with("HTTP/1.1 400"),
            "{what}: {answered}"
        );
    }
}

#[test]
fn a_target_that_names_the_same_host_is_answered() {
    let server = TestServer::start();
    let answer = server
        .client()
        .send("GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .answer();
    assert_eq!(answer.status, 200);
}

#[test]
fn lone_line_feeds_end_lines_and_make_one_request_of_one() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("GET /health HTTP/1.1\nHost: localhost\nConnection: close\n\n");
    assert_eq!(answers_in(&client.rest()), 1);
}

#[test]
fn a_connect_opens_no_tunnel_and_an_upgrade_changes_nothing() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n");
    assert_eq!(client.answer().status, 405);
    let mut client = server.client();
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    client.send(format!("GET /health HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n"));
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn no_answer_repeats_what_was_sent() {
    const MARKER: &str = "m4rk3r";
    let server = TestServer::start();
    let body = format!(r#"{{"api_key":["{MARKER}"]}}"#);
    let length = body.len();
    let table = [
        format!("GET /{MARKER} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /health?{MARKER} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {MARKER}\r\nCookie: {MARKER}\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost: {MARKER}\r\nOrigin: http://{MARKER}\r\n\r\n"),
        format!("{MARKER} /verify HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("TRACE /verify HTTP/1.1\r\nHost: x\r\nX-A: {MARKER}\r\n\r\n"),
        format!("OPTIONS /verify HTTP/1.1\r\nHost: x\r\nOrigin: {MARKER}\r\n\r\n"),
        format!("POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"),
        format!("POST /verify HTTP/1.1\r\nHost: x\r\nContent-Type: {MARKER}\r\nContent-Length: 6\r\n\r\n{MARKER}"),
        format!("POST /verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{MARKER}\r\n\r\n"),
        format!("POST /verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {MARKER}\r\n\r\n"),
        format!("POST /refresh?{MARKER} HTTP/1.1\r\nHost: {MARKER}\r\nContent-Length: 0\r\n\r\n"),
        format!("POST /refresh HTTP/1.1\r\nHost: localhost\r\nVia: {MARKER}\r\nContent-Length: 0\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost: x\r\n{MARKER}\r\n\r\n"),
        format!(
            "GET /health HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n",
            MARKER.repeat(10_000)
        ),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", MARKER.repeat(10_000)),
        format!("GET /health {MARKER}\r\n\r\n"),
    ];
    for request in table {
        let mut client = server.client();
        client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").answer();
        // What the service refuses early it does not read to the end.
        let _ = client.stream.write_all(request.as_bytes());
        let _ = client
            .stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answered = client.rest();
        assert!(
            !answered.contains(MARKER),
            "{}: {answered}",
            &request[..request.len().min(80)]
        );
    }
}

#[test]
fn a_head_that_is_too_long_or_has_too_many_lines_is_refused() {
    let server = TestServer::start();
    let many = "X-A: a\r\n".repeat(101);
    for lines in [format!("X-A: {}\r\n", "a".repeat(40_000)), many] {
        let mut client = server.client();
        let _ = client
            .stream
            .write_all(format!("GET /health HTTP/1.1\r\nHost: x\r\n{lines}\r\n").as_bytes());
        let answered = client.rest();
        assert!(
            answered.is_empty() || answered.starts_with("HTTP/1.1 431"),
            "{answered}"
        );
    }
}

#[test]
fn four_hundred_half_open_connections_keep_nobody_from_an_answer() {
    let server = TestServer::start();
    let half_open: Vec<Client> = (0..400)
        .map(|number| {
            let mut client = server.client();
            client.send(
                [
                    "GET /hea",
                    "",
                    "POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
                ][number % 3],
            );
            client
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(server.verify("sec_good").status, 200);
    }
    drop(half_open);
}

#[test]
fn a_head_that_does_not_end_is_closed() {
    let server = with(Deadlines {
        head: SHORT,
        ..no_hurry()
    });
    for begin in [
        "",
        "GET /health HTTP/1.1\r\nHost: x\r\n",
        "P",
        "PRI ",
        "PRI /x HTTP/1.1\r\nHost: x\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
    ] {
        assert_eq!(server.client().send(begin).rest(), "", "{begin}");
    }
}

#[test]
fn a_head_that_begins_like_the_preface_of_http_2_makes_no_later_one_slower() {
    let server = with(Deadlines {
        head: SHORT,
        ..no_hurry()
    });
    let mut client = server.client();
    client.send("PRI /x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    assert_eq!(client.send("GET /hea").rest(), "");
}

#[test]
fn the_head_of_a_later_request_has_the_same_deadline() {
    let server = with(Deadlines {
        head: SHORT,
        ..no_hurry()
    });
    let mut client = server.client();
    assert_eq!(client.get("/health").status, 200);
    assert_eq!(client.send("GET /hea").rest(), "");
}

#[test]
fn a_body_that_does_not_end_is_answered_and_closed() {
    let server = with(Deadlines {
        body: SHORT,
        ..no_hurry()
    });
    let mut client = server.client();
    client.send("POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
    assert_eq!(client.answer().status, 408);
    assert_eq!(client.rest(), "");
}

#[test]
fn an_idle_connection_is_closed() {
    let server = with(Deadlines {
        idle: SHORT,
        ..no_hurry()
    });
    let mut client = server.client();
    assert_eq!(client.get("/health").status, 200);
    assert_eq!(client.rest(), "");
}

#[test]
fn an_http_2_connection_may_wait_with_its_first_request() {
    let server = with(Deadlines {
        head: SHORT,
        ..no_hurry()
    });
    let waiting = Frames::open(server.address);
    // The second begins when the first is cut, so that the deadline of a head has passed on every worker's count.
    for _ in 0..2 {
        assert_eq!(server.client().rest(), "");
    }
    assert_eq!(waiting.said().last(), Some(&PING));
}

#[test]
fn an_idle_http_2_connection_is_told_to_go_and_closed() {
    let server = with(Deadlines {
        idle: SHORT,
        ..no_hurry()
    });
    assert_eq!(Frames::open(server.address).goodbye(), Some(NO_ERROR));
}

#[test]
fn a_client_that_asks_and_never_reads_is_cut() {
    let server = with(Deadlines {
        write: SHORT,
        ..no_hurry()
    });
    let mut client = server.client();
    let many = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let cut = loop {
        if let Err(error) = client.stream.write_all(many.as_bytes()) {
            break error;
        }
    };
    assert!(
        matches!(cut.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
        "{cut}"
    );
}

#[test]
fn a_connection_beyond_the_cap_waits_for_a_slot() {
    let server = TestServer::with(&Setup {
        max_connections: 2,
        ..Setup::default()
    });
    let (mut first, mut second) = (server.client(), server.client());
    assert_eq!((first.get("/health").status, second.get("/health").status), (200, 200));
    let mut third = server.client();
    third.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is counted as refused", || server.counter("connections.refused") > 0);
    assert_eq!(first.get("/health").status, 200);
    drop(first);
    assert_eq!(third.answer().status, 200);
}
