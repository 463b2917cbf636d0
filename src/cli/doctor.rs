//! `doctor`: looks at everything the service depends on, one line each, and says what to do about what is wrong.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use hyper::StatusCode;
use serde::Serialize;
use tokio::{net, time::timeout};

use super::{
    args::{Args, Settings},
    client::{self, Url},
    failure::{FAILED, Failure},
    list::label,
    output,
    service::{self, refusal},
    store::{DocumentStore, advice, envelope_advice},
    usage,
};
use crate::{
    config::{BridgeConfig, Config, DatabasePlace, LimitConfig, Protocol, StoreConfig},
    core::index::Index,
    database::{Access, Database, DatabaseError, schema},
    envelope::Envelope,
    redis_link,
    store::Fetched,
};

/// How many bad records are named; the count is always exact.
const NAMED_RECORDS: usize = 20;

/// How long the stats bridge may take to be found and to take a connection.
const BRIDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// One line of the answer. The members' names are the command line's JSON.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    message: String,
    advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

/// `doctor --json`.
#[derive(Serialize)]
struct Findings<'a> {
    ok: bool,
    checks: &'a [Check],
}

/// What was found so far.
#[derive(Default)]
struct Report(Vec<Check>);

impl Report {
    fn add(&mut self, name: &'static str, status: Status, message: impl Into<String>, advice: Option<&str>) {
        self.0.push(Check {
            name,
            status,
            message: message.into(),
            advice: advice.map(ToOwned::to_owned),
        });
    }

    fn ok(&mut self, name: &'static str, message: impl Into<String>) {
        self.add(name, Status::Ok, message, None);
    }

    fn warn(&mut self, name: &'static str, message: impl Into<String>, advice: &str) {
        self.add(name, Status::Warning, message, Some(advice));
    }

    fn fail(&mut self, name: &'static str, message: impl Into<String>, advice: &str) {
        self.add(name, Status::Failed, message, Some(advice));
    }

    fn is_ok(&self) -> bool {
        self.0.iter().all(|check| check.status != Status::Failed)
    }
}

pub async fn doctor(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let json = args.contains("--json");
    let write = args.contains("--write");
    let offline = args.contains("--offline");
    let settings = args.settings()?;
    let refresh_url = settings.refresh_url()?;

    let mut report = Report::default();
    check_settings(&settings, &mut report);
    let keys = check_store(&settings, write, &mut report).await;
    if !offline {
        check_service(&refresh_url, keys, &mut report).await;
    }
    check_redis(&settings, &mut report).await;
    check_database(&settings, &mut report).await;
    check_bridge(&settings, &mut report).await;

    let ok = report.is_ok();
    output::answer(&if json {
        output::json_line(&Findings { ok, checks: &report.0 })
    } else {
        report.0.iter().map(line).collect()
    })?;
    Ok(if ok { ExitCode::SUCCESS } else { FAILED.into() })
}

fn line(check: &Check) -> String {
    let mark = match check.status {
        Status::Ok => "✓",
        Status::Warning => "⚠️ ",
        Status::Failed => "✗",
    };
    let advice = check
        .advice
        .as_ref()
        .map_or_else(String::new, |advice| format!("    {advice}\n"));
    format!("{mark} {}: {}\n{advice}", check.name, check.message)
}

fn check_settings(settings: &Settings, report: &mut Report) {
    match Config::from_lookup(&|name| settings.get(name)) {
        Ok(config) => report.ok(
            "settings",
            format!("all can be used; the service would listen on {}", config.listen),
        ),
        Err(error) => report.fail(
            "settings",
            error.to_string(),
            "The service does not start until this is mended.",
        ),
    }
}

/// The number of good keys in the store, when that could be found out.
async fn check_store(settings: &Settings, write: bool, report: &mut Report) -> Option<usize> {
    // A wrong setting has been named with the settings.
    let Ok(config) = StoreConfig::from_lookup(&|name| settings.get(name)) else {
        return None;
    };
    let opened = match DocumentStore::open_config(&config).await {
        Ok(opened) => opened,
        Err(error) => {
            report.fail("store", error.to_string(), advice(error));
            return None;
        }
    };
    let location = opened.store.location();
    let fetched = match opened.store.read_if_changed(None).await {
        Ok(fetched) => fetched,
        Err(error) => {
            report.fail("store", format!("{error} ({location})"), advice(error));
            return None;
        }
    };
    let keys = match &fetched {
        Fetched::Object { bytes, .. } => {
            report.ok("store", format!("{location} can be read, {} bytes", bytes.len()));
            check_document(&opened.envelope, bytes, report)
        }
        Fetched::Missing | Fetched::Unchanged => {
            report.warn(
                "store",
                format!("{location} answers and holds no document yet"),
                "'heare-auth create' writes the first.",
            );
            Some(0)
        }
    };
    if write {
        check_conditions(&opened, &fetched, report).await;
    }
    keys
}

fn check_document(envelope: &Envelope, object: &[u8], report: &mut Report) -> Option<usize> {
    let document = match envelope.open(object) {
        Ok(document) => document,
        Err(error) => {
            report.fail("document", error.to_string(), envelope_advice(error));
            return None;
        }
    };
    let index = match Index::build(&document) {
        Ok(index) => index,
        Err(error) => {
            report.fail(
                "document",
                error.to_string(),
                "Restore an earlier version; a running service keeps the keys it has.",
            );
            return None;
        }
    };
    let generation = index
        .generation()
        .map_or_else(String::new, |generation| format!(", generation {generation}"));
    report.ok(
        "document",
        format!("whole, {} good keys{generation}", index.keys_count()),
    );
    if envelope.seals() && !Envelope::is_sealed(object) {
        report.warn(
            "encryption",
            "STORAGE_SECRET is set and the document is not encrypted yet",
            "Any write encrypts it, such as 'heare-auth migrate'.",
        );
    }
    check_records(&index, report);
    Some(index.keys_count())
}

fn check_records(index: &Index, report: &mut Report) {
    for bad in index.bad_records().iter().take(NAMED_RECORDS) {
        let message = format!(
            "{} (number {} in the list) is denied: {}",
            label(bad.id.as_deref()),
            bad.position + 1,
            bad.defect.word()
        );
        report.warn(
            "record",
            message,
            "Mend the record in the document, or delete the key and create another.",
        );
    }
    let unnamed = index.bad_records_count().saturating_sub(NAMED_RECORDS);
    if unnamed > 0 {
        report.warn(
            "record",
            format!("{unnamed} more are denied"),
            "'heare-auth list' marks all of them.",
        );
    }
    if index.plaintext_count() > 0 {
        let message = format!("{} keys are stored with their secret", index.plaintext_count());
        report.warn("plaintext", message, "'heare-auth migrate' stores digests instead.");
    }
}

async fn check_conditions(opened: &DocumentStore, fetched: &Fetched, report: &mut Report) {
    match opened.store.keeps_conditions(fetched).await {
        Ok(true) => report.ok("writes", "the store keeps write conditions, so no writer can undo another's change"),
        Ok(false) => report.fail(
            "writes",
            "the store ignores write conditions, so a write could undo somebody else's",
            "Use a store that keeps If-Match and If-None-Match, or set ALLOW_UNCONDITIONAL_WRITES=true and write from one place only.",
        ),
        Err(error) => report.fail("writes", error.to_string(), advice(error)),
    }
}

async fn check_service(refresh_url: &Url, stored_keys: Option<usize>, report: &mut Report) {
    if !check_route("health", &refresh_url.beside("health"), report).await {
        return;
    }
    check_route("ready", &refresh_url.beside("ready"), report).await;
    match service::call_refresh(refresh_url).await {
        Ok(refreshed) => {
            report.ok("refresh", format!("{refresh_url} is allowed from here, {} keys loaded", refreshed.keys_loaded));
            let loaded = usize::try_from(refreshed.keys_loaded).ok();
            if stored_keys.is_some_and(|stored| Some(stored) != loaded) {
                report.warn("refresh", "the service has other keys than this store", "Check that both have the same S3_BUCKET and S3_KEY, or DATA_DIR.");
            }
        }
        Err(error) => report.fail(
            "refresh",
            error.to_string(),
            "Run this on the service's own host, such as 'dokku enter auth web heare-auth refresh'; with ADMIN_LISTEN set REFRESH_URL to it.",
        ),
    }
}

async fn check_route(name: &'static str, url: &Url, report: &mut Report) -> bool {
    match client::get(url).await {
        Ok(answer) if answer.status == StatusCode::OK => {
            report.ok(name, format!("{url} answers"));
            true
        }
        // With ADMIN_LISTEN, `/refresh` stands alone.
        Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
            report.warn(
                name,
                format!("{url} is not served"),
                "With ADMIN_LISTEN this is right: ask the public port.",
            );
            true
        }
        Ok(answer) => {
            let last_error = answer.json["last_error"].as_str().map(output::shown);
            let because = last_error.map_or_else(String::new, |error| format!(" ({error})"));
            report.fail(
                name,
                format!("{}{because}", refusal(&answer)),
                "The service's log says why.",
            );
            true
        }
        Err(error) => {
            report.fail(
                name,
                error.to_string(),
                "Start it with 'heare-auth serve', set REFRESH_URL to where it runs, or leave it out with --offline.",
            );
            false
        }
    }
}

async fn check_redis(settings: &Settings, report: &mut Report) {
    // A wrong setting has been named with the settings.
    let Ok(LimitConfig {
        redis_url: Some(url), ..
    }) = LimitConfig::from_lookup(&|name| settings.get(name))
    else {
        return;
    };
    let advice = "Check REDIS_URL; until Redis answers each instance counts the use of limited keys alone.";
    match redis_link::ping(&url).await {
        Ok(()) => report.ok("redis", "answers; instances count the use of limited keys together"),
        Err(trouble) => report.warn("redis", trouble.sentence(), advice),
    }
}

/// The service works without a database, so nothing here is worse than a warning.
async fn check_database(settings: &Settings, report: &mut Report) {
    // A wrong setting has been named with the settings.
    let Ok(place) = DatabasePlace::from_lookup(&|name| settings.get(name)) else {
        return;
    };
    let Some(database) = Database::new(&place) else {
        return report.ok(
            "database",
            "none: use and audit are not recorded, and there are no accounts",
        );
    };
    let location = output::shown(&database.location());
    let look = async {
        let mut connection = database.open_as_it_is(Access::Existing).await?;
        let version = schema::version(&mut connection).await?;
        if version > 0 {
            schema::try_to_write(&mut connection).await?;
        }
        connection.close().await;
        Ok(version)
    };
    let found = timeout(DATABASE_TIMEOUT, look).await;
    match found.unwrap_or(Err(DatabaseError::Timeout)) {
        Ok(0) => report.ok("database", format!("{location} answers and holds no tables yet")),
        Ok(version) => report.ok(
            "database",
            format!("{location} can be written, tables of version {version}"),
        ),
        Err(DatabaseError::Missing) => report.ok("database", format!("{location} is made when the service starts")),
        Err(error) => report.warn("database", format!("{error} ({location})"), usage::advice(error)),
    }
}

async fn check_bridge(settings: &Settings, report: &mut Report) {
    // A wrong setting has been named with the settings.
    let Ok(Some(bridge)) = BridgeConfig::from_lookup(&|name| settings.get(name)) else {
        return;
    };
    match timeout(BRIDGE_TIMEOUT, reach(&bridge)).await {
        Ok(Ok(message)) => report.ok("metrics", message),
        Ok(Err(problem)) => report.warn(
            "metrics",
            problem,
            "Check DEST_HOST and DEST_PORT; the service works without metrics.",
        ),
        Err(_) => report.warn(
            "metrics",
            "the stats bridge did not answer in time",
            "Check DEST_HOST and DEST_PORT; the service works without metrics.",
        ),
    }
}

async fn reach(bridge: &BridgeConfig) -> Result<String, &'static str> {
    let found = net::lookup_host((bridge.host.as_str(), bridge.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|_| "DEST_HOST cannot be resolved")?.collect();
    if bridge.protocol == Protocol::Udp {
        return Ok("the stats bridge's name resolves (udp tells no more)".to_owned());
    }
    match net::TcpStream::connect(addresses.as_slice()).await {
        Ok(_) => Ok("the stats bridge takes connections".to_owned()),
        Err(_) => Err("the stats bridge takes no connection"),
    }
}
