//! `GET /keys/{id}/usage`, `GET /usage/summary` and `GET /audit`: what keys are used for, and who changed them. And
//! what each change leaves behind for the last of these.

use std::{collections::HashMap, ops::RangeInclusive, time::Duration};

use hyper::StatusCode;
use tokio::time::timeout;

use super::{
    Asked, Done, Management,
    answer::Answer,
    change::seen,
    members::wrong,
    principal::Principal,
    problem::Problem,
    route::{self, Call},
};
use crate::{
    core::time::Timestamp,
    usage::{Action, AuditFilter, MAX_HOURS, UsageError, audit},
};

const HOURS: RangeInclusive<u32> = 1..=MAX_HOURS;
const DEFAULT_HOURS: u32 = 24;
const ENTRIES: RangeInclusive<u32> = 1..=200;
const DEFAULT_ENTRIES: u32 = 50;
/// How long an answer about something else waits to be told when its keys were last used.
const PATIENCE: Duration = Duration::from_secs(1);

pub async fn of_key(management: &Management, principal: &Principal, asked: &Asked, id: &str) -> Result<Done, Problem> {
    let hours = number(&asked.query, "hours", &HOURS)?.unwrap_or(DEFAULT_HOURS);
    seen(management, principal, id).await?;
    let usage = management.usage.of_key(id, hours).await?;
    Ok(Done::read(Answer::json_of(StatusCode::OK, &usage)))
}

pub async fn summary(management: &Management, principal: &Principal, asked: &Asked) -> Result<Done, Problem> {
    let hours = number(&asked.query, "hours", &HOURS)?.unwrap_or(DEFAULT_HOURS);
    for_operators(principal)?;
    let summary = management.usage.summary(hours).await?;
    Ok(Done::read(Answer::json_of(StatusCode::OK, &summary)))
}

pub async fn audit(management: &Management, principal: &Principal, asked: &Asked) -> Result<Done, Problem> {
    let limit = number(&asked.query, "limit", &ENTRIES)?.unwrap_or(DEFAULT_ENTRIES);
    let parameter = |name| last(&asked.query, name);
    let before = parameter("cursor");
    if before.as_deref().is_some_and(|before| !audit::is_entry_id(before)) {
        return Err(wrong("cursor", "must be the next of an earlier page"));
    }
    for_operators(principal)?;
    let filter = AuditFilter {
        key_id: parameter("key_id"),
        who: parameter("who"),
        what: parameter("what"),
    };
    let page = management.usage.audit_page(filter, before, limit).await?;
    Ok(Done::read(Answer::json_of(StatusCode::OK, &page)))
}

/// When these keys were last good for something. Nobody is kept waiting for it, and where it is unknown it is left out.
pub async fn last_used(management: &Management, ids: Vec<String>) -> HashMap<String, Timestamp> {
    match timeout(PATIENCE, management.usage.last_used(ids)).await {
        Ok(Ok(times)) => times,
        Ok(Err(_)) | Err(_) => HashMap::new(),
    }
}

/// What a call does to a key, if it does anything, and to which one as far as the path says.
pub fn action(call: &Call) -> Option<(Action, Option<&str>)> {
    match call {
        Call::Create => Some((Action::Create, None)),
        Call::Change(id) => Some((Action::Update, Some(id))),
        Call::Revoke(id) => Some((Action::Revoke, Some(id))),
        Call::Rotate(id) => Some((Action::Rotate, Some(id))),
        Call::Reactivate(id) => Some((Action::Reactivate, Some(id))),
        Call::List | Call::Show(_) | Call::Usage(_) | Call::Summary | Call::Audit => None,
    }
}

fn for_operators(principal: &Principal) -> Result<(), Problem> {
    match principal.owner() {
        None => Ok(()),
        Some(_) => Err(Problem::OperatorsOnly),
    }
}

/// The last value of a parameter; the empty one is none.
fn last(query: &str, name: &str) -> Option<String> {
    let values = route::parameters(query).filter(|(known, value)| *known == name && !value.is_empty());
    values.last().map(|(_, value)| value.into_owned())
}

fn number(query: &str, name: &str, range: &RangeInclusive<u32>) -> Result<Option<u32>, Problem> {
    let parse = |text: String| text.parse().ok().filter(|number| range.contains(number));
    let wrong = || {
        wrong(
            name,
            &format!("must be a number from {} to {}", range.start(), range.end()),
        )
    };
    last(query, name).map(|text| parse(text).ok_or_else(wrong)).transpose()
}

impl From<UsageError> for Problem {
    fn from(error: UsageError) -> Self {
        match error {
            UsageError::Off => Self::UsageOff,
            UsageError::Database(_) | UsageError::Stopping => Self::UsageUnavailable,
        }
    }
}
