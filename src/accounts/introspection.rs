//! What a token or an API key says (RFC 7662), and who may know. Whatever is not good, or not for the one who asks to know,
//! is told in the same words.

use std::borrow::Cow;

use serde::Serialize;

use super::token::{Claims, Tokens};
use crate::core::{
    scope::{self, Scope},
    time::Timestamp,
    verify::Good,
};

/// For everything that is not active, whatever the reason.
pub const INACTIVE: &str = r#"{"active":false}"#;

/// The scope for services that ask about tokens and do nothing else.
pub const INTROSPECT: &str = "introspect";
const ADMIN: &str = "admin";

/// Who asks. A caller who is none of these is refused, as nobody shall try out tokens here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// May know about every key and token: an operator's key with the scope `introspect` or `admin`.
    Everything,
    /// May know about what is this user's own.
    User(i64),
    /// May know about the keys and tokens of its owner.
    Owner(String),
}

impl Asker {
    /// `None` for an operator's key without the scope. A key with an owner has its scopes from that owner, so none of them
    /// opens what belongs to others.
    pub fn of_key(key: &Good<'_>) -> Option<Self> {
        let policy = key.policy?;
        let has = |scope| Scope::parse(scope).is_ok_and(|wanted| scope::grants(&policy.scopes, &[wanted]));
        match policy.user_id {
            Some(owner) => Some(Self::Owner(plain(owner))),
            None => (has(INTROSPECT) || has(ADMIN)).then_some(Self::Everything),
        }
    }

    pub fn of_token(claims: &Claims) -> Self {
        Self::User(claims.user_id)
    }

    /// Whether it may know about what belongs to this owner, or to none.
    fn may_know(&self, owner: Option<&str>) -> bool {
        match self {
            Self::Everything => true,
            Self::User(user_id) => owner == Some(user_id.to_string().as_str()),
            Self::Owner(own) => owner == Some(own.as_str()),
        }
    }
}

/// The answer about a token that is good and whose session is there.
pub fn of_token(asker: &Asker, claims: &Claims, tokens: &Tokens) -> String {
    if !asker.may_know(Some(&claims.user_id.to_string())) {
        return INACTIVE.to_owned();
    }
    written(&Answer {
        username: Some(&claims.login),
        token_type: "Bearer",
        exp: Some(claims.expires_at),
        iat: Some(claims.issued_at),
        nbf: Some(claims.not_before),
        sub: Some(Cow::Borrowed(&claims.login)),
        aud: Some(tokens.audience()),
        iss: Some(tokens.issuer()),
        jti: Some(&claims.token_id),
        sid: Some(&claims.session_id),
        user_id: Some(Cow::Owned(claims.user_id.to_string())),
        ..Answer::default()
    })
}

/// The answer about a key that a verify with the same circumstances finds good.
pub fn of_key(asker: &Asker, key: &Good<'_>) -> String {
    let owner = key.policy.and_then(|policy| policy.user_id).map(plain);
    if !asker.may_know(owner.as_deref()) {
        return INACTIVE.to_owned();
    }
    let id = plain(key.id);
    // One that was replaced ends before its key does.
    let ends = [key.expires_at, key.previous_until];
    let scopes: Vec<&str> = key.scopes().iter().map(Scope::as_str).collect();
    written(&Answer {
        scope: (!scopes.is_empty()).then(|| scopes.join(" ")),
        client_id: Some(&id),
        token_type: "api_key",
        exp: ends.into_iter().flatten().min().map(Timestamp::as_seconds),
        sub: Some(owner.as_deref().map_or(Cow::Borrowed(id.as_str()), Cow::Borrowed)),
        user_id: owner.as_deref().map(Cow::Borrowed),
        ..Answer::default()
    })
}

/// In the order of RFC 7662, and behind them members of our own.
#[derive(Default, Serialize)]
struct Answer<'a> {
    active: True,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    /// As keys name their owners.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Cow<'a, str>>,
}

#[derive(Default)]
struct True;

impl Serialize for True {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

fn written(answer: &Answer<'_>) -> String {
    serde_json::to_string(answer).expect("texts and numbers are always JSON")
}

/// The index holds the insides of JSON strings.
fn plain(inside: &str) -> String {
    serde_json::from_str(&format!("\"{inside}\"")).unwrap_or_else(|_| inside.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        accounts::{keys::Keys, token::Subject},
        config::TokenConfig,
        core::{
            index::Index,
            secret::Digest,
            verify::{Asked, verify_digest},
        },
    };

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn tokens() -> Tokens {
        let settings = |name: &str| (name == "SECRET_KEY").then(|| "0123456789abcdef0123456789abcdef".to_owned());
        let config = TokenConfig::from_lookup(&settings).unwrap();
        Tokens::new(Keys::open(&config.signing, NOW, &mut |_| {}).unwrap().unwrap(), &config)
    }

    fn index() -> Index {
        let record = |id: &str, more: Value| {
            let mut record = json!({"id": id, "name": id, "secret": id});
            record
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            record
        };
        let keys = json!([
            record("key_admin", json!({"scopes": ["admin"]})),
            record("key_asks", json!({"scopes": ["introspect"]})),
            record("key_plain", json!({})),
            record("key_other", json!({"scopes": ["orders:read"]})),
            record(
                "key_of_7",
                json!({"user_id": "7", "scopes": ["a:b", "c"], "expires_at": "2030-01-01T00:00:00Z"})
            ),
            record("key_of_8", json!({"user_id": "8", "scopes": ["introspect", "admin"]})),
        ]);
        Index::build(json!({"keys": keys}).to_string().as_bytes()).unwrap()
    }

    fn key<'i>(index: &'i Index, id: &str) -> Good<'i> {
        verify_digest(index, &Digest::of(id), &Asked::default(), NOW).unwrap()
    }

    fn asker(index: &Index, id: &str) -> Option<Asker> {
        Asker::of_key(&key(index, id))
    }

    fn claims(tokens: &Tokens, user_id: i64) -> Claims {
        let subject = Subject {
            login: "ada",
            user_id,
            session_id: "ses_1",
        };
        tokens.issue(subject, NOW, &mut |bytes| bytes.fill(1)).claims
    }

    fn read(answer: &str) -> Value {
        serde_json::from_str(answer).unwrap()
    }

    #[test]
    fn only_an_operators_key_with_the_scope_may_ask_about_everything() {
        let index = index();
        for (id, expected) in [
            ("key_admin", Some(Asker::Everything)),
            ("key_asks", Some(Asker::Everything)),
            ("key_plain", None),
            ("key_other", None),
            ("key_of_8", Some(Asker::Owner("8".to_owned()))),
        ] {
            assert_eq!(asker(&index, id), expected, "{id}");
        }
    }

    #[test]
    fn a_good_token_tells_its_claims() {
        let tokens = tokens();
        let claims = claims(&tokens, 7);
        let second = NOW.as_seconds();
        assert_eq!(
            read(&of_token(&Asker::Everything, &claims, &tokens)),
            json!({
                "active": true, "username": "ada", "token_type": "Bearer", "exp": second + 86400, "iat": second,
                "nbf": second, "sub": "ada", "aud": "heare-auth", "iss": "heare-auth", "jti": claims.token_id,
                "sid": "ses_1", "user_id": "7",
            })
        );
    }

    #[test]
    fn a_good_key_tells_whose_it_is_and_what_for() {
        let index = index();
        assert_eq!(
            read(&of_key(&Asker::Everything, &key(&index, "key_of_7"))),
            json!({
                "active": true, "scope": "a:b c", "client_id": "key_of_7", "token_type": "api_key",
                "exp": 1_893_456_000, "sub": "7", "user_id": "7",
            })
        );
        assert_eq!(
            read(&of_key(&Asker::Everything, &key(&index, "key_plain"))),
            json!({"active": true, "client_id": "key_plain", "token_type": "api_key", "sub": "key_plain"})
        );
    }

    #[test]
    fn who_may_not_know_is_told_what_is_told_about_anything_bad() {
        let (index, tokens) = (index(), tokens());
        let of_7 = asker(&index, "key_of_7").unwrap();
        let of_8 = asker(&index, "key_of_8").unwrap();
        let (user_7, user_8) = (
            Asker::of_token(&claims(&tokens, 7)),
            Asker::of_token(&claims(&tokens, 8)),
        );
        for (asker, knows_7) in [(&of_7, true), (&user_7, true), (&of_8, false), (&user_8, false)] {
            let about_key = of_key(asker, &key(&index, "key_of_7"));
            let about_token = of_token(asker, &claims(&tokens, 7), &tokens);
            assert_eq!(about_key != INACTIVE, knows_7, "{asker:?}");
            assert_eq!(about_token != INACTIVE, knows_7, "{asker:?}");
            assert_eq!(of_key(asker, &key(&index, "key_admin")), INACTIVE);
        }
    }
}
