//! `export`: all keys as a file that `import` reads back, without any secret.

use std::{path::Path, process::ExitCode};

use super::{
    args::Args,
    failure::Failure,
    import::parse_format,
    output::{self, note},
    store::DocumentStore,
};
use crate::{
    core::import::{
        Format,
        export::{to_csv, to_json},
    },
    durable,
};

pub async fn export(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    let format = args.option("--format")?;
    let file = args.option("--output")?;
    let json = args.contains("--json");
    let settings = args.settings()?;
    let format = format.as_deref().map(parse_format).transpose()?;
    if json && format == Some(Format::Csv) {
        return Err(Failure::usage("--json and --format csv exclude each other"));
    }
    let document = DocumentStore::open(&settings).await?.read().await?;
    let exported = match format.unwrap_or(Format::Json) {
        Format::Json => to_json(&document),
        Format::Csv => to_csv(&document),
    };
    match file {
        None => output::write_stdout(&exported.text)
            .map_err(|_| Failure::failed("the keys could not be written to standard output"))?,
        Some(file) => {
            durable::replace(Path::new(&file), exported.text.as_bytes())
                .map_err(|error| Failure::Failed(format!("the file cannot be written: {}", error.kind())))?;
            note(&format!("✓ Exported {} keys.\n", exported.records));
        }
    }
    if exported.left_out > 0 {
        note(&format!(
            "⚠️  Warning: {} elements of the list are no records and were left out.\n",
            exported.left_out
        ));
    }
    Ok(ExitCode::SUCCESS)
}
