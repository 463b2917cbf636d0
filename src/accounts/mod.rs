//! People's accounts: who they are, how they prove it, and where they are logged in.

pub mod common;
pub mod guard;
pub mod hasher;
pub mod import;
pub mod introspection;
pub mod key_file;
pub mod keys;
pub mod login_name;
pub mod password;
pub mod sessions;
pub mod signing;
pub mod token;
pub mod users;

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
