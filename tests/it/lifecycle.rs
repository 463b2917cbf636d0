//! The process from its start to its end: settings and flags it refuses, signals, what it finishes before it goes.

use crate::support::{
    fault_proxy::{Fault, FaultProxy},
    http_client::{self, Connection},
    ports::refusing,
    service::{LogReader, Service, Settings, eventually},
};
use heare_auth::{cli::DRAIN, config::SETTINGS};
use serde_json::json;
use std::{
    ffi::OsStr,
    io::Write,
    net::{TcpListener, TcpStream},
    os::unix::{ffi::OsStrExt, net::UnixStream},
    process::Output,
    time::Duration,
};

/// Part of every wrong value, so that it can be searched for.
const MARKER: &str = "m4rk3r";

/// A verify whose body has not come to its end.
struct InFlight {
    connection: Connection,
    rest: String,
}

impl InFlight {
    /// Returns when the service has read the head and waits for the body.
    fn begin(service: &Service, secret: &str) -> Self {
        let body = json!({ "api_key": secret }).to_string();
        let (begin, rest) = body.split_at(body.len() / 2);
        let mut connection = service.connect();
        let head = "POST /verify HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n";
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        connection.send(head.as_bytes()).unwrap();
        connection.read_continue().unwrap();
        connection.send(begin.as_bytes()).unwrap();
        Self {
            connection,
            rest: rest.to_owned(),
        }
    }

    fn finish(mut self) -> http_client::Response {
        self.connection.send(self.rest.as_bytes()).unwrap();
        self.connection.read_response().unwrap()
    }
}

/// A kept-alive connection between two requests: it is closed as soon as the service stops.
fn idle_connection(service: &Service) -> Connection {
    let mut idle = service.connect();
    assert_eq!(idle.get("/ready").unwrap().status, 200);
    idle
}

fn assert_drains_on(signal: &str) {
    let mut service = Settings::file_store().start();
    let secret = service.create_key("in flight");
    let verifying = InFlight::begin(&service, &secret);
    let mut asking = service.connect();
    asking.send(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    let mut idle = idle_connection(&service);
    service.signal(signal);

    assert_eq!(idle.read_to_close().unwrap(), b"");
    asking.send(b"\r\n").unwrap();
    let ready = asking.read_response().unwrap();
    assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("draining")));
    eventually("new connections are refused", || {
        TcpStream::connect(service.address()).is_err()
    });
    assert!(service.is_running());

    let answer = verifying.finish();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(answer.json()["name"], "in flight");
    assert_eq!(service.wait_for_exit().code(), Some(0));
    service.wait_for_event("shutdown", |line| line["finished"] == true);
}

#[test]
fn what_is_in_flight_may_take_10_s_to_finish() {
    assert_eq!(DRAIN, Duration::from_secs(10));
}

#[test]
fn sigterm_finishes_what_is_in_flight_refuses_what_is_new_and_exits_0() {
    assert_drains_on("TERM");
}

#[test]
fn sigint_stops_like_sigterm() {
    assert_drains_on("INT");
}

#[test]
fn a_sigint_while_it_stops_ends_it_at_once() {
    for first in ["INT", "TERM"] {
        let mut service = Settings::file_store().start();
        let secret = service.create_key("in flight");
        let mut verifying = InFlight::begin(&service, &secret);
        let mut idle = idle_connection(&service);
        service.signal(first);
        assert_eq!(idle.read_to_close().unwrap(), b"");
        service.signal("INT");
        assert_eq!(service.wait_for_exit().code(), Some(130), "SIG{first}, then SIGINT");
        assert_eq!(verifying.connection.read_to_close().unwrap(), b"");
    }
}

#[test]
fn sighup_loads_the_store_and_a_document_that_is_no_good_changes_nothing() {
    let settings = Settings::file_store().with("POLL_INTERVAL", "1day");
    let service = settings.start_ready();
    settings.write_document(r#"{"keys":[{"id":"key_1","secret":"sec_late","name":"late"}]}"#);
    assert_eq!(service.verify("sec_late").0, 403);
    service.signal("HUP");
    service.wait_for_event("refresh_success", |line| line["keys_loaded"] == 1);
    assert_eq!(service.verify("sec_late").0, 200);

    settings.write_document("<html>");
    service.signal("HUP");
    service.wait_for_event("refresh_failed", |line| line["error"] == "object_not_json");
    assert_eq!(service.verify("sec_late").0, 200);
}

#[test]
fn it_stops_while_everything_that_it_depends_on_hangs() {
    let store = FaultProxy::start(refusing());
    store.set(Fault::Silence);
    let bridge = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut service = Settings::file_store()
        .with("S3_BUCKET", "swallowed")
        .with("AWS_ENDPOINT_URL", format!("http://{}", store.address()))
        .with("AWS_ACCESS_KEY_ID", "nobody")
        .with("AWS_SECRET_ACCESS_KEY", "nothing")
        .with("PROTOCOL", "http")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", bridge.local_addr().unwrap().port().to_string())
        .start_with(LogReader::Stalls);
    eventually("the store is asked", || store.count("GET") > 0);
    let (_swallowing, _) = bridge.accept().unwrap();
    assert_eq!((service.health().0, service.ready().0), (200, 503));
    service.signal("TERM");
    assert_eq!(service.wait_for_exit().code(), Some(0));
}

#[test]
fn a_stderr_that_nobody_reads_keeps_it_from_nothing() {
    let (mut stderr, _unread) = UnixStream::pair().unwrap();
    stderr.set_nonblocking(true).unwrap();
    while stderr.write(&[b'x'; 4096]).is_ok() {}
    stderr.set_nonblocking(false).unwrap();
    let mut service = Settings::file_store().start_with_stderr(stderr);
    service.wait_until_ready();
    service.signal("TERM");
    assert_eq!(service.wait_for_exit().code(), Some(0));
}

#[test]
fn the_log_tells_the_start_and_the_end() {
    let mut service = Settings::file_store().with("ADMIN_LISTEN", "127.0.0.1:0").start();
    service.wait_until_ready();
    let startup = &service.events("startup")[0];
    assert_eq!(startup["address"], service.address().to_string());
    assert_eq!(startup["admin_address"], service.admin_address().to_string());
    assert_eq!(startup["store"], service.settings().document().to_str().unwrap());
    let database = service.settings().data_dir().join("heare-auth.db");
    assert_eq!(startup["database"], format!("sqlite:{}", database.display()));
    assert_eq!(startup["version"], env!("CARGO_PKG_VERSION"));
    service.signal("TERM");
    service.wait_for_exit();
    service.wait_for_event("shutdown", |_| true);
    let log = service.log();
    assert_eq!(log.first().unwrap()["event"], "startup");
    assert_eq!(log.last().unwrap()["event"], "shutdown");
}

#[test]
fn admin_listen_takes_refresh_off_the_public_port_and_the_command_line_follows() {
    let service = Settings::file_store().with("ADMIN_LISTEN", "127.0.0.1:0").start();
    assert_ne!(service.address(), service.admin_address());
    let secret = service.create_key("made through the admin port");
    assert_eq!(service.verify(&secret).0, 200);
    assert_eq!(service.post("/refresh", b"").status, 404);
    assert_eq!(service.refresh().0, 200);
    assert_eq!(http_client::get(service.admin_address(), "/ready").status, 200);
    let body = json!({ "api_key": secret }).to_string();
    assert_eq!(
        http_client::post(service.admin_address(), "/verify", body.as_bytes()).status,
        404
    );
}

#[test]
fn health_opaque_leaves_only_the_status() {
    let service = Settings::file_store().with("HEALTH_OPAQUE", "true").start_ready();
    let answer = service.get("/health");
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"status":"ok"}"#));
}

/// One sentence on stderr that begins with the variable's name, nothing on stdout, exit 1.
fn assert_refused(output: &Output, variable: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{variable}: {stderr}");
    assert!(
        stderr.starts_with(&format!("Error: {variable} ")),
        "{variable}: {stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{variable}: {stderr}");
    assert!(!stderr.contains(MARKER), "{variable}: {stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{variable}");
}

#[test]
fn a_port_that_is_in_use_stops_the_start_with_a_sentence_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _taken = TcpListener::bind(taken).unwrap();
    let settings = Settings::file_store().with("PORT", taken.port().to_string());
    assert_refused(&settings.run(&["serve"]), "PORT");
    let settings = Settings::file_store().with("ADMIN_LISTEN", taken.to_string());
    assert_refused(&settings.run(&["serve"]), "ADMIN_LISTEN");
    let settings = Settings::file_store().with("HOST", "203.0.113.1");
    assert_refused(&settings.run(&["serve"]), "HOST");
}

/// A wrong value of each setting that has wrong values.
const WRONG: &[(&str, &str)] = &[
    ("S3_BUCKET", "s3://m4rk3r/keys.json"),
    ("S3_REGION", "m4rk3r 1"),
    ("AWS_ENDPOINT_URL", "m4rk3r:9000"),
    ("AWS_ENDPOINT_URL_S3", "m4rk3r:9000"),
    ("DATA_DIR", "/dev/null/m4rk3r"),
    ("MAX_DOCUMENT_BYTES", "m4rk3r"),
    ("MAX_DOCUMENT_BYTES", "0"),
    ("ALLOW_UNCONDITIONAL_WRITES", "m4rk3r"),
    ("HOST", "m4rk3r"),
    ("PORT", "m4rk3r"),
    ("PORT", "65536"),
    ("ADMIN_LISTEN", "m4rk3r"),
    ("SSL_CERTFILE", "/dev/null/m4rk3r"),
    ("SSL_CERTFILE", ""),
    ("SSL_KEYFILE", "/dev/null/m4rk3r"),
    ("SSL_KEYFILE", ""),
    ("RATE_LIMIT", "m4rk3r"),
    ("RATE_LIMIT_ROUTES", "m4rk3r"),
    ("RATE_LIMIT_ROUTES", "/api/m4rk3r=off"),
    ("RATE_LIMIT_ROUTES", "/api/login=off,/api/login=1/60s"),
    ("SLOW_REQUEST", "m4rk3r"),
    ("WORKERS", "m4rk3r"),
    ("WORKERS", "0"),
    ("MAX_CONNECTIONS", "m4rk3r"),
    ("MAX_CONNECTIONS", "0"),
    ("POLL_INTERVAL", "m4rk3r"),
    ("POLL_INTERVAL", "0"),
    ("SNAPSHOT_PATH", "/dev/null/m4rk3r"),
    ("SNAPSHOT_PATH", "/"),
    ("SNAPSHOT_PATH", "/dev/null"),
    ("STRICT_GENERATION", "m4rk3r"),
    ("KEY_PREFIXES", "m4rk3r"),
    ("EXPIRED_AFTER", "m4rk3r"),
    ("HEALTH_OPAQUE", "m4rk3r"),
    ("API_DOCS", "m4rk3r"),
    ("DASHBOARD", "m4rk3r"),
    ("PASSWORD_MIN_LENGTH", "m4rk3r"),
    ("PASSWORD_COMPOSITION", "m4rk3r"),
    ("SECRET_KEY", "m4rk3r"),
    ("SECRET_KEY_PREVIOUS", "m4rk3r"),
    ("JWT_PRIVATE_KEY", "/dev/null/m4rk3r"),
    ("TOKEN_TTL", "m4rk3r"),
    ("REFRESH_TTL", "m4rk3r"),
    ("USER_SCOPES", "m4rk3r scope"),
    ("TRUSTED_PROXIES", "m4rk3r"),
    ("AUTHZ_QUERY_KEY", "m4rk3r"),
    ("REDIS_URL", "http://m4rk3r"),
    ("REDIS_HOST", "redis://m4rk3r"),
    ("REDIS_PORT", "m4rk3r"),
    ("REDIS_PORT", "0"),
    ("REDIS_DB", "m4rk3r"),
    ("CORS_ORIGINS", "m4rk3r"),
    ("CORS_ORIGINS", "https://:::"),
    ("ALLOW_PLAIN_HTTP", "m4rk3r"),
    ("GUESS_LIMIT", "m4rk3r"),
    ("DATABASE_URL", "mysql://m4rk3r"),
    ("DATABASE_URL", "sqlite:/dev/null/m4rk3r"),
    ("DATABASE_URL", "sqlite:/"),
    ("DB_HOST", "postgres://m4rk3r"),
    ("DB_PORT", "m4rk3r"),
    ("DB_PORT", "0"),
    ("USAGE_RETENTION", "m4rk3r"),
    ("AUDIT_RETENTION", "m4rk3r"),
    ("LOG_LEVEL", "m4rk3r"),
    ("PROTOCOL", "m4rk3r"),
    ("DEST_HOST", "http://m4rk3r"),
    ("DEST_HOST", ""),
    ("DEST_PORT", "m4rk3r"),
    ("DEST_PORT", ""),
    ("PREFIX", "m4rk3r:1|c"),
    ("REFRESH_URL", "m4rk3r"),
];

/// Any text is a good value of these.
const NEVER_WRONG: [&str; 8] = [
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "S3_KEY",
    "STORAGE_SECRET",
    "SECRET",
    "DB_USER",
    "DB_PASSWORD",
    "DB_TABLE",
];

/// Settings with which `serve` would start, and under which each setting above matters.
fn right_settings(variable: &str) -> Settings {
    let settings = Settings::file_store()
        .with("PROTOCOL", "udp")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", "9");
    if variable.starts_with("S3_") || variable.starts_with("AWS_") {
        settings.with("S3_BUCKET", "keys")
    } else if variable.starts_with("SSL_") {
        // They can be read, which is what is asked first.
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        settings.with("SSL_CERTFILE", file).with("SSL_KEYFILE", file)
    } else if variable.starts_with("DB_") {
        settings.with("DB_HOST", "127.0.0.1")
    } else if variable.starts_with("REDIS_") {
        settings.with("REDIS_HOST", "127.0.0.1")
    } else {
        settings
    }
}

#[test]
fn a_wrong_setting_stops_the_start_with_a_sentence_that_names_it_and_never_its_value() {
    for (variable, value) in WRONG {
        let output = right_settings(variable).with(variable, *value).run(&["serve"]);
        assert_refused(&output, variable);
    }
}

#[test]
fn every_setting_is_known_to_the_table_of_wrong_ones() {
    for setting in SETTINGS {
        let has_wrong_value = WRONG.iter().any(|(variable, _)| *variable == setting.name);
        assert!(
            has_wrong_value != NEVER_WRONG.contains(&setting.name),
            "{}",
            setting.name
        );
    }
}

#[test]
fn a_setting_that_is_no_text_stops_the_start_with_its_name() {
    for setting in SETTINGS {
        let settings = right_settings(setting.name);
        let mut command = settings.command(&["serve"]);
        let value = [MARKER.as_bytes(), b"\xff"].concat();
        let output = command.env(setting.name, OsStr::from_bytes(&value)).output().unwrap();
        assert_refused(&output, setting.name);
    }
}

#[test]
fn wrong_usage_exits_2_with_the_usage_and_without_what_was_typed() {
    let table: &[(&[&str], &str)] = &[
        (&["m4rk3r"], "Usage: heare-auth COMMAND"),
        (&["--m4rk3r"], "Usage: heare-auth COMMAND"),
        (&["serve", "m4rk3r"], "Usage: heare-auth serve"),
        (&["serve", "--port", "m4rk3r"], "Usage: heare-auth serve"),
        (&["serve", "--m4rk3r"], "Usage: heare-auth serve"),
        (&["create"], "Usage: heare-auth create"),
        (&["create", "--name"], "Usage: heare-auth create"),
        (&["create", "--name", "a", "m4rk3r"], "Usage: heare-auth create"),
        (&["list", "--m4rk3r"], "Usage: heare-auth list"),
        (&["show"], "Usage: heare-auth show"),
        (&["delete", "key_1", "m4rk3r"], "Usage: heare-auth delete"),
        (&["refresh", "--url"], "Usage: heare-auth refresh"),
        (&["health", "m4rk3r"], "Usage: heare-auth health"),
    ];
    let settings = Settings::file_store();
    for (arguments, usage) in table {
        let output = settings.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(
            stderr.starts_with("Error: ") && stderr.contains(usage),
            "{arguments:?}: {stderr}"
        );
        assert!(!stderr.contains(MARKER), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert!(!settings.document().exists());
}

#[test]
fn without_a_command_it_exits_2_with_the_list_of_commands_on_stderr() {
    let output = Settings::file_store().run::<&str>(&[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("Usage: heare-auth COMMAND"), "{stderr}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}

#[test]
fn threads_that_load_give_way_to_those_that_answer() {
    let service = Settings::file_store().start_ready();
    let niceness = |name: &str| {
        let threads = service.niceness();
        threads
            .into_iter()
            .find(|(thread, _)| thread == name)
            .map(|(_, nice)| nice)
    };
    let answers = niceness("worker-0").expect("there is always one worker");
    eventually("a thread that loads gives way", || {
        niceness("tokio-rt-worker").is_some_and(|loads| loads == (answers + 10).min(19))
    });
}
