//! `PATCH`, `DELETE`, `POST …/rotate` and `POST …/reactivate` on `/keys/{id}`: the changes to a key that is there.

use std::sync::Arc;

use hyper::{StatusCode, header::ETAG};
use serde::Serialize;

use super::{
    Asked, Done, Management,
    answer::Answer,
    create::in_days,
    members::{Members, set},
    precondition::{Tags, etag},
    principal::Principal,
    problem::Problem,
    read::record_answer,
    with_secret,
};
use crate::{
    catalogue::{Guard, Record, Trouble},
    core::{
        change::{Change, Edit, Patch, Rotation},
        id,
        terms::{EXPIRES_IN_DAYS, MAX_OVERLAP_SECONDS, MAX_OWNED_NAME_CHARS},
        time::Timestamp,
    },
};

const PATCH_MEMBERS: [&str; 8] = [
    "name",
    "expires_in_days",
    "rate_limit_per_hour",
    "burst",
    "limits",
    "allowed_ips",
    "scopes",
    "metadata",
];

#[derive(Serialize)]
struct Revoked {
    message: &'static str,
}

pub async fn patch(management: &Management, principal: &Principal, asked: &Asked, id: &str) -> Result<Done, Problem> {
    let now = management.now();
    let patch = read_patch(asked, now)?;
    let guard = expecting(principal.covers_guard(), Tags::if_match(&asked.headers));
    let change = Change::Update {
        id: id.to_owned(),
        patch: Box::new(patch),
        expected: None,
        at: now,
    };
    let made = management
        .catalogue
        .change(change, principal.conditions(Some(guard)))
        .await?;
    let record = made.record.ok_or(Problem::OutcomeUnknown)?;
    Ok(Done::about(id.to_owned(), record_answer(management, &record).await))
}

/// Anybody who sees a key may take it away.
pub async fn revoke(management: &Management, principal: &Principal, id: &str) -> Result<Done, Problem> {
    let change = Change::Revoke {
        id: id.to_owned(),
        reason: None,
        at: management.now(),
    };
    management
        .catalogue
        .change(change, principal.conditions(Some(principal.sees_guard())))
        .await?;
    let body = Revoked {
        message: "API key revoked successfully",
    };
    Ok(Done::about(id.to_owned(), Answer::json_of(StatusCode::OK, &body)))
}

pub async fn rotate(management: &Management, principal: &Principal, asked: &Asked, id: &str) -> Result<Done, Problem> {
    let members = Members::read(&asked.headers, asked.body(), &["overlap_seconds"], false)?;
    let overlap = set(members.number("overlap_seconds", 0, MAX_OVERLAP_SECONDS)?).filter(|&seconds| seconds > 0);
    let before = seen(management, principal, id).await?;
    let now = management.now();
    let mut random = management.random();
    let (secret, key_prefix) = match before.environment {
        Some(environment) => {
            let made = id::new_environment_secret(environment, &management.prefixes, &mut random.fill());
            (made.secret, Some(made.key_prefix))
        }
        None => (id::new_secret(now, &mut random.fill()), None),
    };
    random.check()?;
    let change = Change::Rotate(Rotation {
        id: id.to_owned(),
        digest: secret.digest(),
        key_prefix,
        overlap_until: overlap.map(|seconds| Timestamp::from_millis(now.as_millis() + i64::from(seconds) * 1000)),
        at: now,
    });
    let made = management
        .catalogue
        .change(change, principal.conditions(Some(principal.covers_guard())))
        .await;
    let record = made.map_err(Problem::from)?.record.ok_or(Problem::OutcomeUnknown)?;
    let answer = Answer::json(StatusCode::OK, with_secret(&record, &secret, now)).with(ETAG, etag(record.tag));
    Ok(Done::about(id.to_owned(), answer))
}

pub async fn reactivate(
    management: &Management,
    principal: &Principal,
    asked: &Asked,
    id: &str,
) -> Result<Done, Problem> {
    Members::read(&asked.headers, asked.body(), &[], false)?;
    let change = Change::Reactivate {
        id: id.to_owned(),
        at: management.now(),
    };
    let made = management
        .catalogue
        .change(change, principal.conditions(Some(principal.covers_guard())))
        .await;
    let record = made.map_err(Problem::from)?.record.ok_or(Problem::OutcomeUnknown)?;
    Ok(Done::about(id.to_owned(), record_answer(management, &record).await))
}

fn read_patch(asked: &Asked, now: Timestamp) -> Result<Patch, Problem> {
    let members = Members::read(&asked.headers, asked.body(), &PATCH_MEMBERS, true)?;
    let days = members.number("expires_in_days", *EXPIRES_IN_DAYS.start(), *EXPIRES_IN_DAYS.end())?;
    Ok(Patch {
        name: members.name(MAX_OWNED_NAME_CHARS)?,
        metadata: members.metadata()?,
        scopes: members.scopes()?,
        allowed_ips: members.allowed_ips()?,
        rate_limit_per_hour: members.rate_limit_per_hour()?,
        burst: members.burst()?,
        limits: members.limits()?,
        expires_at: match days {
            Edit::Leave => Edit::Leave,
            Edit::Clear => Edit::Clear,
            Edit::Set(days) => Edit::Set(in_days(now, days)),
        },
    })
}

/// The record as it is now, if the caller can see it.
pub async fn seen(management: &Management, principal: &Principal, id: &str) -> Result<Record, Problem> {
    let listing = management.catalogue.listing().await?;
    let record = listing.find(id).filter(|record| principal.sees(record));
    record.cloned().ok_or(Problem::NotFound)
}

fn expecting(guard: Guard, tags: Option<Tags>) -> Guard {
    let Some(tags) = tags else {
        return guard;
    };
    Arc::new(move |before, after| {
        guard(before, after)?;
        if tags.include(before.record.tag) {
            Ok(())
        } else {
            Err(Trouble::Changed)
        }
    })
}
