//! The rooms that are fuzzed, compiled from the very files of the service and without the rest of it, so that a fuzzer is
//! built in a minute.
#![forbid(unsafe_code)]

pub mod accounts;
#[path = "../src/clock.rs"]
pub mod clock;
#[path = "../src/core/mod.rs"]
pub mod core;
#[path = "../src/envelope.rs"]
pub mod envelope;
#[path = "../src/seal.rs"]
pub mod seal;
