//! What each metric counts, in one sentence, for those who meet it in Prometheus.

/// Empty for what is none; a test asks for every metric there is.
pub(super) fn help(name: &str) -> &'static str {
    let found = SENTENCES.iter().find(|(own, _)| *own == name);
    found.map_or("", |(_, sentence)| sentence)
}

const SENTENCES: [(&str, &str); 67] = [
    ("verify.requests", "Verifies, whatever their answer."),
    ("verify.success", "Verifies of good keys."),
    ("verify.failed", "Verifies of keys that were refused."),
    (
        "verify.malformed",
        "Verifies whose body was answered 422, 413, 408 or 400.",
    ),
    (
        "verify.bcrypt",
        "Secrets checked against the bcrypt hash of an imported key.",
    ),
    ("verify.duration", "From the whole body of a verify to its answer."),
    ("authz.requests", "Auth requests of proxies, whatever their answer."),
    ("authz.success", "Auth requests with good keys."),
    ("authz.failed", "Auth requests with keys that were refused."),
    (
        "authz.malformed",
        "Auth requests without a key, with two, or with a bad query.",
    ),
    ("authz.duration", "From an auth request to its answer."),
    ("refresh.requests", "Calls of /refresh."),
    ("refresh.success", "Calls of /refresh after which the keys were loaded."),
    ("refresh.failed", "Calls of /refresh whose load failed."),
    ("refresh.rejected", "Calls of /refresh from elsewhere than this host."),
    ("refresh.duration", "How long the loads of /refresh took."),
    ("health.requests", "Calls of /health."),
    ("management.requests", "Calls of key management."),
    (
        "management.refused",
        "Calls of key management answered by a status of the 400s.",
    ),
    (
        "management.failed",
        "Calls of key management answered by a status of the 500s.",
    ),
    ("management.duration", "How long calls of key management took."),
    ("accounts.requests", "Calls of accounts."),
    (
        "accounts.refused",
        "Calls of accounts answered by a status of the 400s.",
    ),
    ("accounts.failed", "Calls of accounts answered by a status of the 500s."),
    ("accounts.registered", "People who have registered."),
    ("accounts.login_success", "Logins that succeeded."),
    ("accounts.login_failed", "Logins that failed."),
    (
        "accounts.duration",
        "How long calls of accounts took, stores and hashes included.",
    ),
    (
        "accounts.hash_duration",
        "How long a password hash took, without the wait for its turn.",
    ),
    (
        "accounts.hasher_busy",
        "Calls refused because too many waited for a hash.",
    ),
    (
        "accounts.guesses_wrong",
        "Wrong passwords, and passwords for logins that do not exist.",
    ),
    (
        "accounts.guesses_refused",
        "Passwords not looked at because of earlier wrong ones.",
    ),
    (
        "accounts.unavailable",
        "Calls answered 503 because the database or Redis failed.",
    ),
    (
        "http.requests",
        "Requests of all routes but verifies and auth requests.",
    ),
    ("http.status.2xx", "Those of them answered by a status of the 200s."),
    ("http.status.3xx", "Those of them answered by a status of the 300s."),
    ("http.status.4xx", "Those of them answered by a status of the 400s."),
    ("http.status.5xx", "Those of them answered by a status of the 500s."),
    ("http.limited", "Calls answered 429 because a client called too often."),
    ("http.slow", "Requests of any route that took long."),
    ("http.duration", "From the whole head of such a request to its answer."),
    ("tls.handshakes", "Connections that were secured."),
    ("tls.failed", "Connections that could not be secured."),
    (
        "tls.certificate_seconds_left",
        "Until the certificate in force expires.",
    ),
    ("startup.success", "Starts that loaded the keys."),
    ("startup.failed", "Starts whose first load failed."),
    (
        "startup.duration",
        "From the start of the process to the first document in force.",
    ),
    ("shutdown", "Stops."),
    ("poll.changed", "Looks at the store that found another document."),
    ("poll.unchanged", "Looks at the store that found the same document."),
    ("poll.failed", "Looks at the store that failed."),
    ("connections.open", "Connections that are open now."),
    (
        "connections.refused",
        "Connections that had to wait because too many were open.",
    ),
    ("ratelimit.allowed", "Uses of good keys within their limits."),
    ("ratelimit.limited", "Uses of good keys beyond their limits."),
    (
        "ratelimit.guesses",
        "Failed verifies answered 429 because their peer had too many.",
    ),
    ("ratelimit.forgotten", "Keys whose count made room for that of another."),
    (
        "ratelimit.degraded",
        "1 while this instance counts alone because Redis fails, else 0.",
    ),
    ("log.dropped", "Log lines that found no room."),
    ("metrics.dropped", "Metrics that did not reach the stats bridge."),
    ("usage.written", "Verifies whose count is in the database."),
    ("usage.dropped", "Verifies whose count never reached the database."),
    ("usage.failed", "Attempts at the database that failed."),
    ("usage.pending", "Rows that wait for the database."),
    ("audit.dropped", "Changes of keys that never reached the database."),
    ("keys.count", "Good records in force."),
    (
        "document.age_seconds",
        "Since the store last confirmed what is in force.",
    ),
];
