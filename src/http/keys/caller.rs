//! Who calls: the holder of a key, a person, or whoever is logged in at the dashboard as one of the two. And whether a
//! person who calls is still there when the call is done.

use std::{net::IpAddr, time::Instant};

use hyper::Method;

use super::{
    App, Asked, Presented, leaving,
    principal::{self, Principal},
    problem::Problem,
    route::Call,
};
use crate::{
    accounts::{TokenTrouble, UserId, sessions::SessionId},
    core::{
        secret::{Digest, Secret},
        time::Timestamp,
        verify,
    },
    http::{
        dashboard::{Dashboard, csrf, ticket::Holder},
        identity,
        imported::Busy,
        proxies,
        verify::{Question, Route, decide, settled},
    },
    loader::Loaded,
    telemetry::events::{RequestId, RequestInfo},
};

/// From where a call comes, and what it is for.
#[derive(Clone, Copy)]
pub struct Origin {
    pub peer: IpAddr,
    pub client_ip: Option<IpAddr>,
    pub route: &'static str,
}

impl Origin {
    pub fn of(app: &App, asked: &Asked, route: &'static str) -> Self {
        let peer = asked.caller.peer.ip().to_canonical();
        Self {
            peer,
            client_ip: proxies::client_ip(&app.proxies, peer, &asked.headers),
            route,
        }
    }

    pub fn address(&self) -> IpAddr {
        self.client_ip.unwrap_or(self.peer)
    }
}

/// Somebody who may manage keys.
pub struct Found {
    pub principal: Principal,
    /// A key's name, or a person's login.
    pub name: String,
    /// Of a key.
    pub expires_at: Option<Timestamp>,
    /// What only the caller can present.
    pub presented: Secret,
}

/// By what the call brings: a key or a token, or else the dashboard's cookie.
pub async fn find(
    app: &App,
    asked: &Asked,
    origin: &Origin,
    method: &Method,
    known: &mut Presented,
) -> Result<Found, Problem> {
    match principal::presented(&asked.headers) {
        Ok(token) if app.accounts.is_some() && principal::is_token(token.expose()) => of_token(app, token).await,
        Ok(key) => Ok(of_key(app, asked, key, origin, known).await?.0),
        Err(Problem::KeyRequired) => of_cookie(app, asked, origin, method, known).await,
        Err(problem) => Err(problem),
    }
}

/// The cookie stands for a key or a session, and is good as long as that is.
pub async fn of_cookie(
    app: &App,
    asked: &Asked,
    origin: &Origin,
    method: &Method,
    known: &mut Presented,
) -> Result<Found, Problem> {
    let ticket = Dashboard::ticket(app, &asked.caller, &asked.headers).ok_or(Problem::KeyRequired)?;
    if !csrf::allows(&ticket, method, &asked.caller, &asked.headers) {
        return Err(Problem::ForeignPage);
    }
    match ticket.holder {
        Holder::Key(digest) => {
            let loaded = app.reader.current().ok_or(Problem::NotLoaded)?;
            let shown = Shown {
                digest,
                presented: ticket.csrf,
                is_key: false,
            };
            of_digest(app, asked, &loaded, shown, origin, known).await
        }
        Holder::Person { user, session } => of_session(app, user, session, ticket.csrf).await,
    }
}

async fn of_token(app: &App, token: Secret) -> Result<Found, Problem> {
    let accounts = app.accounts.as_ref().ok_or(Problem::KeyRequired)?;
    let person = accounts.who(token.clone()).await?;
    Ok(Found {
        principal: Principal::of_user(person.user.id, &app.management.user_scopes),
        name: person.user.login,
        expires_at: None,
        presented: token,
    })
}

async fn of_session(app: &App, user: UserId, session: SessionId, presented: Secret) -> Result<Found, Problem> {
    let accounts = app.accounts.as_ref().ok_or(Problem::KeyRequired)?;
    let user = accounts.user_of(user, session).await?;
    Ok(Found {
        principal: Principal::of_user(user.id, &app.management.user_scopes),
        name: user.login,
        expires_at: None,
        presented,
    })
}

/// Also under what the index has the key.
pub async fn of_key(
    app: &App,
    asked: &Asked,
    presented: Secret,
    origin: &Origin,
    known: &mut Presented,
) -> Result<(Found, Digest), Problem> {
    let loaded = app.reader.current().ok_or(Problem::NotLoaded)?;
    let loaded = settled(app, loaded, origin.address(), [presented.expose()]).await;
    let digest = app.imported.digest_of(&loaded.index, presented.expose());
    let digest = digest.map_err(|Busy| Problem::Busy)?;
    let shown = Shown {
        digest,
        presented,
        is_key: true,
    };
    Ok((of_digest(app, asked, &loaded, shown, origin, known).await?, digest))
}

/// By what a key is known.
struct Shown {
    digest: Digest,
    presented: Secret,
    /// Whether it is the key's own secret that was presented.
    is_key: bool,
}

async fn of_digest(
    app: &App,
    asked: &Asked,
    loaded: &Loaded,
    shown: Shown,
    origin: &Origin,
    known: &mut Presented,
) -> Result<Found, Problem> {
    let client = verify::Asked {
        client_ip: origin.client_ip,
        ..verify::Asked::default()
    };
    let question = Question {
        route: Route::Management,
        api_key: if shown.is_key { shown.presented.expose() } else { "" },
        digest: shown.digest,
        asked: &client,
        guesser: origin.address(),
        cost: 1,
        endpoint: Some(origin.route),
    };
    let sender = || RequestInfo {
        request_id: RequestId::Sent(&asked.caller.request_id),
        user_agent: identity::user_agent(&asked.headers),
        traceparent: identity::traceparent(&asked.headers),
    };
    let decided = decide(app, loaded, &question, sender, Instant::now()).await;
    known.charged = decided.charged;
    let good = decided.verdict.map_err(principal::refused)?;
    known.key_id = Some(good.id.to_owned());
    Ok(Found {
        principal: Principal::of_key(&good)
            .ok_or(Problem::InsufficientScope)?
            .shown_by(shown.digest),
        name: principal::plain(good.name),
        expires_at: good.expires_at,
        presented: shown.presented,
    })
}

/// A person may have lost the account while the call was carried out, and the keys with it but for what this very call
/// made of them. Then that is taken away, too, and its secret is told to nobody. Who was disabled meanwhile keeps what was
/// made, as they keep their other keys.
pub async fn still_there(
    app: &App,
    principal: &Principal,
    call: &Call,
    from: IpAddr,
    request_id: &str,
) -> Result<(), Problem> {
    let is_growth = matches!(call, Call::Create | Call::Rotate(_) | Call::Reactivate(_));
    let (Some(user), Some(accounts), true) = (principal.user(), &app.accounts, is_growth) else {
        return Ok(());
    };
    if accounts.is_there(user).await? {
        return Ok(());
    }
    leaving::take_keys(app, user, from, request_id).await?;
    Err(Problem::BadToken(TokenTrouble::Gone))
}
