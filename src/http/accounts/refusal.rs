//! Everything that can be wrong with a call: its status, its body and its headers, in one table.

use std::{borrow::Cow, time::Duration};

use hyper::{
    StatusCode,
    header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::body::Fault;
use crate::{
    accounts::{AccountError, RefreshTrouble, TokenTrouble, UserId},
    catalogue::Trouble,
    http::{body::Unread, keys::answer::Answer, reply::Wait},
};

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Account(AccountError),
    /// The call needs a token and came without one.
    NoToken,
    /// The token to be logged out is nobody's.
    LogoutFailed,
    HttpsRequired,
    MethodNotAllowed {
        allow: &'static str,
    },
    Body(Unread),
    Invalid(Vec<Fault>),
    /// Somebody asks about no token.
    NoTokenToIntrospect,
    /// Somebody asks who may not.
    MayNotIntrospect,
    TooManyGuesses,
    /// No keys are loaded yet, or one of them is still being looked at.
    KeysNotKnown,
    /// The keys of a user who wants to be deleted could not be taken away.
    Keys(Trouble),
    /// It is unknown how far the call came.
    OutcomeUnknown,
}

/// What a caller reads. Each refusal has one of these forms.
#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Message {
        message: &'static str,
    },
    Detail {
        detail: &'static str,
    },
    Both {
        error: &'static str,
        detail: &'static str,
    },
    Error {
        error: &'static str,
    },
    OAuth {
        error: &'static str,
        error_description: &'static str,
    },
    Invalid {
        error: Cow<'a, str>,
        detail: &'a [Fault],
    },
}

/// A caller without a good token is told how to come with one; one with a bad token also what is wrong with it (RFC 6750).
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="heare-auth""#);
const CHALLENGE_INVALID: HeaderValue = HeaderValue::from_static(r#"Bearer realm="heare-auth", error="invalid_token""#);

const UNAVAILABLE: Said<'static> = Said::Both {
    error: "Service temporarily unavailable",
    detail: "Service temporarily unavailable",
};

impl Refusal {
    /// One of each reason, for the test that holds USAGE.md to them; those of stores are told with the stores.
    pub fn all() -> Vec<Self> {
        let errors = [
            AccountError::LoginTaken,
            AccountError::WrongPassword,
            AccountError::Locked {
                retry_after: Duration::ZERO,
            },
            AccountError::Token(TokenTrouble::Invalid),
            AccountError::Token(TokenTrouble::Expired),
            AccountError::Token(TokenTrouble::Gone),
            AccountError::BadRefreshToken(RefreshTrouble::Unknown),
            AccountError::BadRefreshToken(RefreshTrouble::Reused(UserId(1))),
            AccountError::OtherUser,
            AccountError::UnknownSession,
            AccountError::Busy,
            AccountError::NoRandomness,
            AccountError::Stopping,
        ];
        let others = [
            Self::NoToken,
            Self::LogoutFailed,
            Self::HttpsRequired,
            Self::MethodNotAllowed { allow: "GET" },
            Self::Body(Unread::TooLarge),
            Self::Body(Unread::TooSlow),
            Self::Body(Unread::Broken),
            Self::Invalid(Vec::new()),
            Self::NoTokenToIntrospect,
            Self::MayNotIntrospect,
            Self::TooManyGuesses,
            Self::KeysNotKnown,
            Self::Keys(Trouble::Store),
            Self::OutcomeUnknown,
        ];
        errors.map(Self::Account).into_iter().chain(others).collect()
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::Account(AccountError::WrongPassword | AccountError::Token(_) | AccountError::BadRefreshToken(_))
            | Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::Account(AccountError::LoginTaken) => StatusCode::CONFLICT,
            Self::Account(AccountError::OtherUser) | Self::HttpsRequired | Self::MayNotIntrospect => {
                StatusCode::FORBIDDEN
            }
            Self::Account(AccountError::Locked { .. }) | Self::TooManyGuesses => StatusCode::TOO_MANY_REQUESTS,
            Self::Account(AccountError::UnknownSession) => StatusCode::NOT_FOUND,
            Self::Account(
                AccountError::Busy | AccountError::NoRandomness | AccountError::Unavailable(_) | AccountError::Stopping,
            )
            | Self::Keys(_)
            | Self::KeysNotKnown
            | Self::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
            Self::LogoutFailed | Self::NoTokenToIntrospect | Self::Body(Unread::Broken) => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body(Unread::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(Unread::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// The reason in the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Account(error) => error.word(),
            Self::NoToken => "no_token",
            Self::LogoutFailed => "unknown_token",
            Self::HttpsRequired => "https_required",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::Body(unread) => unread.word(),
            Self::Invalid(_) | Self::NoTokenToIntrospect => "invalid_request",
            Self::MayNotIntrospect => "insufficient_scope",
            Self::TooManyGuesses => "rate_limited",
            Self::KeysNotKnown => "keys_not_known",
            Self::Keys(_) => "keys_not_revoked",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    fn said(&self) -> Said<'_> {
        match self {
            Self::Account(AccountError::WrongPassword) => Said::Message {
                message: "Invalid credentials",
            },
            Self::Account(AccountError::LoginTaken) => Said::Detail {
                detail: "Login already registered",
            },
            Self::Account(AccountError::Token(trouble)) => Said::Detail {
                detail: trouble.sentence(),
            },
            Self::Account(AccountError::BadRefreshToken(_)) => Said::Detail {
                detail: "Invalid refresh token",
            },
            Self::Account(AccountError::OtherUser) => Said::Detail {
                detail: "The token belongs to another user",
            },
            Self::Account(AccountError::UnknownSession) => Said::Detail {
                detail: "Session not found",
            },
            Self::Account(AccountError::Locked { .. }) => Said::Both {
                error: "Too many attempts",
                detail: "Too many attempts, try again later",
            },
            Self::Account(
                AccountError::Busy | AccountError::NoRandomness | AccountError::Unavailable(_) | AccountError::Stopping,
            )
            | Self::Keys(_)
            | Self::KeysNotKnown
            | Self::OutcomeUnknown => UNAVAILABLE,
            // In the form of OAuth (RFC 6749, 5.2).
            Self::NoTokenToIntrospect => Said::OAuth {
                error: "invalid_request",
                error_description: "the body must be a form with one token",
            },
            Self::MayNotIntrospect => Said::OAuth {
                error: "insufficient_scope",
                error_description: "needs an operator's key with the scope introspect or admin, or a key with an owner",
            },
            Self::TooManyGuesses => Said::Error {
                error: "Rate limit exceeded",
            },
            Self::NoToken => Said::Detail {
                detail: "Not authenticated",
            },
            Self::LogoutFailed => Said::Detail {
                detail: "Failed to logout token",
            },
            Self::HttpsRequired => Said::Both {
                error: "HTTPS required",
                detail: "call this route over HTTPS; a password that was sent in plain text should be changed",
            },
            Self::MethodNotAllowed { .. } => Said::Detail {
                detail: "Method Not Allowed",
            },
            Self::Body(unread) => Said::Error {
                error: unread_sentence(*unread),
            },
            Self::Invalid(faults) => Said::Invalid {
                error: faults
                    .first()
                    .map_or(Cow::Borrowed("The body is not right"), |fault| fault.sentence.clone()),
                detail: faults,
            },
        }
    }

    /// Seconds after which another try makes sense.
    fn retry_after(&self) -> Option<Wait> {
        match self {
            Self::Account(AccountError::Locked { retry_after }) => Some(Wait::from_millis(
                u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
            )),
            _ if matches!(
                self.status(),
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
            ) =>
            {
                Some(Wait::A_SECOND)
            }
            _ => None,
        }
    }

    pub fn answer(&self) -> Answer {
        let mut answer = Answer::json_of(self.status(), &self.said());
        if answer.status == StatusCode::UNAUTHORIZED {
            let is_bad_token = matches!(self, Self::Account(AccountError::Token(_)));
            let challenge = if is_bad_token { CHALLENGE_INVALID } else { CHALLENGE };
            answer.headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after() {
            answer.headers.insert(RETRY_AFTER, wait.into());
        }
        match self {
            Self::MethodNotAllowed { allow } => {
                answer.headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            // What is left of the body will not be read: the connection ends with the answer.
            Self::Body(_) => {
                answer.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        answer
    }
}

/// As `/verify` says it.
const fn unread_sentence(unread: Unread) -> &'static str {
    match unread {
        Unread::TooLarge => "The request body is larger than 64 KiB",
        Unread::TooSlow => "The request body did not arrive in time",
        Unread::Broken => "The request body did not arrive whole",
    }
}

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        Self::Account(error)
    }
}

impl From<Vec<Fault>> for Refusal {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Invalid(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_told_to_come_back_is_told_when_and_who_is_unknown_how_to_be_known() {
        for refusal in Refusal::all() {
            let answer = refusal.answer();
            let status = answer.status.as_u16();
            assert_eq!(
                answer.headers.contains_key(RETRY_AFTER),
                [429, 503].contains(&status),
                "{refusal:?}"
            );
            assert_eq!(
                answer.headers.contains_key(WWW_AUTHENTICATE),
                status == 401,
                "{refusal:?}"
            );
            assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok_and(|body| body.is_object()));
            assert!(!refusal.word().is_empty());
        }
    }
}
