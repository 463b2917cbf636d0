//! Sessions in Redis, which forgets them by itself when they expire. Each step is one script, and so happens whole or not
//! at all.
//!
//! A session is a hash. Beside it lie its access and refresh tokens' digests, each with the session's id, and one sorted set
//! for each user. A Redis that was emptied has nobody logged in.

use redis::{Script, ScriptInvocation};

use super::{GRACE, MOST_SESSIONS, NewSession, REMEMBERED, Rotation, Session, SessionId, Successor};
use crate::{
    accounts::{Unavailable, users::UserId},
    core::{secret::Digest, time::Timestamp},
    redis_link::Link,
};

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(
            include_str!("lua/session.lua"),
            include_str!(concat!("lua/", $name, ".lua"))
        ))
    };
}

pub struct RedisSessions {
    link: Link,
    create: Script,
    find: Script,
    rotate: Script,
    end: Script,
    end_all: Script,
    list: Script,
}

/// A session as the scripts give it.
type Told = (String, i64, i64, i64, i64, i64, String, String);

impl RedisSessions {
    pub fn new(link: Link) -> Self {
        Self {
            link,
            create: script!("create"),
            find: script!("find"),
            rotate: script!("rotate"),
            end: script!("end"),
            end_all: script!("end_all"),
            list: script!("list"),
        }
    }

    pub(super) async fn create(&self, session: &NewSession) -> Result<(), Unavailable> {
        let mut call = self.create.prepare_invoke();
        call.arg(session.id.as_str())
            .arg(session.user.0)
            .arg(session.epoch)
            .arg(session.jti.to_string())
            .arg(session.refresh.to_string())
            .arg(session.device.address.to_string())
            .arg(session.device.user_agent.as_deref().unwrap_or_default())
            .arg(MOST_SESSIONS);
        times(&mut call, session.created_at, session.expires_at);
        Ok(self.link.run(&call).await?)
    }

    pub(super) async fn by_jti(&self, jti: &Digest, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        self.find("access", &jti.to_string(), now).await
    }

    pub(super) async fn by_id(&self, id: &SessionId, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        self.find("id", id.as_str(), now).await
    }

    pub(super) async fn by_refresh(&self, refresh: &Digest, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        self.find("refresh", &refresh.to_string(), now).await
    }

    pub(super) async fn rotate(
        &self,
        presented: &Digest,
        successor: &Successor,
        now: Timestamp,
    ) -> Result<Rotation, Unavailable> {
        let mut call = self.rotate.prepare_invoke();
        call.arg(presented.to_string())
            .arg(successor.jti.to_string())
            .arg(successor.refresh.to_string())
            .arg(successor.made_at.as_millis())
            .arg(u64::try_from(GRACE.as_millis()).expect("seconds are few milliseconds"))
            .arg(REMEMBERED);
        times(&mut call, now, successor.expires_at);
        let (outcome, told): (String, Option<Told>) = self.link.run(&call).await?;
        let found = told.and_then(session);
        Ok(match (outcome.as_str(), found) {
            ("rotated", Some(session)) => Rotation::Rotated(session),
            ("retried", Some(session)) => Rotation::Retried(session),
            ("reused", Some(session)) => Rotation::Reused(session),
            _ => Rotation::Unknown,
        })
    }

    pub(super) async fn end(&self, user: UserId, id: &SessionId) -> Result<bool, Unavailable> {
        let mut call = self.end.prepare_invoke();
        call.arg(user.0).arg(id.as_str());
        Ok(self.link.run(&call).await?)
    }

    pub(super) async fn end_all(&self, user: UserId, except: Option<(&SessionId, i64)>) -> Result<u64, Unavailable> {
        let (id, epoch) = except.map_or(("", 0), |(id, epoch)| (id.as_str(), epoch));
        let mut call = self.end_all.prepare_invoke();
        call.arg(user.0).arg(id).arg(epoch);
        Ok(self.link.run(&call).await?)
    }

    pub(super) async fn list(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, Unavailable> {
        let mut call = self.list.prepare_invoke();
        call.arg(user.0).arg(now.as_millis());
        let told: Vec<Told> = self.link.run(&call).await?;
        Ok(told.into_iter().filter_map(session).collect())
    }

    async fn find(&self, by: &str, name: &str, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        let mut call = self.find.prepare_invoke();
        call.arg(by).arg(name).arg(now.as_millis());
        let told: Option<Told> = self.link.run(&call).await?;
        Ok(told.and_then(session))
    }
}

/// The present, the end, and how long it is until then: Redis' own clock may be another one.
fn times(call: &mut ScriptInvocation<'_>, now: Timestamp, expires_at: Timestamp) {
    let left_ms = expires_at.as_millis().saturating_sub(now.as_millis()).max(1);
    call.arg(now.as_millis()).arg(expires_at.as_millis()).arg(left_ms);
}

/// What cannot be read is no session.
fn session(told: Told) -> Option<Session> {
    let (id, user, epoch, created_at, rotated_at, expires_at, address, user_agent) = told;
    Some(Session {
        id: SessionId::parse(&id)?,
        user: UserId(user),
        epoch,
        created_at: Timestamp::from_millis(created_at),
        rotated_at: Timestamp::from_millis(rotated_at),
        expires_at: Timestamp::from_millis(expires_at),
        address,
        user_agent: Some(user_agent).filter(|name| !name.is_empty()),
    })
}
