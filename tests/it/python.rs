//! Coming from the Python service: its bucket is taken as it is, and stops holding secrets without losing a key.

use crate::support::{
    python,
    service::{Service, printed_secret},
    stored_object::StoredObject,
};
use serde_json::{Value, json};

const STORAGE_SECRET: &str = "the storage secret of before, with ümlaut";
const SIXTY_FOUR_CHARACTERS: &str = "sec_0001vDmowg2tzwvpaFLq8ZxkR4nVb7TcY1mJsWdUe6HfAoPiGyLXtB3Cw95N";
const SHORT: &str = "sec_0001vDmowg2tzwvpaFL";
const EXPIRED: &str = "sec_0001vDmoxg7uQwvpaGM";
const SECRETS: [&str; 3] = [SIXTY_FOUR_CHARACTERS, SHORT, EXPIRED];

fn keys() -> Value {
    json!([
        {
            "id": "key_0001vDmowdgLBqEcDYe",
            "secret": SIXTY_FOUR_CHARACTERS,
            "name": "Produktion Zürich 🔑",
            "secret_type": "shared_secret",
            "created_at": "2025-10-28T16:45:18.123456Z",
            "updated_at": null,
            "expires_at": null,
            "metadata": {"environment": "production", "limits": [1, 2.50, 1e3], "stadt": "Zürich"},
        },
        {
            "id": "key_0001vDmoxAgLBqEcDYf",
            "secret": SHORT,
            "name": "Old \"short\" one",
            "created_at": "2025-01-02T03:04:05.000001+00:00",
        },
        {
            "id": "key_0001vDmozAgLBqEcDYg",
            "secret": EXPIRED,
            "name": "Expired",
            "secret_type": "shared_secret",
            "created_at": "2023-01-02T03:04:05.000001Z",
            "updated_at": null,
            "expires_at": "2024-12-31T23:59:59Z",
            "metadata": {},
        },
    ])
}

/// The bucket as the Python service left it, and this service started on it.
struct Scene {
    object: StoredObject,
    storage_secret: Option<&'static str>,
    service: Service,
}

impl Scene {
    fn new(storage_secret: Option<&'static str>, document: &Value) -> Self {
        let object = StoredObject::new();
        python::write(&object, storage_secret, document);
        let mut settings = object.settings();
        if let Some(secret) = storage_secret {
            settings = settings.with("STORAGE_SECRET", secret);
        }
        let service = settings.start_ready();
        Self {
            object,
            storage_secret,
            service,
        }
    }

    /// The document as the Python service's own code opens it.
    fn text(&self) -> String {
        python::read(&self.object, self.storage_secret)
    }

    fn document(&self) -> Value {
        serde_json::from_str(&self.text()).expect("a document is JSON")
    }

    fn every_old_key_is_judged_as_before(&self) {
        let metadata = json!({"environment": "production", "limits": [1, 2.50, 1e3], "stadt": "Zürich"});
        let full = json!({"valid": true, "key_id": "key_0001vDmowdgLBqEcDYe", "name": "Produktion Zürich 🔑", "metadata": metadata});
        let short =
            json!({"valid": true, "key_id": "key_0001vDmoxAgLBqEcDYf", "name": "Old \"short\" one", "metadata": {}});
        assert_eq!(self.service.verify(SIXTY_FOUR_CHARACTERS), (200, full));
        assert_eq!(self.service.verify(SHORT), (200, short));
        let (status, body) = self.service.verify(EXPIRED);
        assert_eq!((status, &body["code"]), (403, &json!("expired")));
    }

    fn no_secret_is_stored(&self) {
        let raw = String::from_utf8(self.object.bytes()).expect("both forms are text");
        let text = self.text();
        for secret in SECRETS {
            assert!(!raw.contains(secret) && !text.contains(secret), "{text}");
        }
    }
}

fn a_bucket_keeps_every_key_and_loses_every_secret(storage_secret: Option<&'static str>) {
    let scene = Scene::new(storage_secret, &json!({ "keys": keys() }));
    assert_eq!(scene.service.ready().1["keys_count"], 3);
    scene.every_old_key_is_judged_as_before();
    assert!(scene.text().contains(SHORT), "to look changes nothing");

    let created = scene.service.cli(&["create", "--name", "New"]);
    let told = String::from_utf8_lossy(&created.stderr);
    assert!(created.status.success(), "{told}");
    assert!(told.contains("3 secrets that were stored as plaintext"), "{told}");
    let new = printed_secret(&created);
    scene.no_secret_is_stored();
    assert!(!scene.text().contains(&new));
    scene.every_old_key_is_judged_as_before();
    assert_eq!(scene.service.verify(&new).0, 200);

    let again = scene.service.cli(&["create", "--name", "Newer", "--no-refresh"]);
    assert_eq!(String::from_utf8_lossy(&again.stderr), "", "it is said once");
    assert_eq!(scene.document()["keys"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_plaintext_bucket_of_the_python_service_keeps_every_key_and_loses_every_secret() {
    a_bucket_keeps_every_key_and_loses_every_secret(None);
}

#[test]
fn an_encrypted_bucket_of_the_python_service_keeps_every_key_and_loses_every_secret() {
    a_bucket_keeps_every_key_and_loses_every_secret(Some(STORAGE_SECRET));
}

#[test]
fn migrate_alone_turns_every_secret_into_a_digest() {
    for storage_secret in [None, Some(STORAGE_SECRET)] {
        let scene = Scene::new(storage_secret, &json!({ "keys": keys() }));
        let migrated = scene.service.cli(&["migrate"]);
        let told = String::from_utf8_lossy(&migrated.stdout);
        assert!(
            migrated.status.success() && told.contains("Migrated: 3 secrets"),
            "{told}"
        );
        scene.no_secret_is_stored();
        scene.every_old_key_is_judged_as_before();
        let after = scene.object.bytes();
        assert!(scene.service.cli(&["migrate"]).status.success());
        assert_eq!(scene.object.bytes(), after, "a second one has nothing to do");
    }
}

#[test]
fn unknown_members_of_the_document_and_of_its_keys_are_kept_by_every_write() {
    let mut before = json!({ "written_by": {"tool": "theirs", "n": 1.50}, "keys": keys(), "tags": ["a", null] });
    before["keys"][0]["owner"] = json!({"team": "payments", "since": 1e3});
    before["keys"][2]["note"] = json!("kept, though expired");
    let scene = Scene::new(None, &before);
    for arguments in [
        &["create", "--name", "New"][..],
        &["delete", "key_0001vDmoxAgLBqEcDYf", "--yes"],
        &["migrate"],
    ] {
        assert!(scene.service.cli(arguments).status.success());
        let after = scene.document();
        for member in ["written_by", "tags"] {
            assert_eq!(after[member], before[member]);
        }
        let keys = after["keys"].as_array().expect("a list of keys");
        for old in [&before["keys"][0], &before["keys"][2]] {
            let new = keys.iter().find(|key| key["id"] == old["id"]).expect("it is kept");
            let mut expected = old.clone();
            expected.as_object_mut().expect("a record").remove("secret");
            expected["secret_hash"] = new["secret_hash"].clone();
            assert_eq!(*new, expected);
        }
    }
}

#[test]
fn a_write_of_the_python_service_after_ours_is_taken_with_a_warning_and_refused_when_generations_are_strict() {
    let scene = Scene::new(None, &json!({ "keys": keys() }));
    assert!(scene.service.cli(&["migrate"]).status.success());
    let strict = scene.object.settings().with("STRICT_GENERATION", "true").start_ready();

    python::write(&scene.object, None, &json!({ "keys": [keys()[1]] }));
    assert_eq!(scene.service.refresh().0, 200);
    scene.service.wait_for_event("generation_missing", |_| true);
    assert_eq!(scene.service.verify(SIXTY_FOUR_CHARACTERS).0, 403);
    assert_eq!(strict.refresh().0, 502);
    assert_eq!(strict.ready().1["last_error"], "generation_lost");
    assert_eq!(strict.verify(SIXTY_FOUR_CHARACTERS).0, 200);
}
