//! Sessions by one script: users in SQLite or PostgreSQL, sessions beside them or in Redis.

use std::{net::IpAddr, sync::Arc};

use heare_auth::{
    accounts::{
        sessions::{Device, NewSession, Rotation, Session, SessionId, Sessions, Successor},
        users::{User, UserId, Users},
    },
    core::{secret::Digest, time::Timestamp},
};

use super::{NOON, Place, join_all, patient_sessions, register};
use crate::support::redis::Redis;

const HOUR_MS: i64 = 3_600_000;

/// One pair of stores, with a user in it.
struct Pair {
    place: Place,
    redis: Option<Arc<Redis>>,
    users: Users,
    sessions: Arc<Sessions>,
    anna: UserId,
}

impl Pair {
    async fn all() -> Vec<Self> {
        let mut pairs = Vec::new();
        for has_redis in [false, true] {
            for place in Place::both() {
                let redis = has_redis.then(|| Arc::new(Redis::start()));
                let users = Users::new(place.pool());
                let anna = register(&users, "anna").await;
                let sessions = Arc::new(Self::instance(&place, redis.as_deref()));
                let redis = redis.clone();
                pairs.push(Self {
                    place,
                    redis,
                    users,
                    sessions,
                    anna,
                });
            }
        }
        pairs
    }

    /// As another instance would have it.
    fn instance(place: &Place, redis: Option<&Redis>) -> Sessions {
        match redis {
            None => Sessions::in_database(place.pool()),
            Some(redis) => patient_sessions(redis),
        }
    }

    fn other(&self) -> Sessions {
        Self::instance(&self.place, self.redis.as_deref())
    }

    async fn anna(&self) -> User {
        let anna = self.users.by_id(self.anna).await.expect("the database is there");
        anna.expect("she is registered")
    }

    async fn log_in(&self, name: &str) -> NewSession {
        let session = session(self.anna, name);
        self.sessions.create(&session).await.expect("the store is there");
        session
    }

    async fn by_jti(&self, text: &str) -> Option<Session> {
        self.sessions
            .by_jti(&Digest::of(text), NOON)
            .await
            .expect("the store is there")
    }

    async fn rotate(&self, presented: &str, successor: &str, seconds: i64) -> Rotation {
        self.rotate_at(presented, successor, later(seconds), later(seconds))
            .await
    }

    /// By a wall clock that need not agree with the latest time seen.
    async fn rotate_at(&self, presented: &str, successor: &str, wall: Timestamp, now: Timestamp) -> Rotation {
        let (presented, successor) = (Digest::of(presented), successor_of(successor, wall));
        let rotation = self.sessions.rotate(&presented, &successor, now);
        rotation.await.expect("the store is there")
    }
}

/// Its tokens are `NAME.access` and `NAME.refresh`.
fn session(user: UserId, name: &str) -> NewSession {
    NewSession {
        id: id(name),
        user,
        epoch: 0,
        jti: Digest::of(&format!("{name}.access")),
        refresh: Digest::of(&format!("{name}.refresh")),
        device: Device::new(IpAddr::from([203, 0, 113, 7]), Some("curl/8.0")),
        created_at: NOON,
        expires_at: later(3600),
    }
}

fn id(name: &str) -> SessionId {
    let digest = Digest::of(name);
    SessionId::new(*digest.as_bytes().first_chunk().expect("32 bytes begin with 16"))
}

fn successor_of(name: &str, made_at: Timestamp) -> Successor {
    Successor {
        jti: Digest::of(&format!("{name}.access")),
        refresh: Digest::of(&format!("{name}.refresh")),
        made_at,
        expires_at: later(7200),
    }
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOON.as_millis() + seconds * 1000)
}

fn is_rotated(rotation: &Rotation) -> bool {
    matches!(rotation, Rotation::Rotated(_))
}

#[tokio::test]
async fn a_session_is_found_by_what_its_holder_has() {
    for pair in Pair::all().await {
        let laptop = pair.log_in("laptop").await;
        pair.log_in("phone").await;
        let found = pair.by_jti("laptop.access").await.expect("it is in force");
        assert_eq!((&found.id, found.user), (&laptop.id, pair.anna));
        assert_eq!(
            (found.created_at, found.rotated_at, found.expires_at),
            (NOON, NOON, later(3600))
        );
        assert_eq!(
            (found.address.as_str(), found.user_agent.as_deref()),
            ("203.0.113.7", Some("curl/8.0"))
        );
        assert!(found.is_of(&pair.anna().await));
        let by_refresh = pair.sessions.by_refresh(&laptop.refresh, NOON).await;
        assert_eq!(by_refresh, Ok(Some(found.clone())));
        assert_eq!(
            pair.other().by_jti(&laptop.jti, NOON).await,
            Ok(Some(found)),
            "on every instance"
        );
        let by_id = pair.other().by_id(&laptop.id, NOON).await;
        assert_eq!(by_id.map(|found| found.map(|one| one.id)), Ok(Some(laptop.id.clone())));
        let unknown = SessionId::new([255; 16]);
        assert_eq!(pair.sessions.by_id(&unknown, NOON).await, Ok(None));
        for unknown in ["laptop", "laptop.refresh", laptop.id.as_str(), ""] {
            assert_eq!(pair.by_jti(unknown).await, None, "{unknown}");
        }
        assert_eq!(pair.sessions.by_refresh(&laptop.jti, NOON).await, Ok(None));
    }
}

#[tokio::test]
async fn a_session_is_over_when_it_expires() {
    for pair in Pair::all().await {
        let session = pair.log_in("laptop").await;
        let last = Timestamp::from_millis(session.expires_at.as_millis() - 1);
        assert!(pair.sessions.by_jti(&session.jti, last).await.unwrap().is_some());
        assert_eq!(pair.sessions.by_jti(&session.jti, session.expires_at).await, Ok(None));
        assert_eq!(pair.sessions.by_id(&session.id, session.expires_at).await, Ok(None));
        assert_eq!(
            pair.sessions.by_refresh(&session.refresh, session.expires_at).await,
            Ok(None)
        );
        assert_eq!(pair.rotate("laptop.refresh", "second", 3600).await, Rotation::Unknown);
        assert_eq!(
            pair.sessions.list(&pair.anna().await, session.expires_at).await,
            Ok(vec![])
        );
    }
}

#[tokio::test]
async fn a_refresh_puts_a_successor_in_the_place_of_a_token_and_prolongs_the_session() {
    for pair in Pair::all().await {
        let session = pair.log_in("first").await;
        let Rotation::Rotated(rotated) = pair.rotate("first.refresh", "second", 60).await else {
            panic!("it is the newest token");
        };
        assert_eq!(
            (&rotated.id, rotated.user, rotated.created_at),
            (&session.id, pair.anna, NOON)
        );
        assert_eq!((rotated.rotated_at, rotated.expires_at), (later(60), later(7200)));
        assert_eq!(pair.by_jti("second.access").await, Some(rotated.clone()));
        assert_eq!(
            pair.by_jti("first.access").await,
            Some(rotated),
            "what is under way does not break"
        );
        assert_eq!(pair.sessions.by_refresh(&session.refresh, later(60)).await, Ok(None));
        assert!(is_rotated(&pair.rotate("second.refresh", "third", 120).await));
        assert!(pair.by_jti("third.access").await.is_some());
        assert!(pair.by_jti("second.access").await.is_some());
        assert_eq!(pair.by_jti("first.access").await, None);
    }
}

#[tokio::test]
async fn a_refresh_that_is_tried_again_within_ten_seconds_gets_the_same_successor() {
    for pair in Pair::all().await {
        pair.log_in("first").await;
        assert!(is_rotated(&pair.rotate("first.refresh", "second", 60).await));
        for seconds in [60, 65, 70] {
            let again = pair.rotate("first.refresh", "second", seconds).await;
            assert!(
                matches!(&again, Rotation::Retried(session) if session.rotated_at == later(60)),
                "{again:?}"
            );
        }
        assert!(pair.by_jti("second.access").await.is_some());
        assert!(is_rotated(&pair.rotate("second.refresh", "third", 71).await));
    }
}

#[tokio::test]
async fn a_successor_that_was_reckoned_otherwise_is_not_in_force() {
    for pair in Pair::all().await {
        pair.log_in("first").await;
        assert!(is_rotated(&pair.rotate("first.refresh", "second", 60).await));
        assert_eq!(pair.rotate("first.refresh", "other", 61).await, Rotation::Unknown);
        assert_eq!(pair.by_jti("other.access").await, None);
        assert!(
            pair.by_jti("second.access").await.is_some(),
            "and nobody loses a session by it"
        );
    }
}

#[tokio::test]
async fn a_spent_token_in_use_ends_the_session() {
    for pair in Pair::all().await {
        for (name, presented, seconds) in [
            ("a", "a.refresh", 71),
            ("b", "b.refresh", 130),
            ("c", "c2.refresh", 141),
        ] {
            let session = pair.log_in(name).await;
            assert!(is_rotated(
                &pair.rotate(&format!("{name}.refresh"), &format!("{name}2"), 60).await
            ));
            if seconds > 100 {
                assert!(is_rotated(
                    &pair.rotate(&format!("{name}2.refresh"), &format!("{name}3"), 130).await
                ));
            }
            let stolen = pair.rotate(presented, &format!("{name}-stolen"), seconds).await;
            assert!(
                matches!(&stolen, Rotation::Reused(ended) if ended.id == session.id),
                "{name}: {stolen:?}"
            );
            for token in ["", "2", "3", "-stolen"] {
                assert_eq!(
                    pair.by_jti(&format!("{name}{token}.access")).await,
                    None,
                    "{name}{token}"
                );
                let refreshed = pair.rotate(&format!("{name}{token}.refresh"), "last", 142).await;
                assert_eq!(refreshed, Rotation::Unknown, "{name}{token}");
            }
        }
        assert_eq!(pair.sessions.list(&pair.anna().await, NOON).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_spent_token_good() {
    for pair in Pair::all().await {
        // The latest time seen stands still all the while: the clock is set back after the rotation, or was before it.
        for (name, rotated_at, presented_at, is_retry) in [
            ("a", 60, 60 - 7200, false),
            ("b", 60, 49, false),
            ("c", 60, 50, true),
            ("d", 60 - 7200, 71 - 7200, false),
            ("e", 60 - 7200, 70 - 7200, true),
        ] {
            let session = pair.log_in(name).await;
            let (token, successor) = (format!("{name}.refresh"), format!("{name}2"));
            let rotate = |wall| pair.rotate_at(&token, &successor, later(wall), later(60));
            let rotation = rotate(rotated_at).await;
            assert!(
                matches!(&rotation, Rotation::Rotated(session) if session.rotated_at == later(rotated_at)),
                "{name}: {rotation:?}"
            );
            match rotate(presented_at).await {
                Rotation::Retried(_) => assert!(is_retry, "{name}"),
                Rotation::Reused(ended) => assert!(!is_retry && ended.id == session.id, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_with_one_token_at_once_end_in_one_successor() {
    for pair in Pair::all().await {
        pair.log_in("first").await;
        let instances = [pair.sessions.clone(), Arc::new(pair.other())];
        let refreshing: Vec<_> = (0..20)
            .map(|number| {
                let sessions = instances[number % 2].clone();
                tokio::spawn(async move {
                    let presented = Digest::of("first.refresh");
                    let successor = successor_of("second", later(60));
                    sessions.rotate(&presented, &successor, later(60)).await
                })
            })
            .collect();
        let mut rotated = 0;
        for refreshed in refreshing {
            match refreshed.await.expect("no panic").expect("the store is there") {
                Rotation::Rotated(_) => rotated += 1,
                Rotation::Retried(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(rotated, 1);
        assert!(is_rotated(&pair.rotate("second.refresh", "third", 61).await));
    }
}

#[tokio::test]
async fn the_last_hundred_refresh_tokens_are_remembered() {
    for pair in Pair::all().await {
        pair.log_in("0").await;
        for number in 0..105_i64 {
            let rotation = pair
                .rotate(&format!("{number}.refresh"), &(number + 1).to_string(), number * 20)
                .await;
            assert!(is_rotated(&rotation), "{number}");
        }
        assert_eq!(
            pair.rotate("5.refresh", "x", 3000).await,
            Rotation::Unknown,
            "long forgotten"
        );
        assert!(pair.by_jti("105.access").await.is_some());
        assert!(matches!(pair.rotate("6.refresh", "x", 3000).await, Rotation::Reused(_)));
        assert_eq!(pair.by_jti("105.access").await, None);
    }
}

#[tokio::test]
async fn a_session_that_is_ended_is_over_on_every_instance() {
    for pair in Pair::all().await {
        let laptop = pair.log_in("laptop").await;
        let phone = pair.log_in("phone").await;
        assert_eq!(
            pair.other().end(UserId(99), &laptop.id).await,
            Ok(false),
            "it is not theirs"
        );
        assert!(pair.by_jti("laptop.access").await.is_some());
        assert_eq!(pair.other().end(pair.anna, &laptop.id).await, Ok(true));
        assert_eq!(pair.other().end(pair.anna, &laptop.id).await, Ok(false));
        assert_eq!(pair.by_jti("laptop.access").await, None);
        assert_eq!(pair.rotate("laptop.refresh", "second", 1).await, Rotation::Unknown);
        assert!(pair.sessions.by_jti(&phone.jti, NOON).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_new_password_ends_all_sessions_but_the_one_that_is_carried_over() {
    for pair in Pair::all().await {
        let laptop = pair.log_in("laptop").await;
        pair.log_in("phone").await;
        pair.log_in("tablet").await;
        let bert = register(&pair.users, "bert").await;
        pair.sessions.create(&session(bert, "bert's")).await.unwrap();

        let epoch = pair.users.set_password(pair.anna, 0, "$argon2id$second").await.unwrap();
        let epoch = epoch.expect("she is there");
        let anna = pair.anna().await;
        for token in ["laptop.access", "phone.access"] {
            let session = pair.by_jti(token).await.expect("the store has not heard of it");
            assert!(!session.is_of(&anna), "it is over already");
        }
        assert_eq!(pair.sessions.list(&anna, NOON).await, Ok(vec![]));

        assert_eq!(pair.other().end_all(pair.anna, Some((&laptop.id, epoch))).await, Ok(2));
        assert!(pair.by_jti("laptop.access").await.expect("it is kept").is_of(&anna));
        assert_eq!(pair.by_jti("phone.access").await, None);
        assert_eq!(pair.rotate("tablet.refresh", "second", 1).await, Rotation::Unknown);
        assert!(pair.by_jti("bert's.access").await.is_some(), "others keep theirs");

        assert_eq!(pair.sessions.end_all(pair.anna, None).await, Ok(1));
        assert_eq!(pair.by_jti("laptop.access").await, None);
    }
}

#[tokio::test]
async fn a_user_who_is_disabled_or_gone_has_no_session() {
    for pair in Pair::all().await {
        pair.log_in("laptop").await;
        let session = pair.by_jti("laptop.access").await.expect("it is in force");
        pair.users.disable(pair.anna, NOON).await.unwrap();
        assert!(!session.is_of(&pair.anna().await));
        pair.users.enable(pair.anna).await.unwrap();
        assert!(!session.is_of(&pair.anna().await), "what ended stays ended");
        let bert = register(&pair.users, "bert").await;
        let bert = pair.users.by_id(bert).await.unwrap().expect("he is registered");
        assert!(!session.is_of(&bert));
    }
}

#[tokio::test]
async fn a_user_sees_the_own_sessions_newest_first() {
    for pair in Pair::all().await {
        for (name, minutes) in [("old", 0), ("new", 2), ("middle", 1)] {
            let mut session = session(pair.anna, name);
            session.created_at = later(minutes * 60);
            session.device = Device::new(IpAddr::from([0; 16]), None);
            pair.sessions.create(&session).await.unwrap();
        }
        let bert = register(&pair.users, "bert").await;
        pair.sessions.create(&session(bert, "bert's")).await.unwrap();
        let listed = pair.other().list(&pair.anna().await, NOON).await.unwrap();
        let ids: Vec<_> = listed.iter().map(|session| session.id.clone()).collect();
        assert_eq!(ids, [id("new"), id("middle"), id("old")]);
        assert_eq!((listed[0].address.as_str(), &listed[0].user_agent), ("::", &None));
    }
}

#[tokio::test]
async fn a_dump_of_the_stores_holds_digests_only() {
    for pair in Pair::all().await {
        pair.log_in("laptop").await;
        assert!(is_rotated(&pair.rotate("laptop.refresh", "second", 60).await));
        let dump = match &pair.redis {
            Some(redis) => redis.dump(),
            None => [
                pair.place
                    .sql("SELECT id, jti_digest, previous_jti_digest, address FROM sessions"),
                pair.place.sql("SELECT digest, session_id FROM session_refreshes"),
            ]
            .join("\n"),
        };
        for token in ["laptop.access", "laptop.refresh", "second.access", "second.refresh"] {
            assert!(dump.contains(&Digest::of(token).to_string()), "{token}: {dump}");
            assert!(!dump.contains(token), "{token}: {dump}");
        }
    }
}

#[tokio::test]
async fn expired_sessions_leave_the_database() {
    for place in Place::both() {
        let pool = place.pool();
        let Sessions::Sql(sessions) = Sessions::in_database(pool.clone()) else {
            panic!("it is in the database");
        };
        let all = Sessions::in_database(pool);
        for number in 0..10 {
            let mut session = session(UserId(1), &number.to_string());
            session.expires_at = later(number);
            all.create(&session).await.unwrap();
        }
        assert_eq!(sessions.prune(later(6)).await, Ok(7));
        assert_eq!(sessions.prune(later(6)).await, Ok(0));
        assert_eq!(place.sql("SELECT COUNT(*) FROM sessions"), "3");
        assert_eq!(place.sql("SELECT COUNT(*) FROM session_refreshes"), "3");
    }
}

#[tokio::test]
async fn redis_keeps_nothing_longer_than_a_session_and_nothing_of_one_that_ended() {
    let redis = Redis::start();
    let sessions = patient_sessions(&redis);
    let laptop = session(UserId(1), "laptop");
    sessions.create(&laptop).await.unwrap();
    sessions
        .rotate(&laptop.refresh, &successor_of("second", later(60)), later(60))
        .await
        .unwrap();
    let keys = redis.ask("KEYS *");
    assert_eq!(keys.lines().count(), 6, "{keys}");
    for key in keys.lines() {
        let left_ms: i64 = redis.ask(&format!("PTTL {key}")).parse().expect("a number");
        assert!((1..=2 * HOUR_MS).contains(&left_ms), "{key}: {left_ms}");
    }
    assert_eq!(sessions.end(UserId(1), &laptop.id).await, Ok(true));
    assert_eq!(redis.ask("KEYS *"), "");
}

#[tokio::test]
async fn whoever_logs_in_more_than_a_thousand_times_loses_what_would_expire_first() {
    let [file, _] = Place::both();
    let in_file = Sessions::in_database(file.pool());
    let redis = Redis::start();
    let in_redis = patient_sessions(&redis);
    for sessions in [&in_file, &in_redis] {
        let creating: Vec<_> = (0..1000).map(nth).collect();
        for some in creating.chunks(50) {
            let created = join_all(some.iter().map(|session| sessions.create(session))).await;
            assert!(created.iter().all(Result::is_ok), "{created:?}");
        }
        assert!(sessions.by_jti(&nth(0).jti, NOON).await.unwrap().is_some());
        sessions.create(&nth(1000)).await.unwrap();
        assert_eq!(sessions.by_jti(&nth(0).jti, NOON).await, Ok(None));
        assert!(sessions.by_jti(&nth(1).jti, NOON).await.unwrap().is_some());
        assert_eq!(sessions.end_all(UserId(1), None).await, Ok(1000));
    }
}

fn nth(number: i64) -> NewSession {
    let mut session = session(UserId(1), &number.to_string());
    session.expires_at = later(3600 + number);
    session
}
