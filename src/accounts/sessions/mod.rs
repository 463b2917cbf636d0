//! Where users are logged in. A login is one session, found by digests of what its holder was given; kept in Redis or in the
//! database, and over at once everywhere when it is gone from there.
//!
//! A session knows the access token that was issued last and the one before, so a refresh does not break what is under way:
//! the older one is good until it expires or the session is refreshed once more. Of refresh tokens it knows the last hundred.
//! Only the newest is good, the one before for ten more seconds, so that a refresh whose answer was lost can be tried again;
//! any other in use is a stolen one, and ends the session.

mod redis;
mod sql;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use tokio::time::sleep;

pub use self::{redis::RedisSessions, sql::SqlSessions};
use super::{
    Unavailable,
    users::{User, UserId},
};
use crate::{
    clock::Clock,
    core::{
        secret::{Digest, Secret},
        time::Timestamp,
    },
    database::pool::Pool,
    redis_link::Link,
};

/// How long the refresh token before the newest may be used again.
pub const GRACE: Duration = Duration::from_secs(10);

/// How many refresh tokens of a session are remembered, the spent ones with the newest.
pub const REMEMBERED: u32 = 100;

/// A user who logs in once more than this often loses the session that would have expired first.
pub const MOST_SESSIONS: u32 = 1000;

const LONGEST_USER_AGENT: usize = 256;

const PRUNE_EVERY: Duration = Duration::from_mins(10);

/// `ses_` and 32 hexadecimal digits. It opens nothing, so its holder may see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(String);

const ID_PREFIX: &str = "ses_";

impl SessionId {
    pub fn new(random: [u8; 16]) -> Self {
        Self(format!("{ID_PREFIX}{:032x}", u128::from_be_bytes(random)))
    }

    /// `None` for what no session is called.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(ID_PREFIX)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (digits.len() == 32 && digits.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody logged in from, as far as it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    address: IpAddr,
    user_agent: Option<String>,
}

impl Device {
    /// Keeps as much of the name as fits into a table.
    pub fn new(address: IpAddr, user_agent: Option<&str>) -> Self {
        let shown = |name: &str| {
            let visible = name.chars().filter(|c| !c.is_control());
            visible.take(LONGEST_USER_AGENT).collect::<String>()
        };
        Self {
            address,
            user_agent: user_agent.map(shown).filter(|name| !name.is_empty()),
        }
    }
}

/// A login, as it is to be kept.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub id: SessionId,
    pub user: UserId,
    /// The user's, as it was read together with the password hash.
    pub epoch: i64,
    /// Of the access token's `jti`.
    pub jti: Digest,
    pub refresh: Digest,
    pub device: Device,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What takes the place of a session's tokens. They are reckoned from the presented refresh token and from nothing else, so
/// whoever refreshes with the same one asks for the same.
#[derive(Clone, Copy, Debug)]
pub struct Successor {
    pub jti: Digest,
    pub refresh: Digest,
    /// By the plain wall clock: by the latest time seen, a clock that is set back would keep the grace open.
    pub made_at: Timestamp,
    /// When the session is to end from now on.
    pub expires_at: Timestamp,
}

/// A login that is in force, if it is its user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    epoch: i64,
    pub created_at: Timestamp,
    /// When it was refreshed last; else when it was created.
    pub rotated_at: Timestamp,
    pub expires_at: Timestamp,
    pub address: String,
    pub user_agent: Option<String>,
}

impl Session {
    /// To be asked at every use: a user who is gone or disabled, or has another password by now, has no such session, even
    /// when the store of sessions was out of reach at that moment.
    pub fn is_of(&self, user: &User) -> bool {
        self.user == user.id && self.epoch == user.epoch && user.disabled_at.is_none() && user.leaving_at.is_none()
    }
}

/// What came of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The successor is in force.
    Rotated(Session),
    /// It was in force already.
    Retried(Session),
    /// The token was spent, so somebody else has it as well. The session is over.
    Reused(Session),
    /// No session has such a token.
    Unknown,
}

/// Where sessions are kept. Both keep the same promises.
pub enum Sessions {
    Sql(SqlSessions),
    Redis(Box<RedisSessions>),
}

impl Sessions {
    pub const fn in_database(pool: Arc<Pool>) -> Self {
        Self::Sql(SqlSessions::new(pool))
    }

    /// Connects to nothing yet.
    pub fn in_redis(url: &Secret) -> Result<Self, Unavailable> {
        Ok(Self::over(Link::new(url)?))
    }

    pub fn over(link: Link) -> Self {
        Self::Redis(Box::new(RedisSessions::new(link)))
    }

    pub async fn create(&self, session: &NewSession) -> Result<(), Unavailable> {
        match self {
            Self::Sql(sessions) => sessions.create(session).await,
            Self::Redis(sessions) => sessions.create(session).await,
        }
    }

    /// The session of an access token.
    pub async fn by_jti(&self, jti: &Digest, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        match self {
            Self::Sql(sessions) => sessions.by_jti(jti, now).await,
            Self::Redis(sessions) => sessions.by_jti(jti, now).await,
        }
    }

    /// The session with this id.
    pub async fn by_id(&self, id: &SessionId, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        match self {
            Self::Sql(sessions) => sessions.by_id(id, now).await,
            Self::Redis(sessions) => sessions.by_id(id, now).await,
        }
    }

    /// The session whose newest refresh token this is. Changes nothing.
    pub async fn by_refresh(&self, refresh: &Digest, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        match self {
            Self::Sql(sessions) => sessions.by_refresh(refresh, now).await,
            Self::Redis(sessions) => sessions.by_refresh(refresh, now).await,
        }
    }

    pub async fn rotate(
        &self,
        presented: &Digest,
        successor: &Successor,
        now: Timestamp,
    ) -> Result<Rotation, Unavailable> {
        match self {
            Self::Sql(sessions) => sessions.rotate(presented, successor, now).await,
            Self::Redis(sessions) => sessions.rotate(presented, successor, now).await,
        }
    }

    /// False when this user has no such session.
    pub async fn end(&self, user: UserId, id: &SessionId) -> Result<bool, Unavailable> {
        match self {
            Self::Sql(sessions) => sessions.end(user, id).await,
            Self::Redis(sessions) => sessions.end(user, id).await,
        }
    }

    /// Ends all sessions of a user and tells how many, but the one that is carried into the user's new epoch.
    pub async fn end_all(&self, user: UserId, except: Option<(&SessionId, i64)>) -> Result<u64, Unavailable> {
        match self {
            Self::Sql(sessions) => sessions.end_all(user, except).await,
            Self::Redis(sessions) => sessions.end_all(user, except).await,
        }
    }

    /// A user's sessions, newest first.
    pub async fn list(&self, user: &User, now: Timestamp) -> Result<Vec<Session>, Unavailable> {
        let mut sessions = match self {
            Self::Sql(sessions) => sessions.list(user.id, now).await,
            Self::Redis(sessions) => sessions.list(user.id, now).await,
        }?;
        sessions.retain(|session| session.is_of(user));
        sessions.sort_by(|a, b| (b.created_at, a.id.as_str()).cmp(&(a.created_at, b.id.as_str())));
        Ok(sessions)
    }

    /// Removes what has expired, again and again, where the store does not do so by itself.
    pub async fn keep_pruned(&self, clock: &Clock) {
        let Self::Sql(sessions) = self else {
            return;
        };
        loop {
            // What cannot be removed now is removed later, and is no session meanwhile.
            let has_more = sessions.prune(clock.now()).await.is_ok_and(|removed| removed > 0);
            if !has_more {
                sleep(PRUNE_EVERY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_id_is_read_back_and_nothing_else_is() {
        let id = SessionId::new([7; 16]);
        assert_eq!(SessionId::parse(id.as_str()), Some(id.clone()));
        let upper_case = id.as_str().replace("ses_", "SES_");
        for wrong in [
            "",
            "ses_",
            "ses_07",
            "ses_07\0",
            &upper_case,
            &format!("{id}0"),
            "../../etc/passwd",
        ] {
            assert_eq!(SessionId::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_name_of_a_device_is_cut_to_what_a_table_can_hold() {
        let name = |text: &str| Device::new(IpAddr::from([127, 0, 0, 1]), Some(text)).user_agent;
        assert_eq!(name("curl/8.0").as_deref(), Some("curl/8.0"));
        assert_eq!(name("a\0b\r\nc").as_deref(), Some("abc"));
        assert_eq!(name(&"é".repeat(1000)).map(|name| name.chars().count()), Some(256));
        assert_eq!(name(""), None);
    }
}
