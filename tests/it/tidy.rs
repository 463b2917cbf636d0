//! Reads the source and holds the rules that ARCHITECTURE.md states and no compiler checks.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::support::root;

/// What a room may import from the crate; rooms not named may import anything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("core", &["core"]),
    ("clock", &["core"]),
    ("config", &["core"]),
    ("envelope", &["clock", "core"]),
    ("durable", &["clock"]),
    ("courtesy", &[]),
    ("machine", &[]),
    ("seal", &[]),
    (
        "store",
        &["core", "clock", "config", "courtesy", "durable", "envelope", "store"],
    ),
    ("snapshot", &["core", "durable", "envelope"]),
    ("telemetry", &["core", "clock", "config", "telemetry"]),
    (
        "loader",
        &[
            "core",
            "clock",
            "courtesy",
            "envelope",
            "loader",
            "snapshot",
            "store",
            "telemetry",
        ],
    ),
    (
        "expiry",
        &["core", "clock", "courtesy", "envelope", "loader", "store", "usage"],
    ),
    ("redis_link", &["core"]),
    ("limiter", &["core", "limiter", "redis_link", "telemetry"]),
    ("database", &["config", "core", "durable"]),
    (
        "usage",
        &["core", "clock", "config", "courtesy", "database", "telemetry", "usage"],
    ),
    (
        "accounts",
        &[
            "accounts",
            "clock",
            "config",
            "core",
            "courtesy",
            "database",
            "durable",
            "redis_link",
            "seal",
            "telemetry",
        ],
    ),
    (
        "catalogue",
        &["catalogue", "clock", "core", "envelope", "loader", "store"],
    ),
    (
        "http",
        &[
            "accounts",
            "catalogue",
            "clock",
            "config",
            "core",
            "courtesy",
            "envelope",
            "http",
            "limiter",
            "loader",
            "machine",
            "seal",
            "telemetry",
            "usage",
            "version",
        ],
    ),
    ("version", &[]),
    (
        "server",
        &[
            "accounts",
            "catalogue",
            "core",
            "clock",
            "config",
            "database",
            "envelope",
            "expiry",
            "http",
            "limiter",
            "loader",
            "server",
            "snapshot",
            "store",
            "telemetry",
            "usage",
            "version",
        ],
    ),
];

const LONGEST_FILE: usize = 400;

#[test]
fn rooms_import_only_what_lies_below_them() {
    for (path, text) in sources() {
        let room = room(&path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
            continue;
        };
        for imported in imported_rooms(&text) {
            assert!(
                allowed.contains(&imported.as_str()),
                "{}: {room} must not know {imported}",
                path.display()
            );
        }
    }
}

#[test]
fn the_path_of_a_request_does_not_know_the_database() {
    for (path, text) in sources().into_iter().filter(|(path, _)| room(path) == "http") {
        for (number, line) in code_lines(&text) {
            for word in ["sqlx", "database::"] {
                assert!(!line.contains(word), "{}:{number}: {word}", path.display());
            }
        }
    }
}

#[test]
fn grouped_and_single_imports_are_both_seen() {
    let text =
        "use crate::{\n    clock::Clock,\n    core::{key::Key, time},\n    store,\n};\nfn f() { crate::http::g() }\n";
    assert_eq!(imported_rooms(text), ["clock", "core", "store", "http"]);
}

#[test]
fn the_core_does_no_input_or_output() {
    let forbidden = [
        "tokio::",
        "std::thread",
        "warp::",
        "hyper::",
        "std::env",
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::net::ToSocketAddrs",
        "SystemTime",
        "Instant::",
        "rand::",
        "tracing::",
    ];
    for (path, text) in sources().into_iter().filter(|(path, _)| room(path) == "core") {
        for (number, line) in code_lines(&text) {
            for word in forbidden {
                assert!(!line.contains(word), "{}:{number}: {word} in the core", path.display());
            }
        }
    }
}

#[test]
fn the_environment_and_the_clock_are_read_in_one_place_each() {
    for (path, text) in sources() {
        for (number, line) in code_lines(&text) {
            let place = format!("{}:{number}", path.display());
            assert!(
                !line.contains("std::env::") || ["cli", "main"].contains(&room(&path).as_str()),
                "{place}: the environment"
            );
            assert!(
                !line.contains("SystemTime::now") || room(&path) == "clock",
                "{place}: the wall clock"
            );
        }
    }
}

#[test]
fn files_are_short_and_begin_with_what_they_own() {
    for (path, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") || path.ends_with("lib.rs"),
            "{}: no first sentence",
            path.display()
        );
        let lines = code_lines(&text).count();
        assert!(
            lines <= LONGEST_FILE,
            "{}: {lines} lines without its tests",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    let left = [
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        ".unwrap()",
        "FIXME",
        "TODO",
        "XXX",
    ];
    for (path, text) in sources() {
        for (number, line) in code_lines(&text) {
            for word in left {
                assert!(!line.contains(word), "{}:{number}: {word}", path.display());
            }
        }
    }
}

#[test]
fn every_setting_event_metric_route_and_reason_is_in_usage() {
    let usage = std::fs::read_to_string(root().join("USAGE.md")).expect("USAGE.md is there");
    let mut missing: Vec<String> = Vec::new();
    let mut expect = |kind: &str, word: &str| {
        if !usage.contains(&format!("`{word}`")) {
            missing.push(format!("{kind} {word}"));
        }
    };
    for setting in heare_auth::config::SETTINGS {
        expect("setting", setting.name);
    }
    for refusal in heare_auth::core::verify::Refusal::ALL {
        expect("reason", refusal.code());
    }
    for name in heare_auth::telemetry::metrics::Metrics::names() {
        expect("metric", &format!("heare-auth.{name}"));
    }
    for defect in heare_auth::core::key::Defect::ALL {
        expect("defect", defect.word());
    }
    for malformed in heare_auth::core::request::Malformed::ALL {
        expect("type of a 422", malformed.kind());
    }
    for reason in heare_auth::http::authz::credential::NoCredential::ALL {
        expect("code of /authz", reason.code());
    }
    for malformed in heare_auth::http::authz::query::Malformed::ALL {
        expect("code of /authz", malformed.word());
    }
    for trouble in heare_auth::redis_link::Trouble::ALL {
        expect("trouble", trouble.word());
    }
    for problem in heare_auth::http::keys::problem::Problem::all() {
        expect("code of a refused management call", problem.code());
    }
    for refusal in heare_auth::http::accounts::refusal::Refusal::all() {
        expect("reason of a refused call of accounts", refusal.word());
    }
    for error in heare_auth::database::DatabaseError::ALL {
        expect("error", error.word());
    }
    for action in heare_auth::usage::Action::ALL {
        expect("action", action.word());
    }
    for reason in heare_auth::http::local::NotLocal::ALL {
        expect("reason of a rejection", reason.word());
    }
    for room in ["store", "loader"] {
        let text = std::fs::read_to_string(root().join(format!("src/{room}/mod.rs"))).expect("the room is there");
        for word in text.lines().flat_map(|line| quoted_after(line, "=> \"")) {
            expect("error", word);
        }
    }
    for (path, text) in sources() {
        for (_, line) in code_lines(&text) {
            for event in quoted_after(line, "event = \"") {
                expect(&format!("event ({})", path.display()), event);
            }
        }
    }
    assert!(missing.is_empty(), "not in USAGE.md: {missing:#?}");
}

#[test]
fn every_option_is_in_usage() {
    let usage = std::fs::read_to_string(root().join("USAGE.md")).expect("USAGE.md is there");
    let mut options = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("tests/it/snapshots")).expect("the help's snapshots are there") {
        let path = entry.expect("a readable entry").path();
        let help = std::fs::read_to_string(&path).expect("help is text");
        let is_inside = |c: char| c == '-' || c.is_ascii_lowercase();
        for word in help
            .split(|c| !is_inside(c))
            .filter(|word| word.starts_with("--") && word.len() > 3)
        {
            options.insert(word.to_owned(), path.display().to_string());
        }
    }
    assert!(
        options.contains_key("--allow-older"),
        "the options were found: {options:?}"
    );
    options.retain(|option, _| !usage.contains(option.as_str()));
    assert!(options.is_empty(), "not in USAGE.md: {options:#?}");
}

#[test]
fn every_test_that_is_said_to_show_a_promise_exists() {
    let text = std::fs::read_to_string(root().join("documentation/promised.md")).expect("the table is there");
    let quoted = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let named: Vec<&str> = quoted.filter(|word| word.contains("::")).collect();
    assert!(named.len() > 100, "the tests are named");
    let missing: Vec<_> = named.into_iter().filter(|name| !is_test(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn every_promise_of_the_service_has_rows() {
    let text = std::fs::read_to_string(root().join("documentation/promised.md")).expect("the table is there");
    let rows_of = |number: u32| {
        let begin = format!("| P{number} | ");
        text.lines()
            .filter(|line| line.starts_with(&begin) && line.contains("::"))
            .count()
    };
    let few: Vec<u32> = (1..=17).filter(|number| rows_of(*number) < 2).collect();
    assert!(few.is_empty(), "promises with fewer than two rows: {few:?}");
    assert_eq!(rows_of(18), 0, "the rules above the table name every promise");
}

/// `room::file::name` is `fn name` in that file below `tests/it` or `src`, `proof::file::name` in that below `tests/proof`.
fn is_test(path: &str) -> bool {
    let (module, name) = path.rsplit_once("::").expect("a path has a module");
    let module = module.replace("::", "/");
    let places: &[&str] = if module.starts_with("proof/") {
        &["tests/{}.rs"]
    } else {
        &["tests/it/{}.rs", "src/{}.rs", "src/{}/tests.rs", "src/{}/mod.rs"]
    };
    places.iter().any(|place| {
        let source = std::fs::read_to_string(root().join(place.replace("{}", &module))).unwrap_or_default();
        source.contains(&format!("fn {name}("))
    })
}

#[test]
fn every_error_word_is_used_once() {
    let mut seen: BTreeMap<&str, heare_auth::core::key::Defect> = BTreeMap::new();
    for defect in heare_auth::core::key::Defect::ALL {
        assert_eq!(seen.insert(defect.word(), defect), None, "{} twice", defect.word());
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("source is text");
                found.push((
                    path.strip_prefix(root().join("src")).expect("below src").to_owned(),
                    text,
                ));
            }
        }
    }
    assert!(found.len() > 20, "the source was found");
    found
}

/// `core/time.rs` and `core/mod.rs` are in the room `core`, `clock.rs` is the room `clock`.
fn room(path: &Path) -> String {
    let first = path.components().next().expect("a path has a first part");
    Path::new(first.as_os_str())
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

/// The lines before the file's own tests, without comments, numbered from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

/// The rooms named by `crate::room` and by the arms of `use crate::{room::…, room}`.
fn imported_rooms(text: &str) -> Vec<String> {
    let code: String = code_lines(text).flat_map(|(_, line)| [line.trim(), " "]).collect();
    let mut rooms = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        match code[at + found.len()..].strip_prefix('{') {
            Some(group) => rooms.extend(arms(group).map(first_name)),
            None => rooms.push(first_name(&code[at + found.len()..])),
        }
    }
    rooms
}

/// The arms of an import group, cut at the commas that are not inside an inner group.
fn arms(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 1;
    let mut cuts = vec![0];
    for (at, c) in group.char_indices() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            cuts.push(at);
            break;
        }
        if depth == 1 && c == ',' {
            cuts.push(at + 1);
        }
    }
    let pieces: Vec<&str> = cuts
        .windows(2)
        .map(|cut| group[cut[0]..cut[1]].trim_matches([' ', ',']))
        .collect();
    pieces.into_iter().filter(|piece| !piece.is_empty())
}

fn first_name(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_')
        .collect()
}

fn quoted_after<'a>(line: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(start)
        .filter_map(move |(at, _)| line[at + start.len()..].split('"').next())
}
