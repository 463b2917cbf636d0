//! `GET /keys` and `GET /keys/{id}`: what the caller may see, never a key or a hash.

use std::{ops::RangeInclusive, str::FromStr};

use hyper::{StatusCode, header::ETAG};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Asked, Done, Management,
    answer::Answer,
    cursor,
    members::wrong,
    precondition::{Tags, etag},
    principal::Principal,
    problem::Problem,
    route, shown, usage,
};
use crate::catalogue::{After, Needle, Record, Search};

const LIMIT: RangeInclusive<usize> = 1..=200;
const DEFAULT_LIMIT: usize = 50;
const STATUS: &str = "good, expired, revoked, defective";
const ENVIRONMENT: &str = "production, test, development";
const SORT: &str = "created, -created, name, -name, expires, -expires";

#[derive(Serialize)]
struct Listed {
    keys: Vec<Box<RawValue>>,
    total: usize,
    /// The cursor of the next page.
    next: Option<String>,
}

pub async fn list(management: &Management, principal: &Principal, asked: &Asked) -> Result<Done, Problem> {
    let Wish {
        good_only,
        search,
        limit,
        after,
    } = Wish::read(&asked.query)?;
    let (filter, now) = (principal.filter(good_only), management.now());
    let page = management.catalogue.ask(move |listing| {
        // A plain list needs no copy of itself that can be sorted.
        let page = if search == Search::default() {
            listing.page(&filter, after.as_ref(), limit, now)
        } else {
            listing.found(&filter, &search, after.as_ref(), limit, now)
        };
        let records: Vec<Record> = page.records.into_iter().cloned().collect();
        (records, page.total, page.next)
    });
    let (records, total, next) = page.await?;
    let ids = records.iter().map(|record| record.id.clone()).collect();
    let used = usage::last_used(management, ids).await;
    let shown = |record: &Record| shown(record, now, used.get(&record.id).copied());
    let listed = Listed {
        keys: records.iter().map(shown).collect(),
        total,
        next: next.as_ref().map(cursor::write),
    };
    Ok(Done::read(Answer::json_of(StatusCode::OK, &listed)))
}

pub async fn show(management: &Management, principal: &Principal, asked: &Asked, id: &str) -> Result<Done, Problem> {
    let listing = management.catalogue.listing().await?;
    let record = listing
        .find(id)
        .filter(|record| principal.sees(record))
        .ok_or(Problem::NotFound)?;
    let is_known = Tags::if_none_match(&asked.headers).is_some_and(|tags| tags.include(record.tag));
    let answer = if is_known {
        Answer::empty(StatusCode::NOT_MODIFIED).with(ETAG, etag(record.tag))
    } else {
        record_answer(management, record).await
    };
    Ok(Done::read(answer))
}

/// The record with its tag.
pub async fn record_answer(management: &Management, record: &Record) -> Answer {
    let used = usage::last_used(management, vec![record.id.clone()]).await;
    let json = shown(record, management.now(), used.get(&record.id).copied())
        .get()
        .to_owned();
    Answer::json(StatusCode::OK, json).with(ETAG, etag(record.tag))
}

/// Which page the caller wants.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    good_only: bool,
    search: Search,
    limit: usize,
    after: Option<After>,
}

impl Wish {
    /// Parameters of other names are passed over, as everywhere; of a repeated one the last counts. An empty value is none.
    fn read(query: &str) -> Result<Self, Problem> {
        let mut wish = Self {
            good_only: false,
            search: Search::default(),
            limit: DEFAULT_LIMIT,
            after: None,
        };
        for (name, value) in route::parameters(query).filter(|(_, value)| !value.is_empty()) {
            match name {
                "active_only" => wish.good_only = boolean(&value)?,
                "q" => {
                    wish.search.text =
                        Some(Needle::new(&value).ok_or_else(|| wrong("q", "must be up to 100 characters"))?);
                }
                "status" => wish.search.status = Some(word("status", STATUS, &value)?),
                "environment" => wish.search.environment = Some(word("environment", ENVIRONMENT, &value)?),
                "sort" => wish.search.order = word("sort", SORT, &value)?,
                "limit" => wish.limit = limit(&value)?,
                "cursor" => {
                    let after = cursor::read(&value);
                    wish.after = Some(after.ok_or_else(|| wrong("cursor", "must be the next of an earlier page"))?);
                }
                _ => {}
            }
        }
        Ok(wish)
    }
}

fn word<T: FromStr>(name: &str, known: &str, text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|_| wrong(name, &format!("must be one of {known}")))
}

fn boolean(text: &str) -> Result<bool, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong("active_only", "must be true or false")),
    }
}

fn limit(text: &str) -> Result<usize, Problem> {
    let number = text.parse().ok().filter(|number| LIMIT.contains(number));
    number.ok_or_else(|| wrong("limit", "must be a number from 1 to 200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_fifty_keys_of_every_kind_unless_asked_otherwise() {
        let usual = Wish {
            good_only: false,
            search: Search::default(),
            limit: 50,
            after: None,
        };
        for query in [
            "",
            "limit=&cursor=&active_only=&q=&sort=",
            "page=3",
            "active_only=false",
            "sort=-created",
        ] {
            assert_eq!(Wish::read(query).as_ref(), Ok(&usual), "{query}");
        }
        assert_eq!(Wish::read("limit=200&active_only=True").unwrap().limit, 200);
        for query in [
            "limit=0",
            "limit=201",
            "limit=x",
            "limit=-1",
            "active_only=maybe",
            "cursor=x",
            "status=active",
            "environment=live",
            "sort=age",
        ] {
            assert!(Wish::read(query).is_err(), "{query}");
        }
    }
}
