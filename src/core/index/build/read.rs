//! Reads a document for the builder while it arrives: the list of keys record by record, and what the document says of
//! itself.

use super::{Builder, fits};
use crate::core::{
    document::DocumentError,
    index::Index,
    json::{Json, NotJson, Scanner},
    key::Members,
};

/// An index whose document is still arriving. What was read is not kept, so that memory never holds a whole document.
#[derive(Default)]
pub struct Arriving {
    /// What has arrived and is not read yet: the beginning of something whose end is to come, or of no JSON.
    pending: Vec<u8>,
    /// How much must be pending for another look at it.
    enough: usize,
    /// How many bytes have arrived.
    arrived: usize,
    place: Place,
    generation: Option<u64>,
    write_id: Option<Box<str>>,
    /// `None` until a list of keys was read. Of a repeated one the last counts.
    builder: Option<Builder>,
}

/// Where in the document `pending` begins.
#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Start,
    FirstMember,
    Member,
    FirstKey,
    Key,
    BehindKeys,
    End,
}

impl Arriving {
    /// Reads as much as is whole. What is wrong is found out at the end.
    pub fn take(&mut self, piece: &[u8]) {
        self.arrived = self.arrived.saturating_add(piece.len());
        if !fits(self.arrived) {
            self.pending = Vec::new();
            return;
        }
        self.pending.extend_from_slice(piece);
        if self.pending.len() >= self.enough {
            self.read();
        }
    }

    /// The index, once everything has arrived. Calls `pause` between short pieces of its work.
    pub fn finish(mut self, pause: impl FnMut()) -> Result<Index, DocumentError> {
        if !fits(self.arrived) {
            return Err(DocumentError::TooLarge);
        }
        self.read();
        if !matches!(self.place, Place::End) || !self.pending.trim_ascii().is_empty() {
            return Err(self.error());
        }
        let builder = self.builder.ok_or(DocumentError::NoKeys)?;
        Ok(builder.finish(self.generation, self.write_id, pause))
    }

    fn read(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let text = str::from_utf8(&pending).unwrap_or_else(|error| {
            // The piece ends inside a character, or a byte stands here for none; then nothing is read from there on.
            str::from_utf8(&pending[..error.valid_up_to()]).unwrap_or_default()
        });
        let mut scanner = Scanner::new(text);
        let mut read = 0;
        while let Ok(place) = self.step(&mut scanner) {
            self.place = place;
            read = scanner.at();
        }
        pending.drain(..read);
        // Something long is not looked at from its beginning with every piece of it.
        self.enough = pending.len() * 2;
        self.pending = pending;
    }

    /// Passes one thing with what stands behind it, for only that shows a number to be whole.
    fn step(&mut self, scanner: &mut Scanner<'_>) -> Result<Place, NotJson> {
        match self.place {
            Place::Start => scanner.pass(b'{').map(|()| Place::FirstMember),
            Place::FirstMember | Place::Member => self.member(scanner),
            Place::FirstKey if scanner.peek()? == b']' => scanner.pass(b']').map(|()| Place::BehindKeys),
            Place::FirstKey | Place::Key => {
                let members = Members::pass(scanner)?;
                let ends = scanner.ends(b']')?;
                self.builder.get_or_insert_default().push(members.as_ref());
                Ok(if ends { Place::BehindKeys } else { Place::Key })
            }
            Place::BehindKeys => behind_member(scanner),
            Place::End => Err(NotJson),
        }
    }

    fn member(&mut self, scanner: &mut Scanner<'_>) -> Result<Place, NotJson> {
        let name = scanner.name()?.text();
        let is_keys = name.as_deref() == Some("keys");
        if is_keys && scanner.peek()? == b'[' {
            scanner.pass(b'[')?;
            self.builder = Some(Builder::default());
            return Ok(Place::FirstKey);
        }
        let value = scanner.value()?;
        let place = behind_member(scanner)?;
        match name.as_deref() {
            Some("keys") => self.builder = None,
            Some("generation") => self.generation = generation(value),
            Some("write_id") => self.write_id = value.text().map(|id| id.into_owned().into_boxed_str()),
            Some(_) | None => {}
        }
        Ok(place)
    }

    /// Why what arrived is no document. What was read is gone; something short that leads to the same place stands for it.
    fn error(&self) -> DocumentError {
        let read: &[u8] = match self.place {
            Place::Start => b"",
            Place::FirstMember => b"{",
            Place::Member => br#"{"":0,"#,
            Place::FirstKey => br#"{"":["#,
            Place::Key => br#"{"":[0,"#,
            Place::BehindKeys => br#"{"":[]"#,
            Place::End => b"{}",
        };
        DocumentError::of(&[read, &self.pending].concat())
    }
}

fn behind_member(scanner: &mut Scanner<'_>) -> Result<Place, NotJson> {
    let ends = scanner.ends(b'}')?;
    Ok(if ends { Place::End } else { Place::Member })
}

/// Only what a writer of ours puts there counts: a whole number from 1.
fn generation(json: Json<'_>) -> Option<u64> {
    json.get().parse().ok().filter(|generation| *generation >= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_of_an_arriving_document_is_not_kept() {
        let record = |n: usize| format!(r#"{{"id":"key_{n}","name":"n","secret":"sec_{n}"}}"#);
        let records: Vec<_> = (0..1000).map(record).collect();
        let json = format!(r#"{{"keys":[{}]}}"#, records.join(","));
        let mut arriving = Arriving::default();
        for piece in json.as_bytes().chunks(100) {
            arriving.take(piece);
            assert!(arriving.pending.len() < 400, "{}", arriving.pending.len());
        }
    }
}
