//! How work that takes long lets requests go first on the core that it shares with them, and where it is done.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use tokio::task::{JoinHandle, spawn_blocking};

/// Why work that was begun aside has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// It panicked, or the system gave no thread for it; the log has a line about either.
    Failed,
    /// The service is stopping.
    Stopping,
}

/// Does work that takes long on a thread where it holds up nobody.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotDone> {
    match begin_aside(work).ok_or(NotDone::Failed)?.await {
        Ok(outcome) => Ok(outcome),
        Err(error) if error.is_panic() => Err(NotDone::Failed),
        Err(_) => Err(NotDone::Stopping),
    }
}

/// The same without waiting for it. Where the runtime has no thread for such work and the system gives none, it panics; the
/// work then waits there for the next thread. Whoever keeps the keys, the certificates or the snapshot must outlive that.
pub fn begin_aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<JoinHandle<T>> {
    catch_unwind(AssertUnwindSafe(|| spawn_blocking(work))).ok()
}

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
