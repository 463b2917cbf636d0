//! TLS of the public port: which versions, keys and protocols it takes, what becomes of peers that misbehave, and how a
//! certificate is replaced.

use crate::support::{
    PATIENCE,
    certificates::{Authority, Key, Pair, put},
    documents::{document, secret_of},
    read,
    server_in_process::{Client, Setup, TestServer, no_hurry},
    service::{Settings, eventually},
    tls_client::{End, TlsClient},
};
use heare_auth::{
    config::{GatewayConfig, TlsFiles},
    http::deadlines::Deadlines,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Output, Stdio},
    time::Duration,
};

/// Long enough for a handshake on a busy machine.
const SHORT: Duration = Duration::from_millis(400);

fn settings(pair: &Pair) -> Settings {
    let settings = Settings::file_store();
    settings.write_document(&document(1, &["key_1"]));
    secured(settings, pair)
}

fn secured(settings: Settings, pair: &Pair) -> Settings {
    settings
        .with("SSL_CERTFILE", pair.certificate.to_str().unwrap())
        .with("SSL_KEYFILE", pair.key.to_str().unwrap())
}

/// A service in this process, secured by a certificate of the authority.
fn in_process(authority: &Authority, deadlines: Deadlines) -> TestServer {
    let pair = authority.issue("usual", Key::P256);
    let tls = TlsFiles {
        certificate: pair.certificate,
        key: pair.key,
    };
    let setup = Setup {
        deadlines,
        max_connections: 4,
        gateway: GatewayConfig {
            tls: Some(tls),
            ..GatewayConfig::default()
        },
        ..Setup::default()
    };
    let server = TestServer::starting(&setup);
    // On a busy machine a short deadline may cut even this.
    let ready = || {
        let mut client = TlsClient::try_connect(server.address, &authority.root())?;
        client.send(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        client.answer()
    };
    eventually("it is ready", || ready().is_ok_and(|answer| answer.status == 200));
    server
}

fn verify_body(id: &str) -> Vec<u8> {
    json!({ "api_key": secret_of(id) }).to_string().into_bytes()
}

/// Connects as openssl's own client does, with these arguments.
fn openssl(address: SocketAddr, arguments: &str) -> Output {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", "localhost"]);
    let output = command.args(arguments.split_whitespace()).stdin(Stdio::null()).output();
    output.expect("openssl runs")
}

fn curl(address: SocketAddr, path: &str, arguments: &[&str]) -> Output {
    let url = format!("https://localhost:{}{path}", address.port());
    let output = Command::new("curl")
        .args(["-sS", "-m", "30"])
        .args(arguments)
        .arg(url)
        .output();
    output.expect("curl runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_source_documents_command_makes_a_certificate_that_everybody_here_gets_along_with() {
    let settings = Settings::file_store()
        .with("SSL_CERTFILE", ".ssl/cert.pem")
        .with("SSL_KEYFILE", ".ssl/key.pem");
    let made = settings
        .shell(
            "mkdir -p .ssl; yes '' | head -20 | \
             openssl req -x509 -newkey rsa:4096 -keyout .ssl/key.pem -out .ssl/cert.pem -days 365 -nodes",
        )
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let service = settings.start();
    eventually("it is ready", || {
        curl(service.address(), "/ready", &["-k"])
            .stdout
            .starts_with(br#"{"status":"ready""#)
    });
    // The command line knows the certificate, as it reads the same settings.
    let url = format!("https://localhost:{}/refresh", service.address().port());
    let settings = settings
        .with("REFRESH_URL", url)
        .with("PORT", service.address().port().to_string());
    let created = settings.run(&["create", "--name", "by TLS"]);
    assert!(
        text(&created.stdout).contains("✓ Service refreshed - 1 keys loaded"),
        "{created:?}"
    );
    let health = settings.run(&["health", "--ready"]);
    assert_eq!(
        text(&health.stdout),
        "✓ Service answers - 1 keys loaded\n",
        "{}",
        text(&health.stderr)
    );
    // Without it nobody vouches for a certificate like that.
    let stranger = settings.without("SSL_CERTFILE");
    let refused = stranger.run(&["refresh"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.contains("is not trusted: nobody vouches for it") && said.contains("SSL_CERTFILE names"),
        "{said}"
    );
    let doctor = text(&stranger.run(&["doctor"]).stdout);
    assert!(
        doctor.contains("✗ health: the certificate at https://localhost:") && !doctor.contains("nothing answers"),
        "{doctor}"
    );
}

#[test]
fn the_documents_certificate_of_the_first_try_is_trusted_by_whoever_is_told_of_it() {
    let usage = read("USAGE.md");
    let command = usage.lines().find(|line| line.starts_with("openssl req -x509"));
    let settings = Settings::file_store()
        .with("SSL_CERTFILE", ".ssl/cert.pem")
        .with("SSL_KEYFILE", ".ssl/key.pem");
    let made = settings
        .shell(&format!("mkdir -p .ssl; {}", command.expect("USAGE has the command")))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let service = settings.start();
    service.wait_for_event("startup", |_| true);
    let url = format!("https://localhost:{}/refresh", service.address().port());
    let elsewhere = settings
        .without("SSL_CERTFILE")
        .without("SSL_KEYFILE")
        .with("REFRESH_URL", url);
    assert_eq!(elsewhere.run(&["refresh"]).status.code(), Some(1));
    let told = elsewhere.with("SSL_CERT_FILE", ".ssl/cert.pem").run(&["refresh"]);
    assert!(told.status.success(), "{told:?}");
}

#[test]
fn versions_before_1_2_are_refused_and_both_protocols_are_negotiated() {
    let authority = Authority::new();
    let service = settings(&authority.issue("usual", Key::Rsa)).start();
    let address = service.address();
    for (version, taken) in [
        ("-tls1", false),
        ("-tls1_1", false),
        ("-tls1_2", true),
        ("-tls1_3", true),
    ] {
        let outcome = openssl(address, &format!("{version} -cipher DEFAULT@SECLEVEL=0"));
        assert_eq!(outcome.status.success(), taken, "{version}: {}", text(&outcome.stdout));
        assert_eq!(text(&outcome.stderr).contains(" alert "), !taken, "{version}");
    }
    let weak = openssl(address, "-tls1_2 -cipher AES128-SHA:AES256-SHA");
    assert!(!weak.status.success(), "without forward secrecy");
    let root = authority.root();
    let trusted = [
        "--cacert",
        root.to_str().unwrap(),
        "-o",
        "/dev/null",
        "-w",
        "%{http_version} %{http_code}",
    ];
    for (flag, answer) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        let outcome = curl(address, "/health", &[&trusted[..], &[flag]].concat());
        assert_eq!(text(&outcome.stdout), answer, "{}", text(&outcome.stderr));
    }
    let offered = |protocols: &str| text(&openssl(address, &format!("-alpn {protocols}")).stdout);
    assert!(offered("http/1.1,h2").contains("ALPN protocol: h2"));
    assert!(offered("http/1.1").contains("ALPN protocol: http/1.1"));
    let neither = openssl(address, "-alpn spdy/3");
    assert!(!neither.status.success(), "{}", text(&neither.stdout));
    let (verified, http2) = (
        curl_verify(address, &root, "--http1.1"),
        curl_verify(address, &root, "--http2"),
    );
    assert!(
        verified.contains(r#""valid":true"#) && verified == http2,
        "{verified} {http2}"
    );
}

fn curl_verify(address: SocketAddr, root: &std::path::Path, version: &str) -> String {
    let body = text(&verify_body("key_1"));
    text(
        &curl(
            address,
            "/verify",
            &["--cacert", root.to_str().unwrap(), version, "-d", &body],
        )
        .stdout,
    )
}

#[test]
fn every_usual_kind_and_form_of_key_is_taken() {
    let authority = Authority::new();
    let forms = [
        ("rsa-8", Key::Rsa, "true"),
        (
            "rsa-1",
            Key::Rsa,
            "openssl rsa -traditional -in rsa-1.key -out form && mv form rsa-1.key",
        ),
        ("p256-8", Key::P256, "true"),
        (
            "p256-sec1",
            Key::P256,
            "(openssl ecparam -name prime256v1; openssl ec -in p256-sec1.key) > form && mv form p256-sec1.key",
        ),
        ("p384", Key::P384, "true"),
        ("ed25519", Key::Ed25519, "true"),
    ];
    for (name, key, script) in forms {
        let pair = authority.issue(name, key);
        authority.run(script);
        let service = settings(&pair).start();
        let mut client = TlsClient::connect(service.address(), &authority.root());
        assert_eq!(client.get("/health").status, 200, "{name}");
        assert!(service.stop().success());
    }
}

#[test]
fn a_pair_that_is_no_good_stops_the_start_with_a_sentence() {
    let authority = Authority::new();
    let (good, other) = (authority.issue("good", Key::P256), authority.issue("other", Key::P256));
    authority.run(
        "openssl pkcs8 -topk8 -passout pass:word -in good.key -out encrypted.key
         openssl genrsa -out weak.key 1024
         openssl req -x509 -new -key weak.key -days 2 -subj /CN=weak -out weak.pem
         printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' > ca.conf
         touch index; echo 01 > serial
         openssl req -new -key good.key -subj /CN=expired -out expired.csr
         openssl ca -batch -notext -config ca.conf -selfsign -keyfile good.key -in expired.csr -startdate 20200101000000Z -enddate 20200102000000Z -out expired.pem
         (echo -----BEGIN CERTIFICATE-----; echo AAAA; echo -----END CERTIFICATE-----) > damaged.pem
         touch empty.pem; mkdir directory",
    );
    let file = |name: &str| authority.file(name);
    let table = [
        (
            file("missing.pem"),
            good.key.clone(),
            "SSL_CERTFILE names a file that is not there",
        ),
        (
            good.certificate.clone(),
            file("missing.key"),
            "SSL_KEYFILE names a file that is not there",
        ),
        (
            file("directory"),
            good.key.clone(),
            "SSL_CERTFILE must name a file in PEM form",
        ),
        (
            file("empty.pem"),
            good.key.clone(),
            "SSL_CERTFILE holds no certificate in PEM form",
        ),
        (
            good.key.clone(),
            good.key.clone(),
            "SSL_CERTFILE holds no certificate in PEM form",
        ),
        (
            file("damaged.pem"),
            good.key.clone(),
            "SSL_CERTFILE holds a certificate that cannot be read",
        ),
        (
            file("expired.pem"),
            good.key.clone(),
            "SSL_CERTFILE holds a certificate that has expired",
        ),
        (
            good.certificate.clone(),
            good.certificate.clone(),
            "SSL_KEYFILE holds no private key in PEM form",
        ),
        (
            good.certificate.clone(),
            file("encrypted.key"),
            "SSL_KEYFILE holds an encrypted key; store it without a passphrase",
        ),
        (
            file("weak.pem"),
            file("weak.key"),
            "SSL_KEYFILE holds a private key that cannot be used; it must be RSA from 2048 bits, ECDSA (P-256, P-384) or Ed25519",
        ),
        (
            good.certificate.clone(),
            other.key.clone(),
            "SSL_KEYFILE does not belong to the certificate in SSL_CERTFILE",
        ),
    ];
    for (certificate, key, sentence) in table {
        refused(&secured(Settings::file_store(), &Pair { certificate, key }), sentence);
    }
    let alone = secured(Settings::file_store(), &good).without("SSL_KEYFILE");
    refused(&alone, "SSL_KEYFILE must be set when SSL_CERTFILE is set");
}

#[track_caller]
fn refused(settings: &Settings, sentence: &str) {
    let outcome = settings.run(&["serve"]);
    assert!(!outcome.status.success(), "{sentence}");
    assert!(
        text(&outcome.stderr).contains(sentence),
        "{sentence}: {}",
        text(&outcome.stderr)
    );
}

#[test]
fn a_new_certificate_is_served_without_a_restart() {
    let authority = Authority::new();
    let (first, second) = (authority.issue("first", Key::P256), authority.issue("second", Key::Rsa));
    let in_use = authority.issue("in-use", Key::P256);
    in_use.replace_by(&first);
    let service = settings(&in_use).start();
    let mut before = TlsClient::connect(service.address(), &authority.root());
    assert_eq!(before.get("/health").status, 200);
    let shown = || TlsClient::connect(service.address(), &authority.root()).shown();
    assert_eq!(shown(), before.shown());

    in_use.replace_by(&second);
    eventually("the other certificate is shown", || shown() != before.shown());
    service.wait_for_event("tls_reloaded", |line| {
        line["not_after"].as_str().is_some_and(|end| end.ends_with('Z'))
    });
    // Whoever was connected stays so.
    assert_eq!(before.get("/health").status, 200);
}

#[test]
fn sighup_looks_at_the_certificate_and_tells_again_of_one_that_is_no_good() {
    let authority = Authority::new();
    let (good, other) = (authority.issue("good", Key::P256), authority.issue("other", Key::P256));
    let in_use = authority.issue("in-use", Key::P256);
    in_use.replace_by(&good);
    let service = settings(&in_use).start();
    put(&other.key, &in_use.key);
    service.wait_for_event("tls_reload_failed", |_| true);
    // A look in passing says nothing more of this pair.
    service.signal("HUP");
    eventually("it is told again", || service.events("tls_reload_failed").len() == 2);
}

#[test]
fn a_pair_that_breaks_changes_nothing_and_is_told_once() {
    let authority = Authority::new();
    let (good, other) = (authority.issue("good", Key::P256), authority.issue("other", Key::P256));
    let in_use = authority.issue("in-use", Key::P256);
    in_use.replace_by(&good);
    let service = settings(&in_use).start();
    let shown = || TlsClient::connect(service.address(), &authority.root()).shown();
    let goods = shown();
    put(&other.key, &in_use.key);
    let told = service.wait_for_event("tls_reload_failed", |_| true);
    assert_eq!(told["variable"], "SSL_KEYFILE");
    assert_eq!(told["error"], "does not belong to the certificate in SSL_CERTFILE");
    std::fs::remove_file(&in_use.certificate).unwrap();
    service.wait_for_event("tls_reload_failed", |line| {
        line["error"] == "names a file that is not there"
    });
    assert_eq!(shown(), goods);
    // The other half comes: now both are good.
    put(&other.certificate, &in_use.certificate);
    service.wait_for_event("tls_reloaded", |_| true);
    assert_ne!(shown(), goods);
    assert_eq!(
        service.events("tls_reload_failed").len(),
        2,
        "each version is told once"
    );
}

#[test]
fn plain_http_on_the_port_of_tls_is_told_so_and_the_admin_port_stays_plain() {
    let authority = Authority::new();
    let settings = settings(&authority.issue("usual", Key::P256)).with("ADMIN_LISTEN", "127.0.0.1:0");
    let service = settings.start();
    let answer = service.get("/health");
    assert_eq!(
        (answer.status, answer.text()),
        (400, r#"{"error":"This port speaks HTTPS only"}"#.to_owned())
    );
    let large = service.post("/verify", &vec![b' '; 200_000]);
    assert_eq!(large.status, 400, "the answer is read although the rest is not");
    assert_eq!(service.refresh().0, 200, "on the admin port");
}

#[test]
fn a_peer_that_stalls_in_the_handshake_is_cut_and_gives_its_slot_back() {
    let authority = Authority::new();
    let server = in_process(
        &authority,
        Deadlines {
            head: SHORT,
            ..no_hurry()
        },
    );
    let begins: [&[u8]; 4] = [
        b"",
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /health HTTP/1.1\r\n",
    ];
    // There are four slots: a fifth connection is only seen when another has gone.
    let mut stalled: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for (client, begin) in stalled.iter_mut().zip(begins.into_iter().cycle()) {
        client.send(begin);
    }
    for client in &mut stalled {
        client.rest();
    }
    // Whoever agrees on everything and then says nothing is no better.
    let mut silent = TlsClient::connect(server.address, &authority.root());
    assert_eq!(silent.rest().0, "");
}

#[test]
fn rubbish_is_no_handshake_and_harms_nobody() {
    let authority = Authority::new();
    let server = in_process(&authority, no_hurry());
    let mut random = StdRng::seed_from_u64(7);
    let mut sent = 0;
    for _ in 0..100 {
        let mut bytes = vec![0; random.random_range(16..600)];
        random.fill(&mut bytes[..]);
        bytes[0] = *[0x16, 0x80, 0x15, 0x17, 0x00].get(random.random_range(0..5)).unwrap();
        if bytes[0] == 0x16 {
            // A record of a length that has come whole.
            let length = u16::try_from(bytes.len() - 5).unwrap().to_be_bytes();
            bytes[1..5].copy_from_slice(&[3, 1, length[0], length[1]]);
        }
        let mut client = server.client();
        // It may be refused before it was sent to its end.
        let _ = client.stream.write_all(&bytes);
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        client.rest();
        sent += 1;
    }
    // A connection may be closed a moment before it is counted.
    let mut failed = 0;
    eventually("each is counted", || {
        failed += server.counter("tls.failed");
        failed == sent
    });
    let mut client = TlsClient::connect(server.address, &authority.root());
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn idle_slow_and_deaf_peers_have_the_deadlines_they_have_without_tls() {
    let authority = Authority::new();
    let idle = in_process(
        &authority,
        Deadlines {
            idle: SHORT,
            ..no_hurry()
        },
    );
    let mut client = TlsClient::connect(idle.address, &authority.root());
    assert_eq!(client.get("/health").status, 200);
    assert_eq!(
        client.rest(),
        (String::new(), End::Told),
        "an idle connection is closed with a word"
    );

    let head = in_process(
        &authority,
        Deadlines {
            head: SHORT,
            ..no_hurry()
        },
    );
    let mut client = TlsClient::connect(head.address, &authority.root());
    client.send(b"GET /health HTTP/1.1\r\n").unwrap();
    assert_eq!(client.rest().0, "");

    let write = in_process(
        &authority,
        Deadlines {
            write: SHORT,
            ..no_hurry()
        },
    );
    let mut client = TlsClient::connect(write.address, &authority.root());
    let many = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    while client.send(many.as_bytes()).is_ok() {}
}

#[test]
fn a_refused_body_is_answered_and_the_connection_closed_gently() {
    let authority = Authority::new();
    let deadlines = Deadlines {
        parting: PATIENCE,
        ..no_hurry()
    };
    let server = in_process(&authority, deadlines);
    let mut client = TlsClient::connect(server.address, &authority.root());
    client
        .send(b"POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
        .unwrap();
    client.send(&b" ".repeat(100_000)).unwrap();
    assert_eq!(client.answer().unwrap().status, 413);
    assert_eq!(client.rest(), (String::new(), End::Told));
}

#[test]
fn a_stop_finishes_what_is_in_flight_by_tls() {
    let authority = Authority::new();
    let mut server = in_process(&authority, no_hurry());
    let mut idle = TlsClient::connect(server.address, &authority.root());
    assert_eq!(idle.get("/health").status, 200);
    let mut busy = TlsClient::connect(server.address, &authority.root());
    let body = r#"{"api_key":"sec_good"}"#;
    let head = format!(
        "POST /verify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    busy.send(head.as_bytes()).unwrap();
    assert_eq!(busy.answer().unwrap().status, 100);
    let stopped = server.stop(PATIENCE);
    assert_eq!(idle.rest(), (String::new(), End::Told));
    busy.send(body.as_bytes()).unwrap();
    assert_eq!(busy.answer().unwrap().status, 200);
    assert_eq!(busy.rest().1, End::Told);
    assert!(server.block_on(stopped).unwrap(), "everything was finished");
}

#[test]
fn the_host_is_held_to_the_same_rules() {
    let authority = Authority::new();
    let server = in_process(&authority, no_hurry());
    let ask = |head: &str| {
        let mut client = TlsClient::connect(server.address, &authority.root());
        client.send(head.as_bytes()).unwrap();
        client.answer().unwrap().status
    };
    assert_eq!(ask("GET /health HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(ask("GET https://localhost/health HTTP/1.1\r\nHost: other\r\n\r\n"), 400);
    assert_eq!(
        ask("GET https://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        200
    );
    // `/refresh` is for this host, by TLS as without.
    assert_eq!(
        ask("POST /refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"),
        200
    );
    assert_eq!(
        ask("POST /refresh HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"),
        403
    );
}

#[test]
fn how_long_the_certificate_is_still_good_is_measured() {
    let authority = Authority::new();
    let server = in_process(&authority, no_hurry());
    let left = server.metrics.take().gauges["tls.certificate_seconds_left"];
    assert!((100_000.0..=172_800.0).contains(&left), "{left} of two days");
}
