//! Seals small texts for oneself, to be kept by somebody else: what comes back is what was sealed, or nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use zeroize::Zeroizing;

/// Keeps what is derived here apart from whatever else is derived from the same secret.
const SALT: &[u8] = b"heare-auth sealed texts";
/// What is longer was not sealed here, and nobody looks into it.
const MAX_SEALED_BYTES: usize = 4096;

/// For each sealed text another one; random ones never meet again in any number that is worth sealing.
pub type OnlyOnce = [u8; NONCE_LEN];

/// A key that seals and opens.
pub struct Seal(Box<LessSafeKey>);

impl Seal {
    /// The same for the same secret and purpose, wherever it is made.
    pub fn derived(secret: &[u8], purpose: &'static str) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        let purpose = [purpose.as_bytes()];
        let key = root
            .expand(&purpose, &AES_256_GCM)
            .expect("one key is less than HKDF can give");
        Self(Box::new(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// In characters that a cookie can have.
    pub fn seal(&self, once: OnlyOnce, text: &[u8]) -> String {
        let mut sealed = once.to_vec();
        let mut hidden = text.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(once), Aad::empty(), &mut hidden)
            .expect("a small text is not too long to be sealed");
        sealed.extend_from_slice(&hidden);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    pub fn open(&self, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        if sealed.len() > MAX_SEALED_BYTES {
            return None;
        }
        let mut bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(sealed).ok()?);
        let (once, hidden) = bytes.split_first_chunk_mut()?;
        let nonce = Nonce::assume_unique_for_key(*once);
        let opened = self.0.open_in_place(nonce, Aad::empty(), hidden).ok()?;
        Some(Zeroizing::new(opened.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: OnlyOnce = [7; NONCE_LEN];

    #[test]
    fn what_is_sealed_opens_again_and_shows_nothing() {
        let sealed = Seal::derived(b"a secret", "tests").seal(ONCE, b"user 17");
        assert!(!sealed.contains("user"));
        let opened = Seal::derived(b"a secret", "tests").open(&sealed).unwrap();
        assert_eq!(&opened[..], b"user 17");
    }

    #[test]
    fn another_secret_or_another_purpose_opens_nothing() {
        let sealed = Seal::derived(b"a secret", "tests").seal(ONCE, b"user 17");
        for other in [Seal::derived(b"another", "tests"), Seal::derived(b"a secret", "others")] {
            assert!(other.open(&sealed).is_none());
        }
    }

    #[test]
    fn what_was_cut_or_changed_does_not_open() {
        let seal = Seal::derived(b"a secret", "tests");
        let sealed = seal.seal(ONCE, b"user 17");
        for length in 0..sealed.len() {
            assert!(seal.open(&sealed[..length]).is_none(), "{length} characters");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(seal.open(str::from_utf8(&changed).unwrap()).is_none(), "character {at}");
        }
        assert!(seal.open(&"A".repeat(MAX_SEALED_BYTES + 1)).is_none());
    }
}
