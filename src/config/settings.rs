//! The table of all settings: name, default and meaning, as people read them.

use super::{
    DEFAULT_DATA_DIR, DEFAULT_REFRESH_URL, DEFAULT_S3_KEY, DEFAULT_S3_REGION, accounts, database, gateway, tokens,
};

/// One line of the table of settings.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    /// As a person would write it; empty when the setting is simply off.
    pub default: &'static str,
    pub meaning: &'static str,
}

pub(super) const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default, meaning }
}

/// Every setting this program reads, for `--help` and for the test that holds the documentation to it. The AWS SDK
/// reads its own variables (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...) besides.
pub const SETTINGS: &[Setting] = &[
    setting(
        "S3_BUCKET",
        "",
        "bucket of the key document; without it the document is a local file",
    ),
    setting("S3_KEY", DEFAULT_S3_KEY, "name of the object in the bucket"),
    setting("S3_REGION", DEFAULT_S3_REGION, "region of the bucket"),
    setting(
        "DATA_DIR",
        DEFAULT_DATA_DIR,
        "directory of keys.json when S3_BUCKET is not set",
    ),
    setting("STORAGE_SECRET", "", "encrypts the stored document"),
    setting("MAX_DOCUMENT_BYTES", "512MiB", "a larger document is refused"),
    setting(
        "ALLOW_UNCONDITIONAL_WRITES",
        "false",
        "write even to a store that ignores write conditions",
    ),
    setting("HOST", "0.0.0.0", "address to listen on"),
    setting("PORT", "8080", "port to listen on; 0 picks a free one"),
    setting(
        "ADMIN_LISTEN",
        "",
        "address and port for /refresh and /metrics, which then leave the public port",
    ),
    gateway::SETTINGS[0],
    gateway::SETTINGS[1],
    setting("WORKERS", "number of cores", "threads that answer requests"),
    setting(
        "MAX_CONNECTIONS",
        "10000, fewer in little memory",
        "open connections at most",
    ),
    setting("POLL_INTERVAL", "5s", "how often the store is asked for changes"),
    setting(
        "SNAPSHOT_PATH",
        "",
        "file for the last good document, so that a restart works while the store is down",
    ),
    setting(
        "STRICT_GENERATION",
        "false",
        "refuse a document whose generation number was lost",
    ),
    setting(
        "KEY_PREFIXES",
        "production=hk_live_,test=hk_test_,development=hk_dev_",
        "how the secrets of keys for an environment begin",
    ),
    setting(
        "EXPIRED_AFTER",
        "30days",
        "a key that expired this long ago is marked inactive; off leaves it",
    ),
    database::SETTINGS[0],
    database::SETTINGS[1],
    database::SETTINGS[2],
    database::SETTINGS[3],
    database::SETTINGS[4],
    database::SETTINGS[5],
    database::SETTINGS[6],
    database::SETTINGS[7],
    accounts::SETTINGS[0],
    accounts::SETTINGS[1],
    tokens::SETTINGS[0],
    tokens::SETTINGS[1],
    tokens::SETTINGS[2],
    tokens::SETTINGS[3],
    tokens::SETTINGS[4],
    tokens::SETTINGS[5],
    tokens::SETTINGS[6],
    setting("HEALTH_OPAQUE", "false", "/health shows no number of keys"),
    setting(
        "TRUSTED_PROXIES",
        "",
        "addresses and networks of the proxies whose X-Forwarded-For is believed",
    ),
    setting(
        "AUTHZ_QUERY_KEY",
        "false",
        "/authz takes a key from the query parameter api_key, too",
    ),
    setting(
        "REDIS_URL",
        "",
        "Redis, where all instances count the use of limited keys together, and where sessions are kept",
    ),
    setting("REDIS_HOST", "", "host of Redis, instead of REDIS_URL"),
    setting("REDIS_PORT", "6379", "its port"),
    setting("REDIS_DB", "0", "the number of the database there"),
    setting(
        "GUESS_LIMIT",
        "0",
        "failed verifies a minute from one peer, beyond which they are answered 429; 0 is no limit",
    ),
    gateway::SETTINGS[2],
    gateway::SETTINGS[3],
    gateway::SETTINGS[4],
    setting("LOG_LEVEL", "info", "trace, debug, info, warn or error"),
    setting(
        "PROTOCOL",
        "",
        "http, udp or tcp: sends metrics to DEST_HOST and DEST_PORT",
    ),
    setting("DEST_HOST", "", "host of the stats bridge"),
    setting("DEST_PORT", "", "port of the stats bridge"),
    setting("SECRET", "", "user name for the stats bridge when PROTOCOL is http"),
    setting("PREFIX", "heare-auth", "first part of every metric's name"),
    setting(
        "CORS_ORIGINS",
        "",
        "origins of the web pages that may call the routes below /api/, separated by commas; * for all",
    ),
    setting(
        "ALLOW_PLAIN_HTTP",
        "false",
        "key management and accounts over plain HTTP from other hosts, too",
    ),
    setting(
        "USER_SCOPES",
        "*",
        "scopes that people may give to their own keys, separated by commas; none for none",
    ),
    setting(
        "API_DOCS",
        "true",
        "the description of all routes at /openapi.json, /docs and /redoc",
    ),
    setting("DASHBOARD", "on", "the dashboard at /dashboard; off for none"),
    setting(
        "REFRESH_URL",
        DEFAULT_REFRESH_URL,
        "what the command line calls after a change",
    ),
];
