//! The files that hold signing keys: PEM blocks for `EdDSA`, lines for HS256. The first key signs, those behind it still
//! verify, and a remark above each says since when it has been there.

use std::{
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroizing;

use super::signing::SigningKey;
use crate::{
    config::MIN_SECRET_BYTES,
    core::{secret::Secret, time::Timestamp},
    durable,
};

/// A file of keys is short; what is longer is something else.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Each costs a check when a token is verified.
const MAX_KEYS: usize = 16;
const REMARK: &str = "# made ";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END PRIVATE KEY-----";
/// PKCS#8 of an Ed25519 key, up to the 32 bytes of the key itself (RFC 8410). The form without the public key, which every
/// program reads.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// How the keys of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `JWT_PRIVATE_KEY`.
    Pem,
    /// `$DATA_DIR/jwt-secret`.
    Lines,
}

/// Why a file of keys cannot be used. None of them shows what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    #[error("cannot be written: {0}")]
    Unwritable(io::ErrorKind),
    #[error("must hold Ed25519 private keys in PEM form (PKCS#8) and nothing else")]
    NotPem,
    #[error("must hold a text of 32 bytes or more on each line that does not begin with #")]
    NotSecrets,
    #[error("holds no key")]
    Empty,
    #[error("holds more than 16 keys")]
    TooMany,
    #[error("is being rotated by somebody else")]
    Locked,
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
}

impl Stamp {
    /// `None` when there is no such file.
    pub fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
        })
    }
}

/// All keys of a file, the one that is to sign first.
pub fn read(path: &Path, form: Form) -> Result<Vec<SigningKey>, KeyFileError> {
    parse(&read_text(path)?, form)
}

/// All keys of such a text.
pub fn parse(text: &str, form: Form) -> Result<Vec<SigningKey>, KeyFileError> {
    let entries = entries(text, form)?;
    entries.iter().map(|entry| entry.key(form)).collect()
}

/// Reads the secret that is kept in this file, or makes it. Two instances that start at once agree on one.
pub fn read_or_make(path: &Path, now: Timestamp, fill: Fill<'_>) -> Result<Vec<SigningKey>, KeyFileError> {
    if Stamp::of(path).is_none() {
        let text = Zeroizing::new(written(&[Entry::new(Form::Lines, now, fill)], Form::Lines));
        // Whoever comes second reads what the first has put there.
        durable::create_new(path, text.as_bytes()).map_err(|error| KeyFileError::Unwritable(error.kind()))?;
    }
    read(path, Form::Lines)
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The `kid` of the new key, where keys have one.
    pub id: Option<String>,
    /// How many older ones still verify.
    pub kept: usize,
    pub dropped: usize,
}

/// Puts a new key before all others, and makes the file if it is missing. With `drop_after`, keys whose successor is
/// older than that are left out: no token of theirs is good any more.
pub fn rotate(
    path: &Path,
    form: Form,
    drop_after: Option<Duration>,
    now: Timestamp,
    fill: Fill<'_>,
) -> Result<Rotated, KeyFileError> {
    // A link stays a link: what it points to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let _lock = lock(&path)?;
    let mut entries = match read_text(&path) {
        Ok(text) => entries(&text, form)?,
        Err(KeyFileError::Unreadable(io::ErrorKind::NotFound)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let before = entries.len();
    entries.insert(0, Entry::new(form, now, fill));
    if let Some(after) = drop_after {
        drop_unneeded(&mut entries, after, now);
    }
    if entries.len() > MAX_KEYS {
        return Err(KeyFileError::TooMany);
    }
    let text = Zeroizing::new(written(&entries, form));
    durable::replace(&path, text.as_bytes()).map_err(|error| KeyFileError::Unwritable(error.kind()))?;
    Ok(Rotated {
        id: entries[0].key(form)?.id().map(ToOwned::to_owned),
        kept: entries.len() - 1,
        dropped: before + 1 - entries.len(),
    })
}

/// A new secret for HS256: 256 random bits.
pub fn new_secret(fill: Fill<'_>) -> Secret {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(&mut *bytes);
    Secret::new(URL_SAFE_NO_PAD.encode(*bytes))
}

/// Fills a buffer with random bytes.
pub type Fill<'f> = &'f mut dyn FnMut(&mut [u8]);

/// One key as it stands in the file.
struct Entry {
    made: Option<Timestamp>,
    /// The PEM block, or the line.
    text: Secret,
}

impl Entry {
    fn new(form: Form, now: Timestamp, fill: Fill<'_>) -> Self {
        let text = match form {
            Form::Lines => new_secret(fill),
            Form::Pem => new_pem(fill),
        };
        Self { made: Some(now), text }
    }

    fn key(&self, form: Form) -> Result<SigningKey, KeyFileError> {
        match form {
            Form::Lines => Ok(SigningKey::hmac(self.text.expose().as_bytes())),
            Form::Pem => {
                let parsed = <(SectionKind, Vec<u8>)>::from_pem_slice(self.text.expose().as_bytes());
                let Ok((SectionKind::PrivateKey, der)) = parsed else {
                    return Err(KeyFileError::NotPem);
                };
                SigningKey::ed25519(&Zeroizing::new(der)).map_err(|_| KeyFileError::NotPem)
            }
        }
    }
}

fn new_pem(fill: Fill<'_>) -> Secret {
    let mut der = Zeroizing::new([0; 48]);
    der[..16].copy_from_slice(&PKCS8);
    fill(&mut der[16..]);
    let base64 = Zeroizing::new(STANDARD.encode(*der));
    Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n{END}", *base64))
}

/// Cuts the text into its keys, each with the remark above it.
fn entries(text: &str, form: Form) -> Result<Vec<Entry>, KeyFileError> {
    let mut entries = Vec::new();
    let mut made = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(time) = line.strip_prefix(REMARK) {
            made = time.parse().ok();
            continue;
        }
        // In PEM, whatever stands between the blocks is a remark (RFC 7468).
        let text = match form {
            Form::Lines if line.is_empty() || line.starts_with('#') => continue,
            Form::Lines if line.len() < MIN_SECRET_BYTES => return Err(KeyFileError::NotSecrets),
            Form::Lines => Secret::new(line),
            Form::Pem if line.starts_with(BEGIN) => block(line, &mut lines)?,
            Form::Pem => continue,
        };
        entries.push(Entry {
            made: made.take(),
            text,
        });
    }
    match entries.len() {
        0 => Err(KeyFileError::Empty),
        1..=MAX_KEYS => Ok(entries),
        _ => Err(KeyFileError::TooMany),
    }
}

/// The block that begins with this line.
fn block<'t>(begin: &str, lines: &mut impl Iterator<Item = &'t str>) -> Result<Secret, KeyFileError> {
    let mut block = Zeroizing::new(String::with_capacity(1024));
    block.push_str(begin);
    for line in lines.map(str::trim) {
        if line.starts_with(BEGIN) {
            break;
        }
        block.push('\n');
        block.push_str(line);
        if line == END {
            return Ok(Secret::new(std::mem::take(&mut *block)));
        }
    }
    Err(KeyFileError::NotPem)
}

fn written(entries: &[Entry], form: Form) -> String {
    let mut text = String::from(match form {
        Form::Pem => "# The first key signs the tokens of heare-auth, the others still verify.\n",
        Form::Lines => "# The first line signs the tokens of heare-auth, the others still verify.\n",
    });
    for entry in entries {
        if let Some(made) = entry.made {
            writeln!(text, "{REMARK}{made}").expect("a String takes everything");
        }
        text.push_str(entry.text.expose());
        text.push('\n');
    }
    text
}

/// A key signs until another stands before it, so the eldest known beginning of those before it is the end of its use.
fn drop_unneeded(entries: &mut Vec<Entry>, after: Duration, now: Timestamp) {
    let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let mut replaced: Option<Timestamp> = None;
    entries.retain(|entry| {
        let needed = replaced.is_none_or(|time| now.as_millis().saturating_sub(time.as_millis()) <= after);
        replaced = replaced.into_iter().chain(entry.made).min();
        needed
    });
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let unreadable = |error: io::Error| KeyFileError::Unreadable(error.kind());
    // Opening a pipe or a device could block or never end.
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() || found.len() > MAX_FILE_BYTES {
        return Err(KeyFileError::Unreadable(io::ErrorKind::InvalidInput));
    }
    // Room for all of it at once: a string that grows leaves copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(
        usize::try_from(MAX_FILE_BYTES).unwrap_or_default(),
    ));
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}

/// One rotation at a time. The lock is let go when the file is dropped, also by a killed process.
fn lock(path: &Path) -> Result<File, KeyFileError> {
    let unwritable = |error: io::Error| KeyFileError::Unwritable(error.kind());
    let directory = durable::directory(path);
    durable::create_directory(directory).map_err(unwritable)?;
    let lock = durable::open_private(
        &lock_path(path),
        durable::owner_for(path).as_ref(),
        fs::OpenOptions::new().create(true).truncate(false),
    )
    .map_err(unwritable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(KeyFileError::Locked),
        Err(TryLockError::Error(error)) => Err(unwritable(error)),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
