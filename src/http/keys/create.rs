//! `POST /keys`: a new key, whose secret is in this one answer and nowhere else.

use hyper::{
    StatusCode,
    header::{ETAG, HeaderValue, LOCATION},
};
use serde_json::value::RawValue;

use super::{
    Asked, Done, Management,
    answer::Answer,
    members::{Members, set, wrong},
    precondition::etag,
    principal::Principal,
    problem::Problem,
    route::ROOT,
    with_secret,
};
use crate::{
    catalogue::Standing,
    core::{
        change::{Change, NewKey},
        id,
        secret::Secret,
        terms::{Burst, EXPIRES_IN_DAYS, Environment, MAX_OWNED_NAME_CHARS, Networks, RateLimit, Scopes, Windows},
        time::Timestamp,
    },
};

const MEMBERS: [&str; 10] = [
    "name",
    "environment",
    "expires_in_days",
    "rate_limit_per_hour",
    "burst",
    "limits",
    "allowed_ips",
    "scopes",
    "metadata",
    "user_id",
];

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What the caller wants the key to be.
struct Wanted {
    name: String,
    environment: Environment,
    user_id: Option<String>,
    expires_in_days: Option<u32>,
    rate_limit_per_hour: Option<RateLimit>,
    burst: Option<Burst>,
    limits: Windows,
    allowed_ips: Networks,
    scopes: Scopes,
    metadata: Option<Box<RawValue>>,
}

pub async fn create(management: &Management, principal: &Principal, asked: &Asked) -> Result<Done, Problem> {
    let wanted = Wanted::read(asked)?;
    if !principal.may_make_for(wanted.user_id.as_deref()) {
        return Err(Problem::BroaderThanMaker);
    }
    let now = management.now();
    let mut random = management.random();
    let id = id::new_key_id(now, &mut random.fill());
    let made = id::new_environment_secret(wanted.environment, &management.prefixes, &mut random.fill());
    random.check()?;
    let key = NewKey {
        key_prefix: Some(made.key_prefix),
        ..wanted.into_key(id.clone(), &made.secret, principal, now)
    };
    if !Standing::read(&key.to_record()).is_some_and(|key| principal.covers(&key)) {
        return Err(Problem::BroaderThanMaker);
    }
    let change = Change::Create(Box::new(key));
    let record = management
        .catalogue
        .change(change, principal.conditions(None))
        .await?
        .record
        .ok_or(Problem::OutcomeUnknown)?;
    let location = HeaderValue::from_str(&format!("{ROOT}keys/{id}")).expect("an id of ours is ASCII");
    let answer = Answer::json(StatusCode::CREATED, with_secret(&record, &made.secret, now))
        .with(LOCATION, location)
        .with(ETAG, etag(record.tag));
    Ok(Done::about(id, answer))
}

/// The moment so many days from now.
pub fn in_days(now: Timestamp, days: u32) -> Timestamp {
    Timestamp::from_millis(now.as_millis() + i64::from(days) * DAY_MS)
}

impl Wanted {
    fn read(asked: &Asked) -> Result<Self, Problem> {
        let members = Members::read(&asked.headers, asked.body(), &MEMBERS, true)?;
        let name = members.name(MAX_OWNED_NAME_CHARS)?;
        Ok(Self {
            name: name.ok_or_else(|| wrong("name", "is missing"))?,
            environment: members.environment()?.unwrap_or_default(),
            user_id: members.user_id()?,
            expires_in_days: set(members.number(
                "expires_in_days",
                *EXPIRES_IN_DAYS.start(),
                *EXPIRES_IN_DAYS.end(),
            )?),
            rate_limit_per_hour: set(members.rate_limit_per_hour()?),
            burst: set(members.burst()?),
            limits: set(members.limits()?).unwrap_or_default(),
            allowed_ips: set(members.allowed_ips()?).unwrap_or_default(),
            scopes: set(members.scopes()?).unwrap_or_default(),
            metadata: set(members.metadata()?),
        })
    }

    /// Only an operator names another owner. What was not chosen is as far as the maker's own reaches.
    fn into_key(self, id: String, secret: &Secret, maker: &Principal, now: Timestamp) -> NewKey {
        let user_id = self.user_id.or_else(|| maker.owner().map(str::to_owned));
        let bounds = maker.bounds();
        let burst = self.burst.map_or(0, Burst::get);
        let expires_at = self
            .expires_in_days
            .map(|days| in_days(now, days))
            .or(bounds.expires_at());
        let plain = NewKey::new(id, secret.digest(), self.name, now);
        NewKey {
            environment: Some(self.environment),
            expires_at: expires_at.map(|time| time.to_string()),
            rate_limit_per_hour: self
                .rate_limit_per_hour
                .or_else(|| user_id.as_ref().map(|_| bounds.owned_rate(burst))),
            burst: self.burst,
            limits: chosen_or(self.limits, Windows::is_empty, || bounds.windows()),
            allowed_ips: chosen_or(self.allowed_ips, Networks::is_empty, || bounds.networks()),
            scopes: self.scopes,
            metadata: self.metadata.unwrap_or_else(|| plain.metadata.clone()),
            user_id,
            ..plain
        }
    }
}

fn chosen_or<T>(chosen: T, is_empty: fn(&T) -> bool, otherwise: impl FnOnce() -> T) -> T {
    if is_empty(&chosen) { otherwise() } else { chosen }
}
