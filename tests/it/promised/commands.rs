//! The commands, on the same document and database as the service.

use std::fs;

use serde_json::json;

use super::{KEYS, Site, rows, text};
use crate::support::{documents::secret_of, service::eventually};

rows!(
    a_key_made_by_a_command_is_the_same_record_as_one_made_over_http,
    a_key_is_rotated_revoked_and_reactivated_by_commands,
    the_names_of_the_task_list_are_the_same_commands,
    a_command_verifies_a_secret_from_standard_input,
    use_and_changes_are_shown_by_commands,
    what_is_exported_is_imported_as_it_was,
    a_planted_secret_is_found_and_its_key_named,
    the_tables_are_brought_up_as_often_as_anybody_likes,
    doctor_finds_store_database_and_limiter_well,
);

fn a_key_made_by_a_command_is_the_same_record_as_one_made_over_http(site: &Site) {
    let arguments = [
        "create",
        "--name",
        "Shop",
        "--owner",
        "ann",
        "--environment",
        "test",
        "--scope",
        "orders:read",
        "--allow-ip",
        "10.0.0.0/8",
        "--rate-limit",
        "9",
        "--burst",
        "3",
        "--expires-in",
        "30days",
    ];
    let key = site.command(&arguments);
    let path = format!("{KEYS}/{}", text(&key["id"]));
    let shown = site.call("key_ann", "GET", &path, None).json();
    for (member, value) in [
        ("name", json!("Shop")),
        ("user_id", json!("ann")),
        ("environment", json!("test")),
        ("scopes", json!(["orders:read"])),
        ("allowed_ips", json!(["10.0.0.0/8"])),
        ("rate_limit_per_hour", json!(9)),
        ("burst", json!(3)),
        ("expires_at", key["expires_at"].clone()),
    ] {
        assert_eq!(shown[member], value, "{member}");
    }
    let verified = site.verify_secret(text(&key["secret"]), json!({"client_ip": "10.1.1.1"}));
    assert_eq!(
        (verified.status, verified.header("x-ratelimit-limit")),
        (200, Some("12"))
    );
    assert_eq!(
        site.command(&["update", text(&key["id"]), "--name", "Shops"])["name"],
        "Shops"
    );
}

fn a_key_is_rotated_revoked_and_reactivated_by_commands(site: &Site) {
    let key = site.command(&["create", "--name", "n"]);
    let (id, old) = (text(&key["id"]), text(&key["secret"]));
    let rotated = site.command(&["rotate", id, "--overlap", "1h"]);
    assert_eq!(site.verify_secret(old, json!({})).json()["secret"], "previous");
    let new = text(&rotated["secret"]);
    assert_eq!(
        site.command(&["revoke", id, "--reason", "lost"])["revoke_reason"],
        "lost"
    );
    assert_eq!(site.verify_secret(new, json!({})).json()["code"], "revoked");
    site.command(&["reactivate", id]);
    assert_eq!(site.verify_secret(new, json!({})).status, 200);
    site.command(&["delete", id, "--yes"]);
    assert_eq!(site.verify_secret(new, json!({})).json()["code"], "invalid");
}

fn the_names_of_the_task_list_are_the_same_commands(site: &Site) {
    let key = site.command(&["create-key", "--name", "n"]);
    let id = text(&key["id"]);
    assert!(site.command(&["list-keys"]).to_string().contains(id));
    assert_eq!(site.command(&["rotate-key", id])["id"], id);
    assert_eq!(site.command(&["revoke-key", id])["changed"], true);
}

fn a_command_verifies_a_secret_from_standard_input(site: &Site) {
    let url = site.service.url("/verify");
    for (id, code) in [("key_plain", Some(0)), ("key_expired", Some(1))] {
        let output = site.settings.run_with_input(&["verify", "--url", &url], &secret_of(id));
        assert_eq!(output.status.code(), code, "{id}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains(&secret_of(id)));
    }
}

fn use_and_changes_are_shown_by_commands(site: &Site) {
    let key = site.command(&["create", "--name", "n"]);
    let id = text(&key["id"]);
    for _ in 0..2 {
        assert_eq!(site.verify_secret(text(&key["secret"]), json!({})).status, 200);
    }
    eventually("the use is shown", || {
        site.command(&["usage", id])["total_requests"] == 2
    });
    assert_eq!(site.command(&["usage", id])["key_id"], id);
    assert!(site.command(&["usage"])["total_requests"].as_u64() >= Some(2));
    let newest = &site.command(&["audit", "--what", "create"])["entries"][0];
    assert!(newest["who"].is_string() && newest["key_id"] == id, "{newest}");
}

fn what_is_exported_is_imported_as_it_was(site: &Site) {
    let file = site.settings.home().join("keys.csv");
    let file = file.to_str().expect("temporary paths are UTF-8");
    let _ = fs::remove_file(file);
    let exported = site.service.cli(&["export", "--format", "csv", "--output", file]);
    assert!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    let plan = site.command(&["import", file, "--dry-run"]);
    assert_eq!(
        (&plan["new"], &plan["conflicting"], &plan["invalid"]),
        (&json!(0), &json!([]), &json!([]))
    );
    assert_eq!(plan["identical"], site.service.refresh().1["keys_loaded"], "{plan}");
}

fn a_planted_secret_is_found_and_its_key_named(site: &Site) {
    let key = site.made(json!({"name": "n"}));
    let file = site.settings.home().join("leak.txt");
    fs::write(&file, format!("key={}", text(&key["key"]))).expect("the home can be written to");
    let found = site.settings.run(&["scan", "leak.txt", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(
        said.contains(text(&key["key_id"])) && !said.contains(text(&key["key"])),
        "{said}"
    );
}

fn the_tables_are_brought_up_as_often_as_anybody_likes(site: &Site) {
    for _ in 0..2 {
        let tables = site.command(&["database", "up"]);
        assert_eq!(tables["version"], tables["latest"]);
    }
}

fn doctor_finds_store_database_and_limiter_well(site: &Site) {
    let output = site.service.cli(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !said.contains('✗'), "{said}");
    for good in ["✓ store: ", "✓ document: whole, ", "✓ database: "] {
        assert!(said.contains(good), "{good}: {said}");
    }
    assert_eq!(said.contains("✓ redis:"), site.redis.is_some(), "{said}");
}
