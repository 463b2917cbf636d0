//! Tokens between this service and others: `PyJWT` reads ours by what we publish, and writes some that are ours to refuse.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use heare_auth::{
    accounts::{
        keys::Keys,
        token::{Subject, TokenError, Tokens},
    },
    config::TokenConfig,
    core::time::Timestamp,
};
use serde_json::{Value, json};

use crate::support::tool;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

const DECODE: &str = "
import json, sys, jwt
asked = json.load(sys.stdin)
if asked['keys']:
    kid = jwt.get_unverified_header(asked['token'])['kid']
    key = {key.key_id: key for key in jwt.PyJWKSet.from_dict(asked['keys']).keys}[kid].key
else:
    key = asked['secret']
claims = jwt.decode(asked['token'], key, algorithms=[asked['algorithm']], audience='heare-auth', issuer='heare-auth',
    options={'require': ['exp', 'iat', 'nbf', 'iss', 'aud', 'sub', 'jti'], 'verify_exp': False, 'verify_nbf': False, 'verify_iat': False})
json.dump(claims, sys.stdout)
";

const ENCODE: &str = "
import json, sys, jwt
asked = json.load(sys.stdin)
json.dump(jwt.encode(asked['claims'], asked['key'], algorithm=asked['algorithm'], headers=asked['headers']), sys.stdout)
";

fn python(script: &str, input: &Value) -> Value {
    let mut child = Command::new(tool("venv/bin/python"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input.to_string().as_bytes()).expect("python reads it");
    drop(stdin);
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn tokens(variable: &str, value: &str) -> Tokens {
    let config = TokenConfig::from_lookup(&|name| (name == variable).then(|| value.to_owned())).unwrap();
    Tokens::new(Keys::open(&config.signing, NOW, &mut |_| {}).unwrap().unwrap(), &config)
}

fn openssl_key() -> String {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519"])
        .output()
        .unwrap();
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap()
}

fn claims() -> Value {
    let now = NOW.as_seconds();
    json!({"sub": "ada", "user_id": 7, "iat": now, "nbf": now, "exp": now + 60, "iss": "heare-auth", "aud": "heare-auth",
           "jti": "t1", "sid": "s1"})
}

#[test]
fn others_verify_our_tokens_by_the_published_keys() {
    for (algorithm, tokens) in [
        ("EdDSA", tokens("JWT_PRIVATE_KEY", &openssl_key())),
        ("HS256", tokens("SECRET_KEY", SECRET)),
    ] {
        let subject = Subject {
            login: "ädä \"quoted\"",
            user_id: 7,
            session_id: "ses_1",
        };
        let issued = tokens.issue(subject, NOW, &mut |bytes| bytes.fill(7));
        let keys: Value = serde_json::from_str(&tokens.keys.current().public_keys()).unwrap();
        let published = !keys["keys"].as_array().unwrap().is_empty();
        assert_eq!(published, algorithm == "EdDSA");
        let asked = json!({
            "token": issued.token.expose(), "algorithm": algorithm, "secret": SECRET,
            "keys": if published { keys } else { Value::Null },
        });
        let read = python(DECODE, &asked);
        let expected = json!({
            "sub": "ädä \"quoted\"", "user_id": 7, "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_086_400,
            "iss": "heare-auth", "aud": "heare-auth", "jti": issued.claims.token_id, "sid": "ses_1",
        });
        assert_eq!(read, expected, "{algorithm}");
    }
}

#[test]
fn a_token_of_another_library_is_taken_only_when_key_header_and_claims_are_ours() {
    let pem = openssl_key();
    let (hs256, eddsa) = (tokens("SECRET_KEY", SECRET), tokens("JWT_PRIVATE_KEY", &pem));
    let kid = eddsa.keys.current().signing().id().unwrap().to_owned();
    let public: Value = serde_json::from_str(&eddsa.keys.current().public_keys()).unwrap();
    let public_key = public["keys"][0]["x"].as_str().unwrap();
    let made = |algorithm: &str, key: &str, headers: Value| {
        let asked = json!({"claims": claims(), "key": key, "algorithm": algorithm, "headers": headers});
        python(ENCODE, &asked).as_str().unwrap().to_owned()
    };
    assert!(hs256.verify(&made("HS256", SECRET, json!({})), NOW).is_ok());
    assert!(eddsa.verify(&made("EdDSA", &pem, json!({"kid": kid})), NOW).is_ok());
    for (tokens, token) in [
        (&hs256, made("none", "", json!({}))),
        (&hs256, made("HS512", SECRET, json!({}))),
        (&hs256, made("HS256", SECRET, json!({"kid": "a"}))),
        (&hs256, made("HS256", SECRET, json!({"jku": "http://127.0.0.1:9/"}))),
        (&hs256, made("EdDSA", &pem, json!({"kid": kid}))),
        (&eddsa, made("HS256", public_key, json!({}))),
        (&eddsa, made("HS256", public_key, json!({"kid": kid}))),
        (&eddsa, made("EdDSA", &pem, json!({}))),
        (
            &eddsa,
            made("EdDSA", &pem, json!({"kid": kid, "jwk": public["keys"][0]})),
        ),
        (&eddsa, made("EdDSA", &openssl_key(), json!({"kid": kid}))),
    ] {
        assert_eq!(tokens.verify(&token, NOW), Err(TokenError::Invalid), "{token}");
    }
}
