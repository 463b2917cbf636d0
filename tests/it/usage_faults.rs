//! The database stopped, locked, full, read-only, gone or never there: a verify does not notice, what was counted is kept
//! up to a bound, and everything comes back by itself.

use std::{process::Command, sync::Arc};

use heare_auth::{
    clock::Clock,
    config::UsageConfig,
    core::time::Timestamp,
    telemetry::{Telemetry, log::LogQueue, metrics::Metrics},
    usage::{Action, AuditEntry, Usage},
};
use serde_json::{Value, json};

use crate::support::{
    bridge::{Totals, UdpReceiver},
    ports::{RefusingPort, refusing},
    postgres::Database,
    service::{Service, Settings, eventually},
    sqlite,
};

fn start(settings: &Settings) -> (Service, String, String) {
    let service = settings.start_ready();
    let output = service.cli(&["create", "--name", "reports", "--json"]);
    let key: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |member: &str| key[member].as_str().expect("a text").to_owned();
    (service, text("id"), text("secret"))
}

/// Asks so often; every answer is the right one.
fn verify(service: &Service, secret: &str, times: u64) {
    let mut connection = service.connect();
    let body = json!({ "api_key": secret }).to_string();
    for _ in 0..times {
        assert_eq!(
            connection.post("/verify", body.as_bytes()).expect("an answer").status,
            200
        );
    }
}

fn wait_for_requests(settings: &Settings, key_id: &str, requests: u64) {
    let mut said = String::new();
    eventually("all requests are in the database", || {
        let output = settings.run(&["usage", key_id, "--json"]);
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str::<Value>(&said).is_ok_and(|usage| usage["total_requests"] == requests)
    });
}

fn failed(service: &Service, word: &str) {
    service.wait_for_event("usage_failed", |line| line["error"] == word && line["level"] == 40);
}

fn recovered(service: &Service) {
    service.wait_for_event("usage_recovered", |line| line["level"] == 30);
    assert_eq!(
        (
            service.events("usage_failed").len(),
            service.events("usage_recovered").len()
        ),
        (1, 1),
        "once for each change"
    );
}

#[test]
fn postgres_stopped_and_started_again_loses_no_request() {
    let database = Database::alone();
    let settings = Settings::file_store().with("DATABASE_URL", database.url());
    let (service, id, secret) = start(&settings);
    verify(&service, &secret, 10);
    wait_for_requests(&settings, &id, 10);
    database.server.stop();
    verify(&service, &secret, 10);
    failed(&service, "database_unreachable");
    verify(&service, &secret, 10);
    database.server.start_again();
    wait_for_requests(&settings, &id, 30);
    recovered(&service);
}

#[test]
fn postgres_that_is_read_only_or_lacks_its_tables_is_waited_for() {
    let database = Database::shared();
    let settings = Settings::file_store().with("DATABASE_URL", database.url());
    let (service, id, secret) = start(&settings);
    verify(&service, &secret, 3);
    wait_for_requests(&settings, &id, 3);

    let name = &database.name;
    database.sql(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let others = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.sql(others);
    verify(&service, &secret, 3);
    service.wait_for_event("usage_failed", |_| true);
    // From another database, as this one takes no changes.
    let reset = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    database.server.sql("postgres", &reset);
    database.sql(others);
    wait_for_requests(&settings, &id, 6);

    database.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    verify(&service, &secret, 3);
    wait_for_requests(&settings, &id, 3);
}

#[test]
fn a_service_starts_while_its_database_is_down_and_counts_from_the_first_request() {
    let database = Database::alone();
    let settings = Settings::file_store().with("DATABASE_URL", database.url());
    database.server.stop();
    let (service, id, secret) = start(&settings);
    verify(&service, &secret, 5);
    failed(&service, "database_unreachable");
    database.server.start_again();
    wait_for_requests(&settings, &id, 5);
    recovered(&service);
}

#[test]
fn a_locked_file_is_waited_for() {
    let settings = Settings::file_store();
    let (service, id, secret) = start(&settings);
    verify(&service, &secret, 5);
    wait_for_requests(&settings, &id, 5);
    let lock = sqlite::Lock::on(&settings.data_dir().join("heare-auth.db"));
    verify(&service, &secret, 5);
    failed(&service, "database_locked");
    verify(&service, &secret, 5);
    drop(lock);
    wait_for_requests(&settings, &id, 15);
    recovered(&service);
}

#[test]
fn a_disk_that_takes_no_more_is_waited_for() {
    // By default the process would die of the first write beyond the limit.
    let settings = Settings::file_store().ignoring("XFSZ");
    let (service, id, secret) = start(&settings);
    verify(&service, &secret, 5);
    wait_for_requests(&settings, &id, 5);
    limit_files(&service, "4096");
    verify(&service, &secret, 5);
    service.wait_for_event("usage_failed", |_| true);
    verify(&service, &secret, 5);
    limit_files(&service, "unlimited");
    wait_for_requests(&settings, &id, 15);
    recovered(&service);
}

/// From now on the process can write no file beyond so many bytes.
fn limit_files(service: &Service, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let set = Command::new("prlimit")
        .args(["--pid", &service.pid().to_string(), &limit])
        .status();
    assert!(set.expect("prlimit runs").success(), "the limit could not be set");
}

#[test]
fn a_file_that_was_taken_away_is_made_again() {
    let settings = Settings::file_store();
    let (service, id, secret) = start(&settings);
    verify(&service, &secret, 5);
    wait_for_requests(&settings, &id, 5);
    for name in ["heare-auth.db", "heare-auth.db-wal", "heare-auth.db-shm"] {
        let _ = std::fs::remove_file(settings.data_dir().join(name));
    }
    verify(&service, &secret, 4);
    wait_for_requests(&settings, &id, 4);
}

#[test]
fn a_path_that_can_never_be_written_keeps_nobody_from_starting() {
    let settings = Settings::file_store().with("DATABASE_URL", "sqlite:/proc/no/heare-auth.db");
    let (service, _, secret) = start(&settings);
    verify(&service, &secret, 3);
    failed(&service, "database_read_only");
    assert!(service.stop().success());
}

#[test]
fn a_database_that_takes_connections_and_says_nothing_is_given_up() {
    let swallowing = RefusingPort::bind().listen();
    let port = swallowing.local_addr().expect("a listener has an address").port();
    let settings = Settings::file_store();
    let (service, _, secret) = start(&settings);
    drop(service);
    let service = settings
        .with("DATABASE_URL", format!("postgres://u@127.0.0.1:{port}/d"))
        .start_ready();
    verify(&service, &secret, 3);
    failed(&service, "database_timeout");
    assert!(service.stop().success());
}

#[test]
fn a_command_whose_change_cannot_be_put_down_warns_and_is_done() {
    let settings = Settings::file_store().with("DATABASE_URL", "sqlite:/proc/no/heare-auth.db");
    let output = settings.run(&["create", "--name", "a", "--no-refresh"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success());
    assert!(
        stderr.starts_with("⚠️  Warning: this is not in the audit log: the database cannot be written"),
        "{stderr}"
    );
}

#[test]
fn what_is_lost_with_the_database_is_counted() {
    let bridge = UdpReceiver::start();
    let settings = Settings::file_store()
        .with("DATABASE_URL", "sqlite:/proc/no/heare-auth.db")
        .with("PROTOCOL", "udp")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", bridge.address().port().to_string());
    let (service, _, secret) = start(&settings);
    verify(&service, &secret, 7);
    let admin = service.create_key_with("operator", &["--scope", "admin"]);
    for name in ["one", "two", "three"] {
        let body = json!({ "name": name }).to_string();
        let made = service
            .connect()
            .request("POST", "/api/v1/auth/keys", &[("X-API-Key", &admin)], body.as_bytes())
            .expect("an answer");
        assert_eq!(made.status, 201, "{}", made.text());
    }
    assert!(service.stop().success());
    let mut totals = Totals::default();
    while totals.counter("heare-auth.shutdown") == 0 {
        totals.add_lines(&bridge.next());
    }
    assert_eq!(totals.counter("heare-auth.usage.dropped"), 7 + 3, "verifies and calls");
    assert_eq!(totals.counter("heare-auth.audit.dropped"), 3);
    assert_eq!(totals.counter("heare-auth.usage.written"), 0);
    assert!(totals.counter("heare-auth.usage.failed") > 0);
}

#[test]
fn what_a_database_that_says_nothing_loses_at_the_end_is_counted() {
    let bridge = UdpReceiver::start();
    let swallowing = RefusingPort::bind().listen();
    let port = swallowing.local_addr().expect("a listener has an address").port();
    let settings = Settings::file_store()
        .with("PROTOCOL", "udp")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", bridge.address().port().to_string());
    let (service, _, secret) = start(&settings.clone().with("PROTOCOL", ""));
    drop(service);
    let service = settings
        .with("DATABASE_URL", format!("postgres://u@127.0.0.1:{port}/d"))
        .start_ready();
    verify(&service, &secret, 7);
    let (_held, _) = swallowing.accept().expect("the database is asked for");
    assert!(service.stop().success());
    let mut totals = Totals::default();
    while totals.counter("heare-auth.shutdown") == 0 {
        totals.add_lines(&bridge.next());
    }
    assert_eq!(totals.counter("heare-auth.usage.dropped"), 7);
    assert_eq!(totals.counter("heare-auth.usage.written"), 0);
}

#[test]
fn what_the_database_refuses_again_and_again_is_given_up_and_counted() {
    let settings = Settings::file_store();
    assert!(
        settings
            .run(&["create", "--name", "a", "--no-refresh"])
            .status
            .success()
    );
    // There is an entry, and no other can be added.
    let path = settings.data_dir().join("heare-auth.db");
    sqlite::sql(&path, "CREATE UNIQUE INDEX no_more ON audit_log (at >= 0)");
    let metrics: Arc<Metrics> = Arc::default();
    let telemetry = Telemetry {
        metrics: Arc::clone(&metrics),
        log: LogQueue::start(std::io::sink(), 1 << 20).expect("a thread"),
    };
    let config = UsageConfig::from_lookup(&|name| settings.get(name)).expect("good settings");
    let usage = Usage::start(&config, Arc::new(Clock::default()), telemetry, 1).expect("a thread");
    let entry = AuditEntry {
        who: "user:1".to_owned(),
        what: Action::Revoke,
        key_id: None,
        from: "192.0.2.1".to_owned(),
        when: Timestamp::from_millis(1),
        result: "ok".to_owned(),
        request_id: None,
    };
    (0..3).for_each(|_| usage.audit(&entry));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut lost = 0;
    eventually("the changes are given up", || {
        // Who asks has everything written before, however short ago that failed.
        runtime.block_on(usage.summary(1)).expect("an answer");
        lost += metrics
            .take()
            .counters
            .get("audit.dropped")
            .copied()
            .unwrap_or_default();
        lost > 0
    });
    assert_eq!(lost, 3);
}

#[test]
fn a_change_of_a_command_is_logged_once_although_the_next_one_cannot_be_taken_over() {
    let settings = Settings::file_store();
    let create = |name: &str| {
        let output = settings.run(&["create", "--name", name, "--no-refresh", "--json"]);
        let key: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        key["id"].as_str().expect("an id").to_owned()
    };
    let ids = [create("first"), create("second")];
    let path = settings.data_dir().join("heare-auth.db");
    sqlite::sql(
        &path,
        "CREATE UNIQUE INDEX one_at_a_time ON audit_log (action) WHERE logged = 1",
    );
    let service = settings.start();
    let is_of = |id: &str| {
        let id = id.to_owned();
        move |line: &Value| line["key_id"] == id.as_str()
    };
    service.wait_for_event("audit", is_of(&ids[0]));
    failed(&service, "database_failed");
    sqlite::sql(&path, "DROP INDEX one_at_a_time");
    service.wait_for_event("audit", is_of(&ids[1]));
    assert_eq!(service.events("audit").len(), 2, "each once");
}

#[test]
fn off_means_that_nothing_is_written() {
    let settings = Settings::file_store().with("DATABASE_URL", "off");
    let (service, id, secret) = start(&settings);
    verify(&service, &secret, 3);
    assert!(service.stop().success());
    assert!(!settings.data_dir().join("heare-auth.db").exists());
    let output = settings.run(&["usage", &id]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Error: use is not recorded: no database is named, or DATABASE_URL is off\n"
    );
}

#[test]
fn beside_a_bucket_use_is_recorded_only_in_a_database_that_is_named() {
    let settings = Settings::file_store()
        .with("S3_BUCKET", "none")
        .with("AWS_ENDPOINT_URL", format!("http://{}", refusing()));
    let service = settings.start();
    let startup = &service.events("startup")[0];
    assert_eq!(startup["database"], "off: no database is named, or DATABASE_URL is off");
    let output = settings.run(&["usage"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Error: use is not recorded: no database is named, or DATABASE_URL is off\n"
    );
    assert!(!settings.data_dir().exists());
    let named = settings.data_dir().join("use.db").display().to_string();
    let service = settings.with("DATABASE_URL", format!("sqlite:{named}")).start();
    assert_eq!(service.events("startup")[0]["database"], format!("sqlite:{named}"));
}

#[test]
fn a_command_on_a_bucket_leaves_no_database_behind() {
    let settings = Settings::file_store()
        .with("S3_BUCKET", "none")
        .with("AWS_ENDPOINT_URL", format!("http://{}", refusing()));
    let output = settings.run(&["create", "--name", "a", "--no-refresh"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!settings.data_dir().exists());
}
