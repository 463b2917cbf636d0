//! Scopes: what a key may be used for, in words such as `orders:write`.

use std::borrow::Cow;

/// The most scopes of one key, and the most that one request may ask for.
pub const MAX_SCOPES: usize = 100;

/// The most characters of one scope.
pub const MAX_SCOPE_CHARS: usize = 100;

/// Segments joined by `:`, of letters, digits and `_ - . /`. A `*` in the place of a segment stands for any one segment;
/// a scope that is nothing but `*` stands for every scope. Needs no escape in JSON or in a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope<'a>(Cow<'a, str>);

/// The text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is 1 to 100 letters, digits or _-./ in segments joined by colons; a segment may be *")]
pub struct BadScope;

impl<'a> Scope<'a> {
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Self, BadScope> {
        let text = text.into();
        let holds = text.len() <= MAX_SCOPE_CHARS && segments(&text).all(is_segment);
        if holds { Ok(Self(text)) } else { Err(BadScope) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether who has this scope has all that `other` stands for. An `other` with `*` is covered by a `*` alone.
    pub fn covers(&self, other: &Scope<'_>) -> bool {
        let (own, other) = (self.as_str(), other.as_str());
        if own == "*" || own == other {
            return true;
        }
        // Without a star it stands for itself.
        if !own.as_bytes().contains(&b'*') {
            return false;
        }
        let (mut own, mut other) = (segments(own), segments(other));
        loop {
            match (own.next(), other.next()) {
                (None, None) => return true,
                (Some(own), Some(other)) if own == b"*" || own == other => {}
                _ => return false,
            }
        }
    }

    pub fn into_owned(self) -> Scope<'static> {
        Scope(Cow::Owned(self.0.into_owned()))
    }
}

/// As bytes: they are short, and a search made for long texts would cost more than it finds.
fn segments(scope: &str) -> impl Iterator<Item = &[u8]> {
    scope.as_bytes().split(|&byte| byte == b':')
}

fn is_segment(segment: &[u8]) -> bool {
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    segment == b"*" || (!segment.is_empty() && segment.iter().all(is_inside))
}

/// Whether each of the wanted scopes is covered by one that was granted.
pub fn grants(granted: &[Scope<'_>], wanted: &[Scope<'_>]) -> bool {
    let is_named = |wanted: &Scope<'_>| granted.iter().any(|granted| granted.as_str() == wanted.as_str());
    let is_covered = |wanted: &Scope<'_>| granted.iter().any(|granted| granted.covers(wanted));
    // Mostly a key has the very scope that is asked for, and that is told fastest.
    wanted.iter().all(|wanted| is_named(wanted) || is_covered(wanted))
}

/// Whether a key with the scopes `child` could do nothing that a key with the scopes `maker` cannot: nobody makes a key
/// broader than their own.
pub fn is_within(child: &[Scope<'_>], maker: &[Scope<'_>]) -> bool {
    grants(maker, child)
}

/// The scopes as a JSON list.
pub fn json_list(scopes: &[Scope<'_>]) -> String {
    let mut json = String::from("[");
    for (index, scope) in scopes.iter().enumerate() {
        json.push_str(if index == 0 { "\"" } else { ",\"" });
        json.push_str(scope.as_str());
        json.push('"');
    }
    json.push(']');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes<'a>(texts: &[&'a str]) -> Vec<Scope<'a>> {
        texts.iter().map(|text| Scope::parse(*text).unwrap()).collect()
    }

    #[test]
    fn a_scope_covers_what_it_names_segment_by_segment() {
        let table = [
            ("orders:write", "orders:write", true),
            ("orders:write", "orders:read", false),
            ("orders:write", "orders", false),
            ("orders", "orders:write", false),
            ("orders:*", "orders:write", true),
            ("orders:*", "orders:*", true),
            ("orders:*", "orders", false),
            ("orders:*", "ordersx:write", false),
            ("orders:*", "orders:write:all", false),
            ("orders:write", "orders:*", false),
            ("*:read", "orders:read", true),
            ("*:read", "orders:write", false),
            ("*:read", "*:read", true),
            ("orders:*:all", "orders:write:all", true),
            ("*:*", "orders:write", true),
            ("*:*", "orders", false),
            ("*:*", "*", false),
            ("*", "orders", true),
            ("*", "orders:write:all", true),
            ("*", "*", true),
            ("orders", "*", false),
            ("Orders:write", "orders:write", false),
        ];
        for (own, other, covers) in table {
            let [own, other] = [own, other].map(|text| Scope::parse(text).unwrap());
            assert_eq!(own.covers(&other), covers, "{own:?} {other:?}");
        }
    }

    #[test]
    fn all_wanted_scopes_have_to_be_granted_by_some() {
        let table: [(&[&str], &[&str], bool); 6] = [
            (&[], &[], true),
            (&["a"], &[], true),
            (&[], &["a"], false),
            (&["a", "b:*"], &["b:c", "a"], true),
            (&["a", "b:*"], &["b:c", "c"], false),
            (&["*"], &["b:c", "c"], true),
        ];
        for (granted, wanted, expected) in table {
            assert_eq!(
                grants(&scopes(granted), &scopes(wanted)),
                expected,
                "{granted:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn a_child_is_within_its_maker_or_it_is_not() {
        let maker = scopes(&["orders:*", "users:read"]);
        for (child, within) in [
            (&["orders:write", "orders:read"][..], true),
            (&["orders:*"], true),
            (&[], true),
            (&["users:*"], false),
            (&["*"], false),
            (&["orders:write", "admin"], false),
        ] {
            assert_eq!(is_within(&scopes(child), &maker), within, "{child:?}");
        }
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        let long = "x".repeat(MAX_SCOPE_CHARS + 1);
        for text in [
            "", ":", "a:", ":a", "a::b", "a b", "ord*", "**", "a:b*", "é", "a\"", "a\\", "a,b", "a\n", &long,
        ] {
            assert_eq!(Scope::parse(text), Err(BadScope), "{text:?}");
        }
        for text in ["a", "*", "*:read", "A-1_b./c", &long[1..]] {
            assert!(Scope::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_list_of_scopes_is_json() {
        assert_eq!(json_list(&[]), "[]");
        assert_eq!(json_list(&scopes(&["a:b", "*"])), r#"["a:b","*"]"#);
    }
}
