use serde_json::{Value, json};

use super::*;
use crate::{
    accounts::signing::SigningKey,
    config::{GivenKeys, PrivateKey, SigningConfig},
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_500);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const SUBJECT: Subject<'static> = Subject {
    login: "ada@example.com",
    user_id: 7,
    session_id: "s1",
};

/// RFC 8037, appendix A.1.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
const PUBLIC_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1000)
}

fn tokens(private_key: Option<&str>, secret_key: Option<&str>, previous: Option<&str>) -> Tokens {
    let config = TokenConfig {
        signing: SigningConfig::Given(GivenKeys {
            private_key: private_key.map(|pem| PrivateKey::Pem(Secret::new(pem))),
            secret_key: secret_key.map(Secret::new),
            previous: previous.map(Secret::new),
        }),
        issuer: "heare-auth".to_owned(),
        audience: "heare-auth".to_owned(),
        token_ttl: std::time::Duration::from_hours(1),
        refresh_ttl: std::time::Duration::from_hours(10),
    };
    Tokens::new(Keys::open(&config.signing, NOW, &mut |_| {}).unwrap().unwrap(), &config)
}

fn hs256() -> Tokens {
    tokens(None, Some(SECRET), None)
}

fn eddsa() -> Tokens {
    tokens(Some(PEM), None, None)
}

fn random() -> impl FnMut(&mut [u8]) {
    use rand::{RngExt as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(5);
    move |bytes| random.fill(bytes)
}

fn good(tokens: &Tokens) -> String {
    tokens.issue(SUBJECT, NOW, &mut random()).token.expose().to_owned()
}

fn claims() -> Value {
    let now = NOW.as_seconds();
    json!({"sub": "ada", "user_id": 7, "iat": now, "nbf": now, "exp": now + 60, "iss": "heare-auth", "aud": "heare-auth",
           "jti": "t1", "sid": "s1"})
}

/// A payload of somebody's own, signed by the very key of the service.
fn signed(tokens: &Tokens, payload: &str) -> String {
    tokens.keys.current().signing().sign(payload).expose().to_owned()
}

/// Any header before a good payload, signed as HS256 with this key.
fn with_header(header: &str, key: &[u8]) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims().to_string())
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_token_says_whose_it_is_until_it_ends() {
    for tokens in [hs256(), eddsa()] {
        let issued = tokens.issue(SUBJECT, NOW, &mut random());
        let token = issued.token.expose();
        assert_eq!(tokens.verify(token, NOW), Ok(issued.claims.clone()));
        assert_eq!(issued.claims.login, "ada@example.com");
        assert_eq!((issued.claims.user_id, issued.claims.session_id.as_str()), (7, "s1"));
        assert_eq!(issued.claims.expires_at, NOW.as_seconds() + 3600);
        assert_eq!(tokens.verify(token, later(3599)), Ok(issued.claims));
        assert_eq!(tokens.verify(token, later(3600)), Err(TokenError::Expired));
    }
}

#[test]
fn two_tokens_of_one_second_are_two() {
    let (tokens, mut random) = (hs256(), random());
    let mut make = || tokens.issue(SUBJECT, NOW, &mut random);
    let (one, other) = (make(), make());
    assert_ne!(one.token.expose(), other.token.expose());
    assert_ne!(one.claims.token_id, other.claims.token_id);
}

#[test]
fn any_change_of_any_character_is_seen() {
    for tokens in [hs256(), eddsa()] {
        let token = good(&tokens);
        for at in 0..token.len() {
            let present = token.as_bytes()[at];
            for other in *b"Az09-_.= \n" {
                let mut edited = token.clone().into_bytes();
                edited[at] = other;
                let edited = String::from_utf8(edited).unwrap();
                let expected = other != present;
                assert_eq!(tokens.verify(&edited, NOW).is_err(), expected, "{at} {other}");
            }
            // The neighbour in the alphabet differs in the lowest bit, which the last character of a part may not use.
            let mut flipped = token.clone().into_bytes();
            flipped[at] ^= 1;
            let flipped = String::from_utf8_lossy(&flipped);
            assert_eq!(tokens.verify(&flipped, NOW), Err(TokenError::Invalid), "{at}");
        }
        for cut in 0..token.len() {
            assert_eq!(tokens.verify(&token[..cut], NOW), Err(TokenError::Invalid), "{cut}");
            assert_eq!(tokens.verify(&token[cut + 1..], NOW), Err(TokenError::Invalid), "{cut}");
        }
    }
}

#[test]
fn no_header_but_our_own_is_taken_whatever_it_says() {
    let public = URL_SAFE_NO_PAD.decode(PUBLIC_X).unwrap();
    let both = tokens(Some(PEM), Some(SECRET), None);
    let kid = both.keys.current().signing().id().unwrap().to_owned();
    let headers = [
        r#"{"alg":"none","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"None","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"NONE","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"nOnE"}"#.to_owned(),
        r#"{"alg":"","typ":"JWT"}"#.to_owned(),
        r#"{"alg":null,"typ":"JWT"}"#.to_owned(),
        r#"{"typ":"JWT"}"#.to_owned(),
        "{}".to_owned(),
        String::new(),
        r#"{"alg":"HS512","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"hs256","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"RS256","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"ES256","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"EdDSA","typ":"JWT"}"#.to_owned(),
        r#"{"typ":"JWT","alg":"HS256"}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT" }"#.to_owned(),
        r#"{"alg":"HS256","alg":"none","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","kid":"../../dev/null"}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","kid":"' OR 1=1 --"}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","jku":"http://127.0.0.1:9/keys"}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","x5u":"http://127.0.0.1:9/cert"}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","jwk":{"kty":"oct","k":"AAAA"}}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","x5c":["AAAA"]}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","crit":["exp"]}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","zip":"DEF"}"#.to_owned(),
        r#"{"alg":"HS256","typ":"JWT","b64":false,"crit":["b64"]}"#.to_owned(),
        r#"{"alg":"EdDSA","kid":"another","typ":"JWT"}"#.to_owned(),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"JWT"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"JWT"}}"#),
        format!(
            r#"{{"alg":"EdDSA","kid":"{kid}","typ":"JWT","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{PUBLIC_X}"}}}}"#
        ),
    ];
    for tokens in [hs256(), eddsa(), both] {
        for header in &headers {
            for key in [&public[..], PUBLIC_X.as_bytes(), SECRET.as_bytes(), b""] {
                let token = with_header(header, key);
                assert_eq!(tokens.verify(&token, NOW), Err(TokenError::Invalid), "{header}");
                let (unsigned, _) = token.rsplit_once('.').unwrap();
                for end in ["", ".", ".."] {
                    assert_eq!(
                        tokens.verify(&format!("{unsigned}{end}"), NOW),
                        Err(TokenError::Invalid),
                        "{header}"
                    );
                }
            }
        }
    }
    // The table tests what it says: with our own header and key the same payload is good.
    let ours = with_header(r#"{"alg":"HS256","typ":"JWT"}"#, SECRET.as_bytes());
    assert!(hs256().verify(&ours, NOW).is_ok());
}

#[test]
fn the_public_key_signs_nothing() {
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let public = URL_SAFE_NO_PAD.decode(PUBLIC_X).unwrap();
    let spki = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0][..], &public].concat();
    for tokens in [eddsa(), tokens(Some(PEM), Some(SECRET), None)] {
        for key in [&public, &spki, &PUBLIC_X.as_bytes().to_vec()] {
            assert_eq!(tokens.verify(&with_header(header, key), NOW), Err(TokenError::Invalid));
        }
    }
}

#[test]
fn another_key_signs_nothing() {
    let other = "another secret of thirty-two bytes";
    let token = good(&tokens(None, Some(other), None));
    assert_eq!(hs256().verify(&token, NOW), Err(TokenError::Invalid));
    assert_eq!(eddsa().verify(&token, NOW), Err(TokenError::Invalid));
    assert_eq!(hs256().verify(&good(&eddsa()), NOW), Err(TokenError::Invalid));
    // As the previous key it still verifies.
    assert!(tokens(None, Some(SECRET), Some(other)).verify(&token, NOW).is_ok());
    assert!(tokens(Some(PEM), None, Some(other)).verify(&token, NOW).is_ok());
}

#[test]
fn the_claims_must_be_ours_even_when_the_signature_is() {
    let now = NOW.as_seconds();
    for tokens in [hs256(), eddsa()] {
        assert!(tokens.verify(&signed(&tokens, &claims().to_string()), NOW).is_ok());
        for (member, value) in [
            ("iss", json!("another")),
            ("iss", json!(["heare-auth"])),
            ("aud", json!("another")),
            ("aud", json!(["heare-auth"])),
            ("aud", json!("heare-auth ")),
            ("sub", json!("")),
            ("sub", json!(7)),
            ("user_id", json!(0)),
            ("user_id", json!(-1)),
            ("user_id", json!("7")),
            ("user_id", json!(7.0)),
            ("user_id", json!(1e30)),
            ("user_id", json!(u64::MAX)),
            ("iat", json!(now + 11)),
            ("nbf", json!(now + 11)),
            ("nbf", json!(-1)),
            ("exp", json!(1_800_000_060.5)),
            ("exp", json!((now + 60).to_string())),
            ("exp", json!(LAST_SECOND + 1)),
            ("exp", json!(i64::MAX)),
            ("exp", json!(null)),
            ("iat", json!(now + 60)),
            ("jti", json!("")),
            ("jti", json!("x".repeat(65))),
            ("jti", json!("a b")),
            ("sid", json!("")),
            ("sid", json!({"$gt": ""})),
        ] {
            let mut payload = claims();
            payload[member] = value.clone();
            let token = signed(&tokens, &payload.to_string());
            assert_eq!(tokens.verify(&token, NOW), Err(TokenError::Invalid), "{member} {value}");
        }
        for member in ["sub", "user_id", "iat", "nbf", "exp", "iss", "aud", "jti", "sid"] {
            let mut payload = claims();
            let value = payload.as_object_mut().unwrap().remove(member).unwrap();
            let without = payload.to_string();
            assert_eq!(
                tokens.verify(&signed(&tokens, &without), NOW),
                Err(TokenError::Invalid),
                "{member}"
            );
            let twice = format!(
                "{}{},{}",
                "{",
                format_args!("\"{member}\":{value}"),
                &claims().to_string()[1..]
            );
            assert_eq!(
                tokens.verify(&signed(&tokens, &twice), NOW),
                Err(TokenError::Invalid),
                "{member}"
            );
        }
        for text in ["", "null", "[]", "7", "\"text\"", "{", "{}", "\u{feff}{}"] {
            assert_eq!(
                tokens.verify(&signed(&tokens, text), NOW),
                Err(TokenError::Invalid),
                "{text}"
            );
            let behind = format!("{}{text}", claims());
            assert_eq!(
                tokens.verify(&signed(&tokens, &behind), NOW).is_ok(),
                text.is_empty(),
                "{text}"
            );
        }
    }
}

#[test]
fn a_clock_that_is_a_little_ahead_makes_good_tokens() {
    let tokens = hs256();
    let issued = tokens.issue(SUBJECT, later(10), &mut random());
    assert_eq!(tokens.verify(issued.token.expose(), NOW), Ok(issued.claims));
}

#[test]
fn a_claim_that_we_do_not_know_is_somebody_elses() {
    let tokens = hs256();
    let mut payload = claims();
    payload["scope"] = json!("read");
    assert!(tokens.verify(&signed(&tokens, &payload.to_string()), NOW).is_ok());
}

#[test]
fn an_expired_token_that_is_wrong_besides_is_merely_wrong() {
    let tokens = hs256();
    let mut payload = claims();
    payload["aud"] = json!("another");
    assert_eq!(
        tokens.verify(&signed(&tokens, &payload.to_string()), later(9999)),
        Err(TokenError::Invalid)
    );
}

#[test]
fn padding_other_alphabets_and_parts_too_many_are_refused() {
    let tokens = hs256();
    let token = good(&tokens);
    for other in [
        format!("{token}="),
        format!("{token}=="),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{token}"),
        token.replacen('.', "..", 1),
        format!("Bearer {token}"),
        format!(" {token}"),
        format!("{token}\n"),
        token.replace('.', "%2E"),
        "é".repeat(50),
        ".".repeat(4096),
        "..".to_owned(),
    ] {
        assert_eq!(tokens.verify(&other, NOW), Err(TokenError::Invalid), "{other}");
    }
}

#[test]
fn what_is_longer_than_a_token_is_none_and_the_longest_name_fits() {
    let tokens = hs256();
    let mut payload = claims();
    payload["sub"] = json!("x".repeat(4000));
    assert_eq!(
        tokens.verify(&signed(&tokens, &payload.to_string()), NOW),
        Err(TokenError::Invalid)
    );
    for character in ['\u{10ffff}', '"', '\u{2028}'] {
        let login = character.to_string().repeat(255);
        let subject = Subject {
            login: &login,
            ..SUBJECT
        };
        let issued = eddsa().issue(subject, NOW, &mut random());
        assert_eq!(
            eddsa().verify(issued.token.expose(), NOW).map(|claims| claims.login),
            Ok(login)
        );
    }
}

#[test]
fn a_retry_finds_the_same_successor_also_when_another_key_signs_by_now() {
    let other = "another secret of thirty-two bytes";
    let presented = id::new_refresh_token(&mut random());
    let texts = |tokens: &Tokens| -> Vec<String> {
        let successors = tokens.successors(&presented);
        successors.iter().map(|secret| secret.expose().to_owned()).collect()
    };
    let given = texts(&hs256()).remove(0);
    assert_eq!(texts(&hs256()), [given.as_str()]);
    assert!(id::is_refresh_token(&given));
    assert_ne!(given, presented.expose());
    for rotated in [
        tokens(None, Some(other), Some(SECRET)),
        tokens(Some(PEM), Some(SECRET), None),
    ] {
        let found = texts(&rotated);
        assert_eq!((found.len(), found[1].as_str()), (2, given.as_str()));
        assert_ne!(found[0], given);
    }
    assert!(!texts(&eddsa()).contains(&given));
}

#[test]
fn refresh_tokens_are_told_from_keys_and_from_one_another() {
    let mut random = random();
    let token = id::new_refresh_token(&mut random);
    assert!(token.expose().starts_with("hr_") && token.expose().len() == 63);
    assert!(id::may_be_secret(token.expose()), "it is kept out of logs");
    let prefixes = id::Prefixes::default();
    assert_eq!(id::recognise(token.expose(), &prefixes), Some(id::SecretForm::Refresh));
    assert!(!id::is_refresh_token(&token.expose().replacen("hr_", "hx_", 1)));
    assert_ne!(id::new_refresh_token(&mut random).expose(), token.expose());
}

#[test]
fn a_key_that_is_shared_lends_no_power_to_what_is_derived_from_it() {
    // A derived text is no signature over anything a token could begin with, and the other way round.
    let key = SigningKey::hmac(SECRET.as_bytes());
    let mut derived = [0; 32];
    key.derive(&Secret::new("x"))(&mut derived);
    let token = key.sign("x");
    assert!(!token.expose().ends_with(&URL_SAFE_NO_PAD.encode(derived)));
}
