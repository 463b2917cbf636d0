//! `scan`: leaked secrets are found and named, and nothing else is.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    cli::{Said, create, id_of, run, run_with_input},
    support::{
        documents::{document, secret_of},
        service::Settings,
    },
};

fn secret(key: &Value) -> &str {
    key["secret"].as_str().expect("a text")
}

fn put(settings: &Settings, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = settings.home().join(name);
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
    fs::write(&path, text).expect("the file can be written");
    path
}

fn scan(settings: &Settings, arguments: &[&str]) -> Said {
    run(settings, &[&["scan"], arguments].concat())
}

#[test]
fn a_leaked_secret_is_named_by_its_place_and_its_key_and_never_shown() {
    let settings = Settings::file_store();
    let (key, gone) = (create(&settings, "good"), create(&settings, "gone"));
    run(&settings, &["delete", id_of(&gone), "--yes", "--no-refresh"]).done();
    put(
        &settings,
        "tree/src/config.py",
        format!("# größe\nkéy = \"{}\"\n", secret(&key)),
    );
    put(&settings, "tree/a.env", format!("OLD={}", secret(&gone)));
    let said = scan(&settings, &["tree"]);
    let expected = format!(
        "tree/a.env:1:5: sec_… no known key\ntree/src/config.py:2:8: sec_… {}\n✗ 2 secrets found in 2 files. Rotate or revoke their keys.\n",
        id_of(&key)
    );
    assert_eq!((said.stdout.as_str(), said.code), (expected.as_str(), Some(1)));
    let said = scan(&settings, &["tree/src", "--json"]);
    let hit = json!({"path": "tree/src/config.py", "line": 2, "column": 8, "secret_prefix": "sec_", "key_id": id_of(&key), "status": "good"});
    assert_eq!(
        said.json(),
        json!({"found": [hit], "files": 1, "skipped": 0, "unreadable": 0})
    );
    for leaked in [secret(&key), &secret(&key)[..12]] {
        assert!(!said.stdout.contains(leaked));
    }
}

#[test]
fn ten_thousand_files_are_searched_for_the_one_secret_in_them() {
    let settings = Settings::file_store();
    let key = create(&settings, "leaked");
    let text = "fn main() { println!(\"sec_urity and hk_live_ {}\", my_section_0); }\n".repeat(12);
    for number in 0..10_000 {
        let name = format!("tree/{}/{number}.rs", number % 100);
        if number % 100 == number {
            fs::create_dir_all(settings.home().join(format!("tree/{number}"))).expect("the folder can be made");
        }
        fs::write(settings.home().join(name), &text).expect("the file can be written");
    }
    put(
        &settings,
        "tree/57/7057.rs",
        format!("{text}let key = \"{}\";\n", secret(&key)),
    );
    let report = scan(&settings, &["tree", "--json"]).json();
    assert_eq!(report["files"], 10_000);
    let hit = json!({"path": "tree/57/7057.rs", "line": 13, "column": 12, "secret_prefix": "sec_", "key_id": id_of(&key), "status": "good"});
    assert_eq!(report["found"], json!([hit]));
}

#[test]
fn what_is_no_text_no_file_or_not_of_the_tree_is_passed_over() {
    let settings = Settings::file_store();
    let key = create(&settings, "a");
    put(&settings, "outside/leak.txt", secret(&key));
    put(&settings, "tree/clean.txt", "nothing\n");
    put(&settings, "tree/.git/objects/leak.txt", secret(&key));
    put(
        &settings,
        "tree/image.bin",
        [b"\0\x01", secret(&key).as_bytes()].concat(),
    );
    std::os::unix::fs::symlink("../outside", settings.home().join("tree/folder")).expect("a link");
    std::os::unix::fs::symlink("../outside/leak.txt", settings.home().join("tree/link")).expect("a link");
    std::os::unix::fs::symlink(".", settings.home().join("tree/round")).expect("a link");
    let said = scan(&settings, &["tree"]);
    assert_eq!(
        (said.stdout.as_str(), said.code),
        (
            "✓ No secrets found in 1 files. Passed over: 4, no text or no files.\n",
            Some(0)
        ),
        "{}",
        said.stderr
    );
    let report = scan(&settings, &["tree", "--json"]).done().json();
    assert_eq!(report, json!({"found": [], "files": 1, "skipped": 4, "unreadable": 0}));
}

#[test]
fn what_is_named_is_looked_at_whatever_it_is() {
    let settings = Settings::file_store();
    let key = create(&settings, "a");
    put(&settings, "outside/leak.txt", secret(&key));
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, settings.home().join(name)).expect("a link");
    link("outside/leak.txt", "file");
    link("outside", "folder");
    link("gone", "broken");
    for (named, found) in [("file", "file"), ("folder", "folder/leak.txt")] {
        let said = scan(&settings, &[named]);
        let expected = format!("{found}:1:1: sec_… {}\n", id_of(&key));
        assert!(said.stdout.starts_with(&expected), "{named}: {}", said.stdout);
        assert_eq!(said.code, Some(1), "{named}");
    }
    let piped = run_with_input(&settings, &["scan", "/dev/stdin"], secret(&key));
    assert!(
        piped.stdout.starts_with("/dev/stdin:1:1: sec_… key_"),
        "{}",
        piped.stdout
    );
    let said = scan(&settings, &["broken"]);
    assert_eq!(said.stderr, "⚠️  Warning: broken cannot be read: entity not found\n");
    assert_eq!(said.code, Some(1));
}

#[test]
fn a_named_path_that_is_no_text_is_not_called_clean() {
    let settings = Settings::file_store();
    put(&settings, "image.bin", b"\0\x01");
    put(&settings, "clean.txt", "nothing\n");
    let said = scan(&settings, &["image.bin", "clean.txt"]);
    let expected = "No secrets found in the 1 files that could be read.\n";
    assert_eq!((said.stdout.as_str(), said.code), (expected, Some(1)));
    assert_eq!(said.stderr, "⚠️  Warning: image.bin cannot be read: it is no text\n");
    let piped = run_with_input(&settings, &["scan", "-"], "\0");
    assert_eq!(
        piped.stderr,
        "⚠️  Warning: (standard input) cannot be read: it is no text\n"
    );
    assert_eq!(piped.code, Some(1));
}

#[test]
fn a_secret_is_found_wherever_it_stands_in_a_large_file_and_in_standard_input() {
    let settings = Settings::file_store();
    let key = create(&settings, "a");
    let piece = 256 * 1024;
    for offset in [
        0,
        piece - 1100,
        piece - 1040,
        piece - 64,
        piece - 30,
        piece - 3,
        piece,
        2 * piece - 10,
    ] {
        let mut bytes = vec![b'.'; offset];
        bytes.extend_from_slice(secret(&key).as_bytes());
        bytes.extend(vec![b'.'; piece / 2]);
        put(&settings, "large.txt", bytes);
        let report = scan(&settings, &["large.txt", "--json"]).json();
        assert_eq!(report["found"].as_array().map(Vec::len), Some(1), "{offset}: {report}");
        assert_eq!(
            (&report["found"][0]["line"], &report["found"][0]["column"]),
            (&json!(1), &json!(offset + 1))
        );
    }
    let said = run_with_input(&settings, &["scan", "-"], &format!("+ {}\n", secret(&key)));
    assert_eq!(said.code, Some(1));
    assert!(
        said.stdout.starts_with("(standard input):1:3: sec_… key_"),
        "{}",
        said.stdout
    );
}

#[test]
fn an_older_or_imported_secret_is_found_where_the_store_knows_it() {
    let settings = Settings::file_store();
    let imported = "hk_live_abcImportedSecretWithoutAnyChecksum12345";
    let hash = bcrypt::hash(imported, 4).expect("the cost is allowed");
    let mut keys: Value = serde_json::from_str(&document(1, &["key"])).expect("JSON");
    keys["keys"][0]["secret"] = json!("sec_A1h2olderSecret");
    keys["keys"][0]["is_active"] = json!(false);
    keys["keys"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"id": "imported", "name": "I", "secret_hash": hash, "key_prefix": "hk_live_abc"}));
    settings.write_document(&keys.to_string());
    put(
        &settings,
        "notes.md",
        format!(
            "sec_A1h2olderSecret\n{imported}\nsec_A1h2another\n{}\n",
            secret_of("key")
        ),
    );
    let said = scan(&settings, &["notes.md"]);
    let expected = "notes.md:1:1: sec_… key (revoked)\nnotes.md:2:1: hk_live_… imported\n✗ 2 secrets found in 1 files. Rotate or revoke their keys.\n";
    assert_eq!((said.stdout.as_str(), said.code), (expected, Some(1)));
    assert_eq!(
        scan(&settings, &["notes.md", "--offline"]).done().stdout,
        "✓ No secrets found in 1 files.\n"
    );
}

#[test]
fn secrets_with_prefixes_of_ones_own_are_found() {
    let settings = Settings::file_store().with("KEY_PREFIXES", "production=acme_live_,test=acme_test_");
    let key = run(
        &settings,
        &["create", "--name", "a", "--owner", "u", "--no-refresh", "--json"],
    )
    .done()
    .json();
    put(&settings, "leak.txt", format!("x{}", secret(&key)));
    let said = scan(&settings, &["leak.txt", "--offline"]);
    assert!(
        said.stdout.starts_with("leak.txt:1:2: acme_live_… key not looked up\n"),
        "{}",
        said.stdout
    );
    let rotated = run(&settings, &["rotate", id_of(&key), "--overlap", "1h", "--no-refresh"]);
    rotated.done();
    let said = scan(&settings, &["leak.txt"]);
    assert!(
        said.stdout
            .starts_with(&format!("leak.txt:1:2: acme_live_… {}\n", id_of(&key)))
    );
}

#[test]
fn secrets_with_prefixes_that_are_no_longer_used_are_found_when_they_are_named() {
    let settings = Settings::file_store();
    let earlier = settings.clone().with("KEY_PREFIXES", "production=old_live_");
    let key = run(
        &earlier,
        &["create", "--name", "a", "--owner", "u", "--no-refresh", "--json"],
    );
    let key = key.done().json();
    put(&settings, "leak.txt", secret(&key));
    let present = settings.with("KEY_PREFIXES", "production=new_live_");
    assert_eq!(
        scan(&present, &["leak.txt"]).done().stdout,
        "✓ No secrets found in 1 files.\n"
    );
    let said = scan(&present, &["leak.txt", "--prefix", "other_", "--prefix", "old_live_"]);
    let expected = format!("leak.txt:1:1: old_live_… {}\n", id_of(&key));
    assert!(said.stdout.starts_with(&expected), "{}", said.stdout);
    for wrong in ["old", "sec_live_", "_", "a_very_long_prefix_of_keys_"] {
        let sentence =
            "Error: --prefix must be how secrets begin, such as acme_live_: 2 to 24 characters that end in _";
        scan(&present, &["leak.txt", "--prefix", wrong]).failed(2, sentence);
    }
}

#[test]
fn a_secret_whose_prefix_holds_another_is_found() {
    let settings = Settings::file_store();
    let mut keys: Value = serde_json::from_str(&document(1, &["key"])).expect("JSON");
    keys["keys"][0]["secret"] = json!("asec_abcdefghijkl_0123456789abcdef");
    settings.write_document(&keys.to_string());
    put(&settings, "p.txt", "x\nasec_abcdefghijkl_0123456789abcdef\n");
    let said = scan(&settings, &["--prefix", "asec_abcdefghijkl_", "p.txt"]);
    assert!(
        said.stdout.starts_with("p.txt:2:1: asec_abcdefghijkl_… key\n"),
        "{} {}",
        said.stdout,
        said.stderr
    );
}

#[test]
fn a_store_that_cannot_be_read_hides_no_leak() {
    let settings = Settings::file_store();
    let key = create(&settings, "a");
    put(&settings, "leak.txt", secret(&key));
    settings.write_document("<html>");
    let said = scan(&settings, &["leak.txt"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.stdout.starts_with("leak.txt:1:1: sec_… key not looked up\n"),
        "{}",
        said.stdout
    );
    assert!(
        said.stderr
            .starts_with("⚠️  Warning: whose the secrets are is not known: "),
        "{}",
        said.stderr
    );
    assert_eq!(scan(&settings, &["leak.txt", "--offline"]).stderr, "");
}

#[test]
fn a_path_that_cannot_be_read_is_not_called_clean() {
    let settings = Settings::file_store();
    let said = scan(&settings, &["nowhere"]);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.stderr, "⚠️  Warning: nowhere cannot be read: entity not found\n");
    scan(&settings, &[]).failed(2, "Error: PATH is missing");
}
