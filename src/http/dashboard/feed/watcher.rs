//! Who watches: whether they still may, which keys are theirs, and what keeps the page from thinking that nobody is there.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use super::{Line, shown::View};
use crate::{
    catalogue::Filter,
    core::verify::{self, Asked as AskedOfKey},
    http::{
        App,
        dashboard::{
            Dashboard,
            ticket::{Holder, Ticket},
        },
        keys::{Asked, caller::Origin, principal::Principal, problem::Problem},
    },
};

const TICK: Duration = Duration::from_secs(1);
/// In ticks: how often it is asked whether whoever watches may still do so, and how often a page hears something even
/// where nothing happens.
const ASK: u32 = 5;
const BEAT: u32 = 15;

/// Whoever opened the feed.
pub struct Watcher {
    ticket: Ticket,
    client_ip: Option<IpAddr>,
    owner: Option<String>,
    filter: Filter,
}

impl Watcher {
    pub fn of(app: &App, asked: &Asked, origin: &Origin, principal: &Principal) -> Option<Self> {
        Some(Self {
            ticket: Dashboard::ticket(app, &asked.caller, &asked.headers)?,
            client_ip: origin.client_ip,
            owner: principal.owner().map(str::to_owned),
            filter: principal.filter(false),
        })
    }

    /// What it may see, as of now.
    pub async fn view(&self, app: &Arc<App>) -> Result<View, Problem> {
        if self.owner.is_none() {
            return Ok(View::All);
        }
        let own = self.own(app).await.ok_or(Problem::StoreUnavailable)?;
        Ok(View::Own(Arc::new(Mutex::new(own))))
    }

    async fn own(&self, app: &Arc<App>) -> Option<HashSet<String>> {
        let (app, filter) = (Arc::clone(app), self.filter.clone());
        let catalogue = app.management.catalogue.clone();
        let asking = async move { app.management.catalogue.ask(move |listing| listing.ids(&filter)).await };
        let ids = catalogue.carry_out(asking).await?.ok()?;
        Some(ids.into_iter().collect())
    }

    /// Until the page goes, whoever watches may not any more, or the service is to stop.
    pub async fn tend(self, app: Arc<App>, view: View, line: Arc<Line>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 1_u32.. {
            ticks.tick().await;
            if line.pieces.is_closed() || app.is_draining() {
                return;
            }
            line.tell_skipped();
            if tick.is_multiple_of(ASK) {
                if !self.may_watch(&app).await {
                    line.send("event: end\ndata: {}\n\n");
                    return;
                }
                self.renew(&app, &view).await;
            }
            if tick.is_multiple_of(BEAT) {
                line.send(": still there\n\n");
            }
        }
    }

    /// What cannot be found out counts as no.
    async fn may_watch(&self, app: &App) -> bool {
        let now = app.clock.now();
        if now >= self.ticket.expires_at {
            return false;
        }
        match &self.ticket.holder {
            Holder::Person { user, session } => match &app.accounts {
                Some(accounts) => accounts.user_of(*user, session.clone()).await.is_ok(),
                None => false,
            },
            Holder::Key(digest) => {
                let asked = AskedOfKey {
                    client_ip: self.client_ip,
                    ..AskedOfKey::default()
                };
                app.reader.current().is_some_and(|loaded| {
                    let good = verify::verify_digest(&loaded.index, digest, &asked, now).ok();
                    let principal = good.as_ref().and_then(Principal::of_key);
                    principal.is_some_and(|principal| principal.owner() == self.owner.as_deref())
                })
            }
        }
    }

    /// Keys come and go. While the store does not answer, those stay that were known.
    async fn renew(&self, app: &Arc<App>, view: &View) {
        if let View::Own(ids) = view
            && let Some(own) = self.own(app).await
        {
            *ids.lock().unwrap_or_else(PoisonError::into_inner) = own;
        }
    }
}
