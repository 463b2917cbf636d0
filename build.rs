//! Tells the program which commit it was built from, and when that was, and has functions that are the same kept once. The
//! same commit makes the same bytes: the date is the commit's own, or the one in `SOURCE_DATE_EPOCH`, and never that of the
//! build.

use std::{env, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=COMMIT");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=build.rs");
    // Every commit would make everything compile anew, which is too dear where people try things out.
    let asks_git = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given("COMMIT").or_else(|| asks_git.then(head).flatten());
    let date = given("SOURCE_DATE_EPOCH").or_else(|| asks_git.then(|| git(&["log", "-1", "--format=%ct"])).flatten());
    if let Some(commit) = commit.filter(|commit| is_name(commit)) {
        println!("cargo::rustc-env=HEARE_AUTH_COMMIT={}", &commit[..commit.len().min(12)]);
    }
    if let Some(seconds) = date.and_then(|seconds| seconds.parse().ok()) {
        println!("cargo::rustc-env=HEARE_AUTH_DATE={}", day(seconds));
    }
    fold_functions();
}

/// Many functions that are generic are the same machine code for several types. The linker that Rust brings for this target
/// keeps one of each; others would not know the word for it.
fn fold_functions() {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if is("TARGET", "x86_64-unknown-linux-gnu") && is("PROFILE", "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}

fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The commit that is checked out. What git says may change whenever one of these files does.
fn head() -> Option<String> {
    let reference = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(reference.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// What git says of this very folder, not of one around it, which may be somebody else's.
fn git(arguments: &[&str]) -> Option<String> {
    let top = said(&["rev-parse", "--show-toplevel"])?;
    let is_own = fs::canonicalize(top).ok()? == fs::canonicalize(".").ok()?;
    said(arguments).filter(|_| is_own)
}

fn said(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// It stands in a line of output and in a metric's label, so it is a word.
fn is_name(commit: &str) -> bool {
    commit
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
}

/// The day in UTC, as `2026-01-31`: the civil calendar counted from 1 March of the year 0, in eras of 400 years.
fn day(seconds: u32) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = 400 * era + year_of_era + u32::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
