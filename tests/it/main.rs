//! The integration tests, in one binary: the real service as a process, a real S3 server, the real stats bridge, real sockets.

mod support;

mod account_stores;
mod authz;
mod boot;
mod bridge;
mod cli;
mod commit;
mod docs;
mod examples;
mod expiry;
mod faults;
mod flood;
mod hardening;
mod history;
mod http;
mod import;
mod imported_hashes;
mod lifecycle;
mod limits;
mod loader;
mod logs;
mod metrics;
mod newcomer;
mod nginx;
mod policy;
mod proxies;
mod python;
mod rest;
mod scan;
mod store;
mod telemetry;
mod tidy;
mod usage;
mod usage_faults;
mod writers;
