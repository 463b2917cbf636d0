//! What people do with the tokens that they hold: show who they are, go on with a session, end one.

use sha2::Digest as _;

use super::{
    AccountError, Fill, LoggedIn, Person, RefreshTrouble, Shared, TokenTrouble, User, UserId,
    budget::Budget,
    sessions::{Rotation, Session, SessionId, Successor},
    token::{self, Subject, TokenError},
};
use crate::{
    clock::Clock,
    core::{
        id,
        secret::{Digest, Secret},
        time::Timestamp,
    },
};

/// Random bytes for one session. One made while the system had none must not be opened.
pub struct Random {
    fill: Fill,
    failed: bool,
}

impl Random {
    pub fn fill(&mut self) -> impl FnMut(&mut [u8]) {
        |bytes| self.failed |= !(self.fill)(bytes)
    }

    pub const fn check(&self) -> Result<(), AccountError> {
        if self.failed {
            Err(AccountError::NoRandomness)
        } else {
            Ok(())
        }
    }
}

impl Shared {
    pub const fn random(&self) -> Random {
        Random {
            fill: self.fill,
            failed: false,
        }
    }

    pub const fn session_end(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis() + self.refresh_ttl_ms)
    }

    pub async fn who(&self, token: &Secret) -> Result<Person, AccountError> {
        let mut budget = Budget::whole();
        let now = self.clock.now();
        let claims = self.tokens.verify(token.expose(), now).map_err(AccountError::from)?;
        let gone = AccountError::Token(TokenTrouble::Gone);
        let jti = Digest::of(&claims.token_id);
        let session = budget.ask(self.sessions.by_jti(&jti, now)).await?.ok_or(gone)?;
        let user = budget.ask(self.users.by_id(session.user)).await?.ok_or(gone)?;
        let agrees = user.id.0 == claims.user_id && session.id.as_str() == claims.session_id;
        if !agrees || !session.is_of(&user) {
            return Err(gone);
        }
        Ok(Person {
            user,
            session: session.id,
            claims,
        })
    }

    pub async fn leaver(&self, token: &Secret) -> Result<User, AccountError> {
        let gone = AccountError::Token(TokenTrouble::Gone);
        match self.who(token).await {
            Ok(person) => Ok(person.user),
            Err(error) if error == gone => {
                let claims = self.tokens.verify(token.expose(), self.clock.now())?;
                let user = Budget::whole().ask(self.users.by_id(UserId(claims.user_id))).await?;
                user.filter(|user| user.leaving_at.is_some()).ok_or(gone)
            }
            Err(error) => Err(error),
        }
    }

    pub async fn user_of(&self, user: UserId, session: &SessionId) -> Result<User, AccountError> {
        let mut budget = Budget::whole();
        let gone = AccountError::Token(TokenTrouble::Gone);
        let session = budget.ask(self.sessions.by_id(session, self.clock.now())).await?;
        let session = session.ok_or(gone)?;
        let user = budget.ask(self.users.by_id(user)).await?;
        user.filter(|user| session.is_of(user)).ok_or(gone)
    }

    pub async fn is_there(&self, user: UserId) -> Result<bool, AccountError> {
        let user = Budget::whole().ask(self.users.by_id(user)).await?;
        Ok(user.is_some_and(|user| user.leaving_at.is_none()))
    }

    /// The successors of a refresh token are derived from it, so whoever tries again is given the same, and nothing has to
    /// be stored from which it could be told.
    pub async fn refresh(&self, presented: &Secret) -> Result<LoggedIn, AccountError> {
        let unknown = AccountError::BadRefreshToken(RefreshTrouble::Unknown);
        if !id::is_refresh_token(presented.expose()) {
            return Err(unknown);
        }
        let mut budget = Budget::whole();
        let now = self.clock.now();
        // Before anything is spent: a token must not be lost because its user cannot be read.
        let holder = self.holder(&mut budget, presented, now).await?;
        // More than one only while an older signing key is still known: a retry may be of what that one derived.
        for refresh_token in self.tokens.successors(presented) {
            let rotation = self.rotate(&mut budget, presented, &refresh_token, now).await?;
            match rotation {
                Rotation::Rotated(session) | Rotation::Retried(session) => {
                    return self.go_on(&mut budget, &session, holder, refresh_token, now).await;
                }
                Rotation::Reused(session) => {
                    return Err(AccountError::BadRefreshToken(RefreshTrouble::Reused(session.user)));
                }
                Rotation::Unknown => {}
            }
        }
        Err(unknown)
    }

    /// The user whose newest refresh token this is. A retry has an older one, and its holder is read behind the rotation.
    async fn holder(
        &self,
        budget: &mut Budget,
        presented: &Secret,
        now: Timestamp,
    ) -> Result<Option<User>, AccountError> {
        let found = budget.ask(self.sessions.by_refresh(&presented.digest(), now)).await?;
        match found {
            Some(session) => budget.ask(self.users.by_id(session.user)).await,
            None => Ok(None),
        }
    }

    async fn rotate(
        &self,
        budget: &mut Budget,
        presented: &Secret,
        refresh_token: &Secret,
        now: Timestamp,
    ) -> Result<Rotation, AccountError> {
        let successor = Successor {
            jti: Digest::of(&token::new_id(&mut token_id_beside(refresh_token))),
            refresh: refresh_token.digest(),
            made_at: Clock::wall(),
            expires_at: self.session_end(now),
        };
        budget
            .ask(self.sessions.rotate(&presented.digest(), &successor, now))
            .await
    }

    async fn go_on(
        &self,
        budget: &mut Budget,
        session: &Session,
        holder: Option<User>,
        refresh_token: Secret,
        now: Timestamp,
    ) -> Result<LoggedIn, AccountError> {
        let mut user = holder.filter(|user| session.is_of(user));
        if user.is_none() {
            // The session may have been carried into a new epoch since the holder was read.
            user = budget.ask(self.users.by_id(session.user)).await?;
        }
        let user = user.filter(|user| session.is_of(user));
        let user = user.ok_or(AccountError::BadRefreshToken(RefreshTrouble::Unknown))?;
        let subject = Subject {
            login: &user.login,
            user_id: user.id.0,
            session_id: session.id.as_str(),
        };
        let issued = self.tokens.issue(subject, now, &mut token_id_beside(&refresh_token));
        Ok(LoggedIn {
            user_id: user.id,
            session: session.id.clone(),
            session_ends: session.expires_at,
            access_token: issued.token,
            expires_in: self.tokens.ttl_seconds(),
            refresh_token,
        })
    }

    /// A token whose user may not use it any more has no session either, so there is nothing to end.
    pub async fn logout(&self, token: &Secret) -> Result<UserId, AccountError> {
        let person = self.who(token).await?;
        let ended = Budget::whole()
            .ask(self.sessions.end(person.user.id, &person.session))
            .await?;
        if ended {
            Ok(person.user.id)
        } else {
            Err(AccountError::Token(TokenTrouble::Gone))
        }
    }

    pub async fn sessions_of(&self, person: &Person) -> Result<Vec<Session>, AccountError> {
        let now = self.clock.now();
        Budget::whole().ask(self.sessions.list(&person.user, now)).await
    }

    pub async fn end_session(&self, user: UserId, id: &str) -> Result<(), AccountError> {
        let id = SessionId::parse(id).ok_or(AccountError::UnknownSession)?;
        let ended = Budget::whole().ask(self.sessions.end(user, &id)).await?;
        if ended {
            Ok(())
        } else {
            Err(AccountError::UnknownSession)
        }
    }
}

/// The bytes of the id of the access token that goes with a refresh token. The id can be read in the access token, and
/// tells nothing about the refresh token.
fn token_id_beside(refresh_token: &Secret) -> impl FnMut(&mut [u8]) {
    let hash = sha2::Sha256::new()
        .chain_update(b"heare-auth id of the access token beside a refresh token")
        .chain_update(refresh_token.expose().as_bytes())
        .finalize();
    move |bytes| {
        for (byte, hashed) in bytes.iter_mut().zip(&hash) {
            *byte = *hashed;
        }
    }
}

impl From<TokenError> for AccountError {
    fn from(error: TokenError) -> Self {
        Self::Token(match error {
            TokenError::Invalid => TokenTrouble::Invalid,
            TokenError::Expired => TokenTrouble::Expired,
        })
    }
}
