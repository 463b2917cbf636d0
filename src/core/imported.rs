//! The bcrypt hash that another system made of a secret, and the digest that stands for it in the index.
//!
//! A record that has nothing else is looked up under its stand-in: whoever has shown once, by bcrypt, that a presented
//! secret belongs to it may look it up under the stand-in from then on.

use sha2::Digest as _;

use super::secret::Digest;

/// How many records may share a `key_prefix`. Presenting a secret tries one of them, the next time the next.
pub const MAX_SHARING_PREFIX: usize = 8;

/// What bcrypt looks at; it would pass over the rest in silence.
const MAX_SECRET_BYTES: usize = 72;

/// The work that a stored hash may ask for: 2 to the power of this. More would hold up everybody behind it.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// A hash such as `$2b$12$…`, in the one form that can be checked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BcryptHash<'a>(&'a str);

impl<'a> BcryptHash<'a> {
    /// Takes the versions `2a`, `2b` and `2y`, which are the same for what is checked here.
    pub fn parse(text: &'a str) -> Option<Self> {
        let rest = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .find_map(|version| text.strip_prefix(version))?;
        let (cost, salt_and_hash) = rest.split_once('$')?;
        let is_cost = cost.len() == 2 && cost.parse().is_ok_and(|cost| COSTS.contains(&cost));
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
        let holds = is_cost && salt_and_hash.len() == 53 && salt_and_hash.bytes().all(is_base64);
        (holds && ends_evenly(salt_and_hash.as_bytes())).then_some(Self(text))
    }

    /// The digest of no text at all, as 255 begins none: nobody can present what has it.
    pub fn stand_in(self) -> Digest {
        let mut hasher = sha2::Sha256::new_with_prefix(b"\xffbcrypt");
        hasher.update(&self.0.as_bytes()["$2b$".len()..]);
        Digest::from_bytes(hasher.finalize().into())
    }

    /// Takes long, by design. A secret that bcrypt would not look at as a whole never matches.
    pub fn matches(self, presented: &str) -> bool {
        can_be_hashed(presented) && bcrypt::verify(presented, self.0).unwrap_or(false)
    }
}

/// The last digit of the salt and that of the hash hold fewer bits than a digit can, and the rest of their bits is zero:
/// with any other digit there it is the hash of no secret, and whoever computes bcrypt refuses it.
const fn ends_evenly(salt_and_hash: &[u8]) -> bool {
    let (salt_ends, hash_ends) = (salt_and_hash[21], salt_and_hash[52]);
    matches!(salt_ends, b'.' | b'O' | b'e' | b'u')
        && matches!(
            hash_ends,
            b'.' | b'C'
                | b'G'
                | b'K'
                | b'O'
                | b'S'
                | b'W'
                | b'a'
                | b'e'
                | b'i'
                | b'm'
                | b'q'
                | b'u'
                | b'y'
                | b'2'
                | b'6'
        )
}

/// Whether bcrypt tells this secret from every other.
pub fn can_be_hashed(presented: &str) -> bool {
    presented.len() <= MAX_SECRET_BYTES && !presented.contains('\0')
}

/// The digest under which a record with this `secret_hash` is looked up.
pub fn stored_digest(secret_hash: &str) -> Option<Digest> {
    let stand_in = || BcryptHash::parse(secret_hash).map(BcryptHash::stand_in);
    secret_hash.parse().ok().or_else(stand_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(secret: &str) -> String {
        bcrypt::hash_with_salt(secret, 4, [7; 16])
            .expect("the cost is allowed")
            .format_for_version(bcrypt::Version::TwoB)
    }

    #[test]
    fn only_hashes_that_can_be_checked_in_bounded_time_are_taken() {
        let good = hash_of("hk_live_abc");
        for version in ["$2a$", "$2b$", "$2y$"] {
            assert!(BcryptHash::parse(&good.replace("$2b$", version)).is_some(), "{version}");
        }
        for bad in [
            String::new(),
            "sha256:00".to_owned(),
            good.replace("$2b$", "$2x$"),
            good.replace("$2b$", "$2$"),
            good.replace("$04$", "$4$"),
            good.replace("$04$", "$03$"),
            good.replace("$04$", "$16$"),
            good.replace("$04$", "$31$"),
            good[..59].to_owned(),
            format!("{good}."),
            good.replace("$04$", "$04$-").chars().take(60).collect(),
        ] {
            assert_eq!(BcryptHash::parse(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_hash_that_ends_as_none_can_end_is_no_hash() {
        const DIGITS: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let good = hash_of("hk_live_abc");
        for (place, even) in [("$2b$04$".len() + 21, 16), ("$2b$04$".len() + 52, 4)] {
            for (value, digit) in DIGITS.chars().enumerate() {
                let mut text = good.clone();
                text.replace_range(place..=place, &digit.to_string());
                let is_taken = BcryptHash::parse(&text).is_some();
                assert_eq!(is_taken, value % even == 0, "{digit} at {place}");
                assert_eq!(is_taken, bcrypt::verify("x", &text).is_ok(), "{digit} at {place}");
            }
        }
    }

    #[test]
    fn a_hash_matches_its_secret_alone() {
        let stored = hash_of("hk_live_abc");
        let hash = BcryptHash::parse(&stored).unwrap();
        assert!(hash.matches("hk_live_abc"));
        for other in ["", "hk_live_abd", "hk_live_abc ", "hk_live_abc\0hk_live_abc"] {
            assert!(!hash.matches(other), "{other:?}");
        }
    }

    #[test]
    fn a_secret_that_bcrypt_would_cut_off_matches_nothing() {
        let longest = "x".repeat(MAX_SECRET_BYTES);
        let stored = hash_of(&longest);
        let hash = BcryptHash::parse(&stored).unwrap();
        assert!(hash.matches(&longest));
        assert!(!hash.matches(&format!("{longest}x")));
    }

    #[test]
    fn a_stand_in_is_one_for_each_hash_whatever_its_version() {
        let stored = hash_of("hk_live_abc");
        let stand_in = BcryptHash::parse(&stored).unwrap().stand_in();
        let other_version = stored.replace("$2b$", "$2y$");
        assert_eq!(BcryptHash::parse(&other_version).unwrap().stand_in(), stand_in);
        let other = hash_of("hk_live_abd");
        assert_ne!(BcryptHash::parse(&other).unwrap().stand_in(), stand_in);
        assert_ne!(Digest::of(&stored), stand_in);
        assert_eq!(stored_digest(&stored), Some(stand_in));
        assert_eq!(stored_digest(&Digest::of("a").to_string()), Some(Digest::of("a")));
        assert_eq!(stored_digest("md5:1234"), None);
    }
}
