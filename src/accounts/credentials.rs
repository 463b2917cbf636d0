//! What people do with a login and a password: register, log in, take another password, leave.

use std::net::IpAddr;

use super::{
    AccountError, LoggedIn, Person, Shared, TokenTrouble, User, UserId, Visitor,
    budget::Budget,
    hasher::Outcome,
    login_name::LoginName,
    password::{NewPassword, Password},
    sessions::{Device, NewSession, SessionId},
    token::Subject,
    users::NewUser,
};
use crate::core::{id, time::Timestamp};

/// A password that was right, and whose it is.
struct Proven {
    user: User,
    /// Its hash is weaker than those that are made today.
    is_old: bool,
}

impl Shared {
    /// Whether a login is taken is no secret, so nobody has to wait for a hash to be told.
    pub async fn register(&self, login: &LoginName, password: NewPassword) -> Result<UserId, AccountError> {
        let mut budget = Budget::whole();
        self.is_free(&mut budget, login).await?;
        let hash = self.hasher.hash(&password).await?;
        // Of many who want it at once most are told here, and do not have to wait for one another's writes.
        self.is_free(&mut budget, login).await?;
        let user = NewUser {
            login: login.as_given(),
            login_key: login.key(),
            password_hash: hash.as_str(),
            created_at: self.clock.now(),
        };
        let registered = budget.ask(self.users.register(user)).await?;
        registered.ok_or(AccountError::LoginTaken)
    }

    async fn is_free(&self, budget: &mut Budget, login: &LoginName) -> Result<(), AccountError> {
        match budget.ask(self.users.by_login(login.key())).await? {
            None => Ok(()),
            Some(_) => Err(AccountError::LoginTaken),
        }
    }

    pub async fn login(
        &self,
        login: &LoginName,
        password: Password,
        visitor: &Visitor,
    ) -> Result<LoggedIn, AccountError> {
        let mut budget = Budget::whole();
        let proven = self
            .prove(&mut budget, login, &password, visitor.address, may_log_in)
            .await?;
        let now = self.clock.now();
        let logged_in = self.open_session(&mut budget, &proven.user, visitor, now).await?;
        budget.ask(self.users.note_login(proven.user.id, now)).await?;
        if proven.is_old {
            self.renew_hash(&mut budget, &proven.user, password).await;
        }
        Ok(logged_in)
    }

    /// The one way to find out whether a password is right. Whoever it is for, the guard decides whether it is looked at;
    /// for a login that nobody has, and for an account that may not be used for this, all is as with a wrong password.
    async fn prove(
        &self,
        budget: &mut Budget,
        login: &LoginName,
        password: &Password,
        address: IpAddr,
        may: fn(&User) -> bool,
    ) -> Result<Proven, AccountError> {
        let user = budget.ask(self.users.by_login(login.key())).await?;
        let user = user.filter(may);
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        let outcome = self.guard.check(login, address, stored, password).await?;
        let user = user.filter(|_| outcome.is_right());
        let user = user.ok_or(AccountError::WrongPassword)?;
        Ok(Proven {
            user,
            is_old: outcome == Outcome::RightButOld,
        })
    }

    /// Who has just changed the password or is disabled meanwhile gets a session that is over already: it is bound to what
    /// was read together with the hash.
    async fn open_session(
        &self,
        budget: &mut Budget,
        user: &User,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<LoggedIn, AccountError> {
        let mut random = self.random();
        let mut session_id = [0; 16];
        random.fill()(&mut session_id);
        let id = SessionId::new(session_id);
        let refresh_token = id::new_refresh_token(&mut random.fill());
        let subject = Subject {
            login: &user.login,
            user_id: user.id.0,
            session_id: id.as_str(),
        };
        let issued = self.tokens.issue(subject, now, &mut random.fill());
        random.check()?;
        let session = NewSession {
            id,
            user: user.id,
            epoch: user.epoch,
            jti: crate::core::secret::Digest::of(&issued.claims.token_id),
            refresh: refresh_token.digest(),
            device: Device::new(visitor.address, visitor.user_agent.as_deref()),
            created_at: now,
            expires_at: self.session_end(now),
        };
        budget.ask(self.sessions.create(&session)).await?;
        Ok(LoggedIn {
            user_id: user.id,
            session_ends: session.expires_at,
            session: session.id,
            access_token: issued.token,
            expires_in: self.tokens.ttl_seconds(),
            refresh_token,
        })
    }

    /// Nobody is refused because this fails: the next login does it.
    async fn renew_hash(&self, budget: &mut Budget, user: &User, password: Password) {
        let Ok(hash) = self.hasher.hash(&NewPassword::unchanged(password)).await else {
            return;
        };
        let renewing = self.users.rehash(user.id, &user.password_hash, hash.as_str());
        if budget.ask(renewing).await.is_ok_and(|renewed| renewed) {
            tracing::info!(
                event = "password_rehashed",
                user_id = user.id.0,
                "an older hash of a password was replaced at a login"
            );
        }
    }

    pub async fn change_password(
        &self,
        person: &Person,
        current: Password,
        new: NewPassword,
        visitor: &Visitor,
    ) -> Result<(), AccountError> {
        let mut budget = Budget::whole();
        let login = LoginName::presented(&person.user.login);
        let proven = self
            .prove(&mut budget, &login, &current, visitor.address, may_log_in)
            .await?;
        let hash = self.hasher.hash(&new).await?;
        // With this all sessions are over, and only the one that asks is carried on.
        let user = proven.user;
        let changing = self.users.set_password(user.id, user.epoch, hash.as_str());
        let epoch = budget.ask(changing).await?.ok_or(AccountError::WrongPassword)?;
        let kept = Some((&person.session, epoch));
        budget.ask(self.sessions.end_all(user.id, kept)).await?;
        Ok(())
    }

    /// A deletion that was begun and not finished can be begun again.
    pub async fn begin_deletion(
        &self,
        login: &LoginName,
        password: Password,
        asking: Option<&User>,
        visitor: &Visitor,
    ) -> Result<UserId, AccountError> {
        let gone = AccountError::Token(TokenTrouble::Gone);
        let is_own = |asking: &User| LoginName::presented(&asking.login).key() == login.key();
        if let Some(asking) = asking.filter(|asking| !is_own(asking)) {
            // The token of somebody who is leaving is good for nothing else.
            return Err(match asking.leaving_at {
                Some(_) => gone,
                None => AccountError::OtherUser,
            });
        }
        let mut budget = Budget::whole();
        let proven = self
            .prove(&mut budget, login, &password, visitor.address, may_leave)
            .await?;
        let user = proven.user;
        // The login may be another user's by now.
        if asking.is_some_and(|asking| asking.id != user.id) {
            return Err(gone);
        }
        let leaving = self.users.begin_own_deletion(user.id, user.epoch, self.clock.now());
        if budget.ask(leaving).await? {
            Ok(user.id)
        } else {
            Err(AccountError::WrongPassword)
        }
    }

    /// That somebody else has finished it is as good.
    pub async fn finish_deletion(&self, user: UserId) -> Result<(), AccountError> {
        let mut budget = Budget::whole();
        budget.ask(self.sessions.end_all(user, None)).await?;
        budget.ask(self.users.delete(user)).await?;
        Ok(())
    }
}

const fn may_log_in(user: &User) -> bool {
    user.disabled_at.is_none() && user.leaving_at.is_none()
}

const fn may_leave(user: &User) -> bool {
    user.disabled_at.is_none()
}
