//! `serve`: runs the service until a signal ends it, and tells a newcomer what to do next.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    args::{self, Args, Settings},
    failure::Failure,
    output::note,
    service::reachable,
};
use crate::{
    config::{Config, Location, default_refresh_url},
    courtesy,
    server::{self, Options, Running},
    telemetry::{
        Telemetry,
        log::{self, LogQueue},
        metrics::Metrics,
    },
};

/// How long requests in flight may take to end after a signal to stop.
pub const DRAIN: Duration = Duration::from_secs(10);

/// How long the last log lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What a shell shows for a process that was interrupted.
const INTERRUPTED: u8 = 130;

pub fn serve(args: Args) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let settings = args.environment()?;
    let config = Config::from_lookup(&|name| settings.get(name))?;
    config.check_paths()?;
    // It does not call this itself, but a command in the same container will.
    settings.refresh_url()?;
    let telemetry = start_log(&config)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        // The threads that this runtime starts read, index and free documents.
        .on_thread_start(courtesy::stand_back)
        .build()
        .map_err(|_| Failure::failed("the system gives this program no event loop"))?;
    let queue = telemetry.log.clone();
    let outcome = runtime.block_on(run(config, &settings, telemetry, began));
    queue.flush(LAST_LINES);
    // A read of the store that hangs must not hold up the end.
    runtime.shutdown_background();
    outcome
}

fn start_log(config: &Config) -> Result<Telemetry, Failure> {
    let log = LogQueue::stdout().map_err(|_| Failure::failed("the log cannot be written to standard output"))?;
    log::install(config.log_level, log.clone()).map_err(|_| Failure::failed("the log is in use already"))?;
    let metrics = Arc::new(Metrics::default());
    Ok(Telemetry { metrics, log })
}

async fn run(config: Config, settings: &Settings, telemetry: Telemetry, began: Instant) -> Result<ExitCode, Failure> {
    // Before the start, so that no signal finds the process without an answer.
    let mut signals = Signals::new().map_err(|_| Failure::failed("the system lets this program handle no signals"))?;
    let location = config.store.location.clone();
    let options = Options {
        began,
        ..Options::default()
    };
    let running = server::start(config, telemetry, options)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let is_local = matches!(location, Location::File { .. });
    if is_local || io::stderr().is_terminal() {
        say_aside(next_steps(&running, settings, is_local));
    }
    signals.wait_for_stop(&running).await;
    tokio::select! {
        _ = running.stop(DRAIN) => Ok(ExitCode::SUCCESS),
        _ = signals.interrupt.recv() => Ok(INTERRUPTED.into()),
    }
}

/// Nobody waits for whoever reads stderr: it may be a pipe that is full, and the service has to serve and to end all the same.
fn say_aside(text: String) {
    // Where there is no thread to be had, nothing is said.
    let _ = thread::Builder::new()
        .name("next-steps".to_owned())
        .spawn(move || note(&text));
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Reads certificate and keys again at each hang-up, until the service is to stop. A load that takes long delays no stop.
    async fn wait_for_stop(&mut self, running: &Running) {
        let reloads = async {
            while self.hang_up.recv().await.is_some() {
                // They say in the log how it went.
                running.reload_certificates().await;
                let _ = running.refresh().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = reloads => {}
        }
    }
}

/// Commands that work as they stand, in the way in which this program was started.
fn next_steps(running: &Running, settings: &Settings, is_local: bool) -> String {
    let scheme = if running.is_secure() { "https" } else { "http" };
    let origin = format!("{scheme}://{}", host_and_port(running.address));
    let refresh_url = match running.admin_address {
        Some(address) => format!("http://{}/refresh", host_and_port(address)),
        None => format!("{origin}/refresh"),
    };
    let default = default_refresh_url(running.is_secure());
    let refresh_flag = if refresh_url == default {
        String::new()
    } else {
        format!(" --refresh-url {refresh_url}")
    };
    let data_dir = settings.get("DATA_DIR").filter(|_| is_local);
    let variables = data_dir
        .as_ref()
        .map_or_else(String::new, |path| format!("DATA_DIR={} ", quoted(path)));
    let place = match data_dir {
        _ if settings.get("STORAGE_SECRET").is_some() || !is_local => ", with the same environment",
        Some(path) if path.starts_with('/') => "",
        _ => ", in this directory",
    };
    let (program, store) = (args::program(), &running.store);
    format!(
        "heare-auth serves on {origin} with the keys in {store}\n\n\
         In a second terminal{place}, create a key:\n\n  {variables}{program} create --name \"My Service\"{refresh_flag}\n\n\
         and verify the secret that it prints:\n\n  curl -X POST {origin}/verify -H \"Content-Type: application/json\" -d '{{\"api_key\": \"sec_...\"}}'\n\n"
    )
}

fn host_and_port(listen: std::net::SocketAddr) -> String {
    let address = reachable(listen);
    if address.ip().is_loopback() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_the_shell_when_it_needs_to_be() {
        assert_eq!(quoted("/srv/heare-auth_data"), "/srv/heare-auth_data");
        assert_eq!(quoted("/srv/my data/it's"), r"'/srv/my data/it'\''s'");
    }

    #[test]
    fn a_listener_everywhere_is_shown_as_localhost() {
        for (listen, shown) in [
            ("0.0.0.0:8080", "localhost:8080"),
            ("[::]:8080", "localhost:8080"),
            ("127.0.0.1:9", "localhost:9"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(host_and_port(listen.parse().unwrap()), shown);
        }
    }
}
