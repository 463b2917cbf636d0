//! Redis, the database, the bridge and the store, each failing in every way a peer can: the same answers to a verify,
//! none of them later, nobody let in, and everything taken up again once the far end is well.

use crate::support::{
    asking::Asking,
    bridge::{Answer, HttpReceiver},
    documents::{document, record, record_with, secret_of},
    far_end::{FarEnd, Trouble},
    postgres::Database,
    redis::Redis,
    service::eventually,
    settings::serving,
    stored_object::StoredObject,
};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};

/// A peer of any protocol can do these.
const TROUBLES: [Trouble; 7] = [
    Trouble::Reset,
    Trouble::HangUp,
    Trouble::Swallow,
    Trouble::Trickle,
    Trouble::Cut(5),
    Trouble::Say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    Trouble::Say(b"\0\xff\x15\x03\x01 rubbish \r\n\r\n"),
];

/// A verify that waited for a far end would take that one's time limit, which is more than a second everywhere but at Redis.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// So many answers are looked at once a trouble is noticed, before it ends.
const MANY: usize = 300;

fn far_end_of(url: &str) -> (FarEnd, String) {
    let (before, rest) = url.rsplit_once('@').map_or_else(
        || {
            url.split_once("://")
                .map(|(scheme, rest)| (format!("{scheme}://"), rest))
                .expect("a URL")
        },
        |(user, rest)| (format!("{user}@"), rest),
    );
    let (host, path) = rest.split_once('/').expect("a URL with a path");
    let far_end = FarEnd::of(host.parse::<SocketAddr>().expect("an address"));
    let through = format!("{before}{}/{path}", far_end.address());
    (far_end, through)
}

#[test]
fn whatever_redis_does_limited_keys_are_answered_and_it_is_taken_up_again() {
    let redis = Redis::start();
    let (far_end, url) = far_end_of(&redis.url());
    let mut limited = record("key_1");
    limited["limits"] = json!([{ "name": "long", "limit": 100_000, "window_seconds": 3600 }]);
    let service = serving(&[limited]).with("REDIS_URL", url).start_ready();
    for (round, trouble) in TROUBLES.into_iter().enumerate() {
        let asking = Asking::start(service.address(), &secret_of("key_1"), |answer| answer.status == 200);
        far_end.make(trouble);
        eventually("it counts alone", || service.events("ratelimit_degraded").len() > round);
        asking.wait_for_more(MANY);
        far_end.heal();
        eventually("it counts with Redis", || {
            service.events("ratelimit_recovered").len() > round
        });
        let answered = asking.stop();
        assert!(answered.p99() < UNDISTURBED, "{trouble:?}: {:?}", answered.p99());
    }
}

#[test]
fn whatever_the_database_does_verifies_go_on_nothing_counted_is_lost_and_nobody_is_let_in() {
    let database = Database::shared();
    let (far_end, url) = far_end_of(&database.url());
    let settings = serving(&[record("key_1"), record_with("key_2", "scopes", json!(["admin"]))])
        .with("DATABASE_URL", url)
        .with("SECRET_KEY", "a key to sign with that is long enough");
    let service = settings.start_ready();
    let mut verified = 0;
    let stored = || -> u64 {
        let settings = settings.clone().with("DATABASE_URL", database.url());
        let output = settings.run(&["usage", "key_1", "--json"]);
        let usage: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        usage["total_requests"].as_u64().unwrap_or_default()
    };
    let somebody = json!({ "login": "somebody", "password": "a pass phrase of hers" }).to_string();
    let call = |path: &str| service.post(path, somebody.as_bytes()).status;
    let credential = format!("Bearer {}", secret_of("key_2"));
    let use_of_the_key = || {
        let headers = [("Authorization", credential.as_str())];
        let answer = (service.connect()).request("GET", "/api/v1/auth/keys/key_1/usage", &headers, b"");
        answer.expect("an answer").status
    };
    eventually("there is somebody", || call("/api/register") < 300);
    for (round, trouble) in TROUBLES.into_iter().enumerate() {
        let asking = Asking::start(service.address(), &secret_of("key_1"), |answer| answer.status == 200);
        far_end.make(trouble);
        assert_eq!(call("/api/login"), 503, "{trouble:?}");
        // What was counted is to be written now, before anybody reads it.
        assert_eq!(use_of_the_key(), 503, "{trouble:?}");
        eventually("it cannot be written", || service.events("usage_failed").len() > round);
        asking.wait_for_more(MANY);
        far_end.heal();
        eventually("she can log in again", || call("/api/login") == 200);
        eventually("it is written", || service.events("usage_recovered").len() > round);
        let answered = asking.stop();
        verified += answered.count() as u64;
        assert!(answered.p99() < UNDISTURBED, "{trouble:?}: {:?}", answered.p99());
    }
    let mut found = 0;
    eventually("everything counted is in the database", || {
        found = stored();
        found >= verified
    });
    assert_eq!(found, verified, "each once");
}

#[test]
fn whatever_the_bridge_does_verifies_go_on_and_it_is_told_what_happened() {
    let bridge = HttpReceiver::start(Answer::Status(200));
    let far_end = FarEnd::of(bridge.address);
    let settings = serving(&[record("key_1")])
        .with("PROTOCOL", "http")
        .with("SECRET", "bridge")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", far_end.address().port().to_string());
    let service = settings.start_ready();
    let before = service.resident_kib();
    let endless = Trouble::Endless(b"HTTP/1.1 500 Internal Server Error\r\n\r\n");
    for (round, trouble) in TROUBLES.into_iter().chain([endless]).enumerate() {
        let asking = Asking::start(service.address(), &secret_of("key_1"), |answer| answer.status == 200);
        far_end.make(trouble);
        eventually("metrics do not arrive", || {
            service.events("bridge_failed").len() > round
        });
        asking.wait_for_more(MANY);
        far_end.heal();
        eventually("metrics arrive", || service.events("bridge_recovered").len() > round);
        let answered = asking.stop();
        assert!(answered.p99() < UNDISTURBED, "{trouble:?}: {:?}", answered.p99());
    }
    bridge.totals_until(|totals| totals.counter("heare-auth.verify.requests") > 0);
    let grown = service.peak_resident_kib().saturating_sub(before);
    assert!(grown < 30 << 10, "{grown} KiB");
}

#[test]
fn a_store_whose_answers_never_end_takes_no_memory_and_changes_nothing() {
    let object = StoredObject::new();
    object.put(document(5, &["key_old"]));
    let (far_end, address) = object.far_end();
    let settings = object
        .settings_at(address)
        .with("POLL_INTERVAL", "50ms")
        .with("MAX_DOCUMENT_BYTES", "4MiB");
    let service = settings.start_ready();
    let before = service.peak_resident_kib();
    for (begin, words) in [
        (
            &b"HTTP/1.1 500 Internal Server Error\r\n\r\n"[..],
            &["store_failed"][..],
        ),
        (
            b"HTTP/1.1 404 Not Found\r\n\r\n<Error><Code>NoSuchKey</Code>",
            &["store_failed"],
        ),
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 99999999999\r\n\r\n",
            &["store_forbidden"],
        ),
        (b"HTTP/1.1 200 OK\r\nETag: \"other\"\r\n\r\n", &["object_too_large"]),
        (b"HTTP/1.1 200 OK\r\nX-A: ", &["store_unreachable", "store_failed"]),
    ] {
        far_end.make(Trouble::Endless(begin));
        let asking = Asking::start(service.address(), &secret_of("key_old"), |answer| answer.status == 200);
        eventually(words[0], || {
            let word = service.ready().1["last_error"].as_str().unwrap_or_default().to_owned();
            words.contains(&word.as_str())
        });
        asking.stop();
        let grown = service.peak_resident_kib().saturating_sub(before);
        assert!(grown < 60 << 10, "{}: {grown} KiB", String::from_utf8_lossy(begin));
        far_end.heal();
        eventually("the fault is over", || service.ready().1["last_error"].is_null());
    }
    // A command that writes meets the same.
    far_end.make(Trouble::Endless(b"HTTP/1.1 500 Internal Server Error\r\n\r\n"));
    let output = service.cli(&["create", "--name", "never"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
