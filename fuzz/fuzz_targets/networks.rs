//! See `oracles/networks.rs`.
#![no_main]

#[path = "../oracles/networks.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
