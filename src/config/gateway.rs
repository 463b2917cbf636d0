//! What stands between the network and the routes: TLS, how often a client may call, and what counts as slow.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{ConfigError, Setting, Values, settings::setting, wrong};

/// What stands between the network and the routes.
#[derive(Clone, Debug, Default)]
pub struct GatewayConfig {
    /// With these the public port speaks HTTPS, and nothing else.
    pub tls: Option<TlsFiles>,
    pub rate_limits: RateLimits,
    /// Requests that take this long are logged; `None` logs none.
    pub slow_request: Option<Duration>,
}

/// Where the certificate and its private key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// How often one client may call one route below `/api/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Of each route that has none of its own; `None` is no limit.
    pub usual: Option<Rate>,
    pub routes: Vec<RouteRate>,
}

/// A route, or all that begin as the text before its `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRate {
    pub route: String,
    pub rate: Option<Rate>,
}

/// So many calls in any stretch of so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub calls: u32,
    pub seconds: u32,
}

impl Rate {
    pub const USUAL: Self = Self {
        calls: 100,
        seconds: 60,
    };
}

pub(super) const SETTINGS: [Setting; 5] = [
    setting(
        "SSL_CERTFILE",
        "",
        "file of the certificate and its chain in PEM: the public port then speaks HTTPS",
    ),
    setting("SSL_KEYFILE", "", "file of the certificate's private key in PEM"),
    setting(
        "RATE_LIMIT",
        "100/60s",
        "how often one client may call one route below /api/; off for no limit",
    ),
    setting(
        "RATE_LIMIT_ROUTES",
        "",
        "the same for single routes, such as /api/login=20/60s,/api/v1/auth/*=off",
    ),
    setting(
        "SLOW_REQUEST",
        "5s",
        "a request that takes this long is logged; off logs none",
    ),
];

const SLOW_REQUESTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const MAX_CALLS: u32 = 1_000_000;
const MAX_SECONDS: u32 = 24 * 60 * 60;

impl GatewayConfig {
    pub(super) fn from_values(values: &Values<'_>) -> Result<Self, ConfigError> {
        let usual = values.read(
            "RATE_LIMIT",
            |text| OrOff::read(text, rate),
            "a number of calls and a time such as 100/60s, or off",
        )?;
        let routes = values.read(
            "RATE_LIMIT_ROUTES",
            route_rates,
            "a list such as /api/login=20/60s,/api/register=off",
        )?;
        if routes.as_deref().is_some_and(has_repeated_route) {
            return Err(wrong("RATE_LIMIT_ROUTES", "must name each route once"));
        }
        let slow_request = values.read(
            "SLOW_REQUEST",
            |text| OrOff::read(text, slow_request),
            "a duration from 1ms to 1h, such as 5s, or off",
        )?;
        Ok(Self {
            tls: tls_files(values)?,
            rate_limits: RateLimits {
                usual: usual.unwrap_or(OrOff::On(Rate::USUAL)).on(),
                routes: routes.unwrap_or_default(),
            },
            slow_request: slow_request.unwrap_or(OrOff::On(Duration::from_secs(5))).on(),
        })
    }
}

fn tls_files(values: &Values<'_>) -> Result<Option<TlsFiles>, ConfigError> {
    let file = |variable| values.get(variable).map(PathBuf::from);
    match (file("SSL_CERTFILE"), file("SSL_KEYFILE")) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(wrong("SSL_KEYFILE", "must be set when SSL_CERTFILE is set")),
        (None, Some(_)) => Err(wrong("SSL_CERTFILE", "must be set when SSL_KEYFILE is set")),
    }
}

/// What a setting asks for, or the word `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrOff<T> {
    On(T),
    Off,
}

impl<T> OrOff<T> {
    fn read(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Self> {
        if text.eq_ignore_ascii_case("off") {
            Some(Self::Off)
        } else {
            read(text).map(Self::On)
        }
    }

    fn on(self) -> Option<T> {
        match self {
            Self::On(asked) => Some(asked),
            Self::Off => None,
        }
    }
}

/// `100/60s` or `100/1m`.
fn rate(text: &str) -> Option<Rate> {
    let (calls, time) = text.split_once('/')?;
    let time = humantime::parse_duration(time.trim()).ok()?;
    let rate = Rate {
        calls: calls.trim().parse().ok()?,
        seconds: u32::try_from(time.as_secs()).ok()?,
    };
    let is_whole = time.subsec_nanos() == 0;
    let in_range = (1..=MAX_CALLS).contains(&rate.calls) && (1..=MAX_SECONDS).contains(&rate.seconds);
    (is_whole && in_range).then_some(rate)
}

fn route_rates(text: &str) -> Option<Vec<RouteRate>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(route_rate).collect()
}

/// Which of the two is meant cannot be known.
fn has_repeated_route(routes: &[RouteRate]) -> bool {
    let is_known = |(number, one): (usize, &RouteRate)| routes[..number].iter().any(|other| other.route == one.route);
    routes.iter().enumerate().any(is_known)
}

fn route_rate(text: &str) -> Option<RouteRate> {
    let (route, of_route) = text.split_once('=')?;
    let route = route.trim();
    route.starts_with("/api/").then_some(())?;
    Some(RouteRate {
        route: route.to_owned(),
        rate: OrOff::read(of_route.trim(), rate)?.on(),
    })
}

fn slow_request(text: &str) -> Option<Duration> {
    let time = humantime::parse_duration(text).ok()?;
    SLOW_REQUESTS.contains(&time).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<GatewayConfig, String> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        GatewayConfig::from_values(&Values(&lookup)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_settings_there_is_no_tls_and_the_usual_limit() {
        let config = read(&[]).unwrap();
        assert_eq!(config.tls, None);
        assert_eq!(
            config.rate_limits.usual,
            Some(Rate {
                calls: 100,
                seconds: 60
            })
        );
        assert_eq!(config.rate_limits.routes, []);
        assert_eq!(config.slow_request, Some(Duration::from_secs(5)));
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        let of = |calls, seconds| Some(OrOff::On(Rate { calls, seconds }));
        for (text, expected) in [
            ("100/60s", of(100, 60)),
            ("100 / 1m", of(100, 60)),
            ("1/1day", of(1, 86400)),
            ("off", Some(OrOff::Off)),
            ("OFF", Some(OrOff::Off)),
            ("0/60s", None),
            ("100", None),
            ("100/60", None),
            ("100/0s", None),
            ("100/500ms", None),
            ("100/2days", None),
            ("-1/60s", None),
            ("1000001/60s", None),
        ] {
            assert_eq!(OrOff::read(text, rate), expected, "{text}");
        }
    }

    #[test]
    fn routes_may_have_rates_of_their_own() {
        let config = read(&[("RATE_LIMIT_ROUTES", "/api/login=20/60s, /api/v1/auth/*=off,")]).unwrap();
        let rates: Vec<_> = config
            .rate_limits
            .routes
            .iter()
            .map(|one| (one.route.as_str(), one.rate))
            .collect();
        let login = Rate { calls: 20, seconds: 60 };
        assert_eq!(rates, [("/api/login", Some(login)), ("/api/v1/auth/*", None)]);
        for wrong in ["/api/login", "/verify=1/1s", "login=1/1s", "/api/login=fast"] {
            let error = read(&[("RATE_LIMIT_ROUTES", wrong)]).unwrap_err();
            assert!(error.starts_with("RATE_LIMIT_ROUTES must be a list such as"), "{error}");
        }
        let twice = read(&[("RATE_LIMIT_ROUTES", "/api/profile=1/60s,/api/profile=off")]);
        assert_eq!(twice.unwrap_err(), "RATE_LIMIT_ROUTES must name each route once");
    }

    #[test]
    fn a_certificate_needs_its_key_and_a_key_its_certificate() {
        let files = [("SSL_CERTFILE", "cert.pem"), ("SSL_KEYFILE", "key.pem")];
        assert!(read(&files).unwrap().tls.is_some());
        assert_eq!(
            read(&files[..1]).unwrap_err(),
            "SSL_KEYFILE must be set when SSL_CERTFILE is set"
        );
        assert_eq!(
            read(&files[1..]).unwrap_err(),
            "SSL_CERTFILE must be set when SSL_KEYFILE is set"
        );
    }
}
