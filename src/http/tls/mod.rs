//! TLS of the public listener: by what new connections are secured, and the look at the files it comes from.
//!
//! Connections that are open keep what they began with. A pair of files that is no good changes nothing.

pub mod handshake;
pub mod pair;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};
use tokio_rustls::rustls::ServerConfig;

use self::pair::{Files, Pair, TlsError, Version};
use crate::{clock::Clock, config::TlsFiles, core::time::Timestamp, courtesy::aside, telemetry::Telemetry};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

pub struct Tls {
    files: TlsFiles,
    current: watch::Sender<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
    clock: Arc<Clock>,
    telemetry: Telemetry,
}

/// What was found in the files.
struct Seen {
    in_force: Version,
    not_after: Timestamp,
    /// Another version that is no good. Of two files one is replaced first, so it is told at the second sight only.
    bad: Option<Version>,
    told: Option<Version>,
}

/// Whether a bad version may be one whose second half is still to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    InPassing,
    Asked,
}

impl Tls {
    pub async fn start(files: TlsFiles, clock: Arc<Clock>, telemetry: Telemetry) -> Result<Arc<Self>, TlsError> {
        let read = read(&files).await?;
        let Pair { config, not_after } = read.pair(clock.now())?;
        let seen = Seen {
            in_force: read.version(),
            not_after,
            bad: None,
            told: None,
        };
        let tls = Self {
            files,
            current: watch::Sender::new(config),
            seen: Mutex::new(seen),
            clock,
            telemetry,
        };
        tls.tell_time_left(not_after);
        Ok(Arc::new(tls))
    }

    /// By what a new connection is secured.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.borrow().clone()
    }

    /// Looks at the files from time to time, for ever.
    pub async fn watch(self: Arc<Self>) {
        loop {
            sleep(LOOK).await;
            self.look(Sight::InPassing).await;
        }
    }

    /// Looks at the files now, because somebody says that they have changed.
    pub async fn reload(&self) {
        self.look(Sight::Asked).await;
    }

    async fn look(&self, sight: Sight) {
        let mut seen = self.seen.lock().await;
        let read = read(&self.files).await;
        let version = match &read {
            Ok(files) => files.version(),
            Err(error) => Version::Unreadable(*error),
        };
        if version == seen.in_force {
            (seen.bad, seen.told) = (None, None);
        } else if sight == Sight::Asked || seen.told != Some(version) {
            match read.and_then(|files| files.pair(self.clock.now())) {
                Ok(pair) => self.put_in_force(&mut seen, pair, version),
                Err(error) => refuse(&mut seen, error, version, sight),
            }
        }
        self.tell_time_left(seen.not_after);
    }

    fn put_in_force(&self, seen: &mut Seen, pair: Pair, version: Version) {
        self.current.send_replace(pair.config);
        *seen = Seen {
            in_force: version,
            not_after: pair.not_after,
            bad: None,
            told: None,
        };
        tracing::info!(
            event = "tls_reloaded",
            not_after = %pair.not_after,
            "new connections are secured by another certificate"
        );
    }

    fn tell_time_left(&self, not_after: Timestamp) {
        let left = not_after.as_seconds().saturating_sub(self.clock.now().as_seconds());
        self.telemetry.metrics.certificate(u64::try_from(left).unwrap_or(0));
    }
}

fn refuse(seen: &mut Seen, error: TlsError, version: Version, sight: Sight) {
    if sight == Sight::InPassing && seen.bad != Some(version) {
        seen.bad = Some(version);
        return;
    }
    seen.told = Some(version);
    tracing::warn!(
        event = "tls_reload_failed",
        variable = error.variable,
        error = error.problem,
        "the certificate's files have changed and are no good; what was in force stays"
    );
}

async fn read(files: &TlsFiles) -> Result<Files, TlsError> {
    let files = files.clone();
    let read = aside(move || Files::read(&files)).await;
    read.unwrap_or(Err(TlsError {
        variable: "SSL_CERTFILE",
        problem: "names a file that cannot be read",
    }))
}
