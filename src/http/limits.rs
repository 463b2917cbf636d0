//! The limits of use over HTTP: charging a key that has any, and the headers that tell its caller how it stands.

use std::{cell::RefCell, net::IpAddr};

use bytes::BytesMut;
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue, RETRY_AFTER},
};

use super::{
    App,
    reply::{Reply, Wait},
};
use crate::core::{
    time::Timestamp,
    verify::{Outcome, Refusal},
    window::{Decision, Limit},
};

static X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What became of a charge: of a good key's to its limits, or of a guess to its peer's. Nothing, for most.
#[derive(Debug, Default)]
pub struct Charged {
    wait: Option<Wait>,
    headers: Option<Box<LimitHeaders>>,
}

/// The values of the headers of one answer.
#[derive(Clone, Debug)]
pub struct LimitHeaders {
    limit: HeaderValue,
    remaining: HeaderValue,
    reset: HeaderValue,
    policies: HeaderValue,
    standings: HeaderValue,
}

/// Charges a good key that has limits, where nobody has to be asked for that.
pub fn charge_here(app: &App, key_id: &str, limits: &[Limit], cost: u32, now: Timestamp) -> Option<Charged> {
    let decision = app.limits.keys.check_here(key_id, limits, cost)?;
    Some(charged(app, limits, &decision, now))
}

/// The same, wherever the count is kept.
pub async fn charge(app: &App, key_id: &str, limits: &[Limit], cost: u32) -> Charged {
    let decision = app.limits.keys.check(key_id, limits, cost).await;
    charged(app, limits, &decision, app.clock.now())
}

fn charged(app: &App, limits: &[Limit], decision: &Decision, now: Timestamp) -> Charged {
    if decision.allowed {
        app.telemetry.metrics.ratelimit_allowed();
    } else {
        app.telemetry.metrics.ratelimit_limited();
    }
    Charged {
        wait: (!decision.allowed).then(|| Wait::from_millis(decision.wait_ms())),
        headers: Some(Box::new(LimitHeaders::of(limits, decision, now.as_millis()))),
    }
}

/// A failed verify counts against its peer, and becomes a 429 when there were too many. A peer's own good keys are never
/// refused for that: it may be a backend, and what its callers try is not its fault.
pub fn guessed(app: &App, peer: IpAddr, refusal: Refusal) -> (Refusal, Charged) {
    let guesses = app.limits.guesses.as_ref();
    let Some(Err(wait_ms)) = guesses.map(|guesses| guesses.failed(peer)) else {
        return (refusal, Charged::default());
    };
    app.telemetry.metrics.ratelimit_guesses();
    let charged = Charged {
        wait: Some(Wait::from_millis(wait_ms)),
        headers: None,
    };
    (Refusal::RateLimited, charged)
}

impl Charged {
    pub fn verdict<K>(&self, key: K) -> Result<K, Refusal> {
        match self.wait {
            None => Ok(key),
            Some(_) => Err(Refusal::RateLimited),
        }
    }

    /// For whoever asks how the verdict came about.
    pub fn outcome(&self) -> Outcome {
        match (&self.headers, self.wait) {
            (None, _) => Outcome::NotSet,
            (Some(_), None) => Outcome::Passed,
            (Some(_), Some(_)) => Outcome::Failed,
        }
    }

    /// As `tell`, for an answer that is headers already.
    pub fn insert_into(self, headers: &mut HeaderMap) {
        if let Some(limits) = self.headers {
            limits.insert_into(headers);
        }
        if let Some(wait) = self.wait {
            headers.insert(RETRY_AFTER, wait.into());
        }
    }

    pub fn tell(self, reply: Reply) -> Reply {
        let reply = match self.headers {
            None => reply,
            Some(headers) => reply.limits(headers),
        };
        match self.wait {
            None => reply,
            Some(wait) => reply.retry_after(wait),
        }
    }
}

impl LimitHeaders {
    /// The three older headers know one window only: the one that matters most now. Their reset is a time in seconds
    /// since 1970; the reset of the newer ones is in seconds from now.
    pub fn of(limits: &[Limit], decision: &Decision, wall_ms: i64) -> Self {
        let tightest = decision
            .standings()
            .get(decision.tightest())
            .copied()
            .unwrap_or_default();
        let reset = u64::try_from(wall_ms)
            .unwrap_or(0)
            .saturating_add(tightest.reset_ms)
            .div_ceil(1000);
        let policies = limits
            .iter()
            .map(|limit| (limit, limit.quota(), limit.window_seconds.into()));
        let standings = limits
            .iter()
            .zip(decision.standings())
            .map(|(limit, standing)| (limit, standing.remaining, standing.reset_ms.div_ceil(1000)));
        VALUES.with_borrow_mut(|values| {
            let text = values.begin();
            let ends = [
                number(text, tightest.quota),
                number(text, tightest.remaining),
                number(text, reset),
                list(text, policies, ["\";q=", ";w="]),
                list(text, standings, ["\";r=", ";t="]),
            ];
            let [limit, remaining, reset, policies, standings] = values.cut(ends);
            Self {
                limit,
                remaining,
                reset,
                policies,
                standings,
            }
        })
    }

    pub fn insert_into(self, headers: &mut HeaderMap) {
        headers.insert(&X_RATELIMIT_LIMIT, self.limit);
        headers.insert(&X_RATELIMIT_REMAINING, self.remaining);
        headers.insert(&X_RATELIMIT_RESET, self.reset);
        headers.insert(&RATELIMIT_POLICY, self.policies);
        headers.insert(&RATELIMIT, self.standings);
    }
}

/// Writes a number and tells where it ends.
fn number(text: &mut Vec<u8>, number: impl itoa::Integer) -> usize {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    text.len()
}

/// Writes a list as structured fields do, `"name";q=5;w=60, "other";q=…`, and tells where it ends.
fn list<'a>(
    text: &mut Vec<u8>,
    items: impl Iterator<Item = (&'a Limit, u32, u64)>,
    [first, second]: [&'static str; 2],
) -> usize {
    for (position, (limit, one, other)) in items.enumerate() {
        text.extend_from_slice(if position == 0 { b"\"" } else { b", \"" });
        text.extend_from_slice(limit.name.as_bytes());
        text.extend_from_slice(first.as_bytes());
        number(text, one);
        text.extend_from_slice(second.as_bytes());
        number(text, other);
    }
    text.len()
}

/// The values of one answer, behind one another, in room that is used again.
struct Values {
    /// Where they are written.
    text: Vec<u8>,
    /// Where they are sent from. It is there again once all of them have left.
    sent: BytesMut,
}

impl Values {
    fn begin(&mut self) -> &mut Vec<u8> {
        self.text.clear();
        &mut self.text
    }

    /// The values that end there.
    fn cut<const N: usize>(&mut self, ends: [usize; N]) -> [HeaderValue; N] {
        self.sent.extend_from_slice(&self.text);
        let all = self.sent.split().freeze();
        let mut begin = 0;
        ends.map(|end| {
            let value = all.slice(begin..end);
            begin = end;
            HeaderValue::from_maybe_shared(value).expect("names of limits, digits and punctuation are visible")
        })
    }
}

/// Room for the values of one answer whose key has all the limits it may have.
const ROOM: usize = 2048;

thread_local! {
    static VALUES: RefCell<Values> = RefCell::new(Values {
        text: Vec::with_capacity(ROOM),
        sent: BytesMut::with_capacity(8 * ROOM),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::key::MAX_LIMIT_NAME_BYTES;
    use crate::core::window::{MAX_LIMITS, Standing, Window, decide};

    fn limit(name: &str, max: u32, window_seconds: u32) -> Limit {
        Limit {
            name: name.to_owned().into(),
            max,
            burst: 5,
            window_seconds,
        }
    }

    fn told(limits: &[Limit], decision: &Decision) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        LimitHeaders::of(limits, decision, 1_000_500).insert_into(&mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    #[test]
    fn every_window_is_told_and_the_tightest_in_the_older_headers() {
        let limits = [limit("hour", 1000, 3600), limit("second", 5, 1)];
        let mut windows = [Window::default(), Window::default()];
        let decision = decide(&limits, &mut windows, 0, 9);
        let expected = [
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "1"),
            ("x-ratelimit-reset", "1002"),
            ("ratelimit-policy", r#""hour";q=1005;w=3600, "second";q=10;w=1"#),
            ("ratelimit", r#""hour";r=996;t=3600, "second";r=1;t=1"#),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(told(&limits, &decision), expected);
    }

    #[test]
    fn the_longest_names_and_numbers_have_room() {
        let name = "n".repeat(MAX_LIMIT_NAME_BYTES);
        let limits = [(); MAX_LIMITS].map(|()| limit(&name, u32::MAX, u32::MAX));
        let standing = Standing {
            quota: u32::MAX,
            remaining: u32::MAX,
            reset_ms: u64::from(u32::MAX) * 1000,
            wait_ms: 0,
        };
        let all = told(&limits, &Decision::new(true, [standing; MAX_LIMITS]));
        assert!(all.iter().map(|(_, value)| value.len()).sum::<usize>() <= ROOM);
    }
}
