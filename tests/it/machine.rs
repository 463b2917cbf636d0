//! The machine fails the service: no more descriptors, memory or disk, a process that is killed or stopped at any moment.

use crate::support::{
    asking::Asking,
    documents::{document, good_answer, refusal, secret_of},
    fault_proxy::Fault,
    flood::{Statuses, flood, verify_request},
    http_client::Connection,
    ports::free_port,
    service::{Service, Settings, eventually},
    stored_object::StoredObject,
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Command, thread, time::Duration};

const FILES: &str = "--nofile=300:300";

fn serving(settings: &Settings) -> Service {
    settings.write_document(&document(1, &["key_1"]));
    settings.start_ready()
}

#[test]
fn whoever_takes_every_connection_keeps_no_revocation_from_being_loaded() {
    let settings = Settings::file_store()
        .with("WORKERS", "32")
        .with("POLL_INTERVAL", "50ms")
        .with("ADMIN_LISTEN", "127.0.0.1:0")
        .under(&["prlimit", FILES]);
    let service = serving(&settings);
    let allowed = service.events("startup")[0]["connections"].as_u64().expect("a number");
    assert!(allowed < 200, "{allowed}");
    let mut first = service.connect();
    assert_eq!(first.get("/health").expect("an answer").status, 200);
    // The system completes more connections than the service takes.
    let taken: Vec<Connection> = (0..300).map(|_| Connection::open(service.address())).collect();
    settings.write_document(&document(2, &["key_2"]));
    let mut verify = |id: &str| {
        let body = json!({ "api_key": secret_of(id) }).to_string();
        first.post("/verify", body.as_bytes()).expect("an answer").status
    };
    eventually("the change is in force", || verify("key_2") == 200);
    assert_eq!((verify("key_1"), service.refresh().0), (403, 200));
    assert_eq!(service.events("accept_failed").len(), 0);
    drop(taken);
    assert_eq!(service.health().0, 200);
}

#[test]
fn a_limit_of_files_that_is_too_low_for_the_threads_is_named() {
    let settings = Settings::file_store()
        .with("WORKERS", "64")
        .under(&["prlimit", "--nofile=100:100"]);
    let output = settings.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("ulimit -n"), "{said}");
}

#[test]
fn a_system_that_gives_no_more_threads_keeps_the_keys_from_being_loaded_only_as_long() {
    let settings = Settings::file_store()
        .with("POLL_INTERVAL", "1day")
        .with("DATABASE_URL", "off");
    // A service that has kept the room of an ended thread begins the next one all the same: then another one is tried.
    let refused = (1..10).find_map(|_| {
        let service = serving(&settings);
        // A thread that has loaded goes when it was idle for a while; the next load needs a new one.
        eventually("the thread that has loaded is gone", || {
            !service.niceness().iter().any(|(name, _)| name == "tokio-rt-worker")
        });
        settings.write_document(&document(2, &["key_1", "key_2"]));
        // Too little for the stack of a thread.
        limit(
            &service,
            &format!("--as={}:unlimited", (service.virtual_kib() + 1024) << 10),
        );
        (service.refresh().0 == 502).then_some(service)
    });
    let service = refused.expect("a load that finds no thread");
    assert_eq!(service.verify(&secret_of("key_1")), good_answer("key_1"));
    assert_eq!(service.verify(&secret_of("key_2")), refusal("invalid"));
    limit(&service, "--as=unlimited:unlimited");
    assert_eq!(service.refresh().0, 200);
    assert_eq!(service.verify(&secret_of("key_2")), good_answer("key_2"));
}

fn limit(service: &Service, limit: &str) {
    let set = Command::new("prlimit")
        .args(["--pid", &service.pid().to_string(), limit])
        .status();
    assert!(set.expect("prlimit runs").success(), "the limit could not be set");
}

#[test]
fn a_disk_that_takes_nothing_keeps_nobody_from_a_start_and_a_verify() {
    let settings = Settings::file_store()
        .with("POLL_INTERVAL", "50ms")
        .ignoring("XFSZ")
        .under(&["prlimit", "--fsize=0"]);
    let service = serving(&settings);
    let accounts = service.events("startup")[0]["accounts"].clone();
    assert!(
        accounts.as_str().is_some_and(|said| said.starts_with("off: DATA_DIR")),
        "{accounts}"
    );
    assert_eq!(service.verify(&secret_of("key_1")), good_answer("key_1"));
    let output = service.cli(&["create", "--name", "never"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!String::from_utf8_lossy(&output.stdout).contains("sec_"));
    assert_eq!(
        fs::read_to_string(settings.document()).expect("the document"),
        document(1, &["key_1"])
    );
    // What others put there is taken.
    settings.write_document(&document(2, &["key_2"]));
    eventually("the change is in force", || {
        service.verify(&secret_of("key_2")).0 == 200
    });
}

#[test]
fn a_log_on_a_full_disk_costs_its_lines_and_nothing_else() {
    let settings = Settings::file_store().with("PORT", free_port().to_string()).under(&[
        "sh",
        "-c",
        "exec \"$@\" >/dev/full",
        "sh",
    ]);
    let service = serving(&settings);
    let before = service.resident_kib();
    let good = |_| verify_request(&secret_of("key_1"), &[]);
    assert_eq!(flood(&service, 4, 10_000, good), Statuses::from([(200, 10_000)]));
    let grown = service.peak_resident_kib().saturating_sub(before);
    assert!(grown < 20 << 10, "{grown} KiB");
    assert!(service.stop().success());
}

/// A service whose `DATA_DIR` is a small disk of its own, or nothing where the machine gives none away.
fn on_a_small_disk() -> Option<(Service, PathBuf)> {
    let may = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output();
    if !may.is_ok_and(|made| made.status.success()) {
        eprintln!("not run: this machine lets nobody mount a disk");
        return None;
    }
    // A database there would be open for writing, and a disk does not become read-only while something is.
    let settings = Settings::file_store()
        .with("POLL_INTERVAL", "50ms")
        .with("DATABASE_URL", "off");
    fs::create_dir_all(settings.data_dir()).expect("a directory in the test's own");
    let script = "mount -t tmpfs -o size=2m tmpfs \"$DATA_DIR\" && exec \"$@\"";
    let service = settings.under(&["unshare", "-m", "sh", "-c", script, "sh"]).start();
    // The disk is seen through the process only.
    let disk = format!(
        "/proc/{}/root{}",
        service.pid(),
        service.settings().data_dir().display()
    );
    Some((service, PathBuf::from(disk)))
}

#[test]
fn a_disk_that_is_full_and_then_read_only_changes_nothing_and_is_taken_up_again() {
    let Some((service, disk)) = on_a_small_disk() else {
        return;
    };
    let documented = disk.join("keys.json");
    let admin = json!({ "generation": 1, "keys": [{ "id": "key_admin", "secret": secret_of("key_admin"), "name": "Admin", "scopes": ["admin"] }] });
    fs::write(&documented, admin.to_string()).expect("there is room");
    eventually("the document is in force", || {
        service.verify(&secret_of("key_admin")).0 == 200
    });
    let create = |name: &str| {
        let bearer = format!("Bearer {}", secret_of("key_admin"));
        let body = json!({ "name": name }).to_string();
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let mut connection = service.connect();
        let answer = connection.request("POST", "/api/v1/auth/keys", &headers, body.as_bytes());
        answer.expect("an answer").status
    };
    assert_eq!(create("first"), 201);
    let before = fs::read(&documented).expect("the document");
    let goes_on = |while_it_is: &str| {
        let asking = Asking::start(service.address(), &secret_of("key_admin"), |answer| {
            answer.status == 200
        });
        assert_eq!(create("never"), 503, "{while_it_is}");
        asking.stop();
        assert_eq!(fs::read(&documented).expect("the document"), before, "{while_it_is}");
    };
    // As much as there is room for, to the last byte.
    let _ = fs::write(disk.join("filler"), vec![0; 4 << 20]);
    goes_on("full");
    fs::remove_file(disk.join("filler")).expect("it is there");
    assert_eq!(create("second"), 201);
    let before_read_only = fs::read(&documented).expect("the document");
    remount(&service, "ro");
    assert_eq!(create("never"), 503);
    assert_eq!(service.verify(&secret_of("key_admin")).0, 200);
    assert_eq!(fs::read(&documented).expect("the document"), before_read_only);
    remount(&service, "rw");
    assert_eq!(create("third"), 201);
    let left: Vec<_> = fs::read_dir(&disk)
        .expect("the disk")
        .flatten()
        .map(|file| file.file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")),
        "{left:?}"
    );
}

fn remount(service: &Service, mode: &str) {
    let pid = service.pid().to_string();
    let data = service.settings().data_dir();
    let options = format!("remount,bind,{mode}");
    let done = Command::new("nsenter")
        .args(["-t", &pid, "-m", "mount", "-o", &options])
        .arg(&data)
        .output();
    let done = done.expect("nsenter runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn killed_at_any_moment_it_starts_again_with_a_whole_document_and_takes_the_newest() {
    let object = StoredObject::new();
    object.put(document(1, &["key_1"]));
    let proxy = object.proxy();
    let settings = object.settings_through(&proxy).with("POLL_INTERVAL", "10ms");
    let snapshot = settings.home().join("snapshot.json");
    let settings = settings.with("SNAPSHOT_PATH", snapshot.to_str().expect("temporary paths are UTF-8"));
    let generation_of = |service: &Service| service.ready().1["generation"].as_u64().expect("a generation");
    // What is in force may be newer by what was not saved yet when it was killed.
    let saved = || {
        let text = fs::read_to_string(&snapshot).expect("a snapshot");
        let document: Value = serde_json::from_str(&text).expect("a snapshot is whole at any moment");
        document["generation"].as_u64().expect("a generation")
    };
    let (mut newest, mut left) = (1, 0);
    for round in 0..8_u64 {
        // After a kill there is nothing to start from but what it left.
        if left > 0 {
            proxy.set(Fault::Refuse);
        }
        let service = settings.start_ready();
        let mut before = generation_of(&service);
        assert!(before >= left, "round {round}: {before} in force, {left} left");
        assert_eq!(service.verify(&secret_of("key_1")), good_answer("key_1"));
        proxy.heal();
        eventually("the newest is in force", || {
            let now = generation_of(&service);
            assert!(now >= before, "round {round}: {now} after {before}");
            before = now;
            now == newest
        });
        eventually("there is a snapshot", || snapshot.exists());
        for _ in 0..5 {
            newest += 1;
            object.put(document(newest, &["key_1"]));
        }
        // Somewhere within a load and the writing of its snapshot.
        thread::sleep(Duration::from_millis(3 * round));
        service.signal("KILL");
        drop(service);
        let now_left = saved();
        assert!(now_left >= left, "round {round}: {now_left} left after {left}");
        left = now_left;
    }
    let last = settings.start();
    eventually("the newest is in force", || last.ready().1["generation"] == newest);
    eventually("its snapshot is there", || saved() == newest);
    last.signal("KILL");
    drop(last);
    object.delete();
    let service = settings.start_ready();
    assert_eq!(generation_of(&service), newest);
    assert_eq!(service.verify(&secret_of("key_1")), good_answer("key_1"));
    assert_eq!(service.verify(&secret_of("key_2")), refusal("invalid"));
    let beside: Vec<_> = fs::read_dir(settings.home()).expect("its home").flatten().collect();
    assert!(beside.len() < 8, "what was left unfinished does not add up: {beside:?}");
}

#[test]
fn stopped_and_continued_again_and_again_it_answers_everything() {
    let service = serving(&Settings::file_store().with("POLL_INTERVAL", "20ms"));
    let asking: Vec<Asking> = (0..3)
        .map(|_| Asking::start(service.address(), &secret_of("key_1"), |answer| answer.status == 200))
        .collect();
    for _ in 0..20 {
        service.suspend();
        thread::sleep(Duration::from_millis(20));
        service.signal("CONT");
        assert_eq!(service.health().0, 200);
    }
    for one in asking {
        one.stop();
    }
    assert_eq!(service.refresh().0, 200);
    assert!(service.stop().success());
}
