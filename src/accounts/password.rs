//! Passwords: which may be chosen, which may be presented, and the one text that each is hashed as.
//!
//! A password is hashed in the form of RFC 8265's `OpaqueString` profile: every space is the plain one and all of it
//! Unicode's form NFC, so that the same keys typed on another system give the same password; case and width make a
//! difference. Hashes that came from another system are checked against the very bytes that were presented, as that
//! system did.

use unicode_normalization::UnicodeNormalization as _;

use super::{
    common::is_common,
    login_name::{LoginName, key_of},
};
use crate::{config::PasswordPolicy, core::secret::Secret};

/// The most characters of a password.
pub const MAX_LENGTH: usize = 1024;

/// A character has four bytes at most.
const MAX_BYTES: usize = MAX_LENGTH * 4;

/// What somebody presents at a login: any text that is not longer than a password can be.
#[derive(Clone, Debug)]
pub struct Password {
    as_presented: Secret,
}

/// What somebody may have as a password from now on.
#[derive(Clone, Debug)]
pub struct NewPassword(Password);

/// Why a text cannot become somebody's password, in the words of a 422, which repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    #[error("The password has fewer than {0} characters")]
    TooShort(usize),
    #[error("The password has more than 1024 characters")]
    TooLong,
    #[error("The password is the login")]
    IsLogin,
    #[error("The password is one of the most common ones")]
    Common,
    #[error("The password has no uppercase letter")]
    NoUppercase,
    #[error("The password has no lowercase letter")]
    NoLowercase,
    #[error("The password has no digit")]
    NoDigit,
}

impl BadPassword {
    /// The detail's `type`.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::TooShort(_) => "string_too_short",
            Self::TooLong => "string_too_long",
            Self::IsLogin | Self::Common | Self::NoUppercase | Self::NoLowercase | Self::NoDigit => "value_error",
        }
    }

    /// The detail's `msg`.
    pub fn message(self) -> String {
        match self {
            Self::TooShort(least) => format!("String should have at least {least} characters"),
            Self::TooLong => format!("String should have at most {MAX_LENGTH} characters"),
            Self::IsLogin => "Value error, Password must not be the login".to_owned(),
            Self::Common => "Value error, Password is too common".to_owned(),
            Self::NoUppercase => "Value error, Password must contain at least one uppercase letter".to_owned(),
            Self::NoLowercase => "Value error, Password must contain at least one lowercase letter".to_owned(),
            Self::NoDigit => "Value error, Password must contain at least one digit".to_owned(),
        }
    }
}

impl Password {
    /// `TooLong` for what no password can be, whosever it is said to be; all other policy is for new ones.
    pub fn presented(text: &str) -> Result<Self, BadPassword> {
        if text.len() > MAX_BYTES {
            return Err(BadPassword::TooLong);
        }
        Ok(Self {
            as_presented: Secret::new(text),
        })
    }

    /// The very text, for hashes of other systems.
    pub fn as_presented(&self) -> &str {
        self.as_presented.expose()
    }

    /// The text that our own hashes are made of.
    pub fn to_hash(&self) -> Secret {
        let text = self.as_presented.expose();
        // With room for all that the normal form may need, so that no copy is left behind by growing.
        let mut normal = String::with_capacity(text.len() * MOST_GROWTH);
        normal.extend(text.chars().map(|c| if is_space(c) { ' ' } else { c }).nfc());
        Secret::new(normal)
    }
}

/// How many times longer a text may be in the form NFC, in bytes.
const MOST_GROWTH: usize = 3;

impl NewPassword {
    /// All that speaks against it, in a fixed order.
    pub fn parse(policy: PasswordPolicy, login: &LoginName, text: &str) -> Result<Self, Vec<BadPassword>> {
        let password = Password::presented(text).map_err(|too_long| vec![too_long])?;
        let normal = password.to_hash();
        let problems = problems(policy, login, normal.expose());
        if problems.is_empty() {
            Ok(Self(password))
        } else {
            Err(problems)
        }
    }

    /// The same as a password that is presented, for a rehash at a login: the policy is not asked again.
    pub const fn unchanged(password: Password) -> Self {
        Self(password)
    }

    pub fn to_hash(&self) -> Secret {
        self.0.to_hash()
    }
}

fn problems(policy: PasswordPolicy, login: &LoginName, text: &str) -> Vec<BadPassword> {
    let length = text.chars().count();
    let has = |is_one: fn(char) -> bool| !policy.composition || text.chars().any(is_one);
    let rules = [
        (length >= policy.min_length, BadPassword::TooShort(policy.min_length)),
        (length <= MAX_LENGTH, BadPassword::TooLong),
        (key_of(text.trim().chars()) != login.key(), BadPassword::IsLogin),
        (!is_common(text), BadPassword::Common),
        (has(char::is_uppercase), BadPassword::NoUppercase),
        (has(char::is_lowercase), BadPassword::NoLowercase),
        (has(char::is_numeric), BadPassword::NoDigit),
    ];
    rules
        .into_iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, problem)| problem)
        .collect()
}

/// Unicode's separators of words (`Zs`) other than the plain space.
const fn is_space(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: PasswordPolicy = PasswordPolicy {
        min_length: 8,
        composition: false,
    };
    const COMPOSED: PasswordPolicy = PasswordPolicy {
        min_length: 8,
        composition: true,
    };

    fn problems_of(policy: PasswordPolicy, login: &str, text: &str) -> Vec<BadPassword> {
        let login = LoginName::parse(login).unwrap();
        NewPassword::parse(policy, &login, text).err().unwrap_or_default()
    }

    #[test]
    fn the_documents_own_example_registers() {
        assert_eq!(problems_of(PLAIN, "user", "securepassword123"), []);
    }

    #[test]
    fn any_characters_make_a_password_and_its_length_is_counted_in_them() {
        for text in [
            "correct horse battery staple",
            "        .",
            "пароль и ещё слова",
            "🦀🦀🦀🦀🦀🦀🦀🦀",
            "tab\tand\0null",
            &"ab".repeat(512),
            &"🦀".repeat(1024),
        ] {
            assert_eq!(problems_of(PLAIN, "user", text), [], "{text:?}");
        }
        for text in ["", "1", "z8#Kq1!", "🦀🦀🦀🦀🦀🦀🦀"] {
            assert_eq!(problems_of(PLAIN, "user", text), [BadPassword::TooShort(8)], "{text:?}");
        }
        for text in ["ab".repeat(513), "🦀".repeat(1025), "a".repeat(1 << 20)] {
            assert_eq!(problems_of(PLAIN, "user", &text), [BadPassword::TooLong]);
        }
    }

    #[test]
    fn a_longer_least_length_can_be_asked_for() {
        let policy = PasswordPolicy {
            min_length: 15,
            ..PLAIN
        };
        assert_eq!(
            problems_of(policy, "user", "fourteen chars"),
            [BadPassword::TooShort(15)]
        );
        assert_eq!(problems_of(policy, "user", "fifteen chars !"), []);
    }

    #[test]
    fn the_login_is_no_password_however_it_is_written() {
        for text in [
            "Ada.Lovelace",
            "ada.lovelace",
            "ADA.LOVELACE",
            " ada.lovelace ",
            "ａｄａ.ｌｏｖｅｌａｃｅ",
        ] {
            assert_eq!(
                problems_of(PLAIN, "Ada.Lovelace", text),
                [BadPassword::IsLogin],
                "{text}"
            );
        }
        assert_eq!(problems_of(PLAIN, "Ada.Lovelace", "ada.lovelace-2"), []);
    }

    #[test]
    fn a_common_password_is_refused() {
        for text in ["password1", "Password1", "12345678", "qwertyuiop"] {
            assert_eq!(problems_of(PLAIN, "user", text), [BadPassword::Common], "{text}");
        }
    }

    #[test]
    fn the_old_rules_hold_where_they_are_asked_for() {
        use BadPassword::{Common, NoDigit, NoLowercase, NoUppercase};
        for (text, expected) in [
            ("securepassword123", vec![NoUppercase]),
            ("SECURE-WORDS-123", vec![NoLowercase]),
            ("Secure-Words", vec![NoDigit]),
            ("--- --- ---", vec![NoUppercase, NoLowercase, NoDigit]),
            ("password", vec![Common, NoUppercase, NoDigit]),
            ("Secure-Words-123", vec![]),
            ("Пароль-из-слов-1", vec![]),
        ] {
            assert_eq!(problems_of(COMPOSED, "user", text), expected, "{text}");
        }
    }

    #[test]
    fn a_422_of_a_password_repeats_nothing_of_it() {
        let login = LoginName::parse("zqjxkvbw").unwrap();
        for text in ["zqjxkvbw", "zqj", "zqjxkvbw".repeat(129).as_str(), "iloveyou"] {
            let problems = NewPassword::parse(COMPOSED, &login, text).unwrap_err();
            assert!(!problems.is_empty());
            for problem in problems {
                let said = format!("{} {} {problem}", problem.kind(), problem.message());
                assert!(!said.contains("zqj") && !said.contains("iloveyou"), "{said}");
            }
        }
    }

    #[test]
    fn at_a_login_any_text_is_taken_up_to_a_bound() {
        for text in ["", "x", "password", "\0", &"🦀".repeat(1024)] {
            assert_eq!(Password::presented(text).unwrap().as_presented(), text);
        }
        assert_eq!(
            Password::presented(&"x".repeat(4097)).unwrap_err(),
            BadPassword::TooLong
        );
    }

    #[test]
    fn the_same_keys_on_another_system_give_the_same_password() {
        let hashed = |text: &str| Password::presented(text).unwrap().to_hash().expose().to_owned();
        for (one, other) in [
            ("Zoe\u{308}\u{a0}s Haus", "Zo\u{eb} s Haus"),
            (
                "한글 비밀번호",
                "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af} 비밀번호",
            ),
            ("a\u{3000}b\u{2009}c", "a b c"),
        ] {
            assert_eq!(hashed(one), hashed(other), "{one:?}");
        }
        for (one, other) in [
            ("Password", "password"),
            ("ａｂｃ", "abc"),
            ("a  b", "a b"),
            (" a", "a"),
        ] {
            assert_ne!(hashed(one), hashed(other), "{one:?}");
        }
    }

    #[test]
    fn a_password_shows_nothing_of_itself_in_debug() {
        let password = Password::presented("very-private-words").unwrap();
        let new = NewPassword::unchanged(password.clone());
        assert!(!format!("{password:?} {new:?}").contains("private"));
    }

    proptest! {
        #[test]
        fn the_normal_form_has_room(text in "\\PC{0,200}") {
            let hashed = Password::presented(&text).unwrap().to_hash();
            prop_assert!(hashed.expose().len() <= text.len() * MOST_GROWTH);
        }
    }
}
