//! The question itself: is this presented key good now?

use bytes::BufMut;

use super::{
    index::{Entry, Index},
    secret::Digest,
    time::Timestamp,
};

/// Why a key is not good. One enum feeds the `code` in the body, the log, the metrics and the table in USAGE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Unknown or malformed.
    Invalid,
    Expired,
    Revoked,
}

impl Refusal {
    pub const ALL: [Self; 3] = [Self::Invalid, Self::Expired, Self::Revoked];

    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Only the holder of a genuine secret ever sees a refusal other than `Invalid`.
pub fn verify<'a>(index: &'a Index, presented: &str, now: Timestamp) -> Result<Entry<'a>, Refusal> {
    let entry = index.find(&Digest::of(presented)).ok_or(Refusal::Invalid)?;
    match entry.expires_at {
        _ if entry.revoked => Err(Refusal::Revoked),
        Some(expires_at) if now >= expires_at => Err(Refusal::Expired),
        Some(_) | None => Ok(entry),
    }
}

impl Entry<'_> {
    /// The answer to the holder of this key, as JSON. Allocates nothing where `out` has room for `answer_len` bytes.
    pub fn write_answer(&self, out: &mut impl BufMut) {
        for part in self.answer() {
            out.put_slice(part.as_bytes());
        }
    }

    pub fn answer_len(&self) -> usize {
        self.answer().map(str::len).iter().sum()
    }

    /// Id, name and metadata are JSON already.
    fn answer(&self) -> [&str; 7] {
        [
            r#"{"valid":true,"key_id":""#,
            self.id,
            r#"","name":""#,
            self.name,
            r#"","metadata":"#,
            self.metadata,
            "}",
        ]
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

    fn refusal(members: &str, now: Timestamp) -> Option<Refusal> {
        verify(&index(members), "sec_1", now).err()
    }

    #[test]
    fn a_good_key_is_answered_with_its_id_name_and_metadata() {
        let index = index(r#","metadata":{ "plan": [1.50, "a b"] }"#);
        let entry = verify(&index, "sec_1", NOW).unwrap();
        let mut answer = Vec::new();
        entry.write_answer(&mut answer);
        let expected = r#"{"valid":true,"key_id":"key_1","name":"Smörgås \"24\"","metadata":{"plan":[1.50,"a b"]}}"#;
        assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
        assert_eq!(entry.answer_len(), answer.len());
    }

    #[test]
    fn a_key_without_metadata_is_answered_with_an_empty_object() {
        for members in ["", r#","metadata":null"#, r#","metadata":{ }"#] {
            assert_eq!(verify(&index(members), "sec_1", NOW).unwrap().metadata, "{}");
        }
    }

    #[test]
    fn an_unknown_secret_is_invalid() {
        for presented in ["", "sec_", "sec_2", "sec_1 ", "SEC_1", "key_1"] {
            assert_eq!(
                verify(&index(""), presented, NOW).err(),
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
    fn a_revoked_key_says_so_even_when_it_has_expired() {
        let expires = format!(r#","expires_at":"{NOW_TEXT}","is_active":false"#);
        assert_eq!(refusal(&expires, NOW), Some(Refusal::Revoked));
        assert_eq!(
            refusal(r#","revoked_at":"2020-01-01T00:00:00Z""#, NOW),
            Some(Refusal::Revoked)
        );
    }
}
