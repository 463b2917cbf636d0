//! Reads a file of keys, JSON or comma-separated values, into the members of each row.

use serde_json::value::RawValue;

use super::{
    Flaw, cells,
    csv::{BadQuote, Row, Rows},
};
use crate::core::{document::Members, key::Defect};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
}

/// A row as it stands in the file.
pub struct Found<'a> {
    pub line: usize,
    pub members: Result<Members<'a>, Flaw>,
}

/// Why a file is no list of keys. Never says what stands there: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("line {line} is not JSON")]
    NotJson { line: usize },
    #[error("the file has no list of keys")]
    NoKeys,
    #[error("column {0} of the first line has no name that is known; the columns are in 'heare-auth import --help'")]
    UnknownColumn(usize),
    #[error("column {0} of the first line has the name of an earlier one")]
    RepeatedColumn(usize),
    #[error("a quotation mark in line {line} is not closed or has text behind it")]
    BadQuote { line: usize },
}

impl Format {
    /// JSON begins with a bracket, and no table of keys does.
    pub fn of(text: &str) -> Self {
        if text.trim_ascii_start().starts_with(['{', '[']) {
            Self::Json
        } else {
            Self::Csv
        }
    }
}

pub fn read(text: &str, format: Format) -> Result<Vec<Found<'_>>, FileError> {
    match format {
        Format::Json => json(text),
        Format::Csv => table(text),
    }
}

/// A list of records, an object with such a list in `keys`, or one record after another.
fn json(text: &str) -> Result<Vec<Found<'_>>, FileError> {
    let values: Vec<&RawValue> = serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| FileError::NotJson { line: error.line() })?;
    let records = match values[..] {
        [] => return Err(FileError::NoKeys),
        [one] => list_in(one)?,
        _ => values,
    };
    let (mut line, mut end) = (1, 0);
    let found = records.into_iter().map(|record| {
        let begin = record.get().as_ptr().addr() - text.as_ptr().addr();
        line += memchr::memchr_iter(b'\n', &text.as_bytes()[end..begin]).count();
        end = begin;
        Found {
            line,
            members: serde_json::from_str(record.get()).map_err(|_| Defect::NotAnObject.into()),
        }
    });
    Ok(found.collect())
}

fn list_in(value: &RawValue) -> Result<Vec<&RawValue>, FileError> {
    if value.get().starts_with('[') {
        return serde_json::from_str(value.get()).map_err(|_| FileError::NoKeys);
    }
    let members: Members = serde_json::from_str(value.get()).map_err(|_| FileError::NoKeys)?;
    let Some(keys) = members.iter().filter(|member| member.is("keys")).last() else {
        return Ok(vec![value]);
    };
    match &keys.value {
        std::borrow::Cow::Borrowed(keys) => serde_json::from_str(keys.get()).map_err(|_| FileError::NoKeys),
        std::borrow::Cow::Owned(_) => Err(FileError::NoKeys),
    }
}

fn table(text: &str) -> Result<Vec<Found<'_>>, FileError> {
    let mut rows = Rows::of(text);
    let header = rows.next().ok_or(FileError::NoKeys)??;
    let mut columns: Vec<(&'static str, cells::Kind)> = Vec::with_capacity(header.cells.len());
    for (number, title) in header.cells.iter().enumerate() {
        let column = cells::column(title).ok_or(FileError::UnknownColumn(number + 1))?;
        if columns.contains(&column) {
            return Err(FileError::RepeatedColumn(number + 1));
        }
        columns.push(column);
    }
    let found = rows.map(|row| {
        let row = row?;
        Ok(Found {
            line: row.line,
            members: members(&columns, &row),
        })
    });
    found.collect()
}

fn members(columns: &[(&'static str, cells::Kind)], row: &Row<'_>) -> Result<Members<'static>, Flaw> {
    if row.cells.len() > columns.len() {
        return Err(Flaw::TooManyCells);
    }
    let mut members = Members::default();
    for (&column, cell) in columns.iter().zip(&row.cells) {
        cells::add(&mut members, column, cell)?;
    }
    Ok(members)
}

impl From<BadQuote> for FileError {
    fn from(BadQuote(line): BadQuote) -> Self {
        Self::BadQuote { line }
    }
}
