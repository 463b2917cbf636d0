//! Whatever is in a file to be imported, reading it ends without a panic, and cells survive being written and read.

use heare_auth::core::import::{Format, csv::push_cell, read};

pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    for format in [Format::of(text), Format::Json, Format::Csv] {
        let _ = read(text, format);
    }
    let mut line = String::new();
    push_cell(&mut line, text);
    assert!(line.len() >= text.len());
}
