//! The first moments: without a document nothing is judged, a store that comes back is enough, and a snapshot stands in
//! for a store that is away.

use crate::support::{
    documents::{document, good_answer, refresh_failure, refusal, secret_of},
    fault_proxy::{Fault, FaultProxy},
    service::{Service, Settings, eventually},
    stored_object::StoredObject,
};
use heare_auth::{core::secret::Secret, envelope::Envelope};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

const STORAGE_SECRET: &str = "a storage secret";

/// Serving, but unable to judge: 503 with `Retry-After`, and never 403.
fn nothing_is_judged_yet(service: &Service, word: &str) {
    eventually(word, || service.ready().1["last_error"] == word);
    assert_eq!(service.health(), (200, json!({"status": "ok", "keys_count": 0})));
    let ready = service.get("/ready");
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("loading")));
    let body = json!({ "api_key": secret_of("key_one") }).to_string();
    let verify = service.post("/verify", body.as_bytes());
    let told = json!({"valid": false, "error": "Key data is not loaded yet"});
    assert_eq!(verify.status_and_json(), (503, told));
    for answer in [ready, verify] {
        let seconds: Option<u32> = answer.header("Retry-After").and_then(|seconds| seconds.parse().ok());
        assert!(seconds.is_some_and(|seconds| seconds > 0), "{:?}", answer.headers);
    }
}

fn it_is_ready_by_itself_when_the_store_answers(fault: Fault, word: &str) {
    let object = StoredObject::new();
    object.put(document(1, &["key_one"]));
    let proxy = object.proxy();
    proxy.set(fault);
    let service = object.settings_through(&proxy).start();
    nothing_is_judged_yet(&service, word);
    proxy.heal();
    service.wait_until_ready();
    assert_eq!(service.verify(&secret_of("key_one")), good_answer("key_one"));
    assert!(service.ready().1["last_error"].is_null());
}

#[test]
fn a_store_that_refuses_connections_at_boot_is_waited_for() {
    it_is_ready_by_itself_when_the_store_answers(Fault::Refuse, "store_unreachable");
}

#[test]
fn a_store_that_stalls_at_boot_is_waited_for() {
    it_is_ready_by_itself_when_the_store_answers(Fault::Silence, "store_timeout");
}

#[test]
fn a_store_that_forbids_access_at_boot_is_no_empty_store() {
    it_is_ready_by_itself_when_the_store_answers(Fault::Status(403, "AccessDenied"), "store_forbidden");
}

#[test]
fn a_store_that_fails_at_boot_is_no_empty_store() {
    for fault in [
        Fault::Status(500, "InternalError"),
        Fault::Status(404, "NotFound"),
        Fault::Html,
    ] {
        it_is_ready_by_itself_when_the_store_answers(fault, "store_failed");
    }
}

#[test]
fn a_bucket_that_is_missing_at_boot_is_no_empty_store_until_somebody_makes_it() {
    let object = StoredObject::new();
    let bucket = object.unused_bucket();
    let service = object.settings().with("S3_BUCKET", &bucket).start();
    nothing_is_judged_yet(&service, "bucket_missing");
    object.make_bucket(&bucket);
    service.wait_until_ready();
    assert_eq!(service.verify(&secret_of("key_one")), refusal("invalid"));
}

#[test]
fn an_object_that_is_no_document_at_boot_is_no_empty_store() {
    for (bytes, word) in [
        ("", "object_empty"),
        ("<html>", "object_not_json"),
        ("{\"keys\":[", "object_truncated"),
        ("{}", "object_without_keys"),
        ("HEARE_ENCRYPTED_V1:gAAAA", "secret_missing"),
    ] {
        let object = StoredObject::new();
        object.put(bytes);
        let service = object.settings().start();
        nothing_is_judged_yet(&service, word);
        object.put(document(1, &["key_one"]));
        service.wait_until_ready();
        assert_eq!(service.verify(&secret_of("key_one")), good_answer("key_one"));
    }
}

#[test]
fn a_missing_object_at_first_start_is_an_empty_store_that_can_be_filled() {
    for settings in [StoredObject::new().settings(), Settings::file_store()] {
        let service = settings.start_ready();
        assert_eq!(service.health(), (200, json!({"status": "ok", "keys_count": 0})));
        assert_eq!(service.verify(&secret_of("key_one")), refusal("invalid"));
        let secret = service.create_key("First");
        assert_eq!(service.verify(&secret).0, 200);
    }
}

/// A store behind a proxy, and a service that keeps snapshots.
struct Kept {
    object: StoredObject,
    proxy: FaultProxy,
    settings: Settings,
    snapshot: PathBuf,
}

impl Kept {
    /// A service has seen generation 5 with `key_one`, has saved it, and has ended.
    fn new(storage_secret: Option<&str>) -> Self {
        let object = StoredObject::new();
        let proxy = object.proxy();
        let mut settings = object.settings_through(&proxy).with("POLL_INTERVAL", "50ms");
        let snapshot = settings.home().join("state/snapshot.json");
        settings = settings.with("SNAPSHOT_PATH", snapshot.to_str().expect("temporary paths are UTF-8"));
        if let Some(secret) = storage_secret {
            settings = settings.with("STORAGE_SECRET", secret);
        }
        let kept = Self {
            object,
            proxy,
            settings,
            snapshot,
        };
        kept.put(5, &["key_one"], storage_secret);
        let service = kept.settings.start_ready();
        eventually("the snapshot is saved", || kept.snapshot.exists());
        assert!(service.stop().success());
        kept
    }

    fn put(&self, generation: u64, ids: &[&str], storage_secret: Option<&str>) {
        let document = document(generation, ids).into_bytes();
        self.object
            .put(Envelope::new(storage_secret.map(Secret::new).as_ref()).seal(document));
    }

    /// Ready with what was saved, whatever became of the store.
    fn starts_from_the_snapshot(&self, word: &str) -> Service {
        let service = self.settings.start_ready();
        service.wait_for_event("snapshot_loaded", |line| line["generation"] == 5);
        eventually(word, || service.ready().1["last_error"] == word);
        assert_eq!(service.ready().0, 200);
        assert_eq!(service.verify(&secret_of("key_one")), good_answer("key_one"));
        assert_eq!(service.verify(&secret_of("key_two")), refusal("invalid"));
        service
    }
}

#[test]
fn with_a_snapshot_it_is_ready_without_the_store_and_takes_the_store_when_it_is_back() {
    for (fault, word) in [
        (Fault::Refuse, "store_unreachable"),
        (Fault::Silence, "store_timeout"),
        (Fault::Status(403, "AccessDenied"), "store_forbidden"),
    ] {
        let kept = Kept::new(None);
        kept.proxy.set(fault);
        let service = kept.starts_from_the_snapshot(word);
        kept.put(6, &["key_one", "key_two"], None);
        kept.proxy.heal();
        eventually("the store is taken", || {
            service.verify(&secret_of("key_two")) == good_answer("key_two")
        });
    }
}

#[test]
fn a_snapshot_that_could_not_be_saved_is_tried_again_and_that_is_said_once() {
    let settings = Settings::file_store().with("POLL_INTERVAL", "50ms");
    let folder = settings.home().join("state");
    let snapshot = folder.join("snapshot.json");
    let service = settings
        .with("SNAPSHOT_PATH", snapshot.to_str().expect("temporary paths are UTF-8"))
        .start_ready();
    fs::write(&folder, "in the way").expect("a file");
    service.create_key("first");
    service.wait_for_event("snapshot_failed", |line| line["level"] == 40);
    service.create_key("second");
    fs::remove_file(&folder).expect("a file");
    service.wait_for_event("snapshot_recovered", |line| line["level"] == 30);
    eventually("both keys are saved", || {
        let saved = fs::read_to_string(&snapshot).expect("a snapshot");
        saved.contains("first") && saved.contains("second")
    });
    assert_eq!(service.events("snapshot_failed").len(), 1);
}

#[test]
fn a_snapshot_is_for_its_owner_only_and_holds_no_secret() {
    let kept = Kept::new(None);
    let mode = fs::metadata(&kept.snapshot).expect("a snapshot").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&kept.snapshot).expect("a snapshot");
    assert!(text.contains("key_one") && text.contains("sha256:"), "{text}");
    assert!(!text.contains(&secret_of("key_one")), "{text}");
}

#[test]
fn a_snapshot_is_encrypted_where_there_is_a_storage_secret() {
    let kept = Kept::new(Some(STORAGE_SECRET));
    let file = fs::read(&kept.snapshot).expect("a snapshot");
    assert!(file.starts_with(b"HEARE_ENCRYPTED_V1:"));
    assert!(!String::from_utf8_lossy(&file).contains("key_one"));
    kept.proxy.set(Fault::Refuse);
    kept.starts_from_the_snapshot("store_unreachable");
}

#[test]
fn nothing_older_than_the_snapshot_is_taken_without_the_operators_word() {
    let kept = Kept::new(None);
    kept.put(4, &["key_two"], None);
    let service = kept.starts_from_the_snapshot("older_generation");
    assert_eq!(
        service.refresh(),
        refresh_failure("the object is of an older generation")
    );
    assert!(service.cli(&["refresh", "--allow-older"]).status.success());
    assert_eq!(service.verify(&secret_of("key_two")), good_answer("key_two"));
    assert_eq!(service.verify(&secret_of("key_one")), refusal("invalid"));
}

#[test]
fn an_object_that_is_missing_after_a_snapshot_is_a_lost_object_and_no_empty_store() {
    let kept = Kept::new(None);
    kept.object.delete();
    kept.starts_from_the_snapshot("object_gone");
}

#[test]
fn a_plain_object_after_an_encrypted_snapshot_is_not_taken() {
    let kept = Kept::new(Some(STORAGE_SECRET));
    kept.put(6, &["key_two"], None);
    kept.starts_from_the_snapshot("object_not_encrypted");
}

#[test]
fn a_snapshot_that_is_damaged_is_as_good_as_none() {
    let kept = Kept::new(None);
    for damaged in ["", "{\"keys\":[", "HEARE_ENCRYPTED_V1:gAAAA", "\u{0}\u{0}"] {
        fs::write(&kept.snapshot, damaged).expect("the snapshot can be damaged");
        kept.proxy.set(Fault::Refuse);
        let service = kept.settings.start();
        service.wait_for_event("snapshot_unusable", |_| true);
        nothing_is_judged_yet(&service, "store_unreachable");
        kept.proxy.heal();
        service.wait_until_ready();
        assert_eq!(service.verify(&secret_of("key_one")), good_answer("key_one"));
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_keeps_nobody_from_an_answer() {
    let settings = Settings::file_store();
    settings.write_document(&document(1, &["key_one"]));
    // Nobody, not even root, can make a directory there.
    let service = settings
        .with("SNAPSHOT_PATH", "/proc/heare-auth/keys.json")
        .start_ready();
    service.wait_for_event("snapshot_failed", |_| true);
    assert_eq!(service.verify(&secret_of("key_one")), good_answer("key_one"));
}
