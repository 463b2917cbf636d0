//! Starts what counts: the limits of keys, those of clients, and their connection to Redis.

use super::StartError;
use crate::{
    config::Config,
    core::secret::Secret,
    http::gate::{Gate, UnknownRoute},
    limiter::{
        Limiter, Limits,
        guess::GuessLimit,
        redis::{BUDGET, Redis},
    },
    telemetry::Telemetry,
};

/// Those of keys and those of clients, over one connection to Redis.
pub(super) async fn start(config: &Config, telemetry: &Telemetry) -> Result<(Limits, Gate), StartError> {
    let metrics = || telemetry.metrics.clone();
    let redis = match &config.limits.redis_url {
        None => None,
        Some(url) => Some(start_redis(url, telemetry).await?),
    };
    let gate = Gate::new(
        Limiter::of_clients(redis.clone(), metrics()),
        &config.gateway.rate_limits,
    );
    let gate = gate.map_err(|UnknownRoute| StartError::Address {
        variable: "RATE_LIMIT_ROUTES",
        problem: "names a route that is not limited; USAGE.md has all that are",
    })?;
    let guesses = config.limits.guess_limit;
    let limits = Limits {
        keys: match redis {
            None => Limiter::local(metrics()),
            Some(redis) => Limiter::shared(redis, metrics()),
        },
        guesses: guesses.map(|limit| GuessLimit::new(limit.get())),
    };
    Ok((limits, gate))
}

async fn start_redis(url: &Secret, telemetry: &Telemetry) -> Result<Redis, StartError> {
    let redis = Redis::start(url, BUDGET, telemetry.clone()).await;
    redis.map_err(|_| StartError::Address {
        variable: "REDIS_URL",
        problem: "is no URL of Redis",
    })
}
