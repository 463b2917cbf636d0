//! Whatever is in a file to be imported, reading it ends without a panic, and cells survive being written and read.

use heare_auth::core::import::{
    Format,
    csv::{Rows, push_cell},
    read,
};

pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    for format in [Format::of(text), Format::Json, Format::Csv] {
        let _ = read(text, format);
    }
    // As an export is written: behind a header, since the first three bytes of a file may say how it is encoded.
    let mut table = "first,last\n".to_owned();
    push_cell(&mut table, text);
    table.push(',');
    push_cell(&mut table, text);
    table.push('\n');
    let row = Rows::of(&table)
        .nth(1)
        .expect("a row")
        .expect("its quotation marks close");
    assert_eq!((row.line, row.cells), (2, vec![text.into(), text.into()]));
    assert_eq!(Rows::of(&table).count(), 2);
}
