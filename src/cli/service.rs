//! What is asked of the running service: `refresh`, the refresh after a change, and `health`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;

use super::{
    args::{Args, Settings},
    client::{self, Answer, Url},
    failure::Failure,
    output::{self, shown},
};
use crate::{config, loader::LoadError};

/// For what the service does not load a document that is whole: what it has in force would be lost with it.
const LOSSES: [LoadError; 4] = [
    LoadError::Gone,
    LoadError::NotEncrypted,
    LoadError::OlderGeneration,
    LoadError::GenerationLost,
];

/// What a refresh answered. The members' names are the service's and the command line's JSON.
#[derive(Debug, Serialize)]
pub struct Refreshed {
    pub success: bool,
    pub keys_loaded: u64,
    pub timestamp: Option<String>,
}

/// Why the service did not refresh, as a part of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It tried to.
    #[error("{0}")]
    NotLoaded(String),
    /// It did not answer, or not to this caller.
    #[error("{0}")]
    NotAllowed(String),
}

pub async fn refresh(mut args: Args) -> Result<ExitCode, Failure> {
    args.setting("--url", "REFRESH_URL")?;
    let json = args.contains("--json");
    let allow_older = args.contains("--allow-older");
    let url = args.settings()?.refresh_url()?;
    let url = if allow_older {
        url.with_query("allow_older=true")
    } else {
        url
    };
    let refreshed = call_refresh(&url).await.map_err(|error| {
        Failure::Failed(format!(
            "Failed to refresh: {error}\n\nTip: If running against a Dokku deployment, use:\n  dokku enter auth web heare-auth refresh"
        ))
    })?;
    output::answer(&if json {
        output::json_line(&refreshed)
    } else {
        format!("✓ Refresh successful - loaded {} keys\n", refreshed.keys_loaded)
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn call_refresh(url: &Url) -> Result<Refreshed, RefreshError> {
    let answer = client::post(url, Bytes::new())
        .await
        .map_err(|error| RefreshError::NotAllowed(error.to_string()))?;
    match answer.json["keys_loaded"].as_u64() {
        Some(keys_loaded) if answer.status == StatusCode::OK && answer.json["success"] == true => Ok(Refreshed {
            success: true,
            keys_loaded,
            timestamp: answer.json["timestamp"].as_str().map(ToOwned::to_owned),
        }),
        _ if answer.status == StatusCode::BAD_GATEWAY => Err(RefreshError::NotLoaded(refusal(&answer))),
        _ => Err(RefreshError::NotAllowed(refusal(&answer))),
    }
}

/// An answer that is not the one hoped for, for people. What the other side wrote is cut short and made harmless.
pub fn refusal(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    match answer.error() {
        Some(error) => {
            let error: String = error.chars().take(200).collect();
            format!("the service answered {status}: {}", shown(&error))
        }
        None => format!("the service answered {status}"),
    }
}

/// What can be done about a `last_error`, as the table in USAGE.md has it.
pub fn remedy(last_error: &str) -> &'static str {
    match last_error {
        "store_unreachable" | "store_timeout" => "Look at the network and the store.",
        "store_forbidden" | "credentials_missing" => "Look at the service's role or its AWS_* settings.",
        "bucket_missing" => "Create the bucket, or correct the service's S3_BUCKET.",
        "store_failed" | "object_incomplete" => "This usually passes; look at the store.",
        "object_too_large" => "Raise the service's MAX_DOCUMENT_BYTES, or find out who wrote that.",
        "object_gone" => "Restore it from a version ('heare-auth history' and 'rollback') or a snapshot; make no keys.",
        "object_empty" | "object_truncated" | "object_not_json" | "object_without_keys" => {
            "Restore it from a version ('heare-auth history' and 'rollback') or a snapshot."
        }
        "secret_missing" | "wrong_secret" => {
            "Set the service's STORAGE_SECRET to the right one, or restore the document."
        }
        "object_not_encrypted" => {
            "Restore the encrypted one; if this one is right all the same, 'heare-auth migrate --no-refresh' encrypts it."
        }
        "older_generation" => "Restore the newer one, or take this one by 'heare-auth refresh --allow-older'.",
        "generation_lost" => {
            "Restore the one that has its generation, or take this one by 'heare-auth refresh --allow-older'."
        }
        _ => "The service's log says why.",
    }
}

/// The refresh that follows a change, as it was asked for on the command line.
pub struct RefreshPlan(Option<Url>);

/// How it went, for `--json`: `null` when it was not asked for.
#[derive(Serialize)]
#[serde(untagged)]
pub enum RefreshOutcome {
    Skipped(()),
    Done(Refreshed),
    Failed { success: bool, error: String },
}

/// The words that only the change itself knows.
pub struct AfterChange {
    pub happened: &'static str,
    pub remedy: &'static str,
}

impl RefreshPlan {
    /// Before the change is made, so that a wrong URL stops the command while nothing has happened yet.
    pub fn new(settings: &Settings, no_refresh: bool) -> Result<Self, Failure> {
        if no_refresh {
            Ok(Self(None))
        } else {
            settings.refresh_url().map(|url| Self(Some(url)))
        }
    }

    /// The generation that the service has in force; nothing where it is not asked, does not answer, or has none. With
    /// `ADMIN_LISTEN` nobody says it here: it may be any.
    pub async fn in_force(&self) -> Option<u64> {
        let answer = client::get(&self.0.as_ref()?.beside("ready")).await.ok()?;
        match answer.status {
            StatusCode::NOT_FOUND => Some(u64::MAX),
            _ => answer.json["generation"].as_u64(),
        }
    }

    /// What would be lost with the document that is stored, if the service does not load it for that.
    pub async fn loss(&self) -> Option<LoadError> {
        let answer = client::post(self.0.as_ref()?, Bytes::new()).await.ok()?;
        LOSSES
            .into_iter()
            .find(|loss| answer.error() == Some(&loss.to_string()))
    }

    /// Calls the service once. A failure is a warning: the change has been made.
    pub async fn carry_out(self, after: &AfterChange) -> RefreshOutcome {
        self.carry_out_until(std::future::pending(), after).await
    }

    /// The same, but the service is not waited for any longer than this.
    pub async fn carry_out_until(self, end: impl Future<Output = ()>, after: &AfterChange) -> RefreshOutcome {
        let Some(url) = self.0 else {
            return RefreshOutcome::Skipped(());
        };
        let called = tokio::select! {
            biased;
            () = end => Err(RefreshError::NotAllowed("the command was interrupted".to_owned())),
            called = call_refresh(&url) => called,
        };
        match called {
            Ok(refreshed) => RefreshOutcome::Done(refreshed),
            Err(error) => {
                output::note(&format!(
                    "\n⚠️  Warning: Could not refresh service: {error}\n   {} but the service was not refreshed.\n   {}\n",
                    after.happened, after.remedy
                ));
                RefreshOutcome::Failed {
                    success: false,
                    error: error.to_string(),
                }
            }
        }
    }
}

impl RefreshOutcome {
    /// The line on stdout, or nothing.
    pub fn line(&self) -> String {
        match self {
            Self::Done(refreshed) => format!("✓ Service refreshed - {} keys loaded\n", refreshed.keys_loaded),
            Self::Skipped(()) | Self::Failed { .. } => String::new(),
        }
    }
}

/// The container's health check: asks the service in the same container, by the same `HOST` and `PORT`.
pub async fn health(mut args: Args) -> Result<ExitCode, Failure> {
    let json = args.contains("--json");
    let route = if args.contains("--ready") { "ready" } else { "health" };
    let settings = args.environment()?;
    let address = reachable(config::listen_address(&|name| settings.get(name))?);
    let certificate = settings.own_certificate();
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{address}/{route}")).expect("an address and a word make a URL");
    let url = url.trusting(certificate);
    let answer = client::get(&url)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    if answer.status != StatusCode::OK {
        return Err(Failure::Failed(refusal(&answer)));
    }
    output::answer(&match answer.json["keys_count"].as_u64() {
        _ if json => output::json_line(&answer.json),
        Some(keys) => format!("✓ Service answers - {keys} keys loaded\n"),
        None => "✓ Service answers\n".to_owned(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where a listener on this address answers callers on the same host.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(host, listen.port())
}
