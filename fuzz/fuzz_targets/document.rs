//! See `oracles/document.rs`.
#![no_main]

#[path = "../oracles/document.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
