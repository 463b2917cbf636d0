//! Management while the store is down, and before anything is loaded.

use heare_auth::{core::secret::Secret, envelope::Envelope};
use serde_json::json;

use super::{KEYS, call, document, refused, started, text};
use crate::support::{
    documents::{refresh_failure, secret_of},
    fault_proxy::Fault,
    service::{Settings, eventually},
    stored_object::StoredObject,
};

#[test]
fn while_the_store_is_down_management_says_so_and_verify_goes_on() {
    let object = StoredObject::unsigned();
    object.put(document());
    let proxy = object.proxy();
    let service = object.settings_through(&proxy).start_ready();
    let body = json!({"name": "n"});
    assert_eq!(call(&service, "key_ann", "GET", KEYS, None).status, 200);

    proxy.set(Fault::Refuse);
    for (method, path, body) in [
        ("GET", KEYS.to_owned(), None),
        ("POST", KEYS.to_owned(), Some(&body)),
        ("DELETE", format!("{KEYS}/key_broad"), None),
    ] {
        let answer = call(&service, "key_ann", method, &path, body);
        refused(&answer, 503, "store_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(service.verify(&secret_of("key_broad")).0, 200);

    proxy.heal();
    eventually("the store answers again", || {
        call(&service, "key_ann", "POST", KEYS, Some(&body)).status == 201
    });
}

#[test]
fn a_document_that_is_gone_is_neither_no_keys_nor_begun_anew() {
    let service = started();
    let path = service.settings().document();
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).expect("the document is there");
    let body = json!({"name": "n"});
    for (method, path, body) in [
        ("GET", KEYS.to_owned(), None),
        ("GET", format!("{KEYS}/key_broad"), None),
        ("POST", KEYS.to_owned(), Some(&body)),
        ("PATCH", format!("{KEYS}/key_ann"), Some(&body)),
        ("DELETE", format!("{KEYS}/key_broad"), None),
    ] {
        refused(
            &call(&service, "key_ann", method, &path, body),
            503,
            "store_unavailable",
        );
    }
    assert!(!path.exists(), "nothing was written");
    assert_eq!(service.verify(&secret_of("key_broad")).0, 200);

    std::fs::rename(&away, &path).expect("the document can be put back");
    assert_eq!(call(&service, "key_ann", "POST", KEYS, Some(&body)).status, 201);
    assert_eq!(call(&service, "key_ann", "GET", KEYS, None).status, 200);
}

/// What came of a change to it would come into force one day, with nobody's word.
#[test]
fn a_document_that_is_refused_is_neither_shown_nor_written_onto() {
    const STORAGE_SECRET: &str = "a storage secret";
    let document = |generation: &str| document().replace(r#""generation":1,"#, generation);
    let sealed = |document: String| {
        let envelope = Envelope::new(Some(&Secret::new(STORAGE_SECRET)));
        String::from_utf8(envelope.seal(document.into_bytes())).expect("ASCII")
    };
    let in_force = document(r#""generation":7,"#);
    for (name, value, in_force, stored, error) in [
        (
            "STRICT_GENERATION",
            "false",
            in_force.clone(),
            document(r#""generation":3,"#),
            "the object is of an older generation",
        ),
        (
            "STRICT_GENERATION",
            "true",
            in_force.clone(),
            document(""),
            "the object has no generation any more",
        ),
        (
            "STORAGE_SECRET",
            STORAGE_SECRET,
            sealed(in_force.clone()),
            document(r#""generation":1000000,"#),
            "the object is not encrypted any more",
        ),
    ] {
        let settings = Settings::file_store().with(name, value);
        settings.write_document(&in_force);
        let service = settings.start_ready();
        settings.write_document(&stored);
        let body = json!({"name": "n"});
        for (method, path, body) in [
            ("GET", KEYS.to_owned(), None),
            ("POST", KEYS.to_owned(), Some(&body)),
            ("DELETE", format!("{KEYS}/key_broad"), None),
        ] {
            refused(&call(&service, "key_ann", method, &path, body), 503, "store_unfit");
        }
        let left = std::fs::read_to_string(settings.document()).expect("a document");
        assert!(left == stored, "nothing was written");
        assert_eq!(service.refresh(), refresh_failure(error));
        assert_eq!(service.verify(&secret_of("key_broad")).0, 200);
    }
}

#[test]
fn a_change_whose_answer_is_lost_is_made_once_and_its_secret_is_not_lost() {
    let object = StoredObject::unsigned();
    object.put(document());
    let proxy = object.proxy();
    let service = object.settings_through(&proxy).start_ready();
    // The first write may be the one that shows that the store keeps conditions.
    assert_eq!(
        call(&service, "key_bob", "POST", KEYS, Some(&json!({"name": "first"}))).status,
        201
    );
    proxy.fail("PUT", 1, Fault::LoseAnswer);
    let answer = call(&service, "key_bob", "POST", KEYS, Some(&json!({"name": "second"})));
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(service.verify(text(&answer.json()["key"])).0, 200);
    assert_eq!(call(&service, "key_bob", "GET", KEYS, None).json()["total"], 3);
}

#[test]
fn before_anything_is_loaded_nobody_is_called_a_stranger() {
    let settings = Settings::file_store();
    settings.write_document("no document");
    let service = settings.start();
    refused(&call(&service, "key_admin", "GET", KEYS, None), 503, "not_loaded");
}

#[test]
fn a_store_that_ignores_conditions_is_not_written_to() {
    let object = StoredObject::unsigned();
    object.put(document());
    let proxy = object.proxy();
    proxy.set(Fault::IgnoreConditions);
    let service = object.settings_through(&proxy).start_ready();
    let answer = call(&service, "key_admin", "POST", KEYS, Some(&json!({"name": "n"})));
    refused(&answer, 503, "store_unfit");
}
