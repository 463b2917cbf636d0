use super::*;

const DIGEST: &str = "sha256:4c2a904bafba06591225113ad17b5cec4bc8d8a5a8a9ff50aae5d16c6b2ed4b7";

fn raw(json: &str) -> Box<RawValue> {
    serde_json::value::RawValue::from_string(json.to_owned()).unwrap()
}

/// A good record with these members behind its own, which they replace where the names are the same.
fn record(members: &str) -> Box<RawValue> {
    raw(&format!(
        r#"{{"id":"key_1","name":"Billing","secret":"sec_1"{members}}}"#
    ))
}

fn defect(members: &str) -> Option<Defect> {
    Key::read(&record(members)).err().map(|(id, defect)| {
        assert_eq!(
            id.as_deref(),
            if defect == Defect::BadId { None } else { Some("key_1") }
        );
        defect
    })
}

#[test]
fn a_record_of_the_python_service_is_a_key() {
    let record = raw(r#"{
        "id": "key_A", "secret": "sec_A", "name": "Caf\u00e9", "secret_type": "shared_secret",
        "created_at": "2024-01-20T10:30:00+00:00", "updated_at": null, "expires_at": "2024-12-31T23:59:59+00:00",
        "metadata": {"team": "billing"}
    }"#);
    let key = Key::read(&record).unwrap();
    assert_eq!((key.id.as_ref(), key.name.as_ref()), ("key_A", "Café"));
    assert_eq!(key.digest, Digest::of("sec_A"));
    assert!(key.plaintext && !key.revoked);
    assert_eq!(key.secret_type, SecretType::SharedSecret);
    assert_eq!(key.created_at.as_deref(), Some("2024-01-20T10:30:00+00:00"));
    assert_eq!(key.updated_at, None);
    assert_eq!(key.expires_at, Some(Timestamp::from_millis(1_735_689_599_000)));
    assert_eq!(key.metadata.map(RawValue::get), Some(r#"{"team": "billing"}"#));
}

#[test]
fn a_key_stored_as_a_digest_carries_no_plaintext() {
    let record = raw(&format!(
        r#"{{"id":"key_1","name":"","secret_hash":"{DIGEST}","secret":null}}"#
    ));
    let key = Key::read(&record).unwrap();
    assert_eq!(key.digest.to_string(), DIGEST);
    assert!(!key.plaintext);
}

#[test]
fn secret_and_digest_may_stand_together_when_they_agree() {
    let same = Digest::of("sec_1");
    assert_eq!(defect(&format!(r#","secret_hash":"{same}""#)), None);
    assert_eq!(
        defect(&format!(r#","secret_hash":"{DIGEST}""#)),
        Some(Defect::SecretAndDigestDiffer)
    );
}

#[test]
fn members_that_are_null_count_as_absent() {
    let optional = [
        "secret_hash",
        "secret_type",
        "updated_at",
        "expires_at",
        "revoked_at",
        "is_active",
        "metadata",
    ];
    for name in optional {
        assert_eq!(defect(&format!(r#","{name}":null"#)), None, "{name}");
    }
}

#[test]
fn every_defect_is_named() {
    let long_id = format!(r#","id":"{}""#, "x".repeat(MAX_ID_BYTES + 1));
    let upper_digest = format!(r#","secret":null,"secret_hash":"{}""#, DIGEST.to_uppercase());
    let table = [
        (r#","id":"""#, Defect::BadId),
        (r#","id":7"#, Defect::BadId),
        (r#","id":null"#, Defect::BadId),
        (r#","id":"\ud800""#, Defect::BadId),
        (&long_id, Defect::BadId),
        (r#","name":null"#, Defect::BadName),
        (r#","name":["Billing"]"#, Defect::BadName),
        (r#","name":"half \udc00""#, Defect::BadName),
        (r#","secret":null"#, Defect::NoSecret),
        (r#","secret":"""#, Defect::BadSecret),
        (r#","secret":12"#, Defect::BadSecret),
        (r#","secret":"\ud800""#, Defect::BadSecret),
        (r#","secret_hash":"$2b$12$abcdefgh""#, Defect::BadDigest),
        (r#","secret_hash":{}"#, Defect::BadDigest),
        (&upper_digest, Defect::BadDigest),
        (r#","secret_type":"bcrypt""#, Defect::UnknownSecretType),
        (r#","secret_type":1"#, Defect::UnknownSecretType),
        (r#","expires_at":"""#, Defect::BadExpiry),
        (r#","expires_at":"next year""#, Defect::BadExpiry),
        (r#","expires_at":1735689599"#, Defect::BadExpiry),
        (r#","is_active":0"#, Defect::BadRevocation),
        (r#","is_active":"false""#, Defect::BadRevocation),
        (r#","revoked_at":true"#, Defect::BadRevocation),
        (r#","metadata":[]"#, Defect::BadMetadata),
        (r#","metadata":"{}""#, Defect::BadMetadata),
    ];
    for (members, expected) in table {
        assert_eq!(defect(members), Some(expected), "{members}");
    }
}

#[test]
fn a_record_that_is_not_an_object_is_told_apart() {
    for json in [
        "null",
        "true",
        "7",
        "1e999",
        r#""key_1""#,
        r#""\ud800""#,
        "[]",
        r#"[{"id":"key_1"}]"#,
    ] {
        let record = raw(json);
        let (id, defect) = Key::read(&record).unwrap_err();
        assert_eq!((id, defect), (None, Defect::NotAnObject), "{json}");
    }
}

#[test]
fn a_key_is_revoked_by_either_member() {
    let table = [
        ("", false),
        (r#","is_active":true"#, false),
        (r#","is_active":false"#, true),
        (r#","revoked_at":"2024-01-20T10:30:00Z""#, true),
        (r#","revoked_at":"yesterday","is_active":true"#, true),
    ];
    for (members, revoked) in table {
        assert_eq!(Key::read(&record(members)).unwrap().revoked, revoked, "{members}");
    }
}

#[test]
fn of_a_repeated_member_the_last_counts() {
    let record = record(r#","id":7,"id":"key_2","name":"Search""#);
    let key = Key::read(&record).unwrap();
    assert_eq!((key.id.as_ref(), key.name.as_ref()), ("key_2", "Search"));
}

#[test]
fn a_name_written_with_escapes_is_the_same_name() {
    let record = record(r#","\u0069d":"key_2","na\u006de":"Search""#);
    let key = Key::read(&record).unwrap();
    assert_eq!((key.id.as_ref(), key.name.as_ref()), ("key_2", "Search"));
}

#[test]
fn members_unknown_to_this_version_spoil_nothing() {
    let deep = format!(r#","deep":{}1{}"#, "[".repeat(5000), "]".repeat(5000));
    for members in [
        r#","\ud800":1"#,
        r#","odd":1e999"#,
        r#","odd":"\udfff""#,
        r#","":null"#,
        &deep,
    ] {
        assert_eq!(defect(members), None);
    }
}

#[test]
fn every_defect_has_a_word_of_its_own() {
    let words: std::collections::HashSet<_> = Defect::ALL.map(Defect::word).into();
    assert_eq!(words.len(), Defect::ALL.len());
    assert!(
        words
            .iter()
            .all(|word| word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()))
    );
}
