//! Every row that is promised of keys, by one script over real HTTP: on SQLite and on PostgreSQL, with Redis and without.
//! `documentation/promised.md` says which of these shows what.

mod authz;
mod commands;
mod limits;
mod management;
mod usage;
mod verify;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::support::{
    documents::{record, record_with, secret_of},
    http_client::Response,
    postgres::Database,
    redis::Redis,
    service::{Service, Settings},
};

const KEYS: &str = "/api/v1/auth/keys";

/// One promise, by the name of the function that shows it.
type Row = (&'static str, fn(&Site));

macro_rules! rows {
    ($($name:ident),* $(,)?) => { pub const ROWS: &[super::Row] = &[$((stringify!($name), $name)),*]; };
}
pub(crate) use rows;

/// A service with a key of each kind, over one choice of database and of limiter.
struct Site {
    service: Service,
    settings: Settings,
    /// For a secret that only a bcrypt hash is known of.
    imported_secret: String,
    /// Both are stopped when this is dropped.
    redis: Option<Redis>,
    _database: Option<Database>,
}

impl Site {
    fn start(database: Option<Database>, redis: Option<Redis>) -> Self {
        let mut settings = Settings::file_store()
            .with("TRUSTED_PROXIES", "127.0.0.1")
            .with("CORS_ORIGINS", "https://app.example.com");
        if let Some(database) = &database {
            settings = settings.with("DATABASE_URL", database.url());
        }
        if let Some(redis) = &redis {
            settings = settings.with("REDIS_URL", redis.url());
        }
        let imported_secret = "hk_live_abc-from-another-system".to_owned();
        let document = json!({ "generation": 1, "keys": records(&imported_secret) });
        settings.write_document(&document.to_string());
        let service = settings.start_ready();
        Self {
            service,
            settings,
            imported_secret,
            redis,
            _database: database,
        }
    }

    /// A further instance on the same store, database and Redis, with one setting more.
    fn beside(&self, name: &str, value: &str) -> Service {
        self.settings.clone().with(name, value).start_ready()
    }

    /// A verify of the key with this id.
    fn verify(&self, id: &str, more: Value) -> Response {
        self.verify_secret(&secret_of(id), more)
    }

    fn verify_secret(&self, secret: &str, mut body: Value) -> Response {
        body["api_key"] = secret.into();
        self.service.post("/verify", body.to_string().as_bytes())
    }

    /// A management call with the key of this id.
    fn call(&self, who: &str, method: &str, path: &str, body: Option<Value>) -> Response {
        self.call_with(who, method, path, &[], body)
    }

    fn call_with(&self, who: &str, method: &str, path: &str, more: &[(&str, &str)], body: Option<Value>) -> Response {
        let credential = secret_of(who);
        let headers = [&[("X-API-Key", credential.as_str())], more].concat();
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, path, &headers, body.as_bytes())
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let answer = self.service.connect().request(method, path, headers, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A new key of ann's.
    #[track_caller]
    fn made(&self, body: Value) -> Value {
        let answer = self.call("key_ann", "POST", KEYS, Some(body));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// What a command prints as JSON.
    #[track_caller]
    fn command(&self, arguments: &[&str]) -> Value {
        let output = self.service.cli(&[arguments, &["--json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// The secret of each is `secret_of` its id, but for the imported one.
fn records(imported_secret: &str) -> Vec<Value> {
    let with = |id: &str, members: Value| {
        let mut record = record(id);
        for (member, value) in members.as_object().expect("members") {
            record[member] = value.clone();
        }
        record
    };
    let mut imported = record("key_imported");
    imported["secret"] = Value::Null;
    imported["secret_hash"] = bcrypt::hash(imported_secret, 4).expect("the cost is allowed").into();
    imported["key_prefix"] = "hk_live_abc".into();
    vec![
        with("key_admin", json!({"scopes": ["admin"]})),
        with(
            "key_ann",
            json!({"user_id": "ann", "scopes": ["keys:manage", "orders:*"], "rate_limit_per_hour": 100_000}),
        ),
        with("key_bob", json!({"user_id": "bob", "scopes": ["keys:manage"]})),
        record("key_plain"),
        record_with("key_expired", "expires_at", "2020-01-01T00:00:00Z"),
        with(
            "key_revoked",
            json!({"revoked_at": "2024-01-01T00:00:00Z", "revoke_reason": "lost"}),
        ),
        record_with("key_bound", "allowed_ips", json!(["192.0.2.0/24", "2001:db8::/32"])),
        record_with("key_here", "allowed_ips", json!(["127.0.0.0/8"])),
        record_with("key_orders", "scopes", json!(["orders:*"])),
        with("key_two", json!({"rate_limit_per_hour": 1, "burst": 1})),
        record_with(
            "key_windows",
            "limits",
            json!([{"name": "day", "limit": 3, "window_seconds": 86400}]),
        ),
        with(
            "key_whole",
            json!({"user_id": "ann", "environment": "test", "scopes": ["a:b", "c"], "name": "Sm\u{f6}r"}),
        ),
        imported,
    ]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn path_of(key: &Value) -> String {
    format!("{KEYS}/{}", text(&key["key_id"]))
}

/// All rows, one after another; those that do not hold are named together.
fn every_row_holds(site: &Site) {
    let all = [
        verify::ROWS,
        limits::ROWS,
        authz::ROWS,
        management::ROWS,
        usage::ROWS,
        commands::ROWS,
    ];
    let fails = |row: &&Row| catch_unwind(AssertUnwindSafe(|| row.1(site))).is_err();
    let failed: Vec<&str> = all.into_iter().flatten().filter(fails).map(|row| row.0).collect();
    assert!(failed.is_empty(), "do not hold: {failed:#?}");
}

#[test]
fn every_row_holds_on_sqlite() {
    every_row_holds(&Site::start(None, None));
}

#[test]
fn every_row_holds_on_sqlite_with_redis() {
    every_row_holds(&Site::start(None, Some(Redis::start())));
}

#[test]
fn every_row_holds_on_postgres() {
    every_row_holds(&Site::start(Some(Database::shared()), None));
}

#[test]
fn every_row_holds_on_postgres_with_redis() {
    every_row_holds(&Site::start(Some(Database::shared()), Some(Redis::start())));
}
