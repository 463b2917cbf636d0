//! The log: whole lines, in order, in bunyan form, and never at a request's expense.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use heare_auth::{
    clock::Clock,
    config::LogLevel,
    telemetry::{
        Telemetry,
        events::{RequestId, RequestInfo},
        log::{self, DEFAULT_CAPACITY, LogQueue},
        metrics::Metrics,
    },
};
use serde_json::Value;

use crate::support::bunyan;

/// Longer than any flush takes that succeeds.
const ENOUGH: Duration = Duration::from_secs(30);

/// A writer that keeps what it is given, for the test to read.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "torn: {text}");
        text.lines().map(str::to_owned).collect()
    }

    fn records(&self) -> Vec<Value> {
        self.lines()
            .iter()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that follows a plan, one step a call, and then takes everything.
struct Planned {
    plan: std::vec::IntoIter<Result<usize, ErrorKind>>,
    kept: Kept,
}

impl Write for Planned {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.plan.next().unwrap_or(Ok(usize::MAX))?;
        self.kept.write(&bytes[..bytes.len().min(most)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn queue_to(kept: &Kept) -> LogQueue {
    LogQueue::start(kept.clone(), DEFAULT_CAPACITY).unwrap()
}

fn telemetry(log: &LogQueue) -> Telemetry {
    Telemetry {
        metrics: Arc::new(Metrics::default()),
        log: log.clone(),
    }
}

fn request() -> RequestInfo<'static> {
    RequestInfo {
        request_id: RequestId::Sent("req-1"),
        user_agent: Some("MyService/1.0 \"quoted\"\n".into()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    }
}

/// The hot lines and one of every level of the others.
fn log_one_of_each(log: &LogQueue, level: LogLevel) {
    let telemetry = telemetry(log);
    tracing::subscriber::with_default(log::subscriber(level, log.clone()), || {
        telemetry.verification_success(Clock::default().look(), request, "key_1", "Production \\\"API\\\"");
        telemetry.verification_failed(Clock::default().look(), request, "sec_", "expired");
        tracing::debug!(target: "heare_auth::loader", event = "looked", "nothing new");
        tracing::info!(target: "heare_auth", event = "startup", keys_loaded = 5, "serving");
        tracing::warn!(target: "heare_auth", event = "poll_failed", error = "timeout", "the store could not be read");
        tracing::error!(target: "heare_auth", event = "startup_failed", "no");
        tracing::error!(target: "hyper::proto", "a library's own words");
    });
    assert!(log.flush(ENOUGH));
}

#[test]
fn a_level_lets_through_itself_and_what_is_worse() {
    let all = [
        "looked",
        "verification_success",
        "startup",
        "verification_failed",
        "poll_failed",
        "startup_failed",
    ];
    for (level, from) in [
        (LogLevel::Debug, 0),
        (LogLevel::Info, 1),
        (LogLevel::Warn, 3),
        (LogLevel::Error, 5),
        (LogLevel::Trace, 0),
    ] {
        let kept = Kept::default();
        log_one_of_each(&queue_to(&kept), level);
        let mut records = kept.records();
        records.sort_by_key(|record| record["level"].as_u64());
        let events: Vec<&str> = records.iter().map(|record| record["event"].as_str().unwrap()).collect();
        let mut expected = all[from..].to_vec();
        expected.sort_by_key(|event| events.iter().position(|logged| logged == event));
        assert_eq!(events, expected, "{level:?}");
    }
}

#[test]
fn direct_lines_have_the_members_and_the_order_of_all_other_lines() {
    let kept = Kept::default();
    log_one_of_each(&queue_to(&kept), LogLevel::Info);
    let lines = kept.lines();
    let core = |line: &str| -> Vec<String> {
        let record: Value = serde_json::from_str(line).unwrap();
        let mut members: Vec<String> = record.as_object().unwrap().keys().cloned().collect();
        members.sort_by_key(|member| line.find(&format!("\"{member}\":")));
        members.truncate(7);
        members
    };
    for line in &lines {
        assert_eq!(
            core(line),
            ["v", "name", "msg", "level", "hostname", "pid", "time"],
            "{line}"
        );
    }
    let records = kept.records();
    for member in ["v", "name", "hostname", "pid"] {
        assert!(records.iter().all(|record| record[member] == records[0][member]));
    }
}

#[test]
fn a_verify_is_logged_with_the_words_of_the_usage_guide() {
    let kept = Kept::default();
    log_one_of_each(&queue_to(&kept), LogLevel::Info);
    let mut records = kept.records();
    for record in &mut records[..2] {
        let record = record.as_object_mut().unwrap();
        let time = record.remove("time").unwrap();
        assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert_eq!(record.remove("pid").unwrap(), std::process::id());
        assert!(record.remove("hostname").unwrap().is_string());
    }
    insta::assert_json_snapshot!(records[..2], @r#"
    [
      {
        "event": "verification_success",
        "key_id": "key_1",
        "key_name": "Production \"API\"",
        "level": 30,
        "msg": "the key is good",
        "name": "heare-auth",
        "request_id": "req-1",
        "span_id": "00f067aa0ba902b7",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "user_agent": "MyService/1.0 \"quoted\"\n",
        "v": 0
      },
      {
        "code": "expired",
        "event": "verification_failed",
        "level": 40,
        "msg": "the key is not good",
        "name": "heare-auth",
        "request_id": "req-1",
        "secret_prefix": "sec_",
        "span_id": "00f067aa0ba902b7",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "user_agent": "MyService/1.0 \"quoted\"\n",
        "v": 0
      }
    ]
    "#);
}

#[test]
fn an_absent_user_agent_is_unknown() {
    let kept = Kept::default();
    let log = queue_to(&kept);
    let anonymous = || RequestInfo {
        user_agent: None,
        traceparent: None,
        ..request()
    };
    telemetry(&log).verification_failed(Clock::default().look(), anonymous, "***", "invalid");
    assert!(log.flush(ENOUGH));
    let record = &kept.records()[0];
    assert_eq!(
        (&record["user_agent"], record.get("traceparent")),
        (&Value::from("unknown"), None)
    );
}

#[test]
fn the_bunyan_tool_reads_every_line() {
    let kept = Kept::default();
    log_one_of_each(&queue_to(&kept), LogLevel::Trace);
    let read = bunyan::accepted(&kept.lines());
    assert_eq!(read, kept.records());
}

#[test]
fn lines_of_many_threads_stay_whole_and_each_threads_in_order() {
    let kept = Kept::default();
    let log = LogQueue::start(
        Planned {
            plan: vec![Ok(7); 5000].into_iter(),
            kept: kept.clone(),
        },
        1 << 20,
    )
    .unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || (0..1000).for_each(|n| log.append(format!("{thread} {n}\n").as_bytes())));
        }
    });
    assert!(log.flush(ENOUGH));
    for thread in 0..4 {
        let own: Vec<String> = kept
            .lines()
            .into_iter()
            .filter(|l| l.starts_with(&format!("{thread} ")))
            .collect();
        assert_eq!(own, (0..1000).map(|n| format!("{thread} {n}")).collect::<Vec<_>>());
    }
    assert_eq!((kept.lines().len(), log.dropped()), (4000, 0));
}

#[test]
fn a_stalled_pipe_costs_whole_lines_that_are_counted_and_reported() {
    let (mut reader, writer) = io::pipe().unwrap();
    let log = LogQueue::start(writer, 100_000).unwrap();
    let line = |n: usize| format!("{{\"n\":{n},\"filler\":\"{}\"}}\n", "x".repeat(1000));
    // More than the pipe, the writer's hands and the queue hold together.
    let sent = 1000;
    (0..sent).for_each(|n| log.append(line(n).as_bytes()));
    assert!(!log.flush(Duration::from_millis(1)));
    let dropped = log.dropped();
    assert!(dropped > 500, "{dropped}");

    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    assert!(log.flush(ENOUGH));
    log.append(line(sent).as_bytes());
    drop(log);
    let text = read.join().unwrap();
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a whole line"))
        .collect();
    let numbers: Vec<u64> = records.iter().filter_map(|record| record["n"].as_u64()).collect();
    assert!(numbers.is_sorted());
    assert_eq!(numbers.len() as u64 + dropped, sent as u64 + 1);
    assert_eq!(numbers.last(), Some(&(sent as u64)));
    let reports: Vec<&Value> = records
        .iter()
        .filter(|record| record["event"] == "log_dropped")
        .collect();
    assert_eq!(
        reports
            .iter()
            .map(|report| report["lines"].as_u64().unwrap())
            .sum::<u64>(),
        dropped
    );
}

#[test]
fn a_closed_pipe_costs_every_line_and_nothing_else() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let log = LogQueue::start(writer, DEFAULT_CAPACITY).unwrap();
    for round in 1..=3 {
        (0..100).for_each(|_| log.append(b"{}\n"));
        assert!(log.flush(ENOUGH));
        assert_eq!(log.dropped(), round * 100);
    }
}

#[test]
fn a_line_interrupted_by_an_error_is_finished_before_the_next() {
    let kept = Kept::default();
    let plan = vec![
        Ok(5),
        Err(ErrorKind::StorageFull),
        Err(ErrorKind::StorageFull),
        Err(ErrorKind::WouldBlock),
        Ok(1),
    ];
    let log = LogQueue::start(
        Planned {
            plan: plan.into_iter(),
            kept: kept.clone(),
        },
        1000,
    )
    .unwrap();
    for lines in ["{\"n\":1}\n{\"n\":2}\n", "{\"n\":3}\n", "{\"n\":4}\n"] {
        log.append(lines.as_bytes());
        assert!(log.flush(ENOUGH));
    }
    let records = kept.records();
    assert_eq!((&records[0]["n"], &records[1]["n"]), (&Value::from(1), &Value::from(4)));
    assert_eq!(
        (&records[2]["event"], &records[2]["lines"]),
        (&Value::from("log_dropped"), &Value::from(2))
    );
    assert_eq!((records.len(), log.dropped()), (3, 2));
}

#[test]
fn a_line_longer_than_the_queue_is_dropped() {
    let kept = Kept::default();
    let log = LogQueue::start(kept.clone(), 10).unwrap();
    log.append(b"{\"long\":\"line\"}\n");
    log.append(b"{\"n\":1}\n");
    assert!(log.flush(ENOUGH));
    let records = kept.records();
    assert_eq!(
        (records.len(), &records[1]["lines"], log.dropped()),
        (2, &Value::from(1), 1)
    );
}

#[test]
fn a_panic_is_one_line_with_its_place_and_without_its_words() {
    let kept = Kept::default();
    let log = queue_to(&kept);
    let usual = std::panic::take_hook();
    log::log_panics(log.clone());
    let panicked = thread::spawn(|| panic!("sec_0words")).join();
    std::panic::set_hook(usual);
    assert!(panicked.is_err() && log.flush(ENOUGH));
    let record = kept
        .records()
        .into_iter()
        .find(|record| record["event"] == "panic")
        .unwrap();
    assert!(
        record["location"]
            .as_str()
            .unwrap()
            .starts_with("tests/it/telemetry.rs:")
    );
    assert!(!kept.text().contains("words"));
}
