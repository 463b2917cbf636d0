//! The body of a call: a JSON object whose members are known, each read into a type that cannot be wrong. What is
//! wrong is said by the member's name and never by its value.

use hyper::{HeaderMap, header::CONTENT_TYPE};
use serde_json::value::RawValue;

use super::problem::Problem;
use crate::core::{
    change::Edit,
    document::{self, text},
    terms::{self, BadTerm, Burst, Environment, Networks, RateLimit, Scopes, Window, Windows},
};

/// The members of one body.
pub struct Members<'a>(Option<document::Members<'a>>);

impl<'a> Members<'a> {
    /// An empty body is an object without members where `required` is not set. A member that is not `known`, or that
    /// is there twice, is refused: a misspelt expiry must not make a key that lives for ever.
    pub fn read(headers: &HeaderMap, body: &'a [u8], known: &[&str], required: bool) -> Result<Self, Problem> {
        if body.is_empty() && !required {
            return Ok(Self(None));
        }
        if !is_json(headers) {
            return Err(Problem::UnsupportedMediaType);
        }
        let object: Option<&RawValue> = serde_json::from_slice(body).ok();
        let members = object.and_then(document::Members::read);
        let members = members.ok_or_else(|| Problem::Invalid("the body must be a JSON object".to_owned()))?;
        let mut seen = Vec::new();
        for member in members.iter() {
            let name = known.iter().copied().find(|name| member.is(name));
            let name =
                name.ok_or_else(|| Problem::Invalid(format!("a member is unknown; known are {}", known.join(", "))))?;
            if seen.contains(&name) {
                return Err(wrong(name, "must be given once"));
            }
            seen.push(name);
        }
        Ok(Self(Some(members)))
    }

    pub fn name(&self, most: usize) -> Result<Option<String>, Problem> {
        self.given("name")
            .map(|raw| named_text("name", raw, |text| terms::name(text, most)))
            .transpose()
    }

    pub fn user_id(&self) -> Result<Option<String>, Problem> {
        self.value("user_id")
            .map(|raw| named_text("user_id", raw, terms::owner))
            .transpose()
    }

    pub fn environment(&self) -> Result<Option<Environment>, Problem> {
        let parse = |text: &str| text.parse::<Environment>();
        self.value("environment")
            .map(|raw| named_text("environment", raw, parse))
            .transpose()
    }

    /// A number of days, or of seconds.
    pub fn number(&self, name: &str, least: u32, most: u32) -> Result<Edit<u32>, Problem> {
        self.edit(name, |raw| {
            let number = raw.get().parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| wrong(name, &format!("must be a whole number from {least} to {most}")))
        })
    }

    pub fn rate_limit_per_hour(&self) -> Result<Edit<RateLimit>, Problem> {
        self.edit("rate_limit_per_hour", |raw| {
            number(raw, BadTerm::Rate)
                .and_then(RateLimit::new)
                .map_err(|bad| wrong("rate_limit_per_hour", &bad.to_string()))
        })
    }

    pub fn burst(&self) -> Result<Edit<Burst>, Problem> {
        self.edit("burst", |raw| {
            number(raw, BadTerm::Burst)
                .and_then(Burst::new)
                .map_err(|bad| wrong("burst", &bad.to_string()))
        })
    }

    pub fn limits(&self) -> Result<Edit<Windows>, Problem> {
        let edit = self.edit("limits", |raw| {
            let windows: Result<Vec<Window>, BadTerm> = list(raw, "limits")?.into_iter().map(window).collect();
            windows
                .and_then(Windows::new)
                .map_err(|bad| wrong("limits", &bad.to_string()))
        })?;
        Ok(cleared_if(edit, Windows::is_empty))
    }

    pub fn allowed_ips(&self) -> Result<Edit<Networks>, Problem> {
        let edit = self.edit("allowed_ips", |raw| {
            Networks::new(texts(raw, "allowed_ips")?).map_err(|bad| wrong("allowed_ips", &bad.to_string()))
        })?;
        Ok(cleared_if(edit, Networks::is_empty))
    }

    pub fn scopes(&self) -> Result<Edit<Scopes>, Problem> {
        let edit = self.edit("scopes", |raw| {
            Scopes::new(texts(raw, "scopes")?).map_err(|bad| wrong("scopes", &bad.to_string()))
        })?;
        Ok(cleared_if(edit, Scopes::is_empty))
    }

    pub fn metadata(&self) -> Result<Edit<Box<RawValue>>, Problem> {
        self.edit("metadata", |raw| {
            if !raw.get().starts_with('{') {
                return Err(wrong("metadata", "must be an object"));
            }
            terms::json_without_secret(raw.get()).map_err(|bad| wrong("metadata", &bad.to_string()))?;
            Ok(raw.to_owned())
        })
    }

    /// `null` takes away what is set; a member that is not there leaves it.
    fn edit<T>(&self, name: &str, read: impl FnOnce(&RawValue) -> Result<T, Problem>) -> Result<Edit<T>, Problem> {
        match self.given(name) {
            None => Ok(Edit::Leave),
            Some(raw) if raw.get() == "null" => Ok(Edit::Clear),
            Some(raw) => read(raw).map(Edit::Set),
        }
    }

    fn given(&self, name: &str) -> Option<&RawValue> {
        self.0.as_ref()?.get(name)
    }

    fn value(&self, name: &str) -> Option<&RawValue> {
        self.given(name).filter(|raw| raw.get() != "null")
    }
}

/// For a new key, where there is nothing to leave or to take away.
pub fn set<T>(edit: Edit<T>) -> Option<T> {
    match edit {
        Edit::Set(value) => Some(value),
        Edit::Leave | Edit::Clear => None,
    }
}

pub fn wrong(name: &str, problem: &str) -> Problem {
    Problem::Invalid(format!("{name} {problem}"))
}

/// JSON by its own name or one that ends in `+json`; who names nothing is believed to send JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let name = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    let name = name.trim_ascii().to_ascii_lowercase();
    name == b"application/json" || (name.starts_with(b"application/") && name.ends_with(b"+json"))
}

fn named_text<T>(name: &str, raw: &RawValue, parse: impl FnOnce(&str) -> Result<T, BadTerm>) -> Result<T, Problem> {
    let text = text(raw).ok_or_else(|| wrong(name, "must be a text"))?;
    parse(&text).map_err(|bad| wrong(name, &bad.to_string()))
}

fn number(raw: &RawValue, otherwise: BadTerm) -> Result<u64, BadTerm> {
    raw.get().parse().map_err(|_| otherwise)
}

fn list<'a>(raw: &'a RawValue, name: &str) -> Result<Vec<&'a RawValue>, Problem> {
    serde_json::from_str(raw.get()).map_err(|_| wrong(name, "must be a list"))
}

fn texts(raw: &RawValue, name: &str) -> Result<Vec<String>, Problem> {
    let all = list(raw, name)?.into_iter().map(|item| Some(text(item)?.into_owned()));
    all.collect::<Option<_>>()
        .ok_or_else(|| wrong(name, "must be a list of texts"))
}

fn window(raw: &RawValue) -> Result<Window, BadTerm> {
    let members = document::Members::read(raw).ok_or(BadTerm::Window)?;
    if members.iter().count() != 3 {
        return Err(BadTerm::Window);
    }
    let name = members.get("name").and_then(text).ok_or(BadTerm::Window)?;
    let whole = |member| {
        members
            .get(member)
            .ok_or(BadTerm::Window)
            .and_then(|raw| number(raw, BadTerm::Window))
    };
    Window::new(&name, whole("limit")?, whole("window_seconds")?)
}

fn cleared_if<T>(edit: Edit<T>, is_empty: impl FnOnce(&T) -> bool) -> Edit<T> {
    match edit {
        Edit::Set(value) if is_empty(&value) => Edit::Clear,
        edit => edit,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn members(body: &str) -> Members<'_> {
        Members::read(
            &HeaderMap::new(),
            body.as_bytes(),
            &["name", "burst", "limits", "scopes"],
            true,
        )
        .unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    fn refused(body: &str) -> Problem {
        match Members::read(&HeaderMap::new(), body.as_bytes(), &["name"], true) {
            Ok(_) => panic!("{body} was read"),
            Err(problem) => problem,
        }
    }

    #[test]
    fn a_body_is_an_object_of_known_members_each_given_once() {
        for body in ["", "[]", "null", "{", r#"{"name":1}}"#, "\u{0}", r#"{"name":}"#] {
            assert_eq!(
                refused(body),
                Problem::Invalid("the body must be a JSON object".to_owned()),
                "{body}"
            );
        }
        assert_eq!(
            refused(r#"{"sec_x":1}"#),
            Problem::Invalid("a member is unknown; known are name".to_owned())
        );
        assert_eq!(
            refused(r#"{"name":"a","n\u0061me":"b"}"#),
            Problem::Invalid("name must be given once".to_owned())
        );
    }

    #[test]
    fn only_json_is_read_but_nobody_has_to_name_it() {
        for (content_type, read) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("Application/JSON", true),
            ("application/merge-patch+json", true),
            ("application/x-www-form-urlencoded", false),
            ("text/json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(
                Members::read(&headers, b"{}", &[], true).is_ok(),
                read,
                "{content_type}"
            );
            assert!(Members::read(&headers, b"", &[], false).is_ok(), "{content_type}");
        }
    }

    #[test]
    fn a_member_is_left_cleared_or_set() {
        assert_eq!(members("{}").burst(), Ok(Edit::Leave));
        assert_eq!(members(r#"{"burst":null}"#).burst(), Ok(Edit::Clear));
        assert_eq!(members(r#"{"burst":0}"#).burst(), Ok(Edit::Set(Burst::new(0).unwrap())));
        assert_eq!(members(r#"{"scopes":[]}"#).scopes(), Ok(Edit::Clear));
        assert_eq!(members(r#"{"name":"  a "}"#).name(100), Ok(Some("a".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        for body in [
            r#"{"burst":-1}"#,
            r#"{"burst":1.0}"#,
            r#"{"burst":true}"#,
            r#"{"burst":"1"}"#,
            r#"{"burst":100001}"#,
        ] {
            let problem = members(body).burst().unwrap_err();
            assert_eq!(
                problem,
                Problem::Invalid("burst must be a number from 0 to 100000".to_owned()),
                "{body}"
            );
        }
        for body in [
            r#"{"scopes":"a"}"#,
            r#"{"scopes":[1]}"#,
            r#"{"scopes":["a b"]}"#,
            r#"{"scopes":{}}"#,
        ] {
            assert!(matches!(members(body).scopes(), Err(Problem::Invalid(text)) if text.starts_with("scopes must")));
        }
        for body in [
            r#"{"limits":[{"name":"day","limit":1}]}"#,
            r#"{"limits":[{"name":"day","limit":1,"window_seconds":60,"x":1}]}"#,
            r#"{"limits":[{"name":"day","limit":0,"window_seconds":60}]}"#,
            r#"{"limits":[1]}"#,
        ] {
            assert!(members(body).limits().is_err(), "{body}");
        }
        assert!(
            members(r#"{"limits":[{"name":"day","limit":1,"window_seconds":60}]}"#)
                .limits()
                .is_ok()
        );
        assert!(members(r#"{"name":null}"#).name(100).is_err());
    }
}
