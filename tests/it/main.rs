//! The integration tests: the real binary, a real S3 server, the real stats bridge, real sockets.

mod support;

mod bridge;
mod commit;
mod docs;
mod hardening;
mod http;
mod store;
mod telemetry;
mod tidy;
