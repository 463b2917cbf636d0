//! See `oracles/certificate.rs`.
#![no_main]

#[path = "../oracles/certificate.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
