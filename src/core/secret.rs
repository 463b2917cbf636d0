//! The secret of a key, and the digest that stands for it everywhere but in its owner's hands.

use sha2::Digest as _;
use zeroize::Zeroizing;

/// A plaintext secret. Its `Debug` shows nothing and its memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: for the one line that shows it and for computing with it. Never log what this returns.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// SHA-256 of a secret. `Display` and `FromStr` use the document's form, `sha256:<64 lower-case hex digits>`.
///
/// Comparing two of them need not take constant time: whoever presents a secret cannot steer its digest, so how far
/// a wrong one agrees with a stored one says nothing about the secret behind the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// The text is not `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sha256 digest")]
pub struct BadDigest;

const DIGEST_PREFIX: &str = "sha256:";

impl Digest {
    pub fn of(secret: &str) -> Self {
        Self(sha2::Sha256::digest(secret.as_bytes()).into())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest is uniformly distributed, so its first eight bytes are its hash.
    pub fn table_hash(&self) -> u64 {
        u64::from_le_bytes(*self.0.first_chunk().expect("32 bytes begin with eight"))
    }
}

impl std::str::FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let digits = text.strip_prefix(DIGEST_PREFIX).ok_or(BadDigest)?;
        let digits: [u8; 64] = digits.as_bytes().try_into().map_err(|_| BadDigest)?;
        let values = digits.map(hex_value);
        if values.iter().fold(0, |seen, value| seen | value) & NOT_HEX != 0 {
            return Err(BadDigest);
        }
        let (pairs, _) = values.as_chunks::<2>();
        let mut bytes = [0; 32];
        for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = (high << 4) + low;
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(DIGEST_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bits that no digit's value has.
const NOT_HEX: u8 = 0xf0;

/// One digest has one text, so upper-case digits are none. Reckoned, not looked up in a table: so the compiler does it for
/// many digits at once, and a million digests are read when a large document is.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => NOT_HEX,
    }
}

/// What a log may show of a presented secret: its prefix when that is one of ours (at most four characters), else `***`.
pub fn shown_prefix(presented: &str) -> &'static str {
    const SHOWN: [(&str, &str); 4] = [
        ("sec_", "sec_"),
        ("hk_live_", "hk_l"),
        ("hk_test_", "hk_t"),
        ("hk_dev_", "hk_d"),
    ];
    SHOWN
        .iter()
        .find(|(prefix, _)| presented.starts_with(prefix))
        .map_or("***", |(_, shown)| shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OF_ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_sha_256_in_lower_case_hex() {
        assert_eq!(Digest::of("abc").to_string(), OF_ABC);
        assert_eq!(Secret::new("abc").digest(), OF_ABC.parse().unwrap());
    }

    #[test]
    fn a_secret_shows_nothing_of_itself_in_debug() {
        assert_eq!(format!("{:?}", Secret::new("sec_very_private")), "Secret(***)");
    }

    #[test]
    fn only_the_one_form_of_a_digest_is_read() {
        let hex = &OF_ABC["sha256:".len()..];
        for text in [
            String::new(),
            "sha256:".to_owned(),
            hex.to_owned(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("SHA256:{hex}"),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{}", &hex[2..]),
            format!("sha256:{hex}0"),
            format!("sha256:{hex}00"),
            format!(" {OF_ABC}"),
            format!("{OF_ABC} "),
            format!("sha512:{hex}"),
            format!("sha256:{}g", &hex[1..]),
            format!("sha256:{}gg", &hex[2..]),
            format!("sha256:{}é", &hex[2..]),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(BadDigest), "{text:?}");
        }
    }

    #[test]
    fn the_table_hash_is_the_digests_first_eight_bytes() {
        let mut bytes = [0xff; 32];
        bytes[..8].copy_from_slice(&7_u64.to_le_bytes());
        assert_eq!(Digest::from_bytes(bytes).table_hash(), 7);
    }

    #[test]
    fn a_log_shows_known_prefixes_only() {
        for (presented, shown) in [
            ("sec_0001vDmowg2tzwvpaFL", "sec_"),
            ("sec_", "sec_"),
            ("hk_live_abc", "hk_l"),
            ("hk_test_abc", "hk_t"),
            ("hk_dev_abc", "hk_d"),
            ("hk_other_abc", "***"),
            ("hk_liv", "***"),
            ("sec", "***"),
            ("SEC_abc", "***"),
            ("password", "***"),
            ("ключ", "***"),
            ("", "***"),
        ] {
            assert_eq!(shown_prefix(presented), shown, "{presented:?}");
        }
    }

    proptest! {
        #[test]
        fn a_digests_text_is_read_back(bytes in any::<[u8; 32]>()) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }

        #[test]
        fn a_digest_has_no_second_text(text in "sha256:[0-9a-fA-F]{62,66}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
