//! The usage texts of the commands that read the database.

use super::{Group, JSON, Page, STORE};

pub const USAGE: Page = Page {
    arguments: "[KEY_ID] [OPTIONS]",
    about: "show how often, for what and how fast a key is used, or all keys",
    groups: &[
        Group {
            title: "Arguments",
            lines: &[("KEY_ID", "the key's id, key_...; without it all keys together")],
        },
        Group {
            title: "Options",
            lines: &[("--hours NUMBER", "how far to look back, 1 to 8760 [24]"), JSON],
        },
        STORE,
    ],
    json: Some(
        "key_id, hours, total_requests, requests_today, requests_this_hour, average_response_time_ms,\n  \
         max_response_time_ms, error_rate, response_times, last_used_at, top_endpoints, by_hour;\n  \
         of all keys active_keys and keys instead of key_id and last_used_at",
    ),
};

pub const AUDIT: Page = Page {
    arguments: "[OPTIONS]",
    about: "show who changed which key, newest first",
    groups: &[Group {
        title: "Options",
        lines: &[
            ("--limit NUMBER", "how many at most, 1 to 1000 [50]"),
            ("--before ID", "those older than this entry"),
            ("--key-id KEY_ID", "changes of this key"),
            ("--who ACTOR", "changes by this actor, such as cli:alice"),
            ("--what ACTION", "changes of this kind, such as delete"),
            JSON,
        ],
    }],
    json: Some("entries (each with id, when, who, what, key_id, from, result, request_id), next (null at the end)"),
};

pub const DATABASE: Page = Page {
    arguments: "ACTION [OPTIONS]",
    about: "show, make or remove the tables of use and audit",
    groups: &[
        Group {
            title: "Actions",
            lines: &[
                ("status", "show the version of the tables"),
                (
                    "up",
                    "make them or bring them up to date; the service does so by itself",
                ),
                ("down", "remove them with everything in them; stop the service first"),
            ],
        },
        Group {
            title: "Options",
            lines: &[("-y, --yes", "'down' is meant"), JSON],
        },
    ],
    json: Some("database, version (0 without tables), latest"),
};
