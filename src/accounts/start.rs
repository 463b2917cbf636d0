//! How accounts are started, on what, and why there may be none.

use std::{io, num::NonZero, sync::Arc, thread};

use tokio::{runtime, sync::mpsc};

use super::{
    Accounts, Fill, Shared, Unavailable,
    guard::{Guard, Guesses},
    hasher::Hasher,
    key_file::KeyFileError,
    keys::{Keys, KeysError},
    sessions::Sessions,
    token::Tokens,
    users::Users,
};
use crate::{
    clock::Clock,
    config::{DatabasePlace, PasswordPolicy, TokenConfig},
    core::secret::Secret,
    courtesy,
    database::{Database, pool::Pool},
    telemetry::Telemetry,
};

/// On what accounts stand.
pub struct Ground<'a> {
    pub database: &'a DatabasePlace,
    /// Where sessions and guesses are, instead of in the database.
    pub redis: Option<&'a Secret>,
    pub tokens: &'a TokenConfig,
    pub passwords: PasswordPolicy,
}

/// Why there are no accounts. It is no fault: the service does all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    NoDatabase,
    NoSigningKey,
    NowhereForOwnKey,
}

impl Off {
    /// For the line that tells of the start.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NoDatabase => "off: no database is named, or DATABASE_URL is off",
            Self::NoSigningKey => "off: neither SECRET_KEY nor JWT_PRIVATE_KEY is set, and instances have to share one",
            Self::NowhereForOwnKey => {
                "off: DATA_DIR takes no new file, such as jwt-secret; make it writable, or set SECRET_KEY"
            }
        }
    }
}

/// Why the service does not start. The sentence names the setting to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("REDIS_URL is no URL of Redis")]
    Redis,
    #[error("the system gives no more threads: {0}")]
    Threads(io::ErrorKind),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Threads(error.kind())
    }
}

impl Accounts {
    /// Starts the threads of accounts. Stores that are down keep nobody from starting.
    pub fn start(
        ground: &Ground<'_>,
        clock: &Arc<Clock>,
        telemetry: &Telemetry,
        fill: Fill,
    ) -> Result<Result<Self, Off>, StartError> {
        let Some(database) = Database::new(ground.database) else {
            return Ok(Err(Off::NoDatabase));
        };
        let mut had_random = true;
        let opened = Keys::open(&ground.tokens.signing, clock.now(), &mut |bytes| {
            had_random &= fill(bytes);
        });
        // A disk that is full or read-only keeps nobody from a verify, which needs none.
        if matches!(opened, Err(KeysError::OwnSecret(KeyFileError::Unwritable(_)))) {
            return Ok(Err(Off::NowhereForOwnKey));
        }
        let keys = opened?;
        let Some(keys) = keys.filter(|_| had_random) else {
            return Ok(Err(Off::NoSigningKey));
        };
        let pool = Arc::new(Pool::new(database));
        let no_redis = |_: Unavailable| StartError::Redis;
        let (sessions, guesses) = match ground.redis {
            Some(url) => (
                Sessions::in_redis(url).map_err(no_redis)?,
                Guesses::in_redis(url).map_err(no_redis)?,
            ),
            None => (
                Sessions::in_database(Arc::clone(&pool)),
                Guesses::in_database(Arc::clone(&pool)),
            ),
        };
        let metrics = Arc::clone(&telemetry.metrics);
        let hasher = Arc::new(Hasher::start(hashing_threads(), fill, Arc::clone(&metrics))?);
        let shared = Shared {
            users: Users::new(pool),
            sessions,
            guard: Guard::new(guesses, Arc::clone(&hasher), metrics),
            hasher,
            tokens: Tokens::new(keys, ground.tokens),
            policy: ground.passwords,
            refresh_ttl_ms: i64::try_from(ground.tokens.refresh_ttl.as_millis()).unwrap_or(i64::MAX),
            clock: Arc::clone(clock),
            fill,
        };
        Ok(Ok(run(Arc::new(shared))?))
    }
}

/// A core is left to verifies: one that wakes up would have to wait for the end of a hash's time slice, which is longer
/// than a verify by far.
fn hashing_threads() -> NonZero<usize> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    NonZero::new(cores - 1).unwrap_or(NonZero::<usize>::MIN)
}

/// All questions to stores are asked on one thread, which also removes what is over and looks for new keys. It ends when
/// nobody is left who could ask.
fn run(shared: Arc<Shared>) -> io::Result<Accounts> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (alive, mut ended) = mpsc::channel(1);
    let background = Arc::clone(&shared);
    thread::Builder::new().name("accounts".to_owned()).spawn(move || {
        courtesy::stand_back();
        runtime.block_on(async {
            let clock = &background.clock;
            tokio::select! {
                _ = ended.recv() => {}
                () = async {
                    tokio::join!(
                        background.tokens.keys.watch(clock),
                        background.sessions.keep_pruned(clock),
                        background.guard.keep_pruned(),
                    );
                } => {}
            }
        });
        // A store that hangs must not hold up the end.
        runtime.shutdown_background();
    })?;
    Ok(Accounts {
        shared,
        runtime: handle,
        _alive: alive,
    })
}
