//! What a verdict on a key is answered with, alone, in a batch, and to a caller who presents it as a credential.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use serde::Serialize;

use super::Reply;
use crate::core::{
    index::Entry,
    scope::{self, Scope},
    verify::{Finding, Refusal},
};

impl Reply {
    /// A good key's answer lies behind the ones before it in a buffer of the thread, which is used again once all of
    /// them have left.
    pub fn good_key(key: &Entry<'_>) -> Self {
        let length = key.answer_len();
        let body = ANSWERS.with_borrow_mut(|room| {
            if room.capacity() < length {
                room.reserve(length.max(ROOM));
            }
            key.write_answer(room);
            room.split().freeze()
        });
        Self::json(StatusCode::OK, body)
    }

    pub(super) fn key_refused(refusal: Refusal) -> Self {
        Self::fixed(status(refusal), key_refused(refusal))
    }

    /// A caller who lacks a scope is told what it takes.
    #[must_use]
    pub fn with_required_scopes(self, scopes: &[Scope<'_>]) -> Self {
        self.with_member("required_scopes", &scope::json_list(scopes))
    }

    /// The checks that led to this answer.
    #[must_use]
    pub fn with_checks(self, findings: &[Finding]) -> Self {
        let checks: Vec<CheckBody> = findings.iter().map(CheckBody::from).collect();
        self.with_member("checks", &json(&checks))
    }

    /// All answers in one, each with its status in front of its own members.
    pub fn batch(replies: &[Self]) -> Self {
        let size: usize = replies.iter().map(|reply| reply.body.len() + 16).sum();
        let mut body = Vec::with_capacity(size + 16);
        body.extend_from_slice(br#"{"results":["#);
        for (index, reply) in replies.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let status = format!(r#"{separator}{{"status":{},"#, reply.status.as_u16());
            body.extend_from_slice(status.as_bytes());
            body.extend_from_slice(
                reply
                    .body
                    .strip_prefix(b"{")
                    .expect("every answer is an object with members"),
            );
        }
        body.extend_from_slice(b"]}");
        Self::json(StatusCode::OK, body)
    }

    /// The answer to a caller whose own key is good.
    pub fn good_credential(key: &Entry<'_>) -> Self {
        let user_id = key.policy.and_then(|policy| policy.user_id);
        let limit = key.policy.and_then(|policy| policy.rate_limit_per_hour());
        let body = format!(
            r#"{{"is_valid":true,"key_id":"{}","user_id":{},"scopes":{},"rate_limit_per_hour":{}}}"#,
            key.id,
            user_id.map_or_else(|| "null".to_owned(), |user_id| format!("\"{user_id}\"")),
            scope::json_list(key.scopes()),
            limit.map_or_else(|| "null".to_owned(), |limit| limit.to_string()),
        );
        Self::json(StatusCode::OK, body)
    }

    /// Who is not known is told to say who they are; who is known and may not is not.
    pub(super) fn credential_refused(refusal: Refusal) -> Self {
        let body = CredentialBody {
            is_valid: false,
            error: sentence(refusal),
            code: refusal.code(),
            detail: sentence(refusal),
        };
        match refusal {
            Refusal::Invalid | Refusal::Revoked | Refusal::Expired => Self::json_of(StatusCode::UNAUTHORIZED, &body)
                .challenge(r#"Bearer realm="heare-auth", error="invalid_token""#),
            Refusal::IpNotAllowed | Refusal::InsufficientScope | Refusal::RateLimited => {
                Self::json_of(status(refusal), &body)
            }
        }
    }

    pub(super) fn no_credential() -> Self {
        Self::fixed(
            StatusCode::UNAUTHORIZED,
            r#"{"is_valid":false,"error":"API key required","code":"missing","detail":"API key required"}"#,
        )
        .challenge(r#"Bearer realm="heare-auth""#)
    }

    fn with_member(mut self, name: &str, json: &str) -> Self {
        let begin = self.body.strip_suffix(b"}").expect("every answer is an object");
        let member = format!(r#","{name}":{json}}}"#);
        self.body = Bytes::from([begin, member.as_bytes()].concat());
        self
    }
}

const fn status(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Invalid | Refusal::Revoked | Refusal::Expired | Refusal::IpNotAllowed | Refusal::InsufficientScope => {
            StatusCode::FORBIDDEN
        }
        Refusal::RateLimited => StatusCode::TOO_MANY_REQUESTS,
    }
}

const fn sentence(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Invalid | Refusal::Revoked | Refusal::Expired => "Invalid API key",
        Refusal::IpNotAllowed => "IP address not allowed",
        Refusal::InsufficientScope => "Insufficient scope",
        Refusal::RateLimited => "Rate limit exceeded",
    }
}

/// Both shapes that clients of the older services read: flat, and wrapped in `detail`.
macro_rules! key_refused {
    ($code:literal, $error:literal) => {
        concat!(
            r#"{"valid":false,"error":""#,
            $error,
            r#"","code":""#,
            $code,
            r#"","detail":{"valid":false,"error":""#,
            $error,
            r#""}}"#
        )
    };
}

const fn key_refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Invalid => key_refused!("invalid", "Invalid API key"),
        Refusal::Revoked => key_refused!("revoked", "Invalid API key"),
        Refusal::Expired => key_refused!("expired", "Invalid API key"),
        Refusal::IpNotAllowed => key_refused!("ip_not_allowed", "IP address not allowed"),
        Refusal::InsufficientScope => key_refused!("insufficient_scope", "Insufficient scope"),
        Refusal::RateLimited => {
            r#"{"valid":false,"error":"Rate limit exceeded","code":"rate_limited","detail":"Rate limit exceeded"}"#
        }
    }
}

#[derive(Serialize)]
struct CredentialBody {
    is_valid: bool,
    error: &'static str,
    code: &'static str,
    detail: &'static str,
}

#[derive(Serialize)]
struct CheckBody {
    check: &'static str,
    outcome: &'static str,
}

impl From<&Finding> for CheckBody {
    fn from(finding: &Finding) -> Self {
        Self {
            check: finding.check.word(),
            outcome: finding.outcome.word(),
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts are always JSON")
}

/// How much room for answers a thread asks for at once.
const ROOM: usize = 64 * 1024;

thread_local! {
    static ANSWERS: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(ROOM));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_refused_key_carries_the_code_of_its_refusal() {
        for refusal in Refusal::ALL {
            let body: Value = serde_json::from_str(key_refused(refusal)).unwrap();
            assert_eq!(body["code"], refusal.code());
            assert_eq!(body["error"], sentence(refusal));
        }
    }

    #[test]
    fn a_batch_holds_every_answer_with_its_status() {
        let replies = [Refusal::Invalid, Refusal::RateLimited].map(Reply::key_refused);
        let body: Value = serde_json::from_slice(&Reply::batch(&replies).body).unwrap();
        let short: Vec<_> = body["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (&one["status"], &one["code"]))
            .collect();
        assert_eq!(
            short,
            [(&json!(403), &json!("invalid")), (&json!(429), &json!("rate_limited"))]
        );
        assert_eq!(Reply::batch(&[]).body, r#"{"results":[]}"#);
    }

    #[test]
    fn an_answer_longer_than_the_room_is_whole() {
        let name = "x".repeat(2 * ROOM);
        let key = Entry {
            id: "key_1",
            name: &name,
            metadata: "{}",
            expires_at: None,
            revoked: false,
            merely_inactive: false,
            policy: None,
            previous_until: None,
        };
        for _ in 0..3 {
            let body: Value = serde_json::from_slice(&Reply::good_key(&key).body).unwrap();
            assert_eq!(body["name"], *name);
        }
    }
}
