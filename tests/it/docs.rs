//! Runs the commands of README.md, USAGE.md and the guides, and holds what they print against what the documents say.
//!
//! A block marked `console` is run: lines that begin with `$ ` go to bash (a trailing `\` continues one), the other lines
//! are what must come out. Keys, secrets and times differ from run to run: the first time a document's example appears in an
//! output it is bound to what was printed there, and stands for that in later commands and outputs. `[..]` matches
//! anything within a line, a line `...` any number of lines. Shell blocks of other kinds need a reason in front of
//! them: `<!-- not run: because … -->`. A command that reads `heare-auth.log` finds there what the service has logged.

use std::{collections::HashMap, path::Path};

use crate::support::{
    service::{Service, eventually},
    settings::Settings,
};

/// Where the documents' service listens.
const SHOWN_ORIGIN: &str = "http://localhost:8080";

/// Where the documents find what the service wrote on stdout.
const LOG: &str = "heare-auth.log";

#[test]
fn the_commands_in_usage_print_what_usage_says() {
    run_document("USAGE.md");
}

#[test]
fn the_commands_in_the_readme_print_what_the_readme_says() {
    run_document("README.md");
}

#[test]
fn the_commands_in_the_migration_guide_print_what_it_says() {
    run_document("documentation/migration/api-keys.md");
}

#[test]
fn the_commands_in_the_migration_guide_of_accounts_print_what_it_says() {
    run_document("documentation/migration/accounts.md");
}

#[test]
fn the_commands_in_the_authentication_guide_print_what_it_says() {
    run_document("documentation/getting-started/authentication.md");
}

#[test]
fn the_commands_in_the_security_guide_print_what_it_says() {
    run_document("documentation/security/api-keys.md");
}

#[test]
fn the_commands_in_the_troubleshooting_guide_print_what_it_says() {
    run_document("documentation/troubleshooting/api-keys.md");
}

#[test]
fn every_document_with_commands_to_run_is_run() {
    let source = include_str!("docs.rs");
    for name in documents() {
        let commands = steps(&read(&name)).len();
        let is_run = source.contains(&format!("run_document(\"{name}\")"));
        assert!(commands == 0 || is_run, "{name}: {commands} commands are not run");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for name in documents() {
        let folder = Path::new(&name).parent().expect("a document is in a folder");
        for target in links(&read(&name)) {
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() {
                root().join(&name)
            } else {
                root().join(folder).join(path)
            };
            let found = file.exists() && (heading.is_empty() || headings(&file).iter().any(|h| h == heading));
            if !found {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_index() {
    let index = links(&read("documentation/README.md"));
    for name in documents() {
        let Some(page) = name.strip_prefix("documentation/") else {
            continue;
        };
        let is_decision = page.starts_with("decisions/") && page != "decisions/README.md";
        let listed = index.iter().any(|target| target == page);
        assert!(
            page == "README.md" || is_decision || listed,
            "{page} is not in documentation/README.md"
        );
    }
}

#[test]
fn every_shell_block_is_run_or_says_why_not() {
    for name in documents() {
        let text = read(&name);
        let mut reason = false;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("<!-- not run:") {
                reason = true;
            } else if let Some(language) = line.strip_prefix("```").filter(|l| !l.is_empty()) {
                let shell = matches!(language, "bash" | "sh" | "shell");
                assert!(!shell || reason, "{name}:{}: neither run nor a reason", number + 1);
                reason = false;
            } else if !line.trim().is_empty() {
                reason = false;
            }
        }
    }
}

#[test]
fn an_output_line_matches_only_what_it_describes() {
    let mut known = Bindings::default();
    assert!(known.matches("  ID:  key_00000000aaaaaaaaaa", "  ID:  key_00000000bbbbbbbbbb"));
    assert!(!known.matches("key_00000000aaaaaaaaaa gone", "key_00000000cccccccccc gone"));
    assert!(known.matches("took [..] ms", "took 17 ms"));
    assert!(known.matches("at 2024-01-20T10:30:00Z.", "at 2026-02-21T11:31:01Z."));
    assert!(!known.matches("5 keys", "6 keys"));
    assert_eq!(known.fill("show key_00000000aaaaaaaaaa"), "show key_00000000bbbbbbbbbb");
}

fn documents() -> Vec<String> {
    let mut names = vec![
        "README.md".to_owned(),
        "USAGE.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "clients/README.md".to_owned(),
    ];
    let mut folders = vec!["documentation".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("documentation/ is there") {
            let entry = entry.expect("a readable folder");
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                folders.push(name);
            } else if entry.path().extension().is_some_and(|extension| extension == "md") {
                names.push(name);
            }
        }
    }
    names
}

fn run_document(name: &str) {
    let service = Settings::file_store().start();
    service.wait_until_ready();
    let settings = service.settings().clone().with("REFRESH_URL", service.url("/refresh"));
    let mut known = Bindings::default();
    let mut commands = 0;
    for step in steps(&read(name)) {
        let script = known.fill(&step.command).replace(SHOWN_ORIGIN, &service.url(""));
        let say = || run(&settings, &script).replace(&service.url(""), SHOWN_ORIGIN);
        let printed = if script.contains(LOG) {
            say_with_log(&service, &step, &known, say)
        } else {
            say()
        };
        if let Err(problem) = known.compare(&step.expected, &printed) {
            panic!(
                "{name}:{}: $ {}\n{problem}\n-- printed:\n{printed}",
                step.line, step.command
            );
        }
        commands += 1;
    }
    assert!(commands > 0, "{name} has no command to run");
}

/// What the command prints once the service's log, which is written a little later than answers are, has all it looks for.
fn say_with_log(service: &Service, step: &Step, known: &Bindings, say: impl Fn() -> String) -> String {
    let file = service.settings().home().join(LOG);
    let mut printed = String::new();
    eventually(&format!("{} finds {:#?}", step.command, step.expected), || {
        std::fs::write(&file, service.log_lines().join("\n")).expect("the log can be written");
        printed = say();
        known.clone().compare(&step.expected, &printed).is_ok()
    });
    printed
}

/// What a person would see: both outputs, in their order.
fn run(settings: &Settings, script: &str) -> String {
    let output = settings
        .shell(&format!("exec 2>&1\n{script}"))
        .output()
        .expect("bash runs");
    String::from_utf8(output.stdout).expect("text")
}

struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

/// The commands of all `console` blocks with the lines that follow each.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    let mut continued = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = !inside && line == "```console";
        } else if !inside {
        } else if continued {
            let step = steps.last_mut().expect("a continued command has begun");
            step.command = format!("{}\n{line}", step.command);
            continued = line.ends_with('\\');
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: number + 1,
                command: command.to_owned(),
                expected: Vec::new(),
            });
            continued = line.ends_with('\\');
        } else if let Some(step) = steps.last_mut() {
            step.expected.push(line.to_owned());
        }
    }
    steps
}

/// What the example keys and secrets of a document stand for in this run.
#[derive(Clone, Default)]
struct Bindings {
    actual: HashMap<String, String>,
}

impl Bindings {
    fn fill(&self, text: &str) -> String {
        self.actual
            .iter()
            .fold(text.to_owned(), |text, (example, actual)| text.replace(example, actual))
    }

    fn compare(&mut self, expected: &[String], printed: &str) -> Result<(), String> {
        let printed: Vec<&str> = printed.trim_matches('\n').lines().collect();
        let expected: Vec<&str> = trimmed(expected);
        let mut next = 0;
        let mut skipping = false;
        for line in expected {
            if line == "..." {
                skipping = true;
                continue;
            }
            let found = if skipping {
                (next..printed.len()).find(|&at| self.matches(line, printed[at]))
            } else {
                (next < printed.len() && self.matches(line, printed[next])).then_some(next)
            };
            next = found.ok_or_else(|| format!("-- expected here: {line}"))? + 1;
            skipping = false;
        }
        if skipping || next == printed.len() {
            Ok(())
        } else {
            Err(format!("-- not expected: {}", printed[next]))
        }
    }

    /// Whether an output line fits; binds the examples in it when it does.
    fn matches(&mut self, expected: &str, printed: &str) -> bool {
        if !glob(&shape(expected), &shape(printed)) {
            return false;
        }
        let fresh: Vec<(String, String)> = examples(expected).zip(examples(printed)).collect();
        if fresh
            .iter()
            .any(|(example, actual)| self.actual.get(example).is_some_and(|known| known != actual))
        {
            return false;
        }
        self.actual.extend(fresh);
        true
    }
}

fn trimmed(lines: &[String]) -> Vec<&str> {
    let start = lines.iter().position(|l| !l.is_empty()).unwrap_or(lines.len());
    let end = lines.iter().rposition(|l| !l.is_empty()).map_or(start, |at| at + 1);
    lines[start..end].iter().map(String::as_str).collect()
}

/// The line with every key, secret and time replaced by the name of its kind.
fn shape(line: &str) -> String {
    words(line).into_iter().map(|word| kind(word).unwrap_or(word)).collect()
}

fn examples(line: &str) -> impl Iterator<Item = String> {
    words(line)
        .into_iter()
        .filter(|word| matches!(kind(word), Some("<key>" | "<secret>")))
        .map(str::to_owned)
}

fn kind(word: &str) -> Option<&'static str> {
    let is_time = word.len() >= 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T' && word.starts_with("20");
    match word {
        _ if word.len() >= 20 && word.starts_with("key_") => Some("<key>"),
        _ if word.len() >= 20 && (word.starts_with("sec_") || word.starts_with("hk_")) => Some("<secret>"),
        _ if is_time => Some("<time>"),
        _ if is_date(word) => Some("<date>"),
        _ => None,
    }
}

fn is_date(word: &str) -> bool {
    let shape = word.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    shape.eq(*b"0000-00-00")
}

/// The line cut into runs of word characters and the characters between them.
fn words(line: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // A full stop or colon at a word's end belongs to the sentence.
        let bare = word.trim_end_matches(['.', ':']);
        words.extend([bare, &word[bare.len()..]].into_iter().filter(|w| !w.is_empty()));
        rest = after;
    }
    words
}

fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The targets of all links to this repository.
fn links(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The headings of a document as links name them.
fn headings(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let titles = text.lines().filter_map(|line| line.strip_prefix('#'));
    titles.map(|title| slug(title.trim_start_matches('#').trim())).collect()
}

fn slug(title: &str) -> String {
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
