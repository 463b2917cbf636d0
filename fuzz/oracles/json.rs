//! Our JSON scanner and `serde_json` agree on every text: whether it is JSON, where its values stand, and what they say.

use std::borrow::Cow;

use heare_auth::core::json::{Json, NotJson, Scanner};
use serde_json::value::RawValue;

pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let theirs = serde_json::from_str::<&RawValue>(text).ok();
    assert_eq!(value(text), theirs.map(RawValue::get), "{text:?}");
    let Some(raw) = theirs else {
        return;
    };
    let ours = Json::from(raw).text();
    let says = serde_json::from_str::<Cow<'_, str>>(raw.get()).ok();
    assert_eq!(ours, says.filter(|_| raw.get().starts_with('"')), "{text:?}");
    assert_eq!(members(raw.get()), members_by_serde(raw.get()), "{text:?}");
}

fn value(text: &str) -> Option<&str> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value().ok()?;
    scanner.end().ok()?;
    Some(value.get())
}

/// Of an object its members, of a list its elements; nothing of anything else.
fn members(text: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut scanner = Scanner::new(text);
    let passed = match scanner.peek().ok()? {
        b'{' => scanner.object(|scanner, name| {
            found.push(name.get());
            found.push(scanner.value()?.get());
            Ok::<(), NotJson>(())
        }),
        b'[' => scanner.list(|scanner| {
            found.push(scanner.value()?.get());
            Ok(())
        }),
        _ => return None,
    };
    passed.ok().map(|()| found)
}

fn members_by_serde(text: &str) -> Option<Vec<&str>> {
    if text.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        return Some(elements.into_iter().map(RawValue::get).collect());
    }
    text.starts_with('{').then(|| pairs::of(text))
}

/// The members of an object in their order, repeated ones too.
mod pairs {
    use std::fmt;

    use serde::de::{Deserializer as _, MapAccess, Visitor};
    use serde_json::value::RawValue;

    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<&'de str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                found.extend([name.get(), value.get()]);
            }
            Ok(found)
        }
    }

    pub fn of(text: &str) -> Vec<&str> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(Pairs).expect("it is an object")
    }
}
