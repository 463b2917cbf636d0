//! How long each part of a conversation may take.

use std::time::Duration;

/// Everything but the body's deadline is looked after by one sweep over a worker's connections every `sweep`, so
/// that no request costs a timer; a deadline shorter than a sweep lasts one sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub sweep: Duration,
    /// From a request's first byte, or from connecting, to the end of its head.
    pub head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For a peer that takes nothing of what is written to it.
    pub write: Duration,
    /// For the rest of a refused body, and for a connection that was asked to end.
    pub parting: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            sweep: Duration::from_secs(1),
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(30),
            parting: Duration::from_secs(2),
        }
    }
}

impl Deadlines {
    /// The deadline as a number of sweeps, so that it has never been exceeded by the time it is noticed.
    pub fn sweeps(&self, deadline: Duration) -> u32 {
        let sweeps = deadline.as_millis() / self.sweep.as_millis().max(1);
        u32::try_from(sweeps).unwrap_or(u32::MAX).max(1)
    }
}
