//! Proofs that need the library alone, and neither a service nor a server: schedules that a seed decides, what fuzzers have
//! found worth keeping, and the test vectors of others. Apart from the integration tests, so that thousands of schedules can
//! be run without building those.

#![recursion_limit = "256"]
#![expect(
    clippy::large_futures,
    reason = "schedules run one at a time, in memory that nobody counts"
)]

mod corpora;
mod simulation;
mod vectors;
