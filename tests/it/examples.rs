//! The clients in documentation/examples: each run against the real service, and against peers that misbehave.

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Command, Output, Stdio},
    sync::OnceLock,
    thread,
};

use serde_json::Value;

use crate::support::{
    backend::Backend,
    ports::{RefusingPort, refusing},
    service::Settings,
};

/// The program and its file of each client that runs wherever the tests do.
const CLIENTS: [[&str; 2]; 3] = [
    ["python3", "python/verify.py"],
    ["node", "javascript/verify.mjs"],
    ["bash", "curl/verify.sh"],
];

/// These, and the one in Go where Go is installed, which is much to install for one file.
fn clients() -> impl Iterator<Item = [&'static str; 2]> {
    CLIENTS.into_iter().chain(go().map(|binary| ["env", binary]))
}

/// The client in Go, built once.
fn go() -> Option<&'static str> {
    static BINARY: OnceLock<Option<String>> = OnceLock::new();
    let build = || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
        let binary = directory.join("verify");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg("verify.go")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("documentation/examples/go"))
            .env("GOCACHE", directory.join("cache"))
            .env("GOFLAGS", "-buildvcs=false")
            .output();
        let built = built.ok()?;
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Some(binary.to_str().expect("paths of tests are UTF-8").to_owned())
    };
    BINARY.get_or_init(build).as_deref()
}

#[test]
fn each_client_prints_whose_a_good_key_is() {
    let service = Settings::file_store().start_ready();
    let secret = service.create_key_with("Example", &["--scope", "orders:*", "--allow-ip", "192.0.2.0/24"]);
    each(|client| {
        let said = ask(client, service.address(), &secret, &["192.0.2.7", "orders:read"]);
        assert_eq!(said.code, 0, "{client:?}: {}", said.text);
        let answer: Value = serde_json::from_str(&said.text).expect("the answer is JSON");
        assert_eq!((&answer["valid"], &answer["name"]), (&true.into(), &"Example".into()));
    });
}

#[test]
fn each_client_says_why_a_key_is_refused_and_what_to_answer() {
    let service = Settings::file_store().start_ready();
    let secret = service.create_key_with("Example", &["--scope", "orders:*", "--allow-ip", "192.0.2.0/24"]);
    let revoked = service.create_key("Example");
    let id = service.verify(&revoked).1["key_id"].as_str().expect("an id").to_owned();
    assert!(service.cli(&["revoke", &id]).status.success());
    let too_long = "x".repeat(2000);
    let cases: [(&str, &[&str], &str); 6] = [
        ("guess", &[], "invalid (answer 401)"),
        (&revoked, &[], "revoked (answer 401)"),
        (&secret, &[], "ip_not_allowed (answer 403)"),
        (
            &secret,
            &["192.0.2.7", "invoices:read"],
            "insufficient_scope (answer 403)",
        ),
        (&too_long, &[], "malformed (answer 401)"),
        ("", &[], "invalid (answer 401)"),
    ];
    each(|client| {
        for (key, arguments, expected) in cases {
            let said = ask(client, service.address(), key, arguments);
            assert_eq!(
                (said.code, said.text),
                (1, format!("not allowed: {expected}")),
                "{client:?}"
            );
        }
    });
}

#[test]
fn each_client_hands_on_how_long_a_used_up_key_must_wait() {
    let service = Settings::file_store().start_ready();
    each(|client| {
        let secret = service.create_key_with("Example", &["--limit", "day=1/1d"]);
        assert_eq!(ask(client, service.address(), &secret, &[]).code, 0, "{client:?}");
        let said = ask(client, service.address(), &secret, &[]);
        assert_eq!(said.code, 1, "{client:?}");
        let wait = said
            .text
            .strip_prefix("not allowed: rate_limited (answer 429, Retry-After: ")
            .and_then(|rest| rest.strip_suffix(')')?.parse::<u32>().ok());
        assert!(
            wait.is_some_and(|seconds| seconds > 80_000),
            "{client:?}: {}",
            said.text
        );
    });
}

#[test]
fn each_client_lets_nobody_through_while_no_keys_are_loaded() {
    let settings = Settings::file_store();
    settings.write_document("{broken");
    let service = settings.start();
    each(|client| {
        let said = ask(client, service.address(), "guess", &[]);
        assert_eq!(said.code, 2, "{client:?}: {}", said.text);
        assert_eq!(said.text, "not allowed: unavailable (answer 503, Retry-After: 1)");
    });
}

#[test]
fn each_client_comes_back_when_retry_after_says_so_and_not_when_that_is_too_late() {
    let good = r#"{"valid":true,"key_id":"key_1","name":"Example","metadata":{}}"#;
    each(|client| {
        for (wait, code, asked) in [("1", 0, 2), ("3600", 2, 1)] {
            let first = std::sync::atomic::AtomicBool::new(true);
            let peer = Backend::answering(move |_| {
                if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                    http("503 Service Unavailable", &format!("Retry-After: {wait}\r\n"), "{}")
                } else {
                    http("200 OK", "", good)
                }
            });
            let said = ask(client, peer.address, "guess", &[]);
            let requests = peer.requests().len();
            assert_eq!(
                (said.code, requests),
                (code, asked),
                "{client:?}, {wait}: {}",
                said.text
            );
        }
    });
}

#[test]
fn no_client_takes_anything_but_the_services_own_yes_for_a_yes() {
    let elsewhere = Backend::answering(|_| http("200 OK", "", r#"{"valid":true}"#));
    let redirect = format!("Location: http://{}/verify\r\n", elsewhere.address);
    let answers = [
        http("200 OK", "", "<html>Welcome</html>"),
        http("200 OK", "", ""),
        http("200 OK", "", r#"{"valid":false}"#),
        http("200 OK", "", r#"{"valid":"true"}"#),
        http("200 OK", "", r#"[{"valid":true}]"#),
        http("200 OK", "", r#"{"valid":false}{"valid":true}"#),
        http("404 Not Found", "", r#"{"valid":true}"#),
        http("307 Temporary Redirect", &redirect, ""),
        http("302 Found", &redirect, ""),
        // It ends before its length is reached.
        "HTTP/1.1 200 OK\r\nContent-Length: 400\r\nConnection: close\r\n\r\n{\"valid\":true}".to_owned(),
    ];
    each(|client| {
        for answer in &answers {
            let bytes = answer.clone();
            let peer = Backend::answering(move |_| bytes.clone());
            let said = ask(client, peer.address, "guess", &[]);
            assert_eq!(said.code, 2, "{client:?}: {answer}: {}", said.text);
            assert_eq!(said.text, "not allowed: unavailable (answer 503)");
        }
    });
    assert!(
        elsewhere.requests().is_empty(),
        "no key goes to where a redirect points"
    );
}

#[test]
fn each_client_gives_up_on_a_peer_that_is_not_there_or_never_answers() {
    let absent = RefusingPort::bind();
    let silent = RefusingPort::bind();
    let silent_address = silent.address();
    let _listener = silent.listen();
    each(|client| {
        for peer in [absent.address(), silent_address] {
            let said = ask(client, peer, "guess", &[]);
            assert_eq!(said.code, 2, "{client:?}: {}", said.text);
        }
    });
}

#[test]
fn no_client_prints_the_key() {
    let service = Settings::file_store().start_ready();
    let secret = service.create_key_with("Example", &["--scope", "orders:read"]);
    each(|client| {
        for arguments in [&[][..], &["", "invoices:read"][..]] {
            let said = ask(client, service.address(), &secret, arguments);
            assert!(!said.all.contains(&secret), "{client:?}");
        }
    });
}

/// All of them side by side, as most of their time is waiting.
fn each(check: impl Fn([&str; 2]) + Sync) {
    thread::scope(|scope| {
        for client in clients() {
            let check = &check;
            scope.spawn(move || check(client));
        }
    });
}

/// What a client said and how it ended.
struct Said {
    code: i32,
    text: String,
    all: String,
}

fn ask([program, file]: [&str; 2], service: SocketAddr, key: &str, arguments: &[&str]) -> Said {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("documentation/examples")
        .join(file);
    let mut client = Command::new(program)
        .arg(path)
        .args(arguments)
        .env("HEARE_AUTH_URL", format!("http://{service}"))
        // Whoever has a proxy in the environment must not send it keys.
        .env("http_proxy", format!("http://{}", refusing()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("scripts/setup installs {program}: {e}"));
    let mut stdin = client.stdin.take().expect("stdin is piped");
    writeln!(stdin, "{key}").expect("the client reads the key");
    drop(stdin);
    let Output { status, stdout, stderr } = client.wait_with_output().expect("it ends");
    let text = String::from_utf8(stdout).expect("text").trim().to_owned();
    let all = format!("{text}{}", String::from_utf8_lossy(&stderr));
    let code = status.code().expect("it ends by itself");
    Said { code, text, all }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
