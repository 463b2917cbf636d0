//! Documents as other programs write them, with keys that a test can name.

use serde_json::{Value, json};

/// The secret of the key with this id.
pub fn secret_of(id: &str) -> String {
    format!("sec_of_{id}_which_is_long_enough_to_be_one")
}

/// A record in the form that the Python service wrote, its secret in plain text.
pub fn record(id: &str) -> Value {
    json!({
        "id": id,
        "secret": secret_of(id),
        "name": format!("Name of {id}"),
        "secret_type": "shared_secret",
        "created_at": "2024-01-20T10:30:00.123456Z",
        "updated_at": null,
        "expires_at": null,
        "metadata": {"of": id},
    })
}

/// A record with one member set otherwise.
pub fn record_with(id: &str, member: &str, value: impl Into<Value>) -> Value {
    let mut record = record(id);
    record[member] = value.into();
    record
}

/// A whole document of this generation with these keys.
pub fn document(generation: u64, ids: &[&str]) -> String {
    let records: Vec<Value> = ids.iter().map(|id| record(id)).collect();
    json!({ "generation": generation, "keys": records }).to_string()
}

/// What a verify of that key answers.
pub fn good_answer(id: &str) -> (u16, Value) {
    let name = format!("Name of {id}");
    (
        200,
        json!({ "valid": true, "key_id": id, "name": name, "metadata": { "of": id } }),
    )
}

/// What a verify answers whose key is no good.
pub fn refusal(code: &str) -> (u16, Value) {
    let flat = json!({ "valid": false, "error": "Invalid API key" });
    let mut body = flat.clone();
    body["code"] = code.into();
    body["detail"] = flat;
    (403, body)
}

/// What a refresh answers that changed nothing.
pub fn refresh_failure(sentence: &str) -> (u16, Value) {
    (
        502,
        json!({ "success": false, "error": sentence, "detail": { "error": sentence } }),
    )
}
