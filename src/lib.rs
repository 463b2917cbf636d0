//! heare-auth: is this API key good, and whose is it?
//!
#![doc = include_str!("../ARCHITECTURE.md")]
#![forbid(unsafe_code)]

pub mod core;

pub mod accounts;
pub mod clock;
pub mod config;
pub mod courtesy;
pub mod database;
pub mod durable;
pub mod envelope;
pub mod expiry;
pub mod limiter;
pub mod loader;
pub mod machine;
pub mod redis_link;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod usage;
pub mod version;

pub mod catalogue;
pub mod http;
pub mod seal;
pub mod server;

pub mod cli;
