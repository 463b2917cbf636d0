//! The database or Redis stopped, paused, and back: nobody is let in meanwhile, nobody waits for long, a verify does not
//! notice, and all of it comes back by itself.

use std::time::{Duration, Instant};

use super::{Client, PASSWORD, Site, Tokens, credentials, unavailable};
use serde_json::json;

use crate::support::{
    http_client::Response,
    postgres::Database,
    service::{Service, eventually},
    sqlite,
};

/// Two seconds is the promise; whoever waits for what hangs takes the time that the network gives it.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A verify that waited for a store would take that one's budget, which is a second and a half.
const UNDISTURBED: Duration = Duration::from_secs(1);

struct Running {
    service: Service,
    client: Client,
    tokens: Tokens,
    secret: String,
}

impl Running {
    fn on(site: &Site) -> Self {
        let service = site.start();
        let secret = service.create_key("reports");
        let client = Client::new();
        client.register(&service, "user");
        let tokens = client.login(&service, "user");
        Self {
            service,
            client,
            tokens,
            secret,
        }
    }

    /// Every call that needs a store says so in time, and a verify answers as ever.
    fn is_out(&self) {
        let Self {
            service,
            client,
            tokens,
            secret,
        } = self;
        let login = credentials("user", PASSWORD);
        let change = json!({ "password": PASSWORD, "new_password": "another-good-one-7" });
        let ask = json!({ "token": tokens.access });
        let session = format!("/api/sessions/ses_{:032x}", 1);
        let calls: [(&str, &str, Option<&serde_json::Value>); 8] = [
            ("POST", "/api/login", Some(&login)),
            ("GET", "/api/profile", None),
            ("POST", "/api/logout", None),
            ("POST", "/api/password", Some(&change)),
            ("GET", "/api/sessions", None),
            ("DELETE", &session, None),
            ("POST", "/api/delete", Some(&login)),
            ("POST", "/oauth/introspect", Some(&ask)),
        ];
        for (method, path, body) in calls {
            let began = Instant::now();
            let answer = client.with(&tokens.access, service, method, path, body);
            unavailable(&answer);
            assert!(began.elapsed() < AT_ONCE, "{path}: {:?}", began.elapsed());
            let began = Instant::now();
            assert_eq!(service.verify(secret).0, 200);
            assert!(began.elapsed() < UNDISTURBED, "{:?}", began.elapsed());
        }
        let keys = client.with(&tokens.access, service, "GET", "/api/v1/auth/keys", None);
        assert_eq!((keys.status, keys.header("retry-after")), (503, Some("1")));
        unavailable(&client.refresh(service, &tokens.refresh));
        assert_eq!(service.ready().0, 200);
        service.wait_for_event("account_call_failed", |line| line["level"] == 50);
    }

    /// A call that needs the database and not Redis.
    fn register(&self, login: &str) -> Response {
        self.client
            .post(&self.service, "/api/register", &credentials(login, PASSWORD))
    }

    /// What was known before is known again.
    fn is_back(&self) {
        eventually("the token is good again", || {
            let status = self.client.profile(&self.service, &self.tokens.access).status;
            assert!([200, 503].contains(&status), "{status}");
            status == 200
        });
        self.client.login(&self.service, "user");
    }
}

#[test]
fn postgres_paused_stopped_and_started_again() {
    let site = Site::on(Database::alone());
    let server = &site.database.as_ref().expect("a database").server;
    let running = Running::on(&site);
    server.pause();
    running.is_out();
    unavailable(&running.register("another"));
    server.resume();
    running.is_back();
    server.stop();
    running.is_out();
    unavailable(&running.register("another"));
    server.start_again();
    running.is_back();
    assert_eq!(
        running.register("another").status,
        201,
        "nobody was registered meanwhile"
    );
}

#[test]
fn redis_paused_stopped_and_started_again() {
    let mut site = Site::local().with_redis("SQLite and Redis");
    let mut running = Running::on(&site);
    let redis = site.redis.as_mut().expect("Redis");
    redis.pause();
    running.is_out();
    assert_eq!(running.register("another").status, 201);
    redis.resume();
    running.is_back();
    redis.kill();
    running.is_out();
    assert_eq!(running.register("somebody else").status, 201);
    redis.start_again();
    // It has forgotten everybody; who logs in again is known again.
    eventually("somebody can log in", || {
        let answer = running.client.try_login(&running.service, "user", PASSWORD);
        let is_in = answer.status == 200;
        if is_in {
            running.tokens = Tokens::of(&answer);
        }
        is_in
    });
    running.is_back();
}

/// Redis has the sessions and would go on with them; the database has their users.
#[test]
fn a_refresh_whose_user_cannot_be_read_spends_nothing() {
    let site = Site::on(Database::alone()).with_redis("PostgreSQL and Redis");
    let (service, client) = (site.start(), Client::new());
    client.register(&service, "user");
    let tokens = client.login(&service, "user");
    let server = &site.database.as_ref().expect("a database").server;
    let redis = site.redis.as_ref().expect("Redis");
    let known = || redis.ask("KEYS heare-auth:session:refresh:*");
    let newest = known();
    server.stop();
    unavailable(&client.refresh(&service, &tokens.refresh));
    assert_eq!(
        known(),
        newest,
        "no successor was made, so the token is the newest still"
    );
    server.start_again();
    eventually("the session goes on", || {
        let answer = client.refresh(&service, &tokens.refresh);
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        answer.status == 200
    });
    assert_eq!(known().lines().count(), 2, "the token and its successor");
}

#[test]
fn a_file_that_somebody_else_holds() {
    let site = Site::local();
    let running = Running::on(&site);
    let lock = sqlite::Lock::on(&site.settings.data_dir().join("heare-auth.db"));
    let began = Instant::now();
    let login = running.client.try_login(&running.service, "user", PASSWORD);
    unavailable(&login);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(running.service.verify(&running.secret).0, 200);
    drop(lock);
    running.is_back();
}

#[test]
fn a_database_that_was_never_there_keeps_nobody_from_starting() {
    let refusing = crate::support::ports::RefusingPort::bind();
    let url = format!("postgres://u:marker-of-a-password@{}/d", refusing.address());
    let settings = Site::local()
        .settings
        .with("DATABASE_URL", url)
        .with("SECRET_KEY", super::SECRET_KEY);
    let service = settings.start();
    let secret = service.create_key("reports");
    let client = Client::new();
    unavailable(&client.post(&service, "/api/register", &credentials("user", PASSWORD)));
    unavailable(&client.try_login(&service, "user", PASSWORD));
    assert_eq!((service.verify(&secret).0, service.ready().0), (200, 200));
    assert!(!service.log_lines().concat().contains("marker"));
}
