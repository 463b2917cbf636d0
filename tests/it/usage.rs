//! Use of keys and the audit log, by one script on SQLite and on PostgreSQL: the real service, the real command line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use heare_auth::{
    clock::Clock,
    config::UsageConfig,
    telemetry::{Telemetry, log::LogQueue},
    usage::{Action, AuditEntry, AuditFilter, Seen, Usage, UsageError},
};
use serde_json::{Value, json};

use crate::support::{
    PATIENCE,
    postgres::Database,
    service::{Service, Settings, eventually},
};

/// A service over one kind of database.
struct Setup {
    settings: Settings,
    /// Stopped when this is dropped.
    database: Option<Database>,
}

impl Setup {
    fn sqlite() -> Self {
        Self {
            settings: Settings::file_store(),
            database: None,
        }
    }

    fn postgres() -> Self {
        let database = Database::shared();
        Self {
            settings: Settings::file_store().with("DATABASE_URL", database.url()),
            database: Some(database),
        }
    }

    fn start(&self) -> Service {
        self.settings.start_ready()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        json_of(&self.settings, &[arguments, &["--json"]].concat())
    }
}

fn json_of(settings: &Settings, arguments: &[&str]) -> Value {
    let output = settings.run(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite { $(#[test] fn $name() { super::$name(&super::Setup::sqlite()); })* }
        mod postgres { $(#[test] fn $name() { super::$name(&super::Setup::postgres()); })* }
    };
}

on_both!(
    every_verify_of_a_known_key_is_counted_and_no_other,
    what_is_counted_last_is_written_at_the_end,
    two_instances_add_up_in_one_database,
    a_key_that_was_never_used_has_zeros,
    every_change_is_one_row_and_one_event_of_one_service,
    the_audit_log_is_read_page_by_page_and_by_filter,
    old_use_and_old_changes_are_removed,
    tables_are_made_once_by_many_at_once_and_taken_back,
    who_asks_the_service_finds_what_it_has_just_counted,
    a_refusal_has_one_word_on_the_command_line_and_over_http,
    the_use_of_a_key_that_there_is_not_is_an_error_unless_it_was_deleted,
);

fn verify(service: &Service, secret: &str, endpoint: Option<&str>) -> u16 {
    let body = match endpoint {
        Some(endpoint) => json!({"api_key": secret, "endpoint": endpoint}),
        None => json!({"api_key": secret}),
    };
    service.post("/verify", body.to_string().as_bytes()).status_and_json().0
}

fn create(service: &Service, name: &str, more: &[&str]) -> (String, String) {
    let output = service.cli(&[&["create", "--name", name, "--json"], more].concat());
    let key: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |member: &str| key[member].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}

/// Waits until the database has so many requests of the key.
fn wait_for_requests(setup: &Setup, key_id: &str, requests: u64) -> Value {
    let mut usage = Value::Null;
    eventually("the requests are written", || {
        usage = setup.json(&["usage", key_id]);
        usage["total_requests"].as_u64() >= Some(requests)
    });
    usage
}

fn every_verify_of_a_known_key_is_counted_and_no_other(setup: &Setup) {
    let service = setup.start();
    let (good, secret) = create(&service, "reports", &[]);
    let (expired, expired_secret) = create(&service, "old", &["--expires-at", "2020-01-01"]);
    for _ in 0..3 {
        assert_eq!(verify(&service, &secret, None), 200);
    }
    assert_eq!(verify(&service, &secret, Some("/orders")), 200);
    assert_eq!(verify(&service, &secret, Some(&format!("/orders?key={secret}"))), 200);
    assert_eq!(verify(&service, &secret, Some(&format!("/path/{secret}\u{0}"))), 200);
    assert_eq!(verify(&service, &expired_secret, None), 403);
    assert_eq!(verify(&service, "sec_unknown", None), 403);

    let usage = wait_for_requests(setup, &good, 6);
    assert_eq!(usage["key_id"], good.as_str());
    assert_eq!(usage["total_requests"], 6);
    assert_eq!(usage["error_rate"], 0.0);
    assert!(usage["average_response_time_ms"].as_f64() <= usage["max_response_time_ms"].as_f64());
    assert!(usage["last_used_at"].is_string());
    let endpoints: Vec<(&str, u64)> = usage["top_endpoints"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|top| {
            (
                top["endpoint"].as_str().expect("a text"),
                top["requests"].as_u64().expect("a number"),
            )
        })
        .collect();
    assert_eq!(endpoints, [("/verify", 3), ("/orders", 2), ("other", 1)]);
    let hours: u64 = usage["by_hour"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|hour| hour["requests"].as_u64())
        .sum();
    assert_eq!(hours, 6);
    let times = usage["response_times"].as_object().expect("an object");
    assert_eq!(times.values().filter_map(Value::as_u64).sum::<u64>(), 6);

    let usage = wait_for_requests(setup, &expired, 1);
    assert_eq!(
        (&usage["error_rate"], &usage["last_used_at"]),
        (&json!(1.0), &Value::Null)
    );

    let summary = setup.json(&["usage"]);
    assert_eq!(
        (&summary["total_requests"], &summary["active_keys"]),
        (&json!(7), &json!(2))
    );
    assert_eq!(summary["keys"][0]["key_id"], good.as_str());
    assert_eq!(summary["keys"][0]["total_requests"], 6);
    assert_eq!(summary["error_rate"], 0.1429);
}

fn what_is_counted_last_is_written_at_the_end(setup: &Setup) {
    let service = setup.start();
    let (id, secret) = create(&service, "reports", &[]);
    let mut connection = service.connect();
    let body = json!({ "api_key": secret }).to_string();
    for _ in 0..500 {
        assert_eq!(
            connection.post("/verify", body.as_bytes()).expect("an answer").status,
            200
        );
    }
    drop(connection);
    assert!(service.stop().success());
    assert_eq!(setup.json(&["usage", &id])["total_requests"], 500);
}

fn two_instances_add_up_in_one_database(setup: &Setup) {
    let (one, other) = (setup.start(), setup.start());
    let (id, secret) = create(&one, "reports", &[]);
    other.refresh();
    for _ in 0..20 {
        assert_eq!((verify(&one, &secret, None), verify(&other, &secret, None)), (200, 200));
    }
    assert!(one.stop().success() && other.stop().success());
    let usage = setup.json(&["usage", &id]);
    assert_eq!(usage["total_requests"], 40);
    assert_eq!(usage["top_endpoints"][0]["requests"], 40);
}

fn a_key_that_was_never_used_has_zeros(setup: &Setup) {
    let service = setup.start();
    let (id, _) = create(&service, "unused", &[]);
    eventually("the tables are there", || {
        setup.settings.run(&["usage"]).status.success()
    });
    let usage = setup.json(&["usage", &id, "--hours", "8760"]);
    let expected = json!({
        "key_id": id, "hours": 8760, "total_requests": 0, "requests_today": 0, "requests_this_hour": 0,
        "average_response_time_ms": 0.0, "max_response_time_ms": 0.0, "error_rate": 0.0,
        "response_times": {"within_100us": 0, "within_1ms": 0, "within_10ms": 0, "within_100ms": 0, "within_1s": 0, "over_1s": 0},
        "last_used_at": null, "top_endpoints": [], "by_hour": [],
    });
    assert_eq!(usage, expected);
}

fn every_change_is_one_row_and_one_event_of_one_service(setup: &Setup) {
    let services = [setup.start(), setup.start()];
    let (id, secret) = create(&services[0], "reports", &[]);
    assert!(services[0].cli(&["delete", &id, "--yes"]).status.success());
    assert_eq!(services[0].cli(&["delete", &id, "--yes"]).status.code(), Some(1));

    let page = setup.json(&["audit"]);
    let entries = page["entries"].as_array().expect("a list");
    let told: Vec<_> = entries.iter().map(|entry| (&entry["what"], &entry["result"])).collect();
    assert_eq!(
        json!(told),
        json!([["delete", "not_found"], ["delete", "ok"], ["create", "ok"]]),
        "newest first"
    );
    assert!(entries.iter().all(|entry| entry["key_id"] == id.as_str()));
    assert!(
        entries
            .iter()
            .all(|entry| entry["who"].as_str().is_some_and(|who| who.starts_with("cli:")))
    );
    assert!(!page.to_string().contains(&secret));

    let events = || -> Vec<Value> { services.iter().flat_map(|service| service.events("audit")).collect() };
    eventually("each change is an event", || events().len() >= 3);
    // One more change, seen by a service, shows that nothing of the earlier ones is still on its way.
    let (last, _) = create(&services[0], "last", &[]);
    eventually("the last change is an event", || {
        events().iter().any(|event| event["key_id"] == last.as_str())
    });
    let events = events();
    assert_eq!(events.len(), 4, "each of one service: {events:#?}");
    let one = events.iter().find(|event| event["what"] == "create").expect("an event");
    for member in ["who", "from", "when", "result"] {
        assert!(one[member].is_string(), "{member}: {one}");
    }
    let lines: String = services.iter().flat_map(Service::log_lines).collect();
    assert!(!lines.contains(&secret));
}

fn a_refusal_has_one_word_on_the_command_line_and_over_http(setup: &Setup) {
    let service = setup.start();
    let (_, admin) = create(&service, "admin", &["--scope", "admin"]);
    let (revoked, _) = create(&service, "revoked", &["--environment", "test"]);
    let (expired, _) = create(&service, "expired", &["--expires-at", "2020-01-01"]);
    assert!(service.cli(&["revoke", &revoked]).status.success());
    let unknown = "key_0001vDmoxAgLBqEcDYf";
    for (id, word) in [
        (&*revoked, "key_revoked"),
        (&expired, "key_expired"),
        (unknown, "not_found"),
    ] {
        assert_eq!(service.cli(&["rotate", id]).status.code(), Some(1));
        let path = format!("/api/v1/auth/keys/{id}/rotate");
        let asked = service.connect().request("POST", &path, &[("X-API-Key", &admin)], b"");
        assert_eq!(asked.expect("an answer").json()["code"], word);
        let told = || {
            let page = setup.json(&["audit", "--key-id", id, "--what", "rotate"]);
            let entries = page["entries"].as_array().cloned().unwrap_or_default();
            entries
                .into_iter()
                .map(|entry| entry["result"].clone())
                .collect::<Vec<_>>()
        };
        eventually("both are written", || told().len() == 2);
        assert_eq!(told(), [word, word], "{id}");
    }
}

fn the_use_of_a_key_that_there_is_not_is_an_error_unless_it_was_deleted(setup: &Setup) {
    let service = setup.start();
    let (deleted, secret) = create(&service, "deleted", &[]);
    let (_, _) = create(&service, "unused", &[]);
    assert_eq!(verify(&service, &secret, None), 200);
    wait_for_requests(setup, &deleted, 1);
    assert!(service.cli(&["delete", &deleted, "--yes"]).status.success());
    assert_eq!(setup.json(&["usage", &deleted])["total_requests"], 1);
    for unknown in ["key_0001vDmoxAgLBqEcDYf", "key_nowhere"] {
        let output = setup.settings.run(&["usage", unknown]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, format!("Error: API key not found: {unknown}\n"));
    }
}

#[test]
fn before_there_is_a_database_use_is_zero_and_none_is_made() {
    let settings = Settings::file_store();
    let key = json_of(&settings, &["create", "--name", "n", "--no-refresh", "--json"]);
    let id = key["id"].as_str().expect("an id");
    let database = settings.data_dir().join("heare-auth.db");
    for leftover in ["", "-wal", "-shm"] {
        // The command above has put itself down.
        let _ = std::fs::remove_file(format!("{}{leftover}", database.display()));
    }
    for arguments in [&["usage"][..], &["usage", id]] {
        let output = settings.run(&[arguments, &["--json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.starts_with("Nothing has been recorded yet"),
            "{said}"
        );
        let zeros: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&zeros["total_requests"], &zeros["hours"]), (&json!(0), &json!(24)));
    }
    assert_eq!(settings.run(&["usage", "key_nowhere"]).status.code(), Some(1));
    assert_eq!(
        json_of(&settings, &["audit", "--json"]),
        json!({"entries": [], "next": null})
    );
    assert!(!database.exists());
}

fn the_audit_log_is_read_page_by_page_and_by_filter(setup: &Setup) {
    let settings = setup.settings.clone().with("USER", "alice");
    let ids: Vec<String> = (0..5)
        .map(|number| {
            let key = json_of(
                &settings,
                &["create", "--name", &format!("k{number}"), "--no-refresh", "--json"],
            );
            key["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    json_of(
        &setup.settings.clone().with("USER", "bob"),
        &["delete", &ids[0], "--yes", "--no-refresh", "--json"],
    );
    let names = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().expect("a list");
        entries
            .iter()
            .map(|entry| format!("{} {}", entry["what"], entry["key_id"]).replace('"', ""))
            .collect()
    };
    let mut read = Vec::new();
    let mut page = setup.json(&["audit", "--limit", "4"]);
    read.extend(names(&page));
    while let Some(next) = page["next"].as_str() {
        page = setup.json(&["audit", "--limit", "4", "--before", next]);
        read.extend(names(&page));
    }
    let mut expected = vec![format!("delete {}", ids[0])];
    expected.extend(ids.iter().rev().map(|id| format!("create {id}")));
    assert_eq!(read, expected);

    let said = setup.settings.run(&["audit", "--before", "nope"]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert_eq!(
        names(&setup.json(&["audit", "--key-id", &ids[0]])),
        [expected[0].clone(), expected[5].clone()]
    );
    assert_eq!(
        names(&setup.json(&["audit", "--who", "cli:bob"])),
        [expected[0].clone()]
    );
    assert_eq!(names(&setup.json(&["audit", "--what", "create"])).len(), 5);
    assert_eq!(names(&setup.json(&["audit", "--who", "cli:x' OR '1'='1"])).len(), 0);
}

fn old_use_and_old_changes_are_removed(setup: &Setup) {
    let settings = setup.settings.clone();
    json_of(&settings, &["database", "up", "--json"]);
    let rows = "INSERT INTO api_key_usage VALUES ('key_old', 100, '/verify', 2, 7, 7, 7, 7, 0, 0, 0, 0, 0); \
                INSERT INTO audit_log VALUES ('000000000001aaaa', 1, 'cli:a', 'create', 'key_old', 'h', 'ok', NULL, 1);";
    setup.sql(rows);
    assert_eq!(setup.sql("SELECT COUNT(*) FROM api_key_usage"), "1");
    let service = setup.settings.clone().with("USAGE_RETENTION", "1day").start();
    eventually("what is old is gone", || {
        setup.sql("SELECT (SELECT COUNT(*) FROM api_key_usage) + (SELECT COUNT(*) FROM audit_log)") == "0"
    });
    drop(service);
}

fn tables_are_made_once_by_many_at_once_and_taken_back(setup: &Setup) {
    let settings = &setup.settings;
    std::fs::create_dir_all(settings.data_dir()).expect("a directory");
    let commands: Vec<_> = (0..8)
        .map(|_| {
            let mut command = settings.command(&["database", "up", "--json"]);
            command.stdout(std::process::Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    for command in commands {
        let output = command.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let tables: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(tables["version"], tables["latest"]);
    }
    assert_eq!(setup.sql("SELECT COUNT(*) FROM schema_migrations"), "3");
    assert_eq!(
        settings.run(&["database", "down"]).status.code(),
        Some(2),
        "it has to be meant"
    );
    for _ in 0..2 {
        assert_eq!(setup.json(&["database", "down", "--yes"])["version"], 0);
    }
    assert_eq!(setup.json(&["database", "status"])["version"], 0);
    assert_eq!(setup.json(&["database", "up"])["version"], 3);
    assert_eq!(setup.json(&["usage"])["total_requests"], 0);
}

impl Setup {
    /// What an administrator would type.
    fn sql(&self, sql: &str) -> String {
        match &self.database {
            Some(database) => database.sql(sql),
            None => crate::support::sqlite::sql(&self.settings.data_dir().join("heare-auth.db"), sql),
        }
    }
}

fn who_asks_the_service_finds_what_it_has_just_counted(setup: &Setup) {
    let usage = usage_of(&setup.settings);
    let clock = Clock::default();
    let seen = |key_id, status| Seen {
        key_id,
        endpoint: "/verify",
        status,
        took: Duration::from_micros(1500),
        at: clock.now(),
    };
    let entry = AuditEntry {
        who: "key:key_admin".to_owned(),
        what: Action::Rotate,
        key_id: Some("key_1".to_owned()),
        from: "192.0.2.7".to_owned(),
        when: clock.now(),
        result: "ok".to_owned(),
        request_id: Some("r-1".to_owned()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // The tables are made while the first question waits.
        let unused = usage.of_key("key_1", 24).await.expect("an answer");
        assert_eq!((unused.usage.total_requests, unused.last_used_at), (0, None));
        (0..9).for_each(|_| usage.count(&seen("key_1", 200)));
        usage.count(&seen("key_1", 429));
        usage.count(&seen("key_2", 403));
        usage.audit(&entry);

        // One question is enough, unless the machine is too busy to write within half a second.
        let mut used = usage.of_key("key_1", 1).await.expect("an answer").usage;
        let deadline = Instant::now() + PATIENCE;
        while used.total_requests < 10 && Instant::now() < deadline {
            used = usage.of_key("key_1", 1).await.expect("an answer").usage;
        }
        assert_eq!(
            (used.total_requests, used.requests_today, used.requests_this_hour),
            (10, 10, 10)
        );
        let numbers = [
            used.error_rate,
            used.average_response_time_ms,
            used.max_response_time_ms,
        ];
        assert_eq!(numbers.map(|number| format!("{number}")), ["0.1", "1.5", "1.5"]);
        assert_eq!(used.response_times.within_10ms, 10);
        let summary = usage.summary(24).await.expect("an answer");
        assert_eq!((summary.usage.total_requests, summary.active_keys), (11, 2));
        let ids = (1..=20).map(|number| format!("key_{number}")).collect();
        let last_used = usage.last_used(ids).await.expect("an answer");
        assert_eq!(
            last_used.keys().collect::<Vec<_>>(),
            ["key_1"],
            "key_2 was never good for anything"
        );
        let page = usage
            .audit_page(AuditFilter::default(), None, 10)
            .await
            .expect("an answer");
        assert_eq!((page.entries.len(), page.next), (1, None));
        let row = &page.entries[0];
        assert_eq!(
            (row.who.as_str(), row.what.as_str(), row.from.as_str()),
            ("key:key_admin", "rotate", "192.0.2.7")
        );
        assert_eq!(row.request_id.as_deref(), Some("r-1"));

        usage.stop(Duration::from_secs(10)).await;
        assert_eq!(usage.summary(24).await.err(), Some(UsageError::Stopping));
    });
    let off = usage_of(&setup.settings.clone().with("DATABASE_URL", "off"));
    assert_eq!(runtime.block_on(off.summary(24)).err(), Some(UsageError::Off));
}

fn usage_of(settings: &Settings) -> Usage {
    let config = UsageConfig::from_lookup(&|name| settings.get(name)).expect("good settings");
    let telemetry = Telemetry {
        metrics: Arc::default(),
        log: LogQueue::start(std::io::sink(), 1 << 20).expect("a thread"),
    };
    Usage::start(&config, Arc::new(Clock::default()), telemetry, 1).expect("a thread")
}
