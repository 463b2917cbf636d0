use std::fmt::Write as _;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::core::{
    secret::Digest,
    terms::{Burst, Environment, Networks, RateLimit, Scopes, Window, Windows},
};

const NOW: Timestamp = Timestamp::from_millis(1_705_746_600_500);

fn document_of(records: &[&str]) -> Document {
    Document::parse(format!("{{\"keys\":[{}]}}", records.join(",")).as_bytes()).unwrap()
}

fn records_of(document: &Document) -> Vec<&str> {
    document.records().map(RawValue::get).collect()
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn new_key(id: &str) -> NewKey {
    NewKey {
        expires_at: Some("2025-12-31T23:59:59+02:00".to_owned()),
        metadata: raw(r#"{"env":"prod"}"#),
        ..NewKey::new(id.to_owned(), Digest::of("sec_new"), "My \"Service\"".to_owned(), NOW)
    }
}

fn create(key: NewKey) -> Change {
    Change::Create(Box::new(key))
}

fn delete_of(id: &str) -> Change {
    Change::Delete { id: id.to_owned() }
}

#[test]
fn a_created_key_is_appended_with_its_members_in_order() {
    let mut document = document_of(&[r#"{"id":"old"}"#]);
    let applied = apply(&mut document, &create(new_key("key_1"))).unwrap();
    let expected = format!(
        concat!(
            r#"{{"id":"key_1","secret_hash":"{}","name":"My \"Service\"","secret_type":"shared_secret","#,
            r#""created_at":"2024-01-20T10:30:00Z","updated_at":null,"expires_at":"2025-12-31T23:59:59+02:00","#,
            r#""metadata":{{"env":"prod"}}}}"#
        ),
        Digest::of("sec_new")
    );
    assert_eq!(records_of(&document), [r#"{"id":"old"}"#, &expected]);
    assert_eq!(
        applied,
        Applied {
            sealed: 0,
            changed: 1,
            name: Some("My \"Service\"".to_owned()),
            record: Some(expected),
            ..Applied::default()
        }
    );
}

#[test]
fn whatever_a_new_key_was_given_stands_behind_what_every_key_has() {
    let key = NewKey {
        user_id: Some("7".to_owned()),
        environment: Some(Environment::Test),
        key_prefix: Some("hk_test_abc".to_owned()),
        rate_limit_per_hour: Some(RateLimit::new(60).unwrap()),
        burst: Some(Burst::new(5).unwrap()),
        limits: Windows::new(vec![Window::new("day", 9, 86_400).unwrap()]).unwrap(),
        allowed_ips: Networks::new(["10.0.0.0/8", "::1"]).unwrap(),
        scopes: Scopes::new(["orders:*"]).unwrap(),
        ..new_key("key_1")
    };
    let expected = concat!(
        r#","metadata":{"env":"prod"},"user_id":"7","environment":"test","key_prefix":"hk_test_abc","#,
        r#""rate_limit_per_hour":60,"burst":5,"limits":[{"name":"day","limit":9,"window_seconds":86400}],"#,
        r#""allowed_ips":["10.0.0.0/8","::1"],"scopes":["orders:*"]}"#
    );
    let record = key.to_record();
    assert!(record.get().ends_with(expected), "{record}");
}

#[test]
fn a_key_that_never_expires_says_so_with_null() {
    let mut document = Document::empty();
    let key = NewKey {
        expires_at: None,
        metadata: raw("{}"),
        ..new_key("key_1")
    };
    apply(&mut document, &create(key)).unwrap();
    assert!(records_of(&document)[0].ends_with(r#""expires_at":null,"metadata":{}}"#));
}

#[test]
fn a_refused_change_leaves_the_document_as_it_was() {
    let records = [r#"{"\u0069d":"k\u0065y_1","secret":"s"}"#, "17"];
    for (change, error) in [
        (create(new_key("key_1")), ChangeError::IdTaken),
        (delete_of("key_2"), ChangeError::UnknownKey),
    ] {
        let mut document = document_of(&records);
        assert_eq!(apply(&mut document, &change), Err(error));
        assert_eq!(records_of(&document), records);
    }
}

#[test]
fn a_delete_removes_every_record_with_that_id_and_names_the_key() {
    let mut document = document_of(&[
        r#"{"id":"a","name":"A"}"#,
        r#"{"id":"b","name":5}"#,
        r#"{"id":"c","id":"b","name":"\u0042"}"#,
        r#"{"id":"b","id":"c","name":"C"}"#,
    ]);
    let applied = apply(&mut document, &delete_of("b")).unwrap();
    assert_eq!(applied.name.as_deref(), Some("B"));
    assert_eq!(
        records_of(&document),
        [r#"{"id":"a","name":"A"}"#, r#"{"id":"b","id":"c","name":"C"}"#]
    );
}

#[test]
fn every_change_stores_all_plaintext_secrets_as_digests() {
    for change in [create(new_key("new")), delete_of("gone"), Change::Migrate] {
        let mut document = document_of(&[
            r#"{"id":"gone"}"#,
            r#"{"id":"a","secret":"one"}"#,
            r#"{"id":"b","secret":"two"}"#,
        ]);
        assert_eq!(apply(&mut document, &change).unwrap().sealed, 2, "{change:?}");
        assert!(is_in(&document, &Change::Migrate), "{change:?}");
        assert_eq!(apply(&mut document, &Change::Migrate), Ok(Applied::default()));
    }
}

#[test]
fn a_sealed_record_differs_in_its_secret_alone() {
    let one = Digest::of("one");
    let other = Digest::of("other");
    for (record, expected) in [
        (
            r#"{ "x": 1.0,  "secret": "one", "y": 12345678901234567890123}"#.to_owned(),
            format!(r#"{{"x":1.0,"secret_hash":"{one}","y":12345678901234567890123}}"#),
        ),
        // Spelled otherwise, the same.
        (
            r#"{"s\u0065cret":"\u006fne"}"#.to_owned(),
            format!(r#"{{"secret_hash":"{one}"}}"#),
        ),
        // Otherwise defective records are sealed as well.
        (
            r#"{"secret":"one","id":7,"expires_at":""}"#.to_owned(),
            format!(r#"{{"secret_hash":"{one}","id":7,"expires_at":""}}"#),
        ),
        // Repeated members: the last counts, and the earlier ones hold plaintext too.
        (
            r#"{"secret":"other","a":1,"secret":"one"}"#.to_owned(),
            format!(r#"{{"a":1,"secret_hash":"{one}"}}"#),
        ),
        (
            r#"{"secret_hash":null,"secret":"one"}"#.to_owned(),
            format!(r#"{{"secret_hash":"{one}"}}"#),
        ),
        // A digest that agrees stays where it is.
        (
            format!(r#"{{"secret_hash":"{one}","secret":"one","z":0}}"#),
            format!(r#"{{"secret_hash":"{one}","z":0}}"#),
        ),
        // What was denied stays denied: no digest that could be found, or a secret that is none.
        (
            format!(r#"{{"secret":"one","secret_hash":"{other}"}}"#),
            format!(r#"{{"secret_hash":["{other}","{one}"]}}"#),
        ),
        (
            r#"{"secret":"one","secret_hash":5}"#.to_owned(),
            format!(r#"{{"secret_hash":[5,"{one}"]}}"#),
        ),
        (
            r#"{"secret":"one","secret":5}"#.to_owned(),
            r#"{"secret":5}"#.to_owned(),
        ),
        (
            r#"{"secret":"one","secret":null}"#.to_owned(),
            r#"{"secret":null}"#.to_owned(),
        ),
        (
            r#"{"secret":"one","secret":""}"#.to_owned(),
            r#"{"secret":""}"#.to_owned(),
        ),
        (
            r#"{"a":1,"secret":"half a pair \ud800"}"#.to_owned(),
            r#"{"a":1,"secret":""}"#.to_owned(),
        ),
    ] {
        let mut document = document_of(&[&record]);
        assert_eq!(seal_secrets(&mut document), 1, "{record}");
        assert_eq!(records_of(&document), [&expected], "{record}");
        assert_eq!(seal_secrets(&mut document), 0, "{record}");
    }
}

#[test]
fn a_record_without_a_plaintext_secret_is_not_touched() {
    let sealed = format!(r#"{{ "secret_hash" : "{}" }}"#, Digest::of("one"));
    for record in [
        sealed.as_str(),
        r#"{"secret": ""}"#,
        r#"{"secret": null}"#,
        r#"{"secret": ["one"]}"#,
        "{}",
        "[\"secret\"]",
        r#""secret""#,
        "null",
    ] {
        let mut document = document_of(&[record]);
        assert_eq!(seal_secrets(&mut document), 0, "{record}");
        assert_eq!(records_of(&document), [record]);
    }
}

#[test]
fn a_made_change_is_recognised_and_one_not_made_is_not() {
    for change in [create(new_key("new")), delete_of("a"), Change::Migrate] {
        let mut document = document_of(&[r#"{"id":"a","secret":"one"}"#, r#"{"id":"b","secret":"two"}"#, "null"]);
        assert!(!is_in(&document, &change), "{change:?}");
        apply(&mut document, &change).unwrap();
        assert!(is_in(&document, &change), "{change:?}");
    }
}

#[test]
fn somebody_elses_key_with_the_same_id_is_not_ones_own() {
    let mut document = Document::empty();
    apply(&mut document, &create(new_key("key_1"))).unwrap();
    let other = NewKey {
        digest: Digest::of("sec_other"),
        ..new_key("key_1")
    };
    assert!(!is_in(&document, &create(other)));
}

#[test]
fn a_change_names_its_key_where_it_is_about_one() {
    let (id, at) = ("key_1".to_owned(), NOW);
    let restore = Restore {
        earlier: Document::empty(),
        seen: restore::Seen::of(&Document::empty()),
        floor: 0,
    };
    let rotation = Rotation {
        id: id.clone(),
        digest: Digest::of("sec_new"),
        key_prefix: None,
        overlap_until: None,
        at,
    };
    let revocation = Change::Revoke {
        id: id.clone(),
        reason: None,
        at,
    };
    let update = Change::Update {
        id: id.clone(),
        patch: Box::default(),
        expected: None,
        at,
    };
    let revocation_of_all = Change::RevokeOwned {
        owner: id.clone(),
        reason: String::new(),
        at,
    };
    // The key, and whether nobody else can have made the same.
    for (change, key_id, is_ones_own) in [
        (create(new_key("key_1")), Some("key_1"), true),
        (delete_of("key_1"), Some("key_1"), true),
        (Change::Rotate(rotation), Some("key_1"), true),
        (revocation, Some("key_1"), false),
        (Change::Reactivate { id, at }, Some("key_1"), false),
        (update, Some("key_1"), false),
        (revocation_of_all, None, false),
        (Change::RetireExpired { until: at, at }, None, false),
        (Change::Migrate, None, false),
        (Change::Import(Import([].into())), None, false),
        (Change::Restore(Box::new(restore)), None, false),
    ] {
        assert_eq!(change.key_id(), key_id, "{change:?}");
        assert_eq!(shows_itself(&change), is_ones_own, "{change:?}");
    }
}

#[test]
fn what_an_update_makes_of_a_record_can_be_seen_before_it_is_made() {
    let record = raw(r#"{"id":"key_1","name":"One","x":1.0}"#);
    let patch = Patch {
        name: Some("Two".to_owned()),
        ..Patch::default()
    };
    let update = Change::Update {
        id: "key_1".to_owned(),
        patch: Box::new(patch),
        expected: None,
        at: NOW,
    };
    let patched = |change: &Change| change.patched(&record).map(|record| record.get().to_owned());
    assert_eq!(
        patched(&update).as_deref(),
        Some(r#"{"id":"key_1","name":"Two","x":1.0}"#)
    );
    assert_eq!(patched(&delete_of("key_1")), None);
}

#[test]
fn a_restore_is_told_by_its_records_and_refused_where_somebody_has_written_since() {
    let two = document_of(&[r#"{"id":"a"}"#, r#"{"id":"b"}"#]);
    let seen = document_of(&[r#"{"id":"c"}"#]);
    for (earlier, changed) in [(&two, 2), (&Document::empty(), 1)] {
        let restore = Change::Restore(Box::new(Restore {
            earlier: earlier.clone(),
            seen: restore::Seen::of(&seen),
            floor: 0,
        }));
        let mut document = seen.clone();
        assert_eq!(apply(&mut document, &restore).unwrap().changed, changed);
        assert_eq!(records_of(&document), records_of(earlier));
        let mut other = two.clone();
        assert_eq!(apply(&mut other, &restore), Err(ChangeError::Overtaken));
        assert_eq!(records_of(&other), records_of(&two));
    }
}

#[test]
fn ten_thousand_keys_are_edited_without_losing_one() {
    let mut json = String::from("{\"keys\":[");
    for number in 0..10_000 {
        let comma = if number == 0 { "" } else { "," };
        write!(
            json,
            r#"{comma}{{"id":"key_{number}","secret":"sec_{number}","name":"n","extra":{number}.0}}"#
        )
        .unwrap();
    }
    json.push_str("]}");
    let mut document = Document::parse(json.as_bytes()).unwrap();
    assert_eq!(apply(&mut document, &create(new_key("new"))).unwrap().sealed, 10_000);
    apply(&mut document, &delete_of("key_5000")).unwrap();
    let again = Document::parse(&document.to_json()).unwrap();
    assert_eq!(again.records().len(), 10_000);
    let last = format!(
        r#"{{"id":"key_9999","secret_hash":"{}","name":"n","extra":9999.0}}"#,
        Digest::of("sec_9999")
    );
    assert_eq!(records_of(&again)[9998], last);
}

proptest! {
    #[test]
    fn no_secret_is_left_in_a_written_document(secrets in vec("[^\u{0}-\u{1f}]{8,30}", 1..5), escape in any::<bool>()) {
        let spelled = |secret: &String| {
            let units: Vec<_> = secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            if escape { format!("\"{}\"", units.concat()) } else { serde_json::to_string(secret).unwrap() }
        };
        let records: Vec<_> = secrets.iter().map(|secret| format!(r#"{{"secret":{}}}"#, spelled(secret))).collect();
        let mut document = document_of(&records.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(seal_secrets(&mut document), secrets.len());
        let expected: Vec<_> = secrets.iter().map(|secret| format!(r#"{{"secret_hash":"{}"}}"#, Digest::of(secret))).collect();
        prop_assert_eq!(records_of(&document), expected);
    }
}
