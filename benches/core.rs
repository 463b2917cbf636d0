//! What a verify costs inside the core, by number of keys, and what it costs to read a document and a request.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use heare_auth::core::{
    index::Index,
    network,
    request::VerifyRequest,
    scope::Scope,
    secret::Digest,
    time::Timestamp,
    verify::{Asked, verify},
    window::{Limit, Window, decide},
};

const NOW: Timestamp = Timestamp::from_millis(1_705_746_600_000);

fn secret(n: usize) -> String {
    format!("sec_{n:060}")
}

/// A document with a digest, an expiry and its own metadata for each key.
fn document(count: usize) -> String {
    let mut json = String::from(r#"{"keys":["#);
    for n in 0..count {
        let separator = if n == 0 { "" } else { "," };
        let digest = Digest::of(&secret(n));
        write!(
            json,
            r#"{separator}{{"id":"key_0{n:018}","secret_hash":"{digest}","name":"Service {n:06}","secret_type":"shared_secret","created_at":"2024-01-20T10:30:00Z","expires_at":"2034-01-20T10:30:00Z","metadata":{{"customer":"{n:08}","plan":"gold","region":"eu-central"}}}}"#
        )
        .expect("a string takes all that is written to it");
    }
    json.push_str("]}");
    json
}

/// The same keys with every policy there is, the asked-for network and scope the last of several.
fn document_of_policies(count: usize) -> String {
    let networks: Vec<String> = (0..20).map(|n| format!("\"10.{n}.0.0/16\"")).collect();
    let policy = |n: usize| {
        let previous = Digest::of(&format!("sec_before_{n}"));
        format!(
            r#""user_id":"user_{n:08}","environment":"production","key_prefix":"hk_live_abc","rate_limit_per_hour":500,"burst":50,"limits":[{{"name":"day","limit":5000,"window_seconds":86400}}],"allowed_ips":[{}],"scopes":["users:read","invoices:*","orders:*"],"previous":[{{"secret_hash":"{previous}","not_after":"2034-01-20T10:30:00Z"}}],"secret_hash""#,
            networks.join(",")
        )
    };
    let plain = document(count);
    let mut parts = plain.split(r#""secret_hash""#);
    let mut json = parts.next().unwrap_or_default().to_owned();
    for (n, part) in parts.enumerate() {
        json.push_str(&policy(n));
        json.push_str(part);
    }
    json
}

/// What a key with every policy costs more than a plain one.
fn verify_with_every_policy(criterion: &mut Criterion) {
    const COUNT: usize = 100_000;
    let index = Index::build(document_of_policies(COUNT).as_bytes()).expect("the document is whole");
    assert_eq!(index.keys_count(), COUNT, "every record is a key");
    let asked = Asked {
        client_ip: network::address("10.19.7.7"),
        required_scopes: vec![Scope::parse("orders:write").expect("a scope")],
    };
    let presented: Vec<_> = (0..4096).map(|n| secret(n * 7_919 % COUNT)).collect();
    let mut answer = Vec::with_capacity(1024);
    let mut turn = 0;
    criterion.bench_function("verify/every_policy/100000", |bencher| {
        bencher.iter(|| {
            turn += 1;
            answer.clear();
            let presented = black_box(&presented[turn % presented.len()]);
            let entry = verify(&index, presented, &asked, NOW).expect("the key is good");
            entry.write_answer(&mut answer);
            black_box(answer.len())
        });
    });
}

/// The keys are asked for in an order that no cache foresees.
fn verify_and_answer(criterion: &mut Criterion) {
    let plain = Asked::default();
    let mut group = criterion.benchmark_group("verify");
    for count in [1_000, 100_000, 1_000_000] {
        let index = Index::build(document(count).as_bytes()).expect("the document is whole");
        let presented: Vec<_> = (0..4096).map(|n| secret(n * 7_919 % count)).collect();
        let mut answer = Vec::with_capacity(1024);
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("good", count), |bencher| {
            bencher.iter(|| {
                turn += 1;
                answer.clear();
                let entry = verify(&index, black_box(&presented[turn % presented.len()]), &plain, NOW)
                    .expect("the key is good");
                entry.write_answer(&mut answer);
                black_box(answer.len())
            });
        });
        group.bench_function(BenchmarkId::new("unknown", count), |bencher| {
            bencher.iter(|| verify(&index, black_box("sec_that_nobody_was_ever_given"), &plain, NOW).is_err());
        });
    }
    group.finish();
}

fn build(criterion: &mut Criterion) {
    let document = document(100_000);
    let mut group = criterion.benchmark_group("build");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function(BenchmarkId::from_parameter(100_000), |bencher| {
        bencher.iter(|| {
            Index::build(black_box(document.as_bytes()))
                .expect("the document is whole")
                .keys_count()
        });
    });
    group.finish();
}

fn request(criterion: &mut Criterion) {
    let plain = format!(r#"{{"api_key":"{}"}}"#, secret(1));
    let escaped = plain.replace('_', r"\u005f");
    let asking = plain.replace(
        '}',
        r#","client_ip":"10.19.7.7","required_scopes":["orders:write"],"cost":2,"endpoint":"POST /orders"}"#,
    );
    let mut group = criterion.benchmark_group("request");
    for (name, body) in [("plain", &plain), ("escaped", &escaped), ("asking", &asking)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| VerifyRequest::parse(black_box(body.as_bytes())).map(|request| request.api_key.len()));
        });
    }
    group.finish();
}

/// One use of a key in a window that slides on, and one that is refused because the window is full.
fn window(criterion: &mut Criterion) {
    let hour = Limit {
        name: "hour".into(),
        max: 1000,
        burst: 100,
        window_seconds: 3600,
    };
    let minute = Limit {
        name: "minute".into(),
        max: 60,
        window_seconds: 60,
        ..hour.clone()
    };
    let both = [hour, minute];
    let mut group = criterion.benchmark_group("window");
    for (name, limits, pause_ms) in [
        ("charged", &both[..1], 3300),
        ("charged to two", &both, 3300),
        ("refused", &both[..1], 1),
    ] {
        let mut windows = vec![Window::default(); limits.len()];
        let mut now_ms = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now_ms += pause_ms;
                decide(black_box(limits), &mut windows, now_ms, 1).allowed
            });
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    verify_and_answer,
    verify_with_every_policy,
    build,
    request,
    window
);
criterion_main!(benches);
