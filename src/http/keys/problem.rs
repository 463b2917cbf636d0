//! Everything that can go wrong with a management call: its status, its code and its sentence, in one table.

use hyper::StatusCode;

use crate::accounts::TokenTrouble;

/// Why a call was not carried out. Each has one code; the texts of `Invalid` name a member and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    KeyRequired,
    TwoKeys,
    BadKey(&'static str),
    BadToken(TokenTrouble),
    IpNotAllowed,
    RateLimited,
    InsufficientScope,
    OperatorsOnly,
    BroaderThanMaker,
    HttpsRequired,
    ForeignPage,
    NotFound,
    MethodNotAllowed { allow: &'static str },
    BodyTooLarge,
    BodyTooSlow,
    BodyBroken,
    UnsupportedMediaType,
    Invalid(String),
    PreconditionFailed,
    KeyRevoked,
    KeyExpired,
    KeyDefective,
    NoOverlap,
    IdempotencyKeyReused,
    AnswerSealed,
    NotLoaded,
    StoreUnavailable,
    StoreUnfit,
    Contended,
    Busy,
    OutcomeUnknown,
    NoRandomness,
    UsageOff,
    UsageUnavailable,
    AccountsUnavailable,
}

impl Problem {
    /// One of each code, for the test that holds USAGE.md to them.
    pub fn all() -> Vec<Self> {
        vec![
            Self::KeyRequired,
            Self::TwoKeys,
            Self::BadKey("invalid"),
            Self::BadKey("expired"),
            Self::BadKey("revoked"),
            Self::BadToken(TokenTrouble::Invalid),
            Self::BadToken(TokenTrouble::Expired),
            Self::BadToken(TokenTrouble::Gone),
            Self::IpNotAllowed,
            Self::RateLimited,
            Self::InsufficientScope,
            Self::OperatorsOnly,
            Self::BroaderThanMaker,
            Self::HttpsRequired,
            Self::ForeignPage,
            Self::NotFound,
            Self::MethodNotAllowed { allow: "GET" },
            Self::BodyTooLarge,
            Self::BodyTooSlow,
            Self::BodyBroken,
            Self::UnsupportedMediaType,
            Self::Invalid(String::new()),
            Self::PreconditionFailed,
            Self::KeyRevoked,
            Self::KeyExpired,
            Self::KeyDefective,
            Self::NoOverlap,
            Self::IdempotencyKeyReused,
            Self::AnswerSealed,
            Self::NotLoaded,
            Self::StoreUnavailable,
            Self::StoreUnfit,
            Self::Contended,
            Self::Busy,
            Self::OutcomeUnknown,
            Self::NoRandomness,
            Self::UsageOff,
            Self::UsageUnavailable,
            Self::AccountsUnavailable,
        ]
    }

    pub const fn status(&self) -> StatusCode {
        match self {
            Self::KeyRequired | Self::TwoKeys | Self::BadKey(_) | Self::BadToken(_) => StatusCode::UNAUTHORIZED,
            Self::IpNotAllowed
            | Self::InsufficientScope
            | Self::OperatorsOnly
            | Self::BroaderThanMaker
            | Self::HttpsRequired
            | Self::ForeignPage => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::KeyRevoked | Self::KeyExpired | Self::KeyDefective | Self::NoOverlap | Self::AnswerSealed => {
                StatusCode::CONFLICT
            }
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::NotLoaded
            | Self::StoreUnavailable
            | Self::StoreUnfit
            | Self::Contended
            | Self::Busy
            | Self::OutcomeUnknown
            | Self::NoRandomness
            | Self::UsageOff
            | Self::UsageUnavailable
            | Self::AccountsUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyRequired => "key_required",
            Self::TwoKeys => "two_keys",
            Self::BadKey(code) => code,
            Self::BadToken(_) => "invalid_token",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::RateLimited => "rate_limited",
            Self::InsufficientScope | Self::OperatorsOnly => "insufficient_scope",
            Self::BroaderThanMaker => "broader_than_maker",
            Self::HttpsRequired => "https_required",
            Self::ForeignPage => "csrf",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Invalid(_) => "invalid_request",
            Self::PreconditionFailed => "precondition_failed",
            Self::KeyRevoked => "key_revoked",
            Self::KeyExpired => "key_expired",
            Self::KeyDefective => "key_defective",
            Self::NoOverlap => "no_overlap",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::AnswerSealed => "answer_sealed",
            Self::NotLoaded => "not_loaded",
            Self::StoreUnavailable => "store_unavailable",
            Self::StoreUnfit => "store_unfit",
            Self::Contended => "contended",
            Self::Busy => "busy",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NoRandomness => "no_randomness",
            Self::UsageOff => "usage_off",
            Self::UsageUnavailable => "usage_unavailable",
            Self::AccountsUnavailable => "accounts_unavailable",
        }
    }

    /// The kind of problem, the same for all with one code.
    pub const fn title(&self) -> &'static str {
        match self {
            Self::KeyRequired => "API key required",
            Self::TwoKeys => "Two different API keys",
            Self::BadKey(_) => "Invalid API key",
            Self::BadToken(_) => "Invalid token",
            Self::IpNotAllowed => "Address not allowed",
            Self::RateLimited => "Rate limit exceeded",
            Self::InsufficientScope | Self::OperatorsOnly => "Insufficient scope",
            Self::BroaderThanMaker => "Broader than its maker",
            Self::HttpsRequired => "HTTPS required",
            Self::ForeignPage => "Not a page of this service",
            Self::NotFound => "API key not found",
            Self::MethodNotAllowed { .. } => "Method Not Allowed",
            Self::BodyTooLarge => "Body too large",
            Self::BodyTooSlow | Self::BodyBroken => "Body not received",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::Invalid(_) => "Invalid request",
            Self::PreconditionFailed => "Precondition failed",
            Self::KeyRevoked => "API key is revoked",
            Self::KeyExpired => "API key is expired",
            Self::KeyDefective => "API key is defective",
            Self::NoOverlap => "No overlap possible",
            Self::IdempotencyKeyReused => "Idempotency-Key reused",
            Self::AnswerSealed => "Already done",
            Self::NotLoaded => "Key data is not loaded yet",
            Self::StoreUnavailable | Self::StoreUnfit => "Store unavailable",
            Self::Contended | Self::Busy => "Try again",
            Self::OutcomeUnknown => "Outcome unknown",
            Self::NoRandomness => "No random numbers",
            Self::UsageOff | Self::UsageUnavailable => "Usage unavailable",
            Self::AccountsUnavailable => "Accounts unavailable",
        }
    }

    /// What happened and what to do about it.
    pub fn detail(&self) -> &str {
        match self {
            Self::KeyRequired => "API key required",
            Self::TwoKeys => "send one API key, in Authorization or in X-API-Key",
            Self::BadKey(_) => "Invalid API key",
            Self::BadToken(trouble) => trouble.sentence(),
            Self::IpNotAllowed => "the API key may not be used from this address",
            Self::RateLimited => "Rate limit exceeded",
            Self::InsufficientScope => {
                "needs an operator's key with the scope admin, or a key with an owner and the scope keys:manage"
            }
            Self::OperatorsOnly => "needs an operator's key with the scope admin",
            Self::BroaderThanMaker => {
                "scopes, environment, owner, networks, expiry and limits must lie within those of the API key that asks"
            }
            Self::HttpsRequired => {
                "call this route over HTTPS; the API key that was sent in plain text should be rotated"
            }
            Self::ForeignPage => {
                "a session of the dashboard changes things only with its X-CSRF-Token, from its own page"
            }
            Self::NotFound => "API key not found",
            Self::MethodNotAllowed { .. } => "Method Not Allowed",
            Self::BodyTooLarge => "the request body is larger than 64 KiB",
            Self::BodyTooSlow => "the request body did not arrive in time",
            Self::BodyBroken => "the request body did not arrive whole",
            Self::UnsupportedMediaType => "send the body as application/json",
            Self::Invalid(detail) => detail,
            Self::PreconditionFailed => "the key was changed since; read it again and decide anew",
            Self::KeyRevoked => "a revoked key must be reactivated first",
            Self::KeyExpired => "an expired key needs a later expiry first",
            Self::NoOverlap => {
                "too many earlier secrets are still good, or the secret is stored in a form that allows no overlap; rotate without"
            }
            Self::KeyDefective => "the stored record is defective and must be corrected in the store",
            Self::IdempotencyKeyReused => "this Idempotency-Key was used for another request",
            Self::AnswerSealed => {
                "this request was carried out before, and its answer opens only with the secret that made it"
            }
            Self::NotLoaded => "no keys have been loaded yet",
            Self::StoreUnavailable => "the store did not answer; nothing was changed",
            Self::StoreUnfit => "the stored document cannot be read or safely written; heare-auth doctor says why",
            Self::Contended => "other writers were faster every time; nothing was changed",
            Self::Busy => "too many changes are waiting; nothing was changed",
            Self::OutcomeUnknown => "it is unknown whether the change was made; look before trying again",
            Self::NoRandomness => "the system gives no random numbers; nothing was changed",
            Self::UsageOff => "use is not recorded: no database is named, or DATABASE_URL is off",
            Self::UsageUnavailable => "the database of use and audit did not answer",
            Self::AccountsUnavailable => "it could not be found out whose token this is",
        }
    }

    /// Seconds after which another try makes sense.
    pub const fn retry_after(&self) -> Option<u32> {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Some(1),
            _ => None,
        }
    }

    pub const fn allow(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allow } => Some(allow),
            _ => None,
        }
    }

    /// What is left of the body will not be read: the connection ends with the answer.
    pub const fn ends_connection(&self) -> bool {
        matches!(self, Self::BodyTooLarge | Self::BodyTooSlow | Self::BodyBroken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalogue::Trouble,
        core::change::ChangeError,
        envelope::EnvelopeError,
        store::{StoreError, commit::CommitError},
    };

    #[test]
    fn every_code_is_a_word_and_every_problem_has_a_sentence() {
        for problem in Problem::all() {
            let code = problem.code();
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert!(!problem.title().is_empty());
            assert!(problem.status().is_client_error() || problem.status().is_server_error());
        }
    }

    #[test]
    fn a_change_that_fails_has_the_same_word_in_an_answer_and_in_the_audit_log_of_a_command() {
        let changes = [
            ChangeError::UnknownKey,
            ChangeError::IdTaken,
            ChangeError::Revoked,
            ChangeError::Expired,
            ChangeError::Changed,
            ChangeError::NotAllowed,
            ChangeError::Unsound,
            ChangeError::BadRecord,
            ChangeError::TooManySecrets,
            ChangeError::ImportRefused(1),
            ChangeError::Overtaken,
        ]
        .map(CommitError::Change);
        let others = [
            StoreError::Unreachable.into(),
            StoreError::TooLarge.into(),
            EnvelopeError::WrongSecret.into(),
            CommitError::ConditionsIgnored,
            CommitError::Unknown,
            CommitError::Contended,
        ];
        for error in changes.into_iter().chain(others) {
            let word = error.word();
            assert_eq!(Problem::from(Trouble::from(error)).code(), word);
        }
    }

    #[test]
    fn whoever_is_told_to_come_back_is_told_when() {
        for problem in Problem::all() {
            assert_eq!(
                problem.retry_after().is_some(),
                [429, 503].contains(&problem.status().as_u16()),
                "{problem:?}"
            );
        }
    }
}
