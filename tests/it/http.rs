//! What each route answers.

use std::{net::TcpListener, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{
    PATIENCE,
    documents::document,
    http_client::Connection,
    server_in_process::{Client, Setup, TestServer, refused_start},
    service::{Service, Settings, eventually},
};

const INVALID: &str =
    r#"{"valid":false,"error":"Invalid API key","code":"invalid","detail":{"valid":false,"error":"Invalid API key"}}"#;

#[test]
fn a_good_key_is_answered_with_its_id_name_and_metadata() {
    let server = TestServer::start();
    let table = [
        (
            "sec_good",
            r#"{"valid":true,"key_id":"key_good","name":"Good \"one\"","metadata":{"env":"prod","n":[1,2.50]}}"#,
        ),
        (
            "sec_hashed",
            r#"{"valid":true,"key_id":"key_hashed","name":"Hashed","metadata":{}}"#,
        ),
        (
            "sec_bare",
            r#"{"valid":true,"key_id":"key_bare","name":"Bare","metadata":{}}"#,
        ),
    ];
    for (secret, body) in table {
        let answer = server.verify(secret);
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("date").is_some());
    }
}

#[test]
fn a_key_that_is_not_good_is_refused_with_its_code() {
    let server = TestServer::start();
    for (secret, code) in [
        ("sec_unknown", "invalid"),
        ("", "invalid"),
        ("sec_expired", "expired"),
        ("sec_revoked", "revoked"),
    ] {
        let answer = server.verify(secret);
        assert_eq!(
            (answer.status, answer.body),
            (403, INVALID.replace(r#""invalid""#, &format!("\"{code}\"")))
        );
    }
}

#[test]
fn a_body_that_is_no_verify_request_is_malformed() {
    let server = TestServer::start();
    let too_long = format!(r#"{{"api_key":"{}"}}"#, "x".repeat(1025));
    let table = [
        ("", "json_invalid"),
        ("not json", "json_invalid"),
        (r#"{"api_key":"a"} x"#, "json_invalid"),
        ("[1]", "model_attributes_type"),
        ("{}", "missing"),
        (r#"{"api_key":1}"#, "string_type"),
        (r#"{"api_key":null}"#, "string_type"),
        (&too_long, "string_too_long"),
    ];
    let mut client = server.client();
    for (body, kind) in table {
        let answer = client.post("/verify", body);
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.json()["detail"][0]["type"], kind, "{body}");
        assert!(answer.json()["error"].is_string());
    }
    let missing = client.post("/verify", "{}").body;
    assert!(
        missing.ends_with(r#""detail":[{"type":"missing","loc":["body","api_key"],"msg":"Field required"}]}"#),
        "{missing}"
    );
}

#[test]
fn any_content_type_or_none_is_read_as_json_and_unknown_members_are_ignored() {
    let server = TestServer::start();
    for content_type in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/json; charset=utf-8\r\n",
    ] {
        let body = r#"{"x":{"api_key":1},"api_key":"sec_good"}"#;
        let length = body.len();
        let answer = server
            .client()
            .send(format!(
                "POST /verify?a=b HTTP/1.1\r\nHost: x\r\n{content_type}Content-Length: {length}\r\n\r\n{body}"
            ))
            .answer();
        assert_eq!(answer.status, 200, "{content_type}");
    }
}

#[test]
fn a_body_over_64_kib_is_too_large_announced_or_not() {
    let server = TestServer::start();
    let announced = server
        .client()
        .send("POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n")
        .answer();
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let mut client = server.client();
    client.send("POST /verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let counted = client.send(&chunk).send(&chunk).send("1\r\n \r\n").answer();
    for answer in [announced, counted] {
        assert_eq!(answer.status, 413);
        assert_eq!(answer.body, r#"{"error":"The request body is larger than 64 KiB"}"#);
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[test]
fn a_large_body_that_is_refused_does_not_cost_its_sender_the_answer() {
    let server = TestServer::start();
    let mut client = server.client();
    let head = "POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n";
    client.send(head).send(" ".repeat(600_000));
    assert_eq!(client.answer().status, 413);
}

#[test]
fn a_body_of_64_kib_is_read_in_one_piece_or_in_many() {
    let server = TestServer::start();
    let body = format!(r#"{{"api_key":"sec_good","pad":"{}"}}"#, "x".repeat(65536 - 31));
    assert_eq!(body.len(), 65536);
    assert_eq!(server.client().post("/verify", &body).status, 200);
    let mut client = server.client();
    client.send("POST /verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(1000) {
        client.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
    }
    assert_eq!(client.send("0\r\n\r\n").answer().status, 200);
}

#[test]
fn a_chunked_body_is_read_whole_with_its_trailers_passed_over() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("POST /verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n");
    client
        .send("8\r\n{\"api_ke\r\n")
        .send("e\r\ny\":\"sec_good\"}\r\n")
        .send("0\r\nx-t: 1\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("POST /verify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 22\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send(r#"{"api_key":"sec_good"}"#).answer().status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start();
    let mut client = server.client();
    let verify = |secret: &str| {
        let body = format!(r#"{{"api_key":"{secret}"}}"#);
        format!(
            "POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    client.send(
        verify("sec_good") + &verify("nothing") + "GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + &verify("sec_bare"),
    );
    let statuses = [(); 4].map(|()| client.answer().status);
    assert_eq!(statuses, [200, 403, 200, 200]);
}

#[test]
fn before_the_first_load_a_key_is_unknowable_and_not_invalid() {
    let server = TestServer::starting(&Setup {
        document: Some("<html>".into()),
        ..Setup::default()
    });
    let answer = server.verify("sec_good");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, r#"{"valid":false,"error":"Key data is not loaded yet"}"#);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(server.client().get("/health").body, r#"{"status":"ok","keys_count":0}"#);
    let ready = server.client().get("/ready");
    assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("loading")));
    assert_eq!(ready.header("retry-after"), Some("1"));
}

#[test]
fn a_store_without_a_document_is_ready_with_no_keys() {
    let server = TestServer::with(&Setup {
        document: None,
        ..Setup::default()
    });
    assert_eq!(server.client().get("/health").body, r#"{"status":"ok","keys_count":0}"#);
    assert_eq!(server.verify("sec_good").status, 403);
}

#[test]
fn health_counts_expired_and_revoked_keys_too() {
    let server = TestServer::start();
    let answer = server.client().get("/health");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"status":"ok","keys_count":5}"#)
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn an_opaque_health_tells_its_status_alone() {
    let server = TestServer::with(&Setup {
        health_opaque: true,
        ..Setup::default()
    });
    assert_eq!(server.client().get("/health").body, r#"{"status":"ok"}"#);
}

#[test]
fn ready_tells_what_is_loaded() {
    let server = TestServer::start();
    let answer = server.client().get("/ready");
    let body = answer.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    let mut members = [
        "status",
        "keys_count",
        "etag",
        "generation",
        "loaded_at",
        "age_seconds",
        "last_error",
    ];
    members.sort_unstable();
    assert_eq!(names, members);
    assert_eq!(
        (body["status"].as_str(), body["keys_count"].as_u64()),
        (Some("ready"), Some(5))
    );
    assert!(body["etag"].is_string() && body["loaded_at"].is_string() && body["last_error"].is_null());
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let server = TestServer::start();
    let mut client = server.client();
    for path in ["/health", "/ready"] {
        let answer = client
            .send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .answer_to("HEAD");
        assert_eq!(answer.status, 200);
        assert_ne!(answer.header("content-length"), Some("0"));
    }
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let server = TestServer::start();
    let table = [
        ("GET", "/verify", "POST"),
        ("HEAD", "/verify", "POST"),
        ("PUT", "/verify", "POST"),
        ("OPTIONS", "/verify", "POST"),
        ("TRACE", "/verify", "GET, HEAD, POST"),
        ("TRACE", "/nothing", "GET, HEAD, POST"),
        ("GET", "/refresh", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/ready", "GET, HEAD"),
    ];
    for (method, path, allow) in table {
        let mut client = server.client();
        let answer = client
            .send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .answer_to(method);
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some(allow)),
            "{method} {path}"
        );
        if method != "HEAD" {
            assert_eq!(answer.body, r#"{"detail":"Method Not Allowed"}"#);
        }
    }
}

#[test]
fn a_path_is_itself_and_nothing_like_it() {
    let server = TestServer::start();
    for path in [
        "/",
        "/verify/",
        "/Verify",
        "//verify",
        "/verify/x",
        "/health/",
        "/refresh/",
        "/%76erify",
        "/nothing",
    ] {
        let answer = server.client().post(path, r#"{"api_key":"sec_good"}"#);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (404, r#"{"detail":"Not Found"}"#),
            "{path}"
        );
    }
}

#[test]
fn refresh_loads_what_the_store_holds_now() {
    let server = TestServer::start();
    let one = r#"{"keys":[{"id":"key_new","secret":"sec_new","name":"New","created_at":"2024-01-01T00:00:00Z"}]}"#;
    std::fs::write(server.document(), one).unwrap();
    let answer = server.client().post("/refresh", "");
    let body = answer.json();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((&body["success"], &body["keys_loaded"]), (&true.into(), &1.into()));
    assert!(
        answer
            .body
            .starts_with(r#"{"success":true,"keys_loaded":1,"timestamp":"2"#),
        "{}",
        answer.body
    );
    assert_eq!(server.verify("sec_new").status, 200);
    assert_eq!(server.verify("sec_good").status, 403);
}

#[test]
fn a_refresh_that_fails_tells_the_class_of_failure_and_changes_nothing() {
    let server = TestServer::start();
    std::fs::write(server.document(), "<html>sec_marker</html>").unwrap();
    let answer = server.client().post("/refresh", "");
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.body,
        r#"{"success":false,"error":"the object is not JSON","detail":{"error":"the object is not JSON"}}"#
    );
    assert_eq!(server.verify("sec_good").status, 200);
    assert_eq!(server.client().get("/health").json()["keys_count"], 5);
}

#[test]
fn refresh_is_for_this_host_only() {
    const REFUSED: &str = r#"{"error":"Refresh endpoint only accessible from localhost","detail":{"error":"Refresh endpoint only accessible from localhost"}}"#;
    let server = TestServer::start();
    let hostname = gethostname::gethostname().into_string().unwrap();
    let port = server.address.port();
    let table = [
        ("1.1", "localhost".to_owned(), "", 200),
        ("1.1", format!("127.0.0.1:{port}"), "", 200),
        ("1.1", format!("[::1]:{port}"), "", 200),
        ("1.1", hostname, "", 200),
        ("1.1", "localhost".to_owned(), "Sec-Fetch-Site: none\r\n", 200),
        ("1.0", "localhost".to_owned(), "", 403),
        ("1.1", "evil.example".to_owned(), "", 403),
        ("1.1", "localhost.evil.example".to_owned(), "", 403),
        ("1.1", "0.0.0.0".to_owned(), "", 403),
        ("1.1", "localhost".to_owned(), "X-Forwarded-For: 127.0.0.1\r\n", 403),
        ("1.1", "localhost".to_owned(), "Forwarded: for=127.0.0.1\r\n", 403),
        ("1.1", "localhost".to_owned(), "x-real-ip: 127.0.0.1\r\n", 403),
        ("1.1", "localhost".to_owned(), "Via: 1.1 proxy\r\n", 403),
        ("1.1", "localhost".to_owned(), "CF-Connecting-IP: 127.0.0.1\r\n", 403),
        ("1.1", "localhost".to_owned(), "Origin: http://localhost\r\n", 403),
        ("1.1", "localhost".to_owned(), "Sec-Fetch-Site: cross-site\r\n", 403),
    ];
    for (version, host, extra, status) in table {
        let request = format!("POST /refresh HTTP/{version}\r\nHost: {host}\r\n{extra}Content-Length: 0\r\n\r\n");
        let answer = server.client().send(request).answer();
        assert_eq!(answer.status, status, "{version} {host} {extra}");
        if status == 403 {
            assert_eq!(answer.body, REFUSED);
        }
    }
}

#[test]
fn an_admin_listener_takes_refresh_off_the_public_port() {
    let server = TestServer::with(&Setup {
        admin: true,
        ..Setup::default()
    });
    let admin = || Client::connect(server.admin_address.unwrap());
    assert_eq!(server.client().post("/refresh", "").status, 404);
    assert_eq!(admin().post("/refresh", "").status, 200);
    assert_eq!(admin().get("/health").status, 200);
    assert_eq!(admin().get("/ready").status, 200);
    assert_eq!(admin().post("/verify", r#"{"api_key":"sec_good"}"#).status, 404);
    let forwarded =
        "POST /refresh HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(admin().send(forwarded).answer().status, 403);
}

#[test]
fn http_2_without_tls_is_served_with_the_same_answers_and_the_same_rule_for_refresh() {
    let server = TestServer::start();
    let local = format!("http://{}", server.address);
    let (verified, refreshed, elsewhere, missing) = server.block_on(async {
        let mut client = http_2(server.address).await;
        let body = r#"{"api_key":"sec_good"}"#;
        let verified = ask(&mut client, "POST", &format!("{local}/verify"), body).await;
        let refreshed = ask(&mut client, "POST", &format!("{local}/refresh"), "").await;
        let elsewhere = ask(&mut client, "POST", "http://evil.example/refresh", "").await;
        let missing = ask(&mut client, "GET", &format!("{local}/nothing"), "").await;
        (verified, refreshed, elsewhere, missing)
    });
    assert_eq!((verified.0, verified.1.contains("key_good")), (200, true));
    assert_eq!(refreshed.0, 200);
    assert_eq!(elsewhere.0, 403);
    assert_eq!(missing.0, 404);
}

#[test]
fn http_2_bodies_that_are_too_large_are_refused_and_the_connection_lives_on() {
    let server = TestServer::start();
    let uri = format!("http://{}/verify", server.address);
    let (refused, good) = server.block_on(async {
        let mut client = http_2(server.address).await;
        let refused = ask(&mut client, "POST", &uri, &" ".repeat(70_000)).await;
        let good = ask(&mut client, "POST", &uri, r#"{"api_key":"sec_good"}"#).await;
        (refused, good)
    });
    assert_eq!((refused.0, good.0), (413, 200));
}

type Http2Client = http2::SendRequest<Full<Bytes>>;

async fn http_2(address: std::net::SocketAddr) -> Http2Client {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

async fn ask(client: &mut Http2Client, method: &str, uri: &str, body: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .body(Full::from(body.to_owned()))
        .unwrap();
    let response: Response<Incoming> = client.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn every_verify_is_logged_with_its_request_id_and_without_its_secret() {
    let server = TestServer::start();
    let send = |headers: &str, body: &str| {
        let length = body.len();
        let request = format!("POST /verify HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        server.client().send(request).answer()
    };
    let good = "User-Agent: curl/8\r\nX-Request-Id: mine-1\r\n\
                traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    assert_eq!(send(good, r#"{"api_key":"sec_good"}"#).status, 200);
    assert_eq!(
        send("X-Request-Id: bad id\r\n", r#"{"api_key":"sec_marker_unknown"}"#).status,
        403
    );
    let log = server.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert_eq!(
        (&lines[0]["event"], &lines[0]["key_id"]),
        (&"verification_success".into(), &"key_good".into())
    );
    assert_eq!(
        (&lines[0]["request_id"], &lines[0]["user_agent"]),
        (&"mine-1".into(), &"curl/8".into())
    );
    assert_eq!(
        lines[0]["traceparent"],
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    );
    assert_eq!(lines[1]["event"], "verification_failed");
    assert_eq!(lines[1]["request_id"].as_str().unwrap().len(), 16);
    assert!(
        !log.contains("sec_good") && !log.contains("marker") && !log.contains("bad id"),
        "{log}"
    );
}

#[test]
fn every_request_is_counted_as_what_it_came_to() {
    let server = TestServer::start();
    for secret in ["sec_good", "sec_bare", "unknown"] {
        server.verify(secret);
    }
    server.client().post("/verify", "no json");
    server.client().get("/health");
    server.client().post("/refresh", "");
    server
        .client()
        .send("POST /refresh HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n")
        .answer();
    std::fs::write(server.document(), "").unwrap();
    server.client().post("/refresh", "");
    let counted = server.metrics.take();
    let table = [
        ("verify.requests", 4),
        ("verify.success", 2),
        ("verify.failed", 1),
        ("verify.malformed", 1),
        ("health.requests", 1),
        ("refresh.requests", 3),
        ("refresh.success", 1),
        ("refresh.failed", 1),
        ("refresh.rejected", 1),
        ("startup.success", 1),
    ];
    for (name, count) in table {
        assert_eq!(counted.counters.get(name), Some(&count), "{name}");
    }
    assert_eq!(counted.timers["verify.duration"].len(), 3);
}

#[test]
fn a_first_load_that_fails_is_counted_once_and_the_one_that_succeeds_too() {
    let server = TestServer::starting(&Setup {
        document: Some("<html>".into()),
        ..Setup::default()
    });
    server.wait_until("failed", |_| server.counter("startup.failed") == 1);
    std::fs::write(server.document(), r#"{"keys":[]}"#).unwrap();
    assert_eq!(server.client().post("/refresh", "").status, 200);
    server.wait_until("started", |_| server.counter("startup.success") == 1);
    assert_eq!(server.counter("startup.failed"), 0);
}

#[test]
fn an_address_in_use_stops_the_start_with_the_settings_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken_address, free) = (taken.local_addr().unwrap(), "127.0.0.1:0".parse().unwrap());
    assert_eq!(refused_start(taken_address, None).to_string(), "PORT is already in use");
    assert_eq!(
        refused_start(free, Some(taken_address)).to_string(),
        "ADMIN_LISTEN is already in use"
    );
    let elsewhere = "203.0.113.1:0".parse().unwrap();
    assert_eq!(
        refused_start(elsewhere, None).to_string(),
        "HOST is not an address of this machine"
    );
}

#[test]
fn what_is_in_flight_is_finished_before_the_end_and_nothing_new_begins() {
    let mut server = TestServer::start();
    let mut busy = server.client();
    busy.send("POST /verify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 22\r\n\r\n");
    assert_eq!(busy.answer().status, 100);
    busy.send("{\"api_key\"");
    let mut asking = server.client();
    asking.send("GET /ready HTTP/1.1\r\nHost: x\r\n");
    let mut idle = server.client();
    assert_eq!(idle.get("/ready").status, 200);
    let stopping = server.stop(PATIENCE);
    assert_eq!(idle.rest(), "");
    let ready = asking.send("\r\n").answer();
    assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("draining")));
    let answer = busy.send(":\"sec_good\"}").answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(server.block_on(stopping).unwrap());
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn what_is_not_finished_by_the_deadline_is_cut() {
    let mut server = TestServer::start();
    let mut stuck = server.client();
    stuck.send("POST /verify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 22\r\n\r\n");
    assert_eq!(stuck.answer().status, 100);
    let stopping = server.stop(Duration::from_millis(50));
    assert_eq!(stuck.rest(), "");
    assert!(!server.block_on(stopping).unwrap());
}

/// The number by which the worker of this connection names a request: it counts on from a start of its own.
fn number_given(service: &Service, connection: &mut Connection) -> u64 {
    let before = service.events("verification_failed").len();
    assert_eq!(
        connection.post("/verify", br#"{"api_key":"none"}"#).unwrap().status,
        403
    );
    let mut lines = Vec::new();
    eventually("the verify is logged", || {
        lines = service.events("verification_failed");
        lines.len() > before
    });
    u64::from_str_radix(lines[before]["request_id"].as_str().unwrap(), 16).unwrap()
}

#[test]
fn a_connection_is_given_to_the_worker_that_has_the_fewest() {
    let settings = Settings::file_store().with("WORKERS", "2");
    settings.write_document(&document(1, &["key_1"]));
    let service = settings.start_ready();
    let mut connections: Vec<_> = (0..8).map(|_| service.connect()).collect();
    let first = number_given(&service, &mut connections[0]);
    let serves = |connection: &mut Connection| number_given(&service, connection).wrapping_sub(first) < 1_000;
    let (mut of_one, of_other): (Vec<_>, Vec<_>) = connections
        .into_iter()
        .map(|mut connection| (serves(&mut connection), connection))
        .partition(|(same, _)| *same);
    assert_eq!((of_one.len(), of_other.len()), (4, 4));
    of_one.truncate(1);
    let (_, left) = &mut of_one[0];
    eventually("three connections are closed", || {
        left.get("/metrics")
            .unwrap()
            .text()
            .contains("heare_auth_connections_open 5\n")
    });
    let mut new: Vec<_> = (0..3).map(|_| service.connect()).collect();
    assert!(new.iter_mut().all(serves));
}
