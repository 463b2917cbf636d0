//! Many at once: what one caller too many costs, and what it does not cost the others.

use crate::support::{
    fault_proxy::{Fault, FaultProxy},
    flood::{Statuses, flood, verify_request},
    http_client::Connection,
    seaweed::Seaweed,
    service::{Service, Settings, eventually},
};
use std::{fmt::Write as _, time::Duration};

const DOCUMENT: &str = r#"{"keys":[{"id":"key_a","secret":"sec_a","name":"A"}]}"#;

fn serving_one_key() -> Service {
    let settings = Settings::file_store();
    settings.write_document(DOCUMENT);
    settings.start_ready()
}

#[test]
fn three_hundred_refreshes_at_once_are_answered_by_at_most_five_loads() {
    const CALLERS: usize = 300;
    let seaweed = Seaweed::get();
    let proxy = FaultProxy::start(seaweed.address());
    let settings = Settings::file_store().with("POLL_INTERVAL", "1day");
    let service = seaweed
        .environment(proxy.address(), &seaweed.fresh_key())
        .into_iter()
        .fold(settings, |settings, (name, value)| settings.with(name, value))
        .start();
    service.create_key("stored");
    let before = proxy.count("GET");
    // Long enough for all to ask before the first is answered.
    proxy.set(Fault::Delay(Duration::from_millis(500)));
    let mut callers: Vec<Connection> = (0..CALLERS).map(|_| service.connect()).collect();
    for caller in &mut callers {
        let request = b"POST /refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        caller.send(request).unwrap();
    }
    for caller in &mut callers {
        let (status, answer) = caller.read_response().unwrap().status_and_json();
        assert_eq!((status, &answer["keys_loaded"]), (200, &1.into()));
    }
    let loads = proxy.count("GET") - before;
    assert!((1..=5).contains(&loads), "{loads} loads");
    eventually("every refresh is logged", || {
        service.events("refresh_success").len() == CALLERS + 1
    });
}

#[test]
fn refreshes_that_cannot_succeed_are_all_answered_too() {
    let settings = Settings::file_store();
    settings.write_document(DOCUMENT);
    let service = settings.start_ready();
    settings.write_document("<html>");
    let request = b"POST /refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_vec();
    let statuses = flood(&service, 100, 300, |_| request.clone());
    assert_eq!(statuses, Statuses::from([(502, 300)]));
    assert_eq!(service.verify("sec_a").0, 200);
}

#[test]
fn four_hundred_half_open_requests_keep_nobody_from_an_answer() {
    let service = serving_one_key();
    let parts: [&[u8]; 7] = [
        b"",
        b"P",
        b"PRI ",
        b"PRI /x HTTP/1.1\r\nHost: a\r\n",
        b"POST /verify HTTP/1.1\r\nHost: local",
        b"POST /verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"api_key\":",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let before = service.resident_kib();
    let half_open: Vec<Connection> = (0..400)
        .map(|number| {
            let mut connection = service.connect();
            connection.send(parts[number % parts.len()]).unwrap();
            connection
        })
        .collect();
    let statuses = flood(&service, 8, 2_000, |_| verify_request("sec_a", &[]));
    assert_eq!(statuses, Statuses::from([(200, 2_000)]));
    assert_eq!((service.health().0, service.refresh().0), (200, 200));
    let grown = service.peak_resident_kib().saturating_sub(before);
    assert!(grown < 30 << 10, "{grown} KiB");
    drop(half_open);
    assert_eq!(service.verify("sec_a").0, 200);
}

#[test]
fn clients_that_ask_and_never_read_keep_nobody_from_an_answer() {
    let service = serving_one_key();
    let request = verify_request("sec_a", &[]).repeat(100);
    let mut deaf: Vec<Connection> = (0..50).map(|_| service.connect()).collect();
    for connection in &mut deaf {
        connection.send(&request).unwrap();
    }
    let statuses = flood(&service, 4, 1_000, |_| verify_request("sec_a", &[]));
    assert_eq!(statuses, Statuses::from([(200, 1_000)]));
}

#[test]
fn fifty_thousand_unknown_keys_leave_nothing_behind() {
    let service = serving_one_key();
    let guess = |number: usize| verify_request(&format!("sec_guess_number_{number}"), &[]);
    flood(&service, 4, 2_000, guess);
    let before = service.resident_kib();
    let statuses = flood(&service, 4, 50_000, |number| guess(number + 2_000));
    assert_eq!(statuses, Statuses::from([(403, 50_000)]));
    let grown = service.peak_resident_kib().saturating_sub(before);
    assert!(grown < 20 << 10, "{grown} KiB");
    assert_eq!(service.verify("sec_a").0, 200);
}

/// What the optimised program takes is measured by the benchmark; this only notices a different order of magnitude.
#[test]
fn ten_thousand_keys_take_little_memory() {
    let mut document = r#"{"keys":["#.to_owned();
    for number in 0..10_000 {
        let comma = if number == 0 { "" } else { "," };
        write!(
            document,
            r#"{comma}{{"id":"key_{number:020}","secret":"sec_{number:060}","name":"service number {number}","secret_type":"shared_secret","created_at":"2025-10-28T16:45:18Z","metadata":{{"environment":"production","number":{number}}}}}"#
        )
        .unwrap();
    }
    document.push_str("]}");
    let settings = Settings::file_store();
    settings.write_document(&document);
    let service = settings.start_ready();
    assert_eq!(service.health().1["keys_count"], 10_000);
    assert_eq!(service.verify(&format!("sec_{:060}", 9_999)).0, 200);
    let above = service.resident_kib().saturating_sub(serving_one_key().resident_kib());
    assert!(above < 30 << 10, "{above} KiB");
    for _ in 0..5 {
        assert_eq!(service.refresh().0, 200);
    }
    let peak = service.peak_resident_kib();
    assert!(peak < 100 << 10, "{peak} KiB");
}
