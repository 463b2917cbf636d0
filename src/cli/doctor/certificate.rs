//! Looks at the certificate and its key, where HTTPS is spoken: whether the two are good, and for how long.

use crate::{
    cli::args::Settings,
    clock::Clock,
    config::Config,
    core::time::Timestamp,
    http::tls::pair::{Files, TlsError},
};

use super::report::Report;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Certificates that renew themselves are renewed before this.
const SOON_DAYS: i64 = 21;

pub fn check(settings: &Settings, report: &mut Report) {
    // A wrong setting has been named with the settings.
    let Ok(config) = Config::from_lookup(&|name| settings.get(name)) else {
        return;
    };
    let Some(files) = config.gateway.tls else {
        return;
    };
    let now = Clock::default().now();
    match Files::read(&files).and_then(|files| files.pair(now)) {
        Ok(pair) => tell(pair.not_after, now, report),
        Err(error) => tell_wrong(error, report),
    }
}

fn tell(not_after: Timestamp, now: Timestamp, report: &mut Report) {
    let days = (not_after.as_millis() - now.as_millis()) / DAY_MS;
    let message = format!("good until {not_after}, for {days} days");
    if days > SOON_DAYS {
        report.ok("certificate", message);
    } else {
        let advice = "Put the next one into the same files; a service that runs takes it within 2 seconds.";
        report.warn("certificate", message, advice);
    }
}

fn tell_wrong(error: TlsError, report: &mut Report) {
    let advice = "The service does not start with these files; one that runs keeps the pair it has.";
    report.fail("certificate", error.to_string(), advice);
}
