//! What passwords have to be.

use std::ops::RangeInclusive;

use super::{ConfigError, Setting, Values, parse, settings::setting};

pub(super) const SETTINGS: [Setting; 2] = [
    setting(
        "PASSWORD_MIN_LENGTH",
        "8",
        "the fewest characters of a new password; 15 is recommended",
    ),
    setting(
        "PASSWORD_COMPOSITION",
        "false",
        "a new password needs an upper-case letter, a lower-case letter and a digit",
    ),
];

/// Fewer are guessed too soon; more would keep people from having any.
const MIN_LENGTHS: RangeInclusive<usize> = 8..=128;

/// What is asked of a password when it is set, and never when it is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// In characters.
    pub min_length: usize,
    /// Whether it needs an upper-case letter, a lower-case letter and a digit.
    pub composition: bool,
}

impl PasswordPolicy {
    pub(super) fn from_values(values: &Values<'_>) -> Result<Self, ConfigError> {
        let min_length = values.read(
            "PASSWORD_MIN_LENGTH",
            |text| parse::number(text, *MIN_LENGTHS.start(), *MIN_LENGTHS.end()),
            "a number from 8 to 128",
        )?;
        Ok(Self {
            min_length: min_length.unwrap_or(*MIN_LENGTHS.start()),
            composition: values.boolean("PASSWORD_COMPOSITION")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &str) -> Result<PasswordPolicy, ConfigError> {
        PasswordPolicy::from_values(&Values(&|asked| (asked == name).then(|| value.to_owned())))
    }

    #[test]
    fn a_password_has_eight_characters_and_no_rules_of_composition_unless_told_otherwise() {
        let usual = PasswordPolicy {
            min_length: 8,
            composition: false,
        };
        assert_eq!(read("PASSWORD_MIN_LENGTH", ""), Ok(usual));
        assert_eq!(read("PASSWORD_MIN_LENGTH", "15").unwrap().min_length, 15);
        assert!(read("PASSWORD_COMPOSITION", "true").unwrap().composition);
    }

    #[test]
    fn a_policy_that_protects_nobody_or_admits_nobody_is_refused() {
        for wrong in ["0", "7", "129", "-1", "many", "8.5"] {
            let error = read("PASSWORD_MIN_LENGTH", wrong).unwrap_err();
            assert_eq!(error.to_string(), "PASSWORD_MIN_LENGTH must be a number from 8 to 128");
        }
        assert!(read("PASSWORD_COMPOSITION", "maybe").is_err());
    }
}
