//! Proofs that need the library alone, and neither a service nor a server. Apart from the integration tests, so that thousands
//! of schedules can be run without building those.

mod simulation;
