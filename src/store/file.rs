//! The object in a local file: compare-and-swap by a lock file and an atomic rename.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Expect, Fetched, Intake, StoreError, Version, Written};
use crate::{
    clock::Clock,
    courtesy::{Turns, aside},
    durable,
};

/// How long a writer waits for those before it.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// How much of the file is read at a time.
const PIECE: u64 = 16 * 1024;

/// A file that was changed this short before it was read may be changed again without its times showing it.
const RACY_MICROS: i64 = 2_000_000;

/// A file that holds the document. Cloning is cheap; clones share what they know of the file.
#[derive(Clone, Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    max_bytes: usize,
    lock_wait: Duration,
    seen: Mutex<Option<Seen>>,
}

/// What the file looked like from outside when it was read, and what was in it.
#[derive(Clone, Debug)]
struct Seen {
    stamp: Stamp,
    version: Version,
}

/// What changes when a file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStore {
    pub fn open(path: PathBuf, max_bytes: usize) -> Self {
        let (lock_wait, seen) = (LOCK_WAIT, Mutex::new(None));
        Self {
            shared: Arc::new(Shared {
                path,
                max_bytes,
                lock_wait,
                seen,
            }),
        }
    }

    /// Reads the file unless it still has the `known` version. A file left alone costs one `stat`.
    pub async fn read_into<I: Intake>(&self, known: Option<&Version>, intake: I) -> Result<Fetched<I>, StoreError> {
        let known = known.cloned();
        self.blocking(move |shared| shared.read_into(known.as_ref(), intake))
            .await
    }

    /// Writes the file if `expect` holds. An `Err` leaves open whether the write happened.
    pub async fn write_if_unchanged(&self, bytes: Bytes, expect: &Expect) -> Result<Written, StoreError> {
        let expect = expect.clone();
        self.blocking(move |shared| shared.write_if_unchanged(&bytes, &expect))
            .await
    }

    /// Goes as far as a write goes before its own bytes: through the lock, and to a new file beside the document.
    pub async fn try_to_write(&self) -> Result<(), StoreError> {
        self.blocking(Shared::try_to_write).await
    }

    pub fn location(&self) -> String {
        self.shared.path.display().to_string()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        aside(move || work(&shared)).await.unwrap_or(Err(StoreError::Failed))
    }
}

impl Shared {
    fn read_into<I: Intake>(&self, known: Option<&Version>, intake: I) -> Result<Fetched<I>, StoreError> {
        let outside = match fs::metadata(&self.path) {
            Ok(outside) => outside,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fetched::Missing),
            Err(error) => return Err(store_error(&error)),
        };
        if known.is_some() && self.recall(Stamp::of(&outside)).as_ref() == known {
            return Ok(Fetched::Unchanged);
        }
        // Opening a pipe or a device could block or never end.
        if !outside.is_file() {
            return Err(StoreError::Failed);
        }
        self.read(known, intake)
    }

    fn read<I: Intake>(&self, known: Option<&Version>, mut intake: I) -> Result<Fetched<I>, StoreError> {
        let began = Clock::wall_micros();
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fetched::Missing),
            Err(error) => return Err(store_error(&error)),
        };
        let before = file.metadata().map_err(|error| store_error(&error))?;
        let version = self.read_capped(&mut file, before.len(), &mut intake)?;
        let after = file.metadata().map_err(|error| store_error(&error))?;
        let stamp = Stamp::of(&before);
        let settled = stamp == Stamp::of(&after) && stamp.is_settled(began);
        self.remember(settled.then(|| Seen {
            stamp,
            version: version.clone(),
        }));
        if known == Some(&version) {
            return Ok(Fetched::Unchanged);
        }
        Ok(Fetched::Object { version, bytes: intake })
    }

    fn read_capped(&self, file: &mut File, size: u64, intake: &mut impl Intake) -> Result<Version, StoreError> {
        if size > self.max_bytes as u64 {
            return Err(StoreError::TooLarge);
        }
        // The size is at most `max_bytes`, so it fits.
        intake.announce(usize::try_from(size).unwrap_or(0));
        let (mut piece, mut digest, mut len) = (Vec::new(), Sha256::new(), 0);
        let turns = Turns::begin();
        loop {
            piece.clear();
            file.take(PIECE)
                .read_to_end(&mut piece)
                .map_err(|error| store_error(&error))?;
            len += piece.len();
            if len > self.max_bytes {
                return Err(StoreError::TooLarge);
            }
            if piece.is_empty() {
                return Ok(Version(hex(&digest.finalize())));
            }
            digest.update(&piece);
            intake.take(&piece);
            turns.pause();
        }
    }

    fn write_if_unchanged(&self, bytes: &[u8], expect: &Expect) -> Result<Written, StoreError> {
        if bytes.len() > self.max_bytes {
            return Err(StoreError::TooLarge);
        }
        // A link stays a link: what it points to is locked and replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        durable::create_directory(durable::directory(&path)).map_err(|error| store_error(&error))?;
        let _lock = self.lock(&path)?;
        let stored = stored_version(&path).map_err(|error| store_error(&error))?;
        let holds = match expect {
            Expect::Absent => stored.is_none(),
            Expect::Version(version) => stored.as_ref() == Some(version),
        };
        if !holds {
            return Ok(Written::Conflict);
        }
        durable::replace(&path, bytes).map_err(|error| store_error(&error))?;
        Ok(Written::Done(Version(hex(&Sha256::digest(bytes)))))
    }

    fn try_to_write(&self) -> Result<(), StoreError> {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        // A folder that is missing is made by the first write.
        let _lock = if durable::directory(&path).exists() {
            Some(self.lock(&path)?)
        } else {
            None
        };
        durable::takes_new_file(&path).map_err(|error| store_error(&error))
    }

    /// Waits for the lock, for a bounded time. It is let go when the file is dropped, also by a killed process.
    fn lock(&self, path: &Path) -> Result<File, StoreError> {
        let lock_path = lock_path(path);
        let deadline = Instant::now() + self.lock_wait;
        loop {
            match try_lock(&lock_path) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
                Ok(None) => return Err(StoreError::Timeout),
                Err(error) => return Err(store_error(&error)),
            }
        }
    }

    fn recall(&self, stamp: Stamp) -> Option<Version> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref()
            .filter(|seen| seen.stamp == stamp)
            .map(|seen| seen.version.clone())
    }

    fn remember(&self, seen: Option<Seen>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Whether a write after `read_at` must show in the times, however coarse the file system keeps them.
    fn is_settled(self, read_at: i64) -> bool {
        let (seconds, nanos) = self.modified.max(self.changed);
        let latest = seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000);
        read_at.saturating_sub(latest) >= RACY_MICROS
    }
}

/// `None` when somebody else holds the lock, or when the lock file was exchanged before it was held.
fn try_lock(lock_path: &Path) -> io::Result<Option<File>> {
    let owner = durable::owner_for(lock_path);
    let lock = durable::open_private(
        lock_path,
        owner.as_ref(),
        OpenOptions::new().create(true).truncate(false),
    )?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let held = lock.metadata()?;
    let current = fs::metadata(lock_path).is_ok_and(|now| (now.dev(), now.ino()) == (held.dev(), held.ino()));
    Ok(current.then_some(lock))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

/// The version of what is stored now, read in pieces so that a huge file costs no memory.
fn stored_version(path: &Path) -> io::Result<Option<Version>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(Some(Version(hex(&digest.finalize())))),
            Ok(length) => digest.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    digest
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

fn store_error(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Forbidden,
        _ => StoreError::Failed,
    }
}

#[cfg(test)]
mod tests;
