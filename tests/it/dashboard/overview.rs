//! What the dashboard shows at a glance: keys, use, and how fresh each instance is.

use serde_json::{Value, json};

use super::{Browser, key, person, register, settings};
use crate::support::{
    documents::{record_with, secret_of},
    postgres::Database,
    service::{Service, Settings, eventually},
};

const OVERVIEW: &str = "/dashboard/overview";

fn overview(browser: &mut Browser, service: &Service) -> Value {
    let answer = browser.ask(service, "GET", OVERVIEW, "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

fn logged_in(service: &Service, body: &Value) -> Browser {
    let mut browser = Browser::default();
    let answer = browser.log_in(service, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    browser
}

fn requests_this_hour(overview: &Value) -> u64 {
    let hours = overview["usage"]["hours"].as_array().expect("hours");
    assert_eq!(hours.len(), 48);
    hours
        .iter()
        .map(|hour| hour["requests"].as_u64().expect("a number"))
        .sum()
}

#[test]
fn an_operator_sees_all_keys_their_use_and_this_instance() {
    let service = settings().start_ready();
    let mut browser = logged_in(&service, &key("key_admin"));
    let before = overview(&mut browser, &service);
    let own = &before["instance"];
    assert_eq!(
        (&own["generation"], &own["keys"], &own["ready"]),
        (&json!(1), &json!(4), &json!(true))
    );
    assert_eq!(
        (&own["degraded"], &own["version"]),
        (&Value::Null, &json!(env!("CARGO_PKG_VERSION")))
    );
    assert!(own["age_seconds"].is_u64() && own["loaded_at"].is_string() && own["started_at"].is_string());
    assert_eq!(before["keys"]["total"], 4);
    assert_eq!(before["keys"]["active"], 4);
    // Made in 2024 and not used since, but for the one that asks.
    let stale: Vec<_> = before["keys"]["stale"].as_array().expect("ids").iter().collect();
    assert!(stale.contains(&&json!("key_plain")), "{stale:?}");

    for _ in 0..3 {
        assert_eq!(service.verify(&secret_of("key_plain")).0, 200);
    }
    eventually("the verifies are counted, and the key is not stale any more", || {
        let now = overview(&mut browser, &service);
        let stale = now["keys"]["stale"].as_array().expect("ids");
        requests_this_hour(&now) >= requests_this_hour(&before) + 3 && !stale.contains(&json!("key_plain"))
    });
    let hour = overview(&mut browser, &service)["usage"]["hours"][47].clone();
    assert!(
        hour["mean_ms"].as_f64().expect("a time") > 0.0 && hour["failures"].is_u64(),
        "{hour}"
    );
}

#[test]
fn a_person_sees_the_numbers_of_their_own_keys_and_no_instances() {
    let service = settings().start_ready();
    register(&service, "anna");
    let mut browser = logged_in(&service, &person("anna"));
    let empty = overview(&mut browser, &service);
    assert_eq!((&empty["instance"], &empty["instances"]), (&Value::Null, &json!([])));
    assert_eq!((&empty["keys"]["total"], requests_this_hour(&empty)), (&json!(0), 0));
    let made = browser.ask(
        &service,
        "POST",
        "/api/v1/auth/keys",
        r#"{"name":"n","expires_in_days":3}"#,
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(service.verify(made["key"].as_str().expect("a secret")).0, 200);
    assert_eq!(service.verify(&secret_of("key_plain")).0, 200);
    eventually("the verify is counted", || {
        requests_this_hour(&overview(&mut browser, &service)) == 1
    });
    let keys = overview(&mut browser, &service)["keys"].clone();
    assert_eq!((&keys["total"], &keys["active"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&keys["expiring_soon"], &keys["stale"]),
        (&json!([made["key_id"]]), &json!([]))
    );
}

#[test]
fn without_a_session_nothing_is_shown() {
    let service = settings().start_ready();
    assert_eq!(Browser::default().status(&service, "GET", OVERVIEW), 401);
    let bearer = format!("Bearer {}", secret_of("key_admin"));
    let answer = Browser::default().send(&service, "GET", OVERVIEW, &[("Authorization", &bearer)], b"");
    assert_eq!(answer.status, 401, "it is for the dashboard's pages");
    assert_eq!(Browser::default().status(&service, "POST", OVERVIEW), 405);
}

#[test]
fn without_a_database_the_instance_is_alone_and_use_is_unknown() {
    let service = settings().with("DATABASE_URL", "off").start_ready();
    let mut browser = logged_in(&service, &key("key_admin"));
    let shown = overview(&mut browser, &service);
    let instances = shown["instances"].as_array().expect("a list");
    assert_eq!((instances.len(), &instances[0]["own"]), (1, &json!(true)));
    assert_eq!(shown["usage"], json!({ "hours": null, "error": "usage_off" }));
    assert_eq!(
        (&shown["keys"]["total"], &shown["keys"]["stale"]),
        (&json!(4), &Value::Null)
    );
}

/// Two stores, so that one can be told from the other; one database.
#[test]
fn instances_on_one_database_see_each_other_and_one_that_stops_is_gone() {
    let database = Database::shared();
    let shared = |keys: usize| {
        let settings: Settings = Settings::file_store().with("DATABASE_URL", database.url());
        let settings = settings.with("SECRET_KEY", "a secret for tests, longer than thirty-two bytes");
        let record = |number: usize| record_with(&format!("key_{number}"), "scopes", json!(["admin"]));
        let records: Vec<Value> = (0..keys).map(record).collect();
        settings.write_document(&json!({ "generation": keys, "keys": records }).to_string());
        settings.start_ready()
    };
    let (one, other) = (shared(2), shared(5));
    let mut browser = logged_in(&one, &key("key_0"));
    let others = |browser: &mut Browser| -> Vec<(u64, u64, bool)> {
        let shown = overview(browser, &one);
        let instances = shown["instances"].as_array().expect("a list").iter();
        let told = instances.map(|instance| {
            let number = |member: &str| instance[member].as_u64();
            assert!(instance["name"].is_string() && instance["seen_at"].is_string());
            let keys = number("keys").expect("a number");
            (keys, number("generation").unwrap_or_default(), instance["own"] == true)
        });
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        told
    };
    eventually("both are seen", || {
        others(&mut browser) == [(2, 2, true), (5, 5, false)]
    });
    assert!(other.stop().success());
    eventually("the other is gone", || others(&mut browser) == [(2, 2, true)]);
}
