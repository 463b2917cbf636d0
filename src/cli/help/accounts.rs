//! The usage texts of the commands about accounts and the keys that sign their tokens.

use super::{Group, JSON, Page, REFRESH, STORE};

pub const USERS: Page = Page {
    arguments: "ACTION [LOGIN | FILE] [OPTIONS]",
    about: "show, disable, delete or import the users, or end their sessions",
    groups: &[
        Group {
            title: "Actions",
            lines: &[
                ("list", "list all users"),
                ("show LOGIN", "show one user"),
                (
                    "disable LOGIN",
                    "let a user no longer log in, and end all sessions; keys stay as they are",
                ),
                ("enable LOGIN", "let a disabled user log in again"),
                (
                    "delete LOGIN",
                    "delete a user, end all sessions and revoke all keys of that user",
                ),
                ("sessions LOGIN", "show where a user is logged in, or end sessions"),
                (
                    "import FILE",
                    "take over users of another system, with their bcrypt hashes; - is standard input",
                ),
            ],
        },
        Group {
            title: "Options",
            lines: &[
                ("--id NUMBER", "the user's id, instead of LOGIN"),
                ("--end ID", "sessions: end this one"),
                ("--end-all", "sessions: end all of them"),
                ("--dry-run", "import: show what would be done, and do nothing"),
                ("--format FORMAT", "import: json or csv [by the first character]"),
                ("-y, --yes", "delete, import: do not ask"),
                JSON,
            ],
        },
        REFRESH,
        STORE,
    ],
    json: Some(
        "list: users (each as 'show' has it without sessions), total;\n  \
         show: id, login, status (good, disabled), created_at, last_login, disabled_at, hash (argon2id, bcrypt), sessions;\n  \
         disable, enable: id, login, changed, sessions_ended; sessions: id, login, ended, sessions (each with id,\n  \
         created_at, refreshed_at, expires_at, address, user_agent);\n  \
         delete: id, login, deleted, sessions_ended, keys_revoked, refresh;\n  \
         import: new, identical, conflicting, invalid (each with row, reason), imported",
    ),
};

pub const JWT: Page = Page {
    arguments: "rotate [OPTIONS]",
    about: "give the key that signs tokens a successor; tokens it has signed stay good",
    groups: &[Group {
        title: "Options",
        lines: &[
            ("--init", "make the file of keys if there is none, and else do nothing"),
            (
                "--drop-old",
                "also drop the keys that have not signed anything for longer than TOKEN_TTL",
            ),
            JSON,
        ],
    }],
    json: Some(
        "algorithm (EdDSA, HS256), rotated, file, kid, kept, dropped, new (the new value of JWT_PRIVATE_KEY or\n  \
         SECRET_KEY, where no file keeps it)",
    ),
};
