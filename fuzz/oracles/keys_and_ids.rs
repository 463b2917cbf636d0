//! Ids, secrets, scopes and times: what one function recognises the others do not deny, and what is made is recognised.

use heare_auth::core::{
    id::{
        Beginnings, Checksum, Prefixes, SecretForm, checksum, holds_secret, is_key_id, is_refresh_token, made_at,
        may_be_secret, new_environment_secret, new_key_id, new_refresh_token, new_secret, recognise,
    },
    scan,
    scope::Scope,
    secret::Digest,
    terms::Environment,
    time::Timestamp,
};

pub fn check(data: &[u8]) {
    made_is_recognised(data);
    let beginnings = Beginnings::new(&Prefixes::default(), &[]);
    let found: Vec<_> = scan::find(data, &beginnings).collect();
    for secret in &found {
        let there = &data[secret.offset..secret.offset + secret.token.len()];
        assert_eq!(there, secret.token.as_bytes());
        assert!(secret.token.starts_with(secret.prefix));
    }
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if recognise(text, &Prefixes::default()).is_some() {
        assert!(holds_secret(text) && may_be_secret(text), "{text:?}");
        assert!(
            found.iter().any(|secret| secret.token == text && secret.certain),
            "{text:?}"
        );
    }
    if is_key_id(text) {
        assert!(
            !may_be_secret(text) && recognise(text, &Prefixes::default()).is_none(),
            "{text:?}"
        );
    }
    let _ = (checksum(text), made_at(text));
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
    }
    scopes(text);
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time), "{text:?}");
    }
}

/// A scope covers itself, and what covers what another covers covers it, too.
fn scopes(text: &str) {
    let scopes: Vec<Scope<'_>> = text
        .split(' ')
        .take(3)
        .filter_map(|word| Scope::parse(word).ok())
        .collect();
    assert!(scopes.iter().all(|scope| scope.covers(scope)), "{text:?}");
    if let [a, b, c] = &scopes[..] {
        assert!(!(a.covers(b) && b.covers(c)) || a.covers(c), "{text:?}");
    }
}

fn made_is_recognised(data: &[u8]) {
    // The input stirred, as from a source that gives one byte for ever no text can be made.
    let mut state = data.iter().fold(1_u64, |state, byte| stirred(state ^ u64::from(*byte)));
    let mut fill = |room: &mut [u8]| {
        room.fill_with(|| {
            state = stirred(state);
            state.to_le_bytes()[7]
        });
    };
    let now = Timestamp::from_millis(1_700_000_000_000);
    let prefixes = Prefixes::default();
    assert!(is_key_id(&new_key_id(now, &mut fill)));
    let operators = new_secret(now, &mut fill);
    assert_eq!(recognise(operators.expose(), &prefixes), Some(SecretForm::Operator));
    assert_eq!(checksum(operators.expose()), Checksum::Good);
    for environment in Environment::ALL {
        let secret = new_environment_secret(environment, &prefixes, &mut fill).secret;
        assert_eq!(
            recognise(secret.expose(), &prefixes),
            Some(SecretForm::Environment(environment))
        );
    }
    assert!(is_refresh_token(new_refresh_token(&mut fill).expose()));
}

fn stirred(state: u64) -> u64 {
    state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}
