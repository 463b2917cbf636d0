//! Thousands of schedules of writers and instances over a store that fails in every way, each decided by a seed. A seed that
//! breaks a promise is printed with all that happened, and replays: `SIMULATE=SEED cargo test --test proof`.

mod actor;
mod bucket;
mod history;
mod instance;
mod limits;
mod schedule;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Schedules that are run each time; `SIMULATE=FIRST..LAST` runs others.
const SCHEDULES: std::ops::Range<u64> = 0..40;

#[test]
fn no_schedule_loses_a_change_mixes_documents_or_goes_back() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let landed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = schedule::run(seed);
                    landed.fetch_add(outcome.generation, Relaxed);
                    assert!(
                        outcome.broken.is_empty(),
                        "SIMULATE={seed} breaks promises:\n{}\n\n{:#?}",
                        outcome.told.join("\n"),
                        outcome.broken
                    );
                }
            });
        }
    });
    println!(
        "{} writes landed in {} schedules",
        landed.into_inner(),
        seeds.end - seeds.start
    );
}

#[test]
fn a_seed_replays_to_the_last_detail() {
    for seed in 0..3 {
        let [first, second] = [(); 2].map(|()| schedule::run(seed).told);
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn no_schedule_gives_a_double_share_of_a_limit() {
    let passed: usize = (0..300).map(limits::run).sum();
    assert!(passed > 10_000, "{passed} uses passed");
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(chosen) = std::env::var("SIMULATE") else {
        return SCHEDULES;
    };
    let number = |text: &str| text.parse().expect("SIMULATE is a seed or FIRST..LAST");
    match chosen.split_once("..") {
        Some((first, last)) => number(first)..number(last),
        None => number(&chosen)..number(&chosen) + 1,
    }
}
