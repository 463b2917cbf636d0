use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// The one value that the text is.
fn value(text: &str) -> Option<&str> {
    scanned(text).map(Json::get)
}

fn scanned(text: &str) -> Option<Json<'_>> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value().ok()?;
    scanner.end().ok().map(|()| value)
}

/// A value as it is cut out here, and as `serde_json` has cut it out.
fn values(text: &str) -> [Json<'_>; 2] {
    [
        scanned(text).unwrap(),
        serde_json::from_str::<&RawValue>(text).unwrap().into(),
    ]
}

/// The same by `serde_json`.
fn by_serde(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

#[test]
fn every_kind_of_value_is_cut_out_as_it_stands() {
    // No stack would hold them.
    let deep = [("[", "]"), (r#"{"a":"#, "}")].map(|(begin, end)| {
        let [begin, end] = [begin, end].map(|part| part.repeat(200_000));
        format!("{begin}1{end}")
    });
    for text in [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "10",
        "-1.50",
        "1e999",
        "2E+07",
        "3.0e-1",
        r#""""#,
        r#""a""#,
        "\"seven b\"",
        "\"fifteen bytes é\"",
        r#""\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00\ud800""#,
        "\"\u{7f}\u{a0}é😀 long enough to be looked at in several steps\"",
        "{}",
        "[]",
        r#"{"":0}"#,
        r#"{ "a" : [ 1 , { "b" : null } ] , "a" : "x" }"#,
        "[[],{},\"]\"]",
        &deep[0],
        &deep[1],
    ] {
        let spaced = format!(" \t\r\n{text}\n ");
        assert_eq!((value(text), value(&spaced)), (Some(text), Some(text)));
        assert_eq!(by_serde(text), Some(text));
    }
}

#[test]
fn whatever_is_no_json_is_found_wrong() {
    let deep = format!("{}1{}}}", "[".repeat(70), "]".repeat(69));
    for text in [
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e3",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "\"",
        "\"a",
        "'a'",
        "\"a\nb\"",
        "\"a\u{0}\"",
        "\"seven b\u{1f}\"",
        r#""\"#,
        r#""\x41""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u 123""#,
        "\"\\u12é\"",
        "{",
        "[",
        "}",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1]",
        "{\"a\":1 \"b\":2}",
        "1 2",
        "\u{feff}1",
        "\u{a0}1",
        "\u{b}1",
        deep.as_str(),
    ] {
        assert_eq!(value(text), None, "{text:?}");
        assert_eq!(by_serde(text), None, "{text:?}");
    }
}

#[test]
fn a_special_byte_is_found_wherever_it_stands() {
    let plain = " !#[]^~\u{7f}\u{80}\u{a0}\u{dc}é😀 and some more";
    for special in [b'"', b'\\', 0, b'\n', 0x1f] {
        for before in 0..plain.len() {
            for after in 0..20 {
                let mut bytes = plain.as_bytes()[plain.len() - before..].to_vec();
                bytes.push(special);
                bytes.extend(std::iter::repeat_n(b'"', after));
                assert_eq!(next_special(&bytes, 0), before, "{bytes:?}");
            }
        }
    }
    assert_eq!(next_special(plain.as_bytes(), 3), plain.len());
}

#[test]
fn a_text_is_borrowed_when_it_has_no_escapes() {
    for (json, borrowed) in [(r#""Café au lait""#, true), (r#""Caf\u00e9 au lait""#, false)] {
        for value in values(json) {
            let text = value.text().unwrap();
            assert_eq!(
                (text.as_ref(), matches!(text, Cow::Borrowed(_))),
                ("Café au lait", borrowed)
            );
        }
    }
    for no_text in ["7", "null", "{}", r#"["\u0032"]"#, r#""\ud800""#] {
        assert_eq!(values(no_text).map(Json::text), [None, None], "{no_text}");
    }
}

#[test]
fn a_text_with_escapes_is_parsed_as_what_it_says() {
    for json in [r#""12""#, r#""1\u0032""#] {
        assert_eq!(values(json).map(Json::parse), [Some(12_u8); 2]);
    }
    for no_number in ["12", r#""a""#, r#""\ud800""#] {
        assert_eq!(values(no_number).map(Json::parse::<u8>), [None; 2], "{no_number}");
    }
}

fn json() -> impl Strategy<Value = Value> {
    let text = "[ \t\n\\\\\"\\{\\},:a-zé😀]{0,24}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((text, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_cut_out_whole(json in json(), spaced: bool) {
        let text = if spaced { format!("{json:#}") } else { json.to_string() };
        prop_assert_eq!(value(&text), Some(text.as_str()));
    }

    #[test]
    fn changed_json_is_judged_as_by_serde(json in json(), at: prop::sample::Index, with in "[\\PC\u{0}-\u{20}]{0,2}") {
        let mut text = json.to_string();
        let at = text.floor_char_boundary(at.index(text.len()));
        text.replace_range(at..text.ceil_char_boundary(at + 1), &with);
        prop_assert_eq!(value(&text), by_serde(&text), "{:?}", text);
    }

    #[test]
    fn what_looks_like_json_is_judged_as_by_serde(text in "[\\[\\]{}:,\"\\\\0-2eE+.\\- ntfu]{0,12}") {
        prop_assert_eq!(value(&text), by_serde(&text), "{:?}", text);
    }
}
