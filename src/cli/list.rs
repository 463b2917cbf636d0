//! `list` and `show`: the stored keys, as a table, in detail, or as JSON. Secrets are never shown.

use std::{fmt::Write as _, process::ExitCode};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    args::Args,
    failure::{Failure, unknown_key},
    output::{self, shown},
    record::{self, Record, Status},
    store::DocumentStore,
};

const TABLE_WIDTH: usize = 61;
const DETAILED_WIDTH: usize = 120;
const SHOW_WIDTH: usize = 80;

/// The columns begin where the documents show them, or further right when a cell needs it.
const NAME_WIDTH: usize = 22;
const ID_WIDTH: usize = 35;

#[derive(Serialize)]
struct KeyList<'a> {
    keys: &'a [Record<'a>],
    total: usize,
    defective: usize,
}

pub async fn list(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    let json = args.contains("--json");
    let detailed = args.contains_either("-d", "--detailed");
    let store = DocumentStore::open(&args.settings()?).await?;
    let document = store.read().await?;
    let records = record::read_all(&document, store.now())?;
    let text = if json {
        output::json_line(&KeyList {
            keys: &records,
            total: records.len(),
            defective: records
                .iter()
                .filter(|record| record.status == Status::Defective)
                .count(),
        })
    } else if records.is_empty() {
        "No API keys found.\n".to_owned()
    } else if detailed {
        details(&records)
    } else {
        table(&records)
    };
    output::answer(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn show(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    let json = args.contains("--json");
    let id = args.key_id()?;
    let store = DocumentStore::open(&args.settings()?).await?;
    let document = store.read().await?;
    let record = record::read_all(&document, store.now())?
        .into_iter()
        .find(|record| record.id.as_deref() == Some(id.as_str()))
        .ok_or_else(|| unknown_key(&id))?;
    output::answer(&if json {
        output::json_line(&record)
    } else {
        let rule = "━".repeat(SHOW_WIDTH);
        format!(
            "API Key Details:\n{rule}\n{}{rule}\n\n⚠️  The secret is not shown for security reasons.\n",
            block(&record, output::indented)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A record's name and id for people, whatever the record is like.
pub fn label(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), shown)
}

fn table(records: &[Record<'_>]) -> String {
    let rows: Vec<[String; 3]> = records.iter().map(row).collect();
    let width = |column: usize, least: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max();
        least.max(longest.unwrap_or_default() + 2)
    };
    let (name, id) = (width(0, NAME_WIDTH), width(1, ID_WIDTH));
    let rule = "━".repeat(TABLE_WIDTH.max(name + id + "2024-01-20".len()));
    let line = |[first, second, third]: &[String; 3]| format!("{first:<name$}{second:<id$}{third}\n");
    let head = line(&["Name", "Key ID", "Created"].map(str::to_owned));
    let body: String = rows.iter().map(line).collect();
    format!("API Keys:\n{rule}\n{head}{rule}\n{body}{rule}\n{}", total(records))
}

fn row(record: &Record<'_>) -> [String; 3] {
    let created: String = match &record.created_at {
        Some(created_at) => shown(created_at).chars().take("2024-01-20".len()).collect(),
        None => "N/A".to_owned(),
    };
    let created = match record.mark() {
        Some(mark) => format!("{created:<10}  ({mark})"),
        None => created,
    };
    [label(record.name.as_deref()), label(record.id.as_deref()), created]
}

fn details(records: &[Record<'_>]) -> String {
    let rule = "━".repeat(DETAILED_WIDTH);
    let blocks: Vec<String> = records.iter().map(|record| block(record, output::compact)).collect();
    format!(
        "API Keys (Detailed):\n{rule}\n{}{rule}\n{}",
        blocks.join("\n"),
        total(records)
    )
}

fn total(records: &[Record<'_>]) -> String {
    format!("Total: {} keys\n", records.len())
}

fn block(record: &Record<'_>, metadata_form: fn(&RawValue) -> String) -> String {
    let mut lines = vec![
        ("Name", label(record.name.as_deref())),
        ("Key ID", label(record.id.as_deref())),
        ("Secret Type", label(record.secret_type.as_deref())),
        (
            "Created",
            record.created_at.as_deref().map_or_else(|| "N/A".to_owned(), shown),
        ),
        (
            "Updated",
            record.updated_at.as_deref().map_or_else(|| "Never".to_owned(), shown),
        ),
        (
            "Expires",
            record.expires_at.as_deref().map_or_else(|| "Never".to_owned(), shown),
        ),
    ];
    lines.extend(record.mark().map(|mark| ("Status", mark)));
    lines.extend(record.terms.lines());
    let metadata = record.metadata.as_deref().filter(|metadata| metadata.get() != "{}");
    lines.extend(metadata.map(|metadata| ("Metadata", metadata_form(metadata))));
    if record.plaintext {
        lines.push((
            "Stored as",
            "plaintext ('heare-auth migrate' stores a digest instead)".to_owned(),
        ));
    }
    let mut block = String::new();
    for (label, value) in lines {
        writeln!(block, "{:<13}{value}", format!("{label}:")).expect("a String takes everything");
    }
    block
}
