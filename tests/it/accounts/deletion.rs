//! An account goes, and everything that let somebody in by it.

use std::{collections::BTreeSet, path::PathBuf, thread};

use serde_json::{Value, json};

use super::{Client, PASSWORD, SECRET_KEY, Site, credentials, everywhere, said};
use crate::support::{
    fault_proxy::{Fault, FaultProxy},
    http_client::Response,
    service::{Service, Settings, eventually},
    sqlite,
    stored_object::StoredObject,
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

/// Somebody with a key, on a service whose keys are in S3 behind a proxy.
struct BehindProxy {
    proxy: FaultProxy,
    service: Service,
    client: Client,
    token: String,
    key_id: String,
    secret: String,
}

impl BehindProxy {
    fn start() -> Self {
        let object = StoredObject::new();
        let proxy = object.proxy();
        let settings = object.settings_through(&proxy);
        let database = database_in(&settings);
        let settings = settings
            .with("DATABASE_URL", format!("sqlite:{}", database.display()))
            .with("SECRET_KEY", SECRET_KEY);
        let service = settings.start();
        service.create_key("an operator's");
        let client = Client::new();
        client.register(&service, "user");
        let token = client.login(&service, "user").access;
        let (key_id, secret) = make_key(&service, &client, &token);
        Self {
            proxy,
            service,
            client,
            token,
            key_id,
            secret,
        }
    }

    fn settings(&self) -> &Settings {
        self.service.settings()
    }

    fn database(&self) -> PathBuf {
        database_in(self.settings())
    }

    fn disable(&self) {
        let output = self.settings().run(&["users", "disable", "user"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn database_in(settings: &Settings) -> PathBuf {
    settings.home().join("accounts.db")
}

/// The keys are in S3, which is away; then nothing may be half done that lets anybody in.
#[test]
fn while_the_keys_cannot_be_taken_away_nobody_uses_the_account_and_the_deletion_can_be_repeated() {
    let BehindProxy {
        proxy,
        service,
        client,
        token,
        secret,
        ..
    } = BehindProxy::start();
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

#[test]
fn a_deletion_that_was_begun_with_a_token_can_be_repeated_with_it() {
    let BehindProxy {
        proxy,
        service,
        client,
        token,
        secret,
        ..
    } = BehindProxy::start();
    client.register(&service, "somebody else");
    let logged_out = client.login(&service, "user").access;
    let foreign = client.login(&service, "somebody else").access;
    for token in [&logged_out, &foreign] {
        let over = client.with(token, &service, "POST", "/api/logout", None);
        assert_eq!(over.status, 200, "{}", over.text());
    }
    let delete = |token: &str, login: &str, password: &str| {
        let body = credentials(login, password);
        client.with(token, &service, "POST", "/api/delete", Some(&body))
    };
    let gone = r#"{"detail":"Token not found or expired"}"#;
    said(&delete(&logged_out, "user", PASSWORD), 401, gone);

    proxy.set(Fault::Status(503, "SlowDown"));
    super::unavailable(&delete(&token, "user", PASSWORD));
    super::unavailable(&delete(&token, "user", PASSWORD));

    proxy.heal();
    said(&delete(&foreign, "user", PASSWORD), 401, gone);
    said(&delete(&token, "somebody else", PASSWORD), 401, gone);
    said(
        &delete(&token, "user", "not the password"),
        401,
        r#"{"message":"Invalid credentials"}"#,
    );
    let taken = client.post(&service, "/api/register", &credentials("user", PASSWORD));
    assert_eq!(
        (taken.status, service.verify(&secret).0),
        (409, 200),
        "nothing is gone yet"
    );
    let deleted = delete(&token, "user", PASSWORD);
    said(&deleted, 200, r#"{"message":"User deleted successfully"}"#);
    assert_eq!(service.verify(&secret).1["code"], "revoked");
    said(&delete(&token, "user", PASSWORD), 401, gone);
    client.login(&service, "somebody else");
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

/// The keys stay as they are, and what is written onto this would never come into force.
#[test]
fn onto_a_document_that_is_refused_no_deletion_is_written() {
    let site = Site::local();
    let (service, client) = (site.start(), Client::new());
    client.register(&service, "user");
    let token = client.login(&service, "user").access;
    let stored = || std::fs::read_to_string(site.settings.document()).expect("a document");
    make_key(&service, &client, &token);
    let older = stored();
    let (_, secret) = make_key(&service, &client, &token);

    let in_force = stored();
    site.settings.write_document(&older);
    let body = credentials("user", PASSWORD);
    super::unavailable(&client.post(&service, "/api/delete", &body));
    assert_eq!((stored(), service.verify(&secret).0), (older, 200));

    site.settings.write_document(&in_force);
    said(
        &client.post(&service, "/api/delete", &body),
        200,
        r#"{"message":"User deleted successfully"}"#,
    );
    assert_eq!(service.verify(&secret).1["code"], "revoked");
}

/// Somebody with a key, and the answer to the call that brings up one while something happened to the account.
struct Overtaken {
    somebody: BehindProxy,
    answer: Response,
}

impl Overtaken {
    fn by(happens: impl FnOnce(&BehindProxy)) -> Self {
        let body = json!({ "name": "another" });
        Self::on_the_way(BehindProxy::start(), KEYS, Some(&body), happens)
    }

    /// The call has been let in, and its write is held up before the store until this has happened.
    fn on_the_way(somebody: BehindProxy, path: &str, body: Option<&Value>, happens: impl FnOnce(&BehindProxy)) -> Self {
        let BehindProxy { proxy, service, .. } = &somebody;
        let puts = proxy.count("PUT");
        proxy.fail("PUT", 1, Fault::Hold);
        let answer = thread::scope(|scope| {
            let call = || (somebody.client).with(&somebody.token, service, "POST", path, body);
            let calling = scope.spawn(call);
            eventually("the key is on its way to the store", || proxy.count("PUT") > puts);
            happens(&somebody);
            proxy.heal();
            calling.join().expect("the call is answered")
        });
        Self { somebody, answer }
    }

    /// Nobody is told the secret of a key of an account that is gone.
    fn refused(&self) {
        assert_eq!(self.answer.status, 401, "{}", self.answer.text());
        assert_eq!(self.answer.json()["code"], "invalid_token");
    }

    /// Each of the user's keys with whether it is revoked, as the store has them.
    fn keys(&self) -> Vec<(String, bool)> {
        let output = self.somebody.settings().run(&["list", "--json"]);
        let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let keys = listed["keys"].as_array().expect("a list").iter();
        let owned = keys.filter(|key| key["user_id"] == "1");
        let told = owned.map(|key| {
            let id = key["id"].as_str().expect("an id").to_owned();
            (id, key["status"] == "revoked")
        });
        told.collect()
    }

    /// Which keys the service has put down as revoked by the user, once the call is over.
    fn put_down_as_revoked(&self) -> BTreeSet<String> {
        let service = &self.somebody.service;
        service.wait_for_event("management", |line| line["status"] == self.answer.status);
        let revoked = service.events("audit").into_iter();
        let revoked = revoked.filter(|line| line["what"] == "revoke" && line["who"] == "user:1");
        let told = revoked.map(|line| {
            assert_eq!(line["result"], "ok");
            assert!(line["from"].is_string() && line["request_id"].is_string(), "{line}");
            line["key_id"].as_str().expect("an id").to_owned()
        });
        told.collect()
    }
}

#[test]
fn a_key_that_is_made_while_its_maker_is_disabled_stays_and_so_do_the_others() {
    let overtaken = Overtaken::by(BehindProxy::disable);
    assert_eq!(overtaken.answer.status, 201, "{}", overtaken.answer.text());
    let made = overtaken.answer.json();
    assert_eq!(
        overtaken
            .somebody
            .service
            .verify(made["key"].as_str().expect("a secret"))
            .0,
        200
    );
    assert_eq!(overtaken.somebody.service.verify(&overtaken.somebody.secret).0, 200);
    assert!(overtaken.put_down_as_revoked().is_empty());
}

#[test]
fn a_key_that_is_rotated_or_reactivated_while_its_owner_is_disabled_stays_and_so_do_the_others() {
    for change in ["rotate", "reactivate"] {
        let somebody = BehindProxy::start();
        make_key(&somebody.service, &somebody.client, &somebody.token);
        if change == "reactivate" {
            let output = somebody.service.cli(&["revoke", &somebody.key_id]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let path = format!("{KEYS}/{}/{change}", somebody.key_id);
        let overtaken = Overtaken::on_the_way(somebody, &path, None, BehindProxy::disable);
        let BehindProxy { service, secret, .. } = &overtaken.somebody;
        assert_eq!(overtaken.answer.status, 200, "{}", overtaken.answer.text());
        let answer = overtaken.answer.json();
        assert_eq!(
            service.verify(answer["key"].as_str().unwrap_or(secret)).0,
            200,
            "{change}"
        );
        let keys = overtaken.keys();
        assert!(
            keys.len() == 2 && keys.iter().all(|(_, revoked)| !revoked),
            "{change}: {keys:?}"
        );
        assert!(overtaken.put_down_as_revoked().is_empty(), "{change}");
    }
}

#[test]
fn a_key_that_is_made_while_its_maker_begins_to_leave_is_taken_away_with_the_others_and_put_down() {
    let overtaken = Overtaken::by(|somebody| {
        sqlite::sql(
            &somebody.database(),
            "UPDATE users SET leaving_at = 1, epoch = epoch + 1",
        );
    });
    overtaken.refused();
    let keys = overtaken.keys();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|(_, revoked)| *revoked), "{keys:?}");
    let ids: BTreeSet<String> = keys.into_iter().map(|(id, _)| id).collect();
    assert_eq!(overtaken.put_down_as_revoked(), ids);
}

#[test]
fn a_key_that_is_made_while_its_maker_is_deleted_is_taken_away_and_put_down() {
    let overtaken = Overtaken::by(|somebody| {
        let output = somebody
            .settings()
            .run(&["users", "delete", "user", "--yes", "--no-refresh"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    overtaken.refused();
    let mut keys = overtaken.keys();
    assert!(keys.iter().all(|(_, revoked)| *revoked), "{keys:?}");
    // The other one was taken away and put down by the command.
    keys.retain(|(id, _)| *id != overtaken.somebody.key_id);
    let ids: BTreeSet<String> = keys.into_iter().map(|(id, _)| id).collect();
    assert_eq!((ids.len(), overtaken.put_down_as_revoked()), (1, ids));
}
