//! `history` and `rollback` on a bucket that keeps versions.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::{
    cli::{Said, create, id_of, run, run_with_input},
    support::{
        service::{Settings, eventually},
        stored_object::StoredObject,
    },
};

fn versions(settings: &Settings) -> Vec<Value> {
    let history = run(settings, &["history", "--detailed", "--json"]).done().json();
    history["versions"].as_array().expect("a list").clone()
}

fn version(settings: &Settings, generation: u64) -> String {
    let versions = versions(settings);
    let found = versions.iter().find(|version| version["generation"] == generation);
    found.expect("this generation is kept")["version"]
        .as_str()
        .expect("a text")
        .to_owned()
}

#[test]
fn history_lists_every_version_the_newest_first() {
    let (settings, _) = StoredObject::new().versioned();
    for name in ["a", "b", "c"] {
        create(&settings, name);
    }
    let all = versions(&settings);
    let told: Vec<_> = all
        .iter()
        .map(|version| {
            (
                version["generation"].clone(),
                version["keys"].clone(),
                version["latest"].clone(),
            )
        })
        .collect();
    let expected = [(3, 3, true), (2, 2, false), (1, 1, false)];
    assert_eq!(
        told,
        expected.map(|(generation, keys, latest)| (json!(generation), json!(keys), json!(latest)))
    );
    let said = run(&settings, &["history", "--limit", "2"]).done();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.stdout);
    assert!(
        lines[0].starts_with("Version") && lines[1].ends_with("  (latest)"),
        "{}",
        said.stdout
    );
    assert!(
        lines[2].starts_with(all[1]["version"].as_str().expect("a text")),
        "{}",
        said.stdout
    );
}

#[test]
fn a_rollback_shows_its_plan_and_instances_take_it_as_the_newest() {
    let (settings, _) = StoredObject::new().versioned();
    let kept = create(&settings, "kept");
    let lost = create(&settings, "lost");
    let service = settings.clone().with("POLL_INTERVAL", "50ms").start_ready();
    run(&settings, &["delete", id_of(&lost), "--yes", "--no-refresh"]).done();
    let later = create(&settings, "later");
    let secret = |key: &Value| key["secret"].as_str().expect("a text").to_owned();
    eventually("the later key is in force", || service.verify(&secret(&later)).0 == 200);
    assert_eq!(service.verify(&secret(&lost)).0, 403);

    let earlier = version(&settings, 2);
    let plan = format!(
        "Roll back to version {earlier}:\n  appears      1\n    {}  lost  (good)\n  disappears   1\n    {}  later  (good)\n  changes      0\n",
        id_of(&lost),
        id_of(&later)
    );
    assert_eq!(run(&settings, &["rollback", &earlier, "--dry-run"]).done().stdout, plan);
    let said = run_with_input(&settings, &["rollback", &earlier], "n\n").done();
    assert_eq!(said.stdout, format!("{plan}Cancelled.\n"));
    assert_eq!(said.stderr, "Roll back to this version? [y/N]: ");
    assert_eq!(versions(&settings).len(), 4, "nothing was written");

    let said = run(&settings, &["rollback", &earlier, "--yes", "--no-refresh"]).done();
    assert_eq!(said.stdout, format!("{plan}✓ Rolled back: 2 keys, generation 5.\n"));
    eventually("the lost key is back", || service.verify(&secret(&lost)).0 == 200);
    assert_eq!(service.verify(&secret(&later)).0, 403);
    assert_eq!(service.verify(&secret(&kept)).0, 200);
    assert_eq!(service.ready().1["generation"], 5);
    assert!(service.events("poll_failed").is_empty());
}

#[test]
fn a_key_that_a_rollback_would_bring_back_to_life_is_named_with_what_it_was() {
    let (settings, _) = StoredObject::new().versioned();
    let record = |active: bool| format!("name,id,secret,is_active\nA,key_a,secret-of-a,{active}\n");
    let import = ["import", "-", "--yes", "--no-refresh"];
    run_with_input(&settings, &import, &record(true)).done();
    run(&settings, &["delete", "key_a", "--yes", "--no-refresh"]).done();
    run_with_input(&settings, &import, &record(false)).done();
    let plan = run(
        &settings,
        &["rollback", &version(&settings, 1), "--yes", "--no-refresh", "--json"],
    )
    .done()
    .json();
    assert_eq!(
        plan["changes"],
        json!([{"id": "key_a", "name": "A", "from": "revoked", "to": "good"}])
    );
    assert_eq!(
        (&plan["rolled_back"], &plan["generation"], &plan["total"]),
        (&json!(true), &json!(4), &json!(1))
    );
}

#[test]
fn a_deleted_document_is_brought_back_above_what_is_in_force() {
    let (settings, object) = StoredObject::new().versioned();
    let first = create(&settings, "first");
    create(&settings, "second");
    let service = settings.clone().with("POLL_INTERVAL", "50ms").start_ready();
    object.delete();
    service.wait_for_event("poll_failed", |line| line["error"] == "object_gone");
    let all = versions(&settings);
    assert_eq!(
        (&all[0]["deletion"], &all[0]["latest"]),
        (&json!(true), &json!(true)),
        "{all:?}"
    );
    run(
        &settings,
        &["rollback", &version(&settings, 1), "--yes", "--no-refresh"],
    )
    .done();
    eventually("the document is taken", || service.ready().1["generation"] == 3);
    assert_eq!(service.verify(first["secret"].as_str().expect("a text")).0, 200);
    assert_eq!(service.health().1["keys_count"], 1);
}

#[test]
fn a_version_takes_the_place_of_what_is_no_document() {
    let sealing = |settings: Settings| settings.with("STORAGE_SECRET", "a storage secret");
    for (damage, told) in [
        (&b""[..], "the object is empty"),
        (b"<html>out of order</html>", "the object is not JSON"),
        (
            b"HEARE_ENCRYPTED_V1:gAAAAABl",
            "the object does not open with STORAGE_SECRET",
        ),
    ] {
        let (settings, object) = StoredObject::new().versioned();
        let settings = sealing(settings);
        let key = create(&settings, "first");
        create(&settings, "second");
        let earlier = version(&settings, 1);
        let service = settings.clone().with("POLL_INTERVAL", "50ms").start_ready();
        object.put(damage);
        service.wait_for_event("load_failed", |_| true);
        let said = run(&settings, &["rollback", &earlier, "--yes", "--no-refresh"]).done();
        let plan = format!("Roll back to version {earlier}:\n  what is stored now cannot be read: {told}\n");
        assert!(said.stdout.starts_with(&plan), "{}", said.stdout);
        assert!(
            said.stdout.ends_with("✓ Rolled back: 1 keys, generation 3.\n"),
            "{}",
            said.stdout
        );
        eventually("it is taken", || service.ready().1["generation"] == 3);
        assert_eq!(service.verify(key["secret"].as_str().expect("a text")).0, 200);
    }
}

#[test]
fn with_a_wrong_storage_secret_nothing_is_rolled_back() {
    let (settings, _) = StoredObject::new().versioned();
    create(&settings, "plain");
    let plain = version(&settings, 1);
    let sealing = |secret: &str| settings.clone().with("STORAGE_SECRET", secret);
    let name = |name: &str| settings.get(name).expect("it is set");
    let location = format!("s3://{}/{}", name("S3_BUCKET"), name("S3_KEY"));
    create(&sealing("a storage secret"), "sealed");
    run(&sealing("another"), &["rollback", &plain, "--yes", "--no-refresh"]).failed(
        1,
        &format!("Error: the object does not open with STORAGE_SECRET ({location})"),
    );
    assert_eq!(versions(&sealing("a storage secret")).len(), 2, "nothing was written");
}

#[test]
fn a_rollback_rises_above_what_was_in_force_when_an_older_document_lay_over_it() {
    let (settings, object) = StoredObject::new().versioned();
    let first = create(&settings, "first");
    for name in ["second", "third", "fourth"] {
        create(&settings, name);
    }
    let service = settings.clone().with("POLL_INTERVAL", "50ms").start_ready();
    object.put(r#"{"generation":1,"keys":[]}"#);
    service.wait_for_event("load_failed", |line| line["error"] == "older_generation");
    let said = run(
        &settings,
        &["rollback", &version(&settings, 2), "--yes", "--no-refresh"],
    )
    .done();
    assert!(
        said.stdout.ends_with("✓ Rolled back: 2 keys, generation 5.\n"),
        "{}",
        said.stdout
    );
    eventually("it is taken", || service.ready().1["generation"] == 5);
    assert_eq!(service.verify(first["secret"].as_str().expect("a text")).0, 200);
}

#[test]
fn a_change_made_while_the_plan_is_read_is_not_undone() {
    let (settings, _) = StoredObject::new().versioned();
    create(&settings, "first");
    create(&settings, "second");
    let earlier = version(&settings, 1);
    let mut child = settings.spawn(&["rollback", &earlier, "--no-refresh"]);
    let mut question = [0; "Roll back to this version? [y/N]: ".len()];
    child
        .stderr
        .as_mut()
        .expect("stderr is piped")
        .read_exact(&mut question)
        .expect("it asks");
    create(&settings, "third");
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(b"y\n")
        .expect("it reads");
    let said: Said = child.wait_with_output().expect("it ends").into();
    assert_eq!(said.code, Some(1));
    assert_eq!(
        said.stderr,
        "Error: somebody else has changed the document since it was looked at\nNothing was changed. Run the command again to see the plan as it is now.\n"
    );
    assert_eq!(run(&settings, &["list", "--json"]).done().json()["total"], 3);
}

#[test]
fn where_no_versions_are_kept_the_commands_say_so() {
    let file = Settings::file_store();
    let bucket = StoredObject::new().settings();
    for settings in [file, bucket] {
        create(&settings, "a");
        for arguments in [&["history"] as &[&str], &["rollback", "some-version", "--yes"]] {
            let said = run(&settings, arguments);
            assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{}", said.stderr);
            assert!(
                said.stderr.starts_with("Error: no earlier versions are kept ("),
                "{}",
                said.stderr
            );
        }
    }
}

#[test]
fn a_version_that_is_not_there_changes_nothing() {
    let (settings, _) = StoredObject::new().versioned();
    create(&settings, "a");
    create(&settings, "b");
    run(&settings, &["rollback", "3f2a9c-no-such-version", "--yes"])
        .failed(1, "Error: there is no such version, or the document was deleted in it");
    run(&settings, &["rollback"]).failed(2, "Error: VERSION is missing");
    run(&settings, &["history", "--limit", "0"]).failed(2, "Error: --limit must be a number from 1 to 1000");
    assert_eq!(versions(&settings).len(), 2);
}
