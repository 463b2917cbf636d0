//! Users on SQLite and on PostgreSQL, and their tables.

use heare_auth::{
    accounts::{
        Unavailable,
        users::{NewUser, UserId, Users},
    },
    core::time::Timestamp,
    database::{Access, DatabaseError, schema},
};

use super::{NOON, Place, join_all, new, patient, postgres_at, register};
use crate::support::postgres;

#[tokio::test]
async fn a_user_is_registered_and_found_by_login_and_by_id() {
    for place in Place::both() {
        let users = Users::new(place.pool());
        let id = users
            .register(NewUser {
                login: "Änne",
                login_key: "änne",
                ..new("")
            })
            .await;
        assert_eq!(id, Ok(Some(UserId(1))));
        let user = users.by_login("änne").await.unwrap().expect("she is registered");
        assert_eq!(
            (user.id, user.login.as_str(), user.password_hash.as_str()),
            (UserId(1), "Änne", "$argon2id$first")
        );
        assert_eq!((user.created_at, user.last_login, user.disabled_at), (NOON, None, None));
        assert_eq!(users.by_id(UserId(1)).await.unwrap(), Some(user));
        assert_eq!(users.by_login("Änne").await.unwrap(), None);
        assert_eq!(users.by_id(UserId(2)).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_that_register_one_login_at_once_one_gets_it() {
    for place in Place::both() {
        let instances = [Users::new(place.pool()), Users::new(place.pool())];
        assert_eq!(instances[0].by_login("anna").await, Ok(None));
        let registering: Vec<_> = (0..20)
            .map(|number| {
                let users = instances[number % 2].clone();
                tokio::spawn(async move { users.register(new("anna")).await })
            })
            .collect();
        let mut ids = Vec::new();
        for registered in registering {
            ids.extend(registered.await.expect("no panic").expect("the database is there"));
        }
        assert_eq!(ids, [UserId(1)]);
        assert_eq!(
            register(&instances[1], "berta").await,
            UserId(2),
            "the refused ones used up no id"
        );
    }
}

#[tokio::test]
async fn an_id_is_never_given_twice() {
    for place in Place::both() {
        let users = Users::new(place.pool());
        assert_eq!(register(&users, "anna").await, UserId(1));
        assert_eq!(register(&users, "berta").await, UserId(2));
        assert_eq!(users.delete(UserId(2)).await, Ok(true));
        assert_eq!(users.delete(UserId(2)).await, Ok(false));
        assert_eq!(users.by_login("berta").await, Ok(None));
        assert_eq!(register(&users, "berta").await, UserId(3));
        // Another instance, after a restart.
        assert_eq!(register(&Users::new(place.pool()), "cleo").await, UserId(4));
    }
}

#[tokio::test]
async fn a_new_password_and_being_disabled_begin_another_epoch() {
    for place in Place::both() {
        let users = Users::new(place.pool());
        let id = register(&users, "anna").await;
        let epoch = async || users.by_id(id).await.unwrap().expect("she is there").epoch;
        assert_eq!(epoch().await, 0);
        assert_eq!(users.set_password(id, 0, "$argon2id$second").await, Ok(Some(1)));
        assert_eq!(epoch().await, 1);
        assert_eq!(users.disable(id, NOON).await, Ok(true));
        assert_eq!(users.disable(id, NOON).await, Ok(false));
        assert_eq!(epoch().await, 2);
        assert_eq!(users.by_id(id).await.unwrap().unwrap().disabled_at, Some(NOON));
        assert_eq!(users.enable(id).await, Ok(true));
        assert_eq!(users.enable(id).await, Ok(false));
        assert_eq!(users.by_id(id).await.unwrap().unwrap().disabled_at, None);
        assert_eq!(epoch().await, 2, "what ended stays ended");
        assert_eq!(users.set_password(UserId(99), 0, "$argon2id$").await, Ok(None));
    }
}

#[tokio::test]
async fn a_password_that_was_proven_before_the_last_change_changes_nothing() {
    for place in Place::both() {
        let users = Users::new(place.pool());
        let id = register(&users, "anna").await;
        let hash = async || users.by_id(id).await.unwrap().expect("she is there").password_hash;
        assert_eq!(users.set_password(id, 0, "$argon2id$hers").await, Ok(Some(1)));
        assert_eq!(users.set_password(id, 0, "$argon2id$theirs").await, Ok(None));
        assert_eq!(users.begin_own_deletion(id, 0, NOON).await, Ok(false));
        assert_eq!(hash().await, "$argon2id$hers");
        assert_eq!(users.by_id(id).await.unwrap().unwrap().leaving_at, None);

        users.disable(id, NOON).await.unwrap();
        assert_eq!(users.set_password(id, 2, "$argon2id$third").await, Ok(None), "disabled");
        users.enable(id).await.unwrap();
        assert_eq!(users.begin_own_deletion(id, 2, NOON).await, Ok(true));
        assert_eq!(users.begin_own_deletion(id, 2, NOON).await, Ok(true), "begun already");
        assert_eq!(users.set_password(id, 4, "$argon2id$third").await, Ok(None), "leaving");
        assert_eq!(hash().await, "$argon2id$hers");
    }
}

#[tokio::test]
async fn a_hash_is_renewed_only_while_the_password_is_the_same() {
    for place in Place::both() {
        let users = Users::new(place.pool());
        let id = register(&users, "anna").await;
        assert_eq!(users.rehash(id, "$argon2id$first", "$argon2id$better").await, Ok(true));
        assert_eq!(users.rehash(id, "$argon2id$first", "$argon2id$late").await, Ok(false));
        let user = users.by_id(id).await.unwrap().expect("she is there");
        assert_eq!((user.password_hash.as_str(), user.epoch), ("$argon2id$better", 0));
    }
}

#[tokio::test]
async fn the_last_login_is_the_latest_that_anybody_noted() {
    for place in Place::both() {
        let users = Users::new(place.pool());
        let id = register(&users, "anna").await;
        let earlier = Timestamp::from_millis(NOON.as_millis() - 1);
        for (at, is_news) in [(earlier, true), (NOON, true), (earlier, false)] {
            assert_eq!(users.note_login(id, at).await, Ok(is_news));
        }
        assert_eq!(users.by_id(id).await.unwrap().unwrap().last_login, Some(NOON));
    }
}

#[tokio::test]
async fn many_are_imported_at_once_but_for_the_logins_that_are_taken() {
    for place in Place::both() {
        let users = Users::new(place.pool());
        register(&users, "berta").await;
        let ids = users.import(&["anna", "berta", "cleo", "anna"].map(new)).await.unwrap();
        assert_eq!(ids, [Some(UserId(2)), None, Some(UserId(3)), None]);
        let logins = async |after, limit| {
            let page = users.list(UserId(after), limit).await.unwrap();
            page.into_iter().map(|user| user.login).collect::<Vec<_>>()
        };
        assert_eq!(logins(0, 2).await, ["berta", "anna"]);
        assert_eq!(logins(2, 10).await, ["cleo"]);
        assert_eq!(users.import(&[]).await, Ok(vec![]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_start_at_once_make_the_tables_once() {
    for place in Place::both() {
        let starting: Vec<_> = (0..6)
            .map(|_| {
                let database = place.database();
                tokio::spawn(async move { database.open(Access::Create).await.map(drop) })
            })
            .collect();
        for started in starting {
            assert_eq!(started.await.expect("no panic"), Ok(()));
        }
        assert_eq!(
            place.sql("SELECT version FROM schema_migrations ORDER BY version"),
            "1\n2\n3"
        );
    }
}

#[tokio::test]
async fn tables_of_the_version_before_get_those_of_accounts_and_give_them_back() {
    for place in Place::both() {
        let mut connection = place.database().open(Access::Create).await.unwrap();
        schema::down(&mut connection, 1).await.unwrap();
        assert_eq!(schema::version(&mut connection).await, Ok(1));
        assert_eq!(
            place.sql("SELECT COUNT(*) FROM api_key_usage"),
            "0",
            "use is still there"
        );
        let users = Users::new(place.pool());
        assert_eq!(register(&users, "anna").await, UserId(1));
        schema::down(&mut connection, 0).await.unwrap();
        // Those who are connected find the tables gone; whoever connects makes them anew.
        assert!(users.by_login("anna").await.is_err());
        assert_eq!(users.by_login("anna").await, Ok(None));
    }
}

#[tokio::test]
async fn a_database_with_users_of_another_program_is_named_so_and_left_as_it_is() {
    let database = postgres::Database::shared();
    database.sql("CREATE TABLE users (name TEXT); INSERT INTO users VALUES ('theirs')");
    let users = Users::new(patient(postgres_at(&database.url())));
    let answer = users.by_login("anna").await;
    assert_eq!(answer, Err(Unavailable::Database(DatabaseError::Foreign)));
    assert_eq!(database.sql("SELECT name FROM users"), "theirs");
}

#[tokio::test]
async fn more_calls_than_connections_wait_for_one_another() {
    for place in Place::both() {
        let users = Users::new(place.pool());
        register(&users, "first").await;
        let names: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
        let registering = names.iter().map(|name| users.register(new(name)));
        let mut ids: Vec<_> = join_all(registering).await.into_iter().map(Result::unwrap).collect();
        ids.sort();
        assert_eq!(ids, (2..=21).map(|id| Some(UserId(id))).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let database = postgres::Database::shared();
    let pool = patient(postgres_at(&database.url()));
    let backend = async || {
        let sql = "SELECT pg_backend_pid()::BIGINT";
        pool.run(async |connection| connection.fetch(sql, &[]).await).await
    };
    assert_eq!(backend().await, backend().await);
}
