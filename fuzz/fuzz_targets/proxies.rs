//! See `oracles/proxies.rs`.
#![no_main]

#[path = "../oracles/proxies.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
