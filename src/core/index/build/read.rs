//! Reads a document's text for the builder: the list of keys record by record, and what the document says of itself.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Builder, fits};
use crate::core::{
    document::DocumentError,
    index::Index,
    key::{self, Members},
};

pub fn index(json: &[u8]) -> Result<Index, DocumentError> {
    if !fits(json.len()) {
        return Err(DocumentError::TooLarge);
    }
    let text = std::str::from_utf8(json).map_err(|e| match e.error_len() {
        Some(_) => DocumentError::NotJson,
        None => DocumentError::Truncated,
    })?;
    if text.trim_ascii().is_empty() {
        return Err(DocumentError::Empty);
    }
    let document = read(text, Care::Swift)
        .or_else(|e| if e.is_eof() { Err(e) } else { read(text, Care::Exact) })
        .map_err(|e| {
            if e.is_eof() {
                DocumentError::Truncated
            } else {
                DocumentError::NotJson
            }
        })?;
    let builder = document.builder.ok_or(DocumentError::NoKeys)?;
    Ok(builder.finish(document.generation, document.write_id))
}

/// How the list of keys is read. Swiftly means: as a list of objects, each read where it stands. Anything else in the
/// list ends in an error, and then the text is read once more in the exact way, where every element is first cut out
/// undecoded, so that one which is no object is a bad record among good ones.
#[derive(Clone, Copy)]
enum Care {
    Swift,
    Exact,
}

/// What a document holds.
struct Document {
    generation: Option<u64>,
    write_id: Option<Box<str>>,
    /// `None` until a list of keys was read.
    builder: Option<Builder>,
}

fn read(text: &str, care: Care) -> Result<Document, serde_json::Error> {
    let mut document = Document {
        generation: None,
        write_id: None,
        builder: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    if text.trim_ascii_start().starts_with('{') {
        deserializer.deserialize_map(DocumentVisitor {
            document: &mut document,
            care,
        })?;
    } else {
        IgnoredAny::deserialize(&mut deserializer)?;
    }
    deserializer.end()?;
    Ok(document)
}

struct DocumentVisitor<'b> {
    document: &'b mut Document,
    care: Care,
}

impl<'de> Visitor<'de> for DocumentVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&RawValue>()? {
            match key::text(name).as_deref() {
                Some("keys") => self.document.builder = self.read_keys(&mut map)?,
                Some("generation") => self.document.generation = generation(map.next_value()?),
                Some("write_id") => {
                    self.document.write_id = key::text(map.next_value()?).map(|id| id.into_owned().into_boxed_str());
                }
                Some(_) | None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl DocumentVisitor<'_> {
    /// `None` when what stands there is no list.
    fn read_keys<'de, A: MapAccess<'de>>(&self, map: &mut A) -> Result<Option<Builder>, A::Error> {
        match self.care {
            Care::Swift => map.next_value_seed(Keys(self.care)).map(Some),
            Care::Exact => {
                let list: &RawValue = map.next_value()?;
                let keys = Keys(self.care).deserialize(&mut serde_json::Deserializer::from_str(list.get()));
                // Valid JSON of which every element is only cut out: all that can be wrong is that it is no list.
                Ok(keys.ok())
            }
        }
    }
}

/// The list of keys, read into a builder.
struct Keys(Care);

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = Builder;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Builder, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = Builder;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Builder, A::Error> {
        let mut builder = Builder::default();
        match self.0 {
            Care::Swift => {
                while let Some(members) = list.next_element::<Members>()? {
                    builder.push(Some(&members));
                }
            }
            Care::Exact => {
                while let Some(record) = list.next_element::<&RawValue>()? {
                    builder.push(Members::of(record).as_ref());
                }
            }
        }
        Ok(builder)
    }
}

/// Only what a writer of ours puts there counts: a whole number from 1.
fn generation(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok().filter(|generation| *generation >= 1)
}
