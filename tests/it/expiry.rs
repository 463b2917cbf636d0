//! Keys that expired long ago are marked inactive by the service itself, and by several at once no more than once.

use crate::support::service::{Service, Settings, eventually};
use serde_json::Value;

const LONG_EXPIRED: &str = r#"{"id":"key_old","secret_hash":"sha256:0000000000000000000000000000000000000000000000000000000000000000","name":"Old","expires_at":"2020-01-01T00:00:00Z","note":"kept"}"#;
const GOOD: &str = r#"{"id":"key_new","secret_hash":"sha256:1111111111111111111111111111111111111111111111111111111111111111","name":"New","expires_at":"2999-01-01T00:00:00Z"}"#;

fn settings() -> Settings {
    let settings = Settings::file_store()
        .with("EXPIRED_AFTER", "1s")
        .with("POLL_INTERVAL", "50ms");
    settings.write_document(&format!(r#"{{"generation":7,"keys":[{LONG_EXPIRED},{GOOD}]}}"#));
    settings
}

fn document(settings: &Settings) -> Value {
    let text = std::fs::read_to_string(settings.document()).expect("a document is stored");
    serde_json::from_str(&text).expect("the document is JSON")
}

fn retirements(service: &Service) -> usize {
    service.events("keys_retired").len()
}

#[test]
fn the_service_marks_long_expired_keys_inactive_and_leaves_the_others() {
    let settings = settings();
    let service = settings.start();
    let line = service.wait_for_event("keys_retired", |_| true);
    assert_eq!((&line["keys_retired"], &line["generation"]), (&1.into(), &8.into()));
    let keys = document(&settings)["keys"].clone();
    assert_eq!(
        (&keys[0]["is_active"], &keys[0]["note"]),
        (&false.into(), &"kept".into())
    );
    assert_eq!(keys[1], serde_json::from_str::<Value>(GOOD).unwrap());
    eventually("the service has loaded its own write", || {
        service.ready().1["generation"] == 8
    });
    assert_eq!(service.health().1["keys_count"], 2);
    assert!(service.stop().success());
}

#[test]
fn nothing_is_marked_in_a_document_that_is_refused() {
    let settings = settings();
    let snapshot = settings.home().join("snapshot.json");
    let settings = settings.with("SNAPSHOT_PATH", snapshot.to_str().expect("temporary paths are UTF-8"));
    let service = settings.start();
    service.wait_for_event("keys_retired", |_| true);
    eventually("the snapshot is of that", || {
        std::fs::read_to_string(&snapshot).is_ok_and(|text| text.contains(r#""generation":8"#))
    });
    assert!(service.stop().success());

    // In the snapshot the same key is still to be marked.
    let unmarked = std::fs::read_to_string(&snapshot).expect("a snapshot");
    std::fs::write(
        &snapshot,
        unmarked.replace(r#""is_active":false"#, r#""is_active":true"#),
    )
    .expect("it is written");
    let older = format!(r#"{{"generation":3,"keys":[{LONG_EXPIRED}]}}"#);
    settings.write_document(&older);
    let service = settings.start();
    service.wait_for_event("retire_failed", |line| {
        line["error"] == "the stored document is one that would not be brought into force"
    });
    assert_eq!(std::fs::read_to_string(settings.document()).expect("a document"), older);
    assert_eq!(service.ready().1["generation"], 8);
}

#[test]
fn several_services_mark_a_key_once() {
    let settings = settings();
    let services = [settings.start(), settings.start(), settings.start()];
    eventually("one of them has marked the key", || {
        document(&settings)["keys"][0]["is_active"] == false
    });
    for service in &services {
        eventually("each knows it", || service.ready().1["generation"] == 8);
    }
    let counts: usize = services.iter().map(retirements).sum();
    assert!(counts <= 1, "{counts} services say that they did it");
    assert_eq!(document(&settings)["generation"], 8);
    for service in services {
        assert!(service.stop().success());
    }
}
