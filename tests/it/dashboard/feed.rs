//! The live feed: what a page is sent, and when it ends.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use super::{Browser, key, person, register, settings};
use crate::support::{
    PATIENCE,
    documents::secret_of,
    service::{Service, eventually},
};

const EVENTS: &str = "/dashboard/events";

/// A page that listens.
struct Page(BufReader<TcpStream>);

impl Page {
    fn try_open(service: &Service, browser: &Browser) -> (u16, Self) {
        let mut stream = TcpStream::connect(service.address()).expect("the service listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes options");
        let address = service.address();
        let cookie = &browser.cookie;
        let request = format!("GET {EVENTS} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the service reads");
        let mut page = Self(BufReader::new(stream));
        let status = page.line().split(' ').nth(1).and_then(|word| word.parse().ok());
        while !page.line().is_empty() {}
        (status.expect("a status"), page)
    }

    fn open(service: &Service, browser: &Browser) -> Self {
        let (status, page) = Self::try_open(service, browser);
        assert_eq!(status, 200);
        page
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let length = self.0.read_line(&mut line).expect("something is sent in time");
        assert!(length > 0, "the connection broke off");
        line.trim_end().to_owned()
    }

    /// The next event; nothing when the feed has ended.
    fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let line = self.line();
            if line == "0" {
                return None;
            }
            if let Some(kind) = line.strip_prefix("event: ") {
                let data = self.line();
                let data = data.strip_prefix("data: ").expect("an event has data");
                return Some((kind.to_owned(), serde_json::from_str(data).expect("data are JSON")));
            }
        }
    }

    fn wait_for(&mut self, kind: &str, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (found, data) = self.next().expect("the feed goes on");
            if found == kind && holds(&data) {
                return data;
            }
        }
    }

    fn wait_for_end(mut self) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Some((kind, _)) = self.next() {
            kinds.push(kind);
        }
        kinds
    }
}

fn logged_in(service: &Service, body: &Value) -> Browser {
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(service, body).status, 200);
    browser
}

#[test]
fn an_operator_sees_verifies_changes_and_refreshes_as_they_are_logged() {
    let service = settings().start_ready();
    let mut browser = logged_in(&service, &key("key_admin"));
    let mut page = Page::open(&service, &browser);
    service.verify(&secret_of("key_plain"));
    let seen = page.wait_for("verify", |line| line["key_id"] == "key_plain");
    let logged = service.wait_for_event("verification_success", |line| line["key_id"] == "key_plain");
    assert_eq!(seen, logged, "the line itself");
    service.verify("sec_unknown");
    page.wait_for("verify", |line| line["code"] == "invalid");
    assert_eq!(browser.status(&service, "DELETE", "/api/v1/auth/keys/key_plain"), 200);
    page.wait_for("refresh", |line| line["event"] == "keys_loaded");
    page.wait_for("change", |line| {
        line["what"] == "revoke" && line["key_id"] == "key_plain"
    });
}

#[test]
fn an_owner_sees_their_own_keys_alone() {
    let service = settings().start_ready();
    register(&service, "anna");
    let mut browser = logged_in(&service, &person("anna"));
    let made = browser
        .ask(&service, "POST", "/api/v1/auth/keys", r#"{"name":"n"}"#)
        .json();
    let mut page = Page::open(&service, &browser);
    service.verify(&secret_of("key_plain"));
    service.verify(made["key"].as_str().expect("a secret"));
    loop {
        let (kind, data) = page.next().expect("an event");
        assert_eq!(data["key_id"], made["key_id"], "{kind} {data}");
        assert!(data["hostname"].is_null() && data["pid"].is_null() && data["from"].is_null());
        if kind == "verify" {
            break;
        }
    }
}

#[test]
fn a_feed_ends_when_its_reader_logs_out_is_revoked_or_the_service_stops() {
    let service = settings().start_ready();
    register(&service, "anna");
    let mut anna = logged_in(&service, &person("anna"));
    let mut operator = logged_in(&service, &key("key_admin"));
    let manager = logged_in(&service, &key("key_manager"));
    let feeds = [&anna, &manager, &operator].map(|browser| Page::open(&service, browser));
    let [of_anna, of_manager, of_operator] = feeds;
    assert_eq!(anna.status(&service, "DELETE", super::SESSION), 204);
    assert_eq!(
        operator.status(&service, "DELETE", "/api/v1/auth/keys/key_manager"),
        200
    );
    assert_eq!(of_anna.wait_for_end().last().map(String::as_str), Some("end"));
    assert_eq!(of_manager.wait_for_end().last().map(String::as_str), Some("end"));
    assert_eq!(Page::try_open(&service, &anna).0, 401);
    assert!(service.stop().success(), "a feed holds up nobody");
    of_operator.wait_for_end();
}

#[test]
fn a_flood_is_counted_and_not_sent() {
    let service = settings().start_ready();
    let browser = logged_in(&service, &key("key_admin"));
    let mut page = Page::open(&service, &browser);
    let mut connection = service.connect();
    let body = format!(r#"{{"api_key":"{}"}}"#, secret_of("key_plain"));
    for _ in 0..300 {
        assert_eq!(
            connection.post("/verify", body.as_bytes()).expect("an answer").status,
            200
        );
    }
    let skipped = page.wait_for("skipped", |_| true);
    assert!(
        skipped["events"].as_u64().expect("a number") > 0 && skipped["exact"] == true,
        "{skipped}"
    );
}

#[test]
fn so_many_feeds_are_open_at_most_and_room_comes_back() {
    let service = settings().start_ready();
    let browser = logged_in(&service, &key("key_admin"));
    let pages: Vec<Page> = (0..32).map(|_| Page::open(&service, &browser)).collect();
    assert_eq!(Page::try_open(&service, &browser).0, 503);
    drop(pages);
    // A page that has gone is noticed at the next thing that is sent to it.
    eventually("there is room again", || {
        service.verify(&secret_of("key_plain"));
        Page::try_open(&service, &browser).0 == 200
    });
}

#[test]
fn another_sites_page_opens_no_feed() {
    let service = settings().start_ready();
    let mut browser = logged_in(&service, &key("key_admin"));
    let foreign = [("Sec-Fetch-Site", "same-site")];
    assert_eq!(browser.send(&service, "GET", EVENTS, &foreign, b"").status, 403);
    assert_eq!(browser.status(&service, "POST", EVENTS), 405);
}
