//! How work that takes long lets requests go first on the core that it shares with them.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Makes this thread one for such work. Where it competes for a core with a thread that answers requests, it gets a tenth
/// of it; not less, so that a flood of requests does not keep a revoked key in force for long.
///
/// Linux keeps this for each thread, and for those it starts; elsewhere it would hold for the whole process.
pub fn stand_back() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(10);
}

/// The turns that a thread takes with those beside it. Without them, the system lets a request wait for the end of a time
/// slice, in which hundreds are answered.
pub struct Turns {
    began: Instant,
    worked_before: Duration,
}

/// The part of the time since its beginning that such work may do with, before it stops to offer the core.
const LEAST_PART: u32 = 16;

impl Turns {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            worked_before: worked(),
        }
    }

    /// To be called after every twentieth of a millisecond or so. Linux 6.18 takes the offer for giving up a whole slice, which
    /// on a busy core would stretch a load to minutes: then most offers are left out.
    pub fn pause(&self) {
        let worked = worked().saturating_sub(self.worked_before);
        if worked * LEAST_PART >= self.began.elapsed() {
            thread::yield_now();
        }
    }
}

/// The time for which this thread has had a core.
#[cfg(target_os = "linux")]
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Elsewhere to offer the core is to stay in line for it, so that nothing needs to be left out.
#[cfg(not(target_os = "linux"))]
fn worked() -> Duration {
    Duration::MAX
}
