use super::*;

/// PKCS#8 of RFC 8037, appendix A.1.
fn rfc_8037_key() -> Vec<u8> {
    let seed = URL_SAFE_NO_PAD
        .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
        .unwrap();
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    [&head[..], &seed].concat()
}

fn ed25519(seed: u8) -> SigningKey {
    let mut pkcs8 = rfc_8037_key();
    pkcs8[16..].fill(seed);
    SigningKey::ed25519(&pkcs8).unwrap()
}

#[test]
fn hs256_is_what_rfc_7515_says() {
    let k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = SigningKey::hmac(&URL_SAFE_NO_PAD.decode(k).unwrap());
    let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                   eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(URL_SAFE_NO_PAD.encode(key.signature(message.as_bytes())), signature);
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert!(key.verifies(message.as_bytes(), &signature));
    assert!(!key.verifies(&message.as_bytes()[1..], &signature));
    // Its header has another order and a line break, so as a token it is none of ours.
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert_eq!(KeySet::new([key]).unwrap().open(&token), None);
}

#[test]
fn eddsa_is_what_rfc_8037_says() {
    let key = SigningKey::ed25519(&rfc_8037_key()).unwrap();
    assert_eq!(key.id(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(URL_SAFE_NO_PAD.encode(key.signature(message)), signature);
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert!(key.verifies(message, &signature));
    let token = format!(
        "{}.{}",
        str::from_utf8(message).unwrap(),
        URL_SAFE_NO_PAD.encode(signature)
    );
    assert_eq!(KeySet::new([key]).unwrap().open(&token), None);
}

#[test]
fn the_key_set_publishes_public_keys_and_no_secret() {
    let set = KeySet::new([
        SigningKey::ed25519(&rfc_8037_key()).unwrap(),
        SigningKey::hmac(&[7; 32]),
    ])
    .unwrap();
    let expected = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","use":"sig","alg":"EdDSA"}]}"#;
    assert_eq!(set.public_keys(), expected);
    assert_eq!(
        KeySet::new([SigningKey::hmac(&[7; 32])]).unwrap().public_keys(),
        r#"{"keys":[]}"#
    );
    let two = KeySet::new([ed25519(1), ed25519(2)]).unwrap().public_keys();
    let two: serde_json::Value = serde_json::from_str(&two).unwrap();
    assert_eq!(two["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn the_first_key_signs_and_all_verify() {
    let old = ed25519(1).sign("{}");
    let older = SigningKey::hmac(&[3; 32]).sign("{}");
    let set = KeySet::new([
        ed25519(2),
        ed25519(1),
        SigningKey::hmac(&[4; 32]),
        SigningKey::hmac(&[3; 32]),
    ])
    .unwrap();
    for token in [&old, &older, &set.signing().sign("{}")] {
        assert_eq!(set.open(token.expose()).as_deref(), Some(b"{}".as_slice()));
    }
    assert!(set.signing().is(&ed25519(2)));
    let stranger = ed25519(9).sign("{}");
    assert_eq!(set.open(stranger.expose()), None);
}

#[test]
fn the_same_key_once_more_is_left_out() {
    let set = KeySet::new([ed25519(1), ed25519(2), ed25519(1)]).unwrap();
    assert_eq!(set.iter().count(), 2);
    assert!(KeySet::new([]).is_none());
}

#[test]
fn a_key_can_sign_for_a_while_longer_when_it_is_still_there() {
    let set = || KeySet::new([ed25519(2), ed25519(1)]).unwrap();
    let postponed = set().signing_with(&ed25519(1));
    assert!(postponed.signing().is(&ed25519(1)) && postponed.first().is(&ed25519(2)));
    assert_eq!(postponed.iter().count(), 2);
    assert!(set().signing_with(&ed25519(9)).signing().is(&ed25519(2)));
}

#[test]
fn only_an_ed25519_key_is_taken_for_one() {
    for der in [&[][..], &[0; 48], &rfc_8037_key()[..47]] {
        assert!(SigningKey::ed25519(der).is_err());
    }
}

#[test]
fn what_is_derived_depends_on_key_and_text_alone() {
    let derived = |key: &SigningKey, text: &str| {
        let mut bytes = [0; 100];
        key.derive(&Secret::new(text))(&mut bytes);
        bytes
    };
    let (one, other) = (ed25519(1), SigningKey::hmac(&[1; 32]));
    assert_eq!(derived(&one, "hr_a"), derived(&ed25519(1), "hr_a"));
    assert_ne!(derived(&one, "hr_a"), derived(&one, "hr_b"));
    assert_ne!(derived(&one, "hr_a"), derived(&other, "hr_a"));
    let text = derived(&one, "hr_a");
    assert_ne!(text[..32], text[32..64]);
}

#[test]
fn a_key_shows_nothing_of_itself_in_debug() {
    assert_eq!(format!("{:?}", SigningKey::hmac(b"very private")), "SigningKey(HS256)");
}
