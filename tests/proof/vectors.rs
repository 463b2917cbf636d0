//! Test vectors of others, at the libraries that the service uses and, where they fit, at the service's own types.

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fernet::Fernet;
use heare_auth::{
    accounts::signing::{KeySet, SigningKey},
    core::{imported::BcryptHash, secret::Digest},
};
use ring::{
    hmac,
    signature::{ED25519, UnparsedPublicKey},
};

const JWS_HS256: &str = include_str!("vectors/jws_hs256.tsv");
const HMAC_SHA256: &str = include_str!("vectors/hmac_sha256.tsv");
const ED25519_SIGNATURES: &str = include_str!("vectors/ed25519.tsv");

/// The rows of a file whose first line names its source.
fn rows<const COLUMNS: usize>(file: &str) -> impl Iterator<Item = [&str; COLUMNS]> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        cells.try_into().expect("as many cells as columns")
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// generate.json, verify.json and invalid.json of fernet/spec.
#[test]
fn the_vectors_of_the_fernet_specification_hold() {
    const SECRET: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    const MADE_AT: u64 = 499_162_800;
    const TTL: Option<u64> = Some(60);
    let fernet = Fernet::new(SECRET).expect("a key");
    let good = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
    assert_eq!(
        fernet.decrypt_at_time(good, TTL, MADE_AT + 1).as_deref(),
        Ok(&b"hello"[..])
    );
    let bad = [
        (
            "incorrect mac",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
            1,
        ),
        (
            "too short",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
            1,
        ),
        (
            "invalid base64",
            "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            1,
        ),
        (
            "payload size not multiple of block size",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
            1,
        ),
        (
            "payload padding error",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
            1,
        ),
        (
            "far-future TS (unacceptable clock skew)",
            "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
            1,
        ),
        (
            "expired TTL",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            91,
        ),
        (
            "incorrect IV (causes padding error)",
            "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
            1,
        ),
    ];
    for (what, token, later) in bad {
        assert!(fernet.decrypt_at_time(token, TTL, MADE_AT + later).is_err(), "{what}");
    }
}

/// RFC 9106, 5.3.
#[test]
fn the_vector_of_argon2id_holds() {
    let data = AssociatedData::new(&[4; 12]).expect("twelve bytes");
    let params = ParamsBuilder::new().m_cost(32).t_cost(3).p_cost(4).data(data).build();
    let params = params.expect("the parameters of the document");
    let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).expect("a short secret");
    let mut tag = [0; 32];
    argon2
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .expect("enough memory");
    let expected = bytes("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    assert_eq!(tag[..], expected);
}

/// From the tests of `crypt_blowfish`.
#[test]
fn the_vectors_of_bcrypt_hold() {
    let table = [
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
        ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    ];
    for (secret, hash) in table {
        let hash = BcryptHash::parse(hash).expect("a hash");
        for (other, _) in table {
            assert_eq!(hash.matches(other), other == secret, "{other}");
        }
    }
}

/// FIPS 180-2, appendix B.
#[test]
fn a_digest_is_sha_256_of_the_secret() {
    let table = [
        (
            "abc",
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ];
    for (secret, digest) in table {
        assert_eq!(Digest::of(secret).to_string(), digest);
    }
}

#[test]
fn wycheproofs_signatures_are_judged_as_they_are_meant() {
    let mut seen = [0, 0];
    for [key, message, tag, verdict] in rows(HMAC_SHA256) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes(key));
        let good = hmac::verify(&key, &bytes(message), &bytes(tag)).is_ok();
        assert_eq!(good, verdict == "valid", "{message} {tag}");
        seen[usize::from(good)] += 1;
    }
    for [key, message, signature, verdict] in rows(ED25519_SIGNATURES) {
        let key = UnparsedPublicKey::new(&ED25519, bytes(key));
        let good = key.verify(&bytes(message), &bytes(signature)).is_ok();
        assert_eq!(good, verdict == "valid", "{message} {signature}");
        seen[usize::from(good)] += 1;
    }
    assert_eq!(seen.iter().sum::<usize>(), 238);
}

/// Even the good ones: they say themselves, in headers of their own, how they are to be verified.
#[test]
fn no_token_of_wycheproof_is_one_of_ours() {
    let mut seen = 0;
    for [key, verdict, what, token] in rows(JWS_HS256) {
        let secret = URL_SAFE_NO_PAD.decode(key).expect("a key");
        let ours = SigningKey::hmac(&secret);
        let keys = KeySet::new([SigningKey::hmac(&secret)]).expect("one key");
        assert_eq!(keys.open(token), None, "{verdict} {what}");
        if let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] {
            // What is good about them, or nearly so, is worth nothing behind our header.
            let own = ours.sign("");
            let (header, _) = own.expose().split_once('.').expect("three parts");
            assert_eq!(keys.open(&format!("{header}.{payload}.{signature}")), None, "{what}");
        }
        seen += 1;
    }
    assert_eq!(seen, 40);
}

/// The deviations that Wycheproof's tokens have, at tokens of ours.
#[test]
fn a_token_of_ours_with_a_deviation_of_wycheproofs_is_none() {
    let secret = [0; 32];
    let keys = KeySet::new([SigningKey::hmac(&secret)]).expect("one key");
    // A payload of two bytes leaves bits unused that base64 could vary.
    let token = keys.signing().sign("ab").expose().to_owned();
    assert_eq!(keys.open(&token).as_deref(), Some(&b"ab"[..]));
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let with_bits = |text: &str| {
        let (rest, last) = text.split_at(text.len() - 1);
        let next = char::from(last.as_bytes()[0] + 1);
        format!("{rest}{next}")
    };
    let deviations = [
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}."),
        format!("{token}.foo"),
        format!("{header}.{payload}.    {signature}"),
        format!("{header}.{payload}.?{signature}"),
        format!("{header}.{payload}.{signature}?"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}    .{payload}.{signature}"),
        format!("{header}####.{payload}.{signature}"),
        format!("{header}.    {payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{}.{signature}", with_bits(payload)),
        format!("{header}.{payload}.{}", with_bits(signature)),
        format!("{header}.{payload}.{}", signature.to_uppercase()),
        format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#)),
    ];
    for deviation in deviations {
        assert_eq!(keys.open(&deviation), None, "{deviation}");
    }
}

/// RFC 8037, appendix A.
#[test]
fn the_key_of_rfc_8037_has_its_thumbprint_as_id_and_its_public_key() {
    let seed = URL_SAFE_NO_PAD
        .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
        .expect("base64");
    let pkcs8 = [&bytes("302e020100300506032b657004220420")[..], &seed].concat();
    let key = SigningKey::ed25519(&pkcs8).expect("a private key");
    assert_eq!(key.id(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    let keys = KeySet::new([key]).expect("one key");
    assert!(
        keys.public_keys()
            .contains(r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#)
    );
}
