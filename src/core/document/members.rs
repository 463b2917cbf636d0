//! The members of one JSON object as they were written: order, spelling, numbers and repeats are kept.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// An object that is being edited. Of a repeated member the last counts, as in Python; a change leaves no earlier one.
#[derive(Clone, Default)]
pub struct Members<'a>(Vec<Member<'a>>);

/// Both sides are JSON text; a name comes with its quotation marks.
#[derive(Clone)]
pub struct Member<'a> {
    pub name: Cow<'a, RawValue>,
    pub value: Cow<'a, RawValue>,
}

impl<'a> Members<'a> {
    /// `None` when the text is not an object.
    pub fn read(object: &'a RawValue) -> Option<Self> {
        serde_json::from_str(object.get()).ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member<'a>> {
        self.0.iter()
    }

    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.all(name).next_back()
    }

    /// Every value of a repeated member, the one that counts last.
    pub fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &RawValue> {
        self.0
            .iter()
            .filter(move |member| member.is(name))
            .map(|member| &*member.value)
    }

    /// Replaces the member where it stands, or appends it.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        self.replace(name, name, value);
    }

    /// Puts another member where this one stands, or appends it.
    pub fn replace(&mut self, old: &str, name: &str, value: Box<RawValue>) {
        let end = self.position(old).map_or(self.0.len(), |last| last + 1);
        let after = self.0.split_off(end);
        self.remove(old);
        self.0.push(Member::new(name, value));
        self.0.extend(after);
    }

    /// Puts a new member in front of another, or at the end when that one is not there.
    pub fn insert_before(&mut self, other: &str, name: &str, value: Box<RawValue>) {
        let at = self.position(other).unwrap_or(self.0.len());
        self.0.insert(at, Member::new(name, value));
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|member| !member.is(name));
    }

    pub fn to_raw(&self) -> Box<RawValue> {
        let members: Vec<String> = self
            .iter()
            .map(|Member { name, value }| format!("{name}:{value}"))
            .collect();
        RawValue::from_string(format!("{{{}}}", members.join(","))).expect("names and values are JSON already")
    }

    pub fn into_owned(self) -> Members<'static> {
        let own = |raw: Cow<'_, RawValue>| Cow::Owned(raw.into_owned());
        Members(
            self.0
                .into_iter()
                .map(|Member { name, value }| Member {
                    name: own(name),
                    value: own(value),
                })
                .collect(),
        )
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().rposition(|member| member.is(name))
    }
}

impl Member<'_> {
    fn new(name: &str, value: Box<RawValue>) -> Self {
        let name = serde_json::value::to_raw_value(name).expect("a text is always JSON");
        Self {
            name: Cow::Owned(name),
            value: Cow::Owned(value),
        }
    }

    pub fn is(&self, name: &str) -> bool {
        text(&self.name).is_some_and(|own| own == name)
    }
}

/// What a JSON string says; `None` for other values and for half a surrogate pair, which is no text.
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inside = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push(Member {
                name: Cow::Borrowed(name),
                value: Cow::Borrowed(value),
            });
        }
        Ok(Members(members))
    }
}
