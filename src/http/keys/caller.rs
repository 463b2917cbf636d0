//! Who calls: the holder of a key, and whether a person who calls is still there when the call is done.

use std::{net::IpAddr, time::Instant};

use super::{
    App, Asked,
    principal::{self, Principal},
    problem::Problem,
    route::Call,
};
use crate::{
    accounts::TokenTrouble,
    core::{secret::Secret, verify},
    http::{
        identity,
        imported::Busy,
        limits::Charged,
        verify::{Question, Route, decide, settled},
    },
    telemetry::events::{RequestId, RequestInfo},
};

/// A presented key, and from where.
pub struct Held<'a> {
    pub presented: &'a Secret,
    pub peer: IpAddr,
    pub client_ip: Option<IpAddr>,
    pub route: &'static str,
}

pub async fn of_key(app: &App, asked: &Asked, held: &Held<'_>, charged: &mut Charged) -> Result<Principal, Problem> {
    let Held {
        presented,
        peer,
        client_ip,
        route,
    } = *held;
    let loaded = app.reader.current().ok_or(Problem::NotLoaded)?;
    let loaded = settled(app, loaded, [presented.expose()]).await;
    let digest = app.imported.digest_of(&loaded.index, presented.expose());
    let digest = digest.map_err(|Busy| Problem::Busy)?;
    let client = verify::Asked {
        client_ip,
        ..verify::Asked::default()
    };
    let question = Question {
        route: Route::Management,
        api_key: presented.expose(),
        digest,
        asked: &client,
        guesser: client_ip.unwrap_or(peer),
        cost: 1,
        endpoint: Some(route),
    };
    let sender = || RequestInfo {
        request_id: RequestId::Sent(&asked.caller.request_id),
        user_agent: identity::user_agent(&asked.headers),
        traceparent: identity::traceparent(&asked.headers),
    };
    let decided = decide(app, &loaded, &question, sender, Instant::now()).await;
    *charged = decided.charged;
    let good = decided.verdict.map_err(principal::refused)?;
    Principal::of_key(&good).ok_or(Problem::InsufficientScope)
}

/// A person may have lost the account while the call was carried out, and the keys with it but for what this very call
/// made of them. Then that is taken away, too, and its secret is told to nobody.
pub async fn still_there(app: &App, principal: &Principal, call: &Call) -> Result<(), Problem> {
    let is_growth = matches!(call, Call::Create | Call::Rotate(_) | Call::Reactivate(_));
    let (Some(user), Some(accounts), true) = (principal.user(), &app.accounts, is_growth) else {
        return Ok(());
    };
    if accounts.is_there(user).await? {
        return Ok(());
    }
    let catalogue = &app.management.catalogue;
    catalogue
        .revoke_all_of(user.0.to_string(), "account deleted", app.clock.now())
        .await?;
    Err(Problem::BadToken(TokenTrouble::Gone))
}
