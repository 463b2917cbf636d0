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
    service::{Service, eventually},
};

#[test]
fn of_fifty_guesses_at_once_few_are_looked_at_and_then_the_account_is_locked() {
    everywhere(|site| {
        let services = site.start_two();
        Client::new().register(&services[0], "user");
        // From ten addresses, of which none alone has tried too often.
        let guesses = at_once(50, |number| {
            Client::of(number % 10).try_login(&services[number % 2], "user", "not-the-password")
        });
        guesses.assert_few_were_looked_at(2);
        for service in &services {
            guesses.assert_locked(
                || Client::new().try_login(service, "user", PASSWORD),
                "the right password is not looked at either",
            );
        }
    });
}

/// Guesses that were made at the same time, each with the moment it was sent.
struct Guesses {
    took: Duration,
    answers: Vec<(Instant, Response)>,
}

fn at_once(count: usize, guess: impl Fn(usize) -> Response + Sync) -> Guesses {
    let began = Instant::now();
    let answers = thread::scope(|scope| {
        let guess = |number| (Instant::now(), answered(|| guess(number)));
        let running: Vec<_> = (0..count).map(|number| scope.spawn(move || guess(number))).collect();
        running.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    Guesses {
        took: began.elapsed(),
        answers,
    }
}

/// On a slow machine a store may answer too late: then whoever asked comes back.
fn answered(ask: impl Fn() -> Response) -> Response {
    let mut answer = None;
    eventually("the stores have time", || {
        let told = ask();
        let is_answer = told.status != 503;
        answer = Some(told);
        is_answer
    });
    answer.expect("an answer")
}

impl Guesses {
    /// The free ones and those that hash when the last of these fails. On a machine so slow that waits end before all guesses
    /// have come, each such wait offers one more.
    fn assert_few_were_looked_at(&self, instances: usize) {
        // One core is left to verifies.
        let threads = thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1));
        let waits = (self.took.as_secs() + 1).ilog2() as usize;
        let statuses: Vec<u16> = self.answers.iter().map(|(_, answer)| answer.status).collect();
        let looked_at = statuses.iter().filter(|&&status| status == 401).count();
        assert!(
            (1..=5 + instances * threads + waits).contains(&looked_at),
            "{looked_at} were looked at: {statuses:?}"
        );
        assert!(
            statuses.iter().all(|status| [401, 429].contains(status)),
            "{statuses:?}"
        );
    }

    /// Until the wait that was told is over nothing is looked at.
    fn assert_locked(&self, guess: impl Fn() -> Response, why: &str) {
        let told = self.refusals().map(|(sent, wait)| sent + wait);
        let locked_until = told.max().expect("a refusal");
        let answer = answered(guess);
        if Instant::now() < locked_until {
            assert_eq!(answer.status, 429, "{why}");
            assert!((1..=900).contains(&seconds(&answer)));
        }
    }

    /// When each was sent, and how long it has to wait at least: what is told is rounded up.
    fn refusals(&self) -> impl Iterator<Item = (Instant, Duration)> {
        let refused = self.answers.iter().filter(|(_, answer)| answer.status == 429);
        refused.map(|(sent, answer)| (*sent, Duration::from_secs(seconds(answer) - 1)))
    }
}

fn seconds(answer: &Response) -> u64 {
    let wait = answer.header("retry-after").expect("when to come back");
    let seconds = wait.parse().expect("a number of seconds");
    assert!(seconds >= 1, "a wait that is over already");
    seconds
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
        let guesses = at_once(24, |number| {
            Client::of(number % 10).try_login(&service, "nobody at all", "not-the-password")
        });
        guesses.assert_few_were_looked_at(1);
        guesses.assert_locked(
            || Client::new().try_login(&service, "nobody at all", PASSWORD),
            "as if there were somebody",
        );
    });
}

#[test]
fn one_address_does_not_try_many_accounts_and_locks_out_nobody_else() {
    everywhere(|site| {
        let service = site.start();
        let (stranger, owner) = (Client::new(), Client::new());
        owner.register(&service, "user");
        let guesses = at_once(24, |number| {
            stranger.try_login(&service, &format!("user {number}"), "not-the-password")
        });
        guesses.assert_few_were_looked_at(1);
        guesses.assert_locked(
            || stranger.try_login(&service, "yet another", PASSWORD),
            "the address has to wait",
        );
        assert_eq!(answered(|| owner.try_login(&service, "user", PASSWORD)).status, 200);
    });
}

#[test]
fn every_route_that_looks_at_a_password_counts_at_the_same_place() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        client.register(&service, "user");
        let token = client.login(&service, "user").access;
        let change = json!({ "password": "not-the-password", "new_password": "a-good-new-one-1" });
        let guess = |number: usize| match number % 3 {
            0 => client.try_login(&service, "user", "not-the-password"),
            1 => {
                let wrong = credentials("user", "not-the-password");
                client.post(&service, "/api/delete", &wrong)
            }
            _ => client.with(&token, &service, "POST", "/api/password", Some(&change)),
        };
        let guesses = at_once(24, guess);
        guesses.assert_few_were_looked_at(1);
        for number in 0..3 {
            guesses.assert_locked(|| guess(number), "whichever route it is");
        }
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

/// The bounds are those of the promise. What else a busy machine does falls on one side or the other, so a measurement may be
/// made again; a difference that is there would be there every time.
#[test]
fn an_unknown_login_takes_as_long_as_a_wrong_password() {
    let site = Site::local();
    let service = site.start();
    Client::new().register(&service, "user");
    let mut ratios = Vec::new();
    let is_equal = (0..4).any(|round| {
        let ratio = unknown_to_wrong(&service, round);
        ratios.push(ratio);
        (0.85..=1.18).contains(&ratio)
    });
    assert!(is_equal, "{ratios:?}");
}

/// How the medians relate.
fn unknown_to_wrong(service: &Service, round: usize) -> f64 {
    const PAIRS: usize = 21;
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for number in round * PAIRS..(round + 1) * PAIRS {
        // By turns, as what comes first may find the machine busy with what came before.
        let mut kinds = [(0, "user".to_owned()), (1, format!("nobody {number}"))];
        kinds.rotate_left(number % 2);
        for (kind, login) in kinds {
            // A new address each time, so that none is locked.
            let client = Client::at(number * 2 + kind);
            let began = Instant::now();
            let answer = client.try_login(service, &login, "not-the-password");
            times[kind].push(began.elapsed());
            assert_eq!(answer.status, 401);
        }
        // Otherwise the one account would be locked.
        Client::at(200).login(service, "user");
    }
    let [wrong, unknown] = times.map(|mut times| {
        times.sort_unstable();
        times[PAIRS / 2].as_secs_f64()
    });
    unknown / wrong
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
    let (statuses, answered) = thread::scope(|scope| {
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
        let mut answered = 0;
        while !running.iter().all(thread::ScopedJoinHandle::is_finished) {
            assert_eq!(
                verifies.post("/verify", body.as_bytes()).expect("an answer").status,
                200
            );
            answered += 1;
            // Hashing gives way to verifies: at full speed they would leave it nothing.
            thread::sleep(Duration::from_millis(2));
        }
        let statuses: Vec<u16> = running.into_iter().map(|one| one.join().expect("an answer")).collect();
        (statuses, answered)
    });
    assert!(
        statuses.iter().all(|status| [401, 503].contains(status)),
        "{statuses:?}"
    );
    // One that waited for the hashes before it would be answered after all of them, and one that took turns with them as often.
    assert!(answered > 2 * LOGINS, "{answered} verifies meanwhile");
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
