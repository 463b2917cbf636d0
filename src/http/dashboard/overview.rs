//! `GET /dashboard/overview`: how fresh the keys are, on this instance and on the others, how many keys there are and which
//! of them want looking after, and how often they were used.

use std::{collections::HashSet, sync::Arc, time::Duration};

use hyper::StatusCode;
use serde::Serialize;
use tokio::{sync::Mutex, time::Instant};

use super::Dashboard;
use crate::{
    catalogue::{Filter, Listing, Status},
    core::time::Timestamp,
    http::{
        App,
        keys::{answer::Answer, principal::Principal, problem::Problem},
    },
    loader::{LoadError, Reader},
    usage::{HourUsage, Instance, Standing, Usage, UsageError},
};

/// How far back use is shown.
const HOURS: u32 = 48;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// A good key that was not used for this long, nor made in that time, is stale.
const STALE_MS: i64 = 30 * DAY_MS;
const SOON_MS: i64 = 14 * DAY_MS;
/// The most ids of each kind.
const NAMED: usize = 100;
/// How long it is kept which keys were used lately, for each of them and at most.
const KEPT_FOR_EACH: Duration = Duration::from_micros(300);
const LONGEST_KEPT: Duration = Duration::from_mins(1);

#[derive(Serialize)]
struct Overview {
    now: String,
    /// The instance that answers; told to operators.
    instance: Option<Own>,
    instances: Vec<Other>,
    keys: Keys,
    usage: Use,
}

#[derive(Serialize)]
struct Own {
    name: String,
    version: &'static str,
    started_at: String,
    generation: Option<u64>,
    keys: usize,
    loaded_at: Option<String>,
    age_seconds: Option<u64>,
    ready: bool,
    /// Why the store could not be read the last time, if it could not.
    degraded: Option<&'static str>,
}

#[derive(Serialize)]
struct Other {
    name: String,
    version: String,
    started_at: String,
    generation: Option<u64>,
    keys: usize,
    loaded_at: Option<String>,
    age_seconds: Option<u64>,
    seen_at: String,
    /// The one that answers.
    own: bool,
}

/// Of the keys that the caller sees.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Keys {
    total: usize,
    active: usize,
    expired: usize,
    revoked: usize,
    defective: usize,
    /// The first hundred; nothing where use is not recorded, or by too many keys to look through.
    stale: Option<Vec<String>>,
    stale_total: Option<usize>,
    expiring_soon: Vec<String>,
    expiring_soon_total: usize,
}

#[derive(Serialize)]
struct Use {
    /// Each of the last hours, oldest first, the present one included.
    hours: Option<Vec<Hour>>,
    /// Why they are not known.
    error: Option<&'static str>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Hour {
    #[serde(rename = "hour")]
    begin: String,
    requests: u64,
    failures: u64,
    mean_ms: f64,
}

/// Which keys were used lately. Pages ask every few seconds, and many keys take their time: the more there are, the longer
/// the answer is kept.
#[derive(Default)]
pub struct Lately(Mutex<Option<Known>>);

struct Known {
    until: Instant,
    /// `None` when they are too many.
    ids: Option<Arc<HashSet<String>>>,
}

impl Lately {
    /// `None` where it is not known.
    async fn used(&self, usage: &Usage, now: Timestamp) -> Option<Arc<HashSet<String>>> {
        let mut known = self.0.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return known.ids.clone();
        }
        let ids = usage.used_since(before(now, STALE_MS)).await.ok()?.map(Arc::new);
        let kept = ids.as_ref().map_or(LONGEST_KEPT, |ids| {
            let each = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            LONGEST_KEPT.min(KEPT_FOR_EACH.saturating_mul(each))
        });
        let until = Instant::now() + kept;
        *known = Some(Known {
            until,
            ids: ids.clone(),
        });
        ids
    }
}

/// To be called within `Catalogue::carry_out`.
pub async fn answer(app: Arc<App>, principal: Principal) -> Result<Answer, Problem> {
    let now = app.clock.now();
    let is_operator = principal.owner().is_none();
    let used = match &app.dashboard {
        Some(dashboard) => dashboard.lately.used(&app.usage, now).await,
        None => None,
    };
    let filter = principal.filter(false);
    let owned = principal.owner().is_some();
    let counted = app.management.catalogue.ask(move |listing| {
        let keys = Keys::count(listing, &filter, used.as_deref(), now);
        let ids = owned.then(|| listing.ids(&filter));
        (keys, ids)
    });
    let (keys, ids) = counted.await?;
    let usage = Use::of(app.usage.hours(ids, HOURS).await, now);
    let overview = Overview {
        now: now.to_string(),
        instance: is_operator.then(|| own(&app)),
        instances: if is_operator {
            instances(&app, now).await
        } else {
            Vec::new()
        },
        keys,
        usage,
    };
    Ok(Answer::json_of(StatusCode::OK, &overview))
}

/// How fresh the keys in force are.
pub fn standing(reader: &Reader) -> Standing {
    let loaded = reader.current();
    let loaded = loaded.as_deref();
    Standing {
        generation: loaded.and_then(|loaded| loaded.index.generation()),
        keys: loaded.map_or(0, |loaded| loaded.index.keys_count()),
        loaded_at: loaded.map(|loaded| loaded.loaded_at),
        age: reader.freshness().age,
    }
}

fn own(app: &App) -> Own {
    let standing = standing(&app.reader);
    let dashboard = app.dashboard.as_ref();
    Own {
        name: dashboard.map(|dashboard| dashboard.name.clone()).unwrap_or_default(),
        version: Dashboard::VERSION,
        started_at: dashboard
            .map(|dashboard| dashboard.started_at.to_string())
            .unwrap_or_default(),
        generation: standing.generation,
        keys: standing.keys,
        loaded_at: standing.loaded_at.map(|time| time.to_string()),
        age_seconds: standing.age.map(|age| age.as_secs()),
        ready: standing.loaded_at.is_some() && !app.is_draining(),
        degraded: app.reader.freshness().last_error.map(LoadError::word),
    }
}

/// Those that the database knows of; where there is none, and while it does not answer, this one alone.
async fn instances(app: &App, now: Timestamp) -> Vec<Other> {
    let mut others: Vec<Other> = match app.usage.instances().await {
        Ok(found) => found.iter().map(|found| Other::of(found, now)).collect(),
        Err(_) => Vec::new(),
    };
    let own = own(app);
    let live = Other {
        name: own.name,
        version: own.version.to_owned(),
        started_at: own.started_at,
        generation: own.generation,
        keys: own.keys,
        loaded_at: own.loaded_at,
        age_seconds: own.age_seconds,
        seen_at: now.to_string(),
        own: true,
    };
    match others.iter_mut().find(|other| other.own) {
        Some(written) => *written = live,
        None => others.insert(0, live),
    }
    others
}

impl Other {
    /// As old as it was when it was heard of, and the time since.
    fn of(found: &Instance, now: Timestamp) -> Self {
        let since = u64::try_from(now.as_millis() - found.seen_at.as_millis()).unwrap_or_default();
        let age = found.standing.age.map(|age| age + Duration::from_millis(since));
        Self {
            name: found.name.clone(),
            version: found.version.clone(),
            started_at: found.started_at.to_string(),
            generation: found.standing.generation,
            keys: found.standing.keys,
            loaded_at: found.standing.loaded_at.map(|time| time.to_string()),
            age_seconds: age.map(|age| age.as_secs()),
            seen_at: found.seen_at.to_string(),
            own: found.is_own,
        }
    }
}

impl Keys {
    fn count(listing: &Listing, filter: &Filter, used: Option<&HashSet<String>>, now: Timestamp) -> Self {
        let (long_ago, soon) = (before(now, STALE_MS), before(now, -SOON_MS));
        let mut keys = Self {
            stale: used.map(|_| Vec::new()),
            stale_total: used.map(|_| 0),
            ..Self::default()
        };
        for record in listing.records(filter) {
            keys.total += 1;
            match record.status(now) {
                Status::Good => keys.active += 1,
                Status::Expired => keys.expired += 1,
                Status::Revoked => keys.revoked += 1,
                Status::Defective => keys.defective += 1,
            }
            if record.status(now) != Status::Good {
                continue;
            }
            if record.expires_at.is_some_and(|expires_at| expires_at < soon) {
                keys.expiring_soon_total += 1;
                name(&mut keys.expiring_soon, &record.id);
            }
            let is_stale = |used: &HashSet<String>| record.created_at < long_ago && !used.contains(&record.id);
            if used.is_some_and(is_stale) {
                keys.stale_total = keys.stale_total.map(|total| total + 1);
                keys.stale.iter_mut().for_each(|stale| name(stale, &record.id));
            }
        }
        keys
    }
}

fn name(names: &mut Vec<String>, id: &str) {
    if names.len() < NAMED {
        names.push(id.to_owned());
    }
}

impl Use {
    fn of(hours: Result<Vec<HourUsage>, UsageError>, now: Timestamp) -> Self {
        match hours {
            Ok(used) => Self {
                hours: Some(each_hour(&used, now)),
                error: None,
            },
            Err(error) => Self {
                hours: None,
                error: Some(Problem::from(error).code()),
            },
        }
    }
}

/// With zeros for the hours without a request.
fn each_hour(used: &[HourUsage], now: Timestamp) -> Vec<Hour> {
    let this_hour = now.as_seconds().div_euclid(3600);
    let first = this_hour + 1 - i64::from(HOURS);
    let hours = (first..=this_hour).map(|hour| Timestamp::from_millis(hour * 3_600_000).to_string());
    let shown = |hour: String| {
        let found = used.iter().find(|one| one.hour == hour);
        Hour {
            requests: found.map_or(0, |found| found.requests),
            failures: found.map_or(0, |found| found.errors),
            mean_ms: found.map_or(0.0, |found| found.average_response_time_ms),
            begin: hour,
        }
    };
    hours.map(shown).collect()
}

const fn before(now: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{document::Document, index::Index};

    /// 2024-03-01T10:30:00Z.
    const NOW: Timestamp = Timestamp::from_millis(1_709_289_000_000);

    fn listing() -> Listing {
        let record = |id: &str, more: &str| format!(r#"{{"id":"{id}","secret":"s{id}","name":"n"{more}}}"#);
        let records = [
            record("a", r#","created_at":"2024-01-01T00:00:00Z","user_id":"u""#),
            record("b", r#","created_at":"2024-01-01T00:00:00Z""#),
            record(
                "c",
                r#","created_at":"2024-02-20T00:00:00Z","expires_at":"2024-03-10T00:00:00Z""#,
            ),
            record(
                "d",
                r#","created_at":"2024-01-01T00:00:00Z","expires_at":"2024-02-10T00:00:00Z""#,
            ),
            record("e", r#","created_at":"2024-01-01T00:00:00Z","is_active":false"#),
        ];
        let json = format!(r#"{{"keys":[{}]}}"#, records.join(","));
        Listing::new(
            &Document::parse(json.as_bytes()).unwrap(),
            &Index::build(json.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn keys_are_counted_by_what_a_verify_would_say_and_the_idle_and_the_ending_ones_are_named() {
        let used = HashSet::from(["b".to_owned()]);
        let keys = Keys::count(&listing(), &Filter::default(), Some(&used), NOW);
        assert_eq!((keys.total, keys.active, keys.expired, keys.revoked), (5, 3, 1, 1));
        assert_eq!((keys.stale, keys.stale_total), (Some(vec!["a".to_owned()]), Some(1)));
        assert_eq!(
            (keys.expiring_soon, keys.expiring_soon_total),
            (vec!["c".to_owned()], 1)
        );
        let unknown = Keys::count(&listing(), &Filter::default(), None, NOW);
        assert_eq!((unknown.stale, unknown.stale_total), (None, None));
        let own = Filter {
            owner: Some("u".to_owned()),
            good_only: false,
        };
        assert_eq!(Keys::count(&listing(), &own, None, NOW).total, 1);
    }

    #[test]
    fn every_hour_is_shown_and_the_present_one_last() {
        let used = [HourUsage {
            hour: "2024-03-01T10:00:00Z".to_owned(),
            requests: 3,
            errors: 1,
            average_response_time_ms: 0.5,
        }];
        let hours = each_hour(&used, NOW);
        assert_eq!(hours.len(), 48);
        let last = hours.last().unwrap();
        assert_eq!(
            (&*last.begin, last.requests, last.failures),
            ("2024-03-01T10:00:00Z", 3, 1)
        );
        assert_eq!(
            (hours[0].begin.as_str(), hours[0].requests),
            ("2024-02-28T11:00:00Z", 0)
        );
    }
}
