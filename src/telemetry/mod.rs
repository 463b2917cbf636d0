//! What happened: one bunyan line and one metric per event, without ever making a request wait.

pub mod bridge;
pub mod events;
pub mod log;
pub mod metrics;
pub mod process;
mod stamp;

use std::sync::Arc;

/// The handle that rooms with something to report are given. Cloning is cheap.
#[derive(Clone)]
pub struct Telemetry {
    pub metrics: Arc<metrics::Metrics>,
    pub log: log::LogQueue,
}
