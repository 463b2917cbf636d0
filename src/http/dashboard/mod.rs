//! The dashboard: what its pages ask of this service in the name of whoever is logged in there. Nothing of it is on the
//! path of a verify.

pub mod cookie;
pub mod csrf;
pub mod feed;
pub mod overview;
pub mod pages;
pub mod route;
mod session;
pub mod ticket;
mod told;

use std::sync::Arc;

use hyper::{HeaderMap, Method, header::HeaderValue};
use tokio::sync::Semaphore;

use self::{
    route::Place,
    ticket::{Ticket, Tickets},
};
use super::{
    App,
    keys::{
        Asked, Presented,
        answer::Answer,
        caller::{self, Origin},
        problem::Problem,
    },
    local::Caller,
};
use crate::core::time::Timestamp;

/// What the dashboard needs; one for the process, where it is switched on.
pub struct Dashboard {
    pub tickets: Tickets,
    /// By which people tell this instance from the others.
    pub name: String,
    pub started_at: Timestamp,
    /// Room for pages that watch.
    pub feeds: Arc<Semaphore>,
    pub lately: overview::Lately,
}

impl Dashboard {
    pub const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    /// Who is logged in by the cookie that came with this request, as far as the cookie says.
    pub fn ticket(app: &App, caller: &Caller, headers: &HeaderMap) -> Option<Ticket> {
        let dashboard = app.dashboard.as_ref()?;
        let is_secure = app.management.https.is_encrypted(caller, headers);
        let sealed = cookie::sent(headers, is_secure)?;
        dashboard.tickets.read(sealed, app.clock.now())
    }
}

pub async fn answer(app: Arc<App>, place: Place, method: Method, asked: Asked) -> Answer {
    if !place.takes(&method) {
        let allow = place.allow();
        return Answer::problem(&Problem::MethodNotAllowed { allow }, &asked.headers)
            .with(hyper::header::ALLOW, HeaderValue::from_static(allow));
    }
    match place {
        Place::Session => session::answer(&app, &method, &asked).await,
        Place::Overview => overview_of(app, &method, &asked).await,
    }
}

async fn overview_of(app: Arc<App>, method: &Method, asked: &Asked) -> Answer {
    let origin = Origin::of(&app, asked, Place::Overview.pattern());
    let mut known = Presented::default();
    let mut answer = match caller::of_cookie(&app, asked, &origin, method, &mut known).await {
        Ok(found) => {
            let answering = overview::answer(Arc::clone(&app), found.principal);
            let answer = app.management.catalogue.carry_out(answering).await;
            let answer = answer.unwrap_or(Err(Problem::Busy));
            answer.unwrap_or_else(|problem| Answer::problem(&problem, &asked.headers))
        }
        Err(problem) => Answer::problem(&problem, &asked.headers),
    };
    // The page asks again and again: a service that nobody uses must not show its own dashboard as use.
    known.tell_limits(&mut answer);
    answer
}
