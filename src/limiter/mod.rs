//! Decides whether a key may be used once more: in this process alone, or together with all instances through Redis.
//!
//! Every charge is made here first. What this instance alone has allowed is never more than what all of them have, so a
//! key that is over its limit here costs Redis nothing; and when Redis is slow or gone, the answer is there already.

pub mod guess;
pub mod local;
pub mod redis;

use std::sync::Arc;

use self::{guess::GuessLimit, local::Local, redis::Redis};
use crate::{
    core::window::{Decision, Limit},
    telemetry::metrics::Metrics,
};

/// Every limit there is.
pub struct Limits {
    pub keys: Limiter,
    pub guesses: Option<GuessLimit>,
}

/// Who counts the uses of keys.
pub enum Limiter {
    Local(Local),
    /// The count of all instances decides, and the one here as long as Redis does not answer.
    Shared {
        local: Local,
        redis: Redis,
    },
}

impl Limiter {
    pub fn local(metrics: Arc<Metrics>) -> Self {
        Self::Local(Local::new(metrics))
    }

    pub fn shared(redis: Redis, metrics: Arc<Metrics>) -> Self {
        let local = Local::new(metrics);
        Self::Shared { local, redis }
    }

    /// Of the calls of clients, apart from keys: whoever can call from many addresses makes no key forgotten. In Redis they
    /// are told apart by the names of their limits, which begin with a slash as no key's do.
    pub fn of_clients(redis: Option<Redis>, metrics: Arc<Metrics>) -> Self {
        let local = Local::of_clients(metrics);
        match redis {
            None => Self::Local(local),
            Some(redis) => Self::Shared { local, redis },
        }
    }

    /// As `check`, where nobody has to be asked; `None` where the count of all instances decides.
    pub fn check_here(&self, key_id: &str, limits: &[Limit], cost: u32) -> Option<Decision> {
        match self {
            Self::Local(local) => Some(local.charge(key_id, limits, cost)),
            Self::Shared { .. } => None,
        }
    }

    /// Charges all of the key's limits or none. Waits for Redis only, and for that at most its budget.
    pub async fn check(&self, key_id: &str, limits: &[Limit], cost: u32) -> Decision {
        match self {
            Self::Local(local) => local.charge(key_id, limits, cost),
            Self::Shared { local, redis } => {
                // Apart, so that the caller's future does not carry the room for it when nobody asks Redis.
                let ask = || Box::pin(redis.charge(key_id, limits, cost));
                together(local, key_id, limits, cost, None, ask).await
            }
        }
    }
}

/// Charges here, and where that is allowed, everywhere: what is refused there is taken back here. `ask` tells nothing where
/// the count of all instances cannot be had in time.
pub async fn together<Asked: Future<Output = Option<Decision>>>(
    local: &Local,
    key_id: &str,
    limits: &[Limit],
    cost: u32,
    now_ms: Option<u64>,
    ask: impl FnOnce() -> Asked,
) -> Decision {
    let (here, at_ms) = local.charge_at(key_id, limits, cost, now_ms);
    if !here.allowed {
        return here;
    }
    let Some(everywhere) = ask().await else {
        return here;
    };
    if !everywhere.allowed {
        local.refund(key_id, limits, cost, at_ms);
    }
    everywhere
}
