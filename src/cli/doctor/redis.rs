//! Looks at Redis, where one is named.

use crate::{cli::args::Settings, config::LimitConfig, redis_link};

use super::report::Report;

pub async fn check(settings: &Settings, report: &mut Report) {
    // A wrong setting has been named with the settings.
    let Ok(LimitConfig {
        redis_url: Some(url), ..
    }) = LimitConfig::from_lookup(&|name| settings.get(name))
    else {
        return;
    };
    let advice = "Check REDIS_URL; until Redis answers each instance counts the use of limited keys alone, and nobody logs in to an account.";
    match redis_link::probe(&url).await {
        Ok(()) => report.ok(
            "redis",
            "answers and can be written to; instances count the use of limited keys together",
        ),
        Err(trouble) => report.warn("redis", trouble.sentence(), advice),
    }
}
