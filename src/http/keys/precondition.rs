//! `ETag`, `If-Match` and `If-None-Match`: which text of a record the caller has seen.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH},
};

use crate::core::tag::Tag;

/// A condition's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any record that is there.
    Any,
    These(Vec<Tag>),
}

impl Tags {
    pub fn include(&self, tag: Tag) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.contains(&tag),
        }
    }

    /// Compared strongly: a weak tag matches nothing, as does one that is none of ours.
    pub fn if_match(asked: &HeaderMap) -> Option<Self> {
        Self::read(asked, &IF_MATCH, |written| written)
    }

    pub fn if_none_match(asked: &HeaderMap) -> Option<Self> {
        Self::read(asked, &IF_NONE_MATCH, |written| {
            written.strip_prefix("W/").unwrap_or(written)
        })
    }

    fn read(asked: &HeaderMap, name: &HeaderName, comparable: fn(&str) -> &str) -> Option<Self> {
        let mut values = asked.get_all(name).iter().peekable();
        values.peek()?;
        let written = values
            .flat_map(|value| value.to_str().unwrap_or_default().split(','))
            .map(str::trim);
        let written: Vec<&str> = written.collect();
        if written.contains(&"*") {
            return Some(Self::Any);
        }
        let tags = written.into_iter().filter_map(|written| {
            let inside = comparable(written).strip_prefix('"')?.strip_suffix('"')?;
            inside.parse().ok()
        });
        Some(Self::These(tags.collect()))
    }
}

pub fn etag(tag: Tag) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{tag}\"")).expect("hexadecimal digits in quotation marks are a header's value")
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn tag() -> Tag {
        Tag::of(RawValue::NULL)
    }

    fn sent(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_the_same_strong_tag_or_a_star_allows_a_change() {
        let own = tag();
        for (value, allowed) in [
            (format!("\"{own}\""), true),
            (format!("\"x\" , \"{own}\""), true),
            ("*".to_owned(), true),
            (format!("W/\"{own}\""), false),
            (format!("{own}"), false),
            ("\"x\"".to_owned(), false),
            (String::new(), false),
        ] {
            let tags = Tags::if_match(&sent(IF_MATCH, &value)).unwrap();
            assert_eq!(tags.include(own), allowed, "{value}");
        }
        assert_eq!(Tags::if_match(&HeaderMap::new()), None);
    }

    #[test]
    fn a_weak_tag_is_good_enough_to_say_that_nothing_changed() {
        let tags = Tags::if_none_match(&sent(IF_NONE_MATCH, &format!("W/\"{}\"", tag()))).unwrap();
        assert!(tags.include(tag()));
    }
}
