//! How the secrets of keys begin, one prefix for each environment.

use crate::core::terms::Environment;

/// The most bytes of a prefix.
pub const MAX_PREFIX_BYTES: usize = 24;
/// Prefixes of our own ids and secrets, which no environment may take.
const TAKEN: [&str; 3] = ["key_", "sec_", "hr_"];

/// One prefix for each environment, none of which begins another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes([String; Environment::ALL.len()]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of prefixes")]
pub struct BadPrefixes;

impl Prefixes {
    pub fn of(&self, environment: Environment) -> &str {
        &self.0[environment as usize]
    }
}

impl Default for Prefixes {
    fn default() -> Self {
        Self(["hk_live_", "hk_test_", "hk_dev_"].map(str::to_owned))
    }
}

/// `production=hk_live_,test=hk_test_,development=hk_dev_`; an environment that is left out keeps its default.
impl std::str::FromStr for Prefixes {
    type Err = BadPrefixes;

    fn from_str(text: &str) -> Result<Self, BadPrefixes> {
        let mut prefixes = Self::default();
        let mut named = Vec::new();
        for part in text.split(',') {
            let (environment, prefix) = part.split_once('=').ok_or(BadPrefixes)?;
            let environment: Environment = environment.trim().parse().map_err(|_| BadPrefixes)?;
            if named.contains(&environment) || !is_prefix(prefix.trim()) {
                return Err(BadPrefixes);
            }
            named.push(environment);
            prefix.trim().clone_into(&mut prefixes.0[environment as usize]);
        }
        if prefixes.are_told_apart() {
            Ok(prefixes)
        } else {
            Err(BadPrefixes)
        }
    }
}

impl Prefixes {
    fn are_told_apart(&self) -> bool {
        let Self([production, test, development]) = self;
        [(production, test), (test, development), (development, production)]
            .into_iter()
            .all(|(one, other)| !one.starts_with(other.as_str()) && !other.starts_with(one.as_str()))
    }
}

/// Ends in `_`, so that a reader sees where the secret begins.
fn is_prefix(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (2..=MAX_PREFIX_BYTES).contains(&text.len())
        && text.ends_with('_')
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(is_letter)
        && !TAKEN.iter().any(|taken| text.starts_with(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_that_is_left_out_keeps_its_prefix() {
        let prefixes: Prefixes = " production = acme_ , test=acmetest_".parse().unwrap();
        let of = |environment| prefixes.of(environment);
        assert_eq!(Environment::ALL.map(of), ["acme_", "acmetest_", "hk_dev_"]);
        assert_eq!(
            "production=hk_live_,test=hk_test_,development=hk_dev_".parse(),
            Ok(Prefixes::default())
        );
    }

    #[test]
    fn prefixes_that_cannot_be_told_apart_or_are_none_are_refused() {
        for text in [
            "",
            "acme_",
            "production=",
            "production=_",
            "production=acme",
            "production=a-b_",
            "production=9a_",
            "production=sec_",
            "production=key_live_",
            "production=hk_test_",
            "production=hk_",
            "production=a_,production=b_",
            "production=a_,test=a_b_",
            "staging=a_",
            "production=a_,",
            "production=a_very_long_prefix_of_keys_",
        ] {
            assert_eq!(text.parse::<Prefixes>(), Err(BadPrefixes), "{text:?}");
        }
    }
}
