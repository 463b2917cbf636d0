//! Accounts over HTTP: one script for each promise, run on SQLite and PostgreSQL, with sessions there and in Redis.

mod deletion;
mod guesses;
mod keys;
mod outage;
mod rows;
mod secrecy;
mod sessions;
mod turned_off;

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    http_client::{Connection, Response},
    postgres::Database,
    redis::Redis,
    service::{Service, Settings},
};

const PASSWORD: &str = "securepassword123";
const SECRET_KEY: &str = "a secret for tests, which is longer than thirty-two bytes";

/// Stores, and settings that name them. Several services can be started on one.
struct Site {
    name: &'static str,
    settings: Settings,
    database: Option<Database>,
    redis: Option<Redis>,
}

impl Site {
    /// Nothing but a data directory: what somebody has who starts the service for the first time.
    fn local() -> Self {
        Self {
            name: "SQLite",
            settings: Settings::file_store(),
            database: None,
            redis: None,
        }
    }

    fn with_redis(mut self, name: &'static str) -> Self {
        let redis = Redis::start();
        self.name = name;
        self.settings = self.settings.with("REDIS_URL", redis.url());
        self.redis = Some(redis);
        self
    }

    fn postgres() -> Self {
        Self::on(Database::shared())
    }

    fn on(database: Database) -> Self {
        let settings = Settings::file_store().with("DATABASE_URL", database.url());
        Self {
            name: "PostgreSQL",
            settings: settings.with("SECRET_KEY", SECRET_KEY),
            database: Some(database),
            redis: None,
        }
    }

    /// By the names that the settings had in the system before this one.
    fn as_before() -> Self {
        let (database, redis) = (Database::shared(), Redis::start());
        let (user_and_host, name) = database.url().rsplit_once('/').map(owned).expect("a URL");
        let (user, address) = user_and_host.rsplit_once('@').map(owned).expect("a user");
        let (host, port) = address.split_once(':').map(owned).expect("a port");
        let user = user.rsplit('/').next().expect("a user").to_owned();
        let settings = Settings::file_store()
            .with("DB_HOST", host)
            .with("DB_PORT", port)
            .with("DB_USER", user)
            .with("DB_PASSWORD", "anything, as this server trusts everybody")
            .with("DB_TABLE", name)
            .with("REDIS_HOST", redis.address.ip().to_string())
            .with("REDIS_PORT", redis.address.port().to_string())
            .with("REDIS_DB", "0")
            .with("SECRET_KEY", SECRET_KEY);
        Self {
            name: "PostgreSQL and Redis",
            settings,
            database: Some(database),
            redis: Some(redis),
        }
    }

    fn start(&self) -> Service {
        self.settings.start_ready()
    }

    /// Two instances on the same stores.
    fn start_two(&self) -> [Service; 2] {
        [self.start(), self.start()]
    }
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

/// The same script over every pair of stores, at the same time.
fn everywhere(script: impl Fn(&Site) + Sync) {
    let sites: [fn() -> Site; 4] = [
        Site::local,
        || Site::local().with_redis("SQLite and Redis"),
        Site::postgres,
        Site::as_before,
    ];
    thread::scope(|scope| {
        let script = &script;
        let running = sites.map(|site| {
            scope.spawn(move || {
                let site = site();
                eprintln!("on {}", site.name);
                script(&site);
            })
        });
        for one in running {
            one.join().expect("the script holds everywhere");
        }
    });
}

/// Somebody at an address of their own, as guesses are counted by address.
struct Client {
    address: Ipv4Addr,
}

impl Client {
    fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(2);
        Self {
            address: Ipv4Addr::new(127, 0, 7, NEXT.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn send(&self, service: &Service, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut connection = Connection::open_from(self.address, service.address());
        connection
            .request(method, path, headers, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    fn post(&self, service: &Service, path: &str, body: &Value) -> Response {
        let json = [("Content-Type", "application/json")];
        self.send(service, "POST", path, &json, body.to_string().as_bytes())
    }

    /// With a token.
    fn with(&self, token: &str, service: &Service, method: &str, path: &str, body: Option<&Value>) -> Response {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(service, method, path, &headers, body.as_bytes())
    }

    fn register(&self, service: &Service, login: &str) -> i64 {
        let answer = self.post(service, "/api/register", &credentials(login, PASSWORD));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_i64().expect("a number")
    }

    fn try_login(&self, service: &Service, login: &str, password: &str) -> Response {
        self.post(service, "/api/login", &credentials(login, password))
    }

    fn login(&self, service: &Service, login: &str) -> Tokens {
        self.login_by(service, login, PASSWORD)
    }

    fn login_by(&self, service: &Service, login: &str, password: &str) -> Tokens {
        let answer = self.try_login(service, login, password);
        assert_eq!(answer.status, 200, "{}", answer.text());
        Tokens::of(&answer)
    }

    fn profile(&self, service: &Service, token: &str) -> Response {
        self.with(token, service, "GET", "/api/profile", None)
    }

    fn refresh(&self, service: &Service, refresh_token: &str) -> Response {
        self.post(service, "/api/refresh", &json!({ "refresh_token": refresh_token }))
    }
}

/// What a login gives.
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(answer: &Response) -> Self {
        let body = answer.json();
        let text = |member: &str| body[member].as_str().expect("a text").to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }
}

fn credentials(login: &str, password: &str) -> Value {
    json!({ "login": login, "password": password })
}

/// Status and body, byte for byte.
#[track_caller]
fn said(answer: &Response, status: u16, body: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (status, body));
}

/// A store is away: come back in a moment.
#[track_caller]
fn unavailable(answer: &Response) {
    said(
        answer,
        503,
        r#"{"error":"Service temporarily unavailable","detail":"Service temporarily unavailable"}"#,
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
}
