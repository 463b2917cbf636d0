//! The usage texts: one page for the program and one for each command.

mod accounts;
mod changes;
mod database;
mod moves;
pub mod outline;
mod tools;

use std::fmt::Write as _;

use self::changes::{CREATE, REACTIVATE, REVOKE, ROTATE, UPDATE};
use super::Command;
use crate::config::SETTINGS;

/// An option or argument, and what it does.
type Line = (&'static str, &'static str);

struct Page {
    /// What follows the command's word.
    arguments: &'static str,
    about: &'static str,
    groups: &'static [Group],
    /// The members of the object that `--json` prints.
    json: Option<&'static str>,
}

struct Group {
    title: &'static str,
    lines: &'static [Line],
}

const PROGRAM_USAGE: &str = "Usage: heare-auth COMMAND [OPTIONS]\n";

const STORE: Group = Group {
    title: "Store (flag over environment over ~/.heare-auth.toml over default)",
    lines: &[
        (
            "--bucket NAME",
            "S3 bucket [S3_BUCKET]; without one the store is $DATA_DIR/keys.json",
        ),
        ("--key NAME", "object in the bucket [S3_KEY, default keys.json]"),
        ("--region NAME", "region of the bucket [S3_REGION, default us-east-1]"),
        (
            "--storage-secret TEXT",
            "opens and seals the document [STORAGE_SECRET, where no process list shows it]",
        ),
    ],
};

const REFRESH: Group = Group {
    title: "Refresh",
    lines: &[
        (
            "--refresh-url URL",
            "called after the change [REFRESH_URL, default http://localhost:8080/refresh]",
        ),
        ("--no-refresh", "do not ask the service, nor call it"),
    ],
};

const KEY_ID: Group = Group {
    title: "Arguments",
    lines: &[("KEY_ID", "the key's id, key_..., as 'heare-auth list' shows it")],
};

const JSON: Line = ("--json", "print one JSON object");

const KEY_MEMBERS: &str = "id, name, secret_type, created_at, updated_at, expires_at, metadata, status (good, expired,\n  revoked, defective), defect, plaintext; and what the key has of user_id, environment, key_prefix, scopes,\n  allowed_ips, rate_limit_per_hour, burst, limits, is_active, revoked_at, revoke_reason, previous_expire_at";

pub fn program() -> String {
    let mut text = format!("heare-auth: is this API key good, and whose is it?\n\n{PROGRAM_USAGE}\nCommands:\n");
    for command in Command::ALL {
        push_line(&mut text, (command.word(), page(command).about), 11);
    }
    let aliases: Vec<_> = Command::ALIASES.iter().map(|(alias, _)| *alias).collect();
    writeln!(text, "\n{} are the same without '-key' or '-keys'.", aliases.join(", "))
        .expect("a String takes everything");
    text.push_str(
        "\nOptions:\n  -h, --help     show this, or a command's options: heare-auth create --help\n  -V, --version  show the version\n\n\
         'heare-auth serve --help' lists all settings. The other commands also read ~/.heare-auth.toml:\n\n\
         \x20 [default]\n  s3_bucket = \"...\"\n  s3_key = \"keys.json\"\n  s3_region = \"us-east-1\"\n  refresh_url = \"http://localhost:8080/refresh\"\n\n\
         Exit codes: 0 done, 1 failed, 2 wrong usage.\n",
    );
    text
}

pub fn program_usage() -> String {
    format!("{PROGRAM_USAGE}Try 'heare-auth --help'.\n")
}

/// The one line that stands below a wrong usage.
pub fn usage(command: Command) -> String {
    let word = command.word();
    format!("{}Try 'heare-auth {word} --help'.\n", usage_line(command))
}

pub fn command(command: Command) -> String {
    let page = page(command);
    let mut text = format!("{}\n{}\n", usage_line(command), sentence(page.about));
    for group in page.groups {
        write!(text, "\n{}:\n", group.title).expect("a String takes everything");
        let width = group.lines.iter().map(|(left, _)| left.len()).max().unwrap_or_default();
        for line in group.lines {
            push_line(&mut text, *line, width);
        }
    }
    if command == Command::Serve {
        push_settings(&mut text);
    }
    if let Some(members) = page.json {
        write!(text, "\nMembers of the JSON object:\n  {members}\n").expect("a String takes everything");
    }
    text
}

fn usage_line(command: Command) -> String {
    let line = format!("Usage: heare-auth {} {}", command.word(), page(command).arguments);
    format!("{}\n", line.trim_end())
}

fn sentence(about: &str) -> String {
    let mut characters = about.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).chain(['.']).collect()
}

fn push_line(text: &mut String, (left, right): (&str, &str), width: usize) {
    writeln!(text, "  {left:<width$}  {right}").expect("a String takes everything");
}

fn push_settings(text: &mut String) {
    text.push_str(
        "\nSettings, from the environment (and the AWS SDK's own: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...):\n",
    );
    let width = SETTINGS
        .iter()
        .map(|setting| setting.name.len())
        .max()
        .unwrap_or_default();
    for setting in SETTINGS {
        let default = match setting.default {
            "" => String::new(),
            default => format!(" [{default}]"),
        };
        push_line(text, (setting.name, &format!("{}{default}", setting.meaning)), width);
    }
}

const fn page(command: Command) -> Page {
    match command {
        Command::Serve => SERVE,
        Command::Create => CREATE,
        Command::List => LIST,
        Command::Show => SHOW,
        Command::Update => UPDATE,
        Command::Rotate => ROTATE,
        Command::Revoke => REVOKE,
        Command::Reactivate => REACTIVATE,
        Command::Delete => DELETE,
        Command::Refresh => REFRESH_PAGE,
        Command::Migrate => MIGRATE,
        Command::Import => moves::IMPORT,
        Command::Export => moves::EXPORT,
        Command::History => moves::HISTORY,
        Command::Rollback => moves::ROLLBACK,
        Command::Scan => moves::SCAN,
        Command::Verify => VERIFY,
        Command::Usage => database::USAGE,
        Command::Audit => database::AUDIT,
        Command::Users => accounts::USERS,
        Command::Jwt => accounts::JWT,
        Command::Database => database::DATABASE,
        Command::Doctor => DOCTOR,
        Command::Health => HEALTH,
        Command::Completions => tools::COMPLETIONS,
        Command::Man => tools::MAN,
    }
}

const SERVE: Page = Page {
    arguments: "",
    about: "run the service",
    groups: &[Group {
        title: "Signals",
        lines: &[
            (
                "TERM, INT",
                "finish what is in flight within 10 seconds, then end; a second INT ends at once",
            ),
            ("HUP", "read the certificate again and load the keys now"),
        ],
    }],
    json: None,
};

const LIST: Page = Page {
    arguments: "[OPTIONS]",
    about: "list all keys",
    groups: &[
        Group {
            title: "Options",
            lines: &[("-d, --detailed", "show everything but the secrets"), JSON],
        },
        STORE,
    ],
    json: Some("keys (each as 'heare-auth show --json' prints it), total, defective"),
};

const SHOW: Page = Page {
    arguments: "KEY_ID [OPTIONS]",
    about: "show one key, without its secret",
    groups: &[
        KEY_ID,
        Group {
            title: "Options",
            lines: &[JSON],
        },
        STORE,
    ],
    json: Some(KEY_MEMBERS),
};

const DELETE: Page = Page {
    arguments: "KEY_ID [OPTIONS]",
    about: "delete a key",
    groups: &[
        KEY_ID,
        Group {
            title: "Options",
            lines: &[("-y, --yes", "do not ask"), JSON],
        },
        REFRESH,
        STORE,
    ],
    json: Some("id, name, deleted, sealed, refresh"),
};

const REFRESH_PAGE: Page = Page {
    arguments: "[OPTIONS]",
    about: "let the running service load the keys now",
    groups: &[Group {
        title: "Options",
        lines: &[
            (
                "--url URL",
                "the service's refresh route [REFRESH_URL, default http://localhost:8080/refresh]",
            ),
            (
                "--allow-older",
                "take a document that is older than the one in force (a rollback)",
            ),
            JSON,
        ],
    }],
    json: Some("success, keys_loaded, timestamp"),
};

const MIGRATE: Page = Page {
    arguments: "[OPTIONS]",
    about: "replace all secrets stored as plaintext by digests",
    groups: &[
        Group {
            title: "Options",
            lines: &[JSON],
        },
        REFRESH,
        STORE,
    ],
    json: Some("sealed, total, generation, refresh"),
};

const VERIFY: Page = Page {
    arguments: "[OPTIONS] < SECRET",
    about: "ask whether the secret on standard input is good; exit code 1 when it is not",
    groups: &[
        Group {
            title: "Options",
            lines: &[
                (
                    "--url URL",
                    "the service's verify route; by default the one beside REFRESH_URL",
                ),
                ("--offline", "look into the store instead of asking the service"),
                ("--client-ip ADDRESS", "where the key's holder is"),
                ("--scope SCOPE", "a scope that the key must have; may be repeated"),
                JSON,
            ],
        },
        STORE,
    ],
    json: Some(
        "valid; key_id, name and metadata of a good key, else code (invalid, revoked, expired, ip_not_allowed, insufficient_scope, rate_limited)",
    ),
};

const DOCTOR: Page = Page {
    arguments: "[OPTIONS]",
    about: "check settings, store, document, service, database and stats bridge",
    groups: &[
        Group {
            title: "Options",
            lines: &[
                (
                    "--write",
                    "also find out, by writes that must be refused, whether the store keeps write conditions, or whether the file can be written",
                ),
                (
                    "--offline",
                    "do not ask the service, which is otherwise also told to load the keys",
                ),
                (
                    "--refresh-url URL",
                    "where the service refreshes [REFRESH_URL, default http://localhost:8080/refresh]",
                ),
                JSON,
            ],
        },
        STORE,
    ],
    json: Some("ok, checks (each with name, status (ok, warning, failed), message, advice)"),
};

const HEALTH: Page = Page {
    arguments: "[OPTIONS]",
    about: "ask the service on this host whether it answers (a container's health check)",
    groups: &[Group {
        title: "Options",
        lines: &[
            (
                "--ready",
                "also fail until a document has been loaded, and while stopping",
            ),
            JSON,
        ],
    }],
    json: Some("what the service answered to GET /health, or with --ready to GET /ready"),
};
