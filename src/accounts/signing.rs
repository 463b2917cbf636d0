//! The keys that sign tokens and verify them, in the compact form of RFC 7515. A token says nothing about how it is to be
//! verified: it begins with the very header that one of our keys writes, or it is none of ours.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    core::secret::Secret,
    seal::{OnlyOnce, Seal},
};

/// What is longer is no token, and nobody looks into it.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Keeps the keys for other purposes apart from the signatures: no token begins with such a word.
const SUCCESSOR: &[u8] = b"heare-auth successor of a refresh token";
const NAME: &[u8] = b"heare-auth name of a signing key";
const SEALS: &str = "cookies";

/// One key.
pub struct SigningKey {
    /// The first part of the tokens it signs.
    header: String,
    kind: Kind,
    /// For what is derived from the key and is no signature.
    derivation: hmac::Key,
    seal: Seal,
    name: [u8; 32],
}

enum Kind {
    Hmac(hmac::Key),
    Ed25519 { pair: Box<Ed25519KeyPair>, id: String },
}

/// The bytes are no Ed25519 private key in PKCS#8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 private key")]
pub struct NotEd25519;

impl SigningKey {
    /// For HS256.
    pub fn hmac(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self::new(r#"{"alg":"HS256","typ":"JWT"}"#, Kind::Hmac(key), secret)
    }

    /// For `EdDSA`, from PKCS#8 with or without the public key in it. The key's id is its thumbprint (RFC 7638).
    pub fn ed25519(pkcs8: &[u8]) -> Result<Self, NotEd25519> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| NotEd25519)?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        let id = URL_SAFE_NO_PAD.encode(thumbprint);
        let header = format!(r#"{{"alg":"EdDSA","kid":"{id}","typ":"JWT"}}"#);
        let pair = Box::new(pair);
        Ok(Self::new(&header, Kind::Ed25519 { pair, id }, pkcs8))
    }

    fn new(header: &str, kind: Kind, secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&root, SUCCESSOR);
        let name = hmac::sign(&root, NAME);
        Self {
            header: URL_SAFE_NO_PAD.encode(header),
            kind,
            derivation: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
            seal: Seal::derived(secret, SEALS),
            name: name.as_ref().try_into().expect("HMAC-SHA256 has 32 bytes"),
        }
    }

    /// The `kid` of its tokens, for a key that can be published.
    pub fn id(&self) -> Option<&str> {
        match &self.kind {
            Kind::Hmac(_) => None,
            Kind::Ed25519 { id, .. } => Some(id),
        }
    }

    /// Whether both are one key.
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name
    }

    /// The token that carries this payload.
    pub fn sign(&self, payload: &str) -> Secret {
        let mut token = Zeroizing::new(String::with_capacity(MAX_TOKEN_BYTES));
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.signature(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Secret::new(std::mem::take(&mut *token))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        match &self.kind {
            Kind::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Kind::Ed25519 { pair, .. } => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            // In constant time.
            Kind::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Kind::Ed25519 { pair, .. } => {
                let public = UnparsedPublicKey::new(&ED25519, pair.public_key());
                public.verify(message, signature).is_ok()
            }
        }
    }

    fn jwk(&self) -> Option<String> {
        let Kind::Ed25519 { pair, id } = &self.kind else {
            return None;
        };
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        Some(format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{id}","use":"sig","alg":"EdDSA"}}"#
        ))
    }

    /// Random-looking bytes that only this key makes of a text, as many as are wanted.
    pub fn derive<'k>(&'k self, text: &'k Secret) -> impl FnMut(&mut [u8]) + use<'k> {
        let mut round = 0_u32;
        move |bytes| {
            for chunk in bytes.chunks_mut(32) {
                let mut context = hmac::Context::with_key(&self.derivation);
                context.update(&round.to_be_bytes());
                context.update(text.expose().as_bytes());
                chunk.copy_from_slice(&context.sign().as_ref()[..chunk.len()]);
                round += 1;
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id().unwrap_or("HS256"))
    }
}

/// The keys in force: one signs, all verify. There is at least one.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<SigningKey>,
    signing: usize,
}

impl KeySet {
    /// The first signs. The same key once more is left out.
    pub fn new(keys: impl IntoIterator<Item = SigningKey>) -> Option<Self> {
        let mut all: Vec<SigningKey> = Vec::new();
        for key in keys {
            if !all.iter().any(|other| other.is(&key)) {
                all.push(key);
            }
        }
        (!all.is_empty()).then_some(Self { keys: all, signing: 0 })
    }

    /// Signs with this key for now, if it is one of them.
    #[must_use]
    pub fn signing_with(mut self, key: &SigningKey) -> Self {
        self.signing = self.keys.iter().position(|other| other.is(key)).unwrap_or_default();
        self
    }

    pub fn signing(&self) -> &SigningKey {
        &self.keys[self.signing]
    }

    /// The one that signs and then the others: a text that was derived from any of them can be found again.
    pub fn iter(&self) -> impl Iterator<Item = &SigningKey> {
        let others = self.keys.iter().enumerate().filter(|(at, _)| *at != self.signing);
        std::iter::once(self.signing()).chain(others.map(|(_, key)| key))
    }

    /// The key meant to sign, which `signing_with` may have postponed.
    pub fn first(&self) -> &SigningKey {
        &self.keys[0]
    }

    /// The payload of a token that one of the keys has signed.
    pub fn open(&self, token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        if !self.keys.iter().any(|key| key.header == header) {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let fitting = self.keys.iter().filter(|key| key.header == header);
        let signed = fitting.fold(false, |found, key| found | key.verifies(message.as_bytes(), &signature));
        // A payload with a dot in it, a part too many, is no base64 either.
        signed.then(|| URL_SAFE_NO_PAD.decode(payload).ok()).flatten()
    }

    /// What whoever has the same keys can open.
    pub fn seal(&self, once: OnlyOnce, text: &[u8]) -> String {
        self.signing().seal.seal(once, text)
    }

    /// What any of the keys has sealed.
    pub fn unseal(&self, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.iter().find_map(|key| key.seal.open(sealed))
    }

    /// The public keys as a JSON Web Key Set; empty for HS256, which has nothing that may be public.
    pub fn public_keys(&self) -> String {
        let mut text = String::from(r#"{"keys":["#);
        for (at, jwk) in self.keys.iter().filter_map(SigningKey::jwk).enumerate() {
            write!(text, "{}{jwk}", if at > 0 { "," } else { "" }).expect("a String takes everything");
        }
        text.push_str("]}");
        text
    }
}

#[cfg(test)]
mod tests;
