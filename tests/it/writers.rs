//! Those who change the document, as processes: many at once, cut off, killed, or talking to a store that cannot be
//! trusted. And what their changes do to the services that watch it.

use crate::support::{
    documents::{document, good_answer, record, record_with, refusal, secret_of},
    fault_proxy::Fault,
    service::{Service, Settings, eventually, printed_secret},
    stored_object::StoredObject,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    process::{Output, Stdio},
    thread,
    time::Instant,
};

fn succeeded(output: Output) -> Output {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    output
}

/// Runs all commands at once, each a process of its own, to their ends.
fn all_at_once(settings: &Settings, commands: &[Vec<String>]) -> Vec<Output> {
    let children: Vec<_> = commands.iter().map(|arguments| settings.spawn(arguments)).collect();
    children
        .into_iter()
        .map(|child| succeeded(child.wait_with_output().expect("it ends")))
        .collect()
}

fn create(name: &str) -> Vec<String> {
    ["create", "--name", name, "--no-refresh"].map(str::to_owned).to_vec()
}

fn delete(id: &str) -> Vec<String> {
    ["delete", id, "--yes", "--no-refresh"].map(str::to_owned).to_vec()
}

/// The names of all stored keys, by the `list` command.
fn listed(settings: &Settings) -> Vec<String> {
    let output = succeeded(settings.run(&["list", "--json"]));
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let keys = list["keys"].as_array().expect("a list of keys");
    keys.iter()
        .map(|key| key["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn sixteen_creates_at_once_lose_nothing(settings: &Settings) {
    let service = settings.start_ready();
    let first = service.create_key("first");
    let names: Vec<String> = (0..16).map(|n| format!("name {n}")).collect();
    let commands: Vec<_> = names.iter().map(|name| create(name)).collect();
    let secrets: BTreeSet<String> = all_at_once(settings, &commands).iter().map(printed_secret).collect();

    let found = listed(settings);
    assert_eq!((found.len(), secrets.len()), (17, 16));
    assert!(names.iter().all(|name| found.contains(name)), "{found:?}");
    assert_eq!(service.refresh().1["keys_loaded"], 17);
    for secret in secrets.iter().chain([&first]) {
        assert_eq!(service.verify(secret).0, 200);
    }
    assert_eq!(service.ready().1["generation"], 17);
}

#[test]
fn sixteen_creates_at_once_lose_nothing_in_s3() {
    sixteen_creates_at_once_lose_nothing(&StoredObject::new().settings());
}

#[test]
fn sixteen_creates_at_once_lose_nothing_in_a_file() {
    sixteen_creates_at_once_lose_nothing(&Settings::file_store());
}

#[test]
fn sixteen_creates_at_once_into_an_empty_store_lose_nothing() {
    for settings in [StoredObject::new().settings(), Settings::file_store()] {
        let commands: Vec<_> = (0..16).map(|n| create(&format!("name {n}"))).collect();
        all_at_once(&settings, &commands);
        assert_eq!(listed(&settings).len(), 16);
    }
}

#[test]
fn two_keys_made_at_once_share_nothing_but_their_time() {
    let settings = Settings::file_store();
    let commands = [0, 1].map(|n| [create(&format!("name {n}")), vec!["--json".to_owned()]].concat());
    let made = all_at_once(&settings, &commands).into_iter();
    let random: Vec<String> = made
        .flat_map(|output| {
            let key: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            // After the prefix, the generation's character and eight for the time.
            ["id", "secret"].map(|member| key[member].as_str().expect("text")[13..].to_owned())
        })
        .collect();
    let pieces: Vec<&str> = random.iter().flat_map(|text| pieces_of_six(text)).collect();
    assert_eq!(pieces.iter().collect::<BTreeSet<_>>().len(), pieces.len(), "{random:?}");
}

/// So long that chance repeats none of them.
fn pieces_of_six(text: &str) -> impl Iterator<Item = &str> {
    (0..=text.len() - 6).map(|start| &text[start..start + 6])
}

#[test]
fn a_delete_and_a_create_at_once_lose_neither_change() {
    let object = StoredObject::new();
    let ids = ["key_a", "key_b", "key_c", "key_d", "key_stays"];
    object.put(document(1, &ids));
    let settings = object.settings();
    let mut expected = vec!["Name of key_stays".to_owned()];
    for id in &ids[..4] {
        let name = format!("instead of {id}");
        all_at_once(&settings, &[delete(id), create(&name)]);
        expected.push(name);
    }
    assert_eq!(listed(&settings), expected);
}

#[test]
fn a_put_whose_answer_is_lost_makes_exactly_one_key_and_its_printed_secret_is_good() {
    let object = StoredObject::new();
    object.put(document(1, &["key_one"]));
    let proxy = object.proxy();
    // Two writes that must be refused show that the store keeps conditions; the third is the change.
    proxy.pass("PUT", 2);
    proxy.fail("PUT", 1, Fault::LoseAnswer);
    let created = succeeded(object.settings_through(&proxy).run(&create("new")));
    assert_eq!(proxy.count("PUT"), 3, "it is not written again");
    assert_eq!(listed(&object.settings()), ["Name of key_one", "new"]);
    let service = object.settings().start_ready();
    assert_eq!(service.verify(&printed_secret(&created)).1["name"], "new");
    assert_eq!(service.verify(&secret_of("key_one")), good_answer("key_one"));
}

#[test]
fn a_put_that_did_not_arrive_is_repeated_and_makes_exactly_one_key() {
    let object = StoredObject::new();
    object.put(document(1, &["key_one"]));
    let proxy = object.proxy();
    proxy.pass("PUT", 2);
    proxy.fail("PUT", 1, Fault::Hangup);
    proxy.fail("PUT", 1, Fault::Status(500, "InternalError"));
    succeeded(object.settings_through(&proxy).run(&create("new")));
    assert_eq!(listed(&object.settings()), ["Name of key_one", "new"]);
}

#[test]
fn a_store_that_ignores_conditions_is_refused_unless_the_operator_allows_it() {
    let object = StoredObject::unsigned();
    let before = document(1, &["key_one"]);
    object.put(&before);
    let proxy = object.proxy();
    proxy.set(Fault::IgnoreConditions);
    let settings = object.settings_through(&proxy);
    for arguments in [create("new"), delete("key_one"), vec!["migrate".to_owned()]] {
        let refused = settings.run(&arguments);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1));
        assert!(told.contains("the store ignores write conditions"), "{told}");
        assert!(told.contains("ALLOW_UNCONDITIONAL_WRITES=true"), "{told}");
        assert!(
            refused.stdout.is_empty(),
            "no secret is printed for a key that does not exist"
        );
        assert_eq!(object.bytes(), before.as_bytes());
    }
    let settings = settings.with("ALLOW_UNCONDITIONAL_WRITES", "true");
    let created = succeeded(settings.run(&create("new")));
    let service = settings.start_ready();
    assert_eq!(service.verify(&printed_secret(&created)).0, 200);
    assert_eq!(service.verify(&secret_of("key_one")), good_answer("key_one"));
}

#[test]
fn a_store_that_takes_no_writes_prints_no_secret_and_changes_nothing() {
    let object = StoredObject::new();
    object.put(document(1, &["key_one"]));
    let proxy = object.proxy();
    proxy.fail("PUT", usize::MAX, Fault::Status(403, "AccessDenied"));
    let refused = object.settings_through(&proxy).run(&create("new"));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("the store refused access"), "{told}");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert_eq!(listed(&object.settings()), ["Name of key_one"]);
}

/// The stored text, which must be a whole document with all of the keys that were there before.
fn whole_with_at_least(text: &str, before: usize) -> usize {
    let document: Value = serde_json::from_str(text).expect("a whole document");
    let keys = document["keys"].as_array().expect("a list of keys");
    assert!(
        keys.len() == before || keys.len() == before + 1,
        "{} of {before}",
        keys.len()
    );
    assert!((0..200).all(|n| keys[n]["id"] == format!("key_{n}")));
    keys.len()
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_whole_document() {
    let settings = Settings::file_store();
    let ids: Vec<String> = (0..200).map(|n| format!("key_{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    settings.write_document(&document(1, &ids));
    let service = settings.clone().with("POLL_INTERVAL", "10ms").start_ready();
    // How long one takes by itself says at which moments to kill.
    let began = Instant::now();
    succeeded(settings.run(&create("measured")));
    let whole_run = began.elapsed();
    let mut stored = 201;
    let (mut cut_short, mut ended) = (0, 0);
    for moment in 1..400 {
        let mut command = settings.command(&create("killed"));
        let mut writer = command.stdout(Stdio::null()).spawn().expect("the binary starts");
        thread::sleep(whole_run * moment / 36);
        // SIGKILL; it may have ended before.
        let _ = writer.kill();
        let has_ended = writer.wait().expect("it ends").success();
        *(if has_ended { &mut ended } else { &mut cut_short }) += 1;
        let text = fs::read_to_string(settings.document()).expect("the document is there");
        stored = whole_with_at_least(&text, stored);
        assert_eq!(service.verify(&secret_of("key_0")), good_answer("key_0"));
        // On a busy machine it ends later than the first one did.
        if moment >= 39 && ended > 0 {
            break;
        }
    }
    assert!(cut_short > 0 && ended > 0, "{cut_short} cut short, {ended} not");

    succeeded(settings.run(&create("after")));
    assert_eq!(listed(&settings).len(), stored + 1);
    assert_eq!(service.refresh().1["keys_loaded"], stored + 1);
    service.wait_for_event("refresh_success", |_| true);
    assert!(
        service.events("load_failed").is_empty(),
        "no half document was ever seen"
    );
    let left: Vec<String> = names_in_data_dir(&settings);
    assert_eq!(left, ["keys.json", "keys.json.lock"], "the next writer clears up");
}

fn names_in_data_dir(settings: &Settings) -> Vec<String> {
    let entries = fs::read_dir(settings.data_dir()).expect("the data directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        // The service's own: counts, the audit log, the key that signs tokens.
        .filter(|name| !name.starts_with("heare-auth.db") && name != "jwt-secret")
        .collect();
    names.sort();
    names
}

#[test]
fn a_writer_killed_while_it_sends_leaves_the_object_whole() {
    let object = StoredObject::new();
    object.put(document(1, &["key_one"]));
    let proxy = object.proxy();
    let settings = object.settings_through(&proxy);
    for fault in [None, Some(Fault::Silence), Some(Fault::LoseAnswer)] {
        let (before, puts) = (object.bytes(), proxy.count("PUT"));
        proxy.pass("PUT", 2);
        if let Some(fault) = fault {
            proxy.fail("PUT", 1, fault);
        }
        let mut command = settings.command(&create("killed"));
        let mut writer = command.stdout(Stdio::null()).spawn().expect("the binary starts");
        eventually("the change is sent", || proxy.count("PUT") >= puts + 3);
        writer.kill().expect("it can be killed");
        writer.wait().expect("it ends");
        proxy.heal();
        let after = object.bytes();
        let document: Value = serde_json::from_slice(&after).expect("a whole document");
        assert_eq!(document["keys"][0]["id"], "key_one");
        assert!(fault != Some(Fault::Silence) || after == before);
    }
    succeeded(object.settings().run(&create("after")));
    assert!(listed(&object.settings()).contains(&"after".to_owned()));
}

fn a_change_on_one_instance_is_seen_by_another_without_a_refresh(settings: &Settings) {
    let settings = settings.clone().with("POLL_INTERVAL", "50ms");
    let [first, second] = [settings.start(), settings.start()];
    for service in [&first, &second] {
        service.wait_until_ready();
    }
    let secret = first.create_key("seen by all");
    assert_eq!(first.verify(&secret).0, 200);
    eventually("the other instance knows the key", || second.verify(&secret).0 == 200);
    let id = second.verify(&secret).1["key_id"].as_str().expect("an id").to_owned();
    succeeded(second.cli(&["delete", &id, "--yes"]));
    assert_eq!(second.verify(&secret), refusal("invalid"));
    eventually("the other instance denies the key", || first.verify(&secret).0 == 403);
    for service in [&first, &second] {
        service.wait_for_event("refresh_success", |_| true);
        let refreshes = service.events("refresh_success").len();
        assert_eq!(refreshes, 1, "each was refreshed by its own command alone");
    }
}

#[test]
fn a_change_on_one_instance_is_seen_by_another_without_a_refresh_in_s3() {
    a_change_on_one_instance_is_seen_by_another_without_a_refresh(&StoredObject::new().settings());
}

#[test]
fn a_change_on_one_instance_is_seen_by_another_without_a_refresh_in_a_file() {
    a_change_on_one_instance_is_seen_by_another_without_a_refresh(&Settings::file_store());
}

/// Every answer is right for the moment at which it was given, by the same clock that the service has.
fn a_key_is_good_until_its_expiry_and_not_after(service: &Service, secret: &str, expires: Timestamp) {
    let mut was_good = false;
    eventually("the key expires", || {
        let before = Timestamp::now();
        let answer = service.verify(secret);
        if answer.0 == 200 {
            assert!(before < expires, "good after its expiry");
            was_good = true;
            return false;
        }
        assert_eq!(answer, refusal("expired"));
        assert!(Timestamp::now() >= expires, "expired before its expiry");
        true
    });
    assert!(was_good);
    assert_eq!(service.verify(secret), refusal("expired"), "it stays so");
}

#[test]
fn a_key_is_good_until_its_expiry_and_expired_from_then_on() {
    let service = Settings::file_store().start_ready();
    // Expiry is kept to the millisecond.
    let expires = Timestamp::from_millisecond(Timestamp::now().as_millisecond() + 2000).expect("a time");
    let created = service.cli(&["create", "--name", "short", "--expires-at", &expires.to_string()]);
    let secret = printed_secret(&succeeded(created));
    a_key_is_good_until_its_expiry_and_not_after(&service, &secret, expires);
}

#[test]
fn dates_are_read_with_their_offset_and_wrong_ones_deny_the_key() {
    let expired = [
        "2020-01-01T00:00:00Z",
        "2020-01-01",
        "2020-01-01T00:00:00+14:00",
        "1970-01-01T00:00:00",
    ];
    let good = [
        "2099-12-31T23:59:59Z",
        "2099-12-31T23:59:59.123456+00:00",
        "2099-12-31",
        "2099-12-31T23:59:59-11:00",
    ];
    let wrong = [
        "never",
        "2099-13-01",
        "2099-02-30T00:00:00Z",
        "31.12.2099",
        "2099-12-31T25:00:00Z",
        "",
        "  ",
    ];
    let all = || expired.iter().chain(&good).chain(&wrong).enumerate();
    let records: Vec<Value> = all()
        .map(|(n, date)| record_with(&format!("key_{n}"), "expires_at", *date))
        .chain([record("key_without")])
        .collect();
    let settings = Settings::file_store();
    settings.write_document(&json!({ "keys": records }).to_string());
    let service = settings.start_ready();
    for (n, date) in all() {
        let id = format!("key_{n}");
        let expected = if expired.contains(date) {
            refusal("expired")
        } else if good.contains(date) {
            good_answer(&id)
        } else {
            refusal("invalid")
        };
        assert_eq!(service.verify(&secret_of(&id)), expected, "{date:?}");
    }
    assert_eq!(service.verify(&secret_of("key_without")), good_answer("key_without"));
    let named = || {
        service
            .log()
            .iter()
            .filter(|line| line["defect"] == "bad_expiry")
            .count()
    };
    eventually("each wrong date is named", || named() == wrong.len());
}
