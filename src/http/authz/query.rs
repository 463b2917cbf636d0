//! What the query of an auth request asks for. It is part of the proxy's configuration; where a proxy lets its client's
//! own query through (Envoy's `path_prefix`), what the client adds there can only make the answer stricter.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::core::{
    request::MAX_COST,
    scope::{MAX_SCOPES, Scope},
};

/// What must hold beside a good key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Every one of them is required, whichever of several `require` named it.
    pub required_scopes: Vec<Scope<'static>>,
    /// The highest of several; 1 without any.
    pub cost: u32,
}

/// Why a query cannot be followed. Each has one fixed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Require,
    Cost,
}

impl Malformed {
    pub const ALL: [Self; 2] = [Self::Require, Self::Cost];

    /// The reason in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Require => "bad_require",
            Self::Cost => "bad_cost",
        }
    }
}

impl Parameters {
    pub fn parse(query: &str) -> Result<Self, Malformed> {
        let mut parsed = Self {
            required_scopes: Vec::new(),
            cost: 1,
        };
        for (name, value) in parameters(query) {
            match name {
                "require" => parsed.required_scopes.extend(scopes(value)?),
                "cost" => parsed.cost = parsed.cost.max(cost(value)?),
                _ => {}
            }
        }
        if parsed.required_scopes.len() > MAX_SCOPES {
            return Err(Malformed::Require);
        }
        Ok(parsed)
    }
}

/// Which proxy asks, where that changes the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Any,
    /// It turns every status but 2xx, 401 and 403 into 500.
    Nginx,
}

impl Profile {
    pub fn of(query: &str) -> Self {
        if parameters(query).any(|parameter| parameter == ("profile", "nginx")) {
            Self::Nginx
        } else {
            Self::Any
        }
    }
}

/// The values of `api_key` that are not empty. Whoever takes one wipes it.
pub fn api_keys(query: &str) -> impl Iterator<Item = String> {
    parameters(query)
        .filter(|&(name, value)| name == "api_key" && !value.is_empty())
        .map(|(_, value)| decoded(value).into_owned())
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
}

/// A list separated by spaces or commas. An empty one is a slip of the configuration and must not mean "nothing".
fn scopes(value: &str) -> Result<Vec<Scope<'static>>, Malformed> {
    let text = decoded(value);
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let scopes = words
        .map(|word| Scope::parse(word.to_owned()))
        .collect::<Result<Vec<_>, _>>();
    scopes
        .ok()
        .filter(|scopes| !scopes.is_empty())
        .ok_or(Malformed::Require)
}

fn cost(value: &str) -> Result<u32, Malformed> {
    value
        .parse()
        .ok()
        .filter(|cost| (1..=MAX_COST).contains(cost))
        .ok_or(Malformed::Cost)
}

/// The value as a form encodes it. What is no escape stays as it is, and bytes that are no text become what is in no key.
fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains(['%', '+']) {
        return Cow::Borrowed(value);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after
            .first_chunk()
            .filter(|_| first == b'%')
            .and_then(|&digits| escaped_byte(digits));
        bytes.push(escaped.unwrap_or(if first == b'+' { b' ' } else { first }));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn escaped_byte([high, low]: [u8; 2]) -> Option<u8> {
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    Some(value(high)? << 4 | value(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<(Vec<String>, u32), Malformed> {
        Parameters::parse(query).map(|parsed| {
            let scopes = parsed.required_scopes.iter().map(|scope| scope.as_str().to_owned());
            (scopes.collect(), parsed.cost)
        })
    }

    #[test]
    fn scopes_are_separated_by_spaces_or_commas_or_named_one_by_one() {
        let expected = Ok((vec!["orders:write".to_owned(), "orders:read".to_owned()], 1));
        for query in [
            "require=orders:write+orders:read",
            "require=orders%3Awrite%20orders%3aread",
            "require=orders:write,orders:read",
            "require=,orders:write,,orders:read,",
            "require=orders:write&require=orders:read",
            "a&require=orders:write&=&x=y&require=orders:read",
        ] {
            assert_eq!(asked(query), expected, "{query}");
        }
    }

    #[test]
    fn without_parameters_only_the_key_counts() {
        for query in ["", "&", "requires=a", "Require=a", "costs=9", "%72equire=a"] {
            assert_eq!(asked(query), Ok((Vec::new(), 1)), "{query}");
        }
    }

    #[test]
    fn what_a_client_appends_to_the_query_only_makes_it_stricter() {
        let (scopes, cost) = asked("require=a&cost=5&of=/path?cost=1&require=b&cost=1&cost=7").unwrap();
        assert_eq!((scopes.join(" ").as_str(), cost), ("a b", 7));
    }

    #[test]
    fn a_slip_in_the_configuration_is_refused() {
        for query in [
            "require",
            "require=",
            "require=+",
            "require=%2C",
            "require=a&require=",
            "require=a::b",
            "require=a%22",
        ] {
            assert_eq!(asked(query), Err(Malformed::Require), "{query}");
        }
        for query in [
            "cost",
            "cost=",
            "cost=0",
            "cost=-1",
            "cost=1.5",
            "cost=100001",
            "cost=5&cost=x",
        ] {
            assert_eq!(asked(query), Err(Malformed::Cost), "{query}");
        }
    }

    #[test]
    fn the_profile_is_read_even_where_the_rest_is_malformed() {
        assert_eq!(Profile::of("cost=x&profile=nginx"), Profile::Nginx);
        for query in ["", "profile", "profile=", "profile=caddy", "profile=nginx2"] {
            assert_eq!(Profile::of(query), Profile::Any, "{query}");
        }
    }

    #[test]
    fn a_key_in_a_query_is_decoded_as_a_form_is() {
        let table = [
            ("api_key=sec_1", vec!["sec_1"]),
            ("a=b&api_key=sec%5F1&api_key=", vec!["sec_1"]),
            ("api_key=a+b%2", vec!["a b%2"]),
            ("api_key=%zz%e2%82%ac%", vec!["%zz€%"]),
            ("api_key=%ff", vec!["\u{fffd}"]),
            ("api_key=1&api_key=2", vec!["1", "2"]),
            ("apikey=1&API_KEY=2&api_key", vec![]),
        ];
        for (query, expected) in table {
            let keys: Vec<String> = api_keys(query).collect();
            assert_eq!(keys, expected, "{query}");
        }
    }
}
