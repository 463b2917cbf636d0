use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Random bytes that are the same in every run.
fn bytes_from(mut seed: u64) -> impl FnMut(&mut [u8]) {
    move |buffer| {
        for byte in buffer {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = seed.to_be_bytes()[0];
        }
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_secret_in_the_place_of_another_text_is_found_whatever_its_prefix() {
    let prefixes: Prefixes = "production=acme_,test=a_longer_prefix_of_24_b_".parse().unwrap();
    let mut secrets = vec![new_secret(at("2025-10-28T16:45:18Z"), &mut bytes_from(3))];
    for (environment, seed) in Environment::ALL.into_iter().zip(4..) {
        secrets.push(new_environment_secret(environment, &prefixes, &mut bytes_from(seed)).secret);
    }
    for secret in &secrets {
        let secret = secret.expose();
        assert!(may_be_secret(secret));
        for text in [secret.to_owned(), format!("/é_{secret}tail"), format!("a_b_{secret}_")] {
            assert!(holds_secret(&text));
        }
        assert!(!holds_secret(&secret[..secret.len() - 1]), "a part of one");
    }
    let others = [
        String::new(),
        "_".to_owned(),
        "key_0001vDmowdgLBqEcDYe".to_owned(),
        format!("user_{}", "0123456789abcdef".repeat(4)),
        format!("a_{}é", "x".repeat(39)),
    ];
    assert!(others.iter().all(|text| !may_be_secret(text)));
}

#[test]
fn the_documented_example_id_tells_when_it_was_made() {
    for text in ["key_0001vDmowdgLBqEcDYe", "sec_0001vDmowg2tzwvpaFL"] {
        assert_eq!(made_at(text), Some(at("2025-10-28T16:45:18Z")), "{text}");
    }
}

#[test]
fn a_new_key_id_begins_like_one_made_in_that_second() {
    let id = new_key_id(at("2025-10-28T16:45:18.900Z"), &mut bytes_from(1));
    assert!(id.starts_with("key_0001vDmow"), "{id}");
    assert_eq!(id.len(), 23);
}

#[test]
fn only_what_has_the_form_of_a_new_key_id_is_one() {
    let id = new_key_id(at("2025-10-28T16:45:18Z"), &mut bytes_from(1));
    assert!(is_key_id(&id));
    for no in [
        "",
        &id[..22],
        &format!("{id}0"),
        &id.replace("key_", "sec_"),
        &id.replace("key_0", "key_1"),
        &format!("{}-", &id[..22]),
        "a_text_of_23_characters",
    ] {
        assert!(!is_key_id(no), "{no}");
    }
}

/// What the random bytes decide: with others, each such character is another.
#[test]
fn a_secret_holds_as_many_random_bits_as_is_said_of_it() {
    type Make = fn(&mut dyn FnMut(&mut [u8])) -> Secret;
    let made: [(Make, usize, f64); 3] = [
        (|fill| new_secret(at("2025-10-28T16:45:18Z"), fill), 45, 260.0),
        (
            |fill| new_environment_secret(Environment::Production, &Prefixes::default(), fill).secret,
            34,
            200.0,
        ),
        (new_refresh_token, 54, 320.0),
    ];
    for (make, characters, bits) in made {
        let [zeros, ones] = [0, 1].map(|byte| make(&mut |buffer: &mut [u8]| buffer.fill(byte)));
        let before_checksum = zeros.expose().len() - CHECKSUM_CHARS;
        let pairs = zeros.expose().chars().zip(ones.expose().chars());
        let random = pairs.take(before_checksum).filter(|(zero, one)| zero != one).count();
        assert_eq!(random, characters);
        let different = 62_f64.powi(i32::try_from(random).unwrap());
        assert!(different > bits.exp2());
    }
}

#[test]
fn a_new_secret_has_64_characters_and_a_checksum_that_holds() {
    let secret = new_secret(at("2025-10-28T16:45:18Z"), &mut bytes_from(2));
    assert!(secret.expose().starts_with("sec_0001vDmow"));
    assert_eq!(secret.expose().len(), 64);
    assert_eq!(checksum(secret.expose()), Checksum::Good);
}

/// The expected checksums were computed by Python's `zlib.crc32`.
#[test]
fn a_checksum_is_the_crc_32_in_base62_padded_to_six_characters() {
    for (body, expected) in [
        ("sec_0001vDmow000000000000000000000000000000000000000000000", "3NqBEQ"),
        ("sec_0001vDmow000000000000000000000000000000000000000000062", "00aJQu"),
    ] {
        assert_eq!(checksum(&format!("{body}{expected}")), Checksum::Good);
        assert_eq!(checksum(&format!("{body}{}", "a".repeat(6))), Checksum::Wrong);
    }
}

#[test]
fn base62_is_padded_on_the_left() {
    for (number, width, text) in [
        (0, 6, "000000"),
        (61, 6, "00000z"),
        (62, 6, "000010"),
        (u32::MAX.into(), 6, "4gfFC3"),
        (1_761_669_918, 8, "001vDmow"),
    ] {
        let mut pushed = String::new();
        push_base62(&mut pushed, number, width);
        assert_eq!(pushed, text, "{number}");
    }
}

#[test]
fn older_and_foreign_secrets_carry_no_checksum() {
    for text in [
        "",
        "sec_0001vDmowg2tzwvpaFL",
        "sec_A1h2xdfjqtf2nbrexx3vqjhp42",
        "hk_live_0123456789012345678901234567890123456789",
        &"x".repeat(64),
        &format!("sec_1{}", "a".repeat(59)),
        &format!("sec_0{}-", "a".repeat(58)),
        &format!("sec_0{}é", "a".repeat(57)),
    ] {
        assert_eq!(checksum(text), Checksum::None, "{text:?}");
    }
}

#[test]
fn a_64_character_secret_of_the_python_service_reads_as_wrong() {
    assert_eq!(checksum(&format!("sec_0001vDmow{}", "a".repeat(51))), Checksum::Wrong);
}

#[test]
fn other_texts_have_no_time_of_making() {
    for text in [
        "",
        "key_",
        "key_0001vDmow",
        "key_001vDmow",
        "key_A1h2xcejqtf2nbrexx3vqjhp41",
        "usr_0001vDmowdgLBqEcDYe",
        "key_0001vDm-wdgLBqEcDYe",
        "key_0001vDmowdgLBqEcD e",
        "key_0001vDmoédgLBqEcDYe",
        "KEY_0001vDmowdgLBqEcDYe",
    ] {
        assert_eq!(made_at(text), None, "{text:?}");
    }
}

#[test]
fn two_keys_made_in_one_second_share_nothing_but_their_time() {
    let now = at("2025-10-28T16:45:18Z");
    let mut fill = bytes_from(3);
    let (first, second) = (new_secret(now, &mut fill), new_secret(now, &mut fill));
    assert_eq!(first.expose()[..13], second.expose()[..13]);
    let same = first.expose()[13..]
        .bytes()
        .zip(second.expose()[13..].bytes())
        .filter(|(a, b)| a == b)
        .count();
    assert!(same < 8, "{same} of 51 characters are the same");
}

#[test]
fn entropy_skips_the_bytes_that_would_favour_some_characters() {
    let mut next = 0_u8;
    let mut every_byte = |buffer: &mut [u8]| {
        for byte in buffer {
            *byte = next;
            next = next.wrapping_add(1);
        }
    };
    let mut text = String::new();
    push_entropy(&mut text, 62 * 8, &mut every_byte);
    let mut counts = BTreeMap::new();
    for character in text.chars() {
        *counts.entry(character).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 62);
    assert!(counts.values().all(|&count| count == 8), "{counts:?}");
}

#[test]
fn a_time_before_1970_is_written_as_1970() {
    let id = new_key_id(Timestamp::from_millis(-5), &mut bytes_from(4));
    assert_eq!(made_at(&id), Some(Timestamp::from_millis(0)));
}

proptest! {
    #[test]
    fn what_is_made_tells_its_second(seconds in 0..253_402_300_799_i64, seed in any::<u64>()) {
        let now = Timestamp::from_millis(seconds * 1000 + 999);
        let second = Some(Timestamp::from_millis(seconds * 1000));
        prop_assert_eq!(made_at(&new_key_id(now, &mut bytes_from(seed))), second);
        let secret = new_secret(now, &mut bytes_from(seed));
        prop_assert_eq!(made_at(secret.expose()), second);
        prop_assert_eq!(checksum(secret.expose()), Checksum::Good);
    }

    #[test]
    fn one_changed_character_breaks_the_checksum(seed in any::<u64>(), place in 5..64_usize, by in 1..62_usize) {
        let secret = new_secret(Timestamp::from_millis(1_761_669_918_000), &mut bytes_from(seed));
        let mut letters = secret.expose().as_bytes().to_vec();
        let was = ALPHABET.iter().position(|&letter| letter == letters[place]).unwrap();
        letters[place] = ALPHABET[(was + by) % 62];
        prop_assert_eq!(checksum(std::str::from_utf8(&letters).unwrap()), Checksum::Wrong);
    }

    #[test]
    fn no_text_makes_reading_panic(text in any::<String>()) {
        let _ = (made_at(&text), checksum(&text));
    }
}

#[test]
fn a_secret_for_an_environment_has_its_prefix_and_forty_characters() {
    let prefixes = Prefixes::default();
    for (environment, prefix) in [
        (Environment::Production, "hk_live_"),
        (Environment::Test, "hk_test_"),
        (Environment::Development, "hk_dev_"),
    ] {
        let made = new_environment_secret(environment, &prefixes, &mut bytes_from(4));
        let text = made.secret.expose();
        assert_eq!(text.len(), prefix.len() + 40);
        assert!(text.starts_with(prefix), "{prefix}");
        assert_eq!(made.key_prefix, text[..prefix.len() + 3]);
        assert_eq!(recognise(text, &prefixes), Some(SecretForm::Environment(environment)));
    }
}

#[test]
fn a_refresh_token_has_its_prefix_and_sixty_characters() {
    let token = new_refresh_token(&mut bytes_from(8));
    let text = token.expose();
    assert!(text.starts_with("hr_") && text.len() == 63, "{text}");
    assert!(is_refresh_token(text));
    assert_eq!(recognise(text, &Prefixes::default()), Some(SecretForm::Refresh));
}

/// Every text here ends in the right checksum, but for the last.
#[test]
fn a_checksum_alone_makes_no_secret() {
    let ending_well = |body: &str| {
        let mut text = body.to_owned();
        push_checksum(&mut text);
        text
    };
    let zeros = |count: usize| "0".repeat(count);
    assert!(is_refresh_token(&ending_well(&format!("hr_{}", zeros(54)))));
    for no in [
        ending_well(&format!("hr_{}", zeros(53))),
        ending_well(&format!("hr_{}", zeros(55))),
        ending_well(&format!("hr_-{}", zeros(53))),
        ending_well(&format!("hk_test_{}", zeros(33))),
        ending_well(&format!("hk_test_{}", zeros(35))),
        ending_well(&format!("hk_test_-{}", zeros(33))),
        ending_well(&format!("sec_{}", zeros(53))),
        ending_well(&format!("sec_0{}", zeros(54))),
        ending_well(&format!("sec_0-{}", zeros(52))),
        ending_well(&zeros(57)),
        format!("hr_{}", zeros(60)),
    ] {
        assert_eq!(recognise(&no, &Prefixes::default()), None, "{no}");
    }
}

/// The expected checksums were computed by Python's `zlib.crc32`.
#[test]
fn an_environments_secret_ends_in_the_crc_32_of_all_before_it() {
    let body = "hk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWX";
    let prefixes = Prefixes::default();
    let found = |text: String| recognise(&text, &prefixes);
    assert_eq!(
        found(format!("{body}3YgHhN")),
        Some(SecretForm::Environment(Environment::Production))
    );
    assert_eq!(found(format!("{body}000000")), None);
}

#[test]
fn only_a_whole_secret_with_its_checksum_is_recognised() {
    let prefixes = Prefixes::default();
    let operator = new_secret(at("2025-10-28T16:45:18Z"), &mut bytes_from(5));
    assert_eq!(recognise(operator.expose(), &prefixes), Some(SecretForm::Operator));
    let made = new_environment_secret(Environment::Test, &prefixes, &mut bytes_from(6));
    let text = made.secret.expose();
    let swapped = text.replace("hk_test_", "hk_live_");
    let key_id = new_key_id(at("2025-10-28T16:45:18Z"), &mut bytes_from(7));
    for no in [
        "",
        "hk_test_",
        &text[1..],
        &text[..text.len() - 1],
        &format!("{text}0"),
        &swapped,
        &key_id,
        "sec_0001vDmowg2tzwvpaFL",
    ] {
        assert_eq!(recognise(no, &prefixes), None, "{no}");
    }
    let own: Prefixes = "test=acme_".parse().unwrap();
    assert_eq!(recognise(text, &own), None);
    let made = new_environment_secret(Environment::Test, &own, &mut bytes_from(6));
    assert_eq!(
        recognise(made.secret.expose(), &own),
        Some(SecretForm::Environment(Environment::Test))
    );
}

proptest! {
    #[test]
    fn random_base62_is_not_taken_for_a_secret(rest in "[0-9A-Za-z]{40}", prefix in "hk_(live|test|dev)_") {
        let text = format!("{prefix}{rest}");
        // One in four thousand million has the right checksum.
        prop_assert_eq!(recognise(&text, &Prefixes::default()), None);
    }

    #[test]
    fn no_text_makes_recognising_panic(text in any::<String>()) {
        let _ = recognise(&text, &Prefixes::default());
    }
}
