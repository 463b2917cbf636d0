//! One stored record as it is shown to people who manage keys: everything but its secret and its digests.

use std::{borrow::Cow, str::FromStr};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::core::{
    document::{Members, text},
    key::{Defect, Key},
    tag::Tag,
    terms::{Environment, OWNED_RATE_LIMIT},
    time::Timestamp,
};

/// A record, ready to be shown at any time.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: String,
    pub name: Option<String>,
    pub key_prefix: Option<String>,
    pub owner: Option<String>,
    pub environment: Option<Environment>,
    /// `None` when they cannot be read.
    pub scopes: Option<Vec<String>>,
    /// Which text of the record this is.
    pub tag: Tag,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked: bool,
    /// By no more than `is_active`: with its expiry behind it, such a key is expired and no more, as a verify has it.
    merely_inactive: bool,
    pub defect: Option<Defect>,
    /// The latest time at which an earlier secret still works.
    previous_until: Option<Timestamp>,
    /// A JSON object without its end: what does not depend on the time.
    json: String,
}

/// What a verify would say of it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Good,
    Expired,
    Revoked,
    Defective,
}

impl FromStr for Status {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "good" => Ok(Self::Good),
            "expired" => Ok(Self::Expired),
            "revoked" => Ok(Self::Revoked),
            "defective" => Ok(Self::Defective),
            _ => Err(()),
        }
    }
}

impl Record {
    /// `None` for a record without a readable id, which nobody could ask for. `duplicate` tells that another record has
    /// its id or its secret.
    pub fn read(raw: &RawValue, duplicate: Option<Defect>) -> Option<Self> {
        match (Key::read(raw), duplicate) {
            (Ok(key), None) => Some(Self::good(raw, &key)),
            (Ok(_), Some(defect)) | (Err((_, defect)), _) => Self::defective(raw, defect),
        }
    }

    pub fn status(&self, now: Timestamp) -> Status {
        match self.expires_at {
            _ if self.defect.is_some() => Status::Defective,
            Some(expires_at) if now >= expires_at && (!self.revoked || self.merely_inactive) => Status::Expired,
            _ if self.revoked => Status::Revoked,
            Some(_) | None => Status::Good,
        }
    }

    /// Appends the JSON object. `last_used_at` is kept apart from the record.
    pub fn write(&self, json: &mut Vec<u8>, now: Timestamp, last_used_at: Option<Timestamp>) {
        json.extend_from_slice(self.json.as_bytes());
        let rest = Rest {
            status: self.status(now),
            defect: self.defect.map(Defect::word),
            previous_expires_at: self
                .previous_until
                .filter(|&until| until > now)
                .map(|until| until.to_string()),
            last_used_at: last_used_at.map(|time| time.to_string()),
        };
        let rest = serde_json::to_vec(&rest).expect("texts are always JSON");
        json.push(b',');
        json.extend_from_slice(&rest[1..]);
    }

    fn good(raw: &RawValue, key: &Key<'_>) -> Self {
        let members = Members::read(raw).expect("what reads as a key is an object");
        let owner = shown_text(&members, "user_id");
        let shown = Shown {
            key_id: &key.id,
            name: Some(&key.name),
            user_id: owner.as_deref(),
            environment: shown_text(&members, "environment"),
            key_prefix: shown_text(&members, "key_prefix"),
            is_active: !key.revoked,
            created_at: key.created_at.as_deref().map(in_utc),
            updated_at: key.updated_at.as_deref().map(in_utc),
            expires_at: key.expires_at.map(|time| time.to_string()),
            revoked_at: shown_text(&members, "revoked_at").map(|text| in_utc(&text)),
            revoke_reason: shown_text(&members, "revoke_reason"),
            rate_limit_per_hour: number(&members, "rate_limit_per_hour")
                .or_else(|| owner.as_ref().map(|_| u64::from(OWNED_RATE_LIMIT.get()))),
            burst: number(&members, "burst"),
            limits: list(&members, "limits").unwrap_or_default(),
            allowed_ips: list(&members, "allowed_ips").filter(|list| !list.is_empty()),
            scopes: list(&members, "scopes").unwrap_or_default(),
            metadata: Some(key.metadata.map_or(Cow::Borrowed(EMPTY), Cow::Borrowed)).and_then(raw_json),
        };
        Self {
            id: key.id.clone().into_owned(),
            name: Some(key.name.clone().into_owned()),
            key_prefix: shown.key_prefix.clone(),
            environment: shown.environment.as_deref().and_then(|word| word.parse().ok()),
            scopes: shown.scopes.iter().map(|raw| Some(text(raw)?.into_owned())).collect(),
            tag: Tag::of(raw),
            created_at: made(key.created_at.as_deref(), &key.id),
            expires_at: key.expires_at,
            revoked: key.revoked,
            merely_inactive: key.is_merely_inactive(),
            defect: None,
            previous_until: previous_until(&members),
            json: open_json(&shown),
            owner,
        }
    }

    /// Of a record that is no key only what says whose it is: any other member could hold anything.
    fn defective(raw: &RawValue, defect: Defect) -> Option<Self> {
        let members = Members::read(raw)?;
        let id = shown_text(&members, "id")?;
        let (owner, name) = (shown_text(&members, "user_id"), shown_text(&members, "name"));
        let created_at = shown_text(&members, "created_at");
        let shown = Shown {
            key_id: &id,
            name: name.as_deref(),
            user_id: owner.as_deref(),
            created_at: created_at.as_deref().map(in_utc),
            ..Shown::default()
        };
        Some(Self {
            environment: None,
            scopes: None,
            tag: Tag::of(raw),
            created_at: made(created_at.as_deref(), &id),
            expires_at: None,
            revoked: false,
            merely_inactive: false,
            defect: Some(defect),
            previous_until: None,
            json: open_json(&shown),
            key_prefix: None,
            name,
            owner,
            id,
        })
    }
}

/// The members that are the same at all times, in the order in which they are shown.
#[derive(Default, Serialize)]
struct Shown<'a> {
    key_id: &'a str,
    name: Option<&'a str>,
    user_id: Option<&'a str>,
    environment: Option<String>,
    key_prefix: Option<String>,
    is_active: bool,
    created_at: Option<String>,
    updated_at: Option<String>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    revoke_reason: Option<String>,
    rate_limit_per_hour: Option<u64>,
    burst: Option<u64>,
    limits: Vec<&'a RawValue>,
    allowed_ips: Option<Vec<&'a RawValue>>,
    scopes: Vec<&'a RawValue>,
    metadata: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Rest {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    defect: Option<&'static str>,
    previous_expires_at: Option<String>,
    last_used_at: Option<String>,
}

const EMPTY: &str = "{}";

fn open_json(shown: &Shown<'_>) -> String {
    let mut json = serde_json::to_string(shown).expect("texts, numbers and JSON are always JSON");
    json.pop();
    json
}

/// The empty text is as good as none.
fn shown_text(members: &Members<'_>, name: &str) -> Option<String> {
    let text = members.get(name).and_then(text)?;
    (!text.is_empty()).then(|| text.into_owned())
}

fn number(members: &Members<'_>, name: &str) -> Option<u64> {
    members.get(name)?.get().parse().ok()
}

fn list<'m>(members: &'m Members<'_>, name: &str) -> Option<Vec<&'m RawValue>> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

fn raw_json(json: Cow<'_, str>) -> Option<Box<RawValue>> {
    RawValue::from_string(json.into_owned()).ok()
}

fn previous_until(members: &Members<'_>) -> Option<Timestamp> {
    let entries = list(members, "previous")?;
    let not_after = |entry: &RawValue| Members::read(entry)?.get("not_after").and_then(text)?.parse().ok();
    entries.into_iter().filter_map(not_after).max()
}

/// For the order of a list. The id of a key of ours says when it was made, too.
fn made(created_at: Option<&str>, id: &str) -> Timestamp {
    let said = created_at.and_then(|text| text.parse().ok());
    said.or_else(|| crate::core::id::made_at(id))
        .unwrap_or(Timestamp::from_millis(0))
}

/// A date in the one form in which dates are shown, or as it stands when it is none.
fn in_utc(text: &str) -> String {
    text.parse::<Timestamp>()
        .map_or_else(|_| text.to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_705_746_600_000);

    fn read(json: &Value) -> Option<Record> {
        Record::read(&RawValue::from_string(json.to_string()).unwrap(), None)
    }

    fn shown(record: &Record) -> Value {
        let mut json = Vec::new();
        record.write(&mut json, NOW, None);
        serde_json::from_slice(&json).unwrap()
    }

    fn full() -> Value {
        json!({
            "id": "key_1", "secret": "sec_hidden", "name": "N", "created_at": "2024-01-01T01:00:00+01:00",
            "user_id": "u1", "environment": "test", "key_prefix": "hk_test_abc", "burst": 5,
            "allowed_ips": ["10.0.0.0/8"], "scopes": ["a:b"], "metadata": {"n": 1},
            "limits": [{"name": "day", "limit": 9, "window_seconds": 86400}],
            "previous": [{"secret_hash": crate::core::secret::Digest::of("hidden").to_string(), "not_after": "2024-01-20T10:30:01Z"}],
            "unknown": "hidden"
        })
    }

    #[test]
    fn a_record_is_shown_whole_but_for_its_secrets() {
        let record = read(&full()).unwrap();
        let expected = json!({
            "key_id": "key_1", "name": "N", "user_id": "u1", "environment": "test", "key_prefix": "hk_test_abc",
            "is_active": true, "created_at": "2024-01-01T00:00:00Z", "updated_at": null, "expires_at": null,
            "revoked_at": null, "revoke_reason": null, "rate_limit_per_hour": 1000, "burst": 5,
            "limits": [{"name": "day", "limit": 9, "window_seconds": 86400}],
            "allowed_ips": ["10.0.0.0/8"], "scopes": ["a:b"], "metadata": {"n": 1}, "status": "good",
            "previous_expires_at": "2024-01-20T10:30:01Z", "last_used_at": null
        });
        assert_eq!(shown(&record), expected);
        assert_eq!(record.owner.as_deref(), Some("u1"));
    }

    #[test]
    fn a_defective_record_shows_whose_it_is_and_nothing_else() {
        let record = read(&json!({"id": "key_1", "name": "N", "metadata": "hidden", "secret": 5, "scopes": "hidden"}));
        let shown = shown(&record.unwrap());
        assert_eq!(
            (&shown["status"], &shown["defect"]),
            (&json!("defective"), &json!("bad_secret"))
        );
        assert!(!shown.to_string().contains("hidden"));
        assert!(read(&json!({"name": "without an id", "secret": "s"})).is_none());
        assert!(read(&json!([])).is_none());
    }

    #[test]
    fn the_status_is_that_of_the_moment() {
        let with = |member: &str, value: &str| {
            let mut json = full();
            json[member] = value.into();
            read(&json).unwrap().status(NOW)
        };
        assert_eq!(with("expires_at", "2024-01-20T10:30:00Z"), Status::Expired);
        assert_eq!(with("expires_at", "2024-01-20T10:30:01Z"), Status::Good);
        assert_eq!(with("revoked_at", "2024-01-19T00:00:00Z"), Status::Revoked);
        let mut retired = full();
        retired["is_active"] = false.into();
        assert_eq!(read(&retired).unwrap().status(NOW), Status::Revoked);
        retired["expires_at"] = "2024-01-20T10:30:00Z".into();
        assert_eq!(read(&retired).unwrap().status(NOW), Status::Expired);
    }
}
