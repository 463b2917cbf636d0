//! The one object that holds the document, in S3 or in a local file: read it, read it if it changed,
//! write it if nobody else has.

pub mod commit;
pub mod file;
pub mod s3;

use std::fmt;

use bytes::Bytes;

use self::{file::FileStore, s3::S3Store};
use crate::{
    config::{Location, StoreConfig},
    core::time::Timestamp,
};

/// The version of an object: its `ETag` in S3, a digest of its bytes in a file. Compared, never interpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub String);

/// The answer to a read.
pub enum Fetched<T = Bytes> {
    Unchanged,
    /// The bucket or directory answers, and has no such object.
    Missing,
    Object {
        version: Version,
        /// Or what was made of them.
        bytes: T,
    },
}

/// Takes an object while it arrives, on a thread for work that takes long.
pub trait Intake: Send + 'static {
    /// How many bytes are to come, where the store knows.
    fn announce(&mut self, _len: usize) {}

    fn take(&mut self, piece: &[u8]);
}

/// The bytes themselves, in one buffer of the announced size, so that memory holds them once.
impl Intake for Vec<u8> {
    fn announce(&mut self, len: usize) {
        self.reserve_exact(len);
    }

    fn take(&mut self, piece: &[u8]) {
        self.extend_from_slice(piece);
    }
}

impl From<Fetched<Vec<u8>>> for Fetched {
    fn from(fetched: Fetched<Vec<u8>>) -> Self {
        match fetched {
            Fetched::Unchanged => Self::Unchanged,
            Fetched::Missing => Self::Missing,
            Fetched::Object { version, bytes } => Self::Object {
                version,
                bytes: bytes.into(),
            },
        }
    }
}

/// An object may carry plaintext secrets, so what it holds is not shown.
impl<T: AsRef<[u8]>> fmt::Debug for Fetched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Missing => f.write_str("Missing"),
            Self::Object { version, bytes } => f
                .debug_struct("Object")
                .field("version", version)
                .field("length", &bytes.as_ref().len())
                .finish_non_exhaustive(),
        }
    }
}

/// What must be true of the stored object for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Version(Version),
}

/// The answer to a write that reached the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    Done(Version),
    /// Somebody else wrote in between (412, 409, or 404 for an `If-Match`).
    Conflict,
}

/// What a store remembers of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// A file, and a bucket without versioning, hold what was written last and nothing else.
    NotKept,
    Kept(Vec<StoredVersion>),
}

/// One write of the object, or its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    pub id: String,
    pub written_at: Option<Timestamp>,
    pub bytes: Option<u64>,
    pub is_latest: bool,
    pub is_deletion: bool,
}

/// What keeps the store from answering. The word goes to `/ready`, the log and refusals; no internals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be reached")]
    Unreachable,
    #[error("the store did not answer in time")]
    Timeout,
    #[error("the store refused access")]
    Forbidden,
    #[error("the bucket does not exist")]
    NoBucket,
    #[error("the store answered with an error")]
    Failed,
    #[error("the object is larger than MAX_DOCUMENT_BYTES")]
    TooLarge,
    #[error("the object arrived incomplete")]
    Incomplete,
    #[error("no credentials for the store were found")]
    NoCredentials,
}

impl StoreError {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "store_unreachable",
            Self::Timeout => "store_timeout",
            Self::Forbidden => "store_forbidden",
            Self::NoBucket => "bucket_missing",
            Self::Failed => "store_failed",
            Self::TooLarge => "object_too_large",
            Self::Incomplete => "object_incomplete",
            Self::NoCredentials => "credentials_missing",
        }
    }
}

/// What writes that must be refused have shown of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    Kept,
    /// As far as can be asked where nothing is stored, which is `If-Match`.
    HalfKept,
    Ignored,
    /// And what was offered is stored now where nothing was.
    IgnoredAndTaken,
}

/// Both kinds of store keep the same contract; `tests/it/store.rs` runs one script over both.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a process has one store, and it stays where it is"
)]
pub enum Store {
    S3(S3Store),
    File(FileStore),
}

impl Store {
    /// Needs no connection yet: an unreachable store is found out by the first read.
    pub async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let max_bytes = config.max_document_bytes;
        Ok(match config.location.clone() {
            Location::S3 { bucket, key, region } => Self::S3(S3Store::open(bucket, key, region, max_bytes).await),
            Location::File { path } => Self::File(FileStore::open(path, max_bytes)),
        })
    }

    /// Reads the object unless it still has the `known` version.
    pub async fn read_if_changed(&self, known: Option<&Version>) -> Result<Fetched, StoreError> {
        self.read_into(known, Vec::new()).await.map(Fetched::from)
    }

    /// The same, handing over each piece as it arrives. An intake that took an object which turns out unchanged, or a part of
    /// one that does not arrive whole, is dropped.
    pub async fn read_into<I: Intake>(&self, known: Option<&Version>, intake: I) -> Result<Fetched<I>, StoreError> {
        match self {
            Self::S3(store) => store.read_into(known, intake).await,
            Self::File(store) => store.read_into(known, intake).await,
        }
    }

    /// Writes the object if `expect` holds. An `Err` leaves open whether the write happened.
    pub async fn write_if_unchanged(&self, bytes: Bytes, expect: &Expect) -> Result<Written, StoreError> {
        match self {
            Self::S3(store) => store.write_if_unchanged(bytes, expect).await,
            Self::File(store) => store.write_if_unchanged(bytes, expect).await,
        }
    }

    /// The object's versions, the newest first, at most `limit`.
    pub async fn versions(&self, limit: usize) -> Result<Versions, StoreError> {
        match self {
            Self::S3(store) => store.versions(limit).await,
            Self::File(_) => Ok(Versions::NotKept),
        }
    }

    /// One version of the object, or that there is no such version.
    pub async fn read_version(&self, id: &str) -> Result<Fetched, StoreError> {
        match self {
            Self::S3(store) => store.read_version(id).await,
            Self::File(_) => Ok(Fetched::Missing),
        }
    }

    /// Whether the store keeps write conditions, found out once by a write that must be refused.
    /// `current` is what is stored now, so that a store which ignores conditions is left with what it had.
    pub async fn keeps_conditions(&self, current: &Fetched) -> Result<bool, StoreError> {
        match self {
            Self::S3(store) => store.keeps_conditions(current).await,
            Self::File(_) => Ok(true),
        }
    }

    /// Tries anew, for `doctor`: also where it is known how the store is, and of a file whether it can be written.
    pub async fn try_conditions(&self, current: &Fetched) -> Result<Conditions, StoreError> {
        match self {
            Self::S3(store) => store.try_conditions(current).await,
            Self::File(store) => store.try_to_write().await.map(|()| Conditions::Kept),
        }
    }

    /// What time the store has, where it has a clock of its own and tells.
    pub async fn clock(&self) -> Option<Timestamp> {
        match self {
            Self::S3(store) => store.clock().await,
            Self::File(_) => None,
        }
    }

    /// For people: `s3://bucket/key` or the file's path.
    pub fn location(&self) -> String {
        match self {
            Self::S3(store) => store.location(),
            Self::File(store) => store.location(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_an_object() {
        let fetched = Fetched::Object {
            version: Version("v1".to_owned()),
            bytes: Bytes::from_static(br#"{"keys":[{"secret":"sec_private"}]}"#),
        };
        assert_eq!(
            format!("{fetched:?}"),
            r#"Object { version: Version("v1"), length: 35, .. }"#
        );
    }
}
