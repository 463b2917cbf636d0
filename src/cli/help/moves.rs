//! The pages of the commands that bring keys in and out, go back to earlier ones, and look for leaked ones.

use super::{Group, JSON, Page, REFRESH, STORE};

pub const IMPORT: Page = Page {
    arguments: "FILE [OPTIONS]",
    about: "add the keys of a JSON or CSV file, all in one write",
    groups: &[
        Group {
            title: "Arguments",
            lines: &[(
                "FILE",
                "the file, or - for standard input (then with --yes or --dry-run)",
            )],
        },
        Group {
            title: "Options",
            lines: &[
                (
                    "--dry-run",
                    "only show the plan; exit code 1 when it could not be carried out",
                ),
                ("-y, --yes", "do not ask"),
                (
                    "--format FORMAT",
                    "json or csv; by default the one that the file looks like",
                ),
                JSON,
            ],
        },
        Group {
            title: "Columns of a CSV file, members of a JSON record",
            lines: &[
                ("name", "needed"),
                ("secret", "the plaintext; stored as its digest"),
                (
                    "secret_hash, key_hash",
                    "a SHA-256 digest (64 hexadecimal digits) or a bcrypt hash of the secret, instead of it",
                ),
                ("key_prefix", "what the secret begins with; needed beside a bcrypt hash"),
                ("id", "a new one is made where it is missing"),
                ("user_id, environment", "as text"),
                (
                    "created_at, updated_at, expires_at, revoked_at, last_used_at",
                    "ISO 8601; the last is passed over",
                ),
                ("is_active", "true or false"),
                ("rate_limit_per_hour, burst", "whole numbers"),
                ("allowed_ips, scopes", "a JSON list, or words between spaces"),
                (
                    "metadata, limits, previous, extra",
                    "JSON; extra holds members that have no column",
                ),
                ("secret_type, revoke_reason", "as text"),
            ],
        },
        REFRESH,
        STORE,
    ],
    json: Some(
        "new, identical, conflicting and invalid (lists of line, id or null, reason), imported, total, sealed,\n  generation, refresh",
    ),
};

pub const EXPORT: Page = Page {
    arguments: "[OPTIONS]",
    about: "write all keys as JSON or CSV, with digests and never with secrets",
    groups: &[
        Group {
            title: "Options",
            lines: &[
                ("--format FORMAT", "json, the default, or csv"),
                (
                    "--output FILE",
                    "write to this file, readable by its owner only, instead of standard output",
                ),
                ("--json", "the same as --format json"),
            ],
        },
        STORE,
    ],
    json: Some("keys (each as it is stored)"),
};

pub const HISTORY: Page = Page {
    arguments: "[OPTIONS]",
    about: "list the versions of the document that a versioned bucket keeps",
    groups: &[
        Group {
            title: "Options",
            lines: &[
                (
                    "-d, --detailed",
                    "read each version for its generation and number of keys",
                ),
                ("--limit N", "the newest N, 20 by default"),
                JSON,
            ],
        },
        STORE,
    ],
    json: Some("versions (each with version, written_at, bytes, latest, deletion; detailed also generation, keys)"),
};

pub const ROLLBACK: Page = Page {
    arguments: "VERSION [OPTIONS]",
    about: "make an earlier version of the document the newest one",
    groups: &[
        Group {
            title: "Arguments",
            lines: &[("VERSION", "as 'heare-auth history' shows it")],
        },
        Group {
            title: "Options",
            lines: &[
                ("--dry-run", "only show what would appear, disappear and change"),
                ("-y, --yes", "do not ask"),
                JSON,
            ],
        },
        REFRESH,
        STORE,
    ],
    json: Some(
        "version, appears, disappears, changes (lists of id, name, from and to), rolled_back, total, sealed,\n  generation, refresh",
    ),
};

pub const SCAN: Page = Page {
    arguments: "PATH... [OPTIONS]",
    about: "look for leaked secrets in files and folders; exit code 1 when there are any",
    groups: &[
        Group {
            title: "Arguments",
            lines: &[(
                "PATH",
                "a file, a folder with all that is in it, or - for standard input",
            )],
        },
        Group {
            title: "Options",
            lines: &[
                (
                    "--offline",
                    "do not ask the store whose the secrets are; older ones without a checksum are not found then",
                ),
                (
                    "--prefix PREFIX",
                    "look for secrets that begin like this, too: with an earlier one of KEY_PREFIXES; may be repeated",
                ),
                JSON,
            ],
        },
        STORE,
    ],
    json: Some(
        "found (each with path, line, column, secret_prefix, key_id and status or null), files, skipped, unreadable",
    ),
};
