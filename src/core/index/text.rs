//! All texts of an index in one allocation: ids, names and metadata, each behind its length, and what few keys have.
//!
//! Lengths are written as ASCII characters of six bits each, so that the whole stays a `str` and every text is cut
//! out of it without being checked again.

use std::borrow::Cow;

/// Texts ready to be copied into an answer.
#[derive(Default)]
pub struct Texts {
    all: String,
}

/// What stands together for each key.
pub struct Label<'a> {
    pub revoked: bool,
    pub merely_inactive: bool,
    pub id: &'a str,
    pub name: &'a str,
    pub rules: Option<Rules<'a>>,
}

/// A key's policy: the number of its terms, and what is its own. No text here is empty.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub terms: u32,
    pub user_id: Option<&'a str>,
    pub key_prefix: Option<&'a str>,
}

const REVOKED: usize = 1;
const WITH_RULES: usize = 2;
const MERELY_INACTIVE: usize = 4;

impl Texts {
    pub fn label(&self, at: u32) -> Label<'_> {
        let (id_and_mark, at) = self.number(at as usize);
        let (name_len, at) = self.number(at);
        // A plain key has no mark and pays for none.
        let (marks, id_at) = if id_and_mark % 2 == 1 { self.number(at) } else { (0, at) };
        let name_at = id_at + id_and_mark / 2;
        let end = name_at + name_len;
        Label {
            revoked: marks & REVOKED != 0,
            merely_inactive: marks & MERELY_INACTIVE != 0,
            id: &self.all[id_at..name_at],
            name: &self.all[name_at..end],
            rules: (marks & WITH_RULES != 0).then(|| self.rules(end)),
        }
    }

    fn rules(&self, at: usize) -> Rules<'_> {
        let (terms, at) = self.number(at);
        let (user_id_len, at) = self.number(at);
        let (key_prefix_len, user_id_at) = self.number(at);
        let key_prefix_at = user_id_at + user_id_len;
        let text = |from: usize, len: usize| (len > 0).then(|| &self.all[from..from + len]);
        Rules {
            terms: u32::try_from(terms).expect("it was one when it was written"),
            user_id: text(user_id_at, user_id_len),
            key_prefix: text(key_prefix_at, key_prefix_len),
        }
    }

    pub fn metadata(&self, at: u32) -> &str {
        let (len, at) = self.number(at as usize);
        &self.all[at..at + len]
    }

    pub fn resident_bytes(&self) -> usize {
        self.all.capacity()
    }

    #[cfg(test)]
    pub fn all(&self) -> &str {
        &self.all
    }

    /// Takes all texts as JSON writes them inside quotation marks.
    pub fn push_label(&mut self, label: &Label<'_>) -> u32 {
        let at = self.end();
        let revoked = if label.revoked { REVOKED } else { 0 };
        let merely_inactive = if label.merely_inactive { MERELY_INACTIVE } else { 0 };
        let marks = revoked + merely_inactive + label.rules.map_or(0, |_| WITH_RULES);
        self.push_number(label.id.len() * 2 + usize::from(marks != 0));
        self.push_number(label.name.len());
        if marks != 0 {
            self.push_number(marks);
        }
        self.all.push_str(label.id);
        self.all.push_str(label.name);
        if let Some(rules) = &label.rules {
            self.push_rules(rules);
        }
        at
    }

    fn push_rules(&mut self, rules: &Rules<'_>) {
        let [user_id, key_prefix] = [rules.user_id, rules.key_prefix].map(Option::unwrap_or_default);
        self.push_number(rules.terms as usize);
        self.push_number(user_id.len());
        self.push_number(key_prefix.len());
        self.all.push_str(user_id);
        self.all.push_str(key_prefix);
    }

    pub fn shrink_to_fit(&mut self) {
        self.all.shrink_to_fit();
    }

    fn push_metadata(&mut self, json: &str) -> u32 {
        let at = self.end();
        self.push_number(json.len());
        self.all.push_str(json);
        at
    }

    fn end(&self) -> u32 {
        u32::try_from(self.all.len()).expect("texts are shorter than their document, whose length was checked")
    }

    fn push_number(&mut self, mut number: usize) {
        loop {
            let [six_bits, ..] = (number % 64).to_le_bytes();
            number /= 64;
            if number == 0 {
                return self.all.push(char::from(six_bits));
            }
            self.all.push(char::from(64 + six_bits));
        }
    }

    /// The number at `at`, and where it ends.
    fn number(&self, mut at: usize) -> (usize, usize) {
        let bytes = self.all.as_bytes();
        let mut number = 0;
        let mut shift = 0;
        loop {
            let byte = bytes[at];
            number += usize::from(byte & 63) << shift;
            at += 1;
            shift += 6;
            if byte < 64 {
                return (number, at);
            }
        }
    }
}

/// Remembers metadata that were seen lately, while an index is built, so that equal ones are stored once. There is room for
/// more different ones than a company has plans, teams or customers worth naming; where every key has its own, to
/// remember them all would cost more than the rest of the building and save nothing.
pub struct Seen {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u32,
    at: Option<u32>,
}

const SLOTS: u32 = 1 << 12;

impl Default for Seen {
    fn default() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS as usize],
        }
    }
}

impl Seen {
    /// Where this metadata stands in `texts`, compacted.
    pub fn intern(&mut self, texts: &mut Texts, metadata: &str) -> u32 {
        let compact = compact(metadata);
        let hash = hash(&compact);
        let slot = &mut self.slots[(hash % SLOTS) as usize];
        match slot.at {
            Some(at) if slot.hash == hash && texts.metadata(at) == compact => at,
            _ => {
                let at = texts.push_metadata(&compact);
                *slot = Slot { hash, at: Some(at) };
                at
            }
        }
    }
}

/// Spreads texts that nobody chose to collide. Those that do cost time or room, nothing else.
pub fn hash(text: &str) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, tail) = text.as_bytes().as_chunks();
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    let mix = |hash: u64, word: u64| (hash.rotate_left(29) ^ word).wrapping_mul(ODD);
    let hash = words
        .iter()
        .fold(text.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let hash = mix(mix(hash, u64::from_le_bytes(last)), hash >> 32);
    let [.., a, b, c, d] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The JSON without white space outside its strings; numbers and escapes to the letter.
pub fn compact(json: &str) -> Cow<'_, str> {
    // Looking at every byte, without a way out at the first, is what the compiler turns into vector instructions.
    if json.bytes().fold(u8::MAX, u8::min) > b' ' {
        return Cow::Borrowed(json);
    }
    let mut compact = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(quote) = rest.find('"') {
        let (outside, string) = rest.split_at(quote);
        push_dense(&mut compact, outside);
        let (string, after) = string.split_at(string_len(string));
        compact.push_str(string);
        rest = after;
    }
    push_dense(&mut compact, rest);
    Cow::Owned(compact)
}

fn push_dense(compact: &mut String, outside: &str) {
    compact.extend(outside.split([' ', '\t', '\n', '\r']));
}

/// The length of the JSON string that the text begins with, quotation marks included.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests;
