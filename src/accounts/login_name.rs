//! The name by which somebody logs in: what it may be, how it is shown, and when two names are the same.
//!
//! Two names are the same when their keys are, and a key is made by the rules of RFC 8265's `UsernameCaseMapped` profile in
//! their order: full-width and half-width characters become the usual ones, letters lower case, and all of it Unicode's
//! form NFC. Its class of characters and its rule of directions are not taken: names that the service before this one
//! took, with spaces and signs, go on to work. Refused are only characters that nobody sees, which would let two names look
//! the same: controls, and what Unicode lets a display leave out.

use std::ops::RangeInclusive;

use unicode_normalization::{UnicodeNormalization as _, char::decompose_compatible};

/// How many characters a name has.
const LENGTHS: RangeInclusive<usize> = 3..=255;

/// Stands in a key for what no name has, so that the key is nobody's.
const NOBODYS: char = '\u{fffd}';

/// A name, and the key that tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginName {
    as_given: String,
    key: String,
}

/// Why a text is no login name, in the words of a 422, which repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLoginName {
    #[error("The login has fewer than 3 characters")]
    TooShort,
    #[error("The login has more than 255 characters")]
    TooLong,
    #[error("The login has characters that cannot be seen")]
    Invisible,
}

impl BadLoginName {
    pub const ALL: [Self; 3] = [Self::TooShort, Self::TooLong, Self::Invisible];

    /// The detail's `type`.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::TooShort => "string_too_short",
            Self::TooLong => "string_too_long",
            Self::Invisible => "value_error",
        }
    }

    /// The detail's `msg`.
    pub const fn message(self) -> &'static str {
        match self {
            Self::TooShort => "String should have at least 3 characters",
            Self::TooLong => "String should have at most 255 characters",
            Self::Invisible => "Value error, the login should have no control characters and none that cannot be seen",
        }
    }
}

impl LoginName {
    /// A name that somebody wants to have.
    pub fn parse(text: &str) -> Result<Self, BadLoginName> {
        let as_given = text.trim();
        if as_given.chars().any(is_invisible) {
            return Err(BadLoginName::Invisible);
        }
        let length = as_given.chars().count();
        if length < *LENGTHS.start() {
            return Err(BadLoginName::TooShort);
        }
        if length > *LENGTHS.end() {
            return Err(BadLoginName::TooLong);
        }
        Ok(Self::of(as_given.to_owned(), as_given.chars()))
    }

    /// A name that somebody says to have. Any text is one, so that guessing at names that cannot be costs as much as guessing
    /// at others; the key of what cannot be a name is nobody's.
    pub fn presented(text: &str) -> Self {
        let mut given = text.trim().chars();
        let as_given: String = given.by_ref().take(*LENGTHS.end()).collect();
        let rest = given.next().map(|_| NOBODYS);
        let visible = as_given.chars().map(|c| if is_invisible(c) { NOBODYS } else { c });
        let characters: Vec<char> = visible.chain(rest).collect();
        Self::of(as_given, characters.into_iter())
    }

    fn of(as_given: String, characters: impl Iterator<Item = char>) -> Self {
        let key = key_of(characters);
        Self { as_given, key }
    }

    /// For showing, without the spaces around it.
    pub fn as_given(&self) -> &str {
        &self.as_given
    }

    /// The same for all ways to write the name, and for no other name.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// The key of any text, by the same rules.
pub fn key_of(characters: impl Iterator<Item = char>) -> String {
    let mut narrow = String::new();
    for c in characters {
        if is_of_other_width(c) {
            decompose_compatible(c, |part| narrow.push(part));
        } else {
            narrow.push(c);
        }
    }
    // What is lower case in one form may have an upper-case letter in the other, so both are composed.
    let composed: String = narrow.nfc().collect();
    composed.to_lowercase().nfc().collect()
}

/// The block of full-width and half-width forms, and the space as wide as an ideograph.
const fn is_of_other_width(c: char) -> bool {
    matches!(c, '\u{ff01}'..='\u{ffee}' | '\u{3000}')
}

/// Controls, ends of lines, and the characters that Unicode calls ignorable by default: joiners, marks of direction,
/// fillers, selectors, tags. Beside them the sign for what could not be read, which stands for them in keys.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | NOBODYS
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> String {
        LoginName::parse(text).unwrap().key().to_owned()
    }

    #[test]
    fn a_name_is_shown_as_given_without_the_spaces_around_it() {
        for (text, shown) in [
            ("Ada.Lovelace", "Ada.Lovelace"),
            ("  ada@example.com\t\n", "ada@example.com"),
            ("Zoë  K", "Zoë  K"),
            ("\u{3000}ＡＤＡ\u{a0}", "ＡＤＡ"),
        ] {
            assert_eq!(LoginName::parse(text).unwrap().as_given(), shown);
        }
    }

    #[test]
    fn names_that_differ_in_case_width_or_composition_are_one() {
        for (one, other) in [
            ("Ada", "aDA"),
            (" user ", "user"),
            ("ＡＤＡ＠example", "ada@example"),
            ("ｶﾞｷﾞｸﾞ", "ガギグ"),
            ("Zoe\u{308}K", "zoëk"),
            ("ANGSTRO\u{308}M \u{212b}", "angström å"),
            ("ИВАН", "иван"),
            ("J\u{30c}ZZ", "ǰzz"),
            ("ΣΟΦΟΣ", "σοφος"),
            ("a\u{3000}bc", "a bc"),
        ] {
            assert_eq!(key(one), key(other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn other_names_are_others() {
        for (one, other) in [
            ("user", "user1"),
            ("a b c", "abc"),
            ("ada", "аdа"),
            ("zoe", "zoë"),
            ("straße", "strasse"),
            ("ﬁsh", "fish"),
            ("x²y", "x2y"),
        ] {
            assert_ne!(key(one), key(other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn a_name_has_3_to_255_characters_whatever_their_bytes() {
        for length in [3, 255] {
            for c in ["a", "é", "漢", "🦀"] {
                assert!(LoginName::parse(&c.repeat(length)).is_ok(), "{length} of {c}");
            }
        }
        for text in ["", "  ", "ab", " ab ", "🦀🦀"] {
            assert_eq!(LoginName::parse(text), Err(BadLoginName::TooShort), "{text:?}");
        }
        for c in ["a", "漢"] {
            assert_eq!(LoginName::parse(&c.repeat(256)), Err(BadLoginName::TooLong));
        }
    }

    #[test]
    fn a_character_that_nobody_sees_makes_a_text_no_name() {
        for c in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{2028}',
            '\u{2066}',
            '\u{feff}',
            '\u{fe0f}',
            '\u{3164}',
            '\u{e0041}',
            '\u{fffd}',
        ] {
            assert_eq!(
                LoginName::parse(&format!("us{c}er")),
                Err(BadLoginName::Invisible),
                "{c:?}"
            );
        }
    }

    #[test]
    fn whoever_presents_a_name_is_found_under_the_key_that_was_registered() {
        for name in ["Ada", " ada ", "ＡＤＡ", "Zoe\u{308}", "漢字かな"] {
            assert_eq!(LoginName::presented(name).key(), key(name));
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_nobodys_key_and_safe_in_a_statement() {
        for text in ["us\0er", "us\u{200b}er", &"a".repeat(256), &"é".repeat(100_000)] {
            let presented = LoginName::presented(text);
            assert!(presented.key().contains(NOBODYS), "{text:?}");
            assert!(!presented.key().contains(char::is_control));
            assert!(presented.key().len() < 1024);
        }
        assert_eq!(LoginName::presented("").key(), "");
    }

    #[test]
    fn a_422_of_a_name_has_words_of_its_own() {
        for bad in BadLoginName::ALL {
            assert!(!bad.kind().is_empty() && !bad.message().is_empty() && !bad.to_string().is_empty());
        }
    }

    proptest! {
        #[test]
        fn the_key_of_a_key_is_the_key(text in "\\PC{3,40}") {
            let once = key_of(text.chars());
            prop_assert_eq!(key_of(once.chars()), once);
        }

        #[test]
        fn case_makes_no_difference(text in "[\\p{Latin}\\p{Cyrillic}0-9._@-]{3,40}") {
            let lower = key_of(text.chars());
            // A few letters, such as ß and the old long s, have no upper case of their own.
            if text.to_uppercase().to_lowercase() == text.to_lowercase() {
                prop_assert_eq!(key_of(text.to_uppercase().chars()), lower);
            }
        }

        #[test]
        fn every_name_can_be_presented(text in "\\PC{0,300}") {
            if let Ok(name) = LoginName::parse(&text) {
                prop_assert_eq!(LoginName::presented(&text), name);
            }
        }
    }
}
