//! `POST /oauth/introspect` (RFC 7662), for access tokens and API keys, and the keys by which anybody can check a token.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use zeroize::Zeroizing;

use super::{Done, Door, body::Body, refusal::Refusal};
use crate::{
    accounts::{
        AccountError, TokenTrouble,
        introspection::{self, Asker, INACTIVE},
    },
    core::{
        secret::Secret,
        verify::{self, Good},
    },
    http::{
        authz::credential::Credential,
        imported::Busy,
        keys::{answer::Answer, principal::is_token, route::parameters},
        limits,
        verify::settled,
    },
};

/// How long a service may keep the keys before it looks again, in seconds.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

pub fn public_keys(door: &Door) -> Done {
    let keys = door.accounts.public_keys();
    Done::quietly(Answer::json(StatusCode::OK, keys).with(CACHE_CONTROL, KEPT))
}

pub async fn introspect(door: &Door) -> Result<Done, Refusal> {
    let asker = asker(door).await?;
    let Asked { token, client_ip } = Asked::read(&door.asked.headers, door.asked.body())?;
    let said = if is_token(token.expose()) {
        about_token(door, &asker, token).await?
    } else {
        let found = with_key(door, &token, client_ip, |key| introspection::of_key(&asker, key)).await?;
        found.unwrap_or_else(|| INACTIVE.to_owned())
    };
    Ok(Done::quietly(Answer::json(StatusCode::OK, said)))
}

async fn about_token(door: &Door, asker: &Asker, token: Secret) -> Result<String, Refusal> {
    match door.accounts.who(token).await {
        Ok(person) => Ok(door.accounts.introspected(asker, &person)),
        Err(AccountError::Token(_)) => Ok(INACTIVE.to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// Who asks shows a token or a key of their own; a service that is an OAuth client sends the key as its password.
async fn asker(door: &Door) -> Result<Asker, Refusal> {
    let presented = credential(&door.asked.headers).ok_or(Refusal::NoToken)?;
    if is_token(presented.expose()) {
        let person = door.accounts.who(presented).await?;
        return Ok(Asker::of_token(&person.claims));
    }
    let asker = with_key(door, &presented, door.client_ip, Asker::of_key).await?;
    match asker {
        Some(Some(asker)) => Ok(asker),
        Some(None) => Err(Refusal::MayNotIntrospect),
        None => Err(Refusal::Account(AccountError::Token(TokenTrouble::Invalid))),
    }
}

fn credential(headers: &HeaderMap) -> Option<Secret> {
    let found = Credential::find(headers, None).ok();
    found
        .map(|credential| Secret::new(credential.as_str()))
        .or_else(|| basic_password(headers))
}

/// The password of `Authorization: Basic`, whatever the name.
fn basic_password(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, sent) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(sent.trim()).ok()?);
    let (_, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    (!password.is_empty()).then(|| Secret::new(password))
}

/// Asks something about a key that a verify from there would find good, its use left aside. `None` for any other, which
/// counts as a guess of the one who asks.
async fn with_key<T>(
    door: &Door,
    presented: &Secret,
    client_ip: Option<IpAddr>,
    ask: impl FnOnce(&Good<'_>) -> T,
) -> Result<Option<T>, Refusal> {
    let app = &door.app;
    let loaded = app.reader.current().ok_or(Refusal::KeysNotKnown)?;
    let loaded = settled(app, loaded, door.client, [presented.expose()]).await;
    let digest = app.imported.digest_of(&loaded.index, presented.expose());
    let digest = digest.map_err(|Busy| Refusal::KeysNotKnown)?;
    let asked = verify::Asked {
        client_ip,
        ..verify::Asked::default()
    };
    match verify::verify_digest(&loaded.index, &digest, &asked, app.clock.now()) {
        Ok(key) => Ok(Some(ask(&key))),
        Err(refusal) => match limits::guessed(app, door.client, refusal).0 {
            verify::Refusal::RateLimited => Err(Refusal::TooManyGuesses),
            _ => Ok(None),
        },
    }
}

/// What is asked about.
struct Asked {
    token: Secret,
    /// From where the token came to the one who asks; without it a key that is bound to networks is not active.
    client_ip: Option<IpAddr>,
}

impl Asked {
    /// A form, as the standard has it; whoever sends JSON is understood as well. Other parameters are of no account.
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let is_json = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().starts_with(b"application/json");
        let read = if headers.get(CONTENT_TYPE).is_some_and(is_json) {
            Self::of_json(body)
        } else {
            Self::of_form(str::from_utf8(body).unwrap_or_default())
        };
        read.filter(|asked| !asked.token.expose().is_empty())
            .ok_or(Refusal::NoTokenToIntrospect)
    }

    fn of_json(body: &[u8]) -> Option<Self> {
        let mut body = Body::read(body).ok()?;
        let token = body.text("token")?;
        let client_ip = match body.text("client_ip") {
            Some(text) => Some(address(text.expose())?),
            None if body.has("client_ip") => return None,
            None => None,
        };
        // What kind of token it is can be seen from the token. A hint need not be right, but it is a text.
        if body.has("token_type_hint") {
            body.text("token_type_hint")?;
        }
        Some(Self { token, client_ip })
    }

    fn of_form(form: &str) -> Option<Self> {
        let client_ip = match once(form, "client_ip") {
            Ok(text) => Some(address(&text)?),
            Err(0) => None,
            Err(_) => return None,
        };
        let token = once(form, "token").ok().map(Secret::new)?;
        Some(Self { token, client_ip })
    }
}

/// The value of a parameter that is there once; else how often it is there.
fn once(form: &str, name: &str) -> Result<String, usize> {
    let sent: Vec<_> = parameters(form).filter(|(sent, _)| *sent == name).collect();
    match <[_; 1]>::try_from(sent) {
        Ok([(_, value)]) => Ok(value.into_owned()),
        Err(sent) => Err(sent.len()),
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &'static str, body: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let asked = Asked::read(&headers, body.as_bytes()).ok();
        asked.map(|asked| asked.token.expose().to_owned())
    }

    #[test]
    fn a_token_comes_in_a_form_or_in_json_and_once() {
        let form = "application/x-www-form-urlencoded";
        for body in ["token=a.b", "token_type_hint=access_token&token=a%2Eb", "token=a.b&x=1"] {
            assert_eq!(read(form, body).as_deref(), Some("a.b"), "{body}");
        }
        for body in [
            "",
            "token",
            "token=",
            "token=a&token=b",
            "Token=a",
            "{}",
            "token=a&client_ip=x",
        ] {
            assert_eq!(read(form, body), None, "{body}");
        }
        for body in [r#"{"token":"a.b"}"#, r#"{"token":"a.b","token_type_hint":"x"}"#] {
            assert_eq!(read("application/json", body).as_deref(), Some("a.b"), "{body}");
        }
        for body in [
            "",
            "{}",
            r#"{"token":1}"#,
            r#"{"token":""}"#,
            r#"{"token":"a","client_ip":1}"#,
            r#"{"token":"a","token_type_hint":null}"#,
        ] {
            assert_eq!(read("application/json", body), None, "{body}");
        }
    }

    #[test]
    fn a_client_of_oauth_sends_its_key_as_a_password() {
        let sent = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            credential(&headers).map(|secret| secret.expose().to_owned())
        };
        assert_eq!(sent("Basic bmFtZTpzZWNfMQ==").as_deref(), Some("sec_1"));
        assert_eq!(sent("Bearer sec_1").as_deref(), Some("sec_1"));
        for none in ["Basic", "Basic ?", "Basic bmFtZQ==", "Basic bmFtZTo="] {
            assert_eq!(sent(none), None, "{none}");
        }
    }
}
