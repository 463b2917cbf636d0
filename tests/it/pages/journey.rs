//! What people come for, from logging in to logging out, in a real browser and with nothing to complain in its console.

use serde_json::{Value, json};

use super::hand::Hand;
use crate::support::{service::Settings, tool};

#[test]
fn an_operator_makes_watches_changes_rotates_and_revokes_a_key() {
    let mut hand = Hand::at(Settings::file_store().start());
    hand.browser.allow("clipboardReadWrite");
    hand.browser.picture("login");
    hand.log_in_as_operator();
    hand.wait_for_figure("Active keys", "1");

    hand.press("New key");
    hand.fill("name", "Orders");
    hand.choose("environment", "test");
    hand.choose("expires_in_days", "7");
    hand.fill("scopes", "orders:read, orders:write");
    hand.press("Create");
    hand.press("Copy");
    hand.browser
        .wait("document.querySelector('dialog [role=status]').textContent === 'Copied.'");
    let copied = hand.browser.text("navigator.clipboard.readText()");
    hand.press("Verify it");
    hand.wait_for_text("It verifies: 200, valid.");
    hand.browser.picture("secret");
    let secret = hand.take_secret();
    assert_eq!(copied, secret);
    assert!(secret.starts_with("hk_test_"));

    hand.wait_for_page("Orders");
    let left = hand
        .browser
        .text("document.documentElement.outerHTML + location.href + JSON.stringify(localStorage)");
    assert!(!left.contains(&secret), "the secret is still on the page");
    assert_eq!([hand.verify(&secret), hand.verify(&secret)], [200, 200]);
    hand.wait_for_figure("Requests", "3");
    hand.browser.wait("document.querySelector('figure rect.bar')");
    let told = hand
        .browser
        .text("document.querySelector('figure svg').getAttribute('aria-label')");
    assert!(
        told.starts_with("Requests by hour: 3 in all, 0 of them failed."),
        "{told}"
    );
    hand.browser.picture("key");

    edit(&mut hand);
    let second = rotate(&mut hand, &secret);
    revoke(&mut hand, &[&secret, &second]);
    let errors = hand.browser.errors();
    assert!(errors.is_empty(), "{errors:?}");
}

fn edit(hand: &mut Hand) {
    hand.press("Edit");
    hand.fill("rate_limit_per_hour", "5000");
    hand.fill("burst", "50");
    hand.fill("scopes", "orders:read");
    hand.fill("allowed_ips", "127.0.0.0/8\n::1");
    hand.press("Add a limit");
    for (name, value) in [("name", "minute"), ("limit", "600"), ("window_seconds", "60")] {
        hand.set(&format!("[data-window={name}]"), value, "input");
    }
    hand.browser.picture("edit");
    hand.press("Save");
    for text in [
        "Saved.",
        "5,000 per hour + 50",
        "minute: 600 in 1 minute",
        "127.0.0.0/8",
    ] {
        hand.wait_for_text(text);
    }
}

fn rotate(hand: &mut Hand, secret: &str) -> String {
    hand.press("Rotate");
    hand.choose("overlap_seconds", "3600");
    hand.press("Rotate");
    let second = hand.take_secret();
    assert_ne!(second, secret);
    hand.wait_for_text("Earlier secret works until");
    assert_eq!(
        verdicts(hand, &[secret, &second]),
        [(200, json!(null)), (200, json!(null))]
    );
    second
}

fn revoke(hand: &mut Hand, secrets: &[&str]) {
    hand.press("Revoke");
    hand.browser.wait("document.querySelector('dialog')");
    hand.press("Revoke");
    hand.wait_for_text("Revoked.");
    hand.browser
        .wait("[...document.querySelectorAll('main button')].some((one) => one.textContent === 'Reactivate')");
    assert_eq!(
        verdicts(hand, secrets),
        [(403, json!("revoked")), (403, json!("revoked"))]
    );
}

/// Of a backend whose client may use the key.
fn verdicts(hand: &Hand, secrets: &[&str]) -> Vec<(u16, Value)> {
    let verify = |secret: &&str| {
        let asked = json!({"api_key": secret, "client_ip": "127.0.0.1"}).to_string();
        let answer = hand.service.post("/verify", asked.as_bytes());
        (answer.status, answer.json()["code"].take())
    };
    secrets.iter().map(verify).collect()
}

#[test]
fn keys_are_found_changes_are_told_and_events_are_seen_as_they_happen() {
    let mut hand = Hand::at(Settings::file_store().start());
    let secret = hand.service.create_key("Harbour");
    for name in ["Lighthouse", "Pier"] {
        hand.service.create_key(name);
    }
    hand.log_in_as_operator();

    hand.follow("Keys");
    hand.wait_for_text("4 of 4 keys");
    hand.browser.picture("keys");
    hand.set("[type=search]", "LIGHT", "input");
    hand.wait_for_text("1 of 1 keys");
    hand.set("[type=search]", "", "input");
    hand.wait_for_text("4 of 4 keys");
    hand.choose("status", "revoked");
    hand.wait_for_text("No key is like that.");
    hand.choose("status", "");
    hand.choose("sort", "name");
    let names = "[...document.querySelectorAll('tbody a')].map((one) => one.textContent).join()";
    hand.browser
        .wait(&format!("{names} === 'Harbour,Lighthouse,Operations,Pier'"));

    hand.follow("Audit");
    hand.wait_for_page("Audit");
    hand.browser
        .wait("document.querySelectorAll('tbody tr').length === 4 && document.body.innerText.includes('create')");
    hand.follow("Instances");
    hand.wait_for_text("Fresh");
    hand.follow("Live");
    hand.wait_for_text("Connected");
    assert_eq!(hand.verify(&secret), 200);
    assert_eq!(hand.verify("no key at all"), 403);
    hand.browser
        .wait("['verification success', 'verification failed'].every((word) => document.querySelector('.feed').innerText.includes(word))");
    hand.browser.picture("live");
    let shown = hand.browser.text("document.querySelector('.feed').innerText");
    assert!(
        shown.contains("Harbour") && !shown.contains(&secret) && !shown.contains("no key at all"),
        "{shown}"
    );

    hand.press("Log out");
    hand.browser.wait("document.querySelector('form [name=password]')");
    hand.browser.ask("location.reload()");
    hand.browser.wait("document.querySelector('form [name=password]')");
    let errors = hand.browser.errors();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_person_sees_and_makes_their_own_keys_alone_with_nothing_but_a_keyboard() {
    let mut hand = Hand::at(Settings::file_store().start());
    let credentials = br#"{"login":"ada","password":"securepassword123"}"#;
    assert_eq!(hand.service.post("/api/register", credentials).status, 201);
    // The login has the focus.
    hand.browser.keys(&["ada", "Tab", "securepassword123", "Enter"]);
    hand.wait_for_page("Overview");
    hand.wait_for_figure("Active keys", "0");
    let pages = "[...document.querySelectorAll('nav a')].map((one) => one.textContent).join()";
    assert_eq!(hand.browser.text(pages), "Overview,Keys,Live");

    let focused = "document.activeElement.textContent";
    hand.browser.ask("document.activeElement.blur()");
    hand.browser.keys(&["Tab"]);
    assert_eq!(hand.browser.text(focused), "To the page");
    hand.browser.keys(&["Enter", "Tab"]);
    assert_eq!(hand.browser.text(focused), "New key");
    hand.browser.keys(&["Enter"]);
    hand.browser.wait("document.activeElement.name === 'name'");
    hand.browser.keys(&["Escape"]);
    hand.browser.wait("!document.querySelector('dialog')");
    assert_eq!(hand.browser.text(focused), "New key", "the focus is back where it was");
    hand.browser.keys(&["Enter"]);
    hand.browser.wait("document.activeElement.name === 'name'");
    hand.browser.keys(&["Ada's key", "Enter"]);
    hand.browser.wait(&format!("{focused} === 'Copy'"));
    hand.browser.keys(&["Tab", "Tab", "Enter"]);
    hand.wait_for_page("Ada's key");
    hand.follow("Keys");
    hand.wait_for_text("1 of 1 keys");
    assert_eq!(hand.browser.errors(), [""; 0]);
}

#[test]
fn a_wrong_password_is_said_where_it_was_typed() {
    let mut hand = Hand::at(Settings::file_store().start());
    hand.fill("login", "nobody");
    hand.fill("password", "not the password");
    hand.press("Log in");
    hand.browser
        .wait("document.querySelector('[role=alert]').textContent.length > 0");
    assert_eq!(hand.browser.ask("document.activeElement.name"), "password");
}

#[test]
fn axe_finds_no_serious_fault_and_nothing_sticks_out_in_either_colour_and_at_either_width() {
    let mut hand = Hand::at(Settings::file_store().start());
    hand.service.create_key("Harbour");
    let axe = tool("node_modules/axe-core/axe.min.js");
    hand.browser.run(&axe);
    judge(&mut hand, "login");
    hand.log_in_as_operator();
    for scheme in ["light", "dark"] {
        hand.browser.scheme(scheme);
        for width in [1280, 390] {
            hand.browser.size(width, 844);
            for (page, shown) in [
                ("Overview", "figure svg text"),
                ("Keys", "tbody tr"),
                ("Live", ".badge.good"),
                ("Audit", "tbody tr"),
                ("Instances", ".badge.good"),
            ] {
                hand.follow(page);
                hand.wait_for_page(page);
                hand.browser.wait(&format!("document.querySelector('main {shown}')"));
                judge(&mut hand, &format!("{page}-{scheme}-{width}"));
            }
            hand.follow("Keys");
            hand.follow("Harbour");
            hand.wait_for_page("Harbour");
            hand.browser.wait("document.querySelector('main figure svg text')");
            judge(&mut hand, &format!("key-{scheme}-{width}"));
            hand.press("Edit");
            judge(&mut hand, &format!("edit-{scheme}-{width}"));
            hand.press("Cancel");
        }
    }
}

fn judge(hand: &mut Hand, name: &str) {
    hand.browser.picture(name);
    let found = hand.browser.ask(
        "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations \
         .filter(({ impact }) => impact === 'serious' || impact === 'critical') \
         .map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]))",
    );
    assert_eq!(found, json!([]), "{name}");
    let fits = hand.browser.ask("document.documentElement.scrollWidth <= innerWidth");
    assert_eq!(fits, true, "{name} is wider than its window");
}
