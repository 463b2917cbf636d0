//! The same request twice.

use serde_json::json;
use std::thread;

use super::{KEYS, call, call_with, made, path_of, refused, started, text};

#[test]
fn a_request_sent_again_is_carried_out_once_and_answered_alike() {
    let service = started();
    let body = json!({"name": "n"});
    let send = |body| {
        call_with(
            &service,
            "key_ann",
            "POST",
            KEYS,
            &[("Idempotency-Key", "a-1")],
            Some(body),
        )
    };
    let (first, again) = (send(&body), send(&body));
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(
        (first.header("location"), first.header("etag")),
        (again.header("location"), again.header("etag"))
    );
    assert_eq!(
        (first.header("idempotent-replayed"), again.header("idempotent-replayed")),
        (None, Some("true"))
    );
    refused(&send(&json!({"name": "other"})), 422, "idempotency_key_reused");

    let as_bob = call_with(
        &service,
        "key_bob",
        "POST",
        KEYS,
        &[("Idempotency-Key", "a-1")],
        Some(&body),
    );
    assert_eq!(as_bob.status, 201);
    assert_ne!(as_bob.json()["key_id"], first.json()["key_id"]);
    let bad = call_with(
        &service,
        "key_ann",
        "POST",
        KEYS,
        &[("Idempotency-Key", "")],
        Some(&body),
    );
    refused(&bad, 422, "invalid_request");
}

#[test]
fn a_rotation_sent_again_gives_the_same_secret_and_not_another() {
    let service = started();
    let key = made(&service, "key_ann", &json!({"name": "n"}));
    let path = format!("{}/rotate", path_of(&key));
    let rotate = || call_with(&service, "key_ann", "POST", &path, &[("Idempotency-Key", "r")], None).json();
    let (first, again) = (rotate(), rotate());
    assert_eq!(first, again);
    assert_eq!(service.verify(text(&again["key"])).0, 200);
}

#[test]
fn what_was_refused_may_be_sent_again() {
    let service = started();
    let path = format!("{KEYS}/key_revoked");
    let rotate = || {
        call_with(
            &service,
            "key_admin",
            "POST",
            &format!("{path}/rotate"),
            &[("Idempotency-Key", "r")],
            None,
        )
    };
    refused(&rotate(), 409, "key_revoked");
    assert_eq!(
        call(&service, "key_admin", "POST", &format!("{path}/reactivate"), None).status,
        200
    );
    assert_eq!(rotate().status, 200);
}

#[test]
fn eight_at_once_with_one_idempotency_key_make_one_key() {
    let service = started();
    let body = json!({"name": "n"});
    let ids: Vec<String> = thread::scope(|scope| {
        let send = || {
            call_with(
                &service,
                "key_bob",
                "POST",
                KEYS,
                &[("Idempotency-Key", "same")],
                Some(&body),
            )
            .json()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        let answers = threads.into_iter().map(|thread| thread.join().expect("an answer"));
        answers.map(|answer| text(&answer["key_id"]).to_owned()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(call(&service, "key_bob", "GET", KEYS, None).json()["total"], 2);
}
