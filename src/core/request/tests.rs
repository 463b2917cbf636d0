use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn parse(body: &str) -> Result<String, Malformed> {
    VerifyRequest::parse(body.as_bytes()).map(|request| request.api_key.clone().into_owned())
}

#[test]
fn a_plain_key_is_borrowed_from_the_body() {
    let request = VerifyRequest::parse(br#" {"api_key" : "sec_1"} "#).unwrap();
    assert!(matches!(request.api_key, Cow::Borrowed("sec_1")));
}

#[test]
fn a_key_written_with_escapes_is_decoded() {
    assert_eq!(
        parse(r#"{"api_key":"sec\u005f1\ud83d\ude00"}"#).as_deref(),
        Ok("sec_1😀")
    );
    assert_eq!(parse(r#"{"api\u005fkey":"sec_1"}"#).as_deref(), Ok("sec_1"));
}

#[test]
fn other_members_are_ignored() {
    let deep = format!(
        r#"{{"deep":{}{},"api_key":"sec_1"}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let odd = r#"{"\ud800":"\udc00","n":1e999,"api_key":"sec_1","API_KEY":"x"}"#;
    for body in [r#"{"scopes":["a"],"api_key":"sec_1","ip":null}"#, odd, &deep] {
        assert_eq!(parse(body).as_deref(), Ok("sec_1"));
    }
}

#[test]
fn of_a_repeated_key_the_last_counts() {
    assert_eq!(parse(r#"{"api_key":7,"api_key":"sec_2"}"#).as_deref(), Ok("sec_2"));
    assert_eq!(
        parse(r#"{"api_key":"sec_1","api_key":7}"#),
        Err(Malformed::ApiKeyNotAString)
    );
}

#[test]
fn every_malformed_body_is_told_apart() {
    let table = [
        ("", Malformed::NotJson),
        ("   ", Malformed::NotJson),
        ("sec_1", Malformed::NotJson),
        ("api_key=sec_1", Malformed::NotJson),
        (r#"{"api_key":"sec_1""#, Malformed::NotJson),
        (r#"{"api_key":"sec_1"} x"#, Malformed::NotJson),
        (r#"{"api_key":"sec_1"}{}"#, Malformed::NotJson),
        (r#"{"api_key":"sec_1",}"#, Malformed::NotJson),
        ("{'api_key':'sec_1'}", Malformed::NotJson),
        ("{\"api_key\":\"sec\n_1\"}", Malformed::NotJson),
        ("\u{feff}{\"api_key\":\"sec_1\"}", Malformed::NotJson),
        (r#"{"api_key":"\ud800"}"#, Malformed::NotJson),
        (r#"{"api_key":NaN}"#, Malformed::NotJson),
        ("[", Malformed::NotJson),
        ("[]", Malformed::NotAnObject),
        (r#"["api_key"]"#, Malformed::NotAnObject),
        (r#" "sec_1" "#, Malformed::NotAnObject),
        ("null", Malformed::NotAnObject),
        ("7", Malformed::NotAnObject),
        ("{}", Malformed::MissingApiKey),
        (r#"{"apikey":"sec_1"}"#, Malformed::MissingApiKey),
        (r#"{"api_key":null}"#, Malformed::ApiKeyNotAString),
        (r#"{"api_key":{"api_key":"sec_1"}}"#, Malformed::ApiKeyNotAString),
        (r#"{"api_key":1e999}"#, Malformed::ApiKeyNotAString),
    ];
    for (body, expected) in table {
        assert_eq!(parse(body), Err(expected), "{body}");
    }
}

#[test]
fn a_body_that_is_not_utf_8_is_not_json() {
    assert_eq!(
        VerifyRequest::parse(b"{\"api_key\":\"\xff\"}").unwrap_err(),
        Malformed::NotJson
    );
    assert_eq!(
        VerifyRequest::parse(b"{\"x\":\"\xed\xa0\x80\",\"api_key\":\"sec_1\"}").unwrap_err(),
        Malformed::NotJson
    );
}

#[test]
fn the_length_of_a_key_is_counted_in_characters() {
    for character in ["x", "é", "😀", r"\u00e9", r"\ud83d\ude00"] {
        let body = |count| format!(r#"{{"api_key":"{}"}}"#, character.repeat(count));
        assert!(parse(&body(MAX_API_KEY_CHARS)).is_ok(), "{character}");
        assert_eq!(
            parse(&body(MAX_API_KEY_CHARS + 1)),
            Err(Malformed::ApiKeyTooLong),
            "{character}"
        );
    }
}

#[test]
fn a_request_shows_nothing_in_debug_output() {
    let request = VerifyRequest::parse(br#"{"api_key":"sec_1"}"#).unwrap();
    assert!(!format!("{request:?}").contains("sec_1"));
}

/// Pieces of bodies, put together in ways that are sometimes JSON.
fn body() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just(r#""api_key""#.to_owned()),
        r#""[a-z\\"é \n]{0,5}""#,
        r#""\\\\u00[0-9a-f]{2}""#
    ];
    let leaf = prop_oneof![3 => text, 1 => "-?[0-9]{1,3}(\\.5)?", 1 => "true|false|null|nul"];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        let member =
            ("\"(api_key|api\\\\\\\\u005fkey|x)\"", inner.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
        let members =
            proptest::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(" , ")));
        let items = proptest::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(",")));
        prop_oneof![4 => members, 1 => items]
    });
    (value, prop_oneof![9 => Just(String::new()), 1 => "[ ,}\\]x]{1,2}"]).prop_map(|(value, tail)| value + &tail)
}

/// What a tree of the whole body says.
fn by_tree(body: &str) -> Result<String, Malformed> {
    match serde_json::from_str(body).map_err(|_| Malformed::NotJson)? {
        Value::Object(members) => match members.get("api_key").ok_or(Malformed::MissingApiKey)? {
            Value::String(api_key) if api_key.chars().count() > MAX_API_KEY_CHARS => Err(Malformed::ApiKeyTooLong),
            Value::String(api_key) => Ok(api_key.clone()),
            _ => Err(Malformed::ApiKeyNotAString),
        },
        _ => Err(Malformed::NotAnObject),
    }
}

proptest! {
    #[test]
    fn a_body_is_read_as_a_tree_of_it_says(body in body()) {
        prop_assert_eq!(parse(&body), by_tree(&body));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = VerifyRequest::parse(&body);
    }
}
