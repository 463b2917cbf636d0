//! See `oracles/import.rs`.
#![no_main]

#[path = "../oracles/import.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
