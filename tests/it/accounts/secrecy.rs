//! Whoever gets hold of the stores, or of the log, can use nothing of it.

use super::{Client, PASSWORD, everywhere};
use serde_json::json;

use crate::support::{service::eventually, sqlite};

#[test]
fn a_dump_of_the_stores_and_the_log_hold_nothing_that_lets_anybody_in() {
    everywhere(|site| {
        let (mut service, client) = (site.start(), Client::new());
        client.register(&service, "user");
        let first = client.login(&service, "user");
        let second = super::Tokens::of(&client.refresh(&service, &first.refresh));
        let made = client.with(
            &second.access,
            &service,
            "POST",
            "/api/v1/auth/keys",
            Some(&json!({ "name": "mine" })),
        );
        let key = made.json()["key"].as_str().expect("a secret").to_owned();
        let new_password = "another-good-one-7";
        let body = json!({ "password": PASSWORD, "new_password": new_password });
        client.with(&second.access, &service, "POST", "/api/password", Some(&body));
        client.try_login(&service, "user", "marker-of-a-wrong-password");
        assert_eq!(service.verify(&key).0, 200);
        let select_all = |table: &str| {
            let select = format!("SELECT * FROM {table}");
            match &site.database {
                Some(database) => database.sql(&select),
                None => sqlite::sql(&site.settings.data_dir().join("heare-auth.db"), &select),
            }
        };
        for table in ["audit_log", "api_key_usage"] {
            eventually("use and changes are written", || !select_all(table).is_empty());
        }
        // Then the log is whole.
        service.signal("TERM");
        assert!(service.wait_for_exit().success());
        service.wait_for_event("shutdown", |_| true);
        let jti = |token: &str| token.split('.').nth(1).expect("three parts").to_owned();
        let secrets = [
            PASSWORD.to_owned(),
            new_password.to_owned(),
            "marker-of-a-wrong-password".to_owned(),
            jti(&first.access),
            jti(&second.access),
            first.refresh,
            second.refresh,
            key,
            super::SECRET_KEY.to_owned(),
        ];
        let mut stores = vec![
            ("log", service.log_lines().join("\n")),
            (
                "keys",
                std::fs::read_to_string(site.settings.document()).expect("the keys"),
            ),
        ];
        if let Some(redis) = &site.redis {
            stores.push(("redis", redis.dump()));
        }
        for table in [
            "users",
            "sessions",
            "session_refreshes",
            "guesses",
            "audit_log",
            "api_key_usage",
        ] {
            stores.push((table, select_all(table)));
        }
        let in_redis = site.redis.is_some();
        for (name, dump) in &stores {
            let what_is_there: &[&str] = match *name {
                "log" => &["\"login_failed\""],
                "users" => &["$argon2id$"],
                "redis" => &[
                    "heare-auth:session:id:",
                    "heare-auth:session:refresh:",
                    "heare-auth:guesses:",
                ],
                // All of them are in Redis.
                "sessions" | "session_refreshes" | "guesses" if in_redis => &[],
                _ => &[""],
            };
            assert!(what_is_there.is_empty() || !dump.is_empty(), "nothing in {name}");
            for part in what_is_there {
                assert!(dump.contains(part), "no {part} in {name}");
            }
        }
        stores.push(("stderr", service.errors()));
        for (name, dump) in &stores {
            for secret in &secrets {
                assert!(!dump.contains(secret.as_str()), "{secret} in {name}");
            }
        }
    });
}
