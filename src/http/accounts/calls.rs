//! Registering, logging in and out, and what somebody who is logged in can see and change of themselves.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Done, Door,
    body::{Body, Fault},
    refusal::Refusal,
    told::Happened,
};
use crate::{
    accounts::{
        AccountError, LoggedIn, TokenTrouble,
        login_name::LoginName,
        password::{BadPassword, NewPassword, Password},
    },
    core::secret::Secret,
    http::keys::answer::Answer,
};

/// The most characters of a refresh token that is looked at.
const MAX_REFRESH_TOKEN: usize = 1024;
/// The most characters of a login that is presented: longer ones are nobody's.
const MAX_PRESENTED_LOGIN: usize = 1024;

#[derive(Serialize)]
struct Registered {
    id: i64,
}

#[derive(Serialize)]
struct Profile<'a> {
    id: i64,
    login: &'a str,
    created_at: String,
    last_login: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Message {
    pub message: &'static str,
}

/// What somebody says to be, and the password that is to prove it.
pub(in crate::http) struct Credentials {
    pub login: LoginName,
    pub password: Password,
}

impl Credentials {
    /// Whatever is presented: what a login and a password must be is asked when they are set.
    pub fn read(body: &[u8]) -> Result<Self, Vec<Fault>> {
        let mut body = Body::read(body)?;
        let login = body.short_text("login", MAX_PRESENTED_LOGIN);
        let password = presented_password(&mut body, "password");
        let read = login.zip(password).map(|(login, password)| Self {
            login: LoginName::presented(login.expose()),
            password,
        });
        body.finish(read)
    }
}

pub async fn register(door: &Door) -> Result<Done, Refusal> {
    let mut body = Body::read(door.asked.body())?;
    let (login, password) = (body.text("login"), body.text("password"));
    let login = login.and_then(|login| {
        let parsed = LoginName::parse(login.expose());
        parsed
            .map_err(|bad| body.wrong(Fault::of("login", bad.kind(), bad.message(), bad.to_string())))
            .ok()
    });
    // Where the login is no good, the password is still held against everything but the login.
    let nobody = LoginName::presented("");
    let password = password.and_then(|password| {
        let login = login.as_ref().unwrap_or(&nobody);
        new_password(&mut body, door, "password", login, &password)
    });
    let (login, password) = body.finish(login.zip(password))?;
    let id = door.accounts.register(login, password).await?;
    Ok(Done {
        answer: Answer::json_of(StatusCode::CREATED, &Registered { id: id.0 }),
        happened: Happened::Registered(id),
    })
}

pub async fn login(door: &Door) -> Result<Done, Refusal> {
    let Credentials { login, password } = Credentials::read(door.asked.body())?;
    let logged_in = door.accounts.login(login, password, door.visitor()).await?;
    Ok(Done {
        happened: Happened::LoggedIn(logged_in.user_id),
        answer: tokens(&logged_in),
    })
}

pub async fn refresh(door: &Door) -> Result<Done, Refusal> {
    let mut body = Body::read(door.asked.body())?;
    let presented = body.short_text("refresh_token", MAX_REFRESH_TOKEN);
    let presented = body.finish(presented)?;
    let logged_in = door.accounts.refresh(presented).await?;
    Ok(Done {
        happened: Happened::Refreshed(logged_in.user_id),
        answer: tokens(&logged_in),
    })
}

/// The tokens, in memory that is wiped when the answer has left.
fn tokens(logged_in: &LoggedIn) -> Answer {
    let (access, refresh) = (logged_in.access_token.expose(), logged_in.refresh_token.expose());
    let parts = [
        r#"{"access_token":""#,
        access,
        r#"","token_type":"bearer","expires_in":"#,
        &logged_in.expires_in.to_string(),
        r#","refresh_token":""#,
        refresh,
        r#""}"#,
    ];
    // All the room at once: a vector that grows leaves copies behind that are not wiped.
    let mut json = Zeroizing::new(Vec::with_capacity(parts.map(str::len).iter().sum()));
    for part in parts {
        json.extend_from_slice(part.as_bytes());
    }
    Answer::json(StatusCode::OK, Bytes::from_owner(json))
}

/// A token that is nobody's, for whatever reason, can do nothing any more: the caller is told that it was not this call.
pub async fn logout(door: &Door) -> Result<Done, Refusal> {
    let ended = door.accounts.logout(door.token()?).await;
    let user = ended.map_err(|error| match error {
        AccountError::Token(TokenTrouble::Invalid | TokenTrouble::Expired | TokenTrouble::Gone) => {
            Refusal::LogoutFailed
        }
        other => other.into(),
    })?;
    let message = Message {
        message: "Successfully logged out",
    };
    Ok(Done {
        answer: Answer::json_of(StatusCode::OK, &message),
        happened: Happened::LoggedOut(user),
    })
}

pub async fn profile(door: &Door) -> Result<Done, Refusal> {
    let user = door.accounts.who(door.token()?).await?.user;
    let profile = Profile {
        id: user.id.0,
        login: &user.login,
        created_at: user.created_at.to_string(),
        last_login: user.last_login.map(|time| time.to_string()),
    };
    Ok(Done::quietly(Answer::json_of(StatusCode::OK, &profile)))
}

pub async fn change_password(door: &Door) -> Result<Done, Refusal> {
    let person = door.accounts.who(door.token()?).await?;
    let mut body = Body::read(door.asked.body())?;
    let current = presented_password(&mut body, "password");
    let new = body.text("new_password");
    let login = LoginName::presented(&person.user.login);
    let new = new.and_then(|new| new_password(&mut body, door, "new_password", &login, &new));
    let (current, new) = body.finish(current.zip(new))?;
    let user = person.user.id;
    door.accounts
        .change_password(person, current, new, door.visitor())
        .await?;
    let message = Message {
        message: "Password changed successfully",
    };
    Ok(Done {
        answer: Answer::json_of(StatusCode::OK, &message),
        happened: Happened::PasswordChanged(user),
    })
}

/// Whatever a password can be: what it must be is asked when it is set.
fn presented_password(body: &mut Body<'_>, member: &'static str) -> Option<Password> {
    let text = body.text(member)?;
    let parsed = Password::presented(text.expose());
    parsed.map_err(|bad| body.wrong(fault(member, bad))).ok()
}

/// A password that somebody wants to have from now on.
fn new_password(
    body: &mut Body<'_>,
    door: &Door,
    member: &'static str,
    login: &LoginName,
    text: &Secret,
) -> Option<NewPassword> {
    let parsed = NewPassword::parse(door.accounts.password_policy(), login, text.expose());
    parsed
        .map_err(|all| all.into_iter().for_each(|bad| body.wrong(fault(member, bad))))
        .ok()
}

fn fault(member: &'static str, bad: BadPassword) -> Fault {
    Fault::of(member, bad.kind(), bad.message(), bad.to_string())
}
