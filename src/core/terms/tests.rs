use proptest::prelude::*;

use super::*;
use crate::core::{
    change::{Change, NewKey, apply},
    document::Document,
    key::Key,
    secret::Digest,
    time::Timestamp,
};

#[test]
fn a_scope_is_words_joined_by_colons() {
    for good in [
        "read",
        "orders:write",
        "*",
        "orders:*",
        "*:read",
        "a.b_c-D9:x/y:z",
        &"a".repeat(100),
    ] {
        assert!(Scopes::new([good]).is_ok(), "{good}");
    }
    for bad in [
        "",
        ":",
        "a:",
        ":a",
        "a::b",
        "a b",
        "a:b*",
        "**",
        "a,b",
        "ä",
        "a\n",
        &"a".repeat(101),
    ] {
        assert_eq!(Scopes::new([bad]), Err(BadTerm::Scope), "{bad:?}");
    }
}

#[test]
fn a_scope_given_twice_counts_once_and_keeps_its_place() {
    let scopes = Scopes::new(["b", "a", "b"]).unwrap();
    assert_eq!(scopes.iter().collect::<Vec<_>>(), ["b", "a"]);
    let many = |count: usize| Scopes::new((0..count).map(|number| format!("s{number}")));
    assert_eq!(many(100).map(|scopes| scopes.iter().len()), Ok(100));
    assert_eq!(many(101), Err(BadTerm::TooManyScopes));
}

#[test]
fn a_network_has_one_form() {
    for (text, written) in [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1/32 ", "192.0.2.1"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.9/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:DB8:0:0::1/64", "2001:db8::/64"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        let networks = Networks::new([text]).unwrap();
        assert_eq!(networks.iter().collect::<Vec<_>>(), [written], "{text}");
        assert_eq!(Networks::new([written]), Ok(networks), "{written}");
    }
    for bad in [
        "",
        "localhost",
        "192.0.2",
        "192.0.2.1/33",
        "192.0.2.1/",
        "192.0.2.0/-1",
        "fe80::1%eth0",
        "2001:db8::/129",
    ] {
        assert_eq!(Networks::new([bad]), Err(BadTerm::Network), "{bad:?}");
    }
}

#[test]
fn twenty_networks_are_enough() {
    let many = |count: usize| Networks::new((0..count).map(|number| format!("192.0.2.{number}")));
    assert_eq!(many(20).map(|networks| networks.iter().len()), Ok(20));
    assert_eq!(many(21), Err(BadTerm::TooManyNetworks));
    let same = std::iter::repeat_n("192.0.2.1", 50);
    assert_eq!(Networks::new(same).map(|networks| networks.iter().len()), Ok(1));
}

#[test]
fn rates_and_bursts_have_their_bounds() {
    for (number, rate, burst) in [
        (0, false, true),
        (1, true, true),
        (100_000, true, true),
        (100_001, false, false),
        (u64::MAX, false, false),
    ] {
        let (given_rate, given_burst) = (RateLimit::new(number), Burst::new(number));
        assert_eq!(
            given_rate.map(RateLimit::get).ok().map(u64::from),
            rate.then_some(number)
        );
        assert_eq!(given_burst.map(Burst::get).ok().map(u64::from), burst.then_some(number));
    }
}

#[test]
fn a_window_has_a_name_a_limit_and_a_length() {
    let window = |name: &str, limit, seconds| Window::new(name, limit, seconds);
    assert!(window("per-minute_2", 100_000, 1).is_ok() && window("m", 1, 31 * 86_400).is_ok());
    for (name, limit, seconds) in [
        ("", 1, 1),
        ("Minute", 1, 1),
        ("hour", 1, 1),
        ("a b", 1, 1),
        (&"a".repeat(33), 1, 1),
        ("m", 0, 1),
        ("m", 100_001, 1),
        ("m", 1, 0),
        ("m", 1, 31 * 86_400 + 1),
    ] {
        assert_eq!(
            window(name, limit, seconds),
            Err(BadTerm::Window),
            "{name} {limit} {seconds}"
        );
    }
    let twice = vec![window("m", 1, 1).unwrap(), window("m", 2, 2).unwrap()];
    assert_eq!(Windows::new(twice), Err(BadTerm::WindowTwice));
    let many = |count: usize| Windows::new((0..count).map(|n| window(&format!("w{n}"), 1, 1).unwrap()).collect());
    assert!(many(10).is_ok());
    assert_eq!(many(11), Err(BadTerm::TooManyWindows));
    assert_eq!(many(12), Err(BadTerm::TooManyWindows));
}

#[test]
fn the_sentences_tell_the_bounds_that_hold() {
    let sentence = |error: BadTerm| error.to_string();
    assert!(sentence(BadTerm::TooManyScopes).contains(&MAX_SCOPES.to_string()));
    assert!(sentence(BadTerm::TooManyNetworks).contains(&MAX_NETWORKS.to_string()));
    assert!(sentence(BadTerm::TooManyWindows).contains(&MAX_WINDOWS.to_string()));
    assert!(sentence(BadTerm::Rate).contains(&RATES.end().to_string()));
    assert!(sentence(BadTerm::Window).contains(&RATES.end().to_string()));
}

#[test]
fn an_earlier_secret_overlaps_for_thirty_days_at_most() {
    assert_eq!(MAX_OVERLAP_SECONDS, 2_592_000);
}

#[test]
fn names_owners_and_reasons_are_trimmed_and_fit_to_be_shown() {
    assert_eq!(name("  My Service ", 100), Ok("My Service".to_owned()));
    assert_eq!(name(&"é".repeat(100), 100), Ok("é".repeat(100)));
    for bad in ["", "   ", &"x".repeat(101)] {
        assert_eq!(name(bad, 100), Err(BadTerm::Length { most: 100 }), "{bad:?}");
    }
    for bad in ["a\nb", "a\u{1b}[31mb", "a\u{202e}b"] {
        assert_eq!(name(bad, 100), Err(BadTerm::Control), "{bad:?}");
        assert_eq!(owner(bad), Err(BadTerm::Control), "{bad:?}");
        assert_eq!(reason(bad), Err(BadTerm::Control), "{bad:?}");
    }
}

/// The secret's checksum was computed by Python's `zlib.crc32`.
const SECRET: &str = "hk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWX3YgHhN";

#[test]
fn a_secret_that_was_pasted_into_a_text_is_refused() {
    for text in [SECRET.to_owned(), format!("see {SECRET} there")] {
        assert_eq!(name(&text, 100), Err(BadTerm::HoldsSecret), "{text}");
        assert_eq!(owner(&text), Err(BadTerm::HoldsSecret), "{text}");
        assert_eq!(reason(&text), Err(BadTerm::HoldsSecret), "{text}");
    }
    assert_eq!(Scopes::new([SECRET]), Err(BadTerm::HoldsSecret));
}

#[test]
fn a_secret_is_found_in_every_text_of_a_json_value() {
    let escaped = SECRET.replace('_', r"\u005f");
    for json in [
        format!(r#""{SECRET}""#),
        format!(r#"{{"a":{{"b":["x","{SECRET}"]}}}}"#),
        format!(r#"{{"{SECRET}":1}}"#),
        format!(r#"{{"a":"{SECRET}","a":"x"}}"#),
        format!(r#"{{"a":{{"b":["x","{escaped}"]}}}}"#),
        format!(r#"{{"{escaped}":1}}"#),
    ] {
        assert_eq!(json_without_secret(&json), Err(BadTerm::HoldsSecret), "{json}");
    }
    for json in [
        r#"{"a_b":["hk_live_",1,null,true,"\\"]}"#.to_owned(),
        r#"{"a":["b"]}"#.to_owned(),
        format!(r#"["{}"]"#, &SECRET[..SECRET.len() - 1]),
    ] {
        assert_eq!(json_without_secret(&json), Ok(()), "{json}");
    }
}

#[test]
fn an_owner_is_measured_in_bytes() {
    assert!(owner(&"é".repeat(128)).is_ok());
    assert_eq!(owner(&"é".repeat(129)), Err(BadTerm::Bytes { most: 256 }));
}

#[test]
fn an_environment_is_exactly_one_of_three_words() {
    for environment in Environment::ALL {
        assert_eq!(environment.word().parse(), Ok(environment));
        assert_eq!(environment.to_string(), environment.word());
    }
    for bad in ["", "Production", "prod", "staging", " test"] {
        assert_eq!(bad.parse::<Environment>(), Err(BadTerm::Environment), "{bad:?}");
    }
}

proptest! {
    /// Who checks what people give and who reads records are two: what the one lets in the other must understand.
    #[test]
    fn whatever_a_key_can_be_given_can_be_read_from_its_record(
        texts in (any::<String>(), any::<String>(), any::<String>()),
        scopes in proptest::collection::vec("[a-z*.:/_-]{1,8}|[^:]{0,5}", 0..4),
        networks in proptest::collection::vec("[0-9a-f:.]{2,15}(/[0-9]{1,3})?|[0-9]{1,3}\\.[0-9]{1,3}\\.0\\.9/[0-9]{1,2}", 0..4),
        numbers in (any::<u64>(), 0..200_000_u64, 0..200_000_u64),
        environment in proptest::option::of(0..3_usize),
        window in ("[a-z_9-]{1,40}|hour", 0..200_000_u64, 0..3_000_000_u64),
    ) {
        let key = NewKey {
            user_id: owner(&texts.1).ok(),
            environment: environment.map(|number| Environment::ALL[number]),
            rate_limit_per_hour: RateLimit::new(numbers.0 % 200_000).ok(),
            burst: Burst::new(numbers.1).ok(),
            limits: Windows::new(Window::new(&window.0, window.1, window.2).into_iter().collect()).unwrap(),
            allowed_ips: Networks::new(networks.iter().filter(|text| Networks::new([text]).is_ok())).unwrap(),
            scopes: Scopes::new(scopes.iter().filter(|text| Scopes::new([text]).is_ok())).unwrap(),
            ..NewKey::new(
                "key_1".to_owned(),
                Digest::of(&texts.2),
                name(&texts.0, 255).unwrap_or_else(|_| "n".to_owned()),
                Timestamp::from_millis(0),
            )
        };
        let mut document = Document::empty();
        apply(&mut document, &Change::Create(Box::new(key))).unwrap();
        let record = document.records().next().unwrap();
        prop_assert!(Key::read(record).is_ok(), "{:?} {}", Key::read(record).err(), record.get());
    }

    #[test]
    fn what_a_network_is_written_as_reads_as_the_same(bits in any::<u128>(), six in any::<bool>(), prefix in 0..=128_u8) {
        let text = if six {
            format!("{}/{prefix}", std::net::Ipv6Addr::from(bits))
        } else {
            format!("{}/{}", std::net::Ipv4Addr::from(u32::try_from(bits >> 96).unwrap()), prefix / 4)
        };
        let networks = Networks::new([text]).unwrap();
        prop_assert_eq!(Networks::new(networks.iter()), Ok(networks.clone()));
    }

    #[test]
    fn no_text_makes_a_check_panic(text in any::<String>()) {
        let _ = (Scopes::new([&text]), Networks::new([&text]), name(&text, 100), text.parse::<Environment>());
    }
}
