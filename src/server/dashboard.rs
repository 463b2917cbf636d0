//! Starts what the dashboard needs, and makes this instance known to the others.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    accounts::Accounts,
    config::Config,
    core::time::Timestamp,
    http::dashboard::{
        Dashboard,
        feed::MOST_FEEDS,
        overview::{Lately, standing},
        ticket::Tickets,
    },
    loader::Reader,
    usage::{Announced, Usage},
};

/// `None` where it is switched off; another instance may have one all the same, and shows this one.
pub(super) fn start(
    config: &Config,
    accounts: Option<&Accounts>,
    reader: &Reader,
    usage: &Usage,
    now: Timestamp,
) -> Option<Dashboard> {
    let name = name(config);
    let reader = reader.clone();
    usage.announce(Announced {
        name: name.clone(),
        version: Dashboard::VERSION,
        started_at: now,
        standing: Box::new(move || standing(&reader)),
    });
    let secret = config.store.storage_secret.as_ref();
    let tickets = || Tickets::new(accounts, secret, rand::random(), super::fill);
    config.management.dashboard.then(|| Dashboard {
        tickets: tickets(),
        name,
        started_at: now,
        feeds: Arc::new(Semaphore::new(MOST_FEEDS)),
        lately: Lately::default(),
    })
}

/// The machine, and where it has several, the process there.
fn name(config: &Config) -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    match config.listen.port() {
        0 => format!("{host}:{}", std::process::id()),
        port => format!("{host}:{port}"),
    }
}
