//! `doctor`: looks at everything the service depends on, one line each, and says what to do about what is wrong.

mod accounts;
mod bridge;
mod certificate;
mod database;
mod redis;
mod report;
mod service;
mod store;

use std::process::ExitCode;

use self::report::{Findings, Report, line};
use super::{
    args::{Args, Settings},
    failure::{FAILED, Failure},
    output,
};
use crate::config::Config;

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
    let in_force = !offline && service::has_document(&refresh_url).await;
    let stored = store::check(&settings, write, in_force, &mut report).await;
    if !offline {
        service::check(&refresh_url, stored, &mut report).await;
    }
    certificate::check(&settings, &mut report);
    redis::check(&settings, &mut report).await;
    let has_database = database::check(&settings, &mut report).await;
    accounts::check(&settings, has_database, &mut report).await;
    bridge::check(&settings, &mut report).await;

    let ok = report.is_ok();
    output::answer(&if json {
        output::json_line(&Findings { ok, checks: &report.0 })
    } else {
        report.0.iter().map(line).collect()
    })?;
    Ok(if ok { ExitCode::SUCCESS } else { FAILED.into() })
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
