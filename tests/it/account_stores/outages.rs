//! Stores that stop, hang, come back or are replaced: nobody waits for long, nobody is let in, and all goes on by itself.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use heare_auth::{
    accounts::{
        Unavailable,
        sessions::{Device, NewSession, SessionId, Sessions},
        users::{UserId, Users},
    },
    core::{
        secret::{Digest, Secret},
        time::Timestamp,
    },
    database::{Database, DatabaseError, pool::Pool},
    redis_link::{Link, Trouble},
};

use super::{NOON, PATIENCE, Place, join_all, patient, patient_sessions, postgres_at, register};
use crate::support::{far_end::FarEnd, ports::RefusingPort, postgres, redis::Redis, sqlite};

/// Two seconds are promised; whoever waits for what hangs takes the time that the network gives it.
const PROMISED: Duration = Duration::from_secs(5);

async fn in_promised_time<T>(asking: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let answer = asking.await;
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
    answer
}

/// What a store that was away may still take: the connections of before are found dead one after the other.
async fn again<T>(mut ask: impl AsyncFnMut() -> Result<T, Unavailable>) -> T {
    for _ in 0..20 {
        if let Ok(answer) = ask().await {
            return answer;
        }
    }
    panic!("it does not recover");
}

fn session() -> NewSession {
    NewSession {
        id: SessionId::new([7; 16]),
        user: UserId(1),
        epoch: 0,
        jti: Digest::of("access"),
        refresh: Digest::of("refresh"),
        device: Device::new(IpAddr::from([127, 0, 0, 1]), None),
        created_at: NOON,
        expires_at: Timestamp::from_millis(NOON.as_millis() + 3_600_000),
    }
}

#[tokio::test]
async fn postgres_that_restarts_is_not_noticed_afterwards() {
    let database = postgres::Database::alone();
    let users = Users::new(patient(postgres_at(&database.url())));
    register(&users, "anna").await;
    // Several connections lie idle.
    join_all((0..8).map(|_| users.by_login("anna"))).await;
    database.server.stop();
    let asked = in_promised_time(join_all((0..20).map(|_| users.by_login("anna")))).await;
    for answer in asked {
        assert!(matches!(answer, Err(Unavailable::Database(_))), "{answer:?}");
    }
    database.server.start_again();
    assert!(
        users.by_login("anna").await.unwrap().is_some(),
        "the first call after it is answered"
    );
    database.server.stop();
    database.server.start_again();
    assert!(
        users.by_login("anna").await.unwrap().is_some(),
        "a short restart is not noticed at all"
    );
}

#[tokio::test]
async fn postgres_that_hangs_costs_a_bounded_wait_and_then_goes_on() {
    let database = postgres::Database::alone();
    let users = Users::new(Arc::new(Pool::new(postgres_at(&database.url()))));
    register(&Users::new(patient(postgres_at(&database.url()))), "anna").await;
    assert!(again(|| users.by_login("anna")).await.is_some());
    join_all((0..8).map(|_| users.by_login("anna"))).await;
    database.server.pause();
    for _ in 0..2 {
        let asked = in_promised_time(join_all((0..20).map(|_| users.by_login("anna")))).await;
        for answer in asked {
            assert_eq!(answer, Err(Unavailable::Database(DatabaseError::Timeout)));
        }
    }
    database.server.resume();
    assert!(again(|| users.by_login("anna")).await.is_some());
    let asked = join_all((0..20).map(|_| again(|| users.by_login("anna")))).await;
    assert!(asked.iter().all(Option::is_some));
}

#[tokio::test]
async fn postgres_that_is_not_there_yet_is_waited_for_by_nobody() {
    let port = RefusingPort::bind();
    let url = format!("postgres://anna:pa@127.0.0.1:{}/auth", port.address().port());
    let users = Users::new(Arc::new(Pool::new(postgres_at(&url))));
    let answer = in_promised_time(users.by_login("anna")).await;
    assert_eq!(answer, Err(Unavailable::Database(DatabaseError::Unreachable)));
    // It takes the connection and says nothing.
    let _listener = port.listen();
    let answer = in_promised_time(users.by_login("anna")).await;
    assert_eq!(answer, Err(Unavailable::Database(DatabaseError::Timeout)));
}

#[tokio::test]
async fn a_file_that_somebody_holds_costs_a_bounded_wait_and_then_goes_on() {
    let [place, _] = Place::both();
    let anna = register(&Users::new(place.pool()), "anna").await;
    let users = Users::new(Arc::new(Pool::new(place.database())));
    assert!(again(|| users.by_login("anna")).await.is_some());
    let lock = sqlite::Lock::on(&place.file());
    let answer = in_promised_time(users.note_login(anna, NOON)).await;
    assert!(matches!(answer, Err(Unavailable::Database(_))), "{answer:?}");
    drop(lock);
    assert!(again(|| users.note_login(anna, NOON)).await);
}

#[tokio::test]
async fn a_file_that_was_replaced_is_opened_anew() {
    let [place, _] = Place::both();
    let users = Users::new(place.pool());
    register(&users, "anna").await;
    for name in ["heare-auth.db", "heare-auth.db-wal", "heare-auth.db-shm"] {
        // Beside the file itself there may be none.
        let _ = std::fs::remove_file(place.file().with_file_name(name));
    }
    assert_eq!(users.by_login("anna").await, Ok(None), "the new one is empty");
    register(&users, "berta").await;
    assert_eq!(place.sql("SELECT login FROM users"), "berta");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_no_panic() {
    let path = "/proc/no/heare-auth.db".into();
    let users = Users::new(Arc::new(Pool::new(Database::Sqlite { path })));
    let answer = in_promised_time(users.by_login("anna")).await;
    assert_eq!(answer, Err(Unavailable::Database(DatabaseError::ReadOnly)));
}

#[tokio::test]
async fn redis_that_restarts_empty_has_nobody_logged_in() {
    let mut redis = Redis::start();
    let sessions = patient_sessions(&redis);
    sessions.create(&session()).await.unwrap();
    assert!(sessions.by_jti(&session().jti, NOON).await.unwrap().is_some());
    redis.kill();
    for _ in 0..2 {
        let answer = in_promised_time(sessions.by_jti(&session().jti, NOON)).await;
        assert_eq!(answer, Err(Unavailable::Redis(Trouble::Unreachable)));
    }
    redis.start_again();
    assert_eq!(sessions.by_jti(&session().jti, NOON).await, Ok(None));
    sessions.create(&session()).await.unwrap();
    redis.kill();
    redis.start_again();
    assert_eq!(
        sessions.by_jti(&session().jti, NOON).await,
        Ok(None),
        "a short restart is not noticed at all"
    );
}

#[tokio::test]
async fn redis_that_hangs_costs_a_bounded_wait_and_then_goes_on() {
    let redis = Redis::start();
    let sessions = Sessions::in_redis(&Secret::new(redis.url())).unwrap();
    again(async || sessions.create(&session()).await).await;
    redis.pause();
    for _ in 0..2 {
        let jti = session().jti;
        let asked = in_promised_time(join_all((0..20).map(|_| sessions.by_jti(&jti, NOON)))).await;
        for answer in asked {
            assert_eq!(answer, Err(Unavailable::Redis(Trouble::Slow)));
        }
    }
    redis.resume();
    let found = again(async || sessions.by_jti(&session().jti, NOON).await).await;
    assert!(found.is_some());
}

#[tokio::test]
async fn redis_that_may_not_be_written_to_creates_no_session() {
    let redis = Redis::start();
    let sessions = patient_sessions(&redis);
    redis.refuse_writes();
    let created = in_promised_time(sessions.create(&session())).await;
    assert_eq!(created, Err(Unavailable::Redis(Trouble::Refuses)));
    redis.allow_writes();
    assert_eq!(sessions.create(&session()).await, Ok(()));
}

#[tokio::test]
async fn a_redis_that_became_a_replica_is_left_for_the_one_that_has_its_address_now() {
    let [old, new] = [Redis::start(), Redis::start()];
    let address = FarEnd::of(old.address);
    let url = Secret::new(format!("redis://{}/0", address.address()));
    let sessions = Sessions::over(Link::within(PATIENCE, &url).expect("a URL of Redis"));
    assert_eq!(sessions.by_jti(&session().jti, NOON).await, Ok(None));
    address.lead_to(new.address);
    old.follow(&new);
    let refused = sessions.create(&session()).await;
    assert_eq!(
        refused,
        Err(Unavailable::Redis(Trouble::Refuses)),
        "the old one answers still"
    );
    assert_eq!(sessions.create(&session()).await, Ok(()));
    assert!(new.dump().contains(session().id.as_str()), "where it is written now");
}
