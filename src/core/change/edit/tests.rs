use proptest::{collection::vec, prelude::*};

use super::*;
use crate::core::change::{Change, apply, is_in};

const NOW: Timestamp = Timestamp::from_millis(1_705_746_600_000);
const NOW_TEXT: &str = "2024-01-20T10:30:00Z";

fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1000)
}

fn document_of(records: &[&str]) -> Document {
    Document::parse(format!("{{\"keys\":[{}]}}", records.join(",")).as_bytes()).unwrap()
}

fn records_of(document: &Document) -> Vec<&str> {
    document.records().map(RawValue::get).collect()
}

fn hash(secret: &str) -> String {
    Digest::of(secret).to_string()
}

/// A good key with these members behind the needed ones.
fn key(members: &str) -> String {
    format!(
        r#"{{"id":"key_1","secret_hash":"{}","name":"One"{members}}}"#,
        hash("old")
    )
}

fn rotation(digest: &str, overlap_until: Option<Timestamp>, at: Timestamp) -> Change {
    Change::Rotate(Rotation {
        id: "key_1".to_owned(),
        digest: Digest::of(digest),
        key_prefix: None,
        overlap_until,
        at,
    })
}

fn revocation(reason: Option<&str>, at: Timestamp) -> Change {
    Change::Revoke {
        id: "key_1".to_owned(),
        reason: reason.map(ToOwned::to_owned),
        at,
    }
}

fn reactivation() -> Change {
    Change::Reactivate {
        id: "key_1".to_owned(),
        at: NOW,
    }
}

fn update(patch: Patch, expected: Option<Tag>) -> Change {
    Change::Update {
        id: "key_1".to_owned(),
        patch: Box::new(patch),
        expected,
        at: NOW,
    }
}

fn renaming(name: &str) -> Patch {
    Patch {
        name: Some(name.to_owned()),
        ..Patch::default()
    }
}

/// Applies a change to one record and gives what it became, having looked that the change knows itself again.
#[track_caller]
fn changed(record: &str, change: &Change) -> Result<String, ChangeError> {
    let mut document = document_of(&[record, r#"{"id":"other"}"#]);
    let was_in = is_in(&document, change);
    let applied = match apply(&mut document, change) {
        Ok(applied) => applied,
        Err(error) => {
            assert_eq!(
                records_of(&document),
                [record, r#"{"id":"other"}"#],
                "nothing is changed"
            );
            return Err(error);
        }
    };
    assert_eq!(was_in, applied.changed == 0, "{change:?}");
    assert!(is_in(&document, change), "{change:?}");
    assert_eq!(applied.record.as_deref(), Some(records_of(&document)[0]));
    assert_eq!(records_of(&document)[1], r#"{"id":"other"}"#);
    Ok(records_of(&document)[0].to_owned())
}

#[test]
fn a_rotation_replaces_the_secret_and_keeps_the_rest_to_the_letter() {
    let record =
        key(r#","x":1.0,"metadata":{ "a" : 1 },"expires_at":null,"key_prefix":"hk_live_abc","updated_at":null"#);
    let expected = format!(
        r#"{{"id":"key_1","secret_hash":"{}","name":"One","x":1.0,"metadata":{{ "a" : 1 }},"expires_at":null,"updated_at":"{NOW_TEXT}"}}"#,
        hash("new")
    );
    assert_eq!(changed(&record, &rotation("new", None, NOW)), Ok(expected));
    let with_prefix = Change::Rotate(Rotation {
        id: "key_1".to_owned(),
        digest: Digest::of("new"),
        key_prefix: Some("hk_live_xyz".to_owned()),
        overlap_until: None,
        at: NOW,
    });
    let record = changed(&record, &with_prefix).unwrap();
    assert!(
        record.contains(r#""expires_at":null,"key_prefix":"hk_live_xyz","#),
        "{record}"
    );
}

#[test]
fn with_an_overlap_the_old_secret_stays_good_until_then() {
    let record = changed(&key(""), &rotation("new", Some(in_seconds(3600)), NOW)).unwrap();
    let previous = format!(
        r#""previous":[{{"secret_hash":"{}","not_after":"2024-01-20T11:30:00Z"}}]"#,
        hash("old")
    );
    assert!(record.contains(&previous), "{record}");
    assert!(
        record.contains(&format!(r#""secret_hash":"{}","name""#, hash("new"))),
        "{record}"
    );
}

#[test]
fn a_key_known_by_bcrypt_keeps_its_hash_and_prefix_among_the_earlier_secrets() {
    let hash_of_old = "$2b$04$abcdefghijklmnopqrstuuKIjJzj8WmRNMJYZmOxx4ylFJ2Zcuny6";
    let key = format!(r#"{{"id":"key_1","secret_hash":"{hash_of_old}","key_prefix":"hk_live_abc","name":"One"}}"#);
    let rotated = changed(&key, &rotation("new", Some(in_seconds(3600)), NOW)).unwrap();
    let previous = format!(
        r#""previous":[{{"secret_hash":"{hash_of_old}","key_prefix":"hk_live_abc","not_after":"2024-01-20T11:30:00Z"}}]"#
    );
    assert!(rotated.contains(&previous), "{rotated}");
    let again = changed(&rotated, &rotation("newer", Some(in_seconds(60)), NOW)).unwrap();
    assert!(again.contains(&previous[12..previous.len() - 40]), "{again}");
    assert!(
        again.contains(&format!(r#"[{{"secret_hash":"{}","not_after""#, hash("new"))),
        "{again}"
    );
    for record in [&rotated, &again] {
        let record: Box<RawValue> = serde_json::from_str(record).unwrap();
        let read = Key::read(&record).unwrap();
        assert!(read.imported.is_none() && read.previous.iter().any(|previous| previous.imported.is_some()));
    }
    let without = changed(&key, &rotation("new", None, NOW)).unwrap();
    assert!(
        !without.contains("$2b$") && !without.contains("hk_live_abc"),
        "{without}"
    );
}

#[test]
fn an_overlap_that_has_ended_is_none() {
    for ended in [NOW, in_seconds(-1)] {
        let record = changed(&key(""), &rotation("new", Some(ended), NOW)).unwrap();
        assert!(!record.contains("previous"), "{record}");
    }
}

#[test]
fn earlier_secrets_end_in_their_time_and_never_outlive_a_later_one() {
    let entry =
        |name: &str, not_after: &str| format!(r#"{{"secret_hash":"{}","x":1,"not_after":"{not_after}"}}"#, hash(name));
    let list = [
        entry("ends later", "2024-01-21T00:00:00Z"),
        entry("ends with it", "2024-01-20T12:30:00+01:00"),
        entry("ends sooner", "2024-01-20T10:45:00Z"),
        entry("ended", NOW_TEXT),
    ];
    let record = key(&format!(r#","previous":[{}]"#, list.join(",")));
    let rotated = changed(&record, &rotation("new", Some(in_seconds(3600)), NOW)).unwrap();
    let expected = format!(
        r#""previous":[{{"secret_hash":"{}","not_after":"2024-01-20T11:30:00Z"}},{},{},{}]"#,
        hash("old"),
        entry("ends later", "2024-01-20T11:30:00Z"),
        list[1],
        list[2]
    );
    assert!(rotated.contains(&expected), "{rotated}");
    let rotated = changed(&record, &rotation("new", None, NOW)).unwrap();
    assert!(!rotated.contains("previous"), "without overlap they all end: {rotated}");
}

#[test]
fn a_key_rotated_again_still_shows_the_earlier_rotation() {
    let mut document = document_of(&[&key("")]);
    let first = rotation("second", None, NOW);
    assert!(!is_in(&document, &first));
    apply(&mut document, &first).unwrap();
    apply(&mut document, &rotation("third", Some(in_seconds(60)), NOW)).unwrap();
    assert!(is_in(&document, &first));
}

#[test]
fn only_so_many_secrets_are_good_at_once() {
    let mut document = document_of(&[&key("")]);
    for number in 0..MAX_PREVIOUS {
        apply(
            &mut document,
            &rotation(&format!("s{number}"), Some(in_seconds(3600)), NOW),
        )
        .unwrap();
    }
    let one_more = rotation("more", Some(in_seconds(3600)), NOW);
    assert_eq!(apply(&mut document, &one_more), Err(ChangeError::TooManySecrets));
    assert!(apply(&mut document, &rotation("more", None, NOW)).is_ok());
}

#[test]
fn a_dead_or_defective_key_is_not_rotated() {
    let with = |members: &str| changed(&key(members), &rotation("new", None, NOW));
    let (revoked, expired) = (ChangeError::Revoked, ChangeError::Expired);
    for (dead, reason) in [
        (r#","revoked_at":"2020-01-01""#, revoked),
        (r#","is_active":false"#, revoked),
        (r#","expires_at":"2024-01-20T10:30:00Z""#, expired),
        (r#","is_active":false,"expires_at":"2024-01-20T10:30:00Z""#, expired),
        (
            r#","revoked_at":"2020-01-01","expires_at":"2024-01-20T10:30:00Z""#,
            revoked,
        ),
    ] {
        assert_eq!(with(dead), Err(reason), "{dead}");
    }
    assert!(with(r#","expires_at":"2024-01-20T10:30:01Z""#).is_ok());
    for bad in [r#","expires_at":"soon""#, r#","name":7"#, r#","is_active":"yes""#] {
        assert_eq!(with(bad), Err(ChangeError::BadRecord), "{bad}");
    }
}

#[test]
fn a_repeated_id_can_be_revoked_and_nothing_else() {
    let twice = [key(""), key(r#","n":2"#)];
    let records = [twice[0].as_str(), twice[1].as_str()];
    for change in [
        rotation("new", None, NOW),
        reactivation(),
        update(renaming("Two"), None),
    ] {
        let mut document = document_of(&records);
        assert_eq!(apply(&mut document, &change), Err(ChangeError::BadRecord), "{change:?}");
        assert_eq!(records_of(&document), records);
    }
    let plain = r#"{"id":"key_1","secret":"plain"}"#;
    let mut document = document_of(&[plain, records[0], plain, records[1], plain]);
    let applied = apply(&mut document, &revocation(None, NOW)).unwrap();
    assert_eq!((applied.changed, applied.sealed), (5, 3));
    assert!(is_in(&document, &revocation(None, NOW)));
}

#[test]
fn an_unknown_key_is_an_error_for_every_change() {
    for change in [
        rotation("new", None, NOW),
        revocation(None, NOW),
        reactivation(),
        update(renaming("Two"), None),
    ] {
        let mut document = document_of(&[r#"{"id":"key_2"}"#, "7"]);
        assert_eq!(
            apply(&mut document, &change),
            Err(ChangeError::UnknownKey),
            "{change:?}"
        );
        assert!(!is_in(&document, &change), "{change:?}");
    }
}

#[test]
fn a_revocation_is_a_flag_with_time_and_reason() {
    let record = key(r#","is_active":true,"x":[1, 2]"#);
    let expected = key(&format!(
        r#","is_active":false,"x":[1, 2],"revoked_at":"{NOW_TEXT}","revoke_reason":"lost \"it\"","updated_at":"{NOW_TEXT}""#
    ));
    let revoke = revocation(Some("lost \"it\""), NOW);
    assert_eq!(changed(&record, &revoke), Ok(expected.clone()));

    let mut document = document_of(&[&expected]);
    let again = apply(&mut document, &revocation(Some("another"), in_seconds(60))).unwrap();
    assert_eq!((again.changed, again.sealed), (0, 0));
    assert_eq!(records_of(&document), [&expected], "the first time and reason stay");
}

#[test]
fn what_is_inactive_or_defective_can_still_be_revoked() {
    for record in [
        key(r#","is_active":false"#),
        key(r#","expires_at":"soon""#),
        key(r#","revoked_at":7"#),
        r#"{"id":"key_1"}"#.to_owned(),
    ] {
        let revoked = changed(&record, &revocation(None, NOW)).unwrap();
        assert!(revoked.contains(&format!(r#""revoked_at":"{NOW_TEXT}""#)), "{revoked}");
        assert!(!revoked.contains("revoke_reason"), "{revoked}");
    }
}

#[test]
fn all_keys_of_an_owner_are_revoked_at_once_and_nobody_elses() {
    let change = Change::RevokeOwned {
        owner: "7".to_owned(),
        reason: "account deleted".to_owned(),
        at: NOW,
    };
    let of = |id: &str, members: &str| format!(r#"{{"id":"{id}","secret_hash":"{}","name":"n"{members}}}"#, hash(id));
    let [own, other, nobodys] = [of("a", r#","user_id":"7""#), of("b", r#","user_id":"77""#), of("c", "")];
    let gone = of(
        "d",
        r#","user_id":"7","revoked_at":"2020-01-01T00:00:00Z","revoke_reason":"lost""#,
    );
    let defective = r#"{"id":"e","user_id":"7"}"#;
    let plain = r#"{"id":"f","user_id":"7","secret":"plain"}"#;
    let mut document = document_of(&[&own, &other, &nobodys, &gone, defective, plain, plain]);
    assert!(!is_in(&document, &change));
    let expected = Applied {
        sealed: 2,
        changed: 4,
        keys: ["a", "e", "f", "f"].map(str::to_owned).into(),
        ..Applied::default()
    };
    assert_eq!(apply(&mut document, &change), Ok(expected));
    let records = records_of(&document);
    for revoked in [records[0], records[4]] {
        assert!(
            revoked.contains(&format!(
                r#""is_active":false,"revoked_at":"{NOW_TEXT}","revoke_reason":"account deleted""#
            )),
            "{revoked}"
        );
    }
    assert_eq!(records[1..4], [&other, &nobodys, &gone]);
    assert!(is_in(&document, &change));
    assert_eq!(apply(&mut document, &change).unwrap(), Applied::default());
}

#[test]
fn a_revocation_is_taken_back_whole_and_only_once() {
    let revoked = changed(&key(""), &revocation(Some("lost"), NOW)).unwrap();
    let back = changed(&revoked, &reactivation()).unwrap();
    assert_eq!(back, key(&format!(r#","is_active":true,"updated_at":"{NOW_TEXT}""#)));
    let mut document = document_of(&[&back]);
    assert_eq!(apply(&mut document, &reactivation()).unwrap().changed, 0);
    assert_eq!(changed(&key(""), &reactivation()), Ok(key("")));
}

#[test]
fn an_expired_key_cannot_be_reactivated_before_its_end_is_moved() {
    let retired = key(r#","expires_at":"2024-01-20T10:30:00Z","is_active":false"#);
    assert_eq!(changed(&retired, &reactivation()), Err(ChangeError::Expired));
    let later = Patch {
        expires_at: Edit::Set(in_seconds(60)),
        ..Patch::default()
    };
    let moved = changed(&retired, &update(later, None)).unwrap();
    assert!(
        moved.contains(r#""is_active":false"#),
        "an update alone revives nothing: {moved}"
    );
    let back = changed(&moved, &reactivation()).unwrap();
    assert!(back.contains(r#""is_active":true"#), "{back}");
}

#[test]
fn an_update_sets_clears_and_leaves() {
    let record = key(r#","metadata":{"a":1},"expires_at":"2030-01-01","scopes":["a"],"burst":5,"note":"kept""#);
    let patch = Patch {
        name: Some("Two".to_owned()),
        metadata: Edit::Clear,
        scopes: Edit::Set(Scopes::new(["orders:*"]).unwrap()),
        allowed_ips: Edit::Set(Networks::new(["192.0.2.0/24"]).unwrap()),
        rate_limit_per_hour: Edit::Set(RateLimit::new(60).unwrap()),
        burst: Edit::Clear,
        limits: Edit::Leave,
        expires_at: Edit::Clear,
    };
    let expected = format!(
        concat!(
            r#"{{"id":"key_1","secret_hash":"{}","name":"Two","metadata":{{}},"expires_at":null,"scopes":["orders:*"],"#,
            r#""note":"kept","allowed_ips":["192.0.2.0/24"],"rate_limit_per_hour":60,"updated_at":"{}"}}"#
        ),
        hash("old"),
        NOW_TEXT
    );
    assert_eq!(changed(&record, &update(patch, None)), Ok(expected));
}

#[test]
fn an_update_that_changes_nothing_leaves_the_record_as_it_was() {
    let record = key(r#","scopes":["a"]"#);
    let patch = Patch {
        name: Some("One".to_owned()),
        scopes: Edit::Set(Scopes::new(["a"]).unwrap()),
        metadata: Edit::Clear,
        expires_at: Edit::Clear,
        burst: Edit::Clear,
        ..Patch::default()
    };
    assert!(!patch.is_empty() && Patch::default().is_empty());
    let mut document = document_of(&[&record]);
    assert!(is_in(&document, &update(patch.clone(), None)));
    assert_eq!(apply(&mut document, &update(patch, None)).unwrap().changed, 0);
    assert_eq!(records_of(&document), [&record]);
}

#[test]
fn a_patch_of_any_one_member_is_not_empty() {
    let clear = |clear: fn(&mut Patch)| {
        let mut patch = Patch::default();
        clear(&mut patch);
        patch
    };
    for patch in [
        renaming("Two"),
        clear(|patch| patch.metadata = Edit::Clear),
        clear(|patch| patch.scopes = Edit::Clear),
        clear(|patch| patch.allowed_ips = Edit::Clear),
        clear(|patch| patch.rate_limit_per_hour = Edit::Clear),
        clear(|patch| patch.burst = Edit::Clear),
        clear(|patch| patch.limits = Edit::Clear),
        clear(|patch| patch.expires_at = Edit::Clear),
    ] {
        assert!(!patch.is_empty(), "{patch:?}");
    }
    assert!(Patch::default().is_empty());
}

#[test]
fn an_update_mends_a_member_that_made_the_record_defective() {
    let patch = Patch {
        expires_at: Edit::Set(in_seconds(60)),
        ..Patch::default()
    };
    let mended = changed(&key(r#","expires_at":"soon""#), &update(patch, None)).unwrap();
    let mended = RawValue::from_string(mended).unwrap();
    assert!(Key::read(&mended).is_ok());
}

#[test]
fn an_update_with_a_tag_is_made_on_the_text_it_names_alone() {
    let record = key("");
    let tag = Tag::of(&RawValue::from_string(record.clone()).unwrap());
    let renamed = changed(&record, &update(renaming("Two"), Some(tag))).unwrap();
    assert_eq!(
        changed(&renamed, &update(renaming("Three"), Some(tag))),
        Err(ChangeError::Changed)
    );
}

#[test]
fn a_changed_record_holds_no_plaintext_even_where_it_is_given_back() {
    let plain = r#"{"id":"key_1","secret":"old plain text","name":"One"}"#;
    for change in [
        rotation("new", Some(in_seconds(60)), NOW),
        revocation(None, NOW),
        reactivation(),
        update(renaming("Two"), None),
        update(renaming("One"), None),
    ] {
        let mut document = document_of(&[plain]);
        let applied = apply(&mut document, &change).unwrap();
        assert_eq!(applied.sealed, 1, "{change:?}");
        let is_renamed = matches!(&change, Change::Update { patch, .. } if patch.name.as_deref() == Some("Two"));
        assert_eq!(applied.name.as_deref(), Some(if is_renamed { "Two" } else { "One" }));
        let record = applied.record.unwrap();
        assert!(!record.contains("plain text"), "{record}");
        assert_eq!(records_of(&document), [&record]);
        assert!(
            record.contains(&hash("old plain text")),
            "the old digest is kept: {record}"
        );
    }
}

#[test]
fn an_overlap_needs_a_digest_that_can_be_looked_up() {
    let plain = r#"{"id":"key_1","secret":7,"secret_hash":"sha256:x","name":"One"}"#;
    assert_eq!(
        changed(plain, &rotation("new", Some(in_seconds(60)), NOW)),
        Err(ChangeError::BadRecord)
    );
}

#[test]
fn long_expired_keys_are_marked_inactive_and_others_are_not() {
    let until = in_seconds(-86_400);
    let change = Change::RetireExpired { until, at: NOW };
    let records = [
        key(r#","expires_at":"2024-01-19T10:30:00Z","x":1"#),
        key(r#","expires_at":"2024-01-19T10:30:01Z""#),
        key(r#","expires_at":"2020-01-01","is_active":false"#),
        key(r#","expires_at":"2020-01-01","name":7"#),
        key(""),
        "7".to_owned(),
    ];
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let mut document = document_of(&records);
    assert!(!is_in(&document, &change));
    let applied = apply(&mut document, &change).unwrap();
    assert_eq!(
        applied,
        Applied {
            changed: 1,
            ..Applied::default()
        }
    );
    let retired = key(&format!(
        r#","expires_at":"2024-01-19T10:30:00Z","x":1,"is_active":false,"updated_at":"{NOW_TEXT}""#
    ));
    assert_eq!(records_of(&document)[0], retired);
    assert_eq!(records_of(&document)[1..], records[1..]);
    assert!(is_in(&document, &change));
    assert_eq!(
        apply(&mut document, &change),
        Ok(Applied::default()),
        "the second time nothing is due"
    );
}

#[test]
fn nothing_is_retired_beside_a_plaintext_secret() {
    let records = [
        key(r#","expires_at":"2020-01-01""#),
        r#"{"id":"b","secret":"plain"}"#.to_owned(),
    ];
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let mut document = document_of(&records);
    let change = Change::RetireExpired { until: NOW, at: NOW };
    assert_eq!(apply(&mut document, &change), Ok(Applied::default()));
    assert_eq!(records_of(&document), records);
}

proptest! {
    #[test]
    fn whatever_is_done_to_a_key_its_unknown_members_stay_and_it_is_never_half_changed(
        steps in vec((0..4_u8, 0..400_i64), 1..20),
    ) {
        let note = r#""note":{ "n" : 1.50, "a":[12345678901234567890123] }"#;
        let mut document = document_of(&[&key(&format!(",{note}"))]);
        let mut now = 0;
        for (number, (kind, seconds)) in steps.into_iter().enumerate() {
            now += seconds;
            let at = in_seconds(now);
            let change = match kind {
                0 => rotation(&format!("s{number}"), Some(in_seconds(now + seconds)), at),
                1 => Change::Revoke { id: "key_1".to_owned(), reason: None, at },
                2 => Change::Reactivate { id: "key_1".to_owned(), at },
                _ => Change::Update { id: "key_1".to_owned(), patch: Box::new(renaming(&format!("N{number}"))), expected: None, at },
            };
            let before = records_of(&document)[0].to_owned();
            if apply(&mut document, &change).is_ok() {
                prop_assert!(is_in(&document, &change));
            } else {
                prop_assert_eq!(records_of(&document)[0], before);
            }
            let record = records_of(&document)[0];
            prop_assert!(record.contains(note));
            prop_assert!(Key::read(document.records().next().unwrap()).is_ok());
            let members = Members::read(document.records().next().unwrap()).unwrap();
            let ends: Vec<_> = entries(&members).map(|entry| not_after(&Members::read(entry).unwrap()).unwrap()).collect();
            prop_assert!(ends.is_sorted_by(|newer, older| newer >= older), "{}", record);
        }
    }
}
