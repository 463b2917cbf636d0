//! What the rest of the process gives the counting thread, and what it orders.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{audit::AuditRow, instances::Announced, queue::Queue};

/// The most changes of keys that wait for the database.
const MAX_AUDITS: usize = 10_000;

/// How long the last writes may take. Shorter than a stop waits, so that what is lost is counted before the last metrics are sent.
const LAST_WRITES: Duration = Duration::from_millis(1500);

/// What the rest of the process puts in, for the thread to take out.
pub struct Inbox {
    pub queue: Queue,
    audits: Mutex<Vec<AuditRow>>,
    announced: OnceLock<Announced>,
}

impl Inbox {
    pub const fn new(queue: Queue) -> Self {
        Self {
            queue,
            audits: Mutex::new(Vec::new()),
            announced: OnceLock::new(),
        }
    }

    /// False when there is no room.
    pub fn audit(&self, row: AuditRow) -> bool {
        let mut audits = self.audits();
        let has_room = audits.len() < MAX_AUDITS;
        if has_room {
            audits.push(row);
        }
        has_room
    }

    /// Once; what is said later is not heard.
    pub fn announce(&self, announced: Announced) {
        drop(self.announced.set(announced));
    }

    pub fn announced(&self) -> Option<&Announced> {
        self.announced.get()
    }

    pub fn audits(&self) -> MutexGuard<'_, Vec<AuditRow>> {
        self.audits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread is asked for, each answered when it is done or has failed.
pub enum Order {
    Flush(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// Orders that are not carried out yet.
#[derive(Default)]
pub struct Asked {
    pub flushes: Vec<oneshot::Sender<()>>,
    /// Who waits for the end, and until when there may be writing.
    pub stop: Option<(oneshot::Sender<()>, Instant)>,
    /// Nobody is left who could order anything.
    is_over: bool,
}

impl Asked {
    pub fn take(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Flush(done)) => self.flushes.push(done),
            Some(Order::Stop(done)) => self.stop = Some((done, Instant::now() + LAST_WRITES)),
            None => self.is_over = true,
        }
    }

    pub const fn is_ending(&self) -> bool {
        self.stop.is_some() || self.is_over
    }

    pub fn is_pressing(&self) -> bool {
        self.is_ending() || !self.flushes.is_empty()
    }

    /// Waits until it is to end, and tells until when there may be writing. What else is ordered meanwhile stays for later.
    pub async fn ending(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Instant {
        while !self.is_ending() {
            let order = orders.recv().await;
            self.take(order);
        }
        self.stop
            .as_ref()
            .map_or_else(|| Instant::now() + LAST_WRITES, |(_, until)| *until)
    }
}
