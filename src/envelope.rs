//! Encryption of the document: `HEARE_ENCRYPTED_V1:` and a Fernet token, as the Python service writes it.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE};
use fernet::Fernet;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{clock::Clock, core::secret::Secret};

pub const HEADER: &[u8] = b"HEARE_ENCRYPTED_V1:";

/// A time so late that no token lies in its future. A token's time says nothing about who wrote it, and a
/// document must not become unreadable because the writer's clock is ahead of ours.
const ANY_TIME: u64 = u64::MAX / 2;

/// Opens and seals documents with the storage secret, or passes plain ones through when there is none.
#[derive(Clone)]
pub struct Envelope {
    fernet: Option<Fernet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the object is encrypted and STORAGE_SECRET is not set")]
    SecretMissing,
    #[error("the object does not open with STORAGE_SECRET")]
    WrongSecret,
}

impl Envelope {
    pub fn new(storage_secret: Option<&Secret>) -> Self {
        Self {
            fernet: storage_secret.map(fernet),
        }
    }

    pub fn is_sealed(object: &[u8]) -> bool {
        object.starts_with(HEADER)
    }

    /// The document inside an object. A plain object passes; whether it may is the caller's question (`is_sealed`).
    pub fn open<'a>(&self, object: &'a [u8]) -> Result<Cow<'a, [u8]>, EnvelopeError> {
        let Some(token) = object.strip_prefix(HEADER) else {
            return Ok(Cow::Borrowed(object));
        };
        let fernet = self.fernet.as_ref().ok_or(EnvelopeError::SecretMissing)?;
        // A file made by hand ends in a line break.
        let token = std::str::from_utf8(token.trim_ascii()).map_err(|_| EnvelopeError::WrongSecret)?;
        let document = fernet
            .decrypt_at_time(token, None, ANY_TIME)
            .map_err(|_| EnvelopeError::WrongSecret)?;
        Ok(Cow::Owned(document))
    }

    pub fn seal(&self, document: Vec<u8>) -> Vec<u8> {
        let Some(fernet) = &self.fernet else {
            return document;
        };
        let token = token(fernet, &document);
        // The plain document is the larger part of what memory holds here.
        drop(document);
        [HEADER, token.as_bytes()].concat()
    }

    /// For a text that must not be kept in any other form: nothing when there is no storage secret.
    pub fn seal_only(&self, text: &[u8]) -> Option<Vec<u8>> {
        let token = token(self.fernet.as_ref()?, text);
        Some([HEADER, token.as_bytes()].concat())
    }

    /// Whether what this envelope writes is encrypted.
    pub fn seals(&self) -> bool {
        self.fernet.is_some()
    }
}

fn token(fernet: &Fernet, text: &[u8]) -> String {
    let now = u64::try_from(Clock::wall_micros() / 1_000_000).unwrap_or_default();
    fernet.encrypt_at_time(text, now)
}

fn fernet(storage_secret: &Secret) -> Fernet {
    let digest: Zeroizing<[u8; 32]> = Zeroizing::new(Sha256::digest(storage_secret.expose()).into());
    let key = Zeroizing::new(URL_SAFE.encode(*digest));
    Fernet::new(&key).expect("32 bytes in url-safe base64 are a Fernet key")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &[u8] = b"{\"keys\": []}";

    /// Made by Python's `cryptography` with the secret below, one in 2024 and one in 2100.
    const PYTHON_TOKENS: [&str; 2] = [
        "gAAAAABlq6CoTrTLyubfKLayvQRI5hB86-5TRpaI5K-eVe9-04Sv3DzjGek_nEEkYYSCZDDMzGF2Y7dDoq0D2dMGaylCyeImPw==",
        "gAAAAAD0hlcAZOMyFucL_sHL9xdhhkJf8s0a2NWa_LH5HUTOxcEDJPsYQEqc_3PFEEPUpj2SFM-ICSBJYDW2gOO-6K7x5VpkBg==",
    ];

    fn envelope() -> Envelope {
        Envelope::new(Some(&Secret::new("a storage secret ✓")))
    }

    fn object(token: &str) -> Vec<u8> {
        [HEADER, token.as_bytes()].concat()
    }

    #[test]
    fn what_python_sealed_opens_whatever_the_clock_of_its_host_said() {
        for token in PYTHON_TOKENS {
            assert_eq!(envelope().open(&object(token)).unwrap(), DOCUMENT);
        }
    }

    #[test]
    fn white_space_around_a_token_does_no_harm() {
        for token in [
            format!("{}\n", PYTHON_TOKENS[0]),
            format!(" {}\r\n\r\n", PYTHON_TOKENS[0]),
        ] {
            assert_eq!(envelope().open(&object(&token)).unwrap(), DOCUMENT);
        }
    }

    #[test]
    fn what_is_sealed_opens_again_and_shows_nothing() {
        let sealed = envelope().seal(DOCUMENT.to_vec());
        assert!(Envelope::is_sealed(&sealed));
        assert!(!sealed.windows(4).any(|part| part == b"keys"));
        assert_eq!(envelope().open(&sealed).unwrap(), DOCUMENT);
    }

    #[test]
    fn without_a_storage_secret_documents_pass_as_they_are() {
        let envelope = Envelope::new(None);
        assert_eq!(envelope.seal(DOCUMENT.to_vec()), DOCUMENT);
        assert_eq!(envelope.open(DOCUMENT).unwrap(), DOCUMENT);
        assert!(!envelope.seals());
    }

    #[test]
    fn a_plain_document_passes_with_a_storage_secret_too() {
        assert_eq!(envelope().open(DOCUMENT).unwrap(), DOCUMENT);
        assert!(envelope().seals());
    }

    #[test]
    fn a_sealed_object_needs_the_right_secret() {
        let sealed = object(PYTHON_TOKENS[0]);
        assert_eq!(Envelope::new(None).open(&sealed), Err(EnvelopeError::SecretMissing));
        let other = Envelope::new(Some(&Secret::new("another secret")));
        assert_eq!(other.open(&sealed), Err(EnvelopeError::WrongSecret));
    }

    #[test]
    fn an_object_that_was_cut_or_changed_does_not_open() {
        // Without the two padding characters at its end a token is still whole.
        let sealed = object(PYTHON_TOKENS[0]);
        for length in HEADER.len()..sealed.len() - 2 {
            assert_eq!(
                envelope().open(&sealed[..length]),
                Err(EnvelopeError::WrongSecret),
                "{length} bytes"
            );
        }
        for place in HEADER.len()..sealed.len() - 2 {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(
                envelope().open(&changed),
                Err(EnvelopeError::WrongSecret),
                "byte {place}"
            );
        }
    }
}
