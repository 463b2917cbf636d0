//! The tag of one record: who changes it can say which text of it they saw.

use std::fmt;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::document::compact;

/// The first half of the SHA-256 of the record's text without white space. `Display` and `FromStr`: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(u128);

/// The text is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a tag")]
pub struct BadTag;

impl Tag {
    pub fn of(record: &RawValue) -> Self {
        let digest = Sha256::digest(compact(record));
        Self(u128::from_be_bytes(
            *digest.first_chunk().expect("32 bytes begin with 16"),
        ))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for Tag {
    type Err = BadTag;

    fn from_str(text: &str) -> Result<Self, BadTag> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(BadTag);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| BadTag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(json: &str) -> Tag {
        Tag::of(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn a_tag_is_of_the_text_without_its_layout() {
        assert_eq!(
            tag(r#"{"id":"a b","n":[1,2]}"#),
            tag("{ \"id\" : \"a b\",\n\t\"n\":[1, 2]}")
        );
        for other in [r#"{"id":"a  b","n":[1,2]}"#, r#"{"n":[1,2],"id":"a b"}"#, "{}"] {
            assert_ne!(tag(r#"{"id":"a b","n":[1,2]}"#), tag(other), "{other}");
        }
    }

    #[test]
    fn a_tag_is_read_back_and_nothing_else_is() {
        let written = tag("{}").to_string();
        assert_eq!(written.len(), 32);
        assert_eq!(written.parse(), Ok(tag("{}")));
        for bad in [
            "",
            "*",
            &written[1..],
            &written.to_uppercase(),
            &format!("+{}", &written[1..]),
        ] {
            assert_eq!(bad.parse::<Tag>(), Err(BadTag), "{bad:?}");
        }
    }
}
