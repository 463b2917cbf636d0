//! Measures what an index of N keys costs to build and to hold, and prints one JSON object per kind of metadata:
//! `cargo run --profile quick --example index_size [N]`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use heare_auth::core::{index::Index, secret::Digest};

fn main() {
    let count = std::env::args()
        .nth(1)
        .map_or(1_000_000, |n| n.parse().expect("the argument is a number of keys"));
    for own_metadata in [true, false] {
        measure(count, own_metadata);
    }
}

fn measure(count: usize, own_metadata: bool) {
    let document = document(count, own_metadata);
    let document_bytes = document.len();
    reset_peak();
    let before = status_kib("VmRSS:");
    let cpu_before = cpu_time();
    let started = Instant::now();
    let index = Index::build(document.as_bytes()).expect("the document is whole");
    let build = started.elapsed();
    let build_cpu = cpu_time().saturating_sub(cpu_before);
    let after = status_kib("VmRSS:");
    // What was there before the build is the document and this program.
    let peak_beyond_document = status_kib("VmHWM:").saturating_sub(before) * 1024;
    drop(document);
    assert_eq!((index.keys_count(), index.bad_records_count()), (count, 0));
    let line = serde_json::json!({
        "keys": count,
        "metadata": if own_metadata { "own" } else { "repeating" },
        "document_bytes": document_bytes,
        "build_ms": build.as_millis(),
        "build_cpu_ms": build_cpu.as_millis(),
        "resident_bytes_per_key": index.resident_bytes() / count.max(1),
        "rss_growth_bytes_per_key": after.saturating_sub(before) * 1024 / count.max(1),
        "peak_beyond_document_bytes": peak_beyond_document,
        "peak_percent_of_resident": peak_beyond_document * 100 / index.resident_bytes(),
    });
    println!("{line}");
    black_box(index);
}

/// Records as this service writes them, about 300 bytes each, with 60 bytes of metadata.
fn document(count: usize, own_metadata: bool) -> String {
    use std::fmt::Write as _;
    let mut json = String::with_capacity(count * 330 + 64);
    json.push_str(r#"{"generation":7,"write_id":"measured","keys":["#);
    for n in 0..count {
        let digest = Digest::of(&format!("sec_{n}"));
        let customer = if own_metadata { n } else { n % 100 };
        let separator = if n == 0 { "\n" } else { ",\n" };
        write!(
            json,
            r#"{separator}{{"id":"key_0{n:018}","secret_hash":"{digest}","name":"Service {n:06}","secret_type":"shared_secret","created_at":"2024-01-20T10:30:00Z","expires_at":"2034-01-20T10:30:00Z","metadata":{{"customer":"{customer:08}","plan":"gold","region":"eu-central"}}}}"#
        )
        .expect("a string takes all that is written to it");
    }
    json.push_str("\n]}\n");
    json
}

/// Time this process has computed, which other processes on the machine do not stretch.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("this is Linux");
    let nanos = stat
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("the first number is time on a core");
    Duration::from_nanos(nanos)
}

/// Makes the peak count from now on.
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("this is Linux");
}

fn status_kib(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("Linux reports it");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("it is a number of KiB")
}
