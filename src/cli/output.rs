//! What goes to stdout and stderr. Answers go to stdout, everything else to stderr; texts that somebody else
//! chose are made harmless for a terminal on the way.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, ErrorKind, Write as _},
};

use serde::Serialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use crate::core::terms::steers;

/// Writes an answer to stdout. A reader that has gone away (`| head`) has seen what it wanted.
pub fn answer(text: &str) -> Result<(), Failure> {
    match write_stdout(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed("the answer could not be written to standard output"))
        }
        _ => Ok(()),
    }
}

/// Writes an answer that cannot be given twice: even a closed pipe is an error.
pub fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// One JSON object on a line of its own. What would steer a terminal is escaped in it, which makes it no other JSON.
pub fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("texts, numbers and JSON values are always JSON");
    let mut line = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        // The others stand between tokens where they stand as they are.
        if steers(character) && !character.is_ascii_whitespace() {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").expect("a String takes everything");
            }
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

/// Somebody's JSON on one line, for people: every member, number and escape as it was written.
pub fn compact(json: &RawValue) -> String {
    shown(&laid_out(json.get(), ":", |_| String::new()))
}

/// The same, one member a line.
pub fn indented(json: &RawValue) -> String {
    let text = laid_out(json.get(), ": ", |depth| format!("\n{}", "  ".repeat(depth)));
    text.lines().map(shown).collect::<Vec<_>>().join("\n")
}

/// White space between tokens is replaced by what `line_break` gives for a depth, and by `colon`.
fn laid_out(json: &str, colon: &str, line_break: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut depth, mut just_opened, mut in_string, mut escaped) = (0_usize, false, false, false);
    for character in json.chars() {
        if in_string {
            text.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        if character.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(character, '}' | ']');
        depth = depth.saturating_sub(usize::from(closes));
        // An empty object or list stays in one piece.
        if just_opened != closes {
            text.push_str(&line_break(depth));
        }
        just_opened = matches!(character, '{' | '[');
        depth += usize::from(just_opened);
        in_string = character == '"';
        match character {
            ':' => text.push_str(colon),
            ',' => {
                text.push(',');
                text.push_str(&line_break(depth));
            }
            _ => text.push(character),
        }
    }
    text
}

/// Writes to stderr. There is nobody to tell when that fails.
pub fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Asks on stderr, so that stdout holds answers only. The end of the input is a no.
pub fn is_agreed(question: &str) -> bool {
    note(&format!("{question} [y/N]: "));
    let mut answer = String::new();
    if !matches!(io::stdin().lock().read_line(&mut answer), Ok(1..)) {
        note("\n");
    }
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// A text of somebody else's, fit to be shown: what would steer a terminal or reorder a line is written out.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            write!(shown, "\\u{{{:x}}}", u32::from(character)).expect("a String takes everything");
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_anew_and_otherwise_kept_to_the_letter() {
        let json = r#" { "z" : 1.50, "a":[ 12345678901234567890123 ,{ }, [], "x \" , \\",-1e9 ],"n":{"b":null}} "#;
        let json: Box<RawValue> = serde_json::from_str(json).unwrap();
        let line = r#"{"z":1.50,"a":[12345678901234567890123,{},[],"x \" , \\",-1e9],"n":{"b":null}}"#;
        assert_eq!(compact(&json), line);
        let lines = r#"{
  "z": 1.50,
  "a": [
    12345678901234567890123,
    {},
    [],
    "x \" , \\",
    -1e9
  ],
  "n": {
    "b": null
  }
}"#;
        assert_eq!(indented(&json), lines);
    }

    #[test]
    fn json_with_a_text_that_steers_is_made_harmless() {
        let json: Box<RawValue> = serde_json::from_str("{\"a\":\"x\u{202e}y\"}").unwrap();
        assert_eq!(compact(&json), "{\"a\":\"x\\u{202e}y\"}");
    }

    #[test]
    fn a_line_of_json_steers_no_terminal_and_says_the_same() {
        let texts = ["\u{9b}31m", "x\u{202e}y\u{7f}", "Zürich 👩\u{200d}💻\n"];
        let line = json_line(&texts);
        let json = r#"["\u009b31m","x\u202ey\u007f","Zürich 👩|💻\n"]"#.replace('|', "\u{200d}");
        assert_eq!(line, format!("{json}\n"));
        assert_eq!(serde_json::from_str::<Vec<String>>(&line).unwrap(), texts);
        let between = RawValue::from_string("{\t\"a\":1}".to_owned()).unwrap();
        assert_eq!(json_line(&between), "{\t\"a\":1}\n");
    }

    #[test]
    fn what_would_steer_a_terminal_is_written_out() {
        assert_eq!(
            shown("\u{1b}[2Jx\r\n\u{9b}y\u{202e}z"),
            "\\u{1b}[2Jx\\u{d}\\u{a}\\u{9b}y\\u{202e}z"
        );
        assert_eq!(shown("Zürich 東京 👩\u{200d}💻"), "Zürich 東京 👩\u{200d}💻");
    }
}
