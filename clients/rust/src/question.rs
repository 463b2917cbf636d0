//! What is asked: a key, and what it is wanted for.

use std::net::IpAddr;

use bytes::Bytes;
use ring::hmac;
use serde::Serialize;

/// The most characters that a key may have.
const MAX_KEY_CHARACTERS: usize = 1024;

/// What an answer is remembered under.
pub(crate) type Digest = [u8; 32];

/// A key and what it is wanted for. Deliberately not `Debug`: it holds the key.
#[derive(Clone, Copy, Serialize)]
pub struct Question<'a> {
    api_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    required_scopes: &'a [&'a str],
    #[serde(skip_serializing_if = "is_one")]
    cost: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
}

impl<'a> Question<'a> {
    pub const fn of(api_key: &'a str) -> Self {
        Self {
            api_key,
            client_ip: None,
            required_scopes: &[],
            cost: 1,
            endpoint: None,
        }
    }

    /// Where the key's holder is.
    #[must_use]
    pub const fn from(mut self, client_ip: IpAddr) -> Self {
        self.client_ip = Some(client_ip);
        self
    }

    /// The key must have all of these scopes.
    #[must_use]
    pub const fn requiring(mut self, scopes: &'a [&'a str]) -> Self {
        self.required_scopes = scopes;
        self
    }

    /// How many uses this one is, for the limits of the key.
    #[must_use]
    pub const fn costing(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// What the key is used for, to be counted.
    #[must_use]
    pub const fn at(mut self, endpoint: &'a str) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    pub(crate) fn may_be_a_key(&self) -> bool {
        !self.api_key.is_empty() && self.api_key.chars().nth(MAX_KEY_CHARACTERS).is_none()
    }

    pub(crate) fn body(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts and numbers are JSON").into()
    }

    /// Of all that decides about the answer. Cost and endpoint do not, where no limits apply.
    pub(crate) fn digest(&self, key: &hmac::Key) -> Digest {
        let mut scopes = self.required_scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        let decides = Question {
            required_scopes: &scopes,
            cost: 1,
            endpoint: None,
            ..*self
        };
        let tag = hmac::sign(key, &decides.body());
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(cost: &u32) -> bool {
    *cost == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_exactly_what_was_asked() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"of the test");
        let digest = |question: Question<'_>| question.digest(&key);
        let plain = Question::of("guess");
        let same = [plain.costing(7), plain.at("/orders"), plain.requiring(&[])];
        for question in same {
            assert_eq!(digest(question), digest(plain));
        }
        let others = [
            Question::of("guess "),
            plain.from([192, 0, 2, 7].into()),
            plain.requiring(&["a"]),
            plain.requiring(&["a", "b"]),
            plain.requiring(&["a\",\"b"]),
        ];
        for (at, question) in others.iter().enumerate() {
            assert_ne!(digest(*question), digest(plain), "{at}");
            assert!(
                others[..at].iter().all(|earlier| digest(*earlier) != digest(*question)),
                "{at}"
            );
        }
        assert_eq!(
            digest(plain.requiring(&["b", "a", "b"])),
            digest(plain.requiring(&["a", "b"]))
        );
    }
}
