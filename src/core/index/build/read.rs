//! Reads a document's text for the builder: the list of keys record by record, and what the document says of itself.

use super::{Builder, fits};
use crate::core::{
    document::DocumentError,
    index::Index,
    json::{Json, NotJson, Scanner},
    key::Members,
};

pub fn index(json: &[u8]) -> Result<Index, DocumentError> {
    if !fits(json.len()) {
        return Err(DocumentError::TooLarge);
    }
    let text = str::from_utf8(json).map_err(|error| DocumentError::of_bytes(json, error))?;
    let document = Document::read(text).map_err(|_| DocumentError::of_text(text))?;
    let builder = document.builder.ok_or(DocumentError::NoKeys)?;
    Ok(builder.finish(document.generation, document.write_id))
}

/// What a document holds. Of a repeated member the last counts.
#[derive(Default)]
struct Document {
    generation: Option<u64>,
    write_id: Option<Box<str>>,
    /// `None` until a list of keys was read.
    builder: Option<Builder>,
}

impl Document {
    /// The text must be one JSON object.
    fn read(text: &str) -> Result<Self, NotJson> {
        let mut document = Self::default();
        let mut scanner = Scanner::new(text);
        scanner.object(|scanner, name| document.read_member(scanner, name))?;
        scanner.end()?;
        Ok(document)
    }

    fn read_member(&mut self, scanner: &mut Scanner<'_>, name: Json<'_>) -> Result<(), NotJson> {
        match name.text().as_deref() {
            Some("keys") => self.builder = read_keys(scanner)?,
            Some("generation") => self.generation = generation(scanner.value()?),
            Some("write_id") => self.write_id = scanner.value()?.text().map(|id| id.into_owned().into_boxed_str()),
            Some(_) | None => drop(scanner.value()?),
        }
        Ok(())
    }
}

/// `None` when what stands there is no list.
fn read_keys(scanner: &mut Scanner<'_>) -> Result<Option<Builder>, NotJson> {
    if scanner.peek()? != b'[' {
        return scanner.value().map(|_| None);
    }
    let mut builder = Builder::default();
    scanner.list(|scanner| {
        builder.push(Members::pass(scanner)?.as_ref());
        Ok(())
    })?;
    Ok(Some(builder))
}

/// Only what a writer of ours puts there counts: a whole number from 1.
fn generation(json: Json<'_>) -> Option<u64> {
    json.get().parse().ok().filter(|generation| *generation >= 1)
}
