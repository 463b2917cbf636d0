//! Why something was not done, in meanings that a caller acts on.

use std::time::Duration;

use super::{guard, hasher::HasherError, users::UserId};
use crate::{database::DatabaseError, redis_link::Trouble};

/// A store did not do what it was asked for. Nobody is let in on the strength of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Redis(#[from] Trouble),
}

impl Unavailable {
    /// The word in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Database(error) => error.word(),
            Self::Redis(trouble) => trouble.word(),
        }
    }
}

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenTrouble {
    /// None of ours.
    Invalid,
    /// It was good once.
    Expired,
    /// Its session is over.
    Gone,
}

impl TokenTrouble {
    /// In the words that clients of the older service know.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid token",
            Self::Expired => "Token has expired",
            Self::Gone => "Token not found or expired",
        }
    }
}

/// Why a session does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshTrouble {
    Unknown,
    /// It was used before, so somebody else has it as well: the session of this user is over.
    Reused(UserId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("the login is taken")]
    LoginTaken,
    /// Or an unknown login, or an account that may not be used: nobody is told which.
    #[error("the login and the password do not belong together")]
    WrongPassword,
    #[error("too many wrong passwords came before this one")]
    Locked { retry_after: Duration },
    #[error("{}", .0.sentence())]
    Token(TokenTrouble),
    #[error("the refresh token is not good")]
    BadRefreshToken(RefreshTrouble),
    #[error("the token belongs to another user")]
    OtherUser,
    #[error("the user has no such session")]
    UnknownSession,
    #[error("too many passwords wait to be looked at")]
    Busy,
    #[error("the system gives no random numbers")]
    NoRandomness,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("the service is stopping")]
    Stopping,
}

impl AccountError {
    /// The reason in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::LoginTaken => "login_taken",
            Self::WrongPassword => "invalid_credentials",
            Self::Locked { .. } => "locked",
            Self::Token(TokenTrouble::Invalid) => "token_invalid",
            Self::Token(TokenTrouble::Expired) => "token_expired",
            Self::Token(TokenTrouble::Gone) => "token_gone",
            Self::BadRefreshToken(RefreshTrouble::Unknown) => "refresh_token_unknown",
            Self::BadRefreshToken(RefreshTrouble::Reused(_)) => "refresh_token_reused",
            Self::OtherUser => "other_user",
            Self::UnknownSession => "session_unknown",
            Self::Busy => "busy",
            Self::NoRandomness => "no_randomness",
            Self::Unavailable(unavailable) => unavailable.word(),
            Self::Stopping => "stopping",
        }
    }
}

impl From<guard::Refusal> for AccountError {
    fn from(refusal: guard::Refusal) -> Self {
        match refusal {
            guard::Refusal::TooMany { retry_after } => Self::Locked { retry_after },
            guard::Refusal::Busy => Self::Busy,
            guard::Refusal::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}

impl From<HasherError> for AccountError {
    fn from(error: HasherError) -> Self {
        match error {
            HasherError::Busy => Self::Busy,
            HasherError::NoRandomness => Self::NoRandomness,
        }
    }
}
