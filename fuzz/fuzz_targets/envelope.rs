//! See `oracles/envelope.rs`.
#![no_main]

#[path = "../oracles/envelope.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
