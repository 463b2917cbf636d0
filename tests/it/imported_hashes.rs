//! Keys of another system, whose secrets are known by a bcrypt hash alone.

use serde_json::{Value, json};

use crate::support::{
    documents::{record, refusal, secret_of},
    service::{Service, Settings},
};

const COST: u32 = 4;

/// The secret of imported key number so and so; each tenth shares its prefix with the one before.
fn imported_secret(number: usize) -> String {
    format!(
        "hk_live_{:03}-secret-of-{number}",
        number - usize::from(number % 10 == 1)
    )
}

fn imported_record(number: usize) -> Value {
    let secret = imported_secret(number);
    json!({
        "id": format!("imported-{number}"),
        "secret_hash": bcrypt::hash(&secret, COST).expect("the cost is allowed"),
        "key_prefix": &secret[.."hk_live_000".len()],
        "name": format!("Imported {number}"),
    })
}

fn document(generation: u64, records: &[Value]) -> String {
    json!({ "generation": generation, "keys": records }).to_string()
}

fn start(records: &[Value]) -> Service {
    let settings = Settings::file_store().with("LOG_LEVEL", "debug");
    settings.write_document(&document(1, records));
    settings.start_ready()
}

fn good(number: usize) -> (u16, Value) {
    let body = json!({"valid": true, "key_id": format!("imported-{number}"), "name": format!("Imported {number}"), "metadata": {}});
    (200, body)
}

/// How many secrets were checked by bcrypt. Everything that was answered before is in the log before the next line.
fn checks(service: &Service) -> usize {
    let marker = format!("marker-{}", service.log_lines().len());
    service
        .connect()
        .request(
            "POST",
            "/verify",
            &[("User-Agent", &marker)],
            br#"{"api_key":"no key"}"#,
        )
        .expect("an answer");
    service.wait_for_event("verification_failed", |line| line["user_agent"] == marker.as_str());
    service.events("bcrypt_checked").len()
}

#[test]
fn of_two_hundred_imported_keys_each_costs_one_bcrypt_and_is_known_then() {
    let mut records: Vec<Value> = (0..200).map(imported_record).collect();
    records.push(record("key_plain"));
    let service = start(&records);
    assert_eq!(service.health().1["keys_count"], 201);
    for number in [0, 2, 57, 199] {
        assert_eq!(service.verify(&imported_secret(number)), good(number));
    }
    assert_eq!(checks(&service), 4);
    for number in [0, 2, 57, 199] {
        assert_eq!(service.verify(&imported_secret(number)), good(number));
    }
    assert_eq!(service.verify(&secret_of("key_plain")).0, 200);
    assert_eq!(checks(&service), 4, "what is known costs nothing");
}

#[test]
fn an_unknown_secret_costs_one_bcrypt_at_most_and_only_once() {
    let service = start(
        &(0..200)
            .filter(|number| number % 10 > 1)
            .map(imported_record)
            .collect::<Vec<_>>(),
    );
    for guess in ["", "guess", "hk_live_", "hk_live_9", "sec_0001abc", &"x".repeat(1024)] {
        assert_eq!(service.verify(guess), refusal("invalid"), "{guess:?}");
    }
    assert_eq!(checks(&service), 0, "no prefix, no bcrypt");
    for _ in 0..5 {
        assert_eq!(service.verify("hk_live_057-a-guess"), refusal("invalid"));
    }
    assert_eq!(checks(&service), 1);
    let long = format!("{}{}", imported_secret(57), "x".repeat(72));
    assert_eq!(service.verify(&long), refusal("invalid"));
    assert_eq!(
        service.verify(&format!("{}\0x", imported_secret(57))),
        refusal("invalid")
    );
    assert_eq!(checks(&service), 1, "what bcrypt would cut off is not asked of it");
}

#[test]
fn keys_that_share_a_prefix_are_tried_one_for_each_presentation() {
    let service = start(&[imported_record(0), imported_record(1)]);
    let answer = service.post("/verify", json!({"api_key": imported_secret(1)}).to_string().as_bytes());
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(
        answer.json(),
        json!({"valid": false, "error": "The key is still being checked"})
    );
    assert_eq!(service.verify(&imported_secret(1)), good(1));
    assert_eq!(service.verify(&imported_secret(0)), good(0));
    assert_eq!(service.verify("hk_live_000-a-guess").0, 503);
    for _ in 0..2 {
        assert_eq!(service.verify("hk_live_000-a-guess"), refusal("invalid"));
    }
    assert_eq!(checks(&service), 5);
}

#[test]
fn a_new_document_loses_nothing_that_is_known_and_a_revoked_key_stays_revoked() {
    let records: Vec<Value> = (2..6).map(imported_record).collect();
    let service = start(&records);
    assert_eq!(service.verify(&imported_secret(2)), good(2));
    assert_eq!(service.verify(&imported_secret(3)), good(3));
    let mut revoked = records.clone();
    revoked[0]["is_active"] = json!(false);
    revoked.remove(1);
    service.settings().write_document(&document(2, &revoked));
    assert_eq!(service.refresh().0, 200);
    assert_eq!(service.verify(&imported_secret(2)), refusal("revoked"));
    assert_eq!(
        service.verify(&imported_secret(3)),
        refusal("invalid"),
        "it was deleted"
    );
    service.settings().write_document(&document(3, &records));
    assert_eq!(service.refresh().0, 200);
    for number in [2, 3] {
        assert_eq!(service.verify(&imported_secret(number)), good(number));
    }
    assert_eq!(checks(&service), 2, "both were known all the time");
}

#[test]
fn a_secret_that_was_wrong_is_tried_against_a_key_that_is_new() {
    let service = start(&[imported_record(0)]);
    assert_eq!(service.verify(&imported_secret(1)), refusal("invalid"));
    service
        .settings()
        .write_document(&document(2, &[imported_record(0), imported_record(1)]));
    assert_eq!(service.refresh().0, 200);
    // The first record was made anew with another salt, so it is another one.
    assert_eq!(service.verify(&imported_secret(1)).0, 503);
    assert_eq!(service.verify(&imported_secret(1)), good(1));
}

#[test]
fn a_hash_or_its_stand_in_is_no_secret() {
    let record = imported_record(2);
    let hash = record["secret_hash"].as_str().expect("a text").to_owned();
    let service = start(&[record]);
    for presented in [hash.clone(), hash["$2b$".len()..].to_owned(), format!("bcrypt{hash}")] {
        assert_eq!(service.verify(&presented), refusal("invalid"));
    }
    assert_eq!(checks(&service), 0);
}

#[test]
fn imported_records_that_cannot_be_told_are_denied_and_named() {
    let twin = |number: usize, id: &str| {
        let mut record = imported_record(number);
        record["id"] = json!(id);
        record
    };
    let mut records: Vec<Value> = (0..9).map(|number| twin(0, &format!("crowd-{number}"))).collect();
    let mut without_prefix = imported_record(2);
    without_prefix["key_prefix"] = json!(null);
    let mut too_costly = imported_record(3);
    too_costly["secret_hash"] = json!("$2b$31$abcdefghijklmnopqrstuuKIjJzj8WmRNMJYZmOxx4ylFJ2Zcuny6");
    let mut hash_of_none = imported_record(6);
    let hash = hash_of_none["secret_hash"].as_str().expect("a text");
    // The last digit of a hash stands for four bits, and this one for more.
    hash_of_none["secret_hash"] = json!(format!("{}B", &hash[..hash.len() - 1]));
    let same = twin(4, "same-1");
    let mut same_again = same.clone();
    same_again["id"] = json!("same-2");
    records.extend([
        without_prefix,
        too_costly,
        hash_of_none,
        same,
        same_again,
        imported_record(5),
    ]);
    let service = start(&records);
    assert_eq!(service.health().1["keys_count"], 1);
    for (id, defect) in [
        ("crowd-0", "shared_prefix"),
        ("crowd-8", "shared_prefix"),
        ("imported-2", "no_key_prefix"),
        ("imported-3", "bad_digest"),
        ("imported-6", "bad_digest"),
        ("same-1", "duplicate_secret"),
        ("same-2", "duplicate_secret"),
    ] {
        service.wait_for_event("bad_record", |line| line["key_id"] == id && line["defect"] == defect);
    }
    for number in [0, 2, 3, 4] {
        assert_eq!(service.verify(&imported_secret(number)), refusal("invalid"));
    }
    assert_eq!(service.verify(&imported_secret(5)), good(5));
    assert_eq!(checks(&service), 1);
}

#[test]
fn the_command_line_knows_imported_keys_too() {
    let settings = Settings::file_store();
    settings.write_document(&document(1, &[imported_record(0), imported_record(1)]));
    let said = |secret: &str| {
        let output = settings.run_with_input(&["verify", "--offline", "--json"], secret);
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(said(&imported_secret(1))["key_id"], "imported-1");
    assert_eq!(said("hk_live_000-a-guess"), json!({"valid": false, "code": "invalid"}));
}

#[test]
fn a_rotated_key_keeps_its_imported_secret_for_as_long_as_it_is_told_to() {
    let service = start(&[imported_record(0), imported_record(1), record("key_plain")]);
    let refresh = service.url("/refresh");
    let rotate = |id: &str, overlap: &[&str]| {
        let arguments = [&["rotate", id, "--refresh-url", &refresh, "--json"], overlap].concat();
        let said: Value = serde_json::from_slice(&service.cli(&arguments).stdout).expect("JSON");
        said["secret"].as_str().expect("a text").to_owned()
    };
    assert_eq!(service.verify(&imported_secret(0)), good(0));
    let new = rotate("imported-0", &["--overlap", "1h"]);
    assert_eq!(service.verify(&new), good(0));
    let (status, body) = service.verify(&imported_secret(0));
    assert_eq!(
        (status, &body["key_id"], &body["secret"]),
        (200, &json!("imported-0"), &json!("previous"))
    );
    assert_eq!(checks(&service), 1, "it was known before and still is");
    assert_eq!(
        service.verify(&imported_secret(1)).0,
        503,
        "the other one that shares the prefix is tried first"
    );
    assert_eq!(service.verify(&imported_secret(1)), good(1));
    rotate("imported-0", &[]);
    for gone in [&imported_secret(0), &new] {
        assert_eq!(service.verify(gone), refusal("invalid"));
    }
}

#[test]
fn every_route_knows_imported_keys() {
    let service = start(&(2..8).map(imported_record).collect::<Vec<_>>());
    let bearer = |number: usize| format!("Bearer {}", imported_secret(number));
    let ask = |method: &str, path: &str, number: usize| {
        let headers = [("Authorization", &*bearer(number))];
        service
            .connect()
            .request(method, path, &headers, b"")
            .expect("an answer")
    };
    let validated = ask("POST", "/api/v1/keys/validate", 2);
    assert_eq!(
        (validated.status, &validated.json()["key_id"]),
        (200, &json!("imported-2"))
    );
    let let_through = ask("GET", "/authz", 3);
    assert_eq!(
        (let_through.status, let_through.header("x-auth-key-id")),
        (200, Some("imported-3"))
    );
    let one = |number: usize| json!({"api_key": imported_secret(number), "explain": true});
    let body = json!([one(4), one(5), {"api_key": "hk_live_006-a-guess"}, {"api_key": 7}, one(4)]);
    let answer = service.post("/verify/batch", body.to_string().as_bytes()).json();
    let results = answer["results"].as_array().expect("a list");
    let statuses: Vec<_> = results.iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [200, 200, 403, 422, 200]);
    assert_eq!(results[1]["key_id"], "imported-5");
    assert_eq!(results[0]["checks"][0], json!({"check": "secret", "outcome": "passed"}));
    assert_eq!(
        checks(&service),
        5,
        "a secret that stands twice in a batch is checked once"
    );
}

#[test]
fn a_batch_of_more_new_keys_than_one_caller_may_have_waiting_is_answered_whole() {
    let service = start(&[imported_record(2)]);
    let mut secrets: Vec<String> = (0..99).map(|number| format!("hk_live_002-guess-{number}")).collect();
    secrets.push(imported_secret(2));
    let body: Vec<Value> = secrets.iter().map(|secret| json!({"api_key": secret})).collect();
    let answer = service.post("/verify/batch", json!(body).to_string().as_bytes()).json();
    let results = answer["results"].as_array().expect("a list");
    let (last, guesses) = results.split_last().expect("100 results");
    assert!(guesses.iter().all(|result| result["status"] == 403), "{guesses:?}");
    assert_eq!(last["status"], 200);
    assert_eq!(checks(&service), 100);
}

#[test]
fn a_key_that_cannot_be_told_yet_is_503_on_every_route() {
    let service = start(&[imported_record(0), imported_record(1)]);
    let guess = |number: usize| format!("hk_live_000-guess-{number}");
    let ask = |method: &str, path: &str, number: usize| {
        let headers = [
            ("X-API-Key", &*guess(number)),
            ("Authorization", &*format!("Bearer {}", guess(number))),
        ];
        service
            .connect()
            .request(method, path, &headers, b"")
            .expect("an answer")
    };
    for (method, path) in [("POST", "/api/v1/keys/validate"), ("GET", "/authz")] {
        let answer = ask(method, path, path.len());
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1")),
            "{path}"
        );
        if path == "/authz" {
            assert_eq!(answer.json()["code"], "busy");
        }
        assert_eq!(ask(method, path, path.len()).status, 401, "{path}");
    }
    let body = json!([{"api_key": guess(1)}, {"api_key": "no key"}]).to_string();
    for expected in [[503, 403], [403, 403]] {
        let answer = service.post("/verify/batch", body.as_bytes()).json();
        assert_eq!(
            [&answer["results"][0]["status"], &answer["results"][1]["status"]],
            expected
        );
    }
}
