//! The log as whoever operates the service reads it: by the bunyan tool, by jq, or not at all.

use crate::support::{
    bridge::{Answer, HttpReceiver},
    bunyan,
    flood::{Statuses, flood, post_request, verify_request},
    service::{LogReader, Service, Settings},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DOCUMENT: &str = r#"{"keys":[
    {"id":"key_a","secret":"sec_a","name":"Production \"API\"\n\\ ü"},
    {"id":"key_b","secret":"sec_b","name":"Staging"},
    {"id":"key_old","secret":"sec_old","name":"Old","expires_at":"2001-01-01T00:00:00Z"}
]}"#;
const WITH_A_BAD_RECORD: &str = r#"{"keys":[
    {"id":"key_a","secret":"sec_a","name":"Production API"},
    {"id":"key_bad","secret":"sec_bad","name":"Bad","expires_at":"someday"}
]}"#;

fn answered(service: &Service, request: &[u8]) -> u16 {
    let mut connection = service.connect();
    connection.send(request).unwrap();
    connection.read_response().unwrap().status
}

/// Every line of the log, once the service has ended.
fn stopped(mut service: Service) -> Vec<String> {
    service.signal("TERM");
    assert_eq!(service.wait_for_exit().code(), Some(0));
    service.wait_for_event("shutdown", |_| true);
    service.log_lines()
}

fn parsed(lines: &[String]) -> Vec<Value> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn count(records: &[Value], event: &str) -> usize {
    records.iter().filter(|record| record["event"] == event).count()
}

/// The log of a service to which about everything has happened: 5 verifies of `key_a`, 3 of `key_b`, 6 in vain.
fn busy_log() -> Vec<String> {
    let settings = Settings::file_store().with("POLL_INTERVAL", "50ms");
    settings.write_document(DOCUMENT);
    let service = settings.start_ready();
    for (secret, times) in [("sec_a", 5), ("sec_b", 3), ("sec_old", 2), ("sec_no", 3), ("?", 1)] {
        (0..times).for_each(|_| drop(service.verify(secret)));
    }
    for body in [&b"not json"[..], b"{}", "x".repeat(70_000).as_bytes()] {
        assert!(service.post("/verify", body).status >= 400);
    }
    assert_eq!((service.health().0, service.refresh().0), (200, 200));
    assert_eq!(
        answered(&service, &post_request("/refresh", b"", &[("Via", b"1.1 x")])),
        403
    );
    settings.write_document("<html>");
    assert_eq!(service.refresh().0, 502);
    service.wait_for_event("load_failed", |_| true);
    settings.write_document(WITH_A_BAD_RECORD);
    service.wait_for_event("bad_record", |line| line["key_id"] == "key_bad");
    stopped(service)
}

#[test]
fn the_bunyan_tool_passes_over_a_line_that_is_no_record() {
    let record =
        json!({"v": 0, "name": "a", "hostname": "b", "pid": 1, "level": 30, "time": "2024-01-20T10:30:00Z", "msg": ""});
    let mut incomplete = record.clone();
    incomplete.as_object_mut().unwrap().remove("pid");
    let whole = record.to_string();
    let lines = [
        whole.clone(),
        "no record".to_owned(),
        incomplete.to_string(),
        whole[..whole.len() - 1].to_owned(),
        whole.clone(),
    ];
    assert_eq!(bunyan::accepted(&lines), [record.clone(), record]);
}

#[test]
fn the_bunyan_tool_takes_every_line_and_every_line_has_an_event() {
    let lines = busy_log();
    let records = parsed(&lines);
    assert_eq!(bunyan::accepted(&lines), records);
    let all: BTreeSet<&str> = records
        .iter()
        .map(|record| record["event"].as_str().expect("every line has an event"))
        .collect();
    let expected = [
        "bad_record",
        "keys_loaded",
        "load_failed",
        "plaintext_secrets",
        "poll_recovered",
        "refresh_failed",
        "refresh_rejected",
        "refresh_success",
        "shutdown",
        "startup",
        "verification_failed",
        "verification_success",
    ];
    assert_eq!(all, BTreeSet::from(expected));
    for record in &records {
        assert_eq!(
            (&record["name"], &record["v"]),
            (&json!("heare-auth"), &json!(0)),
            "{record}"
        );
    }
}

#[test]
fn the_jq_recipes_of_the_older_guide_give_the_right_counts() {
    let lines = busy_log();
    let all = bunyan::jq(&[r#"select(.event | contains("verification"))"#], &lines);
    assert_eq!((all.len(), count(&all, "verification_success")), (14, 8));
    let failed = bunyan::jq(&[r#"select(.event == "verification_failed")"#], &lines);
    let prefixes: Vec<_> = failed
        .iter()
        .map(|line| line["secret_prefix"].as_str().unwrap())
        .collect();
    assert_eq!(prefixes, ["sec_", "sec_", "sec_", "sec_", "sec_", "***"]);
    let by_key = "group_by(.key_id) | map({key_id: .[0].key_id, count: length})";
    let counts = &bunyan::jq(&["-s", by_key], &lines)[0];
    for (key, verifies) in [("key_a", 5), ("key_b", 3)] {
        let expected = json!({"key_id": key, "count": verifies});
        assert!(counts.as_array().unwrap().contains(&expected), "{counts}");
    }
}

#[test]
fn two_thousand_verifies_at_full_speed_are_two_thousand_lines() {
    let settings = Settings::file_store();
    settings.write_document(DOCUMENT);
    let service = settings.start_ready();
    let statuses = flood(&service, 8, 2_000, |number| {
        let secret = ["sec_a", "sec_b", "sec_no", "sec_old"][number % 4];
        verify_request(secret, &[("X-Request-Id", number.to_string().as_bytes())])
    });
    assert_eq!(statuses, Statuses::from([(200, 1_000), (403, 1_000)]));
    let records = parsed(&stopped(service));
    for (event, rests) in [("verification_success", [0, 1]), ("verification_failed", [2, 3])] {
        let logged: BTreeSet<usize> = records
            .iter()
            .filter(|record| record["event"] == event)
            .map(|record| record["request_id"].as_str().unwrap().parse().unwrap())
            .collect();
        let sent = (0..2_000).filter(|number| rests.contains(&(number % 4)));
        assert_eq!(logged, sent.collect());
        assert_eq!(count(&records, event), 1_000);
    }
}

#[test]
fn no_user_agent_can_break_a_line_or_forge_another() {
    let long = "x".repeat(5_000);
    let agents: &[&[u8]] = &[
        b"MyService/1.0",
        br#"the "quoted" \ one"#,
        br#"x","event":"verification_success","key_id":"key_a"#,
        br#"x"}{"event":"verification_success"#,
        b"a\ttab",
        b"\xff\xfe not \xe9 UTF-8 \xc3",
        "naïve ✓ \u{2028} \u{9b}31m \u{feff}".as_bytes(),
        br"\u0000 \n %s {}",
        long.as_bytes(),
        b"",
    ];
    // Bytes that no header may hold: the request is refused as a whole.
    let refused: &[&[u8]] = &[b"a\x01b", b"\x1b[31mred", b"a\x7fb", b"a\0b", b"a\rb"];
    let service = Settings::file_store().start_ready();
    for agent in agents {
        assert_eq!(
            answered(&service, &verify_request("sec_no", &[("User-Agent", agent)])),
            403
        );
    }
    for agent in refused {
        assert_eq!(
            answered(&service, &verify_request("sec_no", &[("User-Agent", agent)])),
            400
        );
    }
    let lines = stopped(service);
    let records = parsed(&lines);
    assert_eq!(bunyan::accepted(&lines), records);
    assert_eq!(count(&records, "verification_success"), 0);
    let logged: Vec<String> = records
        .iter()
        .filter(|record| record["event"] == "verification_failed")
        .map(|record| record["user_agent"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = agents
        .iter()
        .map(|agent| String::from_utf8_lossy(agent).chars().take(256).collect())
        .collect();
    assert_eq!(logged, expected);
}

#[test]
fn the_callers_request_id_and_trace_are_carried() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let settings = Settings::file_store().with("LOG_LEVEL", "debug");
    settings.write_document(DOCUMENT);
    let service = settings.start_ready();
    let named: [(&str, &[u8]); 2] = [("X-Request-Id", b"order-66"), ("traceparent", TRACE.as_bytes())];
    let forwarded: [(&str, &[u8]); 3] = [named[0], named[1], ("Via", b"1.1 x")];
    for (request, event) in [
        (verify_request("sec_a", &named), "verification_success"),
        (verify_request("sec_no", &named), "verification_failed"),
        (post_request("/verify", b"{}", &named), "verification_malformed"),
        (post_request("/refresh", b"", &named), "refresh_success"),
        (post_request("/refresh", b"", &forwarded), "refresh_rejected"),
        (post_request("/api/v1/auth/keys", b"{}", &named), "management"),
        (post_request("/authz", b"", &named), "verification_malformed"),
        (
            post_request("/dashboard/session", br#"{"api_key":"sec_no"}"#, &named),
            "dashboard_login_failed",
        ),
    ] {
        answered(&service, &request);
        service.wait_for_event(event, |line| {
            line["request_id"] == "order-66"
                && line["traceparent"] == TRACE
                && line["trace_id"] == TRACE[3..35]
                && line["span_id"] == TRACE[36..52]
        });
    }

    let unusable: [(&str, &[u8]); 2] = [("X-Request-Id", b"order 66"), ("traceparent", b"00-0-0-01")];
    answered(&service, &verify_request("sec_b", &unusable));
    let line = service.wait_for_event("verification_success", |line| line["key_id"] == "key_b");
    let made = line["request_id"].as_str().unwrap();
    assert!(
        made.len() == 16
            && ["traceparent", "trace_id", "span_id"]
                .iter()
                .all(|member| line.get(member).is_none()),
        "{line}"
    );
}

#[test]
fn no_secret_is_anywhere_in_the_output_whatever_is_done_with_it() {
    const STORAGE_SECRET: &str = "storage-m4rk3r";
    const BRIDGE_SECRET: &str = "bridge-m4rk3r";
    const PRESENTED: &str = "sec_m4rk3r_presented";
    let bridge = HttpReceiver::start(Answer::Status(500));
    let settings = Settings::file_store()
        .with("LOG_LEVEL", "trace")
        .with("POLL_INTERVAL", "50ms")
        .with("STORAGE_SECRET", STORAGE_SECRET)
        .with("PROTOCOL", "http")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", bridge.address.port().to_string())
        .with("SECRET", BRIDGE_SECRET);
    settings.write_document(
        r#"{"keys":[
            {"id":"key_1","secret":"sec_m4rk3r_stored","name":"plain"},
            {"id":"key_2","secret":"sec_m4rk3r_bad","name":"bad","expires_at":"sec_m4rk3r_date"},
            {"id":"sec_m4rk3r_id","secret":"key_swapped","name":"swapped","expires_at":"someday"},
            {"id":"key_3","secret":"sec_m4rk3r_twice","name":"a"},{"id":"key_4","secret":"sec_m4rk3r_twice","name":"b"}
        ]}"#,
    );
    let service = settings.start();
    service.wait_for_event("plaintext_secrets", |_| true);
    let created = service.create_key("created");
    for secret in [
        &created,
        "sec_m4rk3r_stored",
        "sec_m4rk3r_bad",
        "sec_m4rk3r_twice",
        PRESENTED,
    ] {
        service.verify(secret);
    }
    present_in_wrong_places(&service, PRESENTED);
    settings.write_document(r#"{"keys":[{"id":"sec_m4rk3r_plain"}]}"#);
    service.wait_for_event("load_failed", |line| line["error"] == "object_not_encrypted");
    settings.write_document("HEARE_ENCRYPTED_V1:m4rk3r");
    service.wait_for_event("load_failed", |line| line["error"] == "wrong_secret");
    assert_eq!(service.refresh().0, 502);
    service.wait_for_event("bridge_failed", |_| true);
    bridge.answer(Answer::Status(200));
    service.wait_for_event("bridge_recovered", |_| true);

    let metrics = service.get("/metrics");
    assert_eq!(metrics.status, 200);
    let (page, errors) = (metrics.text(), service.errors());
    let mut told = stopped(service).join("\n");
    assert!(told.contains(r#""event":"bad_record""#), "{told}");
    for more in [page, errors, sent_until_the_end(&bridge)] {
        told.push_str(&more);
    }
    let credentials = "YnJpZGdlLW00cmszcjo="; // The bridge's secret as Basic authentication carries it.
    for secret in [
        "m4rk3r",
        STORAGE_SECRET,
        BRIDGE_SECRET,
        credentials,
        &created,
        &created[4..],
    ] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}

/// Everything that the bridge was sent, but for what it is to know the sender by.
fn sent_until_the_end(bridge: &HttpReceiver) -> String {
    let mut sent = String::new();
    while !sent.contains(r#""heare-auth.shutdown":1"#) {
        let post = bridge.next();
        sent.extend([post.path, post.body.to_string()]);
    }
    assert!(sent.contains("heare-auth.verify.failed"), "{sent}");
    sent
}

/// All the ways in which a client can get a verify wrong.
fn present_in_wrong_places(service: &Service, secret: &str) {
    let body = json!({ "api_key": secret }).to_string();
    let bytes = secret.as_bytes();
    let requests = [
        post_request(&format!("/verify?api_key={secret}"), b"{}", &[]),
        post_request(&format!("/{secret}"), body.as_bytes(), &[]),
        post_request("/verify", bytes, &[]),
        post_request("/verify", format!(r#"{{"api_key":["{secret}"]}}"#).as_bytes(), &[]),
        post_request("/verify", format!(r#"{{"{secret}":1}}"#).as_bytes(), &[]),
        post_request("/verify", &body.as_bytes()[..body.len() - 1], &[]),
        verify_request(&secret.repeat(100), &[]),
        verify_request(&secret.repeat(5_000), &[]),
        post_request(
            "/verify",
            b"",
            &[("Authorization", bytes), ("Cookie", bytes), ("X-API-Key", bytes)],
        ),
        post_request("/health", body.as_bytes(), &[]),
        post_request(&format!("/refresh?{secret}"), body.as_bytes(), &[("Origin", bytes)]),
        post_request("/refresh", b"", &[("X-Forwarded-For", bytes), ("Traceparent", bytes)]),
        format!("{secret} /verify HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
        format!("GET /health HTTP/1.1\r\nHost: {secret}\r\n\r\n").into_bytes(),
        format!("{secret}\r\n\r\n").into_bytes(),
    ];
    for request in &requests {
        answered(service, request);
    }
}

/// Tabs take six bytes each in a line, so that it does not take many requests to fill all buffers.
fn with_a_long_line(secret: &str) -> Vec<u8> {
    let agent = format!("x{}x", "\t".repeat(254));
    verify_request(secret, &[("User-Agent", agent.as_bytes())])
}

#[test]
fn a_stalled_stdout_costs_lines_that_are_counted_and_neither_answers_nor_memory() {
    const REQUESTS: usize = 20_000;
    let settings = Settings::file_store();
    settings.write_document(DOCUMENT);
    let mut service = settings.start_with(LogReader::Stalls);
    service.wait_until_ready();
    let before = service.resident_kib();
    let statuses = flood(&service, 4, REQUESTS, |number| {
        with_a_long_line(["sec_a", "sec_no"][number % 2])
    });
    assert_eq!(statuses, Statuses::from([(200, REQUESTS / 2), (403, REQUESTS / 2)]));
    let grown = service.peak_resident_kib().saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} KiB");

    service.resume_reading();
    service.wait_for_event("log_dropped", |_| true);
    let lines = stopped(service);
    let records = parsed(&lines);
    let dropped: u64 = records
        .iter()
        .filter(|record| record["event"] == "log_dropped")
        .map(|record| record["lines"].as_u64().unwrap())
        .sum();
    let written = count(&records, "verification_success") + count(&records, "verification_failed");
    assert!(dropped > 0 && written > 0, "{dropped} dropped, {written} written");
    assert_eq!(written as u64 + dropped, REQUESTS as u64);
    assert_eq!(bunyan::accepted(&lines), records);
}

#[test]
fn a_closed_stdout_costs_every_line_and_neither_answers_nor_memory() {
    const REQUESTS: usize = 10_000;
    let settings = Settings::file_store();
    settings.write_document(DOCUMENT);
    let mut service = settings.start_with(LogReader::Closes);
    service.wait_until_ready();
    let before = service.resident_kib();
    let statuses = flood(&service, 4, REQUESTS, |number| {
        with_a_long_line(["sec_a", "sec_no"][number % 2])
    });
    assert_eq!(statuses, Statuses::from([(200, REQUESTS / 2), (403, REQUESTS / 2)]));
    let grown = service.peak_resident_kib().saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} KiB");
    assert_eq!(service.refresh().0, 200);
    assert!(service.is_running());
    assert!(service.stop().success());
}
