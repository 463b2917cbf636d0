//! How often, for what and how fast keys are used, and who changed them: counted in memory, written in batches to a
//! database, and never waited for.

pub mod aggregate;
pub mod audit;
mod batch;
mod instances;
mod orders;
pub mod query;
pub mod queue;
mod reader;
mod writer;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time::timeout,
};

use self::{
    audit::AuditIds,
    orders::{Inbox, Order},
    queue::Queue,
    reader::{Asking, Reader},
    writer::{Retention, Writer},
};
pub use self::{
    audit::{Action, AuditEntry, AuditFilter, AuditPage, AuditRow, NO_ID},
    instances::{Announced, Instance, Standing},
    query::{HourUsage, KeyUsage, MAX_HOURS, Summary},
    queue::Seen,
};
use crate::{
    clock::Clock,
    config::UsageConfig,
    core::time::Timestamp,
    courtesy,
    database::{Connection, Database, DatabaseError},
    telemetry::Telemetry,
};

/// How long a question waits for what this instance has counted and not written yet.
const FRESHNESS: Duration = Duration::from_millis(500);

/// The most entries of one part of the audit log.
pub const MAX_PAGE: u32 = 1000;

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    #[error("use is not recorded: no database is named, or DATABASE_URL is off")]
    Off,
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the service is stopping")]
    Stopping,
}

/// The handle that requests are given. Cloning is cheap.
#[derive(Clone)]
pub struct Usage(Arc<Shared>);

struct Shared {
    running: Option<Running>,
    telemetry: Telemetry,
    audit_ids: AuditIds,
    clock: Arc<Clock>,
}

struct Running {
    inbox: Arc<Inbox>,
    orders: mpsc::UnboundedSender<Order>,
    runtime: runtime::Handle,
    reader: Arc<Reader>,
    /// Of this instance, in the tables.
    name: String,
}

impl Usage {
    /// Starts the counting thread. A database that is down keeps nobody from starting. `random` names this instance.
    pub fn start(config: &UsageConfig, clock: Arc<Clock>, telemetry: Telemetry, random: u64) -> io::Result<Self> {
        let running = match Database::new(&config.database) {
            Some(database) => Some(start_thread(config, database, &clock, &telemetry, random)?),
            None => None,
        };
        Ok(Self(Arc::new(Shared {
            running,
            telemetry,
            audit_ids: AuditIds::new(random),
            clock,
        })))
    }

    /// Counts one verify. Never waits and, once it has been running for a moment, allocates nothing.
    pub fn count(&self, seen: &Seen<'_>) {
        if let Some(running) = &self.0.running
            && !running.inbox.queue.push(seen)
        {
            self.0.telemetry.metrics.usage_dropped(1);
        }
    }

    /// Writes down one change of a key: an event in the log now, and a row in the database soon.
    pub fn audit(&self, entry: &AuditEntry) {
        let row = AuditRow::new(entry, &self.0.audit_ids);
        row.log();
        if let Some(running) = &self.0.running
            && !running.inbox.audit(row)
        {
            self.0.telemetry.metrics.audit_dropped(1);
        }
    }

    /// The use of one key in the last `hours`, the present one included; 1 to `MAX_HOURS`.
    pub async fn of_key(&self, key_id: &str, hours: u32) -> Result<KeyUsage, UsageError> {
        let (key_id, now) = (key_id.to_owned(), self.0.clock.now());
        self.ask(move |connection| {
            let key_id = key_id.clone();
            Box::pin(async move { query::of_key(connection, &key_id, hours, now).await })
        })
        .await
    }

    /// The use of all keys together.
    pub async fn summary(&self, hours: u32) -> Result<Summary, UsageError> {
        let now = self.0.clock.now();
        self.ask(move |connection| Box::pin(query::summary(connection, hours, now)))
            .await
    }

    /// When these keys were last good for something; those never used are absent.
    pub async fn last_used(&self, key_ids: Vec<String>) -> Result<HashMap<String, Timestamp>, UsageError> {
        self.ask(move |connection| {
            let key_ids = key_ids.clone();
            Box::pin(async move { query::last_used(connection, &key_ids).await })
        })
        .await
    }

    /// The keys that were good for something since then; `None` when they are too many to be looked through.
    pub async fn used_since(&self, since: Timestamp) -> Result<Option<HashSet<String>>, UsageError> {
        self.ask(move |connection| Box::pin(query::used_since(connection, since)))
            .await
    }

    /// The use of all keys by the hour, or of these together; hours without a request are left out.
    pub async fn hours(&self, key_ids: Option<Vec<String>>, hours: u32) -> Result<Vec<HourUsage>, UsageError> {
        let now = self.0.clock.now();
        self.ask(move |connection| {
            let key_ids = key_ids.clone();
            Box::pin(async move { query::hours(connection, key_ids.as_deref(), hours, now).await })
        })
        .await
    }

    /// From now on the other instances can see this one.
    pub fn announce(&self, announced: Announced) {
        if let Some(running) = &self.0.running {
            running.inbox.announce(announced);
        }
    }

    /// All instances that write into the same database.
    pub async fn instances(&self) -> Result<Vec<Instance>, UsageError> {
        let now = self.0.clock.now();
        let own = self.0.running.as_ref().map(|running| running.name.clone());
        let own = own.unwrap_or_default();
        self.ask(move |connection| {
            let own = own.clone();
            Box::pin(async move { instances::list(connection, &own, now).await })
        })
        .await
    }

    /// At most `limit` entries of the audit log, newest first, older than the one that `before` names.
    pub async fn audit_page(
        &self,
        filter: AuditFilter,
        before: Option<String>,
        limit: u32,
    ) -> Result<AuditPage, UsageError> {
        let limit = limit.clamp(1, MAX_PAGE);
        self.ask(move |connection| {
            let (filter, before) = (filter.clone(), before.clone());
            Box::pin(async move { audit::page(connection, &filter, before.as_deref(), limit).await })
        })
        .await
    }

    /// Writes what is left, as far as the database takes it within this time, and counts no more.
    pub async fn stop(&self, within: Duration) {
        if let Some(running) = &self.0.running {
            running.order(Order::Stop, within).await;
        }
    }

    /// All of the database's work happens on the counting thread, whichever thread asks.
    async fn ask<T, Q>(&self, question: Q) -> Result<T, UsageError>
    where
        T: Send + 'static,
        Q: for<'c> Fn(&'c mut Connection) -> Asking<'c, T> + Send + Sync + 'static,
    {
        let running = self.0.running.as_ref().ok_or(UsageError::Off)?;
        running.order(Order::Flush, FRESHNESS).await;
        let reader = running.reader.clone();
        let asking = running.runtime.spawn(async move { reader.ask(question).await });
        match asking.await {
            Ok(answer) => answer.map_err(UsageError::from),
            Err(_) => Err(UsageError::Stopping),
        }
    }
}

impl Running {
    async fn order(&self, order: fn(oneshot::Sender<()>) -> Order, within: Duration) {
        let (done, is_done) = oneshot::channel();
        if self.orders.send(order(done)).is_ok() {
            // A database that takes its time is not waited for any longer than this.
            let _ = timeout(within, is_done).await;
        }
    }
}

fn start_thread(
    config: &UsageConfig,
    database: Database,
    clock: &Arc<Clock>,
    telemetry: &Telemetry,
    random: u64,
) -> io::Result<Running> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let inbox = Arc::new(Inbox::new(Queue::default()));
    let retention = Retention {
        usage: config.usage_retention,
        audit: config.audit_retention,
    };
    let name = format!("{random:016x}");
    let writer = Writer::new(
        inbox.clone(),
        database.clone(),
        retention,
        clock.clone(),
        telemetry.clone(),
        name.clone(),
    );
    let (orders, ordered) = mpsc::unbounded_channel();
    let running = Running {
        inbox,
        orders,
        runtime: runtime.handle().clone(),
        reader: Arc::new(Reader::new(database)),
        name,
    };
    thread::Builder::new().name("usage".to_owned()).spawn(move || {
        courtesy::stand_back();
        runtime.block_on(writer.run(ordered));
        // A database that hangs must not hold up the end.
        runtime.shutdown_background();
    })?;
    Ok(running)
}
