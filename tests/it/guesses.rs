//! Protection against guessing at passwords, by one script on SQLite, PostgreSQL and Redis.

use std::{
    net::IpAddr,
    num::NonZero,
    sync::Arc,
    time::{Duration, Instant},
};

use heare_auth::{
    accounts::{
        Unavailable,
        guard::{
            Guard, Guesses, Refusal, Settlement, Subjects,
            count::{Admission, Hold},
        },
        hasher::{Hasher, Outcome},
        login_name::LoginName,
        password::{NewPassword, Password},
    },
    config::DatabasePlace,
    core::{secret::Secret, time::Timestamp},
    database::{Database, pool::Pool},
    telemetry::metrics::Metrics,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use crate::support::{at_once::join_all, postgres, redis::Redis, sqlite};

const NOON: i64 = 1_800_000_000_000;
const HOUR_MS: i64 = 3_600_000;

/// Two seconds are promised; twenty in line that wait one after the other take thirty.
const PROMISED: Duration = Duration::from_secs(10);

/// One kind of store, there as long as this is.
enum Store {
    Sqlite(TempDir),
    Postgres(postgres::Database),
    Redis(Redis),
}

impl Store {
    fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a temporary directory"))
    }

    fn postgres() -> Self {
        Self::Postgres(postgres::Database::shared())
    }

    fn redis() -> Self {
        Self::Redis(Redis::start())
    }

    /// As one more instance would have it.
    fn guesses(&self) -> Guesses {
        let database = match self {
            Self::Redis(redis) => return Guesses::in_redis(&Secret::new(redis.url())).expect("a URL"),
            Self::Sqlite(directory) => format!("sqlite:{}", directory.path().join("heare-auth.db").display()),
            Self::Postgres(database) => database.url(),
        };
        let place = DatabasePlace::from_lookup(&|name| (name == "DATABASE_URL").then(|| database.clone()));
        let database = Database::new(&place.expect("a URL")).expect("it is not off");
        Guesses::in_database(Arc::new(Pool::new(database)))
    }

    /// Everything that it knows of guesses.
    fn dump(&self) -> String {
        let sql = "SELECT subject, failures, last_at FROM guesses ORDER BY subject";
        match self {
            Self::Sqlite(directory) => sqlite::sql(&directory.path().join("heare-auth.db"), sql),
            Self::Postgres(database) => database.sql(sql),
            Self::Redis(redis) => {
                let keys: Vec<String> = ask(redis, redis::cmd("KEYS").arg("*"));
                let of = |key: &String| -> Vec<String> { ask(redis, redis::cmd("HGETALL").arg(key)) };
                let known: Vec<String> = keys.iter().map(|key| format!("{key} {:?}", of(key))).collect();
                known.join("\n")
            }
        }
    }
}

fn ask<T: redis::FromRedisValue>(redis: &Redis, command: &redis::Cmd) -> T {
    let client = redis::Client::open(redis.url()).expect("a URL");
    command
        .query(&mut client.get_connection().expect("it runs"))
        .expect("an answer")
}

macro_rules! on_each {
    ($($name:ident),* $(,)?) => {
        mod sqlite_store { $(#[tokio::test] async fn $name() { super::$name(&super::Store::sqlite()).await; })* }
        mod postgres_store { $(#[tokio::test] async fn $name() { super::$name(&super::Store::postgres()).await; })* }
        mod redis_store { $(#[tokio::test] async fn $name() { super::$name(&super::Store::redis()).await; })* }
    };
}

on_each!(
    five_guesses_are_free_and_each_further_one_waits_longer,
    a_right_password_frees_the_account_and_not_the_address,
    one_wait_offers_one_guess,
    a_right_password_gives_back_what_the_address_was_charged,
    fifty_guesses_at_once_count_as_fifty,
    a_guess_that_comes_during_a_wait_makes_it_no_longer,
    failures_are_forgotten_when_it_has_been_quiet,
    accounts_and_networks_are_counted_apart,
    what_is_kept_names_nobody_and_goes_by_itself,
    while_fifty_wrong_guesses_count_the_right_password_is_refused,
    many_right_logins_at_once_all_come_through,
);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(NOON + ms)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn subjects(login: &str, from: &str) -> Subjects {
    Subjects::new(&LoginName::presented(login), address(from))
}

async fn admit(guesses: &Guesses, subjects: &Subjects, now: i64) -> Admission {
    let admission = guesses.admit(subjects, at(now), at(now)).await;
    admission.expect("the store is there")
}

/// One wrong guess. Returns the wait when it was refused.
async fn wrong(guesses: &Guesses, subjects: &Subjects, now: i64) -> Option<i64> {
    match admit(guesses, subjects, now).await {
        Admission::Admitted(holds) => {
            guesses
                .wrong(subjects, holds, at(now))
                .await
                .expect("the store is there");
            None
        }
        Admission::Refused { wait_ms } => Some(wait_ms),
    }
}

/// One right guess, as the guard settles it.
async fn right(guesses: &Guesses, subjects: &Subjects, now: i64) -> bool {
    let Admission::Admitted(holds) = admit(guesses, subjects, now).await else {
        return false;
    };
    let settlements = Settlement::of(holds, true);
    let settled = guesses.settle(subjects, settlements, at(now), at(now)).await;
    settled.expect("the store is there");
    true
}

async fn five_guesses_are_free_and_each_further_one_waits_longer(store: &Store) {
    // Each guess from another instance.
    let anna = subjects("anna", "192.0.2.1");
    for now in 0..5 {
        assert_eq!(wrong(&store.guesses(), &anna, now).await, None, "{now}");
    }
    let mut now = 4;
    for wait_s in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        let guesses = store.guesses();
        assert_eq!(wrong(&guesses, &anna, now + 1).await, Some(wait_s * 1000 - 1));
        now += wait_s * 1000;
        assert_eq!(wrong(&guesses, &anna, now - 1).await, Some(1));
        assert_eq!(wrong(&guesses, &anna, now).await, None);
    }
}

async fn a_right_password_frees_the_account_and_not_the_address(store: &Store) {
    let guesses = store.guesses();
    let anna = subjects("anna", "192.0.2.1");
    for now in 0..4 {
        assert_eq!(wrong(&guesses, &anna, now).await, None);
    }
    assert!(right(&guesses, &anna, 4).await);
    // From elsewhere the account has all its free guesses again.
    let elsewhere = subjects("anna", "192.0.2.2");
    for now in 5..10 {
        assert_eq!(wrong(&guesses, &elsewhere, now).await, None);
    }
    // From here one is left: an account of one's own buys no guesses at others.
    assert_eq!(wrong(&guesses, &subjects("bert", "192.0.2.1"), 10).await, None);
    assert_eq!(wrong(&guesses, &subjects("carl", "192.0.2.1"), 11).await, Some(999));
}

async fn one_wait_offers_one_guess(store: &Store) {
    let guesses = store.guesses();
    let anna = subjects("anna", "192.0.2.1");
    for now in 0..5 {
        wrong(&guesses, &anna, now).await;
    }
    let admissions = join_all((0..8).map(|_| admit(&guesses, &anna, 5000))).await;
    let admitted = |admission: &&Admission| matches!(admission, Admission::Admitted([Hold::Reserved { .. }, _]));
    assert_eq!(admissions.iter().filter(admitted).count(), 1, "{admissions:?}");
}

async fn a_right_password_gives_back_what_the_address_was_charged(store: &Store) {
    let guesses = store.guesses();
    for now in 0..5 {
        wrong(&guesses, &subjects(&format!("user{now}"), "192.0.2.1"), now).await;
    }
    let mut now = 1004;
    assert_eq!(wrong(&guesses, &subjects("bert", "192.0.2.1"), now - 1).await, Some(1));
    // However many log in from there, the wait is over for all of them, and starts with the next failure only.
    for _ in 0..20 {
        assert!(right(&guesses, &subjects("anna", "192.0.2.1"), now).await);
        now += 1;
    }
    assert_eq!(wrong(&guesses, &subjects("bert", "192.0.2.1"), now).await, None);
    assert_eq!(wrong(&guesses, &subjects("carl", "192.0.2.1"), now).await, Some(4000));
}

async fn fifty_guesses_at_once_count_as_fifty(store: &Store) {
    let guesses = store.guesses();
    let anna = subjects("anna", "192.0.2.1");
    let mut admitted = Vec::new();
    let mut refused = 0;
    for turn in 0..50 {
        // All of them came at the same time, and two have their turn at once.
        let admission = guesses.admit(&anna, at(0), at(turn)).await.expect("it is there");
        match admission {
            Admission::Admitted(holds) => admitted.push(holds),
            Admission::Refused { .. } => refused += 1,
        }
        if admitted.len() == 2 {
            for holds in admitted.drain(..) {
                guesses.wrong(&anna, holds, at(turn)).await.expect("it is there");
            }
        }
    }
    assert_eq!(refused, 44);
    let later = admit(&guesses, &anna, 1000).await;
    let Admission::Refused { wait_ms } = later else {
        panic!("{later:?}");
    };
    assert!((890_000..900_000).contains(&wait_ms), "{wait_ms}");
}

async fn a_guess_that_comes_during_a_wait_makes_it_no_longer(store: &Store) {
    let guesses = store.guesses();
    let anna = subjects("anna", "192.0.2.1");
    for now in 0..5 {
        wrong(&guesses, &anna, now).await;
    }
    for now in (5..1004).step_by(20) {
        assert_eq!(wrong(&guesses, &anna, now).await, Some(1004 - now));
    }
    assert_eq!(wrong(&guesses, &anna, 1004).await, None);
}

async fn failures_are_forgotten_when_it_has_been_quiet(store: &Store) {
    let guesses = store.guesses();
    let anna = subjects("anna", "192.0.2.1");
    for now in 0..4 {
        wrong(&guesses, &anna, now).await;
    }
    for now in HOUR_MS + 3..HOUR_MS + 8 {
        assert_eq!(
            wrong(&guesses, &anna, now).await,
            None,
            "an hour later five are free again"
        );
    }
    // After a wait it takes a day.
    let last = HOUR_MS + 7;
    assert_eq!(wrong(&guesses, &anna, last + 23 * HOUR_MS).await, None);
    assert_eq!(wrong(&guesses, &anna, last + 23 * HOUR_MS + 1).await, Some(1999));
    for now in 0..5 {
        assert_eq!(wrong(&guesses, &anna, last + 47 * HOUR_MS + now).await, None);
    }
}

async fn accounts_and_networks_are_counted_apart(store: &Store) {
    let guesses = store.guesses();
    for number in 0..5 {
        wrong(&guesses, &subjects("Anna", &format!("192.0.2.{number}")), 0).await;
        wrong(&guesses, &subjects(&format!("user{number}"), "2001:db8::1"), 0).await;
    }
    for (login, from, is_free) in [
        ("Anna", "198.51.100.1", false),
        (" ａｎｎａ ", "198.51.100.1", false),
        ("anna2", "198.51.100.1", true),
        ("bert", "2001:db8::ffff:1", false),
        ("bert", "2001:db8:0:1::1", true),
        ("bert", "192.0.2.1", true),
        ("bert", "::ffff:192.0.2.1", true),
    ] {
        let admission = admit(&guesses, &subjects(login, from), 1).await;
        assert_eq!(
            matches!(admission, Admission::Admitted(_)),
            is_free,
            "{login} from {from}"
        );
    }
}

async fn what_is_kept_names_nobody_and_goes_by_itself(store: &Store) {
    let guesses = store.guesses();
    for number in 0..20 {
        wrong(&guesses, &subjects(&format!("somebody{number}"), "192.0.2.77"), 0).await;
    }
    let dump = store.dump();
    assert!(dump.contains("sha256:"), "{dump}");
    assert!(!dump.contains("somebody") && !dump.contains("192.0.2"), "{dump}");
    if let Store::Redis(redis) = store {
        let keys: Vec<String> = ask(redis, redis::cmd("KEYS").arg("*"));
        for key in keys {
            let left: i64 = ask(redis, redis::cmd("PTTL").arg(&key));
            assert!((1..=24 * HOUR_MS).contains(&left), "{key}: {left}");
        }
        return;
    }
    assert_eq!(guesses.prune(at(HOUR_MS - 1)).await, Ok(0));
    assert_eq!(
        guesses.prune(at(HOUR_MS)).await,
        Ok(5),
        "five logins were looked at before the address had to wait"
    );
    assert_eq!(guesses.prune(at(24 * HOUR_MS - 1)).await, Ok(0));
    assert_eq!(guesses.prune(at(24 * HOUR_MS)).await, Ok(1));
    assert_eq!(store.dump(), "");
}

/// A guard with a user, as an instance has it.
struct Instance {
    guard: Arc<Guard>,
    metrics: Arc<Metrics>,
    hash: String,
}

const THREADS: usize = 2;

impl Instance {
    async fn new(store: &Store) -> Self {
        let metrics = Arc::<Metrics>::default();
        let random: fn(&mut [u8]) -> bool = |bytes| {
            rand::rng().fill(bytes);
            true
        };
        let threads = NonZero::new(THREADS).expect("it is not zero");
        let hasher = Arc::new(Hasher::start(threads, random, metrics.clone()).expect("threads"));
        let policy = heare_auth::config::PasswordPolicy {
            min_length: 8,
            composition: false,
        };
        let login = LoginName::parse("anna").expect("a login");
        let password = NewPassword::parse(policy, &login, "securepassword123").expect("a password");
        let hash = hasher.hash(&password).await.expect("a hash").as_str().to_owned();
        metrics.take();
        Self {
            guard: Arc::new(Guard::new(store.guesses(), hasher, metrics.clone())),
            metrics,
            hash,
        }
    }

    async fn check(&self, login: &str, from: &str, password: &str) -> Result<Outcome, Refusal> {
        let stored = (login != "nobody").then_some(self.hash.as_str());
        let password = Password::presented(password).expect("it is short enough");
        let login = LoginName::presented(login);
        self.guard.check(&login, address(from), stored, &password).await
    }

    fn counted(&self, name: &str) -> u64 {
        self.metrics.take().counters.get(name).copied().unwrap_or_default()
    }
}

async fn while_fifty_wrong_guesses_count_the_right_password_is_refused(store: &Store) {
    let instance = Instance::new(store).await;
    for login in ["anna", "nobody"] {
        // From many addresses, so that it is the account alone that is protected.
        let guess = |number: usize| {
            let from = format!("2001:db8:{login_part:x}:{number:x}::1", login_part = login.len());
            let instance = &instance;
            async move { instance.check(login, &from, "wrong").await }
        };
        let answers = join_all((0..50).map(guess)).await;
        let wrong = answers.iter().filter(|answer| **answer == Ok(Outcome::Wrong)).count();
        assert!((5..=5 + THREADS - 1).contains(&wrong), "{wrong} of {answers:?}");
        assert_eq!(instance.counted("accounts.hash_duration_count"), wrong as u64);
        let refused = |answer: &&Result<_, _>| matches!(answer, Err(Refusal::TooMany { .. }));
        assert_eq!(answers.iter().filter(refused).count(), 50 - wrong);
        let right = instance.check(login, "198.51.100.7", "securepassword123").await;
        let Err(Refusal::TooMany { retry_after }) = right else {
            panic!("{right:?}");
        };
        assert!(retry_after > Duration::from_mins(1), "{retry_after:?}");
        assert_eq!(instance.counted("accounts.hash_duration_count"), 0);
    }
    // Another instance knows of it.
    let other = Instance::new(store).await;
    let right = other.check("ANNA", "198.51.100.8", "securepassword123").await;
    assert!(matches!(right, Err(Refusal::TooMany { .. })), "{right:?}");
}

async fn many_right_logins_at_once_all_come_through(store: &Store) {
    let instance = Instance::new(store).await;
    let login = |number: usize| {
        let login = if number.is_multiple_of(2) { "anna" } else { "bert" };
        instance.check(login, "192.0.2.1", "securepassword123")
    };
    let answers = join_all((0..64).map(login)).await;
    assert!(
        answers.iter().all(|answer| *answer == Ok(Outcome::Right)),
        "{answers:?}"
    );
    assert_eq!(store.dump(), "", "nothing is kept of who never failed");
}

/// As the counting of use and the accounts do when the service starts for the first time.
#[tokio::test]
async fn a_new_file_can_be_opened_by_many_at_once() {
    for _ in 0..5 {
        let store = Store::sqlite();
        let instances: Vec<Guesses> = (0..4).map(|_| store.guesses()).collect();
        let anna = subjects("anna", "192.0.2.1");
        let asked = join_all(instances.iter().map(|guesses| guesses.admit(&anna, at(0), at(0)))).await;
        assert!(asked.iter().all(Result::is_ok), "{asked:?}");
    }
}

/// The same guesses at random times, right and wrong, one after the other: each store says the same to each.
#[tokio::test]
async fn all_stores_count_alike() {
    let stores = [Store::sqlite(), Store::postgres(), Store::redis()];
    let guesses = stores.each_ref().map(Store::guesses);
    let mut random = StdRng::seed_from_u64(7);
    let mut now = 0;
    for step in 0..300 {
        now += [1, 700, 2_000, 30_000, 900_000, HOUR_MS, 20 * HOUR_MS][random.random_range(0..7)];
        let arrived = now - [0, 0, 1, 800][random.random_range(0..4)];
        let subjects = subjects(
            ["anna", "bert"][random.random_range(0..2)],
            ["192.0.2.1", "192.0.2.2"][random.random_range(0..2)],
        );
        let is_right = random.random_range(0..6) == 0;
        let mut said = Vec::new();
        for guesses in &guesses {
            let admission = guesses.admit(&subjects, at(arrived), at(now)).await;
            if let Ok(Admission::Admitted(holds)) = admission {
                let settlements = Settlement::of(holds, true);
                let done = if is_right {
                    guesses
                        .settle(&subjects, settlements, at(now), at(now))
                        .await
                        .map(|()| [0; 2])
                } else {
                    guesses.wrong(&subjects, holds, at(now)).await
                };
                said.push((admission, Some(done)));
            } else {
                said.push((admission, None));
            }
        }
        assert!(said.iter().all(|one| *one == said[0]), "step {step}: {said:?}");
        assert!(said[0].0.is_ok(), "step {step}: {said:?}");
    }
}

/// Nothing is answered, neither that a password is right nor that it is wrong, and nobody in line waits longer than the first.
async fn everybody_is_refused_in_time(instance: &Instance) {
    instance.metrics.take();
    let began = Instant::now();
    let answers = join_all((0..20).map(|number| {
        let password = ["securepassword123", "wrong"][number % 2];
        instance.check("anna", "192.0.2.1", password)
    }))
    .await;
    for answer in &answers {
        assert!(matches!(answer, Err(Refusal::Unavailable(_))), "{answers:?}");
    }
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
    assert_eq!(
        instance.counted("accounts.hash_duration_count"),
        0,
        "and nothing is hashed"
    );
}

async fn it_goes_on(instance: &Instance) {
    for _ in 0..20 {
        if instance.check("anna", "192.0.2.1", "securepassword123").await == Ok(Outcome::Right) {
            return;
        }
    }
    panic!("it does not recover");
}

#[tokio::test]
async fn without_redis_no_password_is_looked_at_until_it_is_back() {
    let store = Store::redis();
    let instance = Instance::new(&store).await;
    let Store::Redis(mut redis) = store else {
        unreachable!("it was made so")
    };
    it_goes_on(&instance).await;
    redis.pause();
    everybody_is_refused_in_time(&instance).await;
    redis.resume();
    it_goes_on(&instance).await;
    redis.refuse_writes();
    let answer = instance.check("anna", "192.0.2.1", "wrong").await;
    assert!(
        matches!(answer, Err(Refusal::Unavailable(Unavailable::Redis(_)))),
        "{answer:?}"
    );
    redis.allow_writes();
    redis.kill();
    everybody_is_refused_in_time(&instance).await;
    redis.start_again();
    it_goes_on(&instance).await;
}

#[tokio::test]
async fn without_the_database_no_password_is_looked_at_until_it_is_back() {
    let database = postgres::Database::alone();
    let server = database.server.clone();
    let instance = Instance::new(&Store::Postgres(database)).await;
    it_goes_on(&instance).await;
    server.stop();
    everybody_is_refused_in_time(&instance).await;
    server.start_again();
    it_goes_on(&instance).await;
}
