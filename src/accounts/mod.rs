//! People's accounts: who they are, how they prove it, and where they are logged in.
//!
//! Nothing here is on the path of a verify. All of it happens on one thread of its own, and passwords are hashed on a few
//! more. Whatever the stores do, no call waits for them for longer than two seconds in all.

mod budget;
pub mod common;
mod credentials;
mod error;
pub mod guard;
pub mod hasher;
mod held;
pub mod import;
pub mod introspection;
pub mod key_file;
pub mod keys;
pub mod login_name;
pub mod password;
pub mod sessions;
pub mod signing;
mod start;
pub mod token;
pub mod users;

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::mpsc, time::timeout};
use zeroize::Zeroizing;

pub use self::{
    error::{AccountError, RefreshTrouble, TokenTrouble, Unavailable},
    start::{Ground, Off, StartError},
    token::Claims,
    users::{User, UserId},
};
use self::{
    guard::Guard,
    hasher::Hasher,
    introspection::Asker,
    login_name::LoginName,
    password::{NewPassword, Password},
    sessions::{Session, SessionId, Sessions},
    token::Tokens,
    users::Users,
};
use crate::{
    clock::Clock,
    config::PasswordPolicy,
    core::{secret::Secret, time::Timestamp},
    seal::OnlyOnce,
};

/// How long anybody waits for a password to be hashed, where verifies leave little of the cores. What was begun goes on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fills a buffer with random bytes, and says whether the system had any.
pub type Fill = fn(&mut [u8]) -> bool;

/// The handle that requests are given. Cloning is cheap.
#[derive(Clone)]
pub struct Accounts {
    shared: Arc<Shared>,
    runtime: Handle,
    /// The thread ends when the last of them has gone.
    _alive: mpsc::Sender<()>,
}

struct Shared {
    users: Users,
    sessions: Sessions,
    guard: Guard,
    hasher: Arc<Hasher>,
    tokens: Tokens,
    policy: PasswordPolicy,
    refresh_ttl_ms: i64,
    clock: Arc<Clock>,
    fill: Fill,
}

/// From where somebody calls.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub address: IpAddr,
    pub user_agent: Option<String>,
}

/// What somebody is given who has logged in, or whose session goes on.
pub struct LoggedIn {
    pub user_id: UserId,
    pub session: SessionId,
    /// When the session ends unless it goes on.
    pub session_ends: Timestamp,
    pub access_token: Secret,
    /// Of the access token, in seconds.
    pub expires_in: i64,
    pub refresh_token: Secret,
}

/// Whose token it is, as of this moment.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: User,
    pub session: SessionId,
    pub claims: Claims,
}

impl Accounts {
    pub fn password_policy(&self) -> PasswordPolicy {
        self.shared.policy
    }

    /// The keys by which others can check tokens (RFC 7517), as JSON.
    pub fn public_keys(&self) -> String {
        self.shared.tokens.keys.current().public_keys()
    }

    /// What is told about a person's token to one who may know.
    pub fn introspected(&self, asker: &Asker, person: &Person) -> String {
        introspection::of_token(asker, &person.claims, &self.shared.tokens)
    }

    pub async fn register(&self, login: LoginName, password: NewPassword) -> Result<UserId, AccountError> {
        self.carry_out(|shared| async move { shared.register(&login, password).await })
            .await
    }

    pub async fn login(
        &self,
        login: LoginName,
        password: Password,
        visitor: Visitor,
    ) -> Result<LoggedIn, AccountError> {
        self.carry_out(|shared| async move { shared.login(&login, password, &visitor).await })
            .await
    }

    /// The person whose access token this is. To be asked at every use: it is over at once, everywhere, when its session
    /// ends, and when the user gets another password, is disabled or is gone.
    pub async fn who(&self, token: Secret) -> Result<Person, AccountError> {
        self.carry_out(|shared| async move { shared.who(&token).await }).await
    }

    /// Whose token came with a call to delete an account: as `who`, or a user who is leaving already. Their sessions ended
    /// when the deletion was begun, and by their tokens they can still finish it.
    pub async fn leaver(&self, token: Secret) -> Result<User, AccountError> {
        self.carry_out(|shared| async move { shared.leaver(&token).await })
            .await
    }

    /// The user who is logged in by this session. To be asked at every use, as `who` is.
    pub async fn user_of(&self, user: UserId, session: SessionId) -> Result<User, AccountError> {
        self.carry_out(|shared| async move { shared.user_of(user, &session).await })
            .await
    }

    /// Ends a session whose holder was found by `user_of`.
    pub async fn end(&self, user: UserId, session: SessionId) -> Result<(), AccountError> {
        self.carry_out(|shared| async move { shared.end_session(user, session.as_str()).await })
            .await
    }

    /// Seals a text so that every instance with the same keys can open it.
    pub fn seal(&self, once: OnlyOnce, text: &[u8]) -> String {
        self.shared.tokens.keys.current().seal(once, text)
    }

    pub fn unseal(&self, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.shared.tokens.keys.current().unseal(sealed)
    }

    /// Whether the account is there to stay, be it disabled or not.
    pub async fn is_there(&self, user: UserId) -> Result<bool, AccountError> {
        self.carry_out(|shared| async move { shared.is_there(user).await })
            .await
    }

    pub async fn refresh(&self, presented: Secret) -> Result<LoggedIn, AccountError> {
        self.carry_out(|shared| async move { shared.refresh(&presented).await })
            .await
    }

    /// Ends the session of this token.
    pub async fn logout(&self, token: Secret) -> Result<UserId, AccountError> {
        self.carry_out(|shared| async move { shared.logout(&token).await })
            .await
    }

    /// Ends all sessions of the person but the one that asks.
    pub async fn change_password(
        &self,
        person: Person,
        current: Password,
        new: NewPassword,
        visitor: Visitor,
    ) -> Result<(), AccountError> {
        self.carry_out(|shared| async move { shared.change_password(&person, current, new, &visitor).await })
            .await
    }

    /// From here on nobody can use the account, and all that can be done with it is to delete it. `asking` is the leaver
    /// whose token came with the call, if one did.
    pub async fn begin_deletion(
        &self,
        login: LoginName,
        password: Password,
        asking: Option<User>,
        visitor: Visitor,
    ) -> Result<UserId, AccountError> {
        self.carry_out(|shared| async move { shared.begin_deletion(&login, password, asking.as_ref(), &visitor).await })
            .await
    }

    /// Removes an account that nobody can use any more.
    pub async fn finish_deletion(&self, user: UserId) -> Result<(), AccountError> {
        self.carry_out(|shared| async move { shared.finish_deletion(user).await })
            .await
    }

    /// Where somebody is logged in, newest first.
    pub async fn sessions(&self, person: Person) -> Result<Vec<Session>, AccountError> {
        self.carry_out(|shared| async move { shared.sessions_of(&person).await })
            .await
    }

    /// Ends one of somebody's own sessions.
    pub async fn end_session(&self, person: Person, id: String) -> Result<(), AccountError> {
        self.carry_out(|shared| async move { shared.end_session(person.user.id, &id).await })
            .await
    }

    /// Carries something out to its end on the thread of accounts, whether or not the one who asked still waits.
    async fn carry_out<T, W>(&self, work: impl FnOnce(Arc<Shared>) -> W) -> Result<T, AccountError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, AccountError>> + Send + 'static,
    {
        let working = self.runtime.spawn(work(Arc::clone(&self.shared)));
        match timeout(PATIENCE, working).await {
            Ok(Ok(done)) => done,
            // A defect lets nobody in either.
            Ok(Err(_)) => Err(AccountError::Stopping),
            Err(_) => Err(AccountError::Busy),
        }
    }
}
