//! See `oracles/keys_and_ids.rs`.
#![no_main]

#[path = "../oracles/keys_and_ids.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
