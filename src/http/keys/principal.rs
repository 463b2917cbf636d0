//! Who calls, and what they may manage: the holder of an API key, or a person who is logged in. Behind this file nothing
//! asks which of the two it is, but for what is told and for what a person may have lost meanwhile.

use std::sync::Arc;

use hyper::HeaderMap;

use super::problem::Problem;
use crate::{
    accounts::{Person, UserId},
    catalogue::{Filter, Guard, Record, Trouble},
    core::{
        scope::{self, Scope},
        secret::Secret,
        terms::{Environment, Scopes},
        verify::{Good, Refusal},
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
        })
    }

    /// A person manages the keys whose owner is their id, of every environment, and gives the scopes that people may give.
    pub fn of_person(person: &Person, scopes: &[Scope<'static>]) -> Self {
        let id = person.user.id;
        Self {
            who: Who::User(id),
            reach: Reach::Owner(id.0.to_string()),
            scopes: scopes.to_vec(),
            environment: None,
        }
    }

    /// The person who calls, if it is one.
    pub const fn user(&self) -> Option<UserId> {
        match self.who {
            Who::Key(_) => None,
            Who::User(id) => Some(id),
        }
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

    pub fn covers(&self, scopes: &Scopes) -> bool {
        self.covers_all(scopes.iter())
    }

    /// A key for another owner or with more scopes would be broader than its maker. A key of a test environment makes
    /// none for production.
    pub fn may_make(&self, owner: Option<&str>, scopes: &Scopes, environment: Environment) -> bool {
        match &self.reach {
            Reach::All => true,
            Reach::Owner(own) => {
                owner.is_none_or(|owner| owner == own) && self.reaches(Some(environment)) && self.covers(scopes)
            }
        }
    }

    /// A key for tests or development says nothing about production, nor about keys of no known environment.
    fn reaches(&self, environment: Option<Environment>) -> bool {
        let own = self.environment.filter(|&own| own != Environment::Production);
        self.reach == Reach::All || own.is_none() || own == environment
    }

    /// Lets a change pass for a key that the caller can see.
    pub fn sees_guard(&self) -> Guard {
        let own = self.clone();
        Arc::new(move |record| {
            if own.sees(record) {
                Ok(())
            } else {
                Err(Trouble::UnknownKey)
            }
        })
    }

    /// Lets a change pass for a key that the caller can see and that has no scope which the caller lacks and is of no
    /// environment beyond the caller's: its new secret, or its new life, would be worth more than the caller's own.
    pub fn covers_guard(&self) -> Guard {
        let (own, sees) = (self.clone(), self.sees_guard());
        Arc::new(move |record| {
            sees(record)?;
            let scopes = record.scopes.as_ref();
            let covered = scopes.is_some_and(|scopes| own.covers_all(scopes.iter().map(String::as_str)));
            if own.reach == Reach::All || covered && own.reaches(record.environment) {
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
fn plain(json: &str) -> String {
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
    use crate::core::{index::Index, secret::Digest};

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
        let maker = principal(r#","user_id":"u","environment":"test","scopes":["keys:manage","orders:*"]"#).unwrap();
        let may =
            |owner, scopes: &[&str], environment| maker.may_make(owner, &Scopes::new(scopes).unwrap(), environment);
        assert!(may(None, &["orders:write"], Environment::Test));
        assert!(may(Some("u"), &[], Environment::Test));
        assert!(!may(Some("v"), &[], Environment::Test));
        assert!(!may(None, &["users:read"], Environment::Test));
        assert!(!may(None, &["*"], Environment::Test));
        assert!(!may(None, &[], Environment::Production));
        let operator = principal(r#","scopes":["admin"]"#).unwrap();
        assert!(operator.may_make(Some("v"), &Scopes::new(["*"]).unwrap(), Environment::Production));
    }
}
