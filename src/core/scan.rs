//! Finds texts that have the form of a secret, wherever they stand in some bytes.

use super::id::{self, Beginnings};

/// No secret has more characters behind its prefix.
const MAX_RUN: usize = 1024;

/// No secret is longer, so nothing further back can be the beginning of one that is not over yet.
pub const MAX_TOKEN: usize = id::MAX_PREFIX_BYTES + MAX_RUN;

/// Fewer characters behind a prefix are a word in somebody's program: no secret was ever that short.
const FEWEST_CHARS: usize = 12;

/// What looks like a secret, by its place in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    pub offset: usize,
    pub prefix: &'a str,
    /// Never to be shown.
    pub token: &'a str,
    /// Its checksum holds, so it is a secret that was made by this service: one in 57 thousand million other texts of
    /// that form is taken for one. Without it, it may be one of an older form, which only the document can tell.
    pub certain: bool,
}

/// All that begin within the bytes, one after another.
pub fn find<'a>(bytes: &'a [u8], beginnings: &'a Beginnings) -> impl Iterator<Item = Found<'a>> {
    memchr::memchr_iter(b'_', bytes).filter_map(|underscore| at(bytes, underscore, beginnings))
}

/// The secret whose prefix ends with this underscore, as every prefix ends with one. Where one prefix is the end of
/// another, the one counts with which there is a checksum.
fn at<'a>(bytes: &'a [u8], underscore: usize, beginnings: &'a Beginnings) -> Option<Found<'a>> {
    let (before, behind) = bytes.split_at(underscore + 1);
    let fitting = beginnings
        .iter()
        .filter(|(prefix, _)| before.ends_with(prefix.as_bytes()));
    let found = fitting.filter_map(|(prefix, length)| {
        let is_inside = |byte: &&u8| byte.is_ascii_alphanumeric();
        let run = behind.iter().take(MAX_RUN).take_while(is_inside).count();
        let offset = before.len() - prefix.len();
        let whole = str::from_utf8(&bytes[offset..before.len() + run]).ok()?;
        let is_ours = |token: &&str| id::is_whole_secret(token, prefix);
        let certain = whole.get(..length).filter(is_ours);
        (run >= FEWEST_CHARS).then_some(Found {
            offset,
            prefix,
            token: certain.unwrap_or(whole),
            certain: certain.is_some(),
        })
    });
    found.max_by_key(|found| (found.certain, found.prefix.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{id::Prefixes, terms::Environment, time::Timestamp};

    /// A generator of its own, so that every run looks at the same texts.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn push_base62(&mut self, bytes: &mut Vec<u8>, count: usize) {
            const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
            for _ in 0..count {
                bytes.push(DIGITS[usize::try_from(self.next() % 62).unwrap()]);
            }
        }

        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.next().to_le_bytes()[3]);
        }
    }

    fn usual() -> Beginnings {
        Beginnings::new(&Prefixes::default(), &[])
    }

    fn secret(random: &mut Random) -> String {
        let now = Timestamp::from_millis(1_705_746_600_000);
        id::new_secret(now, &mut |bytes| random.fill(bytes)).expose().to_owned()
    }

    fn owned(environment: Environment, prefixes: &Prefixes, random: &mut Random) -> String {
        let made = id::new_environment_secret(environment, prefixes, &mut |bytes| random.fill(bytes));
        made.secret.expose().to_owned()
    }

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        let (mut random, prefixes, beginnings) = (Random(7), Prefixes::default(), usual());
        for token in [
            secret(&mut random),
            owned(Environment::Production, &prefixes, &mut random),
            owned(Environment::Test, &prefixes, &mut random),
            owned(Environment::Development, &prefixes, &mut random),
        ] {
            for (before, behind) in [
                ("", ""),
                ("key = \"", "\"\n"),
                ("%20", "&x=1"),
                ("x", "tail"),
                ("_", "_"),
                ("\u{e9}", "\u{e9}"),
            ] {
                let text = format!("{before}{token}{behind}");
                let found: Vec<_> = find(text.as_bytes(), &beginnings)
                    .filter(|found| found.certain)
                    .collect();
                assert_eq!(found.len(), 1, "{before}…{behind}");
                assert_eq!((found[0].offset, found[0].token), (before.len(), token.as_str()));
            }
        }
    }

    #[test]
    fn prefixes_of_ones_own_are_looked_for_also_where_one_is_the_end_of_another() {
        let mut random = Random(10);
        let prefixes: Prefixes = "production=acme_live_,test=live_".parse().unwrap();
        let beginnings = Beginnings::new(&prefixes, &[]);
        for (environment, prefix) in [(Environment::Production, "acme_live_"), (Environment::Test, "live_")] {
            let token = owned(environment, &prefixes, &mut random);
            let text = format!("acme_{token}");
            let found: Vec<_> = find(text.as_bytes(), &beginnings).collect();
            assert_eq!(found.len(), 1, "{prefix}");
            assert_eq!(
                (found[0].token, found[0].prefix, found[0].certain),
                (token.as_str(), prefix, true)
            );
        }
        assert_eq!(
            find(b"x_live_0123456789abcdef", &beginnings)
                .map(|found| found.prefix)
                .collect::<Vec<_>>(),
            ["live_"]
        );
    }

    #[test]
    fn prefixes_of_earlier_times_are_looked_for_when_they_are_named_and_the_usual_ones_always() {
        let mut random = Random(11);
        let earlier: Prefixes = "production=old_live_".parse().unwrap();
        let present: Prefixes = "production=new_live_,test=new_test_,development=new_dev_"
            .parse()
            .unwrap();
        let old = owned(Environment::Production, &earlier, &mut random);
        let usual = owned(Environment::Test, &Prefixes::default(), &mut random);
        let text = format!("{old} {usual}");
        for (others, expected) in [
            (&[][..], &[&usual][..]),
            (&["old_live_".parse().unwrap()], &[&old, &usual]),
        ] {
            let beginnings = Beginnings::new(&present, others);
            let found: Vec<_> = find(text.as_bytes(), &beginnings).map(|found| found.token).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_hide_nothing() {
        let token = secret(&mut Random(8));
        let bytes = [b"\xff\xfe".as_slice(), token.as_bytes(), b"\xff"].concat();
        assert_eq!(
            find(&bytes, &usual()).map(|found| found.token).collect::<Vec<_>>(),
            [token]
        );
    }

    #[test]
    fn a_changed_secret_is_not_taken_for_one() {
        let token = secret(&mut Random(9));
        for at in 4..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'7' { b'8' } else { b'7' };
            assert_eq!(find(&other, &usual()).filter(|found| found.certain).count(), 0, "{at}");
        }
        assert!(!find(&token.as_bytes()[..63], &usual()).any(|found| found.certain));
    }

    #[test]
    fn an_older_secret_is_only_a_suspect() {
        let beginnings = usual();
        let found: Vec<_> = find(b"sec_A1h2plaintext and sec_ and my_sector_", &beginnings).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].token, found[0].certain), ("sec_A1h2plaintext", false));
    }

    #[test]
    fn no_secret_is_longer_than_the_longest_token() {
        let prefix = format!("{}_", "p".repeat(id::MAX_PREFIX_BYTES - 1));
        let beginnings = Beginnings::new(&Prefixes::default(), &[prefix.parse().unwrap()]);
        let text = prefix + &"0".repeat(2 * MAX_TOKEN);
        let lengths: Vec<_> = find(text.as_bytes(), &beginnings)
            .map(|found| found.token.len())
            .collect();
        assert_eq!(lengths, [MAX_TOKEN]);
    }

    #[test]
    fn none_of_a_million_random_texts_is_taken_for_a_secret() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let all = usual();
        let beginnings: Vec<_> = all.iter().collect();
        let mut text = Vec::new();
        for number in 0..1_000_000_usize {
            text.clear();
            let (prefix, _) = beginnings[number % beginnings.len()];
            text.extend_from_slice(prefix.as_bytes());
            if prefix == "sec_" {
                text.push(b'0');
            }
            random.push_base62(&mut text, 60);
            assert!(!find(&text, &all).any(|found| found.certain), "{number}");
        }
    }
}
