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
    assert_eq!(format!("{request:?}"), "VerifyRequest(***)");
}

/// What is asked for beside the key.
fn options(members: &str) -> Result<VerifyRequest<'static>, Malformed> {
    let body = format!(r#"{{"api_key":"sec_1"{members}}}"#);
    VerifyRequest::parse(body.leak().as_bytes())
}

#[test]
fn a_plain_body_asks_for_nothing_further() {
    for members in [
        "",
        r#","client_ip":null,"required_scopes":null,"cost":null,"endpoint":null,"explain":null"#,
    ] {
        let request = options(members).unwrap();
        assert_eq!(request.asked, Asked::default());
        assert_eq!(
            (request.cost, request.endpoint.as_deref(), request.explain),
            (1, None, false)
        );
    }
}

#[test]
fn the_optional_members_are_read() {
    let request = options(
        r#","client_ip":"::ffff:192.0.2.7","required_scopes":["orders:write","a\u003ab"],"cost":25,"endpoint":"POST /or\u0064ers","explain":true"#,
    )
    .unwrap();
    assert_eq!(request.asked.client_ip, Some("192.0.2.7".parse().unwrap()));
    let scopes: Vec<_> = request.asked.required_scopes.iter().map(Scope::as_str).collect();
    assert_eq!(scopes, ["orders:write", "a:b"]);
    assert_eq!(
        (request.cost, request.endpoint.as_deref(), request.explain),
        (25, Some("POST /orders"), true)
    );
    assert_eq!(options(r#","cost":7,"cost":8"#).unwrap().cost, 8);
}

#[test]
fn an_optional_member_that_is_wrong_is_told_apart() {
    let many = format!(r#","required_scopes":["a"{}]"#, r#","a""#.repeat(100));
    let long = format!(r#","endpoint":"{}""#, "é".repeat(257));
    let table = [
        (r#","client_ip":7"#, Malformed::ClientIpNotAString),
        (r#","client_ip":"""#, Malformed::ClientIpNotAnAddress),
        (r#","client_ip":"192.0.2.7:80""#, Malformed::ClientIpNotAnAddress),
        (r#","client_ip":"10.0.0.0/8""#, Malformed::ClientIpNotAnAddress),
        (r#","client_ip":"\ud800""#, Malformed::NotJson),
        (r#","required_scopes":"a""#, Malformed::ScopesNotAList),
        (r#","required_scopes":{}"#, Malformed::ScopesNotAList),
        (r#","required_scopes":[7]"#, Malformed::ScopeNotAString),
        (r#","required_scopes":["a b"]"#, Malformed::ScopeMalformed),
        (r#","required_scopes":[""]"#, Malformed::ScopeMalformed),
        (&many, Malformed::TooManyScopes),
        (r#","cost":"1""#, Malformed::CostNotAnInteger),
        (r#","cost":1.0"#, Malformed::CostNotAnInteger),
        (r#","cost":1e2"#, Malformed::CostNotAnInteger),
        (r#","cost":true"#, Malformed::CostNotAnInteger),
        (r#","cost":0"#, Malformed::CostTooSmall),
        (r#","cost":-0"#, Malformed::CostTooSmall),
        (r#","cost":-7"#, Malformed::CostTooSmall),
        (r#","cost":100001"#, Malformed::CostTooLarge),
        (r#","cost":99999999999999999999"#, Malformed::CostTooLarge),
        (r#","endpoint":[]"#, Malformed::EndpointNotAString),
        (&long, Malformed::EndpointTooLong),
        (r#","explain":"true""#, Malformed::ExplainNotABoolean),
        (r#","explain":1"#, Malformed::ExplainNotABoolean),
    ];
    for (members, expected) in table {
        assert_eq!(options(members).err(), Some(expected), "{members}");
    }
    assert_eq!(parse(r#"{"client_ip":7}"#), Err(Malformed::MissingApiKey));
}

#[test]
fn a_batch_is_a_list_or_an_object_with_one() {
    for body in [r#"[{"api_key":"a"},7]"#, r#" {"x":1,"requests":[{"api_key":"a"},7]}"#] {
        let requests = parse_batch(body.as_bytes()).unwrap();
        let texts: Vec<_> = requests.iter().map(|raw| raw.get()).collect();
        assert_eq!(texts, [r#"{"api_key":"a"}"#, "7"]);
    }
    let of = |count| format!("[{}]", vec!["7"; count].join(","));
    assert_eq!(
        parse_batch(of(MAX_BATCH).as_bytes()).map(|list| list.len()),
        Ok(MAX_BATCH)
    );
    let table = [
        ("", Malformed::NotJson),
        ("[", Malformed::NotJson),
        ("[1]]", Malformed::NotJson),
        ("7", Malformed::NotAnObject),
        ("{}", Malformed::MissingRequests),
        (r#"{"api_key":"a"}"#, Malformed::MissingRequests),
        (r#"{"requests":{}}"#, Malformed::RequestsNotAList),
        (r#"{"requests":null}"#, Malformed::RequestsNotAList),
        (&of(MAX_BATCH + 1), Malformed::TooManyRequests),
    ];
    for (body, expected) in table {
        assert_eq!(parse_batch(body.as_bytes()).err(), Some(expected), "{body}");
    }
}

#[test]
fn a_key_may_come_from_elsewhere_but_not_another_one() {
    let key = |body: &'static str, sent| {
        VerifyRequest::parse_with(body.as_bytes(), sent)
            .map(|request| request.map(|request| request.api_key.to_string()))
    };
    let table = [
        ("", Some("a"), Ok(Some("a"))),
        (" \n", Some("a"), Ok(Some("a"))),
        ("{}", Some("a"), Ok(Some("a"))),
        (r#"{"api_key":null}"#, Some("a"), Ok(Some("a"))),
        (r#"{"api_key":"a"}"#, None, Ok(Some("a"))),
        (r#"{"api_key":"a"}"#, Some("a"), Ok(Some("a"))),
        (r#"{"api_key":"a"}"#, Some("b"), Err(Malformed::TwoApiKeys)),
        ("", None, Ok(None)),
        ("{}", None, Ok(None)),
        ("x", Some("a"), Err(Malformed::NotJson)),
        (r#"{"api_key":7}"#, Some("a"), Err(Malformed::ApiKeyNotAString)),
        (r#"{"cost":0}"#, Some("a"), Err(Malformed::CostTooSmall)),
    ];
    for (body, sent, expected) in table {
        assert_eq!(
            key(body, sent),
            expected.map(|key| key.map(str::to_owned)),
            "{body} {sent:?}"
        );
    }
}

/// As the Python service answered.
#[test]
fn a_client_is_told_where_in_the_body_it_is_wrong_and_how() {
    let table: [(_, &[_], _, _); 4] = [
        ("", &["body"], "json_invalid", "JSON decode error"),
        (
            "[]",
            &["body"],
            "model_attributes_type",
            "Input should be a valid dictionary or object to extract fields from",
        ),
        ("{}", &["body", "api_key"], "missing", "Field required"),
        (
            r#"{"api_key":7}"#,
            &["body", "api_key"],
            "string_type",
            "Input should be a valid string",
        ),
    ];
    for (body, location, kind, message) in table {
        let malformed = parse(body).unwrap_err();
        assert_eq!(malformed.location(), location, "{body}");
        assert_eq!((malformed.kind(), malformed.message()), (kind, message), "{body}");
    }
}

#[test]
fn every_reason_has_words_of_its_own() {
    let sentences: std::collections::HashSet<_> = Malformed::ALL.map(Malformed::sentence).into();
    assert_eq!(sentences.len(), Malformed::ALL.len());
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
