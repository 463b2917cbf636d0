//! The document's records as a file that an import reads back as they are. No plaintext secret is in it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    cells::{self, COLUMNS, Kind},
    csv::push_cell,
};
use crate::core::{
    change::seal_secrets,
    document::{Document, Members, compact, text},
};

/// A file, and how many elements of the list were left out because they are no records.
pub struct Exported {
    pub text: String,
    pub records: usize,
    pub left_out: usize,
}

/// One record a line, each member as it is stored.
pub fn to_json(document: &Document) -> Exported {
    let records = records(document);
    let lines: Vec<String> = records.iter().map(|record| one_line(&record.to_raw())).collect();
    let text = format!("{{\"keys\":[\n{}\n]}}\n", lines.join(",\n"));
    Exported::new(document, lines.len(), text)
}

/// What a column cannot say stands in the last one.
pub fn to_csv(document: &Document) -> Exported {
    let columns: Vec<(&str, Kind)> = COLUMNS.into_iter().filter(|(name, _)| is_exported(name)).collect();
    let mut text = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",");
    text.push('\n');
    let records = records(document);
    for record in &records {
        push_row(&mut text, &columns, record);
    }
    Exported::new(document, records.len(), text)
}

impl Exported {
    fn new(document: &Document, records: usize, text: String) -> Self {
        Self {
            text,
            records,
            left_out: document.records().len() - records,
        }
    }
}

/// All that are objects, each with its digest in the place of its secret.
fn records(document: &Document) -> Vec<Members<'static>> {
    let mut sealed = document.clone();
    seal_secrets(&mut sealed);
    let members = sealed.records().filter_map(Members::read);
    let without_secret = members.map(|mut members| {
        members.remove("secret");
        members.into_owned()
    });
    without_secret.collect()
}

fn is_exported(name: &str) -> bool {
    !matches!(name, "secret" | "key_hash" | "last_used_at")
}

fn push_row(table: &mut String, columns: &[(&str, Kind)], record: &Members<'_>) {
    let mut extra = record.clone();
    for &(name, kind) in columns {
        let value = record.get(name);
        let own_cell = value
            .filter(|_| kind != Kind::Extra)
            .and_then(|value| cells::cell(kind, value));
        let cell = match own_cell {
            Some(cell) => {
                extra.remove(name);
                cell
            }
            None if kind == Kind::Extra => object(&extra),
            None => {
                if value.is_some_and(|value| value.get() == "null") {
                    extra.remove(name);
                }
                Cow::Borrowed("")
            }
        };
        push_cell(table, &cell);
        table.push(if kind == Kind::Extra { '\n' } else { ',' });
    }
}

/// Of a repeated member only the last counts.
fn object(members: &Members<'_>) -> Cow<'static, str> {
    let mut once = Members::default();
    for member in members.iter() {
        if let Some(name) = text(&member.name) {
            once.set(&name, member.value.clone().into_owned());
        }
    }
    let json = one_line(&once.to_raw());
    if json == "{}" { "".into() } else { json.into() }
}

pub(super) fn one_line(json: &RawValue) -> String {
    String::from_utf8(compact(json)).expect("a text without some of its white space is a text")
}
