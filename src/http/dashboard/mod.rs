//! The dashboard: what its pages ask of this service in the name of whoever is logged in there. Nothing of it is on the
//! path of a verify.

pub mod cookie;
pub mod csrf;
pub mod route;
mod session;
pub mod ticket;
mod told;

use std::sync::Arc;

use hyper::{HeaderMap, Method, header::HeaderValue};

use self::{
    route::Place,
    ticket::{Ticket, Tickets},
};
use super::{
    App,
    keys::{Asked, answer::Answer, problem::Problem},
    local::Caller,
};

/// What the dashboard needs; one for the process, where it is switched on.
pub struct Dashboard {
    pub tickets: Tickets,
}

impl Dashboard {
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
    }
}
