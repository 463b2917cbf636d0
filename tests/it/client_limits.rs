//! How often a client may call a route below `/api/`: who counts as one, which routes count, and what instances share.

use crate::support::{
    documents::{document, record_with, secret_of},
    http_client::{Connection, Response},
    redis::Redis,
    service::{Service, Settings},
    together::{counting_together, probe},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::Ipv4Addr, thread};

const KEYS: &str = "/api/v1/auth/keys";
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// With the limit that is in force where nobody says otherwise.
fn usual() -> Settings {
    let settings = Settings::file_store().without("RATE_LIMIT");
    settings.write_document(&document(1, &["key_1"]));
    settings
}

fn start(settings: &Settings) -> Service {
    settings.start_ready()
}

fn get(client: Ipv4Addr, service: &Service, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut connection = Connection::open_from(client, service.address());
    connection.request("GET", path, headers, b"").unwrap()
}

/// How many of so many calls, over several connections at once, had which status. The forwarding header is another one
/// each time.
fn calls(services: &[&Service], client: Ipv4Addr, path: &str, count: usize) -> BTreeMap<u16, usize> {
    const CONNECTIONS: usize = 30;
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let service = services[number % services.len()];
                scope.spawn(move || {
                    let mut connection = Connection::open_from(client, service.address());
                    let call = |n: usize| {
                        let forged = format!("198.51.100.{}", n % 256);
                        let headers = [("X-Forwarded-For", forged.as_str()), ("X-Real-IP", forged.as_str())];
                        connection.request("GET", path, &headers, b"").unwrap().status
                    };
                    (number..count).step_by(CONNECTIONS).map(call).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut all = BTreeMap::new();
        for status in callers.into_iter().flat_map(|caller| caller.join().unwrap()) {
            *all.entry(status).or_default() += 1;
        }
        all
    })
}

fn refused(statuses: &BTreeMap<u16, usize>) -> usize {
    statuses.get(&429).copied().unwrap_or(0)
}

#[test]
fn of_three_hundred_calls_at_once_a_hundred_pass_and_nobody_else_is_touched() {
    let service = start(&usual());
    let statuses = calls(&[&service], CLIENT, KEYS, 300);
    assert_eq!(statuses, BTreeMap::from([(401, 100), (429, 200)]));
    assert_eq!(get(OTHER, &service, KEYS, &[]).status, 401, "another client");
    assert_eq!(
        get(CLIENT, &service, "/api/v1/auth/audit", &[]).status,
        401,
        "another route"
    );
    // One route whatever its method and its ids.
    let one = calls(&[&service], CLIENT, "/api/v1/auth/keys/key_1", 60);
    let two = calls(&[&service], CLIENT, "/api/v1/auth/keys/key_2", 60);
    assert_eq!((refused(&one), refused(&two)), (0, 20));
    // What is no route is one as well.
    let nowhere = calls(&[&service], CLIENT, "/api/nowhere", 110);
    assert_eq!(nowhere, BTreeMap::from([(404, 100), (429, 10)]));
    // Accounts or none: their paths have budgets of their own.
    assert_eq!(refused(&calls(&[&service], CLIENT, "/api/login", 101)), 1);
}

#[test]
fn the_refusal_says_when_to_come_back() {
    let settings = usual()
        .with("RATE_LIMIT", "1/60s")
        .with("CORS_ORIGINS", "https://app.example");
    let service = start(&settings);
    let origin = [("Origin", "https://app.example")];
    // A browser's question costs nothing.
    for _ in 0..3 {
        let asks = [origin[0], ("Access-Control-Request-Method", "POST")];
        let asked = service.connect().request("OPTIONS", KEYS, &asks, b"").unwrap();
        assert_eq!(asked.status, 204);
    }
    assert_eq!(
        service.connect().request("GET", KEYS, &origin, b"").unwrap().status,
        401
    );
    let answer = service.connect().request("GET", KEYS, &origin, b"").unwrap();
    assert_eq!(
        (answer.status, answer.text()),
        (429, r#"{"error":"Rate limit exceeded"}"#.to_owned())
    );
    let wait: u64 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(
        answer.header("RateLimit-Policy"),
        Some(r#""/api/v1/auth/keys";q=1;w=60"#)
    );
    assert_eq!(answer.header("X-RateLimit-Remaining"), Some("0"));
    assert_eq!(
        answer.header("Access-Control-Allow-Origin"),
        Some("https://app.example")
    );
}

#[test]
fn verifies_and_what_keeps_the_service_running_are_never_limited() {
    let service = start(&usual().with("RATE_LIMIT", "1/60s"));
    let secret = secret_of("key_1");
    let body = json!({ "api_key": secret }).to_string();
    let bearer = format!("Bearer {secret}");
    for _ in 0..5 {
        assert_eq!(service.verify(&secret).0, 200);
        assert_eq!(service.get("/health").status, 200);
        assert_eq!(service.ready().0, 200);
        assert_eq!(service.refresh().0, 200);
        assert_eq!(service.post("/api/v1/keys/validate", body.as_bytes()).status, 200);
        assert_eq!(
            get(CLIENT, &service, "/authz", &[("Authorization", &bearer)]).status,
            200
        );
    }
}

#[test]
fn routes_may_have_limits_of_their_own_or_none() {
    let own = "/api/login=2/60s,/api/v1/auth/*=3/60s,/api/v1/auth/audit=off";
    let service = start(&usual().with("RATE_LIMIT", "5/60s").with("RATE_LIMIT_ROUTES", own));
    for (path, passing) in [
        ("/api/login", 2),
        ("/api/register", 5),
        (KEYS, 3),
        ("/api/v1/auth/usage/summary", 3),
        ("/api/v1/auth/audit", 20),
    ] {
        assert_eq!(20 - refused(&calls(&[&service], CLIENT, path, 20)), passing, "{path}");
    }
    let unlimited = start(&usual().with("RATE_LIMIT", "off"));
    assert_eq!(refused(&calls(&[&unlimited], CLIENT, KEYS, 150)), 0);
    let wrong = usual().with("RATE_LIMIT_ROUTES", "/api/logni=1/60s").run(&["serve"]);
    let sentence = "RATE_LIMIT_ROUTES names a route that is not limited; USAGE.md has all that are";
    assert!(String::from_utf8_lossy(&wrong.stderr).contains(sentence), "{wrong:?}");
}

#[test]
fn behind_a_trusted_proxy_its_clients_are_told_apart() {
    let settings = usual().with("RATE_LIMIT", "2/60s").with("TRUSTED_PROXIES", "127.0.0.2");
    let service = start(&settings);
    let passed = |chain: &str| {
        let headers = [("X-Forwarded-For", chain), ("X-Forwarded-Proto", "https")];
        (0..4)
            .filter(|_| get(CLIENT, &service, KEYS, &headers).status == 401)
            .count()
    };
    assert_eq!(passed("192.0.2.1"), 2);
    // Only what the proxy wrote itself counts.
    assert_eq!(passed("198.51.100.1, 192.0.2.1"), 0);
    assert_eq!(passed("192.0.2.2"), 2);
    // Who has an address of an IPv6 network has all of them.
    assert_eq!(passed("2001:db8::1"), 2);
    assert_eq!(passed("2001:db8::2"), 0);
    assert_eq!(passed("2001:db8:0:1::1"), 2);
    // What is no address is the proxy's own fault.
    assert_eq!(passed("rubbish"), 2);
    assert_eq!(passed("nonsense"), 0);
}

#[test]
fn a_call_too_many_is_refused_before_its_body_arrives() {
    let service = start(&usual().with("RATE_LIMIT", "1/60s"));
    assert_eq!(service.post(KEYS, b"{}").status, 401);
    let mut connection = service.connect();
    connection
        .send(b"POST /api/v1/auth/keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n{")
        .unwrap();
    assert_eq!(connection.read_response().unwrap().status, 429);
}

#[test]
fn a_key_is_as_good_as_ever_and_its_limit_is_another() {
    let settings = usual();
    let admin = record_with("key_admin", "scopes", json!(["admin"]));
    settings.write_document(&json!({ "generation": 2, "keys": [admin] }).to_string());
    let service = start(&settings.with("RATE_LIMIT_ROUTES", "/api/v1/auth/keys=2/60s"));
    let bearer = format!("Bearer {}", secret_of("key_admin"));
    let list = || get(CLIENT, &service, KEYS, &[("Authorization", &bearer)]);
    let listed: Value = list().json();
    assert!(listed["keys"].is_array() || listed["data"].is_array(), "{listed}");
    assert_eq!((list().status, list().status), (200, 429));
    assert_eq!(service.verify(&secret_of("key_admin")).0, 200);
}

#[test]
fn instances_that_share_a_redis_share_the_limit_and_go_on_alone_without_it() {
    let mut redis = Redis::start();
    let settings = usual().with("REDIS_URL", redis.url()).with("DATABASE_URL", "off");
    settings.write_document(&json!({ "generation": 2, "keys": [probe()] }).to_string());
    let (one, two) = (start(&settings), start(&settings));
    let statuses = counting_together([&one, &two], |attempt| {
        let client = Ipv4Addr::new(127, 0, 1, u8::try_from(attempt).unwrap());
        calls(&[&one, &two], client, KEYS, 300)
    });
    assert_eq!(statuses, BTreeMap::from([(401, 100), (429, 200)]));
    redis.kill();
    // Each has let pass what it has let pass, and allows the rest of a hundred.
    let alone = calls(&[&one], OTHER, KEYS, 150);
    assert_eq!(alone, BTreeMap::from([(401, 100), (429, 50)]));
}
