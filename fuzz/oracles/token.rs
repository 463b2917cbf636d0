//! Of all texts only the very tokens that a key signed open. One bit, one character or one part more or less is a forgery.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use heare_auth::accounts::signing::{KeySet, SigningKey};
use std::sync::LazyLock;

/// PKCS#8 of an Ed25519 key whose seed is 32 times the same byte.
fn pkcs8(seed: u8) -> Vec<u8> {
    const HEAD: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    [&HEAD[..], &[seed; 32]].concat()
}

struct World {
    keys: KeySet,
    tokens: Vec<String>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let ed25519 = |seed| SigningKey::ed25519(&pkcs8(seed)).expect("a private key");
    let hmac = SigningKey::hmac(&[7; 32]);
    let tokens = [&hmac, &ed25519(1), &ed25519(2)].map(|key| key.sign(r#"{"sub":"ada"}"#).expose().to_owned());
    let keys = KeySet::new([hmac, ed25519(1), ed25519(2)]).expect("three keys");
    World {
        keys,
        tokens: tokens.into(),
    }
});

pub fn check(data: &[u8]) {
    let World { keys, tokens } = &*WORLD;
    let opens = |text: &str| {
        let opened = keys.open(text);
        assert_eq!(opened.is_some(), tokens.iter().any(|token| token == text), "{text:?}");
    };
    if let Ok(text) = str::from_utf8(data) {
        opens(text);
    }
    // A token of ours with one stretch of it replaced.
    let [which, from, length, with @ ..] = data else {
        return;
    };
    let token = &tokens[usize::from(*which) % tokens.len()];
    let from = usize::from(*from) % (token.len() + 1);
    let to = (from + usize::from(*length % 8)).min(token.len());
    let Ok(with) = str::from_utf8(with) else {
        return;
    };
    opens(&format!("{}{with}{}", &token[..from], &token[to..]));
    // A header and a payload of its own, signed by nobody or by a part of a signature that is good elsewhere.
    let signature = token.rsplit('.').next().unwrap_or_default();
    let own = URL_SAFE_NO_PAD.encode(with);
    let (header, _) = token.split_once('.').expect("a token has three parts");
    opens(&format!("{header}.{own}.{signature}"));
    opens(&format!("{own}.{own}.{signature}"));
    opens(&format!("{header}.{own}."));
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    opens(&format!("{none}.{own}."));
}
