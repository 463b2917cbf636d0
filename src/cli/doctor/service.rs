//! Looks at the service on this host: whether it answers, is ready, and may be told to load the keys.

use hyper::StatusCode;

use crate::cli::{
    client::{self, Url},
    output,
    service::{self, refusal},
};

use super::report::Report;

pub async fn check(refresh_url: &Url, stored_keys: Option<usize>, report: &mut Report) {
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
