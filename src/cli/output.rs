//! What goes to stdout and stderr. Answers go to stdout, everything else to stderr; texts that somebody else
//! chose are made harmless for a terminal on the way.

use std::{
    fmt::Write as _,
    io::{self, ErrorKind, Write as _},
};

use serde::Serialize;

use super::failure::Failure;

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

/// One JSON object on a line of its own.
pub fn json_line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("texts, numbers and JSON values are always JSON");
    line.push('\n');
    line
}

/// Writes to stderr. There is nobody to tell when that fails.
pub fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
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

/// Control characters, line and paragraph separators, and marks that change the direction of writing.
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_written_out() {
        assert_eq!(
            shown("\u{1b}[2Jx\r\n\u{9b}y\u{202e}z"),
            "\\u{1b}[2Jx\\u{d}\\u{a}\\u{9b}y\\u{202e}z"
        );
        assert_eq!(shown("Zürich 東京 👩\u{200d}💻"), "Zürich 東京 👩\u{200d}💻");
    }
}
