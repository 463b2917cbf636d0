//! Looks at the service on this host: whether it answers, is ready, and may be told to load the keys.

use hyper::StatusCode;

use crate::cli::{
    client::{self, CallError, Url},
    output,
    service::{self, RefreshError, refusal, remedy},
};

use super::{report::Report, store::Seen};

/// How often service and store are asked for the same document, as somebody may write in between.
const LOOKS: usize = 3;

/// Whether the service has a stored document in force, as far as it says so here.
pub async fn has_document(refresh_url: &Url) -> bool {
    told(refresh_url, "etag").await.is_some()
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
            let advice = match error {
                RefreshError::NotLoaded(_) => {
                    remedy(told(refresh_url, "last_error").await.as_deref().unwrap_or_default())
                }
                RefreshError::NotAllowed(_) => {
                    "Run this on the service's own host, such as 'dokku enter auth web heare-auth refresh'; with ADMIN_LISTEN set REFRESH_URL to it."
                }
            };
            report.fail("refresh", error.to_string(), advice);
        }
    }
}

/// Whether the document that the service has loaded is another than the one that is stored.
async fn has_another(refresh_url: &Url, keys_loaded: u64, mut stored: Seen) -> bool {
    for _ in 0..LOOKS {
        match told(refresh_url, "etag").await {
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

/// A text that the service says at `/ready`; with `ADMIN_LISTEN`, nobody says it here.
async fn told(refresh_url: &Url, member: &str) -> Option<String> {
    let answer = client::get(&refresh_url.beside("ready")).await.ok()?;
    answer.json[member].as_str().map(ToOwned::to_owned)
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
