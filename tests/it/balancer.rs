//! Two instances behind one balancer, which share nothing but the store and Redis.

use crate::support::{
    balancer::Balancer,
    certificates::{Authority, Key},
    documents::{document, record, record_with, secret_of},
    redis::Redis,
    service::{Service, Settings, eventually},
    tls_client::TlsClient,
    together::{counting_together, probe},
};
use serde_json::{Value, json};

const KEYS: &str = "/api/v1/auth/keys";

/// A key that is limited and a route for each attempt.
const ROUTES: [(&str, &str); 6] = [
    ("key_five_1", KEYS),
    ("key_five_2", "/api/v1/auth/audit"),
    ("key_five_3", "/api/v1/auth/usage/summary"),
    ("key_five_4", "/api/v1/auth/keys/key_1"),
    ("key_five_5", "/api/v1/auth/keys/key_1/usage"),
    ("key_five_6", "/api/nowhere"),
];

struct Site {
    authority: Authority,
    balancer: Balancer,
    instances: [Service; 2],
    _redis: Redis,
}

impl Site {
    fn start() -> Self {
        let redis = Redis::start();
        let authority = Authority::new();
        let admin = record_with("key_admin", "scopes", json!(["admin"]));
        let five = json!([{ "name": "minute", "limit": 5, "window_seconds": 60 }]);
        let limited = ROUTES.iter().map(|(key, _)| record_with(key, "limits", five.clone()));
        let keys: Vec<Value> = [admin, record("key_1"), probe()].into_iter().chain(limited).collect();
        let settings = Settings::file_store()
            .without("RATE_LIMIT")
            .with("REDIS_URL", redis.url())
            .with("DATABASE_URL", "off")
            .with("POLL_INTERVAL", "100ms")
            .with("TRUSTED_PROXIES", "127.0.0.1");
        settings.write_document(&json!({ "generation": 1, "keys": keys }).to_string());
        let instances = [settings.start(), settings.start()];
        instances.iter().for_each(Service::wait_until_ready);
        let pair = authority.issue("balancer", Key::P256);
        let balancer = Balancer::in_front_of(instances.each_ref().map(Service::address), &pair);
        Self {
            authority,
            balancer,
            instances,
            _redis: redis,
        }
    }

    fn client(&self) -> TlsClient {
        TlsClient::connect(self.balancer.address, &self.authority.root())
    }
}

fn verified(client: &mut TlsClient, id: &str) -> u16 {
    let body = json!({ "api_key": secret_of(id) }).to_string();
    client.post("/verify", body.as_bytes()).status
}

#[test]
fn instances_behind_a_balancer_are_one_service() {
    let site = Site::start();
    let mut client = site.client();
    assert!((0..20).all(|_| verified(&mut client, "key_1") == 200));
    for instance in &site.instances {
        let answered = instance.events("verification_success").len();
        assert!(answered >= 5, "{answered} of 20 were answered by one of two");
    }
    // A key's limit and a client's are those of all instances together.
    let (verifies, statuses) = counting_together(site.instances.each_ref(), |attempt| {
        let (key, path) = ROUTES[attempt];
        let mut client = site.client();
        let verifies = (0..12).filter(|_| verified(&mut client, key) == 200).count();
        let statuses: Vec<u16> = (0..130)
            .map(|n| {
                // What a client claims about its address counts for nothing.
                let forged = format!("198.51.100.{n}");
                client.request("GET", path, &[("X-Forwarded-For", &forged)], b"").status
            })
            .collect();
        (verifies, statuses)
    });
    assert_eq!(verifies, 5);
    assert_eq!(statuses.iter().filter(|status| **status != 429).count(), 100);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 30);
    assert_eq!(client.post("/refresh", b"").status, 404);
}

#[test]
fn a_key_made_by_one_instance_is_good_at_the_other_and_one_that_stops_is_not_missed() {
    let site = Site::start();
    let mut client = site.client();
    let bearer = format!("Bearer {}", secret_of("key_admin"));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let made = client.request("POST", KEYS, &headers, br#"{"name":"new","scopes":[]}"#);
    assert_eq!(made.status, 201, "{}", made.text());
    let secret = made.json()["key"].as_str().unwrap().to_owned();
    let body = json!({ "api_key": secret }).to_string();
    for instance in &site.instances {
        eventually("it knows the key", || instance.verify(&secret).0 == 200);
    }
    site.instances[0].signal("TERM");
    site.instances[0].wait_for_event("shutdown", |_| true);
    for _ in 0..20 {
        assert_eq!(client.post("/verify", body.as_bytes()).status, 200);
    }
}

#[test]
fn an_instance_that_has_no_keys_yet_keeps_no_question_from_its_answer() {
    let authority = Authority::new();
    let settings = [Settings::file_store(), Settings::file_store()];
    settings[0].write_document("no document");
    settings[1].write_document(&document(1, &["key_1"]));
    let [loading, good] = settings.each_ref().map(Settings::start);
    good.wait_until_ready();
    assert_eq!(loading.verify(&secret_of("key_1")).0, 503);
    let pair = authority.issue("balancer", Key::P256);
    let secret = secret_of("key_1");
    let one = json!({ "api_key": secret }).to_string();
    let several = json!({ "requests": [{ "api_key": secret }] }).to_string();
    let header = [("X-API-Key", secret.as_str())];
    let body = [("Content-Type", "application/json")];
    for (path, headers, body) in [
        ("/verify", &body, &one),
        ("/verify/batch", &body, &several),
        ("/api/v1/keys/validate", &body, &one),
        ("/authz", &header, &String::new()),
        ("/authz/orders", &header, &String::new()),
    ] {
        // A new one has not yet seen which instance is not ready.
        let balancer = Balancer::in_front_of([loading.address(), good.address()], &pair);
        let mut client = TlsClient::connect(balancer.address, &authority.root());
        for _ in 0..36 {
            let answer = client.request("POST", path, headers, body.as_bytes());
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
    }
    // While none is ready, each answer says when to come back.
    let balancer = Balancer::in_front_of([loading.address(); 2], &pair);
    let mut client = TlsClient::connect(balancer.address, &authority.root());
    for _ in 0..6 {
        let answer = client.post("/verify", one.as_bytes());
        let waits = answer.header("retry-after").is_some();
        assert_eq!((answer.status, waits), (503, true), "{}", answer.text());
    }
}
