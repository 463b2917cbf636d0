use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[test]
fn labels_and_metadata_come_back_at_every_length() {
    let mut texts = Texts::default();
    let mut seen = Seen::default();
    let mut places = Vec::new();
    for len in [0, 1, 31, 32, 63, 64, 65, 255, 2047, 2048, 4095, 4096, 300_000] {
        let text = "é".repeat(len);
        let label = texts.push_label(&Label {
            revoked: len % 2 == 1,
            merely_inactive: len % 7 == 1,
            id: &text,
            name: &text,
            rules: (len % 3 == 1).then_some(Rules {
                terms: u32::try_from(len).unwrap(),
                user_id: (len % 2 == 0).then_some(&*text),
                key_prefix: (len % 5 == 0).then_some(&*text),
            }),
        });
        places.push((len, text.clone(), label, seen.intern(&mut texts, &text)));
    }
    for (len, text, label, metadata) in places {
        let label = texts.label(label);
        assert_eq!(
            (label.revoked, label.merely_inactive, label.id, label.name),
            (len % 2 == 1, len % 7 == 1, text.as_str(), text.as_str())
        );
        let rules = label
            .rules
            .map(|rules| (rules.terms as usize, rules.user_id, rules.key_prefix));
        let [user_id, key_prefix] = [2, 5].map(|step| (len % step == 0).then_some(&*text));
        assert_eq!(rules, (len % 3 == 1).then_some((len, user_id, key_prefix)));
        assert_eq!(texts.metadata(metadata), text);
    }
}

#[test]
fn equal_metadata_are_stored_once_however_they_are_spaced() {
    let (mut texts, mut seen) = (Texts::default(), Seen::default());
    let first = seen.intern(&mut texts, r#"{"plan":"a b"}"#);
    assert_eq!(seen.intern(&mut texts, "{ \"plan\" :\n\t\"a b\" }"), first);
    assert_ne!(seen.intern(&mut texts, r#"{"plan":"ab"}"#), first);
}

#[test]
fn different_metadata_with_one_hash_are_told_apart() {
    let (one, other) = (r#"{"n":92502}"#, r#"{"n":94097}"#);
    assert_eq!(hash(one), hash(other));
    let (mut texts, mut seen) = (Texts::default(), Seen::default());
    let [at, other_at] = [one, other].map(|json| seen.intern(&mut texts, json));
    assert_eq!((texts.metadata(at), texts.metadata(other_at)), (one, other));
}

#[test]
fn texts_that_are_much_alike_have_different_hashes() {
    let kinds: [fn(usize) -> String; 4] = [
        |n| format!("key_{n}"),
        |n| format!(r#"{{"n":{n}}}"#),
        |n| format!(r#"{{"a":{n},"b":"the same behind it"}}"#),
        |n| format!("user_{n:08}"),
    ];
    for kind in kinds {
        let hashes = (0..20_000).map(|n| hash(&kind(n)));
        let different: std::collections::HashSet<_> = hashes.collect();
        assert!(different.len() > 19_990, "{}: {}", kind(0), different.len());
    }
}

#[test]
fn compaction_leaves_numbers_escapes_and_strings_to_the_letter() {
    let table = [
        ("{ }", "{}"),
        (
            "{ \"n\" : [ 1.0 , 1e+400 , -0 , 12345678901234567890123 ] }",
            r#"{"n":[1.0,1e+400,-0,12345678901234567890123]}"#,
        ),
        (
            r#"{"s": "\u00e9 \/ \" ]  \\"  , "t":"\ud800 "}"#,
            r#"{"s":"\u00e9 \/ \" ]  \\","t":"\ud800 "}"#,
        ),
        (
            "{\"wide\": \"\u{a0}\u{2003}é\" ,\r\n\t\"a\" :null}",
            "{\"wide\":\"\u{a0}\u{2003}é\",\"a\":null}",
        ),
    ];
    for (json, dense) in table {
        assert_eq!(compact(json), dense);
        assert_eq!(compact(dense), dense);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = "[ \t\n\\\\\"\\{\\},:a-zé😀]{0,6}";
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
    fn compaction_undoes_spacing_and_nothing_else(value in value()) {
        let (dense, spaced) = (value.to_string(), format!("{value:#}"));
        prop_assert_eq!(compact(&spaced), dense.as_str());
        prop_assert_eq!(compact(&dense), dense.as_str());
        prop_assert_eq!(serde_json::from_str::<Value>(&compact(&spaced)).unwrap(), serde_json::from_str::<Value>(&dense).unwrap());
    }
}
