//! The body of a call: a JSON object whose members are texts. What is wrong is said in the form that clients of the older
//! service know, all of it at once, and without repeating what was sent.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::core::{
    document::{Members, text},
    request::Malformed,
    secret::Secret,
};

/// One thing that is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub r#type: &'static str,
    pub loc: Vec<&'static str>,
    pub msg: Cow<'static, str>,
    /// For people.
    #[serde(skip)]
    pub sentence: Cow<'static, str>,
}

impl Fault {
    pub fn of(
        member: &'static str,
        kind: &'static str,
        message: impl Into<Cow<'static, str>>,
        sentence: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            r#type: kind,
            loc: vec!["body", member],
            msg: message.into(),
            sentence: sentence.into(),
        }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self {
            r#type: malformed.kind(),
            loc: malformed.location().to_vec(),
            msg: malformed.message().into(),
            sentence: malformed.sentence().into(),
        }
    }
}

/// The members of one body, and what was found wrong so far.
pub struct Body<'a> {
    members: Members<'a>,
    faults: Vec<Fault>,
}

impl<'a> Body<'a> {
    /// Unknown members are ignored; of a repeated one the last counts.
    pub fn read(body: &'a [u8]) -> Result<Self, Vec<Fault>> {
        let not_json = || vec![Fault::from(Malformed::NotJson)];
        let value: &RawValue = serde_json::from_slice(body).map_err(|_| not_json())?;
        let members = Members::read(value).ok_or_else(|| vec![Fault::from(Malformed::NotAnObject)])?;
        Ok(Self {
            members,
            faults: Vec::new(),
        })
    }

    /// A text that must be there. `None` once that is noted as wrong.
    pub fn text(&mut self, member: &'static str) -> Option<Secret> {
        let Some(value) = self.members.get(member) else {
            let sentence = format!("The body has no {member}");
            self.wrong(Fault::of(member, "missing", "Field required", sentence));
            return None;
        };
        let Some(found) = text(value) else {
            let sentence = format!("{member} is not a string");
            self.wrong(Fault::of(
                member,
                "string_type",
                "Input should be a valid string",
                sentence,
            ));
            return None;
        };
        Some(Secret::new(found))
    }

    pub fn has(&self, member: &str) -> bool {
        self.members.get(member).is_some()
    }

    /// A text that must be there and be no longer than this.
    pub fn short_text(&mut self, member: &'static str, most_chars: usize) -> Option<Secret> {
        let text = self.text(member)?;
        if text.expose().chars().nth(most_chars).is_some() {
            let message = format!("String should have at most {most_chars} characters");
            let sentence = format!("{member} has more than {most_chars} characters");
            self.wrong(Fault::of(member, "string_too_long", message, sentence));
            return None;
        }
        Some(text)
    }

    pub fn wrong(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// What was read, if nothing was wrong with it.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Vec<Fault>> {
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => Err(self.faults),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<(String, String), Vec<&'static str>> {
        let kinds = |faults: Vec<Fault>| faults.iter().map(|fault| fault.r#type).collect();
        let mut body = Body::read(body).map_err(kinds)?;
        let (login, password) = (body.text("login"), body.short_text("password", 5));
        let plain = |secret: Secret| secret.expose().to_owned();
        body.finish(login.zip(password))
            .map(|(login, password)| (plain(login), plain(password)))
            .map_err(kinds)
    }

    #[test]
    fn a_body_is_an_object_of_texts_and_all_that_is_wrong_is_told_at_once() {
        let good = Ok(("a".to_owned(), "b".to_owned()));
        assert_eq!(read(br#"{"login":"a","password":"b"}"#), good);
        assert_eq!(read(br#" {"x":1,"password":"\u0062","login":"c","login":"a"} "#), good);
        let table: [(&[u8], &[&str]); 9] = [
            (b"", &["json_invalid"]),
            (b"{", &["json_invalid"]),
            (b"\xff", &["json_invalid"]),
            (b"[]", &["model_attributes_type"]),
            (b"null", &["model_attributes_type"]),
            (b"{}", &["missing", "missing"]),
            (br#"{"login":1,"password":null}"#, &["string_type", "string_type"]),
            (br#"{"login":"a","password":"123456"}"#, &["string_too_long"]),
            (br#"{"login":"\ud800","password":"b"}"#, &["string_type"]),
        ];
        for (body, kinds) in table {
            assert_eq!(read(body).unwrap_err(), kinds, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn nothing_of_the_body_is_in_a_fault() {
        let mut body = Body::read(br#"{"login":{"marker":1},"password":"marker-marker"}"#).unwrap();
        assert!(body.text("login").is_none() && body.short_text("password", 5).is_none());
        let faults = body.finish(None::<()>).unwrap_err();
        assert_eq!(faults.len(), 2);
        assert!(!format!("{faults:?}").contains("marker"));
    }
}
