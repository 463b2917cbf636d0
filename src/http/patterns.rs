//! Routes as the documentation writes them: for limits, which are by route, and for the log, which shows no sent path.

use super::{accounts, keys::route::Place};

/// Every path below `/api/` that is no route.
pub const ELSEWHERE_IN_API: &str = "/api/*";
const ELSEWHERE: &str = "*";

const OTHERS: [&str; 7] = [
    "/health",
    "/ready",
    "/refresh",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/redoc",
];

/// All routes that one client may call so often only.
pub fn limited() -> impl Iterator<Item = &'static str> {
    let of_accounts = accounts::route::Place::each().map(|place| place.pattern());
    let of_accounts = of_accounts.into_iter().filter(|route| route.starts_with("/api/"));
    of_accounts.chain(Place::PATTERNS).chain([ELSEWHERE_IN_API])
}

/// The route of a path. Verifies and auth requests have words of their own.
pub fn of(path: &str) -> &'static str {
    let known = OTHERS.into_iter().find(|known| *known == path);
    known.unwrap_or_else(|| {
        if let Some(place) = Place::of(path) {
            place.pattern()
        } else if let Some(place) = accounts::route::Place::of(path) {
            place.pattern()
        } else if path.starts_with("/api/") {
            ELSEWHERE_IN_API
        } else {
            ELSEWHERE
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_its_route_and_nothing_of_it_besides() {
        for (path, route) in [
            ("/api/login", "/api/login"),
            ("/api/login/", "/api/*"),
            ("/api/sessions", "/api/sessions"),
            ("/api/sessions/abc", "/api/sessions/{id}"),
            ("/api/sessions/abc/def", "/api/*"),
            ("/api/v1/auth/keys/key_1/rotate", "/api/v1/auth/keys/{id}/rotate"),
            ("/api/v1/auth/other", "/api/*"),
            ("/oauth/introspect", "/oauth/introspect"),
            ("/ready", "/ready"),
            ("/secret", "*"),
        ] {
            assert_eq!(of(path), route, "{path}");
        }
    }

    #[test]
    fn every_route_below_api_is_limited_once() {
        let all: Vec<_> = limited().collect();
        let once: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), once.len());
        for route in all {
            assert_eq!(of(route), route, "a limited route is one");
        }
    }
}
