//! The pages of the commands that make keys and change them.

use super::{Group, JSON, KEY_ID, Line, Page, REFRESH, STORE};

const SCOPE: Line = (
    "--scope SCOPE",
    "what the key may do, such as orders:write or orders:*; may be repeated",
);
const ALLOW_IP: Line = (
    "--allow-ip NETWORK",
    "from where the key may be used: an address, or a network such as 192.0.2.0/24; may be repeated",
);
const RATE_LIMIT: Line = ("--rate-limit NUMBER", "calls in an hour, 1 to 100000");
const BURST: Line = ("--burst NUMBER", "calls on top of the rate, 0 to 100000");
const LIMIT: Line = (
    "--limit NAME=NUMBER/DURATION",
    "a further limit, such as minute=60/1m; may be repeated",
);
const EXPIRES_AT: Line = (
    "--expires-at DATE",
    "ISO 8601, UTC when it has no offset: 2030-12-31T23:59:59Z",
);
const EXPIRES_IN: Line = ("--expires-in DURATION", "from now on, such as 12h or 30days");
const METADATA: Line = (
    "--metadata JSON",
    "an object that every verify answers, such as '{\"env\": \"prod\"}'",
);

pub const CREATE: Page = Page {
    arguments: "--name NAME [OPTIONS]",
    about: "create a key and print its secret, once",
    groups: &[
        Group {
            title: "Options",
            lines: &[
                ("--name NAME", "what the key is for, 1 to 255 characters"),
                METADATA,
                EXPIRES_AT,
                EXPIRES_IN,
                ("--secret-type TYPE", "shared_secret, the only type and the default"),
                JSON,
            ],
        },
        Group {
            title: "Whose it is, and what it may do",
            lines: &[
                (
                    "--owner ID",
                    "the user that the key belongs to; such a key has an environment and a rate limit",
                ),
                (
                    "--environment WORD",
                    "production, test or development: how the secret begins [with --owner: production]",
                ),
                SCOPE,
                ALLOW_IP,
                (
                    RATE_LIMIT.0,
                    "calls in an hour, 1 to 100000 [with --owner: 1000, else no limit]",
                ),
                BURST,
                LIMIT,
            ],
        },
        REFRESH,
        STORE,
    ],
    json: Some(
        "id, secret, name, secret_type, created_at, expires_at, metadata, what was given of user_id, environment,\n  key_prefix, scopes, allowed_ips, rate_limit_per_hour, burst, limits, then sealed (plaintext secrets that became\n  digests), refresh (null, or success with keys_loaded, timestamp or error)",
    ),
};

pub const ROTATE: Page = Page {
    arguments: "KEY_ID [OPTIONS]",
    about: "replace a key's secret and print the new one, once",
    groups: &[
        KEY_ID,
        Group {
            title: "Options",
            lines: &[
                (
                    "--overlap DURATION",
                    "how long the old secret stays good, up to 30days [0: it ends now, with all before it]",
                ),
                JSON,
            ],
        },
        REFRESH,
        STORE,
    ],
    json: Some(
        "id, secret, name, rotated_at, previous_expires_at (null when the old secret has ended), the key's terms as\n  'heare-auth show --json' prints them, sealed, refresh",
    ),
};

pub const REVOKE: Page = Page {
    arguments: "KEY_ID [OPTIONS]",
    about: "take a key away, keeping its record; 'reactivate' gives it back",
    groups: &[
        KEY_ID,
        Group {
            title: "Options",
            lines: &[("--reason TEXT", "why, up to 500 characters, for 'show'"), JSON],
        },
        REFRESH,
        STORE,
    ],
    json: Some(CHANGED_MEMBERS),
};

pub const REACTIVATE: Page = Page {
    arguments: "KEY_ID [OPTIONS]",
    about: "give a revoked key back",
    groups: &[
        KEY_ID,
        Group {
            title: "Options",
            lines: &[JSON],
        },
        REFRESH,
        STORE,
    ],
    json: Some(CHANGED_MEMBERS),
};

pub const UPDATE: Page = Page {
    arguments: "KEY_ID [OPTIONS]",
    about: "change a key's name, metadata, expiry, scopes, networks or limits",
    groups: &[
        KEY_ID,
        Group {
            title: "Options (a list replaces the one before)",
            lines: &[
                ("--name NAME", "1 to 255 characters"),
                METADATA,
                EXPIRES_AT,
                EXPIRES_IN,
                SCOPE,
                ALLOW_IP,
                RATE_LIMIT,
                BURST,
                LIMIT,
                (
                    "--clear WORD",
                    "metadata, scope, allow-ip, rate-limit, burst, limit or expires-at; may be repeated",
                ),
                JSON,
            ],
        },
        REFRESH,
        STORE,
    ],
    json: Some(CHANGED_MEMBERS),
};

const CHANGED_MEMBERS: &str = "id, name, changed (false when the key was like that already), the key's terms as 'heare-auth show --json'\n  prints them, sealed, refresh";
