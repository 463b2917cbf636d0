//! Counts for all instances in Redis: one atomic script a request, within a budget.
//!
//! The first request that Redis fails opens a circuit. From then on nobody asks Redis but one task, which connects anew
//! and closes the circuit once the script has answered within the budget again.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{Client, Script, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    core::{
        secret::Secret,
        window::{Decision, Limit, MAX_CHARGES, Standing},
    },
    redis_link::{Trouble, connect, open},
    telemetry::Telemetry,
};

/// What a request may wait. A little less than the 50 ms that are promised, as timers and busy threads come late.
pub const BUDGET: Duration = Duration::from_millis(45);

/// What the connecting task may wait for a connection; no request waits for it.
const CONNECT: Duration = Duration::from_secs(1);

/// How often the connecting task looks whether Redis still answers.
const LOOK: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A link that held this long was no stroke of luck.
const STEADY: Duration = Duration::from_secs(10);

/// What the connecting task charges to see whether the script runs; no key has an empty id.
const PROBE: Limit = Limit {
    name: Cow::Borrowed("probe"),
    max: u32::MAX,
    burst: 0,
    window_seconds: 1,
};

/// First part of the names under which windows are kept.
const PREFIX: &str = "heare-auth:ratelimit";

/// One connection, however often it is cloned.
#[derive(Clone)]
pub struct Redis {
    circuit: Arc<Circuit>,
}

/// Whether Redis is asked, and through which connection.
struct Circuit {
    link: watch::Sender<Option<Link>>,
    links: AtomicU64,
    budget: Duration,
    script: Script,
    telemetry: Telemetry,
}

#[derive(Clone)]
struct Link {
    number: u64,
    connection: MultiplexedConnection,
}

impl Redis {
    /// Connects, and waits for that no longer than a moment. To be called within the runtime that is to keep the link.
    /// A request waits for Redis no longer than the budget.
    pub async fn start(url: &Secret, budget: Duration, telemetry: Telemetry) -> Result<Self, Trouble> {
        let client = open(url)?;
        let circuit = Arc::new(Circuit {
            link: watch::Sender::new(None),
            links: AtomicU64::new(0),
            budget,
            script: Script::new(include_str!("window.lua")),
            telemetry,
        });
        let mut linked = circuit.link.subscribe();
        tokio::spawn(keep_linked(circuit.clone(), client));
        // So that the first requests are counted by all; without Redis they are answered all the same.
        let _ = timeout(budget, linked.wait_for(Option::is_some)).await;
        Ok(Self { circuit })
    }

    /// Nothing when Redis is not asked or did not answer in time.
    pub async fn charge(&self, key_id: &str, limits: &[Limit], cost: u32) -> Option<Decision> {
        self.charge_at(key_id, limits, cost, None).await
    }

    /// By Redis' own clock, or as if it were that time.
    pub async fn charge_at(&self, key_id: &str, limits: &[Limit], cost: u32, now_ms: Option<u64>) -> Option<Decision> {
        let mut link = self.circuit.link.borrow().clone()?;
        let asked = self
            .circuit
            .ask(&mut link.connection, key_id, limits, cost, now_ms)
            .await;
        asked.map_err(|trouble| self.circuit.open(link.number, trouble)).ok()
    }
}

impl Circuit {
    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        key_id: &str,
        limits: &[Limit],
        cost: u32,
        now_ms: Option<u64>,
    ) -> Result<Decision, Trouble> {
        let mut call = self.script.prepare_invoke();
        call.arg(now_ms.map_or_else(String::new, |now_ms| now_ms.to_string()))
            .arg(cost)
            .arg(MAX_CHARGES);
        for limit in limits {
            call.key(format!("{PREFIX}:{key_id}:{}:{}", limit.name, limit.window_seconds))
                .arg(limit.quota())
                .arg(limit.length_ms())
                .arg(limit.grain_ms());
        }
        let answer: Vec<u64> = timeout(self.budget, call.invoke_async(connection))
            .await
            .map_err(|_| Trouble::Slow)??;
        decision(limits, &answer).ok_or(Trouble::Refuses)
    }

    async fn probe(&self, connection: &mut MultiplexedConnection) -> Result<(), Trouble> {
        self.ask(connection, "", &[PROBE], 1, None).await.map(drop)
    }

    /// Stops asking through this link, if nobody else has done so.
    fn open(&self, number: u64, trouble: Trouble) {
        let opened = self.link.send_if_modified(|link| {
            let is_mine = link.as_ref().is_some_and(|link| link.number == number);
            if is_mine {
                *link = None;
            }
            is_mine
        });
        if opened {
            self.degraded(trouble);
        }
    }

    fn close(&self, connection: MultiplexedConnection) -> Link {
        let number = self.links.fetch_add(1, Relaxed);
        let link = Link { number, connection };
        self.telemetry.metrics.ratelimit_degraded(false);
        self.link.send_replace(Some(link.clone()));
        link
    }

    fn degraded(&self, trouble: Trouble) {
        self.telemetry.metrics.ratelimit_degraded(true);
        tracing::warn!(
            event = "ratelimit_degraded",
            error = trouble.word(),
            "limits are counted by each instance alone until Redis answers again"
        );
    }
}

/// For every window three numbers behind the first.
fn decision(limits: &[Limit], answer: &[u64]) -> Option<Decision> {
    let (charged, standings) = answer.split_first()?;
    let (standings, rest) = standings.as_chunks::<3>();
    if standings.len() != limits.len() || !rest.is_empty() {
        return None;
    }
    let standings = limits.iter().zip(standings);
    let standings = standings.map(|(limit, &[remaining, reset_ms, wait_ms])| Standing {
        quota: limit.quota(),
        remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
        reset_ms,
        wait_ms,
    });
    Some(Decision::new(*charged == 1, standings))
}

/// Connects again and again, and watches over the link while there is one.
async fn keep_linked(circuit: Arc<Circuit>, client: Client) {
    let mut pause = FIRST_PAUSE;
    let mut told = Told::Nothing;
    loop {
        match link(&circuit, &client).await {
            Ok(connection) => {
                let since = Instant::now();
                let link = circuit.close(connection);
                if told == Told::Trouble {
                    tracing::info!(
                        event = "ratelimit_recovered",
                        "limits are counted by all instances together again"
                    );
                }
                watch_over(&circuit, link).await;
                told = Told::Trouble;
                if since.elapsed() >= STEADY {
                    pause = FIRST_PAUSE;
                }
            }
            Err(trouble) if told == Told::Nothing => {
                circuit.degraded(trouble);
                told = Told::Trouble;
            }
            Err(_) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What the log has been told of Redis.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Trouble,
}

/// A connection over which the script has run within the budget.
async fn link(circuit: &Circuit, client: &Client) -> Result<MultiplexedConnection, Trouble> {
    let mut connection = timeout(CONNECT, connect(client)).await.map_err(|_| Trouble::Slow)??;
    circuit.probe(&mut connection).await?;
    Ok(connection)
}

/// Until a request or a look has found the link broken.
async fn watch_over(circuit: &Circuit, mut link: Link) {
    let mut changes = circuit.link.subscribe();
    while timeout(LOOK, changes.wait_for(Option::is_none)).await.is_err() {
        if let Err(trouble) = circuit.probe(&mut link.connection).await {
            circuit.open(link.number, trouble);
        }
    }
}
