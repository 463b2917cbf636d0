//! Who calls, and what they may manage: the holder of an API key, or a person who is logged in. Behind this file nothing
//! asks which of the two it is, but for what is told and for what a person may have lost meanwhile.

use std::sync::Arc;

use hyper::HeaderMap;
use serde_json::value::RawValue;

use super::problem::Problem;
use crate::{
    accounts::UserId,
    catalogue::{AskerGuard, Conditions, Filter, Guard, Record, Standing, Trouble},
    core::{
        bounds::Bounds,
        document::{Document, Members, text},
        index::Index,
        scope::{self, Scope},
        secret::{Digest, Secret},
        terms::Environment,
        time::Timestamp,
        verify::{self, Good, Refusal},
    },
    http::authz::credential::{Credential, NoCredential},
};

/// Manages every key; needs a key without an owner.
const ADMIN: &str = "admin";
/// Manages the keys of one's owner.
const MANAGE: &str = "keys:manage";

/// A caller who may manage keys.
#[derive(Clone, Debug)]
pub struct Principal {
    pub who: Who,
    reach: Reach,
    scopes: Vec<Scope<'static>>,
    environment: Option<Environment>,
    /// Within what the presented key is held.
    bounds: Bounds,
    /// Under what the presented key is found.
    digest: Option<Digest>,
}

/// For the log, which shows ids alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The key that was presented.
    Key(String),
    User(UserId),
}

impl Who {
    /// As the audit log names it.
    pub fn name(&self) -> String {
        match self {
            Self::Key(id) => format!("key:{id}"),
            Self::User(UserId(id)) => format!("user:{id}"),
        }
    }

    pub fn key_id(&self) -> Option<&str> {
        match self {
            Self::Key(id) => Some(id),
            Self::User(_) => None,
        }
    }

    pub const fn user_id(&self) -> Option<i64> {
        match *self {
            Self::Key(_) => None,
            Self::User(UserId(id)) => Some(id),
        }
    }
}

/// Whose keys.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    /// Everybody's. The operator stands for every scope.
    All,
    Owner(String),
}

/// The one secret that a request presents.
pub fn presented(headers: &HeaderMap) -> Result<Secret, Problem> {
    match Credential::find(headers, None) {
        Ok(credential) => Ok(Secret::new(credential.as_str())),
        Err(NoCredential::Missing) => Err(Problem::KeyRequired),
        Err(NoCredential::Conflicting) => Err(Problem::TwoKeys),
    }
}

impl Principal {
    /// Who has presented a good key. `None` when that key is not for managing keys.
    pub fn of_key(key: &Good<'_>) -> Option<Self> {
        let policy = key.policy?;
        let has = |scope| Scope::parse(scope).is_ok_and(|wanted| scope::grants(&policy.scopes, &[wanted]));
        let reach = match policy.user_id {
            None if has(ADMIN) => Reach::All,
            Some(owner) if has(MANAGE) => Reach::Owner(plain(owner)),
            None | Some(_) => return None,
        };
        Some(Self {
            who: Who::Key(plain(key.id)),
            reach,
            scopes: policy.scopes.to_vec(),
            environment: policy.environment,
            bounds: Bounds::new(policy.terms, key.expires_at),
            digest: None,
        })
    }

    /// The key was presented as this.
    #[must_use]
    pub fn shown_by(self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self
        }
    }

    /// A person manages the keys whose owner is their id, of every environment, and gives the scopes that people may give.
    pub fn of_user(id: UserId, scopes: &[Scope<'static>]) -> Self {
        Self {
            who: Who::User(id),
            reach: Reach::Owner(id.0.to_string()),
            scopes: scopes.to_vec(),
            environment: None,
            bounds: Bounds::default(),
            digest: None,
        }
    }

    /// The person who calls, if it is one.
    pub const fn user(&self) -> Option<UserId> {
        match self.who {
            Who::Key(_) => None,
            Who::User(id) => Some(id),
        }
    }

    /// What it can give, if it is no operator, who can give all.
    pub fn scopes(&self) -> &[Scope<'static>] {
        &self.scopes
    }

    pub fn owner(&self) -> Option<&str> {
        match &self.reach {
            Reach::All => None,
            Reach::Owner(owner) => Some(owner),
        }
    }

    /// Which keys it can see.
    pub fn filter(&self, good_only: bool) -> Filter {
        Filter {
            owner: self.owner().map(str::to_owned),
            good_only,
        }
    }

    pub fn sees(&self, record: &Record) -> bool {
        self.filter(false).sees(record)
    }

    /// Whether the caller may make a key for this owner, if one is named.
    pub fn may_make_for(&self, owner: Option<&str>) -> bool {
        self.owner().is_none_or(|own| owner.is_none_or(|owner| owner == own))
    }

    /// A new key is held within what its maker is held within. The operator is held within nothing.
    pub fn bounds(&self) -> Bounds {
        match self.reach {
            Reach::All => Bounds::default(),
            Reach::Owner(_) => self.bounds.clone(),
        }
    }

    /// A key with a scope which the caller lacks, of an environment beyond the caller's, or held within less would be
    /// broader than its maker: worth more to whoever has it than the caller's own.
    pub fn covers(&self, key: &Standing) -> bool {
        let Standing { record, bounds } = key;
        let scopes = record.scopes.as_ref();
        let covered = || {
            scopes.is_some_and(|scopes| self.covers_all(scopes.iter().map(String::as_str)))
                && self.reaches(record.environment)
                && bounds.as_ref().is_some_and(|bounds| bounds.are_within(&self.bounds))
        };
        self.reach == Reach::All || covered()
    }

    /// A key for tests or development says nothing about production, nor about keys of no known environment.
    fn reaches(&self, environment: Option<Environment>) -> bool {
        let own = self.environment.filter(|&own| own != Environment::Production);
        self.reach == Reach::All || own.is_none() || own == environment
    }

    /// The caller's own, and that of the record that is changed.
    pub fn conditions(&self, record: Option<Guard>) -> Conditions {
        let own = self.clone();
        let asker = move |document: &Document, now: Timestamp| own.is_still(document, now);
        Conditions {
            asker: self.digest.is_some().then(|| Arc::new(asker) as AskerGuard),
            record,
        }
    }

    /// Whether the presented key still is what it was here, in a document that may be newer: a key that was taken away
    /// elsewhere a moment ago must leave nothing behind that outlives it.
    fn is_still(&self, document: &Document, now: Timestamp) -> Result<(), Refusal> {
        let (Who::Key(id), Some(digest)) = (&self.who, &self.digest) else {
            return Ok(());
        };
        let is_named = |members: &Members<'_>| members.get("id").and_then(text).is_some_and(|named| named == *id);
        let is_own = |raw: &&RawValue| Members::read(raw).as_ref().is_some_and(is_named);
        let own: Vec<&str> = document.records().filter(is_own).map(RawValue::get).collect();
        let alone = format!(r#"{{"keys":[{}]}}"#, own.join(","));
        let index = Index::build(alone.as_bytes()).map_err(|_| Refusal::Invalid)?;
        let key = verify::holder(&index, digest, now).ok_or(Refusal::Invalid)?;
        if key.is_revoked(now) {
            return Err(Refusal::Revoked);
        }
        if key.has_expired(now) {
            return Err(Refusal::Expired);
        }
        match Self::of_key(&key) {
            Some(fresh) if fresh.is_worth(self) => Ok(()),
            Some(_) | None => Err(Refusal::InsufficientScope),
        }
    }

    fn is_worth(&self, other: &Self) -> bool {
        let worth = |own: &Self| {
            (
                own.reach.clone(),
                own.scopes.clone(),
                own.environment,
                own.bounds.clone(),
            )
        };
        worth(self) == worth(other)
    }

    /// Lets a change pass for a key that the caller can see.
    pub fn sees_guard(&self) -> Guard {
        let own = self.clone();
        Arc::new(move |before, _| {
            if own.sees(&before.record) {
                Ok(())
            } else {
                Err(Trouble::UnknownKey)
            }
        })
    }

    /// Lets a change pass for a key that the caller can see and that neither is nor becomes broader than the caller's own:
    /// its new secret, or its new life, would be worth more.
    pub fn covers_guard(&self) -> Guard {
        let (own, sees) = (self.clone(), self.sees_guard());
        Arc::new(move |before, after| {
            sees(before, after)?;
            if own.covers(before) && own.covers(after) {
                Ok(())
            } else {
                Err(Trouble::NotAllowed)
            }
        })
    }

    fn covers_all<'s>(&self, scopes: impl Iterator<Item = &'s str>) -> bool {
        let mut scopes = scopes.map(Scope::parse);
        let covered = |scope: Scope<'_>| {
            let is_for_people = self.user().is_none() || !is_operators(&scope);
            is_for_people && scope::is_within(&[scope], &self.scopes)
        };
        self.reach == Reach::All || scopes.all(|scope| scope.is_ok_and(covered))
    }
}

/// What stands for an operator's right is nobody's to give who only has an account.
fn is_operators(scope: &Scope<'_>) -> bool {
    Scope::parse(ADMIN).is_ok_and(|admin| scope.covers(&admin))
}

/// Whether what was presented has the form of a person's token and not that of a key: three parts joined by dots, the
/// first of them the beginning of a JSON object in base64.
pub fn is_token(presented: &str) -> bool {
    presented.starts_with("eyJ") && presented.bytes().filter(|&byte| byte == b'.').count() == 2
}

/// What an index keeps is the inside of a JSON string.
pub fn plain(json: &str) -> String {
    serde_json::from_str(&format!("\"{json}\"")).expect("an index keeps the insides of JSON strings")
}

pub const fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Invalid | Refusal::Revoked | Refusal::Expired => Problem::BadKey(refusal.code()),
        Refusal::IpNotAllowed => Problem::IpNotAllowed,
        Refusal::InsufficientScope => Problem::InsufficientScope,
        Refusal::RateLimited => Problem::RateLimited,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn principal(members: &str) -> Option<Principal> {
        let json = format!(r#"{{"keys":[{{"id":"key_1","secret":"s","name":"n"{members}}}]}}"#);
        let index = Index::build(json.as_bytes()).unwrap();
        Principal::of_key(&index.find(&Digest::of("s")).unwrap())
    }

    #[test]
    fn a_secret_is_presented_once_or_the_same_twice() {
        let sent = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            presented(&headers).map(|secret| secret.expose().to_owned())
        };
        let one = Ok("s".to_owned());
        assert_eq!(sent(&[("authorization", "Bearer s")]), one);
        assert_eq!(sent(&[("authorization", "apikey  s")]), one);
        assert_eq!(sent(&[("x-api-key", "s")]), one);
        assert_eq!(sent(&[("x-api-key", "s"), ("authorization", "Bearer s")]), one);
        assert_eq!(sent(&[("x-api-key", "s"), ("authorization", "Basic eA==")]), one);
        assert_eq!(
            sent(&[("x-api-key", "s"), ("authorization", "Bearer t")]),
            Err(Problem::TwoKeys)
        );
        assert_eq!(sent(&[("x-api-key", "s"), ("x-api-key", "t")]), Err(Problem::TwoKeys));
        for none in [
            &[][..],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic eA==")],
            &[("x-api-key", "")],
        ] {
            assert_eq!(sent(none), Err(Problem::KeyRequired), "{none:?}");
        }
    }

    #[test]
    fn who_manages_what_is_told_by_owner_and_scope() {
        let table = [
            ("", None),
            (r#","scopes":["admin"]"#, Some(None)),
            (r#","scopes":["*"]"#, Some(None)),
            (r#","scopes":["keys:manage"]"#, None),
            (r#","scopes":["admin"],"user_id":"u""#, None),
            (r#","scopes":["keys:manage"],"user_id":"u""#, Some(Some("u"))),
            (r#","scopes":["keys:*"],"user_id":"u\u00e9""#, Some(Some("ué"))),
            (r#","scopes":["orders:write"],"user_id":"u""#, None),
        ];
        for (members, expected) in table {
            let principal = principal(members);
            assert_eq!(principal.as_ref().map(Principal::owner), expected, "{members}");
        }
    }

    #[test]
    fn nobody_makes_a_key_broader_than_their_own() {
        let standing = |members: &str| {
            let json = format!(r#"{{"id":"key_2","secret":"t","name":"n"{members}}}"#);
            Standing::read(&RawValue::from_string(json).unwrap()).unwrap()
        };
        let maker = principal(
            r#","user_id":"u","environment":"test","scopes":["keys:manage","orders:*"],"expires_at":"2030-01-01""#,
        );
        let maker = maker.unwrap();
        let child = r#","user_id":"u","environment":"test","expires_at":"2029-01-01""#;
        for (more, covered) in [
            ("", true),
            (r#","scopes":["orders:write"]"#, true),
            (r#","scopes":["users:read"]"#, false),
            (r#","scopes":["*"]"#, false),
            (r#","environment":"production""#, false),
            (r#","expires_at":null"#, false),
            (r#","rate_limit_per_hour":1001"#, false),
            (r#","allowed_ips":["10.0.0.0/8"]"#, true),
            (r#","allowed_ips":"10.0.0.0/8""#, false),
        ] {
            assert_eq!(maker.covers(&standing(&format!("{child}{more}"))), covered, "{more}");
        }
        assert!(maker.may_make_for(None) && maker.may_make_for(Some("u")) && !maker.may_make_for(Some("v")));
        let operator = principal(r#","scopes":["admin"],"expires_at":"2030-01-01""#).unwrap();
        assert!(operator.covers(&standing(r#","user_id":"v","scopes":["*"]"#)) && operator.may_make_for(Some("v")));
        assert_eq!(operator.bounds(), Bounds::default());
    }
}
