use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::*;

/// As `json.dumps(…, indent=2)` of the Python service writes it: indented, and nothing but ASCII.
const OF_PYTHON: &str = r#"{
  "keys": [
    {
      "id": "key_0001vDmowdgLBqEcDYe",
      "secret": "sec_0001vDmowg2tzwvpaFL",
      "name": "Gr\u00fc\u00dfe  \"x\\\"",
      "secret_type": "shared_secret",
      "created_at": "2025-10-28T16:45:18.123456Z",
      "updated_at": null,
      "expires_at": null,
      "metadata": {
        "team": "a  b",
        "limits": [
          1,
          1.50
        ],
        "empty": {}
      }
    }
  ]
}"#;

fn parse(json: &str) -> Document {
    Document::parse(json.as_bytes()).unwrap()
}

fn written(document: &Document) -> String {
    String::from_utf8(document.to_json()).unwrap()
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_document_of_the_python_service_is_rewritten_one_record_a_line() {
    let expected = concat!(
        r#"{"keys":["#,
        "\n",
        r#"{"id":"key_0001vDmowdgLBqEcDYe","secret":"sec_0001vDmowg2tzwvpaFL","name":"Gr\u00fc\u00dfe  \"x\\\"","#,
        r#""secret_type":"shared_secret","created_at":"2025-10-28T16:45:18.123456Z","updated_at":null,"#,
        r#""expires_at":null,"metadata":{"team":"a  b","limits":[1,1.50],"empty":{}}}"#,
        "\n]}\n",
    );
    assert_eq!(written(&parse(OF_PYTHON)), expected);
    assert_eq!(value(expected), value(OF_PYTHON));
}

#[test]
fn the_first_document_holds_no_keys_and_no_generation() {
    let document = Document::empty();
    assert_eq!(
        (document.records().len(), document.generation(), document.write_id()),
        (0, None, None)
    );
    assert_eq!(written(&document), "{\"keys\":[]}\n");
}

#[test]
fn everything_a_document_says_is_kept_to_the_letter_and_in_order() {
    for json in [
        r#"{"keys":[]}"#,
        r#"{"before":1,"keys":[],"after":2}"#,
        r#"{"a":1,"a":2,"keys":[],"a":3}"#,
        r#"{"n":12345678901234567890123456789012345678901234567890,"f":1.10E+0400,"m":-0,"keys":[]}"#,
        r#"{"\u006eame\n":"\u00e9\/\ud83d\ude00","keys":[]}"#,
        r#"{"half a pair \ud800":"\udc00","keys":[]}"#,
        r#"{"ключ 🔑":{"вложено":[[],{},[null,true,false]]},"keys":[]}"#,
        r#"{"$serde_json::private::RawValue":"x","keys":[]}"#,
    ] {
        assert_eq!(
            written(&parse(json)),
            format!("{}\n", json.replace(",\"", ",\n\"")),
            "{json}"
        );
    }
    for record in [
        r#"{"id":"a","id":"b"}"#,
        r#"{"z":9007199254740993,"a":0.1000,"z":1e9999}"#,
        r#"{"half a pair \ud800":"\udc00"}"#,
        "[]",
        "null",
        r#""text""#,
        "17",
    ] {
        let json = format!("{{\"keys\":[\n{record},\n{record}\n]}}\n");
        assert_eq!(written(&parse(&json)), json, "{record}");
    }
}

#[test]
fn a_document_is_written_into_room_that_it_fills() {
    for json in [
        r#"{"keys":[]}"#,
        r#"{"before":"a longer text","keys":[{"id":"a"},{"id":"b","name":"a longer text"}],"after":2}"#,
    ] {
        let document = parse(json);
        let needed = document.to_json().len();
        assert!(
            (needed..=needed + 1).contains(&document.json_len_at_most()),
            "{json}: {needed}"
        );
    }
}

#[test]
fn deeply_nested_unknown_members_are_kept() {
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let json = format!("{{\"deep\":{deep},\n\"keys\":[\n{{\"deep\":{deep}}}\n]}}\n");
    assert_eq!(written(&parse(&json)), json);
}

#[test]
fn of_a_repeated_list_of_keys_the_last_counts() {
    let document = parse(r#"{"keys":[{"id":"old","secret":"s"}],"x":1,"k\u0065ys":[{"id":"new"}]}"#);
    assert_eq!(written(&document), "{\"x\":1,\n\"keys\":[\n{\"id\":\"new\"}\n]}\n");
    assert_eq!(
        Document::parse(br#"{"keys":[],"keys":null}"#).unwrap_err(),
        DocumentError::NoKeys
    );
    assert_eq!(parse(r#"{"keys":null,"keys":[]}"#).records().len(), 0);
}

#[test]
fn what_is_no_document_is_told_apart() {
    use DocumentError::{Empty, NoKeys, NotJson, Truncated};
    for (bytes, expected) in [
        (&b""[..], Empty),
        (b" \r\n\t ", Empty),
        (b"<!DOCTYPE html><html></html>", NotJson),
        (b"\xef\xbb\xbf{\"keys\":[]}", NotJson),
        (b"\x00\x01\x02", NotJson),
        (b"\x1f\x8b\x08", NotJson),
        (b"{\"keys\":[],\"x\":\"\xff\"}", NotJson),
        (b"\xc3", NotJson),
        (b"HEARE_ENCRYPTED_V1:gAAAAA", NotJson),
        (b"{\"keys\":[1..", NotJson),
        (b"{\"keys\":[-e", NotJson),
        (b"see http://.", NotJson),
        (b"{\"keys\":[]}}", NotJson),
        (b"{\"keys\":[]} {\"keys\":[]}", NotJson),
        (b"{\"keys\":[],}", NotJson),
        (b"{'keys':[]}", NotJson),
        (b"{\"keys\":[{\"id\":\"a\nb\"}]}", NotJson),
        (b"{", Truncated),
        (b"[1,", Truncated),
        (b"{\"keys\"", Truncated),
        (b"{\"keys\":[{\"id\":\"a\"},", Truncated),
        (b"{\"keys\":[{\"id\":\"a", Truncated),
        (b"{\"keys\":[{\"id\":\"\xc3", Truncated),
        (b"{\"keys\":[],\"x\":tr", Truncated),
        (b"{\"keys\":[]", Truncated),
        (b"{}", NoKeys),
        (b"[]", NoKeys),
        (b"[{\"keys\":[]}]", NoKeys),
        (b"null", NoKeys),
        (b"17", NoKeys),
        (b"\"keys\"", NoKeys),
        (b"{\"keys\":{}}", NoKeys),
        (b"{\"keys\":null}", NoKeys),
        (b"{\"keys\":\"[]\"}", NoKeys),
        (b"{\"Keys\":[]}", NoKeys),
        (b"{\"error\":{\"keys\":[]}}", NoKeys),
    ] {
        assert_eq!(
            Document::parse(bytes).unwrap_err(),
            expected,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_document_cut_anywhere_is_truncated() {
    let whole = r#"{"generation":12,"keys":[{"id":"ключ","n":-1.5e3,"b":[true,null]},{}],"written_at":"\u00e9"}"#;
    for end in 1..whole.len() {
        assert_eq!(
            Document::parse(&whole.as_bytes()[..end]).unwrap_err(),
            DocumentError::Truncated,
            "{end} bytes"
        );
    }
    parse(whole);
}

#[test]
fn a_generation_is_a_whole_number_from_one() {
    for (json, expected) in [
        (r#"{"generation":1,"keys":[]}"#, Some(1)),
        (r#"{"generation":2,"generation":7,"keys":[]}"#, Some(7)),
        (r#"{"keys":[],"generation":18446744073709551615}"#, Some(u64::MAX)),
        (r#"{"generation":0,"keys":[]}"#, None),
        (r#"{"generation":-3,"keys":[]}"#, None),
        (r#"{"generation":1.5,"keys":[]}"#, None),
        (r#"{"generation":"4","keys":[]}"#, None),
        (r#"{"generation":null,"keys":[]}"#, None),
        (r#"{"generation":18446744073709551616,"keys":[]}"#, None),
        (r#"{"keys":[]}"#, None),
    ] {
        assert_eq!(parse(json).generation(), expected, "{json}");
    }
}

#[test]
fn a_first_stamp_stands_in_front_of_the_keys() {
    let mut document = parse(r#"{"note":"kept","keys":[],"after":[1, 2]}"#);
    document.stamp("w1", at("2024-01-20T10:30:00.5Z"));
    let expected = concat!(
        "{\"note\":\"kept\",\n\"generation\":1,\n\"write_id\":\"w1\",\n\"written_at\":\"2024-01-20T10:30:00Z\",\n",
        "\"keys\":[],\n\"after\":[1,2]}\n",
    );
    assert_eq!(written(&document), expected);
}

#[test]
fn a_later_stamp_replaces_the_earlier_one_where_it_stands() {
    let mut document = parse(r#"{"write_id":"w1","generation":3,"keys":[],"generation":41,"written_at":"x","z":0}"#);
    document.stamp("w2", at("2024-01-20T10:30:00Z"));
    assert_eq!((document.generation(), document.write_id()), (Some(42), Some("w2")));
    let expected =
        "{\"write_id\":\"w2\",\n\"keys\":[],\n\"generation\":42,\n\"written_at\":\"2024-01-20T10:30:00Z\",\n\"z\":0}\n";
    assert_eq!(written(&document), expected);
}

#[test]
fn a_generation_that_is_none_is_followed_by_the_first() {
    let mut document = parse(r#"{"generation":"many","keys":[]}"#);
    document.stamp("w", at("2024-01-20"));
    assert_eq!(document.generation(), Some(1));
}

#[test]
fn debug_shows_nothing_of_a_record() {
    let shown = format!("{:?}", parse(OF_PYTHON));
    assert!(!shown.contains("sec_") && shown.contains("records: 1"), "{shown}");
}

type Edit = fn(&mut Members<'_>);

#[test]
fn members_are_edited_where_they_stand() {
    let object = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let raw = object(r#"{"a": 1, "b": 2, "\u0061": 3, "c": 4}"#);
    let read = || Members::read(&raw).unwrap();
    assert_eq!(read().get("a").map(RawValue::get), Some("3"));
    let edits: [(Edit, &str); 5] = [
        (|members| members.set("a", json_of(&9)), r#"{"b":2,"a":9,"c":4}"#),
        (
            |members| members.set("d", json_of(&9)),
            r#"{"a":1,"b":2,"\u0061":3,"c":4,"d":9}"#,
        ),
        (
            |members| members.replace("b", "x\"y", json_of(&9)),
            r#"{"a":1,"x\"y":9,"\u0061":3,"c":4}"#,
        ),
        (|members| members.remove("a"), r#"{"b":2,"c":4}"#),
        (
            |members| members.insert_before("c", "d", json_of(&9)),
            r#"{"a":1,"b":2,"\u0061":3,"d":9,"c":4}"#,
        ),
    ];
    for (edit, expected) in edits {
        let mut members = read();
        edit(&mut members);
        assert_eq!(members.to_raw().get(), expected);
    }
    assert!(Members::read(&object("[1]")).is_none());
    let error = serde_json::from_str::<Members>("[1]").err().unwrap();
    assert!(
        error.to_string().ends_with("expected an object at line 1 column 0"),
        "{error}"
    );
}

/// Any JSON value as compact text, with spellings that a value tree would not keep.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?",
        json_string(),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            json_object(vec((json_string(), inner), 0..3)),
        ]
    })
}

fn json_string() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u00[0-9a-f]{2}|\\\\/| |,){0,4}\"",
    ]
}

fn json_object(members: impl Strategy<Value = Vec<(String, String)>>) -> impl Strategy<Value = String> {
    members.prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #[test]
    fn a_document_with_any_members_survives_a_rewrite_to_the_letter(
        before in vec((json_string(), json_text()), 0..3),
        records in vec(json_object(vec((json_string(), json_text()), 0..5)), 0..4),
        after in vec((json_string(), json_text()), 0..3),
    ) {
        let list = if records.is_empty() { "[]".to_owned() } else { format!("[\n{}\n]", records.join(",\n")) };
        let keys = ("\"keys\"".to_owned(), list);
        let members: Vec<_> = before.iter().chain([&keys]).chain(&after).map(|(name, value)| format!("{name}:{value}")).collect();
        let json = format!("{{{}}}\n", members.join(",\n"));
        let document = parse(&json);
        prop_assert_eq!(document.records().map(RawValue::get).collect::<Vec<_>>(), records);
        prop_assert_eq!(written(&document), &*json);
        prop_assert_eq!(written(&parse(&written(&document))), json);
    }

    #[test]
    fn white_space_is_all_that_a_rewrite_changes(tree in json_text().prop_filter_map("numbers beyond a tree", |json| serde_json::from_str::<Value>(&json).ok())) {
        let keys = [&tree];
        let json = serde_json::to_string_pretty(&serde_json::json!({ "x": tree, "keys": keys })).unwrap();
        prop_assert_eq!(value(&written(&parse(&json))), value(&json));
    }

    #[test]
    fn no_bytes_make_parsing_panic(bytes in vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a-z0-9 \\\\]{0,60}") {
        let _ = (Document::parse(&bytes), Document::parse(text.as_bytes()));
    }
}
