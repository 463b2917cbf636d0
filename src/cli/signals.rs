//! Signals that would end a command, while it has in hand what nobody else has.

use std::{io, process::ExitCode};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{failure::Failure, output::note};

/// What a shell shows for a process that a signal has ended is this and the signal's number.
const BY_SIGNAL: i32 = 128;

/// From the making of this on no interrupt, no request to end and no hang-up ends the command: it is told here.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    came: Option<SignalKind>,
}

impl Signals {
    /// Before anything is done that must not be left half done.
    pub fn hold() -> Result<Self, Failure> {
        Self::new().map_err(|_| Failure::failed("the system lets this program handle no signals"))
    }

    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            came: None,
        })
    }

    /// Carries the work out to its end, and says what is waited for when somebody wants the end before.
    pub async fn outlast<T>(&mut self, work: impl Future<Output = T>, waits_for: &str) -> T {
        let mut work = Box::pin(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = self.arrival() => note(waits_for),
        }
        work.await
    }

    /// Waits until one has come.
    pub async fn arrival(&mut self) {
        if self.came.is_none() {
            self.came = Some(tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
                _ = self.hang_up.recv() => SignalKind::hangup(),
            });
        }
    }

    /// How the command ends that has done what it could not leave undone.
    pub fn exit_code(&self) -> ExitCode {
        let code = self.came.map(|kind| u8::try_from(BY_SIGNAL + kind.as_raw_value()));
        code.map_or(ExitCode::SUCCESS, |code| {
            code.expect("the numbers of these are small").into()
        })
    }
}
