//! The body of a verify is read as a tree of the whole body says, and a batch is a list of such bodies.

use heare_auth::core::request::{MAX_API_KEY_CHARS, MAX_BATCH, Malformed, VerifyRequest, parse_batch};
use serde_json::{Value, value::RawValue};

pub fn check(data: &[u8]) {
    // A tree holds no number beyond its range, no half of a surrogate pair and nothing nested deeply; a text may.
    if serde_json::from_slice::<Value>(data).is_err() && serde_json::from_slice::<&RawValue>(data).is_ok() {
        let _ = VerifyRequest::parse(data);
        return;
    }
    let ours = VerifyRequest::parse(data);
    match (&ours, by_tree(data)) {
        (Ok(request), Ok(api_key)) => assert_eq!(request.api_key, api_key),
        // What else may stand in a body is judged beside the key, and before it.
        (Err(_), Ok(_)) => assert!(has_other_members(data), "{data:?}"),
        (Err(ours), Err(theirs)) => assert!(
            *ours == theirs || has_other_members(data),
            "{data:?}: {ours:?}, {theirs:?}"
        ),
        (Ok(_), Err(theirs)) => panic!("{data:?} is {theirs:?}"),
    }
    let with = VerifyRequest::parse_with(data, None);
    assert_eq!(ours.is_ok(), matches!(with, Ok(Some(_))), "{data:?}");
    if let Ok(request) = &ours {
        let same = VerifyRequest::parse_with(data, Some(&request.api_key));
        assert!(same.is_ok_and(|same| same.is_some()), "{data:?}");
        let other = VerifyRequest::parse_with(data, Some("another"));
        assert!(request.api_key == "another" || other.is_err(), "{data:?}");
    }
    if let Ok(requests) = parse_batch(data) {
        assert!(requests.len() <= MAX_BATCH);
        assert!(serde_json::from_slice::<Value>(data).is_ok(), "{data:?}");
        for request in requests {
            let _ = VerifyRequest::parse_text(request.get());
        }
    }
}

/// Members of a body that can be wrong by themselves.
fn has_other_members(data: &[u8]) -> bool {
    const NAMES: [&str; 5] = ["client_ip", "required_scopes", "cost", "endpoint", "explain"];
    let tree = serde_json::from_slice::<Value>(data).ok();
    tree.is_some_and(|tree| NAMES.iter().any(|name| tree.get(name).is_some()))
}

fn by_tree(data: &[u8]) -> Result<String, Malformed> {
    match serde_json::from_slice(data).map_err(|_| Malformed::NotJson)? {
        Value::Object(members) => match members.get("api_key").ok_or(Malformed::MissingApiKey)? {
            Value::String(api_key) if api_key.chars().count() > MAX_API_KEY_CHARS => Err(Malformed::ApiKeyTooLong),
            Value::String(api_key) => Ok(api_key.clone()),
            _ => Err(Malformed::ApiKeyNotAString),
        },
        _ => Err(Malformed::NotAnObject),
    }
}
