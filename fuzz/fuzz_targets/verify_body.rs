//! See `oracles/verify_body.rs`.
#![no_main]

#[path = "../oracles/verify_body.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
