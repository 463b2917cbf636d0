//! How often a client may call each route below `/api/`: decided before anything of a call is looked at but its path.
//! Verifies are not called by clients but by backends, and stay out of this.

use std::{borrow::Cow, net::IpAddr, slice};

use hyper::{Request, body::Incoming};

use super::{
    connection::Connection,
    limits::LimitHeaders,
    patterns, proxies,
    reply::{Refusal, Reply, Wait},
};
use crate::{
    config::{Rate, RateLimits, RouteRate},
    core::{
        network::holder,
        window::{Decision, Limit},
    },
    limiter::Limiter,
};

/// Of every route its limit, if it has one.
pub struct Gate {
    limiter: Limiter,
    limits: Vec<Limit>,
}

/// A setting names a route that is not limited, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRoute;

impl Gate {
    pub fn new(limiter: Limiter, rates: &RateLimits) -> Result<Self, UnknownRoute> {
        if rates
            .routes
            .iter()
            .any(|one| !patterns::limited().any(|route| one.covers(route)))
        {
            return Err(UnknownRoute);
        }
        let limit = |route| rate(rates, route).map(|rate| limit(route, rate));
        let limits = patterns::limited().filter_map(limit).collect();
        Ok(Self { limiter, limits })
    }

    /// Counts a call of this route, or tells how long to wait.
    pub async fn admit(&self, connection: &Connection, request: &Request<Incoming>, route: &str) -> Result<(), Reply> {
        let Some(limit) = self.limits.iter().find(|limit| limit.name == route) else {
            return Ok(());
        };
        let app = &connection.worker.app;
        let peer = connection.peer.ip().to_canonical();
        // What a trusted proxy says is no address is nobody's, and counted as the proxy's own.
        let client = proxies::client_ip(&app.proxies, peer, request.headers()).unwrap_or(peer);
        let decision = self.charge(limit, client).await;
        if decision.allowed {
            return Ok(());
        }
        app.telemetry.metrics.http_limited();
        let headers = LimitHeaders::of(slice::from_ref(limit), &decision, app.clock.now().as_millis());
        Err(Reply::from(Refusal::TooManyCalls)
            .limits(Box::new(headers))
            .retry_after(Wait::from_millis(decision.wait_ms())))
    }

    async fn charge(&self, limit: &Limit, client: IpAddr) -> Decision {
        let called = format!("{} {}", limit.name, holder(client));
        self.limiter.check(&called, slice::from_ref(limit), 1).await
    }
}

impl RouteRate {
    fn covers(&self, route: &str) -> bool {
        match self.route.strip_suffix('*') {
            // This one is a route itself.
            Some(_) if self.route == route => true,
            Some(begin) => route.starts_with(begin),
            None => self.route == route,
        }
    }
}

/// The one that says most about the route: the longest.
fn rate(rates: &RateLimits, route: &str) -> Option<Rate> {
    let own = rates.routes.iter().filter(|one| one.covers(route));
    own.max_by_key(|one| one.route.len())
        .map_or(rates.usual, |one| one.rate)
}

const fn limit(route: &'static str, rate: Rate) -> Limit {
    Limit {
        name: Cow::Borrowed(route),
        max: rate.calls,
        burst: 0,
        window_seconds: rate.seconds,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn gate(routes: &[(&str, Option<u32>)]) -> Result<Gate, UnknownRoute> {
        let routes = routes.iter().map(|&(route, calls)| RouteRate {
            route: route.to_owned(),
            rate: calls.map(|calls| Rate { calls, seconds: 60 }),
        });
        let rates = RateLimits {
            usual: Some(Rate::USUAL),
            routes: routes.collect(),
        };
        Gate::new(Limiter::of_clients(None, Arc::default()), &rates)
    }

    fn calls(gate: &Gate, route: &str) -> Option<u32> {
        gate.limits
            .iter()
            .find(|limit| limit.name == route)
            .map(|limit| limit.max)
    }

    #[test]
    fn the_longest_name_of_a_route_decides() {
        let gate = gate(&[
            ("/api/v1/auth/*", Some(7)),
            ("/api/v1/auth/keys", None),
            ("/api/login", Some(20)),
            ("/api/v1/auth/keys/{id}/*", Some(3)),
        ])
        .unwrap_or_else(|_| panic!("all are routes"));
        for (route, expected) in [
            ("/api/login", Some(20)),
            ("/api/register", Some(100)),
            ("/api/v1/auth/keys", None),
            ("/api/v1/auth/audit", Some(7)),
            ("/api/v1/auth/keys/{id}/rotate", Some(3)),
            ("/api/*", Some(100)),
        ] {
            assert_eq!(calls(&gate, route), expected, "{route}");
        }
    }

    #[test]
    fn verifies_are_not_limited_and_a_route_that_is_none_is_refused() {
        let everything = gate(&[]).unwrap_or_else(|_| panic!("there is nothing to refuse"));
        for route in [
            "/verify",
            "/authz",
            "/health",
            "/ready",
            "/refresh",
            "/api/v1/keys/validate",
        ] {
            assert_eq!(calls(&everything, route), None, "{route}");
        }
        for wrong in ["/api/logni", "/api/v1/keys/validate", "/api/v2/*"] {
            assert_eq!(gate(&[(wrong, None)]).err(), Some(UnknownRoute), "{wrong}");
        }
        assert!(gate(&[("/api/*", Some(1))]).is_ok());
    }
}
