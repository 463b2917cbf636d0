//! The clients in `clients/`: each against the real service, and against peers that misbehave.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    backend::Backend,
    certificates::{Authority, Key},
    clients::{Language, each},
    documents::{document, secret_of},
    http_client::Connection,
    ports::{RefusingPort, free_port, refusing},
    service::{Service, Settings, eventually},
    tool,
};

/// Longer than any of these tests.
const LONG: u64 = 60_000;

const GOOD: &str = r#"{"valid":true,"key_id":"key_1","name":"Example","metadata":{}}"#;

#[test]
fn a_good_key_is_asked_for_once_and_remembered_for_a_while() {
    each(|language| {
        let service = Settings::file_store().start_ready();
        let secret = service.create_key_with("Example", &["--metadata", r#"{"team":"blue"}"#]);
        let mut client = language.asking(service.address(), &json!({"max_age": LONG}));
        for _ in 0..3 {
            let outcome = client.key(&secret);
            assert_eq!(
                (&outcome["name"], &outcome["metadata"]["team"]),
                (&json!("Example"), &json!("blue")),
                "{language:?}"
            );
        }
        assert!(service.stop().success());
        assert_eq!(client.key(&secret)["name"], "Example", "{language:?}: still remembered");
    });
}

#[test]
fn a_revoked_key_works_no_longer_than_answers_are_remembered() {
    let service = Settings::file_store().start_ready();
    each(|language| {
        let secret = service.create_key("Example");
        let mut client = language.asking(service.address(), &json!({"max_age": 300, "max_age_refused": 0}));
        let id = client.key(&secret)["key_id"].as_str().expect("a good key").to_owned();
        assert!(service.cli(&["revoke", &id]).status.success());
        // Used all the while: a use does not make an answer younger.
        eventually("the revocation is in force", || {
            client.key(&secret)["code"] == "revoked"
        });
    });
}

#[test]
fn what_is_remembered_is_forgotten_when_told() {
    let service = Settings::file_store().start_ready();
    each(|language| {
        let secret = service.create_key("Example");
        let mut client = language.asking(service.address(), &json!({"max_age": LONG}));
        let id = client.key(&secret)["key_id"].as_str().expect("a good key").to_owned();
        assert!(service.cli(&["revoke", &id]).status.success());
        assert_eq!(client.key(&secret)["key_id"], id, "{language:?}");
        client.forget_all();
        assert_eq!(client.key(&secret)["code"], "revoked", "{language:?}");
    });
}

#[test]
fn a_remembered_answer_is_not_used_for_another_place_or_scope() {
    let service = Settings::file_store().start_ready();
    let secret = service.create_key_with("Example", &["--scope", "orders:*", "--allow-ip", "192.0.2.0/24"]);
    each(|language| {
        let mut client = language.asking(service.address(), &json!({"max_age": LONG}));
        for _ in 0..2 {
            let mut ask = |ip: Value, scopes: Value| {
                client.one(json!({"api_key": secret, "client_ip": ip, "required_scopes": scopes}))
            };
            assert_eq!(ask("192.0.2.7".into(), json!(["orders:read"]))["name"], "Example");
            let elsewhere = ask("198.51.100.7".into(), json!(["orders:read"]));
            assert_eq!(
                (&elsewhere["code"], &elsewhere["status"]),
                (&json!("ip_not_allowed"), &json!(403)),
                "{language:?}"
            );
            assert_eq!(ask(Value::Null, json!(["orders:read"]))["code"], "ip_not_allowed");
            let other = ask("192.0.2.7".into(), json!(["orders:read", "invoices:read"]));
            assert_eq!(other["code"], "insufficient_scope", "{language:?}");
            let lacking = other["required_scopes"].as_array().expect("a list");
            assert!(lacking.contains(&"invoices:read".into()), "{language:?}: {lacking:?}");
        }
    });
}

#[test]
fn each_use_of_a_key_with_limits_is_counted() {
    let service = Settings::file_store().start_ready();
    each(|language| {
        let mut client = language.asking(service.address(), &json!({"max_age": LONG}));
        let secret = service.create_key_with("Example", &["--limit", "day=5/1d"]);
        let at_once = client.all(&vec![json!({"api_key": secret}); 8]);
        let (good, refused): (Vec<_>, Vec<_>) = at_once.iter().partition(|outcome| outcome["valid"] == true);
        assert_eq!((good.len(), refused.len()), (5, 3), "{language:?}: {at_once:?}");
        for outcome in refused {
            assert_eq!(
                (&outcome["code"], &outcome["status"]),
                (&json!("rate_limited"), &json!(429)),
                "{language:?}"
            );
            assert!(outcome["retry_after"].as_u64().is_some_and(|seconds| seconds > 80_000));
        }
        let secret = service.create_key_with("Example", &["--limit", "day=5/1d"]);
        for (cost, expected) in [(3, Value::Null), (3, "rate_limited".into()), (2, Value::Null)] {
            let outcome = client.one(json!({"api_key": secret, "cost": cost}));
            assert_eq!(outcome["code"], expected, "{language:?}, {cost}");
        }
    });
}

#[test]
fn many_who_ask_for_the_same_key_at_once_are_one_question() {
    each(|language| {
        let peer = Backend::answering(|_| {
            thread::sleep(Duration::from_millis(200));
            http("200 OK", "", GOOD)
        });
        let mut client = language.asking(peer.address, &json!({"max_age": LONG}));
        let outcomes = client.all(&vec![json!({"api_key": "guess"}); 30]);
        assert!(
            outcomes.iter().all(|outcome| outcome["key_id"] == "key_1"),
            "{language:?}"
        );
        assert_eq!(peer.requests().len(), 1, "{language:?}");
    });
}

#[test]
fn answers_are_remembered_only_where_that_is_right() {
    let cases = [
        ("200 OK", "", GOOD.to_owned(), 1),
        ("200 OK", "X-RateLimit-Limit: 5\r\n", GOOD.to_owned(), 2),
        (
            "200 OK",
            "RateLimit-Policy: \"hour\";q=5;w=3600\r\n",
            GOOD.to_owned(),
            2,
        ),
        ("200 OK", "", good_until("2999-01-01T00:00:00Z"), 1),
        ("200 OK", "", good_until("2020-01-01T00:00:00Z"), 2),
        ("200 OK", "", good_until("soon"), 2),
        ("403 Forbidden", "", refused("invalid"), 1),
        ("403 Forbidden", "", refused("expired"), 1),
        (
            "429 Too Many Requests",
            "Retry-After: 1\r\n",
            refused("rate_limited"),
            2,
        ),
    ];
    each(|language| {
        for (status, headers, body, asked) in &cases {
            let bytes = http(status, headers, body);
            let peer = Backend::answering(move |_| bytes.clone());
            let settings = json!({"max_age": LONG, "max_age_refused": LONG});
            let mut client = language.asking(peer.address, &settings);
            assert_eq!(client.key("guess"), client.key("guess"), "{language:?}: {body}");
            assert_eq!(peer.requests().len(), *asked, "{language:?}: {headers}{body}");
        }
    });
}

#[test]
fn a_key_that_was_just_made_works_soon_after_a_refusal() {
    each(|language| {
        let asked = AtomicUsize::new(0);
        let peer = Backend::answering(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => http("403 Forbidden", "", &refused("invalid")),
            _ => http("200 OK", "", GOOD),
        });
        let mut client = language.asking(peer.address, &json!({"max_age": LONG, "max_age_refused": 100}));
        assert_eq!(client.key("guess")["code"], "invalid", "{language:?}");
        eventually("the key is good", || client.key("guess")["key_id"] == "key_1");
        assert_eq!(peer.requests().len(), 2, "{language:?}");
    });
}

#[test]
fn guesses_do_not_push_good_keys_out_of_the_memory() {
    each(|language| {
        let peer = Backend::answering(|request| {
            let is_good = String::from_utf8_lossy(&request.body).contains("genuine");
            let (status, body) = if is_good {
                ("200 OK", GOOD.to_owned())
            } else {
                ("403 Forbidden", refused("invalid"))
            };
            http(status, "", &body)
        });
        let settings = json!({"max_age": LONG, "max_age_refused": LONG, "max_entries": 10});
        let mut client = language.asking(peer.address, &settings);
        client.key("genuine");
        for guess in 0..30 {
            client.key(&format!("guess {guess}"));
        }
        client.key("genuine");
        client.key("guess 29");
        assert_eq!(peer.requests().len(), 31, "{language:?}: neither is asked for again");
        client.key("guess 0");
        assert_eq!(peer.requests().len(), 32, "{language:?}: the memory is bounded");
    });
}

#[test]
fn nobody_is_let_in_once_the_service_is_gone_and_the_answer_old() {
    each(|language| {
        let service = Settings::file_store().start_ready();
        let secret = service.create_key("Example");
        let mut client = language.asking(service.address(), &json!({"max_age": 300, "max_age_refused": 0}));
        assert_eq!(client.key(&secret)["name"], "Example", "{language:?}");
        assert!(service.stop().success());
        eventually("the answer is old", || client.key(&secret)["code"] == "unavailable");
        for _ in 0..3 {
            assert_eq!(client.key(&secret)["status"], 503, "{language:?}");
        }
    });
}

#[test]
fn a_service_that_was_restarted_is_found_again() {
    each(|language| {
        let settings = Settings::file_store().with("PORT", free_port().to_string());
        let service = settings.start_ready();
        let secret = service.create_key("Example");
        let mut client = language.asking(service.address(), &json!({"max_age": 0, "max_age_refused": 0}));
        assert_eq!(client.key(&secret)["name"], "Example", "{language:?}");
        assert!(service.stop().success());
        let service = settings.start_ready();
        assert_eq!(
            client.key(&secret)["name"],
            "Example",
            "{language:?}: the old connection is not missed"
        );
        service.suspend();
        let stalled = client.all(&vec![json!({"api_key": secret}); 3]);
        service.signal("CONT");
        assert!(
            stalled.iter().all(|outcome| outcome["code"] == "unavailable"),
            "{language:?}"
        );
        assert_eq!(client.key(&secret)["name"], "Example", "{language:?}: nobody is stuck");
    });
}

#[test]
fn nobody_is_let_in_while_no_keys_are_loaded() {
    let settings = Settings::file_store();
    settings.write_document("{broken");
    let service = settings.start();
    each(|language| {
        let mut client = language.asking(service.address(), &json!({"total": 2000}));
        let expected = json!({"code": "unavailable", "status": 503, "retry_after": 1, "required_scopes": []});
        assert_eq!(client.key("guess"), expected, "{language:?}");
    });
}

#[test]
fn retry_after_is_waited_for_as_far_as_the_time_reaches() {
    each(|language| {
        for (wait, asked, key_id) in [("1", 2, json!("key_1")), ("3600", 1, Value::Null)] {
            let count = AtomicUsize::new(0);
            let peer = Backend::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
                0 => http("503 Service Unavailable", &format!("Retry-After: {wait}\r\n"), "{}"),
                _ => http("200 OK", "", GOOD),
            });
            let mut client = language.asking(peer.address, &json!({}));
            let outcome = client.key("guess");
            assert_eq!(
                (&outcome["key_id"], peer.requests().len()),
                (&key_id, asked),
                "{language:?}, {wait}"
            );
            if asked == 1 {
                assert_eq!(outcome["retry_after"], 3600, "{language:?}: it is handed on");
            }
        }
    });
}

#[test]
fn an_outage_is_asked_about_a_few_times_and_never_remembered() {
    each(|language| {
        let count = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&count);
        let peer = Backend::answering(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0..3 => http("500 Internal Server Error", "", r#"{"valid":true,"key_id":"key_1"}"#),
            _ => http("200 OK", "", GOOD),
        });
        let mut client = language.asking(peer.address, &json!({}));
        assert_eq!(client.key("guess")["code"], "unavailable", "{language:?}");
        assert_eq!(count.load(Ordering::SeqCst), 3, "{language:?}");
        assert_eq!(client.key("guess")["key_id"], "key_1", "{language:?}");
    });
}

#[test]
fn nothing_but_the_services_own_yes_is_a_yes() {
    let elsewhere = Backend::answering(|_| http("200 OK", "", GOOD));
    let redirect = format!("Location: http://{}/verify\r\n", elsewhere.address);
    let huge = format!(r#"{{"valid":true,"key_id":"key_1","name":"{}"}}"#, "x".repeat(2 << 20));
    let deep = format!(r#"{{"valid":true,"key_id":"key_1","metadata":{}"#, "[".repeat(500_000));
    let answers = [
        http("200 OK", "", "<html>Welcome</html>"),
        http("200 OK", "", ""),
        http("200 OK", "", "null"),
        http("200 OK", "", r#"{"valid":true}"#),
        http("200 OK", "", r#"{"valid":true,"key_id":7}"#),
        http("200 OK", "", r#"{"valid":false,"key_id":"key_1"}"#),
        http("200 OK", "", r#"{"valid":"true","key_id":"key_1"}"#),
        http("200 OK", "", r#"[{"valid":true,"key_id":"key_1"}]"#),
        http("200 OK", "", &format!("{GOOD}{GOOD}")),
        http("200 OK", "", &huge),
        http("200 OK", "", &deep),
        http("201 Created", "", GOOD),
        http("404 Not Found", "", GOOD),
        http("403 Forbidden", "", GOOD),
        http("403 Forbidden", "", "<html>Blocked</html>"),
        http("422 Unprocessable", "", "{}"),
        http("429 Too Many Requests", "", r#"{"error":"slow down"}"#),
        http("307 Temporary Redirect", &redirect, ""),
        http("302 Found", &redirect, ""),
        // It ends before its length is reached.
        format!("HTTP/1.1 200 OK\r\nContent-Length: 400\r\nConnection: close\r\n\r\n{GOOD}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{GOOD}\r\n",
            GOOD.len()
        ),
        "no HTTP at all\r\n\r\n".to_owned(),
    ];
    each(|language| {
        for answer in &answers {
            let bytes = answer.clone();
            let peer = Backend::answering(move |_| bytes.clone());
            let mut client = language.asking(peer.address, &json!({"attempt": 300, "total": 300}));
            let outcome = client.key("guess");
            let shown = &answer[..answer.len().min(200)];
            assert_eq!(
                (&outcome["code"], &outcome["status"]),
                (&json!("unavailable"), &json!(503)),
                "{language:?}: {shown}"
            );
        }
    });
    assert!(
        elsewhere.requests().is_empty(),
        "no key goes to where a redirect points"
    );
}

#[test]
fn an_answer_nobody_asked_for_is_not_the_next_keys() {
    each(|language| {
        // Each request is answered twice: the second answer lies in the connection when the next request is sent.
        let twice = format!("{}{}", kept("200 OK", GOOD), kept("200 OK", GOOD));
        let peer = Backend::answering(move |request| {
            let is_good = String::from_utf8_lossy(&request.body).contains("genuine");
            if is_good {
                twice.clone()
            } else {
                kept("403 Forbidden", &refused("invalid"))
            }
        });
        let mut client = language.asking(peer.address, &json!({"max_age": 0, "max_age_refused": 0}));
        for _ in 0..5 {
            client.key("genuine");
            let outcome = client.key("guess");
            assert_ne!(outcome["valid"], true, "{language:?}");
        }
    });
}

#[test]
fn a_peer_that_is_silent_or_slow_or_absent_is_given_up_on() {
    let absent = RefusingPort::bind();
    let silent = RefusingPort::bind();
    let silent_address = silent.address();
    let _listener = silent.listen();
    let slow = trickling();
    each(|language| {
        for peer in [absent.address(), silent_address, slow] {
            let began = Instant::now();
            let mut client = language.asking(peer, &json!({"attempt": 400, "total": 1000}));
            let outcomes = client.all(&vec![json!({"api_key": "guess"}); 5]);
            assert!(
                outcomes.iter().all(|outcome| outcome["code"] == "unavailable"),
                "{language:?}"
            );
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{language:?}: one second, and starting a process"
            );
        }
    });
}

#[test]
fn the_key_goes_to_nobody_whose_certificate_is_not_trusted() {
    let authority = Authority::new();
    let pair = authority.issue("usual", Key::P256);
    let settings = Settings::file_store()
        .with("SSL_CERTFILE", pair.certificate.to_str().expect("a path in UTF-8"))
        .with("SSL_KEYFILE", pair.key.to_str().expect("a path in UTF-8"));
    settings.write_document(&document(1, &["key_1"]));
    let service = settings.start();
    service.wait_for_event("keys_loaded", |_| true);
    for language in [Language::Python, Language::JavaScript] {
        let mut trusting = language.asking_securely(service.address(), Some(&authority.root()));
        assert_eq!(trusting.key(&secret_of("key_1"))["key_id"], "key_1", "{language:?}");
        let mut suspicious = language.asking_securely(service.address(), None);
        assert_eq!(
            suspicious.key(&secret_of("key_1"))["code"],
            "unavailable",
            "{language:?}"
        );
    }
    let verified = || service.events("verification_success").len();
    eventually("what was let in is logged", || verified() >= 2);
    assert_eq!(verified(), 2);
}

#[test]
fn what_cannot_be_a_key_is_refused_and_a_question_that_is_wrong_is_no_answer_about_a_key() {
    let service = Settings::file_store().start_ready();
    let secret = service.create_key("Example");
    each(|language| {
        let mut client = language.asking(service.address(), &json!({}));
        for text in ["", &"x".repeat(1025), &"é".repeat(2000)] {
            let outcome = client.key(text);
            assert_eq!(
                (&outcome["code"], &outcome["status"]),
                (&json!("malformed"), &json!(401)),
                "{language:?}"
            );
        }
        assert_eq!(client.key(&"é".repeat(1024))["code"], "invalid", "{language:?}");
        let outcome = client.one(json!({"api_key": secret, "required_scopes": ["no scope"]}));
        assert_eq!(
            (&outcome["code"], &outcome["status"]),
            (&json!("bad_question"), &json!(500)),
            "{language:?}"
        );
    });
}

#[test]
fn a_fastapi_application_lets_in_who_has_a_key_with_the_scope() {
    let service = Settings::file_store().start_ready();
    let secret = service.create_key_with("Example", &["--scope", "orders:*"]);
    let without_scope = service.create_key("Example");
    let used_up = service.create_key_with("Example", &["--scope", "orders:*", "--limit", "day=1/1d"]);
    assert_eq!(service.verify(&used_up).0, 200);
    let application = Application::start(&service);
    let ask = |path: &str, key: Option<&str>| {
        let headers: Vec<(&str, &str)> = key.map(|key| ("X-API-Key", key)).into_iter().collect();
        let mut connection = Connection::open(application.address);
        connection.request("GET", path, &headers, b"").expect("an answer")
    };
    assert_eq!(ask("/orders", Some(&secret)).status_and_json().1["for"], "Example");
    assert_eq!(
        ask("/whoami", Some(&without_scope)).status_and_json().1["name"],
        "Example"
    );
    for (path, key, status, code) in [
        ("/orders", None, 401, "malformed"),
        ("/orders", Some("guess"), 401, "invalid"),
        ("/orders", Some(&*without_scope), 403, "insufficient_scope"),
        ("/orders", Some(&*used_up), 429, "rate_limited"),
    ] {
        let answer = ask(path, key);
        assert_eq!(answer.status_and_json(), (status, json!({ "detail": code })));
        assert_eq!(answer.header("Retry-After").is_some(), status == 429);
        assert_eq!(answer.header("WWW-Authenticate").is_some(), status == 401);
    }
    assert!(service.stop().success());
    assert_eq!(ask("/whoami", Some("another guess")).status, 503);
}

#[test]
fn the_function_for_requests_says_yes_to_a_good_key_alone() {
    let service = Settings::file_store().start_ready();
    let secret = service.create_key("Example");
    let elsewhere = Backend::answering(|_| http("200 OK", "", GOOD));
    let redirect = format!("Location: http://{}/verify\r\n", elsewhere.address);
    let redirecting = Backend::answering(move |_| http("307 Temporary Redirect", &redirect, ""));
    let absent = RefusingPort::bind();
    for (address, key, said) in [
        (service.address(), &*secret, "Example"),
        (service.address(), "guess", "not allowed"),
        (redirecting.address, &secret, "not allowed"),
        (absent.address(), &secret, "not allowed"),
    ] {
        let mut process = python("with_requests.py");
        let mut process = process
            .env("HEARE_AUTH_URL", format!("http://{address}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/setup installs Python's libraries");
        let mut stdin = process.stdin.take().expect("stdin is piped");
        writeln!(stdin, "{key}").expect("it reads the key");
        drop(stdin);
        let output = process.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), said);
        assert_eq!(output.status.success(), said == "Example");
    }
    assert!(elsewhere.requests().is_empty());
}

/// The application of the FastAPI example, until it is dropped.
struct Application {
    process: Child,
    address: SocketAddr,
}

impl Application {
    fn start(service: &Service) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = python("-m")
            .args(["uvicorn", "with_fastapi:app", "--log-level", "warning", "--port"])
            .arg(address.port().to_string())
            .env("HEARE_AUTH_URL", service.url(""))
            .spawn()
            .expect("scripts/setup installs Python's libraries");
        let application = Self { process, address };
        eventually("the application answers", || TcpStream::connect(address).is_ok());
        application
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Python with the tests' libraries, among the clients.
fn python(argument: &str) -> Command {
    let mut command = Command::new(tool("venv/bin/python"));
    command
        .arg(argument)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python"))
        .env("http_proxy", format!("http://{}", refusing()))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn good_until(end: &str) -> String {
    format!(
        r#"{{"valid":true,"key_id":"key_1","name":"Example","metadata":{{}},"secret":"previous","previous_expires_at":"{end}"}}"#
    )
}

fn refused(code: &str) -> String {
    format!(r#"{{"valid":false,"error":"Refused","code":"{code}"}}"#)
}

/// A peer that sends one byte of its answer every 50 ms.
fn trickling() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let Ok(1..) = stream.read(&mut [0; 4096]) else {
                    return;
                };
                for byte in http("200 OK", "", GOOD).into_bytes() {
                    thread::sleep(Duration::from_millis(50));
                    // The client goes when its time is over.
                    if stream.write_all(&[byte]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// An answer after which the connection stays open.
fn kept(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
