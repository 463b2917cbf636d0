//! Many writers at once, over HTTP and by the command line.

use serde_json::{Value, json};
use std::{collections::BTreeSet, thread};

use super::{KEYS, call, document, made, path_of, text};
use crate::support::{
    service::{Service, Settings},
    stored_object::StoredObject,
};

const BY_REST: usize = 90;
const BY_COMMAND: usize = 10;

fn a_hundred_changes_at_once_are_all_there(settings: &Settings) {
    let service = settings.start_ready();
    let by_rest = |n: usize| {
        let key = made(&service, "key_bob", &json!({"name": format!("rest {n}")}));
        // Half of the changes are to keys that are there already.
        let renamed = call(
            &service,
            "key_bob",
            "PATCH",
            &path_of(&key),
            Some(&json!({"name": format!("renamed {n}")})),
        );
        assert_eq!(renamed.status, 200, "{}", renamed.text());
    };
    thread::scope(|scope| {
        let by_rest = &by_rest;
        for lane in 0..5 {
            scope.spawn(move || (0..BY_REST / 2).filter(|n| n % 5 == lane).for_each(by_rest));
        }
        scope.spawn(|| {
            for n in 0..BY_COMMAND {
                let output = settings.run(&["create", "--name", &format!("command {n}"), "--no-refresh"]);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        });
    });
    let names = names(&service);
    for n in 0..BY_REST / 2 {
        assert!(names.contains(&format!("renamed {n}")), "{n}");
    }
    for n in 0..BY_COMMAND {
        assert!(names.contains(&format!("command {n}")), "{n}");
    }
    assert_eq!(names.len(), 11 + BY_REST / 2 + BY_COMMAND);
}

fn names(service: &Service) -> BTreeSet<String> {
    let page = call(service, "key_admin", "GET", &format!("{KEYS}?limit=200"), None).json();
    let keys: &Vec<Value> = page["keys"].as_array().expect("a list");
    keys.iter().map(|key| text(&key["name"]).to_owned()).collect()
}

#[test]
fn a_hundred_changes_at_once_are_all_there_in_a_file() {
    let settings = Settings::file_store();
    settings.write_document(&document());
    a_hundred_changes_at_once_are_all_there(&settings);
}

#[test]
fn a_hundred_changes_at_once_are_all_there_in_s3() {
    let object = StoredObject::new();
    object.put(document());
    a_hundred_changes_at_once_are_all_there(&object.settings());
}
