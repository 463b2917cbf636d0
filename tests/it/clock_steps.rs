//! The wall clock of a running service steps forwards and backwards, by libfaketime. Expiry goes with the latest time that
//! was seen; limits, deadlines and everything else go on as if nothing had happened.

use crate::support::{
    documents::{record, record_with, secret_of},
    service::{Service, Settings},
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};

/// What sets the clock of one service.
struct Hands(PathBuf);

impl Hands {
    /// So far from the true time, such as `+2h` or `-30d`, from the next look at the clock on.
    fn set(&self, offset: &str) {
        let whole = self.0.with_extension("new");
        fs::write(&whole, offset).expect("a file in the test's own directory");
        fs::rename(whole, &self.0).expect("a file in the test's own directory");
    }
}

fn library() -> String {
    let architectures = fs::read_dir("/usr/lib").expect("a system has libraries").flatten();
    architectures
        .map(|directory| directory.path().join("faketime/libfaketime.so.1"))
        .find(|library| library.exists())
        .expect("scripts/setup has installed libfaketime")
        .display()
        .to_string()
}

/// A service on a clock that can be set. The clock that only goes forward is left alone, as a system does it.
fn start(records: &[Value]) -> (Service, Hands) {
    let settings = Settings::file_store();
    settings.write_document(&json!({ "generation": 1, "keys": records }).to_string());
    let hands = Hands(settings.home().join("clock"));
    hands.set("+0");
    let service = settings
        .with("LD_PRELOAD", library())
        .with("FAKETIME_TIMESTAMP_FILE", hands.0.display().to_string())
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .with("DONT_FAKE_MONOTONIC", "1")
        .start_ready();
    (service, hands)
}

fn in_an_hour() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let at = i64::try_from((now + Duration::from_hours(1)).as_millis()).expect("before the year 292 million");
    heare_auth::core::time::Timestamp::from_millis(at).to_string()
}

#[test]
fn a_clock_that_steps_revives_no_key_and_ends_none_that_lasts() {
    let (service, hands) = start(&[record("key_lasts"), record_with("key_ends", "expires_at", in_an_hour())]);
    let statuses = || ["key_lasts", "key_ends"].map(|id| service.verify(&secret_of(id)).0);
    assert_eq!(statuses(), [200, 200]);
    hands.set("-30d");
    assert_eq!(statuses(), [200, 200], "before it was ever so late");
    hands.set("+2h");
    assert_eq!(statuses(), [200, 403], "past its expiry");
    for offset in ["+0", "-30d", "-10000d"] {
        hands.set(offset);
        assert_eq!(statuses(), [200, 403], "{offset}: what has expired stays so");
    }
    assert_eq!(service.refresh().0, 200);
    assert_eq!(statuses(), [200, 403], "also after a load");
}

#[test]
fn a_clock_that_steps_gives_no_use_back_and_takes_none() {
    let limits = json!([{ "name": "test", "limit": 3, "window_seconds": 3600 }]);
    let (service, hands) = start(&[record_with("key_1", "limits", limits)]);
    let status = || service.verify(&secret_of("key_1")).0;
    assert_eq!(status(), 200);
    hands.set("-2d");
    assert_eq!(status(), 200);
    hands.set("+2d");
    assert_eq!(status(), 200);
    for offset in ["+2d", "+0", "+400d", "-400d"] {
        hands.set(offset);
        assert_eq!(status(), 429, "{offset}");
    }
}

#[test]
fn a_clock_that_steps_cuts_no_connection_and_stops_no_poll() {
    let (service, hands) = start(&[record("key_1")]);
    let mut connection = service.connect();
    assert_eq!(connection.get("/health").expect("an answer").status, 200);
    // In the middle of a head, days go by.
    connection.send(b"GET /health HTTP/1.1\r\n").expect("it is taken");
    for offset in ["+3d", "-3d", "+0"] {
        hands.set(offset);
        assert_eq!(service.verify(&secret_of("key_1")).0, 200, "{offset}");
    }
    connection.send(b"Host: x\r\n\r\n").expect("it is taken");
    assert_eq!(connection.read_response().expect("an answer").status, 200);
    hands.set("-3d");
    let age = service.ready().1["age_seconds"].clone();
    assert!(age.as_u64().is_some_and(|age| age < 3600), "{age}");
    assert_eq!(service.refresh().0, 200);
    assert!(service.stop().success());
}

#[test]
fn a_clock_that_is_set_back_makes_no_wait_longer_and_keeps_no_spent_token_good() {
    let (service, hands) = start(&[]);
    let call = |path: &str, body: Value| service.post(path, body.to_string().as_bytes());
    let log_in = |password: &str| call("/api/login", json!({ "login": "somebody", "password": password }));
    let refresh = |token: &Value| call("/api/refresh", json!({ "refresh_token": token }));
    let right = "a pass phrase of hers";
    hands.set("+2h");
    let somebody = json!({ "login": "somebody", "password": right });
    assert_eq!(call("/api/register", somebody).status, 201);
    assert_eq!(log_in(right).status, 200);

    hands.set("+0");
    for _ in 0..5 {
        assert_eq!(log_in("wrong").status, 401, "five are free");
    }
    for minutes in [10, 20, 30, 40, 50, 60] {
        hands.set(&format!("+{minutes}m"));
        assert_eq!(log_in("wrong").status, 401, "the wait is over at +{minutes}m");
    }
    assert_eq!(log_in(right).status, 429, "a minute has to pass by now");
    hands.set("+70m");
    let logged_in = log_in(right);
    assert_eq!(logged_in.status, 200);

    let spent = logged_in.json()["refresh_token"].clone();
    assert_eq!(refresh(&spent).status, 200);
    hands.set("+80m");
    assert_eq!(refresh(&spent).status, 401, "it is too late for a retry");
}
