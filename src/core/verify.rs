//! The question itself: is this presented key good now, for what it is asked for?

mod explain;

use std::net::IpAddr;

use bytes::BufMut;

pub use self::explain::{Check, Finding, Outcome, explain};
use super::{
    index::{Entry, Index},
    scope::{self, Scope},
    secret::Digest,
    time::Timestamp,
};

/// A key that is good for what was asked.
pub type Good<'a> = Entry<'a>;

/// What a presented key is asked to be good for. The default asks for nothing and knows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Where the key's holder is; `None` when nobody knows.
    pub client_ip: Option<IpAddr>,
    /// The key must have all of them.
    pub required_scopes: Vec<Scope<'a>>,
}

/// Why a key is not good. One enum feeds the `code` in the body, the log, the metrics and the table in USAGE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Unknown or malformed.
    Invalid,
    Revoked,
    Expired,
    IpNotAllowed,
    InsufficientScope,
    RateLimited,
}

impl Refusal {
    /// In the order in which they are looked for.
    pub const ALL: [Self; 6] = [
        Self::Invalid,
        Self::Revoked,
        Self::Expired,
        Self::IpNotAllowed,
        Self::InsufficientScope,
        Self::RateLimited,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::InsufficientScope => "insufficient_scope",
            Self::RateLimited => "rate_limited",
        }
    }
}

/// Everything that record, request and time decide. Only the holder of a genuine secret ever sees a refusal other than
/// `Invalid`.
pub fn verify<'a>(index: &'a Index, presented: &str, asked: &Asked<'_>, now: Timestamp) -> Result<Good<'a>, Refusal> {
    verify_digest(index, &Digest::of(presented), asked, now)
}

/// The same for a secret whose digest is known, or that has a stand-in for one.
pub fn verify_digest<'a>(
    index: &'a Index,
    digest: &Digest,
    asked: &Asked<'_>,
    now: Timestamp,
) -> Result<Good<'a>, Refusal> {
    let entry = holder(index, digest, now).ok_or(Refusal::Invalid)?;
    if entry.is_revoked(now) {
        Err(Refusal::Revoked)
    } else if entry.has_expired(now) {
        Err(Refusal::Expired)
    } else if !entry.admits(asked.client_ip) {
        Err(Refusal::IpNotAllowed)
    } else if !entry.grants(&asked.required_scopes) {
        Err(Refusal::InsufficientScope)
    } else {
        Ok(entry)
    }
}

/// Whose secret it is, good or not. One that was replaced is as good as unknown when its time is over.
pub fn holder<'a>(index: &'a Index, digest: &Digest, now: Timestamp) -> Option<Entry<'a>> {
    index.find(digest).filter(|entry| !entry.is_outdated(now))
}

impl<'a> Entry<'a> {
    /// Found by a secret that was replaced and is not good any more.
    pub fn is_outdated(&self, now: Timestamp) -> bool {
        self.previous_until.is_some_and(|until| now >= until)
    }

    /// A key that was marked inactive because it has long expired is expired and no more.
    pub fn is_revoked(&self, now: Timestamp) -> bool {
        self.revoked && !(self.merely_inactive && self.has_expired(now))
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at)
    }

    fn admits(&self, client_ip: Option<IpAddr>) -> bool {
        self.policy.is_none_or(|policy| policy.allowed_ips.admit(client_ip))
    }

    fn grants(&self, required: &[Scope<'_>]) -> bool {
        required.is_empty() || scope::grants(self.scopes(), required)
    }

    /// None for a key that has no list of them: what it may do was never said.
    pub fn scopes(&self) -> &'a [Scope<'static>] {
        self.policy.map_or(&[], |policy| &policy.terms.scopes)
    }

    /// The answer to the holder of this key, as JSON. Allocates nothing for a current secret where `out` has room for
    /// `answer_len` bytes.
    pub fn write_answer(&self, out: &mut impl BufMut) {
        for part in self.answer() {
            out.put_slice(part.as_bytes());
        }
        for part in self.policy_answer().iter().flatten() {
            out.put_slice(part.as_bytes());
        }
        out.put_slice(self.previous_answer().as_bytes());
        out.put_u8(b'}');
    }

    pub fn answer_len(&self) -> usize {
        let policy = self.policy_answer().map_or(0, |parts| parts.map(str::len).iter().sum());
        self.answer().map(str::len).iter().sum::<usize>() + policy + self.previous_answer().len() + 1
    }

    /// Id, name and metadata are JSON already.
    fn answer(&self) -> [&str; 6] {
        [
            r#"{"valid":true,"key_id":""#,
            self.id,
            r#"","name":""#,
            self.name,
            r#"","metadata":"#,
            self.metadata,
        ]
    }

    fn policy_answer(&self) -> Option<[&str; 4]> {
        let policy = self.policy.as_ref()?;
        Some(match policy.user_id {
            Some(user_id) => [r#","user_id":""#, user_id, "\"", policy.answer],
            None => ["", "", "", policy.answer],
        })
    }

    /// Tells who still uses a secret that was replaced that there is a new one.
    fn previous_answer(&self) -> String {
        self.previous_until.map_or_else(String::new, |until| {
            format!(r#","secret":"previous","previous_expires_at":"{until}""#)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_705_746_600_000);

    /// `NOW` as a document writes it.
    const NOW_TEXT: &str = "2024-01-20T10:30:00Z";

    fn index(members: &str) -> Index {
        let key = format!(r#"{{"id":"key_1","secret":"sec_1","name":"Sm\u00f6rg\u00e5s \"24\""{members}}}"#);
        Index::build(format!(r#"{{"keys":[{key}]}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn every_refusal_has_the_code_that_is_documented() {
        let codes = Refusal::ALL.map(Refusal::code);
        assert_eq!(
            codes,
            [
                "invalid",
                "revoked",
                "expired",
                "ip_not_allowed",
                "insufficient_scope",
                "rate_limited"
            ]
        );
    }

    fn refusal(members: &str, now: Timestamp) -> Option<Refusal> {
        verify(&index(members), "sec_1", &Asked::default(), now).err()
    }

    fn asked<'a>(client_ip: Option<&str>, scopes: &[&'a str]) -> Asked<'a> {
        Asked {
            client_ip: client_ip.map(|text| text.parse().unwrap()),
            required_scopes: scopes.iter().map(|text| Scope::parse(*text).unwrap()).collect(),
        }
    }

    fn answer(entry: &Good<'_>) -> String {
        let mut answer = Vec::new();
        entry.write_answer(&mut answer);
        assert_eq!(entry.answer_len(), answer.len());
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn a_good_key_is_answered_with_its_id_name_and_metadata() {
        let index = index(r#","metadata":{ "plan": [1.50, "a b"] }"#);
        let entry = verify(&index, "sec_1", &Asked::default(), NOW).unwrap();
        let expected = r#"{"valid":true,"key_id":"key_1","name":"Smörgås \"24\"","metadata":{"plan":[1.50,"a b"]}}"#;
        assert_eq!(answer(&entry), expected);
    }

    #[test]
    fn a_policy_adds_its_members_behind_those_of_a_plain_key() {
        let plain = r#"{"valid":true,"key_id":"key_1","name":"Smörgås \"24\"","metadata":{}"#;
        let table = [
            ("", ""),
            (r#","rate_limit_per_hour":5,"allowed_ips":[],"key_prefix":"sec_""#, ""),
            (r#","user_id":"u\u00e9""#, r#","user_id":"ué""#),
            (r#","environment":"test""#, r#","environment":"test""#),
            (
                r#","scopes":["a:b","*"],"environment":"production","user_id":"u""#,
                r#","user_id":"u","environment":"production","scopes":["a:b","*"]"#,
            ),
        ];
        for (members, added) in table {
            let index = index(members);
            let entry = verify(&index, "sec_1", &Asked::default(), NOW).unwrap();
            assert_eq!(answer(&entry), format!("{plain}{added}}}"), "{members}");
        }
    }

    #[test]
    fn an_earlier_secret_is_good_until_its_time_and_says_so() {
        let digest = Digest::of("sec_old");
        let previous = format!(r#","user_id":"u","previous":[{{"secret_hash":"{digest}","not_after":"{NOW_TEXT}"}}]"#);
        let before = Timestamp::from_millis(NOW.as_millis() - 1);
        let index = index(&previous);
        let entry = verify(&index, "sec_old", &Asked::default(), before).unwrap();
        let said = format!(r#","user_id":"u","secret":"previous","previous_expires_at":"{NOW_TEXT}"}}"#);
        assert!(answer(&entry).ends_with(&said), "{}", answer(&entry));
        let entry = verify(&index, "sec_1", &Asked::default(), before).unwrap();
        assert!(answer(&entry).ends_with(r#","user_id":"u"}"#));
        for (presented, now, refusal) in [("sec_old", NOW, Some(Refusal::Invalid)), ("sec_1", NOW, None)] {
            assert_eq!(verify(&index, presented, &Asked::default(), now).err(), refusal);
        }
        let revoked = self::index(&format!(r#"{previous},"is_active":false"#));
        for (now, refusal) in [(before, Refusal::Revoked), (NOW, Refusal::Invalid)] {
            assert_eq!(verify(&revoked, "sec_old", &Asked::default(), now).err(), Some(refusal));
        }
    }

    #[test]
    fn the_first_check_that_fails_is_the_refusal() {
        let policy = r#","allowed_ips":["10.0.0.0/8"],"scopes":["orders:*"]"#;
        let expired = format!(r#"{policy},"expires_at":"{NOW_TEXT}""#);
        let revoked = format!(r#"{expired},"revoked_at":"{NOW_TEXT}""#);
        let (inside, outside) = (Some("::ffff:10.1.2.3"), Some("192.0.2.1"));
        let none: &[&str] = &[];
        let table = [
            ("", None, none, None),
            ("", outside, &[], None),
            ("", None, &["orders:write"], Some(Refusal::InsufficientScope)),
            (policy, inside, &["orders:write", "orders:read"], None),
            (
                policy,
                inside,
                &["orders:write", "users:read"],
                Some(Refusal::InsufficientScope),
            ),
            (policy, outside, &["users:read"], Some(Refusal::IpNotAllowed)),
            (policy, None, &["orders:write"], Some(Refusal::IpNotAllowed)),
            (policy, None, &[], Some(Refusal::IpNotAllowed)),
            (&expired, outside, &["users:read"], Some(Refusal::Expired)),
            (&revoked, outside, &["users:read"], Some(Refusal::Revoked)),
            (&revoked, inside, &[], Some(Refusal::Revoked)),
        ];
        for (members, client_ip, scopes, refusal) in table {
            let (index, asked) = (index(members), asked(client_ip, scopes));
            let verdict = verify(&index, "sec_1", &asked, NOW).err();
            assert_eq!(verdict, refusal, "{members} {client_ip:?} {scopes:?}");
            let findings = explain(&index, &Digest::of("sec_1"), &asked, Outcome::NotSet, NOW).unwrap();
            let failed = findings.iter().find(|finding| finding.outcome == Outcome::Failed);
            let explained = failed.map(|finding| match finding.check {
                Check::Secret => Refusal::Invalid,
                Check::Revocation => Refusal::Revoked,
                Check::Expiry => Refusal::Expired,
                Check::AllowedIps => Refusal::IpNotAllowed,
                Check::Scopes => Refusal::InsufficientScope,
                Check::Limits => Refusal::RateLimited,
            });
            assert_eq!(explained, refusal, "{members} {client_ip:?} {scopes:?}");
        }
    }

    #[test]
    fn only_who_holds_a_genuine_operators_secret_has_a_verdict_explained() {
        let plain = index("");
        let words: Vec<_> = explain(&plain, &Digest::of("sec_1"), &Asked::default(), Outcome::NotSet, NOW)
            .unwrap()
            .iter()
            .map(|finding| (finding.check.word(), finding.outcome.word()))
            .collect();
        let expected = [
            ("secret", "passed"),
            ("revocation", "passed"),
            ("expiry", "not_set"),
            ("allowed_ips", "not_set"),
            ("scopes", "not_set"),
            ("limits", "not_set"),
        ];
        assert_eq!(words, expected);
        assert_eq!(
            explain(&plain, &Digest::of("sec_2"), &Asked::default(), Outcome::NotSet, NOW),
            None
        );
        assert_eq!(
            explain(
                &index(r#","user_id":"u""#),
                &Digest::of("sec_1"),
                &Asked::default(),
                Outcome::NotSet,
                NOW
            ),
            None
        );
    }

    #[test]
    fn a_key_without_metadata_is_answered_with_an_empty_object() {
        for members in ["", r#","metadata":null"#, r#","metadata":{ }"#] {
            assert_eq!(
                verify(&index(members), "sec_1", &Asked::default(), NOW)
                    .unwrap()
                    .metadata,
                "{}"
            );
        }
    }

    #[test]
    fn an_unknown_secret_is_invalid() {
        for presented in ["", "sec_", "sec_2", "sec_1 ", "SEC_1", "key_1"] {
            assert_eq!(
                verify(&index(""), presented, &Asked::default(), NOW).err(),
                Some(Refusal::Invalid),
                "{presented:?}"
            );
        }
    }

    #[test]
    fn a_key_is_good_until_the_millisecond_of_its_expiry() {
        let expires = format!(r#","expires_at":"{NOW_TEXT}""#);
        assert_eq!(refusal(&expires, Timestamp::from_millis(NOW.as_millis() - 1)), None);
        assert_eq!(refusal(&expires, NOW), Some(Refusal::Expired));
        assert_eq!(
            refusal(&expires, Timestamp::from_millis(i64::MAX)),
            Some(Refusal::Expired)
        );
    }

    #[test]
    fn a_key_without_expiry_is_good_at_any_time() {
        assert_eq!(refusal(r#","expires_at":null"#, Timestamp::from_millis(i64::MAX)), None);
    }

    #[test]
    fn a_revoked_key_says_so_even_when_it_has_expired_unless_it_is_merely_inactive() {
        let expires = format!(r#","expires_at":"{NOW_TEXT}""#);
        let (inactive, revoked) = (r#","is_active":false"#, r#","revoked_at":"2020-01-01T00:00:00Z""#);
        let before = Timestamp::from_millis(NOW.as_millis() - 1);
        for (members, now, expected) in [
            (revoked.to_owned(), NOW, Refusal::Revoked),
            (inactive.to_owned(), NOW, Refusal::Revoked),
            (format!("{expires}{revoked}"), NOW, Refusal::Revoked),
            (format!("{expires}{revoked}{inactive}"), NOW, Refusal::Revoked),
            (format!("{expires}{inactive}"), before, Refusal::Revoked),
            (format!("{expires}{inactive}"), NOW, Refusal::Expired),
        ] {
            assert_eq!(refusal(&members, now), Some(expected), "{members}");
        }
    }
}
