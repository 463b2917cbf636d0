//! Starts everything and stops it: the only wiring.

mod dashboard;
mod limits;
mod workers;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use rand::{TryRng, rngs::SysRng};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    accounts::{self, Accounts},
    catalogue::Catalogue,
    clock::Clock,
    config::Config,
    database::Database,
    envelope::Envelope,
    expiry::Expiry,
    http::{
        App, Face,
        deadlines::Deadlines,
        gate::Gate,
        imported::Imported,
        keys::{Management, https},
        listen::{self, Listener},
        routes,
        slots::Slots,
        tls::{Tls, pair::TlsError},
        worker::Stage,
    },
    limiter::Limits,
    loader::{LoadError, Loader, LoaderOptions, Reader, Refresher, loader},
    snapshot::SnapshotFile,
    store::{Store, StoreError},
    telemetry::{Telemetry, bridge::Bridge},
    usage::Usage,
    version,
};

/// Connections of the admin listener, apart from the public ones, so that a flood there leaves `/refresh` reachable.
const ADMIN_CONNECTIONS: usize = 64;
/// How long connections and the bridge get to notice that they are to end at once.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// How long the database may take to receive what has been counted and not written yet.
const LAST_COUNTS: Duration = Duration::from_secs(2);

/// `EMFILE`, which the standard library has no name for.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// What a start may be told beside the settings.
#[derive(Clone, Debug)]
pub struct Options {
    pub deadlines: Deadlines,
    /// When the process began, for the metric that tells how long it took to be ready.
    pub began: Instant,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            began: Instant::now(),
        }
    }
}

/// Why the service does not start. The sentence names the setting to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{variable} {problem}")]
    Address {
        variable: &'static str,
        problem: &'static str,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the system gives no more threads: {0}")]
    Threads(io::ErrorKind),
    #[error("the limit of open files (ulimit -n) is too low for WORKERS and all else that is opened")]
    Descriptors,
    #[error(transparent)]
    Accounts(#[from] accounts::StartError),
}

/// The running service. When it is dropped without `stop`, its connections are cut.
pub struct Running {
    pub address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
    /// For people: `s3://bucket/key` or the file's path.
    pub store: String,
    app: Arc<App>,
    stage: watch::Sender<Stage>,
    /// Ends when the last worker has.
    workers: mpsc::Receiver<()>,
    bridge: Option<Bridge>,
    expiry: Option<JoinHandle<()>>,
    certificates: Option<Certificates>,
}

/// What the public listener is secured by, and the task that looks at its files.
struct Certificates {
    tls: Arc<Tls>,
    watching: JoinHandle<()>,
}

/// Serves at once, whether the store answers or not. To be called within the runtime that is to carry the accept
/// loops and the loader.
pub async fn start(config: Config, telemetry: Telemetry, options: Options) -> Result<Running, StartError> {
    let listener = listen::bind(config.listen).map_err(|error| bind_error(&error, "PORT", "HOST"))?;
    let admin = config.admin_listen.map(listen::bind).transpose();
    let admin = admin.map_err(|error| bind_error(&error, "ADMIN_LISTEN", "ADMIN_LISTEN"))?;
    let store = Store::open(&config.store).await?;
    let location = store.location();
    let database = Database::new(&config.usage.database).map_or_else(
        || accounts::Off::NoDatabase.sentence().to_owned(),
        |found| found.location(),
    );
    let clock = Arc::new(Clock::default());
    let accounts = start_accounts(&config, &clock, &telemetry)?;
    let said_of_accounts = accounts.as_ref().map_or_else(|off| off.sentence(), |_| "on");
    let (limits, gate) = limits::start(&config, &telemetry).await?;
    let (loader, app) = wire(&config, store, limits, gate, clock, accounts.ok(), &telemetry).map_err(no_threads)?;
    let tls = match config.gateway.tls.clone() {
        Some(files) => Some(Tls::start(files, app.clock.clone(), telemetry.clone()).await?),
        None => None,
    };
    tokio::spawn(first_load(
        app.refresher.clone(),
        app.reader.clone(),
        telemetry.clone(),
        options.began,
    ));
    tokio::spawn(loader.run());
    let expiry = match config.expired_after {
        Some(after) => Some(tokio::spawn(expiry(&config, &app, after).await?.run())),
        None => None,
    };

    let (stage, staged) = watch::channel(Stage::Serving);
    let workers = config.workers.get();
    let elsewhere = admin.as_ref().map_or(0, |_| ADMIN_CONNECTIONS);
    let slots = Slots::new(config.max_connections, workers, elsewhere);
    let connections = slots.all();
    let crew = workers::start(&app, workers, options.deadlines, &slots, &staged)?;
    let address = local_address(&listener)?;
    let admin_address = admin.as_ref().map(local_address).transpose()?;
    let face = Face {
        verify: true,
        tls: tls.clone(),
        routes: routes::public(&app, admin.is_none()),
    };
    tokio::spawn(Listener::new(listener, face).accept(crew.inlets.clone(), slots, telemetry.clone(), staged.clone()));
    if let Some(admin) = admin {
        let face = Face {
            verify: false,
            tls: None,
            routes: routes::admin(&app),
        };
        let slots = Slots::new(Some(ADMIN_CONNECTIONS), workers, 0);
        tokio::spawn(Listener::new(admin, face).accept(crew.inlets, slots, telemetry.clone(), staged));
    }
    let bridge = config
        .bridge
        .map(|bridge| Bridge::start(bridge, telemetry))
        .transpose()
        .map_err(no_threads)?;
    tracing::info!(
        event = "startup",
        address = %address,
        admin_address = admin_address.map(tracing::field::display),
        tls = tls.is_some(),
        store = location,
        database,
        accounts = said_of_accounts,
        connections,
        version = version::VERSION,
        commit = version::COMMIT,
        "serving"
    );
    Ok(Running {
        address,
        admin_address,
        store: location,
        app,
        stage,
        workers: crew.ended,
        bridge,
        expiry,
        certificates: tls.map(|tls| Certificates {
            watching: tokio::spawn(tls.clone().watch()),
            tls,
        }),
    })
}

impl Running {
    /// Loads the store now, for a signal; the metrics of `/refresh` do not count it.
    pub async fn refresh(&self) -> Result<usize, LoadError> {
        let outcome = self.app.refresher.refresh(false).await;
        match outcome {
            Ok(keys_loaded) => {
                tracing::info!(
                    event = "refresh_success",
                    keys_loaded,
                    "the keys were loaded again after a signal"
                );
            }
            Err(error) => tracing::error!(
                event = "refresh_failed",
                error = error.word(),
                "the keys could not be loaded again after a signal; those in force stay"
            ),
        }
        outcome
    }

    /// Whether the public listener speaks HTTPS.
    pub const fn is_secure(&self) -> bool {
        self.certificates.is_some()
    }

    /// Reads the certificate's files now, for a signal. The log says how it went.
    pub async fn reload_certificates(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.tls.reload().await;
        }
    }

    /// Accepts nothing more, finishes what is in flight, and cuts what is not finished by the deadline. Tells
    /// whether everything was finished. May be dropped at any time, which cuts what is left at once.
    pub async fn stop(mut self, deadline: Duration) -> bool {
        self.app.drain();
        self.stage.send_replace(Stage::Draining);
        let finished = timeout(deadline, self.workers.recv()).await.is_ok();
        if !finished {
            self.stage.send_replace(Stage::Ending);
            // A worker that hangs even now is left to the end of the process.
            let _ = timeout(LAST_MOMENT, self.workers.recv()).await;
        }
        self.app.usage.stop(LAST_COUNTS).await;
        self.app.telemetry.metrics.shutdown();
        tracing::info!(event = "shutdown", finished, "stopped");
        if let Some(bridge) = self.bridge.take() {
            bridge.stop(LAST_MOMENT).await;
        }
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Ending);
        if let Some(expiry) = &self.expiry {
            expiry.abort();
        }
        if let Some(certificates) = &self.certificates {
            certificates.watching.abort();
        }
    }
}

async fn expiry(config: &Config, app: &App, after: Duration) -> Result<Expiry, StoreError> {
    Ok(Expiry {
        store: Store::open(&config.store).await?,
        envelope: Envelope::new(config.store.storage_secret.as_ref()),
        clock: Arc::clone(&app.clock),
        reader: app.reader.clone(),
        usage: app.usage.clone(),
        allow_unconditional: config.store.allow_unconditional_writes,
        after,
    })
}

/// Before anything else is started: a signing key that cannot be used stops the start.
fn start_accounts(
    config: &Config,
    clock: &Arc<Clock>,
    telemetry: &Telemetry,
) -> Result<Result<Accounts, accounts::Off>, StartError> {
    let ground = accounts::Ground {
        database: &config.usage.database,
        redis: config.limits.redis_url.as_ref(),
        tokens: &config.tokens,
        passwords: config.passwords,
    };
    Ok(Accounts::start(&ground, clock, telemetry, fill)?)
}

fn wire(
    config: &Config,
    store: Store,
    limits: Limits,
    gate: Gate,
    clock: Arc<Clock>,
    accounts: Option<Accounts>,
    telemetry: &Telemetry,
) -> io::Result<(Loader, Arc<App>)> {
    let envelope = Envelope::new(config.store.storage_secret.as_ref());
    let snapshot = config.snapshot_path.clone().map(|path| SnapshotFile {
        path,
        envelope: envelope.clone(),
        max_document_bytes: config.store.max_document_bytes,
    });
    let options = LoaderOptions {
        poll_interval: config.poll_interval,
        strict_generation: config.strict_generation,
        chance: rand::random,
    };
    let store = Arc::new(store);
    let (loader, refresher, reader) = loader(
        Arc::clone(&store),
        envelope.clone(),
        snapshot,
        options,
        clock.clone(),
        telemetry.clone(),
    );
    let catalogue = Catalogue::new(
        store,
        envelope,
        clock.clone(),
        refresher.clone(),
        reader.clone(),
        config.store.allow_unconditional_writes,
    );
    let https = https::Rule {
        allow_plain: config.management.allow_plain_http,
        proxies: config.trusted_proxies.clone(),
    };
    let usage = Usage::start(&config.usage, clock.clone(), telemetry.clone(), rand::random())?;
    let dashboard = dashboard::start(config, accounts.as_ref(), &reader, &usage, clock.now());
    let management = Management::new(
        catalogue,
        https,
        &config.management,
        config.key_prefixes.clone(),
        usage.clone(),
        clock.clone(),
        fill,
    );
    let hostname = gethostname::gethostname().to_string_lossy().into_owned();
    let app = App {
        reader,
        refresher,
        limits,
        telemetry: telemetry.clone(),
        clock,
        usage,
        imported: Imported::new(telemetry.clone()),
        health_opaque: config.health_opaque,
        hostname,
        proxies: config.trusted_proxies.clone(),
        authz_query_key: config.authz_query_key,
        management,
        described: config.management.api_docs,
        gate,
        slow_request: config.gateway.slow_request.unwrap_or(Duration::MAX),
        dashboard,
        accounts,
        draining: AtomicBool::new(false),
    };
    Ok((loader, Arc::new(app)))
}

fn fill(bytes: &mut [u8]) -> bool {
    SysRng.try_fill_bytes(bytes).is_ok()
}

/// Asked before the loader runs, so its first load is the answer. A snapshot may be in force before the store answers.
async fn first_load(refresher: Refresher, reader: Reader, telemetry: Telemetry, began: Instant) {
    let refused = tokio::select! {
        biased;
        () = reader.loaded() => false,
        outcome = refresher.refresh(false) => outcome.is_err() && reader.current().is_none(),
    };
    drop(refresher);
    if refused {
        telemetry.metrics.startup_failed();
        reader.loaded().await;
    }
    telemetry.metrics.startup_success(began.elapsed());
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|_| StartError::Address {
        variable: "HOST",
        problem: "has no address",
    })
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands over the error")]
fn no_threads(error: io::Error) -> StartError {
    match error.raw_os_error() {
        Some(TOO_MANY_OPEN_FILES) => StartError::Descriptors,
        _ => StartError::Threads(error.kind()),
    }
}

fn bind_error(error: &io::Error, port: &'static str, host: &'static str) -> StartError {
    let (variable, problem) = match error.kind() {
        io::ErrorKind::AddrInUse => (port, "is already in use"),
        io::ErrorKind::PermissionDenied => (port, "needs rights that this user does not have"),
        io::ErrorKind::AddrNotAvailable => (host, "is not an address of this machine"),
        _ => (host, "cannot be listened on"),
    };
    StartError::Address { variable, problem }
}
