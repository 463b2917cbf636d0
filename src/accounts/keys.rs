//! The keys in force, taken anew from their file when that changes, so that rotating needs no restart.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::MissedTickBehavior;

use super::{
    key_file::{self, Fill, Form, KeyFileError, Stamp},
    signing::{KeySet, SigningKey},
};
use crate::{
    clock::Clock,
    config::{GivenKeys, PrivateKey, SigningConfig},
    core::time::Timestamp,
};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a new key is published before it signs: by then every instance has seen it, and knows what it signs.
const PUBLISHED_FIRST_MS: i64 = 3000;

/// Why there are no keys. The sentence names the setting to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("JWT_PRIVATE_KEY {0}")]
    PrivateKey(KeyFileError),
    #[error("JWT_PRIVATE_KEY names a file that {0}")]
    PrivateKeyFile(KeyFileError),
    #[error("jwt-secret in DATA_DIR {0}")]
    OwnSecret(KeyFileError),
}

/// Whoever makes or checks a token asks here for the keys of this moment.
pub struct Keys {
    current: RwLock<Arc<KeySet>>,
    source: Source,
    seen: Mutex<Seen>,
}

/// Where the keys come from that can change while the service runs.
struct Source {
    given: Option<GivenKeys>,
    file: Option<(PathBuf, Form)>,
}

struct Seen {
    stamp: Option<Stamp>,
    /// When a key was read that waits for its turn to sign.
    waiting_since: Option<Timestamp>,
}

/// What a look at the file has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Same,
    /// Other keys are in force, or another one signs.
    Changed,
    /// The keys of before stay in force. Told once for each version of the file.
    Failed(KeysError),
}

impl Keys {
    /// `None` when there is nothing to sign with. `fill` is for the secret that is made where none is named.
    pub fn open(config: &SigningConfig, now: Timestamp, fill: Fill<'_>) -> Result<Option<Self>, KeysError> {
        let source = match config {
            SigningConfig::Missing => return Ok(None),
            SigningConfig::Own { path } => {
                key_file::read_or_make(path, now, fill).map_err(KeysError::OwnSecret)?;
                Source {
                    given: None,
                    file: Some((path.clone(), Form::Lines)),
                }
            }
            SigningConfig::Given(given) => Source {
                file: match &given.private_key {
                    Some(PrivateKey::File(path)) => Some((path.clone(), Form::Pem)),
                    Some(PrivateKey::Pem(_)) | None => None,
                },
                given: Some(given.clone()),
            },
        };
        // Before it is read: what is written in between is seen by the next look.
        let stamp = source.stamp();
        let keys = source.read()?;
        Ok(Some(Self {
            current: RwLock::new(Arc::new(keys)),
            seen: Mutex::new(Seen {
                stamp,
                waiting_since: None,
            }),
            source,
        }))
    }

    pub fn current(&self) -> Arc<KeySet> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the keys anew if the file is another than at the last look.
    pub fn look(&self, now: Timestamp) -> Look {
        if self.source.file.is_none() {
            return Look::Same;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.source.stamp();
        if stamp != seen.stamp {
            *seen = Seen {
                stamp,
                waiting_since: None,
            };
            return self.take(&mut seen, now);
        }
        let is_due = |since: Timestamp| now.as_millis() - since.as_millis() >= PUBLISHED_FIRST_MS;
        if seen.waiting_since.is_some_and(is_due) {
            return self.take(&mut seen, now);
        }
        Look::Same
    }

    /// Looks once a second for as long as it is polled, and logs what it sees.
    pub async fn watch(&self, clock: &Clock) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.look(clock.now()) {
                Look::Same => {}
                Look::Changed => {
                    let current = self.current();
                    let kid = current.signing().id();
                    tracing::info!(
                        event = "signing_keys",
                        kid,
                        "the keys that sign and verify tokens were taken from their file"
                    );
                }
                Look::Failed(error) => tracing::error!(
                    event = "signing_keys_failed",
                    error = %error,
                    "the keys that sign and verify tokens stay as they are"
                ),
            }
        }
    }

    fn take(&self, seen: &mut Seen, now: Timestamp) -> Look {
        // Whoever has waited, has waited long enough.
        let has_waited = seen.waiting_since.take().is_some();
        let read = match self.source.read() {
            Ok(read) => read,
            Err(error) => return Look::Failed(error),
        };
        let before = self.current();
        let keys = if has_waited || !read.iter().any(|key| key.is(before.signing())) {
            read
        } else {
            read.signing_with(before.signing())
        };
        if !keys.first().is(keys.signing()) {
            seen.waiting_since = Some(now);
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Look::Changed
    }
}

impl Source {
    fn stamp(&self) -> Option<Stamp> {
        self.file.as_ref().and_then(|(path, _)| Stamp::of(path))
    }

    fn read(&self) -> Result<KeySet, KeysError> {
        let mut keys = match (&self.given, &self.file) {
            (_, Some((path, form))) => from_file(path, *form)?,
            (Some(given), None) => from_text(given)?,
            (None, None) => Vec::new(),
        };
        if let Some(given) = &self.given {
            let secrets = given.secret_key.iter().chain(&given.previous);
            keys.extend(secrets.map(|secret| SigningKey::hmac(secret.expose().as_bytes())));
        }
        KeySet::new(keys).ok_or(KeysError::PrivateKey(KeyFileError::Empty))
    }
}

fn from_file(path: &Path, form: Form) -> Result<Vec<SigningKey>, KeysError> {
    key_file::read(path, form).map_err(match form {
        Form::Pem => KeysError::PrivateKeyFile,
        Form::Lines => KeysError::OwnSecret,
    })
}

fn from_text(given: &GivenKeys) -> Result<Vec<SigningKey>, KeysError> {
    match &given.private_key {
        Some(PrivateKey::Pem(text)) => key_file::parse(text.expose(), Form::Pem).map_err(KeysError::PrivateKey),
        Some(PrivateKey::File(_)) | None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests;
