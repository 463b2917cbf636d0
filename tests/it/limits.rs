//! Limits of use: what a key may, how its caller is told, and what becomes of it when instances share a Redis that fails.

use crate::support::{
    PATIENCE,
    bridge::{Answer, HttpReceiver},
    documents::{record, record_with, refusal, secret_of},
    flood::{Statuses, flood, verify_request},
    http_client::{Response, number},
    ports::RefusingPort,
    redis::Redis,
    service::{Service, eventually},
    settings::{Settings, serving},
};
use heare_auth::{
    core::{secret::Secret, window::Limit},
    limiter::{
        local::Local,
        redis::{BUDGET, Redis as RedisLimiter},
    },
    telemetry::{Telemetry, log::LogQueue},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

fn start(settings: &Settings) -> Service {
    settings.start_ready()
}

/// A key with one named limit.
fn limited(id: &str, limit: usize, window_seconds: u32) -> Value {
    let limits = json!([{ "name": "test", "limit": limit, "window_seconds": window_seconds }]);
    record_with(id, "limits", limits)
}

fn verify(service: &Service, id: &str) -> Response {
    verify_at_cost(service, id, 1)
}

fn verify_at_cost(service: &Service, id: &str, cost: u32) -> Response {
    let body = json!({ "api_key": secret_of(id), "cost": cost });
    service.post("/verify", body.to_string().as_bytes())
}

fn status(service: &Service, id: &str) -> u16 {
    verify(service, id).status
}

fn statuses(service: &Service, id: &str, requests: usize) -> Statuses {
    flood(service, 8, requests, |_| verify_request(&secret_of(id), &[]))
}

fn now_seconds() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is after 1970").as_secs()
}

#[test]
fn a_limited_key_is_told_how_it_stands() {
    let mut key = record("key_1");
    key["rate_limit_per_hour"] = 10.into();
    key["burst"] = 2.into();
    key["limits"] = json!([{ "name": "minute", "limit": 20, "window_seconds": 60 }]);
    let service = start(&serving(&[key]));
    let before = now_seconds();
    let answer = verify(&service, "key_1");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["key_id"], "key_1");
    assert_eq!(number(&answer, "X-RateLimit-Limit"), 12);
    assert_eq!(number(&answer, "X-RateLimit-Remaining"), 11);
    let reset = number(&answer, "X-RateLimit-Reset");
    assert!((before + 3600..=now_seconds() + 3601).contains(&reset), "{reset}");
    let policy = r#""hour";q=12;w=3600, "minute";q=20;w=60"#;
    assert_eq!(answer.header("RateLimit-Policy"), Some(policy));
    let standing = r#""hour";r=11;t=3600, "minute";r=19;t=60"#;
    assert_eq!(answer.header("RateLimit"), Some(standing));
    assert_eq!(answer.header("Retry-After"), None);
}

#[test]
fn beyond_its_limit_and_burst_a_key_is_answered_429_until_there_is_room() {
    let mut key = record("key_1");
    key["rate_limit_per_hour"] = 3.into();
    key["burst"] = 2.into();
    let service = start(&serving(&[key, record("key_2")]));
    let passed = (0..5).filter(|_| status(&service, "key_1") == 200).count();
    assert_eq!(passed, 5);
    let refused = verify(&service, "key_1");
    let body = r#"{"valid":false,"error":"Rate limit exceeded","code":"rate_limited","detail":"Rate limit exceeded"}"#;
    assert_eq!((refused.status, refused.text().as_str()), (429, body));
    assert_eq!(number(&refused, "X-RateLimit-Remaining"), 0);
    assert!((1..=3600).contains(&number(&refused, "Retry-After")));
    service.wait_for_event("verification_failed", |line| line["code"] == "rate_limited");
    assert_eq!(status(&service, "key_2"), 200);
}

#[test]
fn a_key_without_limits_has_no_headers_of_limits() {
    let service = start(&serving(&[record("key_1")]));
    let answer = verify(&service, "key_1");
    let told = answer
        .headers
        .iter()
        .any(|(name, _)| name.to_ascii_lowercase().contains("ratelimit"));
    assert!(!told, "{answer:?}");
}

#[test]
fn an_owned_key_has_a_thousand_an_hour_unless_its_record_says_otherwise() {
    let mut other = record_with("key_2", "user_id", "user_1");
    other["rate_limit_per_hour"] = 7.into();
    let service = start(&serving(&[record_with("key_1", "user_id", "user_1"), other]));
    assert_eq!(number(&verify(&service, "key_1"), "X-RateLimit-Limit"), 1000);
    assert_eq!(number(&verify(&service, "key_2"), "X-RateLimit-Limit"), 7);
}

#[test]
fn a_record_whose_limits_cannot_be_understood_is_denied() {
    let bad = [
        ("rate_limit_per_hour", json!(0)),
        ("rate_limit_per_hour", json!(100_001)),
        ("rate_limit_per_hour", json!("many")),
        ("rate_limit_per_hour", json!(1.5)),
        ("burst", json!(-1)),
        ("limits", json!("fast")),
        ("limits", json!([{ "name": "a", "limit": 1 }])),
        ("limits", json!([{ "name": "a b", "limit": 1, "window_seconds": 1 }])),
        ("limits", json!([{ "name": "a", "limit": 0, "window_seconds": 1 }])),
        ("limits", json!([{ "name": "a", "limit": 1, "window_seconds": 0 }])),
    ];
    let id = |number: usize| format!("key_{number}");
    let mut records: Vec<Value> = bad
        .iter()
        .enumerate()
        .map(|(number, (member, value))| record_with(&id(number), member, value.clone()))
        .collect();
    let mut none = record("key_good");
    for member in ["rate_limit_per_hour", "burst", "limits", "user_id"] {
        none[member] = Value::Null;
    }
    records.push(none);
    let service = start(&serving(&records));
    for (number, stated) in bad.iter().enumerate() {
        let answer = service.verify(&secret_of(&id(number)));
        assert_eq!(answer, refusal("invalid"), "{stated:?}");
        service.wait_for_event("bad_record", |line| {
            line["key_id"] == id(number) && line["defect"] == "bad_limits"
        });
    }
    assert_eq!(status(&service, "key_good"), 200);
}

#[test]
fn a_use_may_cost_more_than_one() {
    let service = start(&serving(&[limited("key_1", 10, 3600)]));
    assert_eq!(
        number(&verify_at_cost(&service, "key_1", 7), "X-RateLimit-Remaining"),
        3
    );
    assert_eq!(verify_at_cost(&service, "key_1", 4).status, 429);
    assert_eq!(
        number(&verify_at_cost(&service, "key_1", 3), "X-RateLimit-Remaining"),
        0
    );
    for cost in [json!(0), json!(-1), json!("1"), json!(1.5), json!(1_000_001)] {
        let body = json!({ "api_key": secret_of("key_1"), "cost": cost });
        let answer = service.post("/verify", body.to_string().as_bytes());
        assert_eq!(
            (answer.status, &answer.json()["detail"][0]["loc"][1]),
            (422, &json!("cost"))
        );
    }
}

#[test]
fn of_several_windows_all_are_charged_or_none() {
    let mut key = limited("key_1", 2, 3600);
    key["rate_limit_per_hour"] = 50.into();
    let service = start(&serving(&[key]));
    let answers: Vec<u16> = (0..5).map(|_| status(&service, "key_1")).collect();
    assert_eq!(answers, [200, 200, 429, 429, 429]);
    let refused = verify(&service, "key_1");
    let standing = refused.header("RateLimit").expect("a limited key is told");
    assert!(standing.starts_with(r#""hour";r=48;t="#), "{standing}");
    assert_eq!(number(&refused, "X-RateLimit-Limit"), 2);
}

#[test]
fn no_second_ever_holds_more_than_its_limit_wherever_it_begins() {
    const LIMIT: usize = 5;
    let service = start(&serving(&[limited("key_1", LIMIT, 1)]));
    let mut passed = Vec::new();
    while passed.len() <= 3 * LIMIT {
        let sent = Instant::now();
        if status(&service, "key_1") == 200 {
            passed.push((sent, Instant::now()));
        }
    }
    // The limiter counts in whole milliseconds, so the two ends may lie a fraction of one nearer.
    let second = Duration::from_secs(1) - Duration::from_millis(1);
    for window in passed.windows(LIMIT + 1) {
        let longest = window[LIMIT].1 - window[0].0;
        assert!(longest > second, "{} uses in {longest:?}", LIMIT + 1);
    }
}

#[test]
fn half_the_limit_steadily_is_never_refused() {
    let service = start(&serving(&[limited("key_1", 20, 1)]));
    for _ in 0..25 {
        assert_eq!(status(&service, "key_1"), 200);
        // The pace of the caller, nothing that is waited for.
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn calls_at_once_pass_exactly_as_often_as_the_limit_allows() {
    let service = start(&serving(&[limited("key_1", 200, 3600)]));
    let expected = Statuses::from([(200, 200), (429, 400)]);
    assert_eq!(statuses(&service, "key_1", 600), expected);
}

#[test]
fn two_instances_with_one_redis_let_a_limit_pass_once() {
    const LIMIT: usize = 300;
    let redis = Redis::start();
    let settings = serving(&[limited("key_1", LIMIT, 3600)]).with("REDIS_URL", redis.url());
    let instances = [start(&settings), start(&settings)];
    let passed: usize = thread::scope(|scope| {
        let calls = instances
            .each_ref()
            .map(|instance| scope.spawn(|| statuses(instance, "key_1", LIMIT * 3 / 2)));
        let answers = calls.map(|call| call.join().expect("every call is answered"));
        answers.iter().filter_map(|answers| answers.get(&200)).sum()
    });
    assert!(
        (LIMIT..=LIMIT * 11 / 10).contains(&passed),
        "{passed} of {LIMIT} passed"
    );
    let remaining = instances.each_ref().map(|instance| {
        let answer = verify(instance, "key_1");
        (answer.status, number(&answer, "X-RateLimit-Remaining"))
    });
    assert_eq!(remaining, [(429, 0), (429, 0)]);
}

#[test]
fn what_one_instance_lets_pass_the_other_knows() {
    let redis = Redis::start();
    let settings = serving(&[limited("key_1", 10, 3600)]).with("REDIS_URL", redis.url());
    let instances = [start(&settings), start(&settings)];
    let left: Vec<u64> = (0..6)
        .map(|n| number(&verify(&instances[n % 2], "key_1"), "X-RateLimit-Remaining"))
        .collect();
    assert_eq!(left, [9, 8, 7, 6, 5, 4]);
}

#[test]
fn a_redis_that_is_killed_costs_no_answer_and_is_taken_up_again() {
    let metrics = HttpReceiver::start(Answer::Status(200));
    let mut redis = Redis::start();
    let settings = serving(&[limited("key_1", 400, 3600)])
        .with("REDIS_URL", redis.url())
        .with("PROTOCOL", "http")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", metrics.address.port().to_string());
    let service = start(&settings);
    let degraded = |is: f64| {
        metrics.totals_until(|totals| totals.gauges.get("heare-auth.ratelimit.degraded") == Some(&is));
    };
    assert_eq!(statuses(&service, "key_1", 100), Statuses::from([(200, 100)]));
    degraded(0.0);
    let answers = thread::scope(|scope| {
        let calls = scope.spawn(|| statuses(&service, "key_1", 200));
        redis.kill();
        calls.join().expect("every call is answered")
    });
    assert_eq!(answers, Statuses::from([(200, 200)]));
    let degraded_line = service.wait_for_event("ratelimit_degraded", |_| true);
    assert_eq!(
        (&degraded_line["level"], &degraded_line["error"]),
        (&json!(40), &json!("redis_unreachable"))
    );
    degraded(1.0);
    // What this instance let pass while Redis counted is not forgotten with Redis.
    assert_eq!(
        statuses(&service, "key_1", 200),
        Statuses::from([(200, 100), (429, 100)])
    );
    redis.start_again();
    service.wait_for_event("ratelimit_recovered", |_| true);
    degraded(0.0);
    assert_eq!(status(&service, "key_1"), 429);
}

#[test]
fn a_redis_that_hangs_is_waited_for_50_ms_at_most() {
    assert!(BUDGET <= Duration::from_millis(50));
}

#[test]
fn a_redis_that_hangs_is_waited_for_by_few_and_briefly() {
    let redis = Redis::start();
    let settings = serving(&[limited("key_1", 1000, 3600)]).with("REDIS_URL", redis.url());
    let service = start(&settings);
    assert_eq!(status(&service, "key_1"), 200);
    redis.pause();
    let mut connection = service.connect();
    let body = json!({ "api_key": secret_of("key_1") }).to_string();
    let waited = (0..100)
        .filter(|_| {
            let asked = Instant::now();
            let answer = connection.post("/verify", body.as_bytes()).expect("it is answered");
            assert_eq!(answer.status, 200);
            asked.elapsed() >= Duration::from_millis(40)
        })
        .count();
    assert!(waited < 50, "{waited} of 100 waited");
    service.wait_for_event("ratelimit_degraded", |line| line["error"] == "redis_slow");
    redis.resume();
    service.wait_for_event("ratelimit_recovered", |_| true);
    assert_eq!(status(&service, "key_1"), 200);
}

#[test]
fn the_keys_of_a_batch_wait_for_redis_together() {
    let redis = Redis::start();
    let ids = ["key_1", "key_2", "key_3", "key_4"];
    let settings = serving(&ids.map(|id| limited(id, 1000, 3600))).with("REDIS_URL", redis.url());
    let service = start(&settings);
    assert_eq!(status(&service, "key_1"), 200);
    redis.pause();
    let batch = ids.map(|id| json!({ "api_key": secret_of(id) }));
    let answer = service.post("/verify/batch", json!(batch).to_string().as_bytes());
    assert_eq!(answer.status, 200);
    redis.resume();
    // Who had waited for the first alone would have asked for no other.
    eventually("each of them was asked for", || {
        let asked = redis.dump();
        ids.iter().all(|id| asked.contains(&format!(":{id}:")))
    });
}

#[test]
fn what_redis_refuses_is_not_counted_here() {
    let mut redis = Redis::start();
    let settings = serving(&[limited("key_1", 5, 3600)]).with("REDIS_URL", redis.url());
    let instances = [start(&settings), start(&settings)];
    let ask = |instance: usize| status(&instances[instance], "key_1");
    assert_eq!(
        [0, 0, 0, 0, 0, 1, 1, 1].map(ask),
        [200, 200, 200, 200, 200, 429, 429, 429]
    );
    redis.kill();
    // Each counts alone now, and the second has let nothing pass yet.
    assert_eq!([0, 1, 1, 1, 1, 1, 1].map(ask), [429, 200, 200, 200, 200, 200, 429]);
}

#[test]
fn a_redis_that_takes_no_writes_is_left_alone_until_it_does() {
    let redis = Redis::start();
    let service = start(&serving(&[limited("key_1", 100, 3600)]).with("REDIS_URL", redis.url()));
    assert_eq!(status(&service, "key_1"), 200);
    redis.refuse_writes();
    assert_eq!(status(&service, "key_1"), 200);
    service.wait_for_event("ratelimit_degraded", |line| line["error"] == "redis_refuses");
    redis.allow_writes();
    service.wait_for_event("ratelimit_recovered", |_| true);
    assert_eq!(number(&verify(&service, "key_1"), "X-RateLimit-Remaining"), 98);
}

#[test]
fn a_redis_is_spoken_to_by_tls_when_its_url_says_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (redis, authority) = Redis::start_with_tls(directory.path());
    let settings = serving(&[limited("key_1", 10_000, 3600)]).with("REDIS_URL", redis.tls_url());
    let stranger = start(&settings);
    stranger.wait_for_event("ratelimit_degraded", |line| line["error"] == "redis_unreachable");
    let trusting = settings.with("SSL_CERT_FILE", authority.display().to_string());
    let instances = [start(&trusting), start(&trusting)];
    let mut asked = 0;
    eventually("the second knows of what the first let pass", || {
        asked += 1;
        verify(&instances[0], "key_1");
        number(&verify(&instances[1], "key_1"), "X-RateLimit-Remaining") < 10_000 - asked
    });
    assert!(
        instances
            .iter()
            .all(|instance| instance.events("ratelimit_degraded").is_empty())
    );
}

#[test]
fn without_its_redis_the_service_starts_and_counts_alone() {
    let port = RefusingPort::bind();
    let url = format!("redis://{}/0", port.address());
    let service = start(&serving(&[limited("key_1", 2, 3600)]).with("REDIS_URL", url));
    service.wait_for_event("ratelimit_degraded", |line| line["error"] == "redis_unreachable");
    let answers: Vec<u16> = (0..3).map(|_| status(&service, "key_1")).collect();
    assert_eq!(answers, [200, 200, 429]);
}

#[test]
fn a_redis_that_refuses_its_password_is_named() {
    let redis = Redis::start();
    let url = format!("redis://:wrong_password@{}/0", redis.address);
    let service = start(&serving(&[limited("key_1", 2, 3600)]).with("REDIS_URL", url));
    service.wait_for_event("ratelimit_degraded", |line| line["error"] == "redis_refuses");
    assert_eq!(status(&service, "key_1"), 200);
    assert!(service.log_lines().iter().all(|line| !line.contains("wrong_password")));
}

#[test]
fn failed_verifies_of_one_peer_are_limited_and_good_keys_are_not() {
    let service = start(&serving(&[record("key_1")]).with("GUESS_LIMIT", "5"));
    let guess = || service.post("/verify", br#"{"api_key":"sec_a_guess"}"#);
    let answers: Vec<u16> = (0..7).map(|_| guess().status).collect();
    assert_eq!(answers, [403, 403, 403, 403, 403, 429, 429]);
    let refused = guess();
    assert_eq!(refused.json()["code"], "rate_limited");
    assert!((1..=120).contains(&number(&refused, "Retry-After")));
    assert_eq!(status(&service, "key_1"), 200);
}

#[test]
fn without_a_guess_limit_every_guess_is_answered_403() {
    let service = start(&serving(&[record("key_1")]));
    let answers = flood(&service, 4, 500, |_| verify_request("sec_a_guess", &[]));
    assert_eq!(answers, Statuses::from([(403, 500)]));
}

#[test]
fn what_is_limited_is_counted() {
    let metrics = HttpReceiver::start(Answer::Status(200));
    let settings = serving(&[limited("key_1", 3, 3600)])
        .with("GUESS_LIMIT", "1")
        .with("PROTOCOL", "http")
        .with("DEST_HOST", "127.0.0.1")
        .with("DEST_PORT", metrics.address.port().to_string());
    let service = start(&settings);
    for _ in 0..5 {
        status(&service, "key_1");
        service.verify("sec_a_guess");
    }
    let totals = metrics.totals_until(|totals| totals.counter("heare-auth.verify.requests") == 10);
    let counted = [
        "ratelimit.allowed",
        "ratelimit.limited",
        "ratelimit.guesses",
        "verify.failed",
    ];
    let counted = counted.map(|name| totals.counter(&format!("heare-auth.{name}")));
    assert_eq!(counted, [3, 2, 4, 7]);
}

#[test]
fn doctor_tells_whether_redis_answers() {
    let redis = Redis::start();
    let gone = RefusingPort::bind();
    for (url, mark) in [
        (redis.url(), "✓ redis:"),
        (format!("redis://{}/0", gone.address()), "⚠️  redis:"),
    ] {
        let settings = serving(&[record("key_1")]).with("REDIS_URL", url);
        let said = settings.run(&["doctor", "--offline"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.lines().any(|line| line.starts_with(mark)), "{said}");
    }
}

/// One and the same script of uses, run by what counts here and by what counts in Redis.
#[test]
fn this_process_and_redis_count_alike() {
    let redis = Redis::start();
    let telemetry = Telemetry {
        metrics: Arc::default(),
        log: LogQueue::start(std::io::sink(), 1 << 20).expect("a writer thread starts"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let local = Local::new(Arc::default());
        let shared = RedisLimiter::start(&Secret::new(redis.url()), PATIENCE, telemetry)
            .await
            .expect("the URL is one of Redis");
        let mut random = StdRng::seed_from_u64(7);
        for number in 0..12 {
            let key = format!("key_{number}");
            let limits = [
                limit("short", random.random_range(1..100), random.random_range(60..200)),
                limit("long", random.random_range(1..400), random.random_range(200..4000)),
            ];
            let mut now: u64 = 1_700_000_000_000;
            for _ in 0..200 {
                now += pause(&mut random);
                // A clock that is set back.
                now -= if random.random_range(0..50) == 0 { 30_000 } else { 0 };
                let cost = if random.random_range(0..5) == 0 { 3 } else { 1 };
                let (here, _) = local.charge_at(&key, &limits, cost, Some(now));
                let there = shared.charge_at(&key, &limits, cost, Some(now)).await;
                assert_eq!(Some(here), there, "{key} at {now}");
            }
        }
    });
}

fn limit(name: &str, max: u32, window_seconds: u32) -> Limit {
    Limit {
        name: name.to_owned().into(),
        max,
        burst: 1,
        window_seconds,
    }
}

fn pause(random: &mut StdRng) -> u64 {
    match random.random_range(0..10) {
        0..4 => 0,
        4..8 => random.random_range(1..2000),
        8 => random.random_range(2000..40_000),
        _ => random.random_range(40_000..800_000),
    }
}

#[test]
fn a_limit_that_is_changed_holds_at_once() {
    let settings = serving(&[limited("key_1", 2, 3600)]).with("POLL_INTERVAL", "1h");
    let service = start(&settings);
    assert_eq!([(); 3].map(|()| status(&service, "key_1")), [200, 200, 429]);
    settings.write_document(&json!({ "generation": 2, "keys": [limited("key_1", 5, 3600)] }).to_string());
    assert_eq!(service.refresh().0, 200);
    eventually("the new limit is in force", || status(&service, "key_1") == 200);
    assert_eq!(number(&verify(&service, "key_1"), "X-RateLimit-Remaining"), 1);
}
