//! What an import would do to a document: which records are new, which are there already, and which contradict it.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

use super::{COLUMNS, Incoming, MADE_HERE};
use crate::core::{
    document::{Document, Members, same_value, text},
    imported::{BcryptHash, MAX_SHARING_PREFIX, stored_digest},
    secret::Digest,
};

/// Every incoming record is one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Numbers of incoming records.
    pub new: Vec<usize>,
    pub identical: usize,
    pub conflicts: Vec<Conflict>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub line: usize,
    /// None where the row has none: nobody knows the one that was drawn for it.
    pub id: Option<String>,
    pub reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("the stored key with this id differs in {0}")]
    Differs(String),
    #[error("the stored key {id} has the same secret and differs in {members}")]
    SameSecretDiffers { id: String, members: String },
    #[error("the stored key {0} has the same secret")]
    SecretTaken(String),
    #[error("line {0} has the same id")]
    IdRepeated(usize),
    #[error("line {0} has the same secret")]
    SecretRepeated(usize),
    #[error("more than {MAX_SHARING_PREFIX} keys with a bcrypt hash would share its key_prefix")]
    PrefixCrowded,
}

/// What is known of one incoming record.
#[derive(Clone)]
enum Fate {
    New,
    Identical,
    Conflict(Reason),
}

pub fn plan(document: &Document, incoming: &[Incoming]) -> Plan {
    let mut planner = Planner::new(incoming);
    for stored in document.records().filter_map(Stored::read) {
        planner.compare(&stored);
    }
    planner.refuse_crowds();
    planner.finish()
}

struct Planner<'a> {
    incoming: &'a [Incoming],
    fates: Vec<Fate>,
    by_id: BTreeMap<&'a str, usize>,
    by_digest: BTreeMap<&'a [u8; 32], usize>,
    /// How many records there are for each prefix of imported keys.
    by_prefix: BTreeMap<String, usize>,
}

impl<'a> Planner<'a> {
    fn new(incoming: &'a [Incoming]) -> Self {
        let mut planner = Self {
            incoming,
            fates: vec![Fate::New; incoming.len()],
            by_id: BTreeMap::new(),
            by_digest: BTreeMap::new(),
            by_prefix: BTreeMap::new(),
        };
        for (number, one) in incoming.iter().enumerate() {
            let same_id = *planner.by_id.entry(&one.id).or_insert(number);
            let first = |digest: &'a Digest| *planner.by_digest.entry(digest.as_bytes()).or_insert(number);
            let holders: Vec<usize> = one.digests().map(first).collect();
            let same_digest = holders.into_iter().find(|&holder| holder != number).unwrap_or(number);
            if same_id != number {
                planner.fates[number] = Fate::Conflict(Reason::IdRepeated(incoming[same_id].line));
            } else if same_digest != number {
                planner.fates[number] = Fate::Conflict(Reason::SecretRepeated(incoming[same_digest].line));
            }
        }
        planner
    }

    fn compare(&mut self, stored: &Stored<'_>) {
        for prefix in prefixes_of_bcrypt(&stored.members) {
            *self.by_prefix.entry(prefix).or_default() += 1;
        }
        let same_id = stored.id.as_deref().and_then(|id| self.by_id.get(id).copied());
        if let Some(number) = same_id {
            let one = &self.incoming[number];
            let fate = if one.record.get() == stored.record.get() {
                Fate::Identical
            } else {
                compared(one, &stored.members, &[], Reason::Differs)
            };
            self.decide(number, fate);
        }
        let current: Vec<Digest> = stored.current_digests().collect();
        for digest in current.iter().copied().chain(stored.previous_digests()) {
            let Some(&number) = self
                .by_digest
                .get(digest.as_bytes())
                .filter(|number| same_id != Some(**number))
            else {
                continue;
            };
            let one = &self.incoming[number];
            let id = stored.id.as_deref().unwrap_or("without an id").to_owned();
            let fate = if one.is_new_here && digest == one.digest && current.contains(&digest) {
                let reason = |members| Reason::SameSecretDiffers { id, members };
                compared(one, &stored.members, &MADE_HERE, reason)
            } else {
                Fate::Conflict(Reason::SecretTaken(id))
            };
            self.decide(number, fate);
        }
    }

    /// A conflict is never taken back.
    fn decide(&mut self, number: usize, fate: Fate) {
        if !matches!(self.fates[number], Fate::Conflict(_)) {
            self.fates[number] = fate;
        }
    }

    fn refuse_crowds(&mut self) {
        let prefixes: Vec<Vec<String>> = self.incoming.iter().zip(&self.fates).map(prefixes_of_new).collect();
        for prefix in prefixes.iter().flatten() {
            *self.by_prefix.entry(prefix.clone()).or_default() += 1;
        }
        for (number, prefixes) in prefixes.into_iter().enumerate() {
            let mut sharing = prefixes.iter().filter_map(|prefix| self.by_prefix.get(prefix).copied());
            if sharing.any(|sharing| sharing > MAX_SHARING_PREFIX) {
                self.decide(number, Fate::Conflict(Reason::PrefixCrowded));
            }
        }
    }

    fn finish(self) -> Plan {
        let mut plan = Plan::default();
        for (number, fate) in self.fates.into_iter().enumerate() {
            match fate {
                Fate::New => plan.new.push(number),
                Fate::Identical => plan.identical += 1,
                Fate::Conflict(reason) => {
                    let one = &self.incoming[number];
                    plan.conflicts.push(Conflict {
                        line: one.line,
                        id: (!one.is_new_here).then(|| one.id.clone()),
                        reason,
                    });
                }
            }
        }
        plan
    }
}

/// A record of the document as far as an incoming one can meet it.
struct Stored<'d> {
    record: &'d RawValue,
    members: Members<'d>,
    id: Option<String>,
}

impl<'d> Stored<'d> {
    fn read(record: &'d RawValue) -> Option<Self> {
        let members = Members::read(record)?;
        let id = members.get("id").and_then(text).map(Cow::into_owned);
        Some(Self { record, members, id })
    }

    /// Also of a record that is no good key, and so denies whoever has the same.
    fn current_digests(&self) -> impl Iterator<Item = Digest> {
        let of_secret = self
            .members
            .get("secret")
            .and_then(text)
            .filter(|secret| !secret.is_empty());
        let stored = self.members.get("secret_hash").and_then(text);
        let of_secret = of_secret.map(|secret| Digest::of(&secret));
        of_secret
            .into_iter()
            .chain(stored.and_then(|hash| stored_digest(&hash)))
    }

    fn previous_digests(&self) -> impl Iterator<Item = Digest> {
        let hash = |entry: Members<'static>| stored_digest(&text(entry.get("secret_hash")?)?);
        previous(&self.members).into_iter().filter_map(hash)
    }
}

/// The entries of the list of earlier secrets; what is no list has none.
fn previous(members: &Members<'_>) -> Vec<Members<'static>> {
    let list = members.get("previous").map(RawValue::get).unwrap_or_default();
    let entries: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| Some(Members::read(entry)?.into_owned()))
        .collect()
}

fn compared(one: &Incoming, stored: &Members<'_>, passed_over: &[&str], reason: impl FnOnce(String) -> Reason) -> Fate {
    let differing = Members::read(&one.record).map(|incoming| differing(&incoming, stored, passed_over));
    match differing {
        Some(differing) if differing.is_empty() => Fate::Identical,
        differing => Fate::Conflict(reason(differing.unwrap_or_default().join(", "))),
    }
}

/// The members that are not the same in both. Names that are not known here are not repeated.
fn differing(incoming: &Members<'_>, stored: &Members<'_>, passed_over: &[&str]) -> Vec<&'static str> {
    let mut found = Vec::new();
    let names = incoming
        .iter()
        .chain(stored.iter())
        .filter_map(|member| text(&member.name));
    for name in names.filter(|name| !passed_over.contains(&&**name)) {
        if same_member(&name, incoming, stored) {
            continue;
        }
        let known = COLUMNS.iter().map(|(known, _)| *known).find(|known| *known == name);
        let shown = known.unwrap_or("a member of its own");
        if !found.contains(&shown) {
            found.push(shown);
        }
    }
    found
}

/// Absent is as good as `null`, and as what an absent member means.
fn same_member(name: &str, incoming: &Members<'_>, stored: &Members<'_>) -> bool {
    let value = |members: &Members<'_>| {
        let meant = match name {
            "metadata" => "{}",
            "secret_type" => r#""shared_secret""#,
            "is_active" => "true",
            _ => "null",
        };
        let given = members
            .get(name)
            .filter(|raw| raw.get() != "null")
            .map(ToOwned::to_owned);
        given.unwrap_or_else(|| RawValue::from_string(meant.to_owned()).expect("these are JSON"))
    };
    match (name, stored.get("secret").and_then(text)) {
        // The stored plaintext becomes this digest with the next write.
        ("secret", _) => true,
        ("secret_hash", Some(secret)) if !secret.is_empty() => {
            let given = incoming.get(name).and_then(text);
            given.is_some_and(|given| given == Digest::of(&secret).to_string())
        }
        _ => same_value(&value(incoming), &value(stored)),
    }
}

fn prefixes_of_new((one, fate): (&Incoming, &Fate)) -> Vec<String> {
    let members = Members::read(&one.record).filter(|_| matches!(fate, Fate::New));
    members.map_or_else(Vec::new, |members| prefixes_of_bcrypt(&members))
}

/// Of the secret and of the earlier ones.
fn prefixes_of_bcrypt(members: &Members<'_>) -> Vec<String> {
    let earlier = previous(members);
    let own = prefix_of_bcrypt(members);
    own.into_iter()
        .chain(earlier.iter().filter_map(prefix_of_bcrypt))
        .collect()
}

fn prefix_of_bcrypt(members: &Members<'_>) -> Option<String> {
    let hash = members
        .get("secret_hash")
        .filter(|raw| !raw.get().starts_with("\"sha256:"))?;
    BcryptHash::parse(&text(hash)?)?;
    members.get("key_prefix").and_then(text).map(Cow::into_owned)
}
