//! Instances that count together in Redis. They do so exactly as long as Redis answers within its budget, which a busy machine
//! does not always let it do: an attempt in which one of them counted alone shows nothing, and is made again.

use super::{
    documents::{record_with, secret_of},
    service::{Service, eventually},
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const ATTEMPTS: usize = 6;
const PROBE: &str = "key_probe";

/// The instances' document must have it: by its limit they are seen to count together.
pub fn probe() -> Value {
    let limits = json!([{ "name": "probe", "limit": 100_000, "window_seconds": 3600 }]);
    record_with(PROBE, "limits", limits)
}

/// What the first attempt gives through which both counted together. Attempts are numbered from 0.
pub fn counting_together<T>(instances: [&Service; 2], attempt: impl Fn(usize) -> T) -> T {
    let outcome = (0..ATTEMPTS).find_map(|number| {
        eventually("they count together", || {
            let [one, two] = instances.map(remaining);
            one == two + 1
        });
        let before = instances.map(times_alone);
        let outcome = attempt(number);
        (instances.map(times_alone) == before).then_some(outcome)
    });
    outcome.expect("Redis answers in time at least once")
}

fn remaining(service: &Service) -> u64 {
    let body = json!({ "api_key": secret_of(PROBE) }).to_string();
    let answer = service.post("/verify", body.as_bytes());
    let remaining = answer.header("X-RateLimit-Remaining").expect("the key has a limit");
    remaining.parse().expect("a number")
}

/// How often it began to count alone. Whatever was answered before is in the log before the marker is.
fn times_alone(service: &Service) -> usize {
    static MARKERS: AtomicUsize = AtomicUsize::new(0);
    let marker = format!("marker-{}", MARKERS.fetch_add(1, Relaxed));
    let mut connection = service.connect();
    let body = br#"{"api_key":"no key"}"#;
    let asked = connection.request("POST", "/verify", &[("User-Agent", &marker)], body);
    asked.expect("every verify is answered");
    service.wait_for_event("verification_failed", |line| line["user_agent"] == marker.as_str());
    service.events("ratelimit_degraded").len()
}
