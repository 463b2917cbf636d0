//! Who tries passwords: how many are looked at, and for whom that makes a difference.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Client, PASSWORD, Site, credentials, everywhere};
use crate::support::{
    bridge::{Totals, UdpReceiver},
    http_client::Response,
};

#[test]
fn of_fifty_guesses_at_once_few_are_looked_at_and_then_the_account_is_locked() {
    everywhere(|site| {
        let [one, other] = site.start_two();
        Client::new().register(&one, "user");
        let answers: Vec<Response> = thread::scope(|scope| {
            let guess = |number: usize| {
                let service = if number.is_multiple_of(2) { &one } else { &other };
                // From five addresses, of which none alone has tried too often.
                scope.spawn(move || Client::of(number % 10).try_login(service, "user", "not-the-password"))
            };
            let running: Vec<_> = (0..50).map(guess).collect();
            running.into_iter().map(|one| one.join().expect("an answer")).collect()
        });
        let refused = answers.iter().filter(|answer| answer.status == 401).count();
        // Two instances, each with as many hashing threads as there are cores.
        let at_most = 5 + 2 * thread::available_parallelism().map_or(1, std::num::NonZero::get);
        assert!((1..=at_most).contains(&refused), "{refused} were looked at");
        for locked in answers.iter().filter(|answer| answer.status != 401) {
            assert_eq!(locked.status, 429, "{}", locked.text());
            assert!(seconds(locked) >= 1);
        }
        for service in [&one, &other] {
            let right = Client::new().try_login(service, "user", PASSWORD);
            assert_eq!(right.status, 429, "the right password is not looked at either");
            assert!((1..=900).contains(&seconds(&right)));
        }
    });
}

fn seconds(answer: &Response) -> u64 {
    let wait = answer.header("retry-after").expect("when to come back");
    wait.parse().expect("a number of seconds")
}

impl Client {
    /// One of ten addresses that no other test uses.
    fn of(number: usize) -> Self {
        Self {
            address: std::net::Ipv4Addr::new(127, 0, 8, u8::try_from(number).expect("a small number") + 1),
        }
    }
}

#[test]
fn a_login_that_nobody_has_is_locked_as_well() {
    everywhere(|site| {
        let service = site.start();
        let mut statuses = (0..8).map(|number| {
            let client = Client::of(number);
            client.try_login(&service, "nobody at all", "not-the-password").status
        });
        assert!(statuses.by_ref().take(5).all(|status| status == 401));
        assert!(statuses.any(|status| status == 429));
    });
}

#[test]
fn one_address_does_not_try_many_accounts_and_locks_out_nobody_else() {
    everywhere(|site| {
        let service = site.start();
        let (guesser, owner) = (Client::new(), Client::new());
        owner.register(&service, "user");
        let statuses: Vec<u16> = (0..8)
            .map(|number| {
                guesser
                    .try_login(&service, &format!("user {number}"), "not-the-password")
                    .status
            })
            .collect();
        assert_eq!(statuses[..5], [401; 5]);
        assert_eq!(statuses[7], 429);
        assert_eq!(owner.try_login(&service, "user", PASSWORD).status, 200);
    });
}

#[test]
fn every_route_that_looks_at_a_password_counts_at_the_same_place() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        client.register(&service, "user");
        let token = client.login(&service, "user").access;
        let change = json!({ "password": "not-the-password", "new_password": "a-good-new-one-1" });
        let statuses: Vec<u16> = (0..9)
            .map(|number| match number % 3 {
                0 => client.try_login(&service, "user", "not-the-password").status,
                1 => {
                    let wrong = credentials("user", "not-the-password");
                    client.post(&service, "/api/delete", &wrong).status
                }
                _ => {
                    client
                        .with(&token, &service, "POST", "/api/password", Some(&change))
                        .status
                }
            })
            .collect();
        assert_eq!(statuses[..5], [401; 5], "{statuses:?}");
        assert_eq!(statuses[6..], [429; 3], "{statuses:?}");
        assert_eq!(
            client.profile(&service, &token).status,
            200,
            "who is logged in stays so"
        );
    });
}

#[test]
fn a_right_password_makes_the_wrong_ones_before_it_forgotten() {
    everywhere(|site| {
        let service = site.start();
        Client::new().register(&service, "user");
        for _ in 0..3 {
            // The address keeps its count, or who has one account could guess at all others.
            let client = Client::new();
            for _ in 0..3 {
                assert_eq!(client.try_login(&service, "user", "not-the-password").status, 401);
            }
            client.login(&service, "user");
        }
    });
}

/// The bounds are those of the promise; the number of pairs makes the median steady on a busy machine.
#[test]
fn an_unknown_login_takes_as_long_as_a_wrong_password() {
    const PAIRS: usize = 41;
    let site = Site::local();
    let service = site.start();
    Client::new().register(&service, "user");
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for number in 0..PAIRS {
        for (kind, login) in [(0, "user"), (1, "nobody")] {
            // A new pair of account and address each time, so that none is locked.
            let login = if kind == 0 {
                login.to_owned()
            } else {
                format!("{login} {number}")
            };
            let client = Client::at(number * 2 + kind);
            let began = Instant::now();
            let answer = client.try_login(&service, &login, "not-the-password");
            times[kind].push(began.elapsed());
            assert_eq!(answer.status, 401);
        }
        // Otherwise the one account would be locked.
        Client::at(200).login(&service, "user");
    }
    let [wrong, unknown] = times.map(|mut times| {
        times.sort_unstable();
        times[PAIRS / 2].as_secs_f64()
    });
    let ratio = unknown / wrong;
    assert!((0.85..=1.18).contains(&ratio), "{ratio}");
}

impl Client {
    fn at(number: usize) -> Self {
        Self {
            address: std::net::Ipv4Addr::new(127, 0, 9, u8::try_from(number).expect("a small number") + 1),
        }
    }
}

/// 64 logins at once: a verify is answered, and memory stays within what the pool of hashing threads takes.
#[test]
fn a_flood_of_logins_leaves_verifies_alone_and_takes_no_memory() {
    const LOGINS: usize = 64;
    let site = Site::local();
    let service = site.start();
    let secret = service.create_key("reports");
    let client = Client::new();
    client.register(&service, "user");
    client.login(&service, "user");
    let before = service.resident_kib();
    let (statuses, slowest) = thread::scope(|scope| {
        let login = |number: usize| {
            let service = &service;
            scope.spawn(move || {
                Client::at(number)
                    .try_login(service, &format!("user {number}"), PASSWORD)
                    .status
            })
        };
        let running: Vec<_> = (0..LOGINS).map(login).collect();
        let mut verifies = service.connect();
        let body = json!({ "api_key": secret }).to_string();
        let mut slowest = Duration::ZERO;
        while !running.iter().all(thread::ScopedJoinHandle::is_finished) {
            let began = Instant::now();
            assert_eq!(
                verifies.post("/verify", body.as_bytes()).expect("an answer").status,
                200
            );
            slowest = slowest.max(began.elapsed());
        }
        let statuses: Vec<u16> = running.into_iter().map(|one| one.join().expect("an answer")).collect();
        (statuses, slowest)
    });
    assert!(
        statuses.iter().all(|status| [401, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(slowest < Duration::from_millis(500), "a verify took {slowest:?}");
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get) as u64;
    let grown = service.peak_resident_kib().saturating_sub(before);
    let pool = cores * (19 << 10);
    assert!(grown < pool + (24 << 10), "{grown} KiB beside {pool} KiB of the pool");
}

#[test]
fn what_happens_to_accounts_is_counted_and_logged_without_a_login() {
    let bridge = UdpReceiver::start();
    let settings = Site::local().settings;
    let service = settings
        .with("PROTOCOL", "udp")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", bridge.address().port().to_string())
        .start();
    let client = Client::new();
    client.register(&service, "marker-of-a-login");
    let token = client.login(&service, "marker-of-a-login").access;
    client.try_login(&service, "marker-of-a-login", "marker-of-a-password");
    client.with(&token, &service, "POST", "/api/logout", None);
    for event in ["account_registered", "login_success", "logout"] {
        service.wait_for_event(event, |line| line["user_id"] == 1 && line["level"] == 30);
    }
    let failed = service.wait_for_event("login_failed", |line| line["level"] == 40);
    let from = json!(client.address.to_string());
    assert_eq!(
        (&failed["reason"], &failed["client_ip"]),
        (&json!("invalid_credentials"), &from)
    );
    assert!(service.log_lines().iter().all(|line| !line.contains("marker")));
    assert!(service.stop().success());
    let mut totals = Totals::default();
    while totals.counter("heare-auth.shutdown") == 0 {
        totals.add_lines(&bridge.next());
    }
    for (name, count) in [
        ("registered", 1),
        ("login_success", 1),
        ("login_failed", 1),
        ("requests", 4),
        ("refused", 1),
    ] {
        assert_eq!(totals.counter(&format!("heare-auth.accounts.{name}")), count, "{name}");
    }
}
