//! An account goes, and everything that let somebody in by it.

use serde_json::json;

use super::{Client, PASSWORD, Site, credentials, everywhere, said};
use crate::support::{
    fault_proxy::{Fault, FaultProxy},
    seaweed::Seaweed,
    service::{Service, eventually},
};

const KEYS: &str = "/api/v1/auth/keys";

/// A key of somebody who is logged in: its id and its secret.
fn make_key(service: &Service, client: &Client, token: &str) -> (String, String) {
    let answer = client.with(token, service, "POST", KEYS, Some(&json!({ "name": "mine" })));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let body = answer.json();
    let text = |member: &str| body[member].as_str().expect("a text").to_owned();
    (text("key_id"), text("key"))
}

#[test]
fn who_deletes_the_account_is_logged_in_nowhere_and_has_no_key() {
    everywhere(|site| {
        let ([one, other], client) = (site.start_two(), Client::new());
        let id = client.register(&one, "user");
        let (here, there) = (client.login(&one, "user"), client.login(&other, "user"));
        let (key_id, secret) = make_key(&one, &client, &here.access);
        assert_eq!(one.verify(&secret).0, 200);

        let deleted = client.with(
            &here.access,
            &one,
            "POST",
            "/api/delete",
            Some(&credentials(" USER", PASSWORD)),
        );
        said(&deleted, 200, r#"{"message":"User deleted successfully"}"#);

        assert_eq!(one.verify(&secret).1["code"], "revoked");
        for service in [&one, &other] {
            for token in [&here.access, &there.access] {
                said(
                    &client.profile(service, token),
                    401,
                    r#"{"detail":"Token not found or expired"}"#,
                );
                assert_eq!(client.with(token, service, "GET", KEYS, None).status, 401);
            }
            assert_eq!(client.refresh(service, &there.refresh).status, 401);
            said(
                &client.try_login(service, "user", PASSWORD),
                401,
                r#"{"message":"Invalid credentials"}"#,
            );
        }
        eventually("the other instance knows it", || {
            other.verify(&secret).1["code"] == "revoked"
        });
        assert_eq!(client.register(&one, "user"), id + 1, "an id is never given again");
        assert_eq!(
            client
                .with(&client.login(&one, "user").access, &one, "GET", KEYS, None)
                .json()["total"],
            0
        );

        let audited: Vec<_> = one
            .events("audit")
            .into_iter()
            .filter(|line| line["who"] == format!("user:{id}"))
            .collect();
        let whats: Vec<&str> = audited.iter().filter_map(|line| line["what"].as_str()).collect();
        assert_eq!(whats, ["register_account", "create", "revoke", "delete_account"]);
        assert_eq!(audited[2]["key_id"], json!(key_id));
    });
}

#[test]
fn nobody_deletes_somebody_elses_account_and_a_bad_token_is_no_help() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
        client.register(&service, "user");
        client.register(&service, "somebody else");
        let foreign = client.login(&service, "somebody else").access;
        let body = credentials("user", PASSWORD);
        let refused = client.with(&foreign, &service, "POST", "/api/delete", Some(&body));
        said(&refused, 403, r#"{"detail":"The token belongs to another user"}"#);
        let refused = client.with("a.b.c", &service, "POST", "/api/delete", Some(&body));
        said(&refused, 401, r#"{"detail":"Invalid token"}"#);
        assert_eq!(client.try_login(&service, "user", PASSWORD).status, 200);
        let deleted = client.post(&service, "/api/delete", &body);
        said(&deleted, 200, r#"{"message":"User deleted successfully"}"#);
        assert_eq!(client.post(&service, "/api/delete", &body).status, 401);
    });
}

/// The keys are in S3, which is away; then nothing may be half done that lets anybody in.
#[test]
fn while_the_keys_cannot_be_taken_away_nobody_uses_the_account_and_the_deletion_can_be_repeated() {
    let seaweed = Seaweed::get();
    let proxy = FaultProxy::start(seaweed.address());
    let site = Site::local();
    let database = format!("sqlite:{}", site.settings.home().join("accounts.db").display());
    let settings = seaweed
        .environment(proxy.address(), &seaweed.fresh_key())
        .into_iter()
        .fold(
            site.settings
                .clone()
                .with("DATABASE_URL", database)
                .with("SECRET_KEY", super::SECRET_KEY),
            |settings, (name, value)| settings.with(name, value),
        );
    let service = settings.start();
    service.create_key("an operator's");
    let client = Client::new();
    client.register(&service, "user");
    let token = client.login(&service, "user").access;
    let (_, secret) = make_key(&service, &client, &token);

    proxy.set(Fault::Status(503, "SlowDown"));
    let body = credentials("user", PASSWORD);
    super::unavailable(&client.post(&service, "/api/delete", &body));
    said(
        &client.profile(&service, &token),
        401,
        r#"{"detail":"Token not found or expired"}"#,
    );
    assert_eq!(client.with(&token, &service, "GET", KEYS, None).status, 401);
    said(
        &client.try_login(&service, "user", PASSWORD),
        401,
        r#"{"message":"Invalid credentials"}"#,
    );
    assert_eq!(client.post(&service, "/api/register", &body).status, 409);

    proxy.heal();
    said(
        &client.post(&service, "/api/delete", &body),
        200,
        r#"{"message":"User deleted successfully"}"#,
    );
    assert_eq!(service.verify(&secret).1["code"], "revoked");
    client.register(&service, "user");
}

/// No document is not a document without keys: those of the user would be good again with it.
#[test]
fn while_the_document_is_gone_an_account_is_not_deleted_without_its_keys() {
    let site = Site::local();
    let (service, client) = (site.start(), Client::new());
    client.register(&service, "user");
    let token = client.login(&service, "user").access;
    let (_, secret) = make_key(&service, &client, &token);

    let path = site.settings.document();
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).expect("the document is there");
    let body = credentials("user", PASSWORD);
    super::unavailable(&client.post(&service, "/api/delete", &body));

    std::fs::rename(&away, &path).expect("the document can be put back");
    said(
        &client.post(&service, "/api/delete", &body),
        200,
        r#"{"message":"User deleted successfully"}"#,
    );
    assert_eq!(service.verify(&secret).1["code"], "revoked");
}
