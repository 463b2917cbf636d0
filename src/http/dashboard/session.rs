//! `/dashboard/session`: logging in to the dashboard with an account or with a key for key management, who is logged in,
//! and logging out.

use std::{borrow::Cow, sync::Arc};

use hyper::{HeaderMap, Method, StatusCode, header::SET_COOKIE};
use serde::Serialize;

use super::{
    Dashboard, cookie, csrf,
    ticket::{Holder, Ticket},
    told::Told,
};
use crate::{
    accounts::{AccountError, Visitor},
    core::{scope::Scope, secret::Secret, time::Timestamp},
    http::{
        App,
        accounts::{
            Credentials,
            body::{Body, Fault},
            refusal::Refusal,
        },
        identity,
        keys::{
            Asked, Presented,
            answer::Answer,
            caller::{self, Found, Origin},
            principal::{self, Principal, Who},
            problem::Problem,
        },
    },
};

/// The most characters of a key that is looked at.
const MAX_API_KEY: usize = 1024;

/// Why somebody is not logged in, or out.
pub enum Trouble {
    Account(Refusal),
    Key(Problem),
}

/// Who is logged in, as a page shows it.
#[derive(Serialize)]
struct Shown<'a> {
    kind: &'static str,
    name: &'a str,
    /// Whether it manages everybody's keys.
    admin: bool,
    /// What it can give; an operator can give all.
    scopes: Vec<&'a str>,
    csrf: &'a str,
    expires_at: String,
}

/// One call, and from where.
struct Door<'a> {
    app: &'a App,
    asked: &'a Asked,
    origin: Origin,
}

pub async fn answer(app: &Arc<App>, method: &Method, asked: &Asked) -> Answer {
    let door = Door {
        app,
        asked,
        origin: Origin::of(app, asked, super::Place::Session.pattern()),
    };
    let told = Told::new(app, asked, door.origin.address());
    let outcome = match *method {
        Method::POST => door.log_in(&told).await,
        Method::DELETE => door.log_out(&told).await,
        _ => door.show().await,
    };
    outcome.unwrap_or_else(|trouble| door.refused(&trouble))
}

impl Door<'_> {
    async fn log_in(&self, told: &Told<'_>) -> Result<Answer, Trouble> {
        match self.try_log_in().await {
            Ok((who, answer)) => {
                told.logged_in(&who);
                Ok(answer)
            }
            Err(trouble) => {
                told.login_failed(&trouble);
                Err(trouble)
            }
        }
    }

    async fn try_log_in(&self) -> Result<(Who, Answer), Trouble> {
        let (caller, headers) = (&self.asked.caller, &self.asked.headers);
        if !self.app.management.https.allows(caller, headers) {
            return Err(Trouble::Account(Refusal::HttpsRequired));
        }
        // Somebody else's page must not log anybody in as somebody else.
        if !csrf::is_own_page(caller, headers) {
            return Err(Trouble::Key(Problem::ForeignPage));
        }
        if let Err(unread) = &*self.asked.body {
            return Err(Trouble::Account(Refusal::Body(*unread)));
        }
        let mut body = Body::read(self.asked.body())?;
        if body.has("api_key") {
            let key = body.short_text("api_key", MAX_API_KEY);
            return self.by_key(body.finish(key)?).await;
        }
        self.by_password().await
    }

    async fn by_key(&self, key: Secret) -> Result<(Who, Answer), Trouble> {
        let mut known = Presented::default();
        let (found, digest) = caller::of_key(self.app, self.asked, key, &self.origin, &mut known).await?;
        let (ticket, sealed) = self.issue(Holder::Key(digest), found.expires_at)?;
        let opened = self.opened(&found.name, &found.principal, &ticket, &sealed);
        Ok((found.principal.who, opened))
    }

    async fn by_password(&self) -> Result<(Who, Answer), Trouble> {
        let no_accounts = || {
            let sentence = "There are no accounts here: send an api_key";
            vec![Fault::of("api_key", "missing", "Field required", sentence)]
        };
        let accounts = self.app.accounts.as_ref().ok_or_else(no_accounts)?;
        let Credentials { login, password } = Credentials::read(self.asked.body())?;
        let name = login.as_given().to_owned();
        let visitor = Visitor {
            address: self.origin.address(),
            user_agent: identity::user_agent(&self.asked.headers).map(Cow::into_owned),
        };
        let logged_in = accounts.login(login, password, visitor).await?;
        let holder = Holder::Person {
            user: logged_in.user_id,
            session: logged_in.session,
        };
        let (ticket, sealed) = self.issue(holder, Some(logged_in.session_ends))?;
        let principal = Principal::of_user(logged_in.user_id, &self.app.management.user_scopes);
        let opened = self.opened(&name, &principal, &ticket, &sealed);
        Ok((principal.who, opened))
    }

    async fn show(&self) -> Result<Answer, Trouble> {
        let (ticket, found) = self.holder(&Method::GET).await?;
        let shown = shown(&found.name, &found.principal, &ticket);
        Ok(Answer::json_of(StatusCode::OK, &shown))
    }

    /// A person's session ends, on every instance. A key has none: only this cookie is given up.
    async fn log_out(&self, told: &Told<'_>) -> Result<Answer, Trouble> {
        let (ticket, found) = self.holder(&Method::DELETE).await?;
        if let (Holder::Person { user, session }, Some(accounts)) = (ticket.holder, &self.app.accounts) {
            match accounts.end(user, session).await {
                // That somebody else has ended it meanwhile is as good.
                Ok(()) | Err(AccountError::UnknownSession) => {}
                Err(error) => return Err(error.into()),
            }
        }
        told.logged_out(&found.principal.who);
        Ok(self.without_cookie(Answer::empty(StatusCode::NO_CONTENT)))
    }

    async fn holder(&self, method: &Method) -> Result<(Ticket, Found), Trouble> {
        let (caller, headers) = (&self.asked.caller, &self.asked.headers);
        let ticket = Dashboard::ticket(self.app, caller, headers).ok_or(Refusal::NoToken)?;
        let mut known = Presented::default();
        let found = caller::of_cookie(self.app, self.asked, &self.origin, method, &mut known).await?;
        Ok((ticket, found))
    }

    fn issue(&self, holder: Holder, ends: Option<Timestamp>) -> Result<(Ticket, String), Trouble> {
        let tickets = self.app.dashboard.as_ref().map(|dashboard| &dashboard.tickets);
        let issued = tickets.and_then(|tickets| tickets.issue(holder, ends, self.app.clock.now()));
        issued.ok_or(Trouble::Key(Problem::NoRandomness))
    }

    fn opened(&self, name: &str, principal: &Principal, ticket: &Ticket, sealed: &str) -> Answer {
        let left_ms = ticket.expires_at.as_millis() - self.app.clock.now().as_millis();
        let cookie = cookie::kept(sealed, left_ms.max(0) / 1000, self.is_encrypted());
        Answer::json_of(StatusCode::OK, &shown(name, principal, ticket)).with(SET_COOKIE, cookie)
    }

    /// A cookie that is good for nothing any more is taken away.
    fn refused(&self, trouble: &Trouble) -> Answer {
        let answer = trouble.answer(&self.asked.headers);
        if answer.status == StatusCode::UNAUTHORIZED && cookie::sent(&self.asked.headers, self.is_encrypted()).is_some()
        {
            self.without_cookie(answer)
        } else {
            answer
        }
    }

    fn without_cookie(&self, answer: Answer) -> Answer {
        answer.with(SET_COOKIE, cookie::dropped(self.is_encrypted()))
    }

    fn is_encrypted(&self) -> bool {
        let https = &self.app.management.https;
        https.is_encrypted(&self.asked.caller, &self.asked.headers)
    }
}

fn shown<'a>(name: &'a str, principal: &'a Principal, ticket: &'a Ticket) -> Shown<'a> {
    Shown {
        kind: match principal.who {
            principal::Who::Key(_) => "key",
            principal::Who::User(_) => "user",
        },
        name,
        admin: principal.owner().is_none(),
        scopes: principal.scopes().iter().map(Scope::as_str).collect(),
        csrf: ticket.csrf.expose(),
        expires_at: ticket.expires_at.to_string(),
    }
}

impl Trouble {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Account(refusal) => refusal.status(),
            Self::Key(problem) => problem.status(),
        }
    }

    /// The reason in the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Account(refusal) => refusal.word(),
            Self::Key(problem) => problem.code(),
        }
    }

    fn answer(&self, asked: &HeaderMap) -> Answer {
        match self {
            Self::Account(refusal) => refusal.answer(),
            Self::Key(problem) => Answer::problem(problem, asked),
        }
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Key(problem)
    }
}

impl<T> From<T> for Trouble
where
    Refusal: From<T>,
{
    fn from(trouble: T) -> Self {
        Self::Account(Refusal::from(trouble))
    }
}
