//! Whoever gets hold of the stores, or of the log, can use nothing of it.

use super::{Client, PASSWORD, everywhere};
use serde_json::json;

use crate::support::sqlite;

#[test]
fn a_dump_of_the_stores_and_the_log_hold_nothing_that_lets_anybody_in() {
    everywhere(|site| {
        let (service, client) = (site.start(), Client::new());
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
        let mut stores = vec![("log", service.log_lines().join("\n")), ("stderr", service.errors())];
        stores.push((
            "keys",
            std::fs::read_to_string(site.settings.document()).expect("the keys"),
        ));
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
            let select = format!("SELECT * FROM {table}");
            stores.push((
                table,
                match &site.database {
                    Some(database) => database.sql(&select),
                    None => sqlite::sql(&site.settings.data_dir().join("heare-auth.db"), &select),
                },
            ));
        }
        assert!(
            stores
                .iter()
                .any(|(name, dump)| *name == "users" && dump.contains("$argon2id$"))
        );
        let sessions: usize = stores
            .iter()
            .filter(|(name, _)| ["redis", "sessions"].contains(name))
            .map(|(_, dump)| dump.len())
            .sum();
        assert!(sessions > 0, "there is a session somewhere");
        for (name, dump) in &stores {
            for secret in &secrets {
                assert!(!dump.contains(secret.as_str()), "{secret} in {name}");
            }
        }
    });
}
