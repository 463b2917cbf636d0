use super::*;
use crate::core::{policy::Environment, scope::Scope};

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
    assert_eq!(key.metadata, Some(r#"{"team": "billing"}"#));
}

#[test]
fn what_is_written_with_escapes_is_the_same_secret() {
    let record = record(r#","secret":"s\u0065c_1","updated_at":"2024-01-21""#);
    let key = Key::read(&record).unwrap();
    assert_eq!(key.digest, Digest::of("sec_1"));
    assert_eq!(key.updated_at.as_deref(), Some("2024-01-21"));
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
        "revoke_reason",
        "user_id",
        "environment",
        "key_prefix",
        "rate_limit_per_hour",
        "burst",
        "limits",
        "allowed_ips",
        "scopes",
        "previous",
    ];
    for name in optional {
        assert_eq!(defect(&format!(r#","{name}":null"#)), None, "{name}");
    }
}

#[test]
fn every_defect_is_named() {
    let long_id = format!(r#","id":"{}""#, "x".repeat(MAX_ID_BYTES + 1));
    let long_user_id = format!(r#","user_id":"{}""#, "x".repeat(MAX_USER_ID_BYTES + 1));
    let one_limit = r#"{"name":"day","limit":5,"window_seconds":86400}"#;
    let twice_the_same_limit = format!(r#","limits":[{one_limit},{one_limit}]"#);
    let many_networks = format!(r#","allowed_ips":[{}"10.0.0.0/8"]"#, r#""10.0.0.0/8","#.repeat(20));
    let previous_without_end = format!(r#","previous":[{{"secret_hash":"{DIGEST}","not_after":null}}]"#);
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
        (r#","revoke_reason":7"#, Defect::BadRevocation),
        (r#","user_id":42"#, Defect::BadUserId),
        (&long_user_id, Defect::BadUserId),
        (r#","environment":"staging""#, Defect::BadEnvironment),
        (r#","environment":"Production""#, Defect::BadEnvironment),
        (r#","environment":["test"]"#, Defect::BadEnvironment),
        (r#","key_prefix":7"#, Defect::BadKeyPrefix),
        (r#","rate_limit_per_hour":0"#, Defect::BadLimits),
        (r#","rate_limit_per_hour":-1"#, Defect::BadLimits),
        (r#","rate_limit_per_hour":100001"#, Defect::BadLimits),
        (r#","rate_limit_per_hour":1.5"#, Defect::BadLimits),
        (r#","rate_limit_per_hour":"100""#, Defect::BadLimits),
        (r#","burst":-1"#, Defect::BadLimits),
        (r#","limits":{}"#, Defect::BadLimits),
        (r#","limits":[{"name":"day","limit":5}]"#, Defect::BadLimits),
        (
            r#","limits":[{"name":"day","limit":0,"window_seconds":86400}]"#,
            Defect::BadLimits,
        ),
        (
            r#","limits":[{"name":"day","limit":5,"window_seconds":0}]"#,
            Defect::BadLimits,
        ),
        (
            r#","limits":[{"name":"day","limit":5,"window_seconds":2678401}]"#,
            Defect::BadLimits,
        ),
        (
            r#","limits":[{"name":"a day","limit":5,"window_seconds":60}]"#,
            Defect::BadLimits,
        ),
        (
            r#","limits":[{"name":"hour","limit":5,"window_seconds":60}]"#,
            Defect::BadLimits,
        ),
        (&twice_the_same_limit, Defect::BadLimits),
        (r#","allowed_ips":"10.0.0.0/8""#, Defect::BadAllowedIps),
        (r#","allowed_ips":["10.0.0.0/33"]"#, Defect::BadAllowedIps),
        (r#","allowed_ips":["10.0.0.0/8",null]"#, Defect::BadAllowedIps),
        (&many_networks, Defect::BadAllowedIps),
        (r#","scopes":"a""#, Defect::BadScopes),
        (r#","scopes":["a",7]"#, Defect::BadScopes),
        (r#","scopes":["a b"]"#, Defect::BadScopes),
        (r#","scopes":[""]"#, Defect::BadScopes),
        (r#","previous":{}"#, Defect::BadPrevious),
        (r#","previous":[{}]"#, Defect::BadPrevious),
        (
            r#","previous":[{"secret_hash":"sha256:00","not_after":"2024-01-20"}]"#,
            Defect::BadPrevious,
        ),
        (&previous_without_end, Defect::BadPrevious),
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
    let worded = include_str!("defect.rs").matches(" => \"").count();
    assert_eq!(worded, Defect::ALL.len(), "none is left out");
    assert!(
        words
            .iter()
            .all(|word| word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()))
    );
}

#[test]
fn a_record_that_sets_nothing_further_is_a_plain_key() {
    let empty =
        r#","user_id":"","environment":"","key_prefix":"","limits":[],"allowed_ips":[ ],"scopes":[],"previous":[]"#;
    for members in ["", empty, r#","burst":10"#, r#","revoke_reason":"x""#] {
        let record = record(members);
        let key = Key::read(&record).unwrap();
        assert!(key.policy.is_none() && key.previous.is_empty(), "{members}");
    }
}

#[test]
fn a_record_that_sets_nothing_but_what_may_be_shown_of_its_secret_is_no_plain_key() {
    let record = record(r#","key_prefix":"hk_live_abc""#);
    let policy = Key::read(&record).unwrap().policy.unwrap();
    assert_eq!(
        (policy.user_id, policy.key_prefix.as_deref()),
        (None, Some("hk_live_abc"))
    );
}

#[test]
fn a_key_may_have_a_hundred_scopes_and_ten_limits_with_names() {
    let scopes = |count: usize| format!(r#","scopes":[{}]"#, vec![r#""a""#; count].join(","));
    let limits = |count: usize| {
        let limits = (0..count).map(|n| format!(r#"{{"name":"l{n}","limit":5,"window_seconds":60}}"#));
        format!(r#","limits":[{}]"#, limits.collect::<Vec<_>>().join(","))
    };
    assert_eq!((defect(&scopes(100)), defect(&limits(10))), (None, None));
    for more in [1, 2] {
        assert_eq!(defect(&scopes(100 + more)), Some(Defect::BadScopes));
        assert_eq!(defect(&limits(10 + more)), Some(Defect::BadLimits));
    }
}

#[test]
fn every_member_of_a_policy_is_read() {
    let record = record(
        r#","user_id":"user \u00e9","environment":"test","key_prefix":"hk_test_abc","rate_limit_per_hour":500,"burst":50,
        "limits":[{"name":"day","limit":10000,"window_seconds":86400,"note":1}],"allowed_ips":["10.0.0.0/8","::ffff:192.0.2.7"],
        "scopes":["orders:*","a\u003ab"]"#,
    );
    let policy = Key::read(&record).unwrap().policy.unwrap();
    assert_eq!(policy.user_id.as_deref(), Some("user é"));
    assert_eq!(policy.key_prefix.as_deref(), Some("hk_test_abc"));
    let terms = policy.terms;
    assert_eq!(terms.environment.map(Environment::word), Some("test"));
    let networks: Vec<_> = terms.allowed_ips.iter().map(|network| network.to_string()).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32"]);
    let scopes: Vec<_> = terms.scopes.iter().map(Scope::as_str).collect();
    assert_eq!(scopes, ["orders:*", "a:b"]);
    let limits: Vec<_> = terms
        .limits
        .iter()
        .map(|limit| (&*limit.name, limit.max, limit.burst, limit.window_seconds))
        .collect();
    assert_eq!(limits, [("hour", 500, 50, 3600), ("day", 10000, 0, 86400)]);
}

#[test]
fn a_key_with_an_owner_has_an_hourly_limit_and_an_operators_key_has_none() {
    let table = [
        (r#","user_id":"u""#, Some(1000)),
        (r#","user_id":"u","rate_limit_per_hour":null"#, Some(1000)),
        (r#","user_id":"u","rate_limit_per_hour":7"#, Some(7)),
        (r#","rate_limit_per_hour":7"#, Some(7)),
        (r#","environment":"test""#, None),
        (r#","limits":[{"name":"day","limit":5,"window_seconds":60}]"#, None),
    ];
    for (members, expected) in table {
        let record = record(members);
        let policy = Key::read(&record).unwrap().policy.unwrap();
        assert_eq!(policy.terms.rate_limit_per_hour(), expected, "{members}");
    }
}

#[test]
fn earlier_secrets_are_read_with_their_ends() {
    let record = record(&format!(
        r#","previous":[{{"secret_hash":"{DIGEST}","not_after":"2024-01-20T10:30:00Z","by":1}}]"#
    ));
    let key = Key::read(&record).unwrap();
    let expected = Previous {
        digest: DIGEST.parse().unwrap(),
        imported: None,
        not_after: Timestamp::from_millis(1_705_746_600_000),
    };
    assert_eq!(key.previous, [expected]);
    assert!(key.policy.is_none());
}

#[test]
fn an_earlier_secret_known_by_bcrypt_needs_what_leads_to_it() {
    let hash = "$2b$04$abcdefghijklmnopqrstuuKIjJzj8WmRNMJYZmOxx4ylFJ2Zcuny6";
    let previous = |prefix: &str| {
        format!(r#","previous":[{{"secret_hash":"{hash}"{prefix},"not_after":"2024-01-20T10:30:00Z"}}]"#)
    };
    let record = record(&previous(r#","key_prefix":"hk_live_abc""#));
    let key = Key::read(&record).unwrap();
    let imported = key.previous[0].imported.as_ref().unwrap();
    assert_eq!((&*imported.hash, &*imported.key_prefix), (hash, "hk_live_abc"));
    for prefix in ["", r#","key_prefix":"""#, r#","key_prefix":null"#, r#","key_prefix":7"#] {
        assert_eq!(defect(&previous(prefix)), Some(Defect::BadPrevious), "{prefix}");
    }
}

#[test]
fn when_and_why_a_key_was_revoked_is_read() {
    let record = record(r#","is_active":false,"revoked_at":"2024-01-20","revoke_reason":"leaked""#);
    let key = Key::read(&record).unwrap();
    assert!(key.revoked && !key.is_active);
    assert_eq!(
        (key.revoked_at.as_deref(), key.revoke_reason.as_deref()),
        (Some("2024-01-20"), Some("leaked"))
    );
}
