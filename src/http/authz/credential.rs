//! The key that a client presented to the proxy: in `Authorization`, in `X-API-Key`, or, where that is switched on, in
//! the query.

use std::borrow::Cow;

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use zeroize::Zeroize;

use super::query;
use crate::core::secret::Digest;

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// In which proxies tell the target that their client asked for.
static ORIGINAL_TARGETS: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-original-uri"),
];

/// A presented key. What was decoded from a query is wiped on drop.
pub struct Credential<'a>(Cow<'a, str>);

/// Why there is no key to decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCredential {
    Missing,
    /// Two different keys: whoever looks at one of them must not let the other one in.
    Conflicting,
}

impl NoCredential {
    pub const ALL: [Self; 2] = [Self::Missing, Self::Conflicting];

    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Conflicting => "conflicting",
        }
    }
}

impl<'a> Credential<'a> {
    /// The same key in several places is one key.
    pub fn find(headers: &'a HeaderMap, query: Option<&str>) -> Result<Self, NoCredential> {
        let mut found: Option<Self> = None;
        for key in from_headers(headers) {
            found = Some(Self(Cow::Borrowed(key)).beside(found)?);
        }
        for key in query.into_iter().flat_map(|query| from_queries(headers, query)) {
            found = Some(Self(Cow::Owned(key)).beside(found)?);
        }
        found.ok_or(NoCredential::Missing)
    }

    /// The one that was found first, where there is one. Secrets are never compared, only what stands for them.
    fn beside(self, first: Option<Self>) -> Result<Self, NoCredential> {
        match first {
            None => Ok(self),
            Some(first) if Digest::of(&first.0) == Digest::of(&self.0) => Ok(first),
            Some(_) => Err(NoCredential::Conflicting),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for Credential<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(key) = &mut self.0 {
            key.zeroize();
        }
    }
}

/// In the order in which they are taken.
fn from_headers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let authorizations = headers.get_all(AUTHORIZATION).iter().filter_map(in_authorization);
    let api_keys = headers.get_all(&X_API_KEY).iter().map(text);
    authorizations.chain(api_keys).filter(|key| !key.is_empty())
}

/// `Bearer` or `ApiKey` and the key. Another scheme is somebody else's credential and no key.
fn in_authorization(value: &HeaderValue) -> Option<&str> {
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace)?;
    let (scheme, key) = value.split_at(end);
    let is_ours = [b"Bearer".as_slice(), b"ApiKey"]
        .iter()
        .any(|ours| scheme.eq_ignore_ascii_case(ours));
    is_ours.then(|| text_of(key))
}

fn text(value: &HeaderValue) -> &str {
    text_of(value.as_bytes())
}

/// What is no text is a key that nobody has.
fn text_of(bytes: &[u8]) -> &str {
    str::from_utf8(bytes.trim_ascii()).unwrap_or("\u{fffd}")
}

/// From the auth request itself, and from the target of the client's request where the proxy tells it.
fn from_queries<'a>(headers: &'a HeaderMap, own: &'a str) -> impl Iterator<Item = String> + 'a {
    let targets = ORIGINAL_TARGETS.iter().flat_map(|name| headers.get_all(name));
    let queries = targets.filter_map(|target| {
        let (_, query) = target.to_str().ok()?.split_once('?')?;
        // A fragment is never sent by a browser, and is none of the query where something else sends it.
        query.split('#').next()
    });
    [own].into_iter().chain(queries).flat_map(query::api_keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pairs: &[(&str, &str)], query: Option<&str>) -> Result<String, NoCredential> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Credential::find(&headers, query).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn the_key_stands_behind_bearer_or_apikey_or_in_its_own_header() {
        for pair in [
            ("authorization", "Bearer sec_1"),
            ("authorization", "bearer   sec_1 "),
            ("authorization", "ApiKey sec_1"),
            ("authorization", "APIKEY\tsec_1"),
            ("x-api-key", "sec_1"),
            ("x-api-key", " sec_1 "),
        ] {
            assert_eq!(found(&[pair], None).as_deref(), Ok("sec_1"), "{pair:?}");
        }
    }

    #[test]
    fn another_scheme_or_an_empty_value_is_no_key() {
        for pair in [
            ("authorization", "Basic c2VjXzE6"),
            ("authorization", "sec_1"),
            ("authorization", "Bearer"),
            ("authorization", "Bearer "),
            ("authorization", "Bearersec_1"),
            ("authorization", ""),
            ("x-api-key", ""),
            ("cookie", "api_key=sec_1"),
        ] {
            assert_eq!(found(&[pair], Some("")), Err(NoCredential::Missing), "{pair:?}");
        }
    }

    #[test]
    fn beside_another_scheme_the_other_places_count() {
        let basic = ("authorization", "Basic c2VjXzE6");
        assert_eq!(found(&[basic, ("x-api-key", "sec_1")], None).as_deref(), Ok("sec_1"));
        assert_eq!(found(&[basic], Some("api_key=sec_1")).as_deref(), Ok("sec_1"));
    }

    #[test]
    fn two_different_keys_are_refused_and_the_same_twice_is_one() {
        let bearer = ("authorization", "Bearer sec_1");
        for second in [
            ("x-api-key", "sec_2"),
            ("authorization", "Bearer sec_2"),
            ("authorization", "ApiKey sec_2"),
            ("x-forwarded-uri", "/path?api_key=sec_2"),
        ] {
            assert_eq!(
                found(&[bearer, second], Some("")),
                Err(NoCredential::Conflicting),
                "{second:?}"
            );
        }
        assert_eq!(found(&[bearer], Some("api_key=sec_2")), Err(NoCredential::Conflicting));
        assert_eq!(
            found(&[], Some("api_key=sec_1&api_key=sec_2")),
            Err(NoCredential::Conflicting)
        );
        let same = [bearer, ("authorization", "apikey sec_1"), ("x-api-key", "sec_1")];
        assert_eq!(found(&same, Some("api_key=sec_1")).as_deref(), Ok("sec_1"));
    }

    #[test]
    fn a_query_counts_only_where_it_is_switched_on() {
        let targets = [
            ("x-forwarded-uri", "/a?b=c&api_key=sec_1#d"),
            ("x-original-uri", "/a?api_key=sec_1"),
        ];
        for target in targets {
            assert_eq!(found(&[target], Some("")).as_deref(), Ok("sec_1"), "{target:?}");
            assert_eq!(found(&[target], None), Err(NoCredential::Missing), "{target:?}");
        }
        assert_eq!(found(&[], Some("api_key=sec_1")).as_deref(), Ok("sec_1"));
    }

    #[test]
    fn bytes_that_are_no_text_are_a_key_that_nobody_has() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_bytes(b"sec_\xff").unwrap());
        assert_eq!(Credential::find(&headers, None).unwrap().as_str(), "\u{fffd}");
    }
}
