//! What a verify costs inside the core, by number of keys, and what it costs to read a document and a request.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use heare_auth::core::{index::Index, request::VerifyRequest, secret::Digest, time::Timestamp, verify::verify};

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

/// The keys are asked for in an order that no cache foresees.
fn verify_and_answer(criterion: &mut Criterion) {
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
                let entry =
                    verify(&index, black_box(&presented[turn % presented.len()]), NOW).expect("the key is good");
                entry.write_answer(&mut answer);
                black_box(answer.len())
            });
        });
        group.bench_function(BenchmarkId::new("unknown", count), |bencher| {
            bencher.iter(|| verify(&index, black_box("sec_that_nobody_was_ever_given"), NOW).is_err());
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
    let mut group = criterion.benchmark_group("request");
    for (name, body) in [("plain", &plain), ("escaped", &escaped)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| VerifyRequest::parse(black_box(body.as_bytes())).map(|request| request.api_key.len()));
        });
    }
    group.finish();
}

criterion_group!(benches, verify_and_answer, build, request);
criterion_main!(benches);
