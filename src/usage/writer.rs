//! The counting thread: gathers what was seen, writes it each second, keeps what cannot be written up to a bound, and
//! comes back by itself. Nothing here is waited for by a verify.

use std::{
    collections::VecDeque,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};

use super::{
    aggregate::{MAX_ROWS, Pending},
    audit,
    batch::{self, Batch, MAX_BATCH},
    instances::{self, Due},
    orders::{Asked, Inbox, Order},
};
use crate::{
    clock::Clock,
    core::time::Timestamp,
    database::{Access, Connection, Database, DatabaseError, in_time},
    telemetry::Telemetry,
};

/// How often what was seen is written.
const EVERY: Duration = Duration::from_secs(1);

/// After a large batch the next one waits this many times as long as it took, so that writing never takes more than a
/// hundredth of a core: what is used again meanwhile is added to the same row. Never longer than that.
const REST_AFTER: u32 = 100;
const LONGEST_REST: Duration = Duration::from_secs(15);

/// How long the database may take to be opened, and to take a batch.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a database that failed is left alone, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A batch that the database takes up this often with an error of its own cannot be written at all.
const MOST_REFUSALS: u32 = 10;

const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// How long what is written is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub usage: Duration,
    pub audit: Duration,
}

pub struct Writer {
    inbox: Arc<Inbox>,
    gathered: Mutex<Gathered>,
    database: Database,
    retention: Retention,
    clock: Arc<Clock>,
    telemetry: Telemetry,
    name: String,
}

struct Gathered {
    pending: Pending,
    spare: Vec<u8>,
}

/// What only the writing side knows.
struct Desk {
    connection: Option<Connection>,
    /// Batches that are not known to be written, in their order. One stays what it is until it is.
    waiting: VecDeque<Batch>,
    next_number: i64,
    refusals: u32,
    is_down: bool,
    pause: Duration,
    rests_until: Option<Instant>,
    /// The last batch was written with some effort: only what is urgent is written before then.
    paces_until: Instant,
    prunes_at: Instant,
    announces: Due,
}

impl Writer {
    pub fn new(
        inbox: Arc<Inbox>,
        database: Database,
        retention: Retention,
        clock: Arc<Clock>,
        telemetry: Telemetry,
        name: String,
    ) -> Self {
        Self {
            inbox,
            gathered: Mutex::new(Gathered {
                pending: Pending::default(),
                spare: Vec::new(),
            }),
            database,
            retention,
            clock,
            telemetry,
            name,
        }
    }

    /// Ends after `Order::Stop`, or when nobody is left who could order anything.
    pub async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let gathering = async {
            loop {
                self.inbox.queue.called().await;
                self.gather();
            }
        };
        tokio::select! {
            () = self.keep_writing(&mut orders) => {}
            () = gathering => {}
        }
    }

    async fn keep_writing(&self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        let mut desk = Desk::new();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = Asked::default();
        loop {
            if !asked.is_pressing() {
                tokio::select! {
                    biased;
                    order = orders.recv() => asked.take(order),
                    _ = ticks.tick() => {}
                }
            }
            while let Ok(order) = orders.try_recv() {
                asked.take(Some(order));
            }
            let is_ordered = asked.is_pressing();
            let is_last = asked.is_ending();
            // One write is enough for all who asked before it.
            let flushes = mem::take(&mut asked.flushes);
            let is_done = {
                let mut work = pin!(async {
                    self.write(&mut desk, is_ordered).await;
                    if !is_ordered {
                        self.look_after(&mut desk).await;
                    }
                });
                tokio::select! {
                    biased;
                    () = &mut work => true,
                    until = asked.ending(orders) => timeout_at(until, &mut work).await.is_ok(),
                }
            };
            for done in flushes {
                // Who asked may have gone.
                let _ = done.send(());
            }
            if is_done && !is_last {
                continue;
            }
            if !is_done {
                // It was left in the middle of something.
                desk.connection = None;
            }
            if let Some((done, _)) = asked.stop.take() {
                self.part(&mut desk).await;
                let _ = done.send(());
            }
            return;
        }
    }

    /// What is left now is lost.
    async fn part(&self, desk: &mut Desk) {
        self.gather();
        let left = Batch {
            number: desk.next_number,
            rows: self.gathered().pending.take(),
            audits: mem::take(&mut *self.inbox.audits()),
        };
        for batch in desk.waiting.drain(..).chain([left]) {
            self.count_lost(&batch);
        }
        if let Some(mut connection) = desk.connection.take() {
            let _ = timeout(PATIENCE, instances::leave(&mut connection, &self.name)).await;
            // Everything that was to be kept is committed; this is only for tidiness.
            let _ = timeout(PATIENCE, connection.close()).await;
        }
    }

    fn gather(&self) {
        let mut gathered = self.gathered();
        let Gathered { pending, spare } = &mut *gathered;
        let mut dropped = 0;
        self.inbox.queue.drain(spare, |seen| {
            dropped += u64::from(!pending.add(&seen));
        });
        self.telemetry.metrics.usage_dropped(dropped);
    }

    /// Writes what there is, unless the database is to be left alone for a moment.
    async fn write(&self, desk: &mut Desk, even_if_resting: bool) {
        self.gather();
        if !even_if_resting && (desk.is_resting() || self.can_wait(desk)) {
            return self.count_waiting(desk);
        }
        let began = Instant::now();
        self.fill(desk);
        while let Some(batch) = desk.waiting.front() {
            let outcome = match ready(&mut desk.connection, &self.database).await {
                Ok(connection) => self.write_one(connection, batch).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {
                    self.telemetry.metrics.usage_written(batch.requests());
                    desk.waiting.pop_front();
                    desk.refusals = 0;
                    self.is_up(desk);
                    self.fill(desk);
                }
                Err(error) => {
                    self.is_down(desk, error);
                    break;
                }
            }
        }
        if desk.waiting.is_empty() {
            desk.paces_until = Instant::now() + LONGEST_REST.min(began.elapsed() * REST_AFTER);
        }
        self.count_waiting(desk);
    }

    /// Changes of keys do not wait, and neither do counts that would soon find no more room.
    fn can_wait(&self, desk: &Desk) -> bool {
        desk.paces_until > Instant::now()
            && self.inbox.audits().is_empty()
            && self.gathered().pending.rows() < MAX_ROWS / 2
    }

    async fn write_one(&self, connection: &mut Connection, batch: &Batch) -> Result<(), DatabaseError> {
        let writing = batch::write(connection, &self.name, batch, self.clock.now());
        in_time(PATIENCE, writing).await
    }

    /// Puts what was gathered into batches, unless there are some that could not be written yet.
    fn fill(&self, desk: &mut Desk) {
        if !desk.waiting.is_empty() {
            return;
        }
        let mut rows = self.gathered().pending.take();
        let mut audits = mem::take(&mut *self.inbox.audits());
        while !rows.is_empty() || !audits.is_empty() {
            let later = rows.split_off(rows.len().min(MAX_BATCH));
            let later_audits = audits.split_off(audits.len().min(MAX_BATCH));
            desk.next_number += 1;
            desk.waiting.push_back(Batch {
                number: desk.next_number,
                rows: mem::replace(&mut rows, later),
                audits: mem::replace(&mut audits, later_audits),
            });
        }
    }

    fn count_waiting(&self, desk: &Desk) {
        let waiting: usize = desk.waiting.iter().map(|batch| batch.rows.len()).sum();
        let mut gathered = self.gathered();
        gathered.pending.leave_room_for(waiting);
        self.telemetry.metrics.usage_pending(waiting + gathered.pending.rows());
    }

    fn is_up(&self, desk: &mut Desk) {
        desk.rests_until = None;
        desk.pause = FIRST_PAUSE;
        if mem::take(&mut desk.is_down) {
            tracing::info!(
                event = "usage_recovered",
                database = self.database.location(),
                "use and audit are written again"
            );
        }
    }

    fn is_down(&self, desk: &mut Desk, error: DatabaseError) {
        desk.connection = None;
        desk.rests_until = Some(Instant::now() + desk.pause);
        desk.pause = LONGEST_PAUSE.min(desk.pause * 2);
        self.telemetry.metrics.usage_failed();
        if !mem::replace(&mut desk.is_down, true) {
            tracing::warn!(
                event = "usage_failed",
                error = error.word(),
                database = self.database.location(),
                "use and audit cannot be written; they are kept for a while"
            );
        }
        desk.refusals = if error == DatabaseError::Failed {
            desk.refusals + 1
        } else {
            0
        };
        if desk.refusals >= MOST_REFUSALS {
            desk.refusals = 0;
            if let Some(lost) = desk.waiting.pop_front() {
                self.count_lost(&lost);
            }
        }
    }

    fn count_lost(&self, batch: &Batch) {
        self.telemetry.metrics.usage_dropped(batch.requests());
        self.telemetry.metrics.audit_dropped(batch.audits.len() as u64);
    }

    /// What is done beside writing while the database is well.
    async fn look_after(&self, desk: &mut Desk) {
        if desk.is_resting() {
            return;
        }
        let outcome = match ready(&mut desk.connection, &self.database).await {
            Ok(connection) => match self.announce(connection, &mut desk.announces).await {
                Ok(()) => self.claim_and_prune(connection, &mut desk.prunes_at).await,
                failed => failed,
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => self.is_up(desk),
            Err(error) => self.is_down(desk, error),
        }
    }

    async fn announce(&self, connection: &mut Connection, due: &mut Due) -> Result<(), DatabaseError> {
        match self.inbox.announced() {
            Some(announced) if due.is_over() => {
                let announcing = instances::announce(connection, &self.name, announced, self.clock.now());
                in_time(PATIENCE, announcing).await
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn claim_and_prune(&self, connection: &mut Connection, prunes_at: &mut Instant) -> Result<(), DatabaseError> {
        in_time(PATIENCE, audit::claim(connection)).await?;
        if *prunes_at > Instant::now() {
            return Ok(());
        }
        let usage = self.now_less(self.retention.usage);
        let audits = self.now_less(self.retention.audit);
        let is_more = in_time(PATIENCE, batch::prune(connection, usage)).await?
            | in_time(PATIENCE, audit::prune(connection, audits)).await?;
        if !is_more {
            *prunes_at = Instant::now() + PRUNE_EVERY;
        }
        Ok(())
    }

    fn now_less(&self, retention: Duration) -> Timestamp {
        let millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.clock.now().as_millis().saturating_sub(millis))
    }

    /// Locked by this thread only, never across an await.
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn new() -> Self {
        Self {
            connection: None,
            waiting: VecDeque::new(),
            next_number: 0,
            refusals: 0,
            is_down: false,
            pause: FIRST_PAUSE,
            rests_until: None,
            paces_until: Instant::now(),
            prunes_at: Instant::now(),
            announces: Due::now(),
        }
    }

    fn is_resting(&self) -> bool {
        self.rests_until.is_some_and(|until| until > Instant::now())
    }
}

/// The connection that is there, or a new one where there is none or its file is no longer the one at its path.
async fn ready<'a>(
    connection: &'a mut Option<Connection>,
    database: &Database,
) -> Result<&'a mut Connection, DatabaseError> {
    let usable = connection.take().filter(|connection| !connection.is_astray());
    let usable = match usable {
        Some(usable) => usable,
        None => in_time(PATIENCE, database.open(Access::Create)).await?,
    };
    Ok(connection.insert(usable))
}
