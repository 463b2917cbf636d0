//! Accounts over HTTP: which call it is, whether it may be made over this connection, and what is told of it.

pub(super) mod body;
mod calls;
mod delete;
mod introspect;
pub mod refusal;
pub mod route;
mod sessions;
mod told;

use std::{net::IpAddr, sync::Arc};

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{ALLOW, AUTHORIZATION, HeaderValue},
};

pub(super) use self::calls::Credentials;
use self::{
    refusal::Refusal,
    route::{Call, Place},
    told::{Happened, Told},
};
use super::{
    App, identity,
    keys::{Asked, answer::Answer},
    proxies,
};
use crate::{
    accounts::{Accounts, Visitor},
    core::secret::Secret,
};

/// A call whose body has arrived, made over a connection over which it may be made.
struct Door {
    app: Arc<App>,
    accounts: Accounts,
    asked: Asked,
    /// Whose guesses and sessions these are. Behind a proxy that sends no address it is the proxy's.
    client: IpAddr,
    /// What the networks of a key are held against. `None` when a trusted proxy passed on something that is no address.
    client_ip: Option<IpAddr>,
}

/// A call that was carried out.
struct Done {
    answer: Answer,
    happened: Happened,
}

pub async fn answer(app: Arc<App>, accounts: Accounts, place: Place, method: Method, asked: Asked) -> Answer {
    if method == Method::OPTIONS {
        let allow = HeaderValue::from_static(place.allow());
        return Answer::empty(StatusCode::NO_CONTENT).with(ALLOW, allow);
    }
    let peer = asked.caller.peer.ip().to_canonical();
    let client_ip = proxies::client_ip(&app.proxies, peer, &asked.headers);
    let client = client_ip.unwrap_or(peer);
    let told = Told::new(&app, &place, &asked, client);
    match admit(&app, &place, &method, &asked) {
        Ok(call) => {
            let door = Door {
                app,
                accounts,
                asked,
                client,
                client_ip,
            };
            told.tell(door.carry_out(call).await)
        }
        Err(refusal) => told.tell(Err(refusal)),
    }
}

/// Nothing of the body is looked at yet.
fn admit(app: &App, place: &Place, method: &Method, asked: &Asked) -> Result<Call, Refusal> {
    if place.is_personal() && !app.management.https.allows(&asked.caller, &asked.headers) {
        return Err(Refusal::HttpsRequired);
    }
    let call = place.call(method);
    let call = call.ok_or(Refusal::MethodNotAllowed { allow: place.allow() })?;
    match &*asked.body {
        Ok(_) => Ok(call),
        Err(unread) => Err(Refusal::Body(*unread)),
    }
}

impl Door {
    async fn carry_out(self, call: Call) -> Result<Done, Refusal> {
        match call {
            Call::Register => calls::register(&self).await,
            Call::Login => calls::login(&self).await,
            Call::Refresh => calls::refresh(&self).await,
            Call::Logout => calls::logout(&self).await,
            Call::Profile => calls::profile(&self).await,
            Call::ChangePassword => calls::change_password(&self).await,
            Call::Delete => delete::delete(self).await,
            Call::Sessions => sessions::list(&self).await,
            Call::EndSession(id) => sessions::end(&self, id).await,
            Call::PublicKeys => Ok(introspect::public_keys(&self)),
            Call::Introspect => introspect::introspect(&self).await,
        }
    }

    fn visitor(&self) -> Visitor {
        Visitor {
            address: self.client,
            user_agent: identity::user_agent(&self.asked.headers).map(std::borrow::Cow::into_owned),
        }
    }

    /// The token that the call came with.
    fn token(&self) -> Result<Secret, Refusal> {
        bearer(&self.asked.headers).ok_or(Refusal::NoToken)
    }
}

impl Done {
    const fn quietly(answer: Answer) -> Self {
        Self {
            answer,
            happened: Happened::Nothing,
        }
    }
}

/// `None` when there is none, or more than one header that could hold it: then nobody can say which was meant.
fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let (scheme, token) = line.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_alone_and_as_a_bearers() {
        let sent = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (AUTHORIZATION, HeaderValue::from_static(line)));
            let mut headers = HeaderMap::new();
            lines.for_each(|(name, value)| {
                headers.append(name, value);
            });
            bearer(&headers).map(|token| token.expose().to_owned())
        };
        for one in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c "] {
            assert_eq!(sent(&[one]).as_deref(), Some("a.b.c"), "{one}");
        }
        for none in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["Basic eA=="],
            &["Bearer a", "Bearer a"],
        ] {
            assert_eq!(sent(none), None, "{none:?}");
        }
    }
}
