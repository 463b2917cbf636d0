//! Runs the commands of a document and holds what they print against what the document says.
//!
//! A block marked `console` is run: lines that begin with `$ ` go to bash (a trailing `\` continues one), the other lines
//! are what must come out. Keys, secrets and times differ from run to run: the first time a document's example appears in an
//! output it is bound to what was printed there, and stands for that in later commands and outputs. `[..]` matches
//! anything within a line, a line `...` any number of lines. A command that reads `heare-auth.log` finds there what the
//! service has logged. What happens to the world between two commands stands in a comment, `<!-- meanwhile: … -->`.

use std::collections::HashMap;

use super::{read, service::eventually, settings::Settings};

/// Where the documents find what the service wrote on stdout.
const LOG: &str = "heare-auth.log";

/// Where a document's commands are run.
pub trait Stage {
    /// The environment of the commands.
    fn settings(&self) -> Settings;

    /// The address of each instance as the documents write it, and as it is here.
    fn addresses(&self) -> Vec<(&'static str, String)>;

    /// What the instances have logged so far.
    fn log(&self) -> Vec<String>;

    /// Does what stands in a comment, or panics where it does not know it.
    fn meanwhile(&mut self, event: &str);
}

/// Runs a document to its end, and panics with everything that was not as it says.
pub fn run_document(name: &str, stage: &mut impl Stage) {
    let mut known = Bindings::default();
    let mut problems = Vec::new();
    for part in parts(&read(name)) {
        match part {
            Part::Event(event) => stage.meanwhile(&event),
            Part::Command(step) => {
                problems.extend(run_step(&step, stage, &mut known).map(|told| format!("{name}:{told}")));
            }
        }
    }
    assert!(commands(name) > 0, "{name} has no command to run");
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// What is wrong with what the command prints, with its line.
fn run_step(step: &Step, stage: &impl Stage, known: &mut Bindings) -> Option<String> {
    let script = here(&known.fill(&step.command), stage);
    let say = || as_documented(&run(&stage.settings(), &script), stage);
    let printed = if script.contains(LOG) {
        say_with_log(stage, step, known, say)
    } else {
        say()
    };
    let problem = known.compare(&step.expected, &printed).err()?;
    let Step { line, command, .. } = step;
    Some(format!("{line}: $ {command}\n{problem}\n-- printed:\n{printed}"))
}

fn here(text: &str, stage: &impl Stage) -> String {
    let replace = |text: String, (shown, actual): (&str, String)| text.replace(shown, &actual);
    stage.addresses().into_iter().fold(text.to_owned(), replace)
}

fn as_documented(text: &str, stage: &impl Stage) -> String {
    let replace = |text: String, (shown, actual): (&str, String)| text.replace(&actual, shown);
    stage.addresses().into_iter().fold(text.to_owned(), replace)
}

/// What the command prints once the log, which is written a little later than answers are, has all it looks for.
fn say_with_log(stage: &impl Stage, step: &Step, known: &Bindings, say: impl Fn() -> String) -> String {
    let file = stage.settings().home().join(LOG);
    let mut printed = String::new();
    eventually(&format!("{} finds {:#?}", step.command, step.expected), || {
        std::fs::write(&file, stage.log().join("\n")).expect("the log can be written");
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

/// How many commands of a document are run.
pub fn commands(name: &str) -> usize {
    let is_command = |part: &Part| matches!(part, Part::Command(_));
    parts(&read(name)).iter().filter(|part| is_command(part)).count()
}

enum Part {
    Command(Step),
    Event(String),
}

struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

/// The commands of all `console` blocks with the lines that follow each, and what happens between the blocks.
fn parts(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut inside = false;
    let mut continued = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = !inside && line == "```console";
            continue;
        }
        if !inside {
            let event = line
                .strip_prefix("<!-- meanwhile: ")
                .and_then(|rest| rest.strip_suffix(" -->"));
            parts.extend(event.map(|event| Part::Event(event.to_owned())));
            continue;
        }
        let last = parts.last_mut();
        match (line.strip_prefix("$ "), last) {
            (_, Some(Part::Command(step))) if continued => {
                step.command = format!("{}\n{line}", step.command);
                continued = line.ends_with('\\');
            }
            (Some(command), _) => {
                parts.push(Part::Command(Step {
                    line: number + 1,
                    command: command.to_owned(),
                    expected: Vec::new(),
                }));
                continued = line.ends_with('\\');
            }
            (None, Some(Part::Command(step))) => step.expected.push(line.to_owned()),
            (None, _) => {}
        }
    }
    parts
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
