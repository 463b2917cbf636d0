//! What the bucket held, one version after the other. Each write that lands is held against the one before it: it must be
//! the next generation, made by a write that has not landed yet, and differ in one key of its writer and in nothing else.

use super::bucket::{Ruin, Said};
use heare_auth::{core::secret::Digest, envelope::Envelope};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The keys of a document, each as it is recorded.
pub type Keys = BTreeMap<String, Value>;

/// What is written of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub digest: Digest,
    pub active: bool,
    pub name: String,
    pub per_hour: Option<u32>,
}

/// The keys of a document by their ids, each as it is written.
pub type AllWritten = BTreeMap<String, Written>;

struct Stored {
    etag: String,
    bytes: Vec<u8>,
    generation: u64,
    keys: Keys,
    written: AllWritten,
}

pub struct History {
    envelope: Envelope,
    /// The oldest first; the last one is the object.
    versions: Vec<Stored>,
    write_ids: BTreeSet<String>,
    /// By their digests all secrets that any version had.
    secrets: HashSet<Digest>,
    /// Everything that happened, in order; the same for the same seed.
    pub told: Vec<String>,
    pub broken: Vec<String>,
    pub seen: Seen,
}

/// How often something was seen, by what it is.
pub type Seen = BTreeMap<&'static str, u64>;

impl History {
    pub fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            versions: Vec::new(),
            write_ids: BTreeSet::new(),
            secrets: HashSet::new(),
            told: Vec::new(),
            broken: Vec::new(),
            seen: Seen::new(),
        }
    }

    pub fn generation(&self) -> u64 {
        self.versions.last().map_or(0, |stored| stored.generation)
    }

    pub fn keys(&self) -> Keys {
        self.versions
            .last()
            .map(|stored| stored.keys.clone())
            .unwrap_or_default()
    }

    /// The keys of a generation that has been; before the first there were none.
    pub fn written_in(&self, generation: u64) -> Option<&AllWritten> {
        static NONE: AllWritten = AllWritten::new();
        if generation == 0 {
            return Some(&NONE);
        }
        let stored = self.versions.iter().find(|stored| stored.generation == generation);
        stored.map(|stored| &stored.written)
    }

    pub fn secrets(&self) -> &HashSet<Digest> {
        &self.secrets
    }

    pub fn hold(&mut self, promise: &str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let line = format!("{promise} is broken: {}", what());
            self.told.push(line.clone());
            self.broken.push(line);
        }
    }

    pub fn see(&mut self, what: &'static str, times: usize) {
        *self.seen.entry(what).or_default() += times as u64;
    }

    /// What a reader sees that is given a version so far back, or a ruin instead of it.
    pub fn get(&mut self, known: Option<&str>, back: usize, ruin: Option<Ruin>) -> (String, Said) {
        let newest = self.versions.len().checked_sub(1);
        let Some(stored) = newest.map(|newest| &self.versions[newest.saturating_sub(back)]) else {
            return ("nothing".to_owned(), nothing());
        };
        match ruin {
            Some(ruin) => {
                let ruined = self.ruined(stored, ruin, known);
                self.see("reads of a ruin", 1);
                ruined
            }
            None => given(stored, known, stored.generation.to_string()),
        }
    }

    fn ruined(&self, stored: &Stored, ruin: Ruin, known: Option<&str>) -> (String, Said) {
        let bytes: &[u8] = match ruin {
            Ruin::Gone => return ("not found".to_owned(), nothing()),
            Ruin::Empty => b"",
            Ruin::Page => b"<html><title>It works!</title></html>",
            Ruin::Truncated => &stored.bytes[..stored.bytes.len() * 2 / 3],
            Ruin::NoKeys => b"{\"error\":\"out of order\"}",
            Ruin::First => return given(&self.versions[0], known, format!("{ruin:?}")),
        };
        sent(&etag(bytes), bytes, known, format!("{ruin:?}"))
    }

    pub fn put(&mut self, writer: &str, expect: Option<&str>, bytes: &[u8]) -> (String, Said) {
        let holds = match (expect, self.versions.last()) {
            (None, stored) => stored.is_none(),
            (Some(expect), Some(stored)) => stored.etag == expect,
            (Some(_), None) => return ("404".to_owned(), nothing()),
        };
        if !holds {
            return (
                "412".to_owned(),
                Said::new(412, None, "<Error><Code>PreconditionFailed</Code></Error>"),
            );
        }
        let generation = self.land(writer, bytes);
        (format!("{generation} landed"), Said::new(200, Some(etag(bytes)), ""))
    }

    fn land(&mut self, writer: &str, bytes: &[u8]) -> u64 {
        let opened = self.envelope.open(bytes).expect("what is written opens").into_owned();
        let document: Value = serde_json::from_slice(&opened).expect("what is written is JSON");
        let generation = document["generation"].as_u64().expect("a generation");
        let write_id = document["write_id"].as_str().expect("a write id").to_owned();
        let keys = keys(&document);
        let before = self.keys();
        let touched: Vec<&String> = (before.keys().chain(keys.keys()).collect::<BTreeSet<_>>().into_iter())
            .filter(|id| before.get(*id) != keys.get(*id))
            .collect();
        let own = format!("key_{writer}_");
        let one_of_its_own = touched.len() == 1 && touched[0].starts_with(&own);
        let touched = format!("{writer} touched {touched:?} in generation {generation}");
        self.hold("P6 no lost update", one_of_its_own, || touched);
        let next = self.generation() + 1;
        self.hold("P6 one after the other", generation == next, || {
            format!("{generation} for {next}")
        });
        let fresh = self.write_ids.insert(write_id);
        self.hold("P6 no change twice", fresh, || {
            format!("{writer} in generation {generation}")
        });
        let written = keys.iter().map(|(id, record)| {
            let written = Written::of(record).expect("a record of ours");
            (id.clone(), written)
        });
        let written: AllWritten = written.collect();
        self.secrets.extend(written.values().map(|key| key.digest));
        self.versions.push(Stored {
            etag: etag(bytes),
            bytes: bytes.to_owned(),
            generation,
            keys,
            written,
        });
        self.see("writes that landed", 1);
        generation
    }
}

impl Written {
    fn of(record: &Value) -> Option<Self> {
        Some(Self {
            digest: record["secret_hash"].as_str()?.parse().ok()?,
            active: record["is_active"] != false && record["revoked_at"].is_null(),
            name: record["name"].as_str()?.to_owned(),
            per_hour: record["rate_limit_per_hour"]
                .as_u64()
                .and_then(|rate| u32::try_from(rate).ok()),
        })
    }
}

fn keys(document: &Value) -> Keys {
    let records = document["keys"].as_array().expect("a list of keys").iter();
    records
        .map(|record| (record["id"].as_str().expect("an id").to_owned(), record.clone()))
        .collect()
}

fn given(stored: &Stored, known: Option<&str>, what: String) -> (String, Said) {
    let (what, said) = sent(&stored.etag, &stored.bytes, known, what);
    (what, said.of(stored.generation))
}

fn sent(etag: &str, bytes: &[u8], known: Option<&str>, what: String) -> (String, Said) {
    if known == Some(etag) {
        return (format!("still {what}"), Said::new(304, None, ""));
    }
    (what, Said::new(200, Some(etag.to_owned()), bytes))
}

fn nothing() -> Said {
    Said::new(404, None, "<Error><Code>NoSuchKey</Code></Error>").of(0)
}

fn etag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let beginning = u64::from_be_bytes(*digest.first_chunk().expect("32 bytes begin with 8"));
    format!("\"{beginning:016x}\"")
}
