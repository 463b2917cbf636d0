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
use crate::core::{
    change::{Change, NewKey},
    id,
    terms::{
        Burst, EXPIRES_IN_DAYS, Environment, MAX_OWNED_NAME_CHARS, Networks, OWNED_RATE_LIMIT, RateLimit, Scopes,
        Windows,
    },
    time::Timestamp,
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
    if !principal.may_make(wanted.user_id.as_deref(), &wanted.scopes, wanted.environment) {
        return Err(Problem::BroaderThanMaker);
    }
    let now = management.now();
    let mut random = management.random();
    let id = id::new_key_id(now, &mut random.fill());
    let made = id::new_environment_secret(wanted.environment, &management.prefixes, &mut random.fill());
    random.check()?;
    let key = NewKey {
        key_prefix: Some(made.key_prefix),
        ..wanted.into_key(id.clone(), &made.secret, principal.owner(), now)
    };
    let change = Change::Create(Box::new(key));
    let record = management
        .catalogue
        .change(change, None)
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

    /// `owner` is the maker's own; only an operator names another.
    fn into_key(self, id: String, secret: &crate::core::secret::Secret, owner: Option<&str>, now: Timestamp) -> NewKey {
        let user_id = self.user_id.or_else(|| owner.map(str::to_owned));
        let plain = NewKey::new(id, secret.digest(), self.name, now);
        NewKey {
            environment: Some(self.environment),
            expires_at: self.expires_in_days.map(|days| in_days(now, days).to_string()),
            rate_limit_per_hour: self.rate_limit_per_hour.or(user_id.as_ref().map(|_| OWNED_RATE_LIMIT)),
            burst: self.burst,
            limits: self.limits,
            allowed_ips: self.allowed_ips,
            scopes: self.scopes,
            metadata: self.metadata.unwrap_or_else(|| plain.metadata.clone()),
            user_id,
            ..plain
        }
    }
}
