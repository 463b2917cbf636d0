//! Looks at the service on this host: whether it answers, is ready, and may be told to load the keys.

use hyper::StatusCode;

use crate::cli::{
    client::{self, CallError, Url},
    output,
    service::{self, refusal},
};

use super::{report::Report, store::Seen};

/// How often service and store are asked for the same document, as somebody may write in between.
const LOOKS: usize = 3;

/// How the answer to a refresh begins that was allowed and changed nothing.
const NOT_LOADED: &str = "the service answered 502";

/// Whether the service has a stored document in force, as far as it says so here.
pub async fn has_document(refresh_url: &Url) -> bool {
    loaded_etag(refresh_url).await.is_some()
}

pub async fn check(refresh_url: &Url, stored: Option<Seen>, report: &mut Report) {
    if !check_route("health", &refresh_url.beside("health"), report).await {
        return;
    }
    check_route("ready", &refresh_url.beside("ready"), report).await;
    match service::call_refresh(refresh_url).await {
        Ok(refreshed) => {
            report.ok(
                "refresh",
                format!(
                    "{refresh_url} is allowed from here, {} keys loaded",
                    refreshed.keys_loaded
                ),
            );
            if let Some(stored) = stored
                && has_another(refresh_url, refreshed.keys_loaded, stored).await
            {
                report.warn(
                    "refresh",
                    "the service has other keys than this store",
                    "Check that both have the same S3_BUCKET and S3_KEY, or DATA_DIR.",
                );
            }
        }
        Err(error) => {
            let message = error.to_string();
            let advice = if message.starts_with(NOT_LOADED) {
                remedy(last_error(refresh_url).await.as_deref().unwrap_or_default())
            } else {
                "Run this on the service's own host, such as 'dokku enter auth web heare-auth refresh'; with ADMIN_LISTEN set REFRESH_URL to it."
            };
            report.fail("refresh", message, advice);
        }
    }
}

/// Whether the document that the service has loaded is another than the one that is stored.
async fn has_another(refresh_url: &Url, keys_loaded: u64, mut stored: Seen) -> bool {
    for _ in 0..LOOKS {
        match loaded_etag(refresh_url).await {
            // With ADMIN_LISTEN, nobody says it here.
            None => return usize::try_from(keys_loaded) != Ok(stored.keys),
            Some(etag) if stored.is(&etag) => return false,
            Some(_) => {}
        }
        if !stored.look_again().await || service::call_refresh(refresh_url).await.is_err() {
            return false;
        }
    }
    true
}

async fn loaded_etag(refresh_url: &Url) -> Option<String> {
    let answer = client::get(&refresh_url.beside("ready")).await.ok()?;
    answer.json["etag"].as_str().map(ToOwned::to_owned)
}

async fn last_error(refresh_url: &Url) -> Option<String> {
    let answer = client::get(&refresh_url.beside("ready")).await.ok()?;
    answer.json["last_error"].as_str().map(ToOwned::to_owned)
}

/// What can be done about a `last_error`, as the table in USAGE.md has it.
fn remedy(last_error: &str) -> &'static str {
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
            "Write it with STORAGE_SECRET set; to accept it, remove the file at SNAPSHOT_PATH and restart the service."
        }
        "older_generation" => "Restore the newer one, or take this one by 'heare-auth refresh --allow-older'.",
        "generation_lost" => "Write it with this program, such as by 'heare-auth migrate'.",
        _ => "The service's log says why.",
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
                remedy(answer.json["last_error"].as_str().unwrap_or_default()),
            );
            true
        }
        Err(error @ CallError::Untrusted { .. }) => {
            report.fail(name, error.to_string(), "Set one of the two, or mend the certificate.");
            false
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
