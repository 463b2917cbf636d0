//! The columns that a table of keys may have, and what their cells say.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Flaw, export::one_line};
use crate::core::document::{Members, json_of};

/// How a column's cells are to be understood. An empty cell says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// `true`, `t`, `1`, `yes` or the contrary.
    Flag,
    Number,
    /// A JSON list, a list in braces as a database writes it, or words between spaces, commas or semicolons.
    List,
    /// A JSON list.
    JsonList,
    /// A JSON object.
    Object,
    /// A JSON object with all members that have no column.
    Extra,
}

/// In the order in which they are exported.
pub const COLUMNS: [(&str, Kind); 24] = [
    ("id", Kind::Text),
    ("secret", Kind::Text),
    ("secret_hash", Kind::Text),
    ("key_hash", Kind::Text),
    ("key_prefix", Kind::Text),
    ("name", Kind::Text),
    ("secret_type", Kind::Text),
    ("user_id", Kind::Text),
    ("environment", Kind::Text),
    ("created_at", Kind::Text),
    ("updated_at", Kind::Text),
    ("expires_at", Kind::Text),
    ("last_used_at", Kind::Text),
    ("is_active", Kind::Flag),
    ("revoked_at", Kind::Text),
    ("revoke_reason", Kind::Text),
    ("rate_limit_per_hour", Kind::Number),
    ("burst", Kind::Number),
    ("limits", Kind::JsonList),
    ("allowed_ips", Kind::List),
    ("scopes", Kind::List),
    ("metadata", Kind::Object),
    ("previous", Kind::JsonList),
    ("extra", Kind::Extra),
];

/// The column with this title, whatever its case.
pub fn column(title: &str) -> Option<(&'static str, Kind)> {
    let title = title.trim();
    COLUMNS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(title))
}

/// Adds what a cell says to the members.
pub fn add(members: &mut Members<'_>, (name, kind): (&'static str, Kind), cell: &str) -> Result<(), Flaw> {
    if cell.is_empty() {
        return Ok(());
    }
    let bad = Flaw::BadCell(name);
    let value = match kind {
        Kind::Text => json_of(cell),
        Kind::Flag => json_of(&flag(cell).ok_or(bad)?),
        Kind::Number => json_of(&cell.trim().parse::<i64>().map_err(|_| bad)?),
        Kind::List => list(cell).ok_or(bad)?,
        Kind::JsonList => json(cell, '[').ok_or(bad)?,
        Kind::Object => json(cell, '{').ok_or(bad)?,
        Kind::Extra => {
            let object = json(cell, '{').ok_or(bad)?;
            let extra = Members::read(&object).ok_or(Flaw::BadCell(name))?;
            for member in extra.iter() {
                let name = crate::core::document::text(&member.name).ok_or(Flaw::BadCell("extra"))?;
                members.set(&name, member.value.clone().into_owned());
            }
            return Ok(());
        }
    };
    members.set(name, value);
    Ok(())
}

/// The cell for a member, if one of this kind can say it. A text stays as it is, line breaks and all.
pub fn cell(kind: Kind, value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    let holds = match kind {
        Kind::Text => return crate::core::document::text(value).filter(|text| !text.is_empty()),
        Kind::Flag => matches!(json, "true" | "false"),
        Kind::Number => json.parse::<i64>().is_ok_and(|number| number.to_string() == json),
        Kind::List | Kind::JsonList => json.starts_with('['),
        Kind::Object | Kind::Extra => json.starts_with('{'),
    };
    holds.then(|| one_line(value).into())
}

fn flag(cell: &str) -> Option<bool> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" => Some(true),
        "false" | "f" | "0" | "no" => Some(false),
        _ => None,
    }
}

fn json(cell: &str, begin: char) -> Option<Box<RawValue>> {
    let value: Box<RawValue> = serde_json::from_str(cell).ok()?;
    value.get().starts_with(begin).then_some(value)
}

fn list(cell: &str) -> Option<Box<RawValue>> {
    let cell = cell.trim();
    if cell.starts_with('[') {
        return json(cell, '[');
    }
    let inside = cell
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(cell);
    let words = inside.split([',', ';', ' ', '\t']).map(|word| word.trim_matches('"'));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    Some(json_of(&words))
}
