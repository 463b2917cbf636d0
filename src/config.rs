//! Every setting: its name, its default, and the sentence that is printed when it is wrong. Read through a
//! lookup closure, so that nothing else knows where settings come from.

mod accounts;
mod database;
mod gateway;
mod keys;
mod limits;
mod management;
mod parse;
mod paths;
mod settings;
mod tokens;

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZero,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

pub use self::{
    accounts::PasswordPolicy,
    gateway::{GatewayConfig, Rate, RateLimits, RouteRate, TlsFiles},
    keys::key_prefixes,
    limits::LimitConfig,
    management::{ManagementConfig, Origins},
    settings::{SETTINGS, Setting},
    tokens::{GivenKeys, MIN_SECRET_BYTES, PrivateKey, SigningConfig, TokenConfig, token_ttl},
};
use crate::core::{id::Prefixes, network::chain::TrustedProxies, secret::Secret};

use self::database::DATABASE_FILE;
pub use self::database::{DatabasePlace, UsageConfig};

/// A setting that cannot be used. The sentence names the variable and never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct ConfigError {
    pub variable: &'static str,
    pub problem: String,
}

/// Where a value for a setting's name is looked up: flag, environment, file, in that order, joined by the caller.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything `serve` needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub store: StoreConfig,
    pub listen: SocketAddr,
    /// With this set, `/refresh` is served here and nowhere else.
    pub admin_listen: Option<SocketAddr>,
    pub poll_interval: Duration,
    pub snapshot_path: Option<PathBuf>,
    pub strict_generation: bool,
    pub health_opaque: bool,
    pub trusted_proxies: TrustedProxies,
    /// Whether `/authz` takes a key from the query parameter `api_key`.
    pub authz_query_key: bool,
    /// As many as there is memory for, if nobody says.
    pub max_connections: Option<usize>,
    /// Threads that answer requests.
    pub workers: NonZero<usize>,
    /// How the secrets of new keys begin.
    pub key_prefixes: Prefixes,
    /// How long a key has to have expired to be marked inactive; `None` leaves them all as they are.
    pub expired_after: Option<Duration>,
    pub log_level: LogLevel,
    pub limits: LimitConfig,
    pub bridge: Option<BridgeConfig>,
    pub management: ManagementConfig,
    pub gateway: GatewayConfig,
    pub usage: UsageConfig,
    pub passwords: PasswordPolicy,
    pub tokens: TokenConfig,
}

/// What CLI and server both need to reach the document.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    pub location: Location,
    pub storage_secret: Option<Secret>,
    pub max_document_bytes: usize,
    pub allow_unconditional_writes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    S3 {
        bucket: String,
        key: String,
        region: String,
    },
    /// `$DATA_DIR/keys.json`.
    File { path: PathBuf },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Where metrics go.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    pub protocol: Protocol,
    pub host: String,
    pub port: u16,
    pub secret: Option<Secret>,
    pub prefix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Udp,
    Tcp,
}

pub const DEFAULT_PORT: u16 = 8080;
pub const DEFAULT_REFRESH_URL: &str = "http://localhost:8080/refresh";
pub const DEFAULT_S3_KEY: &str = "keys.json";
pub const DEFAULT_S3_REGION: &str = "us-east-1";
const MAX_WORKERS: NonZero<usize> = NonZero::new(1024).expect("1024 is not zero");
pub const DEFAULT_DATA_DIR: &str = "./heare-auth-data";

impl Config {
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let values = Values(lookup);
        Ok(Self {
            store: StoreConfig::from_lookup(lookup)?,
            listen: listen_address(lookup)?,
            admin_listen: values.read(
                "ADMIN_LISTEN",
                parse::address,
                "an address and a port such as 127.0.0.1:8081",
            )?,
            poll_interval: values
                .read(
                    "POLL_INTERVAL",
                    parse::poll_interval,
                    "a duration from 10ms to 1day, such as 5s",
                )?
                .unwrap_or(Duration::from_secs(5)),
            snapshot_path: values.get("SNAPSHOT_PATH").map(PathBuf::from),
            strict_generation: values.boolean("STRICT_GENERATION")?,
            health_opaque: values.boolean("HEALTH_OPAQUE")?,
            trusted_proxies: values
                .read(
                    "TRUSTED_PROXIES",
                    TrustedProxies::parse,
                    "a list of addresses and networks such as 127.0.0.1, 10.0.0.0/8",
                )?
                .unwrap_or_default(),
            authz_query_key: values.boolean("AUTHZ_QUERY_KEY")?,
            max_connections: values.read(
                "MAX_CONNECTIONS",
                |text| parse::number(text, 1, 1_000_000),
                "a number from 1 to 1000000",
            )?,
            workers: values
                .read(
                    "WORKERS",
                    |text| parse::number(text, NonZero::<usize>::MIN, MAX_WORKERS),
                    "a number from 1 to 1024",
                )?
                .unwrap_or_else(|| thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)),
            key_prefixes: key_prefixes(lookup)?,
            expired_after: keys::expired_after(&values)?,
            log_level: values
                .read("LOG_LEVEL", parse::log_level, "trace, debug, info, warn or error")?
                .unwrap_or(LogLevel::Info),
            limits: LimitConfig::from_lookup(lookup)?,
            bridge: BridgeConfig::from_lookup(lookup)?,
            management: ManagementConfig::from_values(&values)?,
            gateway: GatewayConfig::from_values(&values)?,
            usage: UsageConfig::from_lookup(lookup)?,
            passwords: PasswordPolicy::from_values(&values)?,
            tokens: TokenConfig::from_lookup(lookup)?,
        })
    }
}

impl StoreConfig {
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let values = Values(lookup);
        let location = match Self::bucket(&values)? {
            Some(bucket) => Location::S3 {
                bucket,
                key: values.get_or("S3_KEY", DEFAULT_S3_KEY),
                region: s3_region(&values)?,
            },
            None => Location::File {
                path: Path::new(&values.get_or("DATA_DIR", DEFAULT_DATA_DIR)).join("keys.json"),
            },
        };
        Ok(Self {
            location,
            storage_secret: values.get("STORAGE_SECRET").map(Secret::new),
            max_document_bytes: values
                .read(
                    "MAX_DOCUMENT_BYTES",
                    parse::size,
                    "a number of bytes such as 536870912 or 512MiB",
                )?
                .unwrap_or(512 << 20),
            allow_unconditional_writes: values.boolean("ALLOW_UNCONDITIONAL_WRITES")?,
        })
    }

    /// `None` is a local file.
    fn bucket(values: &Values<'_>) -> Result<Option<String>, ConfigError> {
        values.read(
            "S3_BUCKET",
            parse::bucket,
            "the name of a bucket, without s3:// and without a path",
        )
    }
}

/// The region, and a look at the addresses that the SDK reads by itself and would only fail to connect to.
fn s3_region(values: &Values<'_>) -> Result<String, ConfigError> {
    for variable in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
        // To the SDK a blank is no URL, and not as good as none.
        if values
            .get(variable)
            .is_some_and(|text| parse::endpoint(text.trim()).is_none())
        {
            return Err(wrong(variable, "must be a URL such as http://localhost:9000"));
        }
    }
    let region = values.read("S3_REGION", parse::region, "the name of a region such as us-east-1")?;
    Ok(region.unwrap_or_else(|| DEFAULT_S3_REGION.to_owned()))
}

impl BridgeConfig {
    /// `None` without `PROTOCOL`, which turns metrics on.
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Option<Self>, ConfigError> {
        let values = Values(lookup);
        let Some(protocol) = values.read("PROTOCOL", parse::protocol, "http, udp or tcp")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            protocol,
            host: values
                .read(
                    "DEST_HOST",
                    parse::host_name,
                    "a host name or an address, without a scheme or a port",
                )?
                .ok_or_else(|| wrong("DEST_HOST", "must be set when PROTOCOL is set"))?,
            port: values
                .read(
                    "DEST_PORT",
                    |text| parse::number(text, 1, u16::MAX),
                    "a number from 1 to 65535",
                )?
                .ok_or_else(|| wrong("DEST_PORT", "must be set when PROTOCOL is set"))?,
            secret: values.get("SECRET").map(Secret::new),
            prefix: values
                .read(
                    "PREFIX",
                    parse::metric_prefix,
                    "made of letters, digits, '.', '_' and '-'",
                )?
                .unwrap_or_else(|| "heare-auth".to_owned()),
        }))
    }
}

/// `HOST` and `PORT`, for the server and for the health check that runs beside it.
pub fn listen_address(lookup: Lookup<'_>) -> Result<SocketAddr, ConfigError> {
    let values = Values(lookup);
    let host = values
        .read(
            "HOST",
            parse::host_address,
            "an IP address such as 0.0.0.0, or localhost",
        )?
        .unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let port = values
        .read(
            "PORT",
            |text| parse::number(text, 0, u16::MAX),
            "a number from 0 to 65535",
        )?
        .unwrap_or(DEFAULT_PORT);
    Ok(SocketAddr::new(host, port))
}

/// What the command line calls when it is not told where: by HTTPS where the service has a certificate.
pub const fn default_refresh_url(is_secure: bool) -> &'static str {
    if is_secure {
        "https://localhost:8080/refresh"
    } else {
        DEFAULT_REFRESH_URL
    }
}

/// The lookup, seen through the rule that an empty text is as good as none, and a blank one where blanks are cut off.
struct Values<'a>(Lookup<'a>);

impl Values<'_> {
    fn get(&self, variable: &str) -> Option<String> {
        (self.0)(variable).filter(|value| !value.is_empty())
    }

    fn get_or(&self, variable: &str, default: &str) -> String {
        self.get(variable).unwrap_or_else(|| default.to_owned())
    }

    fn read<T>(
        &self,
        variable: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
        must_be: &str,
    ) -> Result<Option<T>, ConfigError> {
        let text = self.get(variable).unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(None);
        }
        match parse(text.trim()) {
            Some(value) => Ok(Some(value)),
            None => Err(wrong(variable, &format!("must be {must_be}"))),
        }
    }

    fn boolean(&self, variable: &'static str) -> Result<bool, ConfigError> {
        let value = self.read(variable, parse::boolean, "true or false")?;
        Ok(value.unwrap_or(false))
    }
}

fn wrong(variable: &'static str, problem: &str) -> ConfigError {
    ConfigError {
        variable,
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests;
