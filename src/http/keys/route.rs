//! The paths and methods of key management: which call a request is.

use std::borrow::Cow;

use hyper::Method;

use super::problem::Problem;

/// Everything below it is management: over HTTPS, with a key.
pub const ROOT: &str = "/api/v1/auth/";

/// One call. The id is the caller's word, and need not be anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    List,
    Show(String),
    Change(String),
    Revoke(String),
    Rotate(String),
    Reactivate(String),
    Usage(String),
    Summary,
    Audit,
}

/// A path, whatever the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Keys,
    Key(String),
    Rotate(String),
    Reactivate(String),
    Usage(String),
    Summary,
    Audit,
}

impl Place {
    /// Each `pattern` there is.
    pub const PATTERNS: [&str; 7] = [
        "/api/v1/auth/keys",
        "/api/v1/auth/keys/{id}",
        "/api/v1/auth/keys/{id}/rotate",
        "/api/v1/auth/keys/{id}/reactivate",
        "/api/v1/auth/keys/{id}/usage",
        "/api/v1/auth/usage/summary",
        "/api/v1/auth/audit",
    ];

    /// `None` for a path that is no route. The path is taken to the letter, but for its escapes.
    pub fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(ROOT)?;
        match rest {
            "usage/summary" => return Some(Self::Summary),
            "audit" => return Some(Self::Audit),
            _ => {}
        }
        let mut parts = rest.split('/');
        if parts.next() != Some("keys") {
            return None;
        }
        let (id, action, more) = (parts.next(), parts.next(), parts.next());
        let id = match id {
            None => return Some(Self::Keys),
            Some("") => return None,
            Some(id) => unescaped(id),
        };
        match (action, more) {
            (None, _) => Some(Self::Key(id)),
            (Some("rotate"), None) => Some(Self::Rotate(id)),
            (Some("reactivate"), None) => Some(Self::Reactivate(id)),
            (Some("usage"), None) => Some(Self::Usage(id)),
            (Some(_), _) => None,
        }
    }

    pub fn call(self, method: &Method) -> Result<Call, Problem> {
        let allow = self.allow();
        match (self, method.as_str()) {
            (Self::Keys, "POST") => Ok(Call::Create),
            (Self::Keys, "GET" | "HEAD") => Ok(Call::List),
            (Self::Key(id), "GET" | "HEAD") => Ok(Call::Show(id)),
            (Self::Key(id), "PATCH") => Ok(Call::Change(id)),
            (Self::Key(id), "DELETE") => Ok(Call::Revoke(id)),
            (Self::Rotate(id), "POST") => Ok(Call::Rotate(id)),
            (Self::Reactivate(id), "POST") => Ok(Call::Reactivate(id)),
            (Self::Usage(id), "GET" | "HEAD") => Ok(Call::Usage(id)),
            (Self::Summary, "GET" | "HEAD") => Ok(Call::Summary),
            (Self::Audit, "GET" | "HEAD") => Ok(Call::Audit),
            (
                Self::Keys
                | Self::Key(_)
                | Self::Rotate(_)
                | Self::Reactivate(_)
                | Self::Usage(_)
                | Self::Summary
                | Self::Audit,
                _,
            ) => Err(Problem::MethodNotAllowed { allow }),
        }
    }

    pub const fn allow(&self) -> &'static str {
        match self {
            Self::Keys => "GET, HEAD, POST, OPTIONS",
            Self::Key(_) => "GET, HEAD, PATCH, DELETE, OPTIONS",
            Self::Rotate(_) | Self::Reactivate(_) => "POST, OPTIONS",
            Self::Usage(_) | Self::Summary | Self::Audit => "GET, HEAD, OPTIONS",
        }
    }

    /// The route as the documentation writes it: for the log, which shows no sent path.
    pub const fn pattern(&self) -> &'static str {
        match self {
            Self::Keys => "/api/v1/auth/keys",
            Self::Key(_) => "/api/v1/auth/keys/{id}",
            Self::Rotate(_) => "/api/v1/auth/keys/{id}/rotate",
            Self::Reactivate(_) => "/api/v1/auth/keys/{id}/reactivate",
            Self::Usage(_) => "/api/v1/auth/keys/{id}/usage",
            Self::Summary => "/api/v1/auth/usage/summary",
            Self::Audit => "/api/v1/auth/audit",
        }
    }
}

/// The text behind `%41`. What is no such text is nobody's id, and stays as it is.
fn unescaped(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.split_first_chunk::<2>()).flatten();
        let value = escaped.and_then(|(digits, after)| Some((hex(*digits)?, after)));
        let (byte, after) = value.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    });
    Some(high? << 4 | low?)
}

/// The values of a query's parameters, unescaped; a `+` is a blank.
pub fn parameters(query: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = if value.contains(['%', '+']) {
            Cow::Owned(unescaped(&value.replace('+', " ")))
        } else {
            Cow::Borrowed(value)
        };
        (name, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_route_to_the_letter() {
        let id = || "key_1".to_owned();
        let table = [
            ("/api/v1/auth/keys", Some(Place::Keys)),
            ("/api/v1/auth/keys/", None),
            ("/api/v1/auth/keysx", None),
            ("/api/v1/auth/keys/key_1", Some(Place::Key(id()))),
            ("/api/v1/auth/keys/key%5f1", Some(Place::Key(id()))),
            ("/api/v1/auth/keys/key_1/", None),
            ("/api/v1/auth/keys/key_1/rotate", Some(Place::Rotate(id()))),
            ("/api/v1/auth/keys/key_1/rotate/", None),
            ("/api/v1/auth/keys/key_1/reactivate", Some(Place::Reactivate(id()))),
            ("/api/v1/auth/keys/key_1/usage", Some(Place::Usage(id()))),
            ("/api/v1/auth/usage/summary", Some(Place::Summary)),
            ("/api/v1/auth/usage", None),
            ("/api/v1/auth/audit", Some(Place::Audit)),
            ("/api/v1/auth/audit/", None),
            ("/api/v1/auth/keys/key_1/other", None),
            ("/api/v1/auth/keys//rotate", None),
            ("/api/v1/auth", None),
            ("/api/v2/auth/keys", None),
        ];
        for (path, place) in table {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }

    #[test]
    fn every_pattern_is_that_of_its_own_path() {
        for pattern in Place::PATTERNS {
            assert_eq!(Place::of(pattern).map(|place| place.pattern()), Some(pattern));
        }
    }

    #[test]
    fn an_escape_that_is_none_stays() {
        for (text, read) in [
            ("a%41", "aA"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%ff", "%ff"),
            ("%2F", "/"),
        ] {
            assert_eq!(unescaped(text), read, "{text}");
        }
    }

    #[test]
    fn every_method_that_is_allowed_is_a_call_and_no_other() {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        let places = [
            "keys",
            "keys/a",
            "keys/a/rotate",
            "keys/a/reactivate",
            "keys/a/usage",
            "usage/summary",
            "audit",
        ];
        for path in places {
            for method in methods {
                let place = Place::of(&format!("{ROOT}{path}")).unwrap();
                let allowed = place.allow().split(", ").any(|allowed| allowed == method);
                let call = place.call(&method.parse().unwrap());
                assert_eq!(call.is_ok(), allowed, "{method} {path}");
            }
        }
    }
}
