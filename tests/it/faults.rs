//! A running service whose stored object is damaged, or whose store fails: the same answers as before from the same
//! process, the fault called by its name, and the next good object taken.

use crate::support::{
    asking::Asking,
    documents::{document, good_answer, record, record_with, refresh_failure, refusal, secret_of},
    fault_proxy::{Fault, FaultProxy},
    http_client::Connection,
    python,
    service::{Service, Settings, eventually},
    stored_object::StoredObject,
};
use heare_auth::{
    core::{
        key::Defect,
        secret::{Digest, Secret},
    },
    envelope::Envelope,
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

const STORAGE_SECRET: &str = "a storage secret";

fn sealed_with(storage_secret: &str, document: String) -> Vec<u8> {
    Envelope::new(Some(&Secret::new(storage_secret))).seal(document.into())
}

/// A service that watches an object, and both of them well: generation 5 with the key `key_old`.
struct Scene {
    object: StoredObject,
    service: Service,
    sealed: bool,
}

impl Scene {
    fn plain() -> Self {
        Self::with(false, &[])
    }

    fn sealed() -> Self {
        Self::with(true, &[])
    }

    fn with(sealed: bool, settings: &[(&str, &str)]) -> Self {
        let object = StoredObject::new();
        let mut with = object.settings().with("POLL_INTERVAL", "50ms");
        for (name, value) in settings {
            with = with.with(name, *value);
        }
        if sealed {
            with = with.with("STORAGE_SECRET", STORAGE_SECRET);
        }
        let put = |object: &StoredObject| object.put(good(sealed, 5, &["key_old"]));
        put(&object);
        let service = with.start_ready();
        Self {
            object,
            service,
            sealed,
        }
    }

    fn put_good(&self, generation: u64, ids: &[&str]) {
        self.object.put(good(self.sealed, generation, ids));
    }

    /// What is promised of a stored object that is no good, whatever is wrong with it.
    fn nothing_changes_but(&mut self, word: &str, sentence: &str) {
        eventually(word, || self.service.ready().1["last_error"] == word);
        self.answers_as_before();
        assert_eq!(self.service.refresh(), refresh_failure(sentence));
        self.answers_as_before();
        let ready = self.service.ready();
        assert_eq!((ready.0, &ready.1["last_error"]), (200, &json!(word)));
        assert_eq!((&ready.1["generation"], &ready.1["keys_count"]), (&json!(5), &json!(1)));

        self.put_good(6, &["key_old", "key_new"]);
        self.takes_the_next_good_object(word);
    }

    fn answers_as_before(&self) {
        assert_eq!(self.service.verify(&secret_of("key_old")), good_answer("key_old"));
        assert_eq!(self.service.verify(&secret_of("key_new")), refusal("invalid"));
        assert_eq!(self.service.health(), (200, json!({"status": "ok", "keys_count": 1})));
    }

    fn takes_the_next_good_object(&mut self, word: &str) {
        eventually("the good object is taken", || {
            self.service.verify(&secret_of("key_new")).0 == 200
        });
        assert_eq!(self.service.verify(&secret_of("key_old")), good_answer("key_old"));
        eventually("the fault is over", || self.service.ready().1["last_error"].is_null());
        self.service
            .wait_for_event("poll_recovered", |line| line["error"] == word);
        let said = ["load_failed", "poll_failed"].map(|event| self.service.events(event).len());
        assert_eq!(said.iter().sum::<usize>(), 1, "a fault is logged once");
        assert!(self.service.is_running());
    }
}

fn good(sealed: bool, generation: u64, ids: &[&str]) -> Vec<u8> {
    let document = document(generation, ids);
    if sealed {
        sealed_with(STORAGE_SECRET, document)
    } else {
        document.into_bytes()
    }
}

#[test]
fn a_deleted_object_changes_nothing() {
    let mut scene = Scene::plain();
    scene.object.delete();
    scene.nothing_changes_but("object_gone", "the object is gone");
}

#[test]
fn an_emptied_object_changes_nothing() {
    let mut scene = Scene::plain();
    scene.object.put("");
    scene.nothing_changes_but("object_empty", "the object is empty");
}

#[test]
fn a_truncated_object_changes_nothing() {
    let mut scene = Scene::plain();
    let whole = good(false, 6, &["key_other"]);
    scene.object.put(&whole[..whole.len() - 1]);
    scene.nothing_changes_but("object_truncated", "the object ends in the middle");
}

#[test]
fn an_object_replaced_by_a_page_changes_nothing() {
    let mut scene = Scene::plain();
    scene
        .object
        .put("<!DOCTYPE html><html><body>Please sign in</body></html>");
    scene.nothing_changes_but("object_not_json", "the object is not JSON");
}

#[test]
fn an_object_without_a_list_of_keys_changes_nothing() {
    let mut scene = Scene::plain();
    scene.object.put(r#"{"Message":"moved"}"#);
    scene.nothing_changes_but("object_without_keys", "the object is JSON without a list of keys");
}

#[test]
fn an_object_encrypted_with_another_secret_changes_nothing() {
    let mut scene = Scene::sealed();
    scene
        .object
        .put(sealed_with("another secret", document(6, &["key_other"])));
    scene.nothing_changes_but("wrong_secret", "the object does not open with STORAGE_SECRET");
}

#[test]
fn a_truncated_encrypted_object_changes_nothing() {
    let mut scene = Scene::sealed();
    let whole = good(true, 6, &["key_other"]);
    scene.object.put(&whole[..whole.len() / 2]);
    scene.nothing_changes_but("wrong_secret", "the object does not open with STORAGE_SECRET");
}

#[test]
fn an_encrypted_object_changes_nothing_where_no_secret_is_set() {
    let mut scene = Scene::plain();
    scene.object.put(good(true, 6, &["key_other"]));
    scene.nothing_changes_but(
        "secret_missing",
        "the object is encrypted and STORAGE_SECRET is not set",
    );
}

#[test]
fn a_plain_object_after_an_encrypted_one_changes_nothing() {
    let mut scene = Scene::sealed();
    scene.object.put(document(6, &["key_other"]));
    scene.nothing_changes_but("object_not_encrypted", "the object is not encrypted any more");
}

#[test]
fn an_object_beyond_the_cap_changes_nothing() {
    let mut scene = Scene::with(false, &[("MAX_DOCUMENT_BYTES", "4KiB")]);
    let large = format!("{}{}", document(6, &["key_other"]), " ".repeat(5000));
    scene.object.put(large);
    scene.nothing_changes_but("object_too_large", "the object is larger than MAX_DOCUMENT_BYTES");
}

#[test]
fn an_object_of_300_mb_changes_nothing_whatever_the_cap() {
    let object = StoredObject::new();
    object.put(document(5, &["key_old"]));
    let with_cap = |cap: &str| object.settings().with("MAX_DOCUMENT_BYTES", cap).start();
    let mut services = [
        (with_cap("64MiB"), "the object is larger than MAX_DOCUMENT_BYTES"),
        (with_cap("512MiB"), "the object is not JSON"),
    ];
    for (service, _) in &services {
        service.wait_until_ready();
    }
    python::fill(&object, 300_000_000);
    for (service, sentence) in &services {
        let asking = asking(service);
        // A machine that has much else to do may not get it all within the time of one load.
        eventually(sentence, || service.refresh() == refresh_failure(sentence));
        asking.stop();
        assert_eq!(service.ready().0, 200);
        assert!(
            service.resident_kib() < 100_000,
            "{} KiB are kept",
            service.resident_kib()
        );
    }
    object.put(document(6, &["key_old", "key_new"]));
    for (service, _) in &mut services {
        assert_eq!(service.refresh().0, 200);
        assert_eq!(service.verify(&secret_of("key_new")), good_answer("key_new"));
        assert!(service.is_running());
    }
}

#[test]
fn an_object_of_an_older_generation_changes_nothing() {
    let mut scene = Scene::plain();
    scene.object.put(document(4, &["key_other"]));
    scene.nothing_changes_but("older_generation", "the object is of an older generation");
}

#[test]
fn an_older_generation_is_taken_on_the_operators_word() {
    let scene = Scene::plain();
    scene.object.put(document(4, &["key_older"]));
    eventually("it is refused", || {
        scene.service.ready().1["last_error"] == "older_generation"
    });
    let plainly = scene.service.cli(&["refresh"]);
    assert_eq!(plainly.status.code(), Some(1));
    let told = String::from_utf8_lossy(&plainly.stderr);
    assert!(told.contains("the object is of an older generation"), "{told}");

    let refreshed = scene.service.cli(&["refresh", "--allow-older"]);
    assert!(refreshed.status.success());
    assert_eq!(scene.service.verify(&secret_of("key_older")), good_answer("key_older"));
    assert_eq!(scene.service.verify(&secret_of("key_old")), refusal("invalid"));
    let ready = scene.service.ready().1;
    assert_eq!((&ready["generation"], &ready["last_error"]), (&json!(4), &Value::Null));
}

#[test]
fn one_fault_after_another_leaves_the_same_process_answering() {
    let mut scene = Scene::sealed();
    let pid = scene.service.pid();
    let whole = good(true, 6, &["key_other"]);
    for (word, object) in [
        ("object_empty", Vec::new()),
        ("wrong_secret", whole[..30].to_vec()),
        ("object_not_json", b"<html>".to_vec()),
        ("object_not_encrypted", good(false, 6, &["key_other"])),
        ("older_generation", good(true, 4, &["key_other"])),
        (
            "object_truncated",
            sealed_with(STORAGE_SECRET, "{\"keys\":[".to_owned()),
        ),
    ] {
        scene.object.put(object);
        eventually(word, || scene.service.ready().1["last_error"] == word);
        scene.answers_as_before();
        scene.object.delete();
        eventually("it is gone", || scene.service.ready().1["last_error"] == "object_gone");
        scene.answers_as_before();
    }
    scene.put_good(6, &["key_old", "key_new"]);
    eventually("the good object is taken", || {
        scene.service.verify(&secret_of("key_new")).0 == 200
    });
    assert!(scene.service.is_running() && scene.service.pid() == pid);
}

#[test]
fn the_object_in_force_put_back_is_no_fault() {
    let scene = Scene::plain();
    scene.object.delete();
    eventually("it is gone", || scene.service.ready().1["last_error"] == "object_gone");
    scene.put_good(5, &["key_old"]);
    eventually("the fault is over", || scene.service.ready().1["last_error"].is_null());
    scene.answers_as_before();
}

#[test]
fn a_damaged_file_changes_nothing_either() {
    let settings = Settings::file_store().with("POLL_INTERVAL", "50ms");
    settings.write_document(&document(5, &["key_old"]));
    let service = settings.start_ready();
    let whole = document(6, &["key_other"]);
    for (word, damaged) in [
        ("object_empty", ""),
        ("object_truncated", &whole[..whole.len() / 2]),
        ("object_not_json", "<html>"),
        ("secret_missing", "HEARE_ENCRYPTED_V1:gAAAA"),
        ("older_generation", &document(4, &["key_other"])),
    ] {
        settings.write_document(damaged);
        eventually(word, || service.ready().1["last_error"] == word);
        assert_eq!(service.verify(&secret_of("key_old")), good_answer("key_old"));
        fs::remove_file(settings.document()).expect("the file can be removed");
        eventually("it is gone", || service.ready().1["last_error"] == "object_gone");
        assert_eq!(service.verify(&secret_of("key_old")), good_answer("key_old"));
    }
    settings.write_document(&document(6, &["key_old", "key_new"]));
    eventually("the good file is taken", || {
        service.verify(&secret_of("key_new")) == good_answer("key_new")
    });
}

#[test]
fn a_bad_record_is_denied_and_named_and_the_others_work() {
    let twin = |id: &str, of: &str| record_with(id, "secret", secret_of(of));
    let imported = |id: &str| {
        let mut record = record_with(id, "secret", Value::Null);
        record["secret_hash"] = bcrypt::hash(secret_of(id), 4).expect("the cost is allowed").into();
        record
    };
    let one_of_a_crowd = |number: u32| {
        let mut record = imported(&format!("key_crowd_{number}"));
        record["key_prefix"] = "sec_of_key_crowd".into();
        (record, Defect::SharedPrefix)
    };
    let other_digest = Digest::of("another secret").to_string();
    let mut bad = vec![
        (
            record_with("key_date", "expires_at", "the day after tomorrow"),
            Defect::BadExpiry,
        ),
        (record_with("key_empty_date", "expires_at", ""), Defect::BadExpiry),
        (
            record_with("key_number_date", "expires_at", 2_000_000_000),
            Defect::BadExpiry,
        ),
        (record_with("key_type", "secret_type", "rsa"), Defect::UnknownSecretType),
        (record_with("key_metadata", "metadata", "none"), Defect::BadMetadata),
        (record_with("key_no_secret", "secret", Value::Null), Defect::NoSecret),
        (record_with("key_empty_secret", "secret", ""), Defect::BadSecret),
        (
            record_with("key_digest", "secret_hash", "sha256:short"),
            Defect::BadDigest,
        ),
        (
            record_with("key_differs", "secret_hash", other_digest),
            Defect::SecretAndDigestDiffer,
        ),
        (imported("key_no_prefix"), Defect::NoKeyPrefix),
        (record("key_twice"), Defect::DuplicateId),
        (twin("key_twice", "key_twice_other_secret"), Defect::DuplicateId),
        (record("key_secret_a"), Defect::DuplicateSecret),
        (twin("key_secret_b", "key_secret_a"), Defect::DuplicateSecret),
        (json!("not a record"), Defect::NotAnObject),
        (Value::Null, Defect::NotAnObject),
        (record_with("key_number_id", "id", 7), Defect::BadId),
        (record_with("key_name", "name", Value::Null), Defect::BadName),
        (record_with("key_active", "is_active", "no"), Defect::BadRevocation),
        (record_with("key_owner", "user_id", 42), Defect::BadUserId),
        (
            record_with("key_environment", "environment", "staging"),
            Defect::BadEnvironment,
        ),
        (record_with("key_prefix", "key_prefix", 7), Defect::BadKeyPrefix),
        (record_with("key_limits", "limits", json!({})), Defect::BadLimits),
        (
            record_with("key_networks", "allowed_ips", "10.0.0.0/8"),
            Defect::BadAllowedIps,
        ),
        (record_with("key_scopes", "scopes", "a"), Defect::BadScopes),
        (record_with("key_previous", "previous", json!({})), Defect::BadPrevious),
    ];
    bad.extend((0..9).map(one_of_a_crowd));
    let shown: HashSet<Defect> = bad.iter().map(|(_, defect)| *defect).collect();
    assert_eq!(shown, HashSet::from(Defect::ALL), "each defect has a record");

    let mut records = vec![record("key_good_first")];
    records.extend(bad.iter().map(|(record, _)| record.clone()));
    records.push(record("key_good_last"));
    let object = StoredObject::new();
    object.put(json!({ "keys": records }).to_string());
    let service = object.settings().start_ready();

    assert_eq!(service.ready().1["keys_count"], 2);
    for id in ["key_good_first", "key_good_last"] {
        assert_eq!(service.verify(&secret_of(id)), good_answer(id));
    }
    for (position, (record, defect)) in (1..).zip(&bad) {
        let line = service.wait_for_event("bad_record", |line| line["position"] == position);
        let id = record["id"].as_str();
        assert_eq!(
            (line["key_id"].as_str(), line["defect"].as_str()),
            (id, Some(defect.word()))
        );
        let secrets = [record["secret"].as_str().map(str::to_owned), id.map(secret_of)];
        for secret in secrets.into_iter().flatten().filter(|secret| !secret.is_empty()) {
            assert_eq!(service.verify(&secret), refusal("invalid"), "{record}");
        }
    }
    assert_eq!(service.events("bad_record").len(), bad.len());
    let loaded = service.wait_for_event("keys_loaded", |_| true);
    assert_eq!(
        (&loaded["keys_loaded"], &loaded["bad_records"]),
        (&json!(2), &json!(bad.len()))
    );
}

/// So many keys are in each version of the document.
const KEYS: usize = 20;
/// As many as a batch may hold, so that an answer takes as long as it can.
const BATCH: usize = 100;

fn key_of(number: usize) -> String {
    format!("key_{}", number % KEYS)
}

/// A document whose keys all say which version it is.
fn version(generation: u64) -> String {
    let records = (0..KEYS).map(|number| {
        let mut record = record_with(&key_of(number), "name", generation.to_string());
        record["metadata"] = json!({ "version": generation });
        record
    });
    json!({ "generation": generation, "keys": records.collect::<Vec<_>>() }).to_string()
}

#[test]
fn no_answer_mixes_two_documents() {
    const FIRST: u64 = 5;
    const LAST: u64 = 35;
    let settings = Settings::file_store().with("WORKERS", "4");
    settings.write_document(&version(FIRST));
    let service = settings.start_ready();
    let address = service.address();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let seen = Arc::new(AtomicU64::new(0));
            let told = Arc::clone(&seen);
            (
                seen,
                thread::spawn(move || sees_only_whole_versions(address, LAST, &told)),
            )
        })
        .collect();
    let all_have_seen = |generation: u64| {
        eventually("every client has seen the newest version", || {
            let lost = clients.iter().any(|(_, client)| client.is_finished());
            let seen = |(seen, _): &(Arc<AtomicU64>, _)| seen.load(Ordering::Relaxed) >= generation;
            lost || clients.iter().all(seen)
        });
    };
    for generation in FIRST + 1..=LAST {
        // Now and then they are faster than anybody asks.
        if generation % 4 == 0 {
            all_have_seen(generation - 1);
        }
        settings.write_document(&version(generation));
        assert_eq!(service.refresh().0, 200);
        settings.write_document("<html>");
        assert_eq!(service.refresh().0, 502);
    }
    for (_, client) in clients {
        client.join().expect("every answer was of one version, and none older");
    }
}

/// Asks by two connections, a batch and a single verify in turn, until the last version is seen.
fn sees_only_whole_versions(address: SocketAddr, last: u64, seen: &AtomicU64) {
    let batch: Vec<_> = (0..BATCH)
        .map(|number| json!({ "api_key": secret_of(&key_of(number)) }))
        .collect();
    let (batch, single) = (json!(batch).to_string(), batch[KEYS - 1].to_string());
    let mut connections = [Connection::open(address), Connection::open(address)];
    let mut before = 0;
    while before < last {
        for connection in &mut connections {
            for (path, body, answers) in [("/verify/batch", &batch, BATCH), ("/verify", &single, 1)] {
                let answer = connection.post(path, body.as_bytes()).expect("an answer");
                assert_eq!(answer.status, 200, "{}", answer.text());
                let versions = versions_in(&answer.json());
                assert_eq!(versions.len(), answers, "{}", answer.text());
                let now = versions[0];
                assert!(versions.iter().all(|version| *version == now), "{versions:?}");
                assert!(now >= before, "{now} after {before}");
                before = now;
            }
        }
        seen.store(before, Ordering::Relaxed);
    }
}

/// The version that each good answer is of; name and metadata must agree.
fn versions_in(answer: &Value) -> Vec<u64> {
    let one = std::slice::from_ref(answer);
    let results = answer["results"].as_array().map_or(one, Vec::as_slice);
    let version = |result: &Value| {
        let version = result["metadata"]["version"].as_u64().expect("a version");
        assert_eq!(result["name"], version.to_string());
        version
    };
    results.iter().map(version).collect()
}

/// Verifies `key_old` over and over until it is stopped; every single answer must be as ever.
fn asking(service: &Service) -> Asking {
    Asking::start(service.address(), &secret_of("key_old"), |answer| {
        answer.status_and_json() == good_answer("key_old")
    })
}

/// What is promised of a store that fails, in whatever way.
fn verifies_go_on_while_the_store_fails(fault: Fault, word: &str, sentence: &str) {
    let object = StoredObject::new();
    object.put(document(5, &["key_old"]));
    let proxy = object.proxy();
    let mut service = object.settings_through(&proxy).with("POLL_INTERVAL", "50ms").start();
    service.wait_until_ready();
    let asking = asking(&service);

    proxy.set(fault);
    object.put(document(6, &["key_old", "key_new"]));
    // A poll that was on its way may still bring the first change, but not the second.
    let fails = || service.ready().1["last_error"] == word;
    eventually(word, || fails() || service.ready().1["generation"] == 6);
    object.put(document(7, &["key_old", "key_new"]));
    eventually(word, fails);
    assert_eq!(service.ready().0, 200);
    assert_eq!(service.refresh(), refresh_failure(sentence));
    assert_eq!(service.verify("sec_nobody_has_this_one"), refusal("invalid"));
    service.wait_for_event("poll_failed", |line| line["error"] == word);

    heals(&proxy, &service);
    asking.stop();
    assert!(service.is_running());
}

fn heals(proxy: &FaultProxy, service: &Service) {
    proxy.heal();
    eventually("the newest object is taken", || service.ready().1["generation"] == 7);
    assert_eq!(service.verify(&secret_of("key_new")), good_answer("key_new"));
    assert!(service.ready().1["last_error"].is_null());
    service.wait_for_event("poll_recovered", |_| true);
}

#[test]
fn verifies_go_on_while_the_store_refuses_connections() {
    verifies_go_on_while_the_store_fails(Fault::Refuse, "store_unreachable", "the store cannot be reached");
}

#[test]
fn verifies_go_on_while_the_store_hangs_up() {
    verifies_go_on_while_the_store_fails(Fault::Hangup, "store_unreachable", "the store cannot be reached");
}

#[test]
fn verifies_go_on_while_the_store_stalls() {
    verifies_go_on_while_the_store_fails(Fault::Silence, "store_timeout", "the store did not answer in time");
}

#[test]
fn the_age_that_is_shown_grows_while_nobody_confirms_what_is_in_force() {
    let object = StoredObject::new();
    object.put(document(5, &["key_old"]));
    let proxy = object.proxy();
    let service = object.settings_through(&proxy).start_ready();
    let shown = || service.ready().1["age_seconds"].as_f64().expect("a number");
    let exposed = || {
        let text = service.get("/metrics").text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("heare_auth_document_age_seconds "));
        line.and_then(|age| age.parse::<f64>().ok())
            .expect("the gauge is there")
    };
    proxy.set(Fault::Refuse);
    eventually("it grows", || shown() >= 2.0 && exposed() >= 2.0);
    proxy.heal();
    eventually("the store confirms", || service.refresh().0 == 200);
    eventually("it is young", || shown() < 2.0 && exposed() < 2.0);
}

#[test]
fn verifies_go_on_while_the_store_is_slow_and_what_it_brings_is_taken() {
    let object = StoredObject::new();
    object.put(document(5, &["key_old"]));
    let proxy = object.proxy();
    let service = object.settings_through(&proxy).start_ready();
    proxy.set(Fault::Delay(Duration::from_millis(500)));
    object.put(document(6, &["key_old", "key_new"]));
    let asking = asking(&service);
    assert_eq!(service.refresh().1["keys_loaded"], 2);
    asking.stop();
    assert_eq!(service.verify(&secret_of("key_new")), good_answer("key_new"));
}

#[test]
fn verifies_go_on_while_the_store_breaks_off() {
    verifies_go_on_while_the_store_fails(Fault::CutBody, "object_incomplete", "the object arrived incomplete");
}

#[test]
fn verifies_go_on_while_the_store_forbids_access() {
    let fault = Fault::Status(403, "AccessDenied");
    verifies_go_on_while_the_store_fails(fault, "store_forbidden", "the store refused access");
}

#[test]
fn verifies_go_on_while_the_store_answers_with_errors() {
    for fault in [
        Fault::Status(500, "InternalError"),
        Fault::Status(503, "SlowDown"),
        Fault::Html,
    ] {
        verifies_go_on_while_the_store_fails(fault, "store_failed", "the store answered with an error");
    }
}

#[test]
fn verifies_go_on_while_the_bucket_is_gone() {
    let fault = Fault::Status(404, "NoSuchBucket");
    verifies_go_on_while_the_store_fails(fault, "bucket_missing", "the bucket does not exist");
}

/// What is new is kept back by a store, or by something in between, that answers about an older object.
fn news_comes_late_and_nothing_older_comes_back(fault: Fault) {
    let object = StoredObject::new();
    object.put(document(5, &["key_old", "key_gone"]));
    let proxy = object.proxy();
    proxy.set(fault);
    let settings = object.settings_through(&proxy).with("POLL_INTERVAL", "20ms");
    let service = settings.start_ready();
    let asking = asking(&service);
    // Polls follow one another, so the one that was on its way is over when another two have arrived.
    let polled = || {
        let until = proxy.count("GET") + 3;
        eventually("it polls", || proxy.count("GET") >= until);
    };
    let in_force = |generation: u64, good: &str, bad: &str| {
        let (status, ready) = service.ready();
        assert_eq!((status, &ready["generation"]), (200, &json!(generation)), "{fault:?}");
        assert_eq!(service.verify(&secret_of(good)), good_answer(good), "{fault:?}");
        assert_eq!(service.verify(&secret_of(bad)), refusal("invalid"), "{fault:?}");
    };
    for generation in [6, 7] {
        object.put(document(generation, &["key_old", "key_new"]));
        polled();
        assert_eq!(service.refresh().0, 200);
        in_force(5, "key_gone", "key_new");
    }
    proxy.heal();
    eventually("the newest object is taken", || service.ready().1["generation"] == 7);
    in_force(7, "key_new", "key_gone");

    // What was in force first is there again, while the store answers so and afterwards.
    proxy.set(fault);
    polled();
    object.put(document(5, &["key_old", "key_gone"]));
    polled();
    in_force(7, "key_new", "key_gone");
    proxy.heal();
    eventually("the older object is refused", || {
        service.ready().1["last_error"] == "older_generation"
    });
    in_force(7, "key_new", "key_gone");
    object.put(document(8, &["key_old", "key_new"]));
    eventually("the newest object is taken", || service.ready().1["generation"] == 8);
    in_force(8, "key_new", "key_gone");
    asking.stop();
}

#[test]
fn a_store_that_says_unchanged_of_what_has_changed_only_delays_it() {
    news_comes_late_and_nothing_older_comes_back(Fault::NotModified);
}

#[test]
fn a_store_that_gives_what_is_new_an_older_etag_only_delays_it() {
    news_comes_late_and_nothing_older_comes_back(Fault::Tag("\"an-older-one\""));
}
