//! Comma-separated values as RFC 4180 has them: cut into rows and cells, and written.

use std::borrow::Cow;

/// The rows of a text, one after another.
pub struct Rows<'a> {
    rest: &'a str,
    line: usize,
}

/// A row, and the line of the text in which it begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Row<'a> {
    pub line: usize,
    pub cells: Vec<Cow<'a, str>>,
}

/// A quotation mark that is never closed, or that has something behind it; by its line.
#[derive(Debug, PartialEq, Eq)]
pub struct BadQuote(pub usize);

impl<'a> Rows<'a> {
    pub fn of(text: &'a str) -> Self {
        Self {
            rest: text.strip_prefix('\u{feff}').unwrap_or(text),
            line: 1,
        }
    }

    fn cell(&mut self) -> Result<Cow<'a, str>, BadQuote> {
        if !self.rest.starts_with('"') {
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            let (cell, rest) = self.rest.split_at(end);
            self.rest = rest;
            let at_line_end = !rest.starts_with(',');
            return Ok(if at_line_end {
                cell.strip_suffix('\r').unwrap_or(cell)
            } else {
                cell
            }
            .into());
        }
        let begin = self.line;
        let inside = &self.rest[1..];
        let end = closing_quote(inside).ok_or(BadQuote(begin))?;
        let (cell, behind) = (&inside[..end], &inside[end + 1..]);
        self.line += cell.matches('\n').count();
        self.rest = if behind.starts_with("\r\n") || behind == "\r" {
            &behind[1..]
        } else {
            behind
        };
        if !(self.rest.is_empty() || self.rest.starts_with([',', '\n'])) {
            return Err(BadQuote(begin));
        }
        Ok(if cell.contains('"') {
            cell.replace("\"\"", "\"").into()
        } else {
            cell.into()
        })
    }

    fn row(&mut self) -> Result<Row<'a>, BadQuote> {
        let mut row = Row {
            line: self.line,
            cells: Vec::new(),
        };
        loop {
            row.cells.push(self.cell()?);
            let Some(rest) = self.rest.strip_prefix(',') else {
                break;
            };
            self.rest = rest;
        }
        self.rest = self.rest.strip_prefix('\n').unwrap_or_default();
        self.line += 1;
        Ok(row)
    }
}

/// Empty lines are no rows. After a bad quotation mark there is nothing that could be told apart.
impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, BadQuote>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.row() {
                Ok(row) if row.cells == [""] => {}
                Ok(row) => return Some(Ok(row)),
                Err(bad) => {
                    self.rest = "";
                    return Some(Err(bad));
                }
            }
        }
        None
    }
}

/// Where the first quotation mark stands that is not doubled.
fn closing_quote(inside: &str) -> Option<usize> {
    let bytes = inside.as_bytes();
    let mut at = 0;
    loop {
        at += inside[at..].find('"')?;
        if bytes.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// Appends a cell, in quotation marks where it needs them.
pub fn push_cell(line: &mut String, cell: &str) {
    if !cell.contains([',', '"', '\n', '\r']) {
        return line.push_str(cell);
    }
    line.push('"');
    line.push_str(&cell.replace('"', "\"\""));
    line.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        let own = |row: Row<'_>| (row.line, row.cells.into_iter().map(Cow::into_owned).collect());
        Rows::of(text).map(|row| own(row.unwrap())).collect()
    }

    #[test]
    fn rows_know_the_line_in_which_they_begin() {
        let text = "\u{feff}a,b\r\n\r\n\"x\ny\",\"\"\"q\"\"\"\n\n,z\r\n last ,\"\"";
        let expected = [
            (1, vec!["a", "b"]),
            (3, vec!["x\ny", "\"q\""]),
            (6, vec!["", "z"]),
            (7, vec![" last ", ""]),
        ];
        let expected = expected.map(|(line, cells)| (line, cells.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        assert_eq!(rows(text), expected);
        assert_eq!(rows("a,\"b\"\r"), [(1, vec!["a".to_owned(), "b".to_owned()])]);
    }

    #[test]
    fn a_quotation_mark_in_the_wrong_place_is_named_by_its_line() {
        for (text, line) in [("a\n\"b", 2), ("a\n\n\"b\"c,d\n", 3), ("\"a\"\"\n", 1)] {
            let bad = Rows::of(text).find_map(Result::err);
            assert_eq!(bad, Some(BadQuote(line)), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(cells in vec(any::<String>(), 2..5)) {
            let mut line = String::new();
            for (at, cell) in cells.iter().enumerate() {
                line.push_str(if at == 0 { "" } else { "," });
                push_cell(&mut line, cell);
            }
            line.push('\n');
            prop_assume!(!cells[0].starts_with('\u{feff}'));
            prop_assert_eq!(rows(&line), vec![(1, cells)]);
        }

        #[test]
        fn no_text_makes_reading_panic_or_go_on_for_ever(text in "[\",\r\na]{0,40}") {
            prop_assert!(Rows::of(&text).count() <= text.len());
        }
    }
}
