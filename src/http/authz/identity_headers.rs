//! The headers that tell a backend whose request it is. All of them are in every good answer, so that a proxy which
//! copies them leaves nothing standing that a client forged.

use std::{borrow::Cow, cell::RefCell};

use bytes::BytesMut;
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use crate::core::{index::Entry, scope::Scope};

/// In the order of the values.
static NAMES: [HeaderName; 5] = [
    HeaderName::from_static("x-auth-key-id"),
    HeaderName::from_static("x-auth-key-name"),
    HeaderName::from_static("x-auth-user-id"),
    HeaderName::from_static("x-auth-scopes"),
    HeaderName::from_static("x-auth-environment"),
];

/// A name is there to be read by people: proxies give all headers together a few KiB.
const MAX_NAME_CHARS: usize = 200;

/// How much room for values a thread asks for at once.
const ROOM: usize = 16 * 1024;

thread_local! {
    static VALUES: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(ROOM));
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

pub struct IdentityHeaders([HeaderValue; 5]);

impl IdentityHeaders {
    pub fn of(key: &Entry<'_>) -> Self {
        let name = plain(key.name);
        let name = name
            .char_indices()
            .nth(MAX_NAME_CHARS)
            .map_or(&*name, |(end, _)| &name[..end]);
        let user_id = key.policy.and_then(|policy| policy.user_id);
        let environment = key.policy.and_then(|policy| policy.environment);
        Self([
            value(&plain(key.id)),
            value(name),
            user_id.map_or(EMPTY, |user_id| value(&plain(user_id))),
            scopes(key.scopes()),
            environment.map_or(EMPTY, |environment| HeaderValue::from_static(environment.word())),
        ])
    }

    pub fn insert_into(self, headers: &mut HeaderMap) {
        for (name, value) in NAMES.iter().zip(self.0) {
            headers.insert(name, value);
        }
    }
}

/// No scope has a space.
fn scopes(scopes: &[Scope<'_>]) -> HeaderValue {
    match scopes {
        [] => EMPTY,
        [scope] => value(scope.as_str()),
        several => value(&several.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")),
    }
}

/// The text that the inside of a JSON string stands for.
fn plain(json: &str) -> Cow<'_, str> {
    if !json.contains('\\') {
        return Cow::Borrowed(json);
    }
    let text = serde_json::from_str(&format!("\"{json}\""));
    Cow::Owned(text.expect("an index holds the insides of JSON strings"))
}

/// Visible ASCII and spaces between as they are; everything else, and `%`, as `%` and two digits for each byte of
/// UTF-8. Whoever decodes percent-encoding has the text again.
fn value(text: &str) -> HeaderValue {
    let inner = 1..text.len().saturating_sub(1);
    let bytes = VALUES.with_borrow_mut(|room| {
        if room.capacity() < text.len() * 3 {
            room.reserve(ROOM.max(text.len() * 3));
        }
        for (at, &byte) in text.as_bytes().iter().enumerate() {
            if (byte.is_ascii_graphic() && byte != b'%') || (byte == b' ' && inner.contains(&at)) {
                room.extend_from_slice(&[byte]);
            } else {
                let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
                room.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        room.split().freeze()
    });
    HeaderValue::from_maybe_shared(bytes).expect("nothing but visible ASCII and spaces is written")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        value(text).to_str().unwrap().to_owned()
    }

    #[test]
    fn plain_names_stay_readable_and_the_rest_is_percent_encoded() {
        for (text, expected) in [
            ("", ""),
            ("Production API", "Production API"),
            ("orders:write", "orders:write"),
            ("100% of \"it\"", "100%25 of \"it\""),
            ("Smörgås", "Sm%C3%B6rg%C3%A5s"),
            (" padded ", "%20padded%20"),
            (" ", "%20"),
            ("a\r\nX-Auth-Scopes: *", "a%0D%0AX-Auth-Scopes: *"),
            ("\u{0}\u{7f}\t", "%00%7F%09"),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_header_is_there_even_when_it_is_empty() {
        let key = Entry {
            id: "key_1",
            name: r#"Sm\u00f6rg\u00e5s \"24\""#,
            metadata: "{}",
            expires_at: None,
            revoked: false,
            merely_inactive: false,
            policy: None,
            previous_until: None,
        };
        let mut headers = HeaderMap::new();
        IdentityHeaders::of(&key).insert_into(&mut headers);
        let values: Vec<_> = NAMES.iter().map(|name| headers[name].to_str().unwrap()).collect();
        assert_eq!(values, ["key_1", "Sm%C3%B6rg%C3%A5s \"24\"", "", "", ""]);
    }

    #[test]
    fn an_endless_name_is_cut() {
        let name = "é".repeat(100_000);
        let key = Entry {
            id: "key_1",
            name: &name,
            metadata: "{}",
            expires_at: None,
            revoked: false,
            merely_inactive: false,
            policy: None,
            previous_until: None,
        };
        let mut headers = HeaderMap::new();
        IdentityHeaders::of(&key).insert_into(&mut headers);
        assert_eq!(headers["x-auth-key-name"].len(), MAX_NAME_CHARS * "%C3%A9".len());
    }

    proptest! {
        #[test]
        fn every_text_is_a_header_value_and_comes_back(text in any::<String>()) {
            let written = written(&text);
            prop_assert_eq!(written.trim(), &written);
            let mut decoded = Vec::new();
            let mut rest = written.as_bytes();
            while let [first, after @ ..] = rest {
                if *first == b'%' {
                    decoded.push(u8::from_str_radix(str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
                    rest = &after[2..];
                } else {
                    decoded.push(*first);
                    rest = after;
                }
            }
            prop_assert_eq!(String::from_utf8(decoded).unwrap(), text);
        }
    }
}
