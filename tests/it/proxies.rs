//! Real reverse proxies in front of a real backend, run from the very files in documentation/examples. Traefik is not to
//! be had as a package, so its file is read here and the requests are sent that it sends.

use crate::support::{
    backend::Backend,
    documents::{document, record, record_with, secret_of},
    example::{Example, Proxy},
    http_client::{Connection, Response},
    ports::RefusingPort,
    redis::Redis,
    service::{Service, Settings},
};
use serde_json::{Value, json};
use std::{net::Ipv4Addr, path::Path};

/// No proxy has this address, so what it claims must count for nothing.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Ways to spell `/orders/1`, or a way out of `/public/`, as one backend or another reads them.
const SPELLINGS: [&str; 29] = [
    "/public/../orders/1",
    "/public/%2e%2e/orders/1",
    "/public/.%2E/orders/1",
    "/public/..%2forders/1",
    "/public/..%2Forders/1",
    "/public%2f..%2forders/1",
    "/public/./../orders/1",
    "/public/x/../../orders/1",
    "/public/../orders/1?page=2",
    r"/public/..\orders/1",
    "/public/..%5corders/1",
    r"/public\..\orders/1",
    "/public/#/../../orders/1",
    "//orders/1",
    "///orders/1",
    "/orders//1",
    "/%6frders/1",
    "/%6Frders/1",
    "/orders%2f1",
    "/orders%2F1",
    "/%2forders/1",
    "/./orders/1",
    "/%2e/orders/1",
    "/x/../orders/1",
    "/x/..//orders/1",
    "/x%00/../orders/1",
    r"/\orders/1",
    "/orders/1%zz",
    "/orders/1%",
];

/// A service, a backend, and a proxy between the client and both.
struct Site {
    proxy: Proxy,
    service: Service,
    backend: Backend,
}

impl Site {
    fn start(example: Example) -> Self {
        let settings = Settings::file_store();
        settings.write_document(&document(1, &["key_1"]));
        let site = Self::with(example, &settings);
        site.service.wait_until_ready();
        site
    }

    fn with(example: Example, settings: &Settings) -> Self {
        let service = settings.clone().with("TRUSTED_PROXIES", "127.0.0.1").start();
        let backend = Backend::echo();
        let proxy = example.start(service.address(), backend.address);
        Self {
            proxy,
            service,
            backend,
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        ask(&self.proxy, method, path, headers, body)
    }

    /// With a good key and these headers besides.
    fn ask_well(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let secret = secret_of("key_1");
        let mut all = vec![("X-API-Key", secret.as_str())];
        all.extend_from_slice(headers);
        self.ask("GET", path, &all, b"")
    }
}

fn ask(proxy: &Proxy, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    Connection::open_from(CLIENT, proxy.address)
        .request(method, path, headers, body)
        .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
}

/// Of the headers that reached the backend, those whose name says something about the key.
fn told(answer: &Response) -> Value {
    let all = answer.json()["headers"].clone();
    let all = all.as_object().expect("the backend tells its headers");
    let is_ours = |name: &str| name.replace('_', "-").starts_with("x-auth");
    let ours = all.iter().filter(|(name, _)| is_ours(name));
    ours.filter(|(_, values)| **values != json!([""]))
        .map(|(name, values)| (name.clone(), values.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn a_good_key_is_let_through_and_the_backend_is_told_whose_it_is() {
    for example in Example::ALL {
        let site = Site::start(example);
        let secret = secret_of("key_1");
        let bearer = format!("Bearer {secret}");
        for credential in [("Authorization", bearer.as_str()), ("X-API-Key", &secret)] {
            let answer = site.ask("GET", "/reports/1?page=2", &[credential], b"");
            assert_eq!(answer.status, 200, "{example:?}");
            let expected = json!({"x-auth-key-id": ["key_1"], "x-auth-key-name": ["Name of key_1"]});
            assert_eq!(told(&answer), expected, "{example:?}");
            assert_eq!(answer.json()["target"], "/reports/1?page=2");
            assert!(
                !answer.text().contains(&secret),
                "{example:?}: the backend saw the secret"
            );
        }
    }
}

#[test]
fn what_a_client_says_about_its_key_never_reaches_the_backend() {
    let forged = [
        ("X-Auth-Key-Id", "key_admin"),
        ("x-auth-key-name", "Admin"),
        ("X-AUTH-USER-ID", "root"),
        ("X-Auth-Scopes", "*"),
        ("X-Auth-Environment", "production"),
        ("X-Auth-Scopes", "admin"),
        ("X_Auth_User_Id", "root"),
        ("X_AUTH_SCOPES", "*"),
    ];
    for example in Example::ALL {
        let site = Site::start(example);
        let own = json!({"x-auth-key-id": ["key_1"], "x-auth-key-name": ["Name of key_1"]});
        let answer = site.ask_well("/", &forged);
        assert_eq!((answer.status, told(&answer)), (200, own), "{example:?}");

        let open = site.ask("GET", "/public/", &forged, b"");
        assert_eq!((open.status, told(&open)), (200, json!({})), "{example:?}");

        // Nor does naming them as headers of this one connection take the proxy's own away.
        let listed = ("Connection", "close, X-Auth-Key-Id, X-Auth-Scopes");
        let answer = site.ask_well("/", &[listed, ("X-Auth-Scopes", "*")]);
        assert_eq!(told(&answer)["x-auth-key-id"], json!(["key_1"]), "{example:?}");
        assert_eq!(told(&answer)["x-auth-scopes"], Value::Null, "{example:?}");
    }
}

#[test]
fn a_forged_address_is_not_believed() {
    for example in Example::ALL {
        let site = Site::start(example);
        for (number, forged) in [
            "127.0.0.1",
            "10.0.0.1, 127.0.0.1",
            "127.0.0.1, 127.0.0.1",
            "unknown",
            "",
        ]
        .into_iter()
        .enumerate()
        {
            let agent = format!("forger {number}");
            let headers = [
                ("X-Forwarded-For", forged),
                ("X-Forwarded-For", forged),
                ("Forwarded", "for=127.0.0.1"),
                ("X-Real-IP", "127.0.0.1"),
                ("User-Agent", agent.as_str()),
            ];
            let status = site.ask_well("/", &headers).status;
            assert_eq!(status, 200, "{example:?}: {forged}");
            let line = site
                .service
                .wait_for_event("verification_success", |line| line["user_agent"] == agent.as_str());
            assert_eq!(line["client_ip"], CLIENT.to_string(), "{example:?}: {forged}");
        }
    }
}

#[test]
fn a_forged_address_does_not_open_a_key_that_is_bound_to_another() {
    let settings = Settings::file_store();
    let records = [
        record_with("key_1", "allowed_ips", json!(["10.0.0.0/8", "127.0.0.1"])),
        record_with("key_2", "allowed_ips", json!([CLIENT.to_string()])),
    ];
    settings.write_document(&json!({ "keys": records }).to_string());
    for example in Example::ALL {
        let site = Site::with(example, &settings);
        site.service.wait_until_ready();
        for forged in ["10.0.0.1", "10.0.0.1, 127.0.0.1", "127.0.0.1", ""] {
            let claims = [
                ("X-Forwarded-For", forged),
                ("X-Real-IP", "10.0.0.1"),
                ("Forwarded", "for=10.0.0.1"),
            ];
            assert_eq!(site.ask_well("/", &claims).status, 403, "{example:?}: {forged}");
            let own = ("X-API-Key", secret_of("key_2"));
            let answer = site.ask("GET", "/", &[claims[0], (own.0, &own.1)], b"");
            assert_eq!(answer.status, 200, "{example:?}: {forged}");
        }
    }
}

/// Whoever may name the header as one of its own connection could have the proxy take it away again.
#[test]
fn a_client_cannot_have_its_address_taken_away() {
    for example in Example::ALL {
        let site = Site::start(example);
        let headers = [("Connection", "close, X-Forwarded-For"), ("User-Agent", "hidden")];
        let status = site.ask_well("/", &headers).status;
        if example == Example::Envoy {
            assert_eq!(status, 400, "Envoy refuses such a request");
            assert!(site.backend.requests().is_empty());
        } else {
            assert_eq!(status, 200, "{example:?}");
            let is_its = |line: &Value| line["user_agent"] == "hidden";
            let line = site.service.wait_for_event("verification_success", is_its);
            assert_eq!(line["client_ip"], CLIENT.to_string(), "{example:?}");
        }
    }
}

#[test]
fn whoever_has_no_good_key_gets_401_and_the_backend_hears_nothing() {
    for example in Example::ALL {
        let site = Site::start(example);
        for headers in [
            &[][..],
            &[("Authorization", "Basic c2VjOg==")],
            &[("Authorization", "Bearer sec_guess")],
            &[("X-API-Key", "sec_guess"), ("X-Auth-Key-Id", "key_1")],
            &[
                ("X-API-Key", &secret_of("key_1")),
                ("Authorization", "Bearer sec_other"),
            ],
            &[("X-API-Key", &secret_of("key_1")), ("X-API-Key", "sec_other")],
        ] {
            let answer = site.ask("GET", "/", headers, b"");
            assert_eq!(answer.status, 401, "{example:?} {headers:?}");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer realm="), "{example:?}: {challenge}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{example:?}");
            assert!(answer.json()["detail"].is_string() || answer.json()["detail"].is_object());
        }
        assert!(site.backend.requests().is_empty(), "{example:?}");
    }
}

#[test]
fn a_key_needs_the_scope_that_the_configuration_asks_for() {
    for example in Example::ALL {
        let site = Site::start(example);
        for path in ["/orders/1", "/orders/1?require=&cost=0&profile=x"] {
            assert_eq!(site.ask_well(path, &[]).status, 403, "{example:?} {path}");
        }
        let settings = Settings::file_store();
        let mut fit = record_with("key_1", "scopes", json!(["orders:*"]));
        fit["user_id"] = "user_7".into();
        settings.write_document(&json!({ "keys": [fit] }).to_string());
        let other = Site::with(example, &settings);
        other.service.wait_until_ready();
        let answer = other.ask_well("/orders/1", &[("X-Auth-User-Id", "root"), ("X-Auth-Scopes", "*")]);
        let expected = json!({
            "x-auth-key-id": ["key_1"],
            "x-auth-key-name": ["Name of key_1"],
            "x-auth-user-id": ["user_7"],
            "x-auth-scopes": ["orders:*"],
        });
        assert_eq!((answer.status, told(&answer)), (200, expected), "{example:?}");
        // The client's own query asks for nothing.
        assert_eq!(site.ask_well("/?require=a&cost=x", &[]).status, 200, "{example:?}");
        assert_eq!(site.backend.requests().len(), 1, "{example:?}");
    }
}

#[test]
fn another_spelling_of_a_path_needs_the_same_key_and_the_same_scope() {
    for example in Example::ALL {
        let site = Site::start(example);
        let open = site.ask("GET", "/public/1", &[], b"");
        assert_eq!(open.status, 200, "{example:?}");
        let expected = site.backend.requests().len();
        for path in SPELLINGS {
            for (whose, answer) in [
                ("nobody's", site.ask("GET", path, &[], b"")),
                ("without the scope", site.ask_well(path, &[])),
            ] {
                let reached = site.backend.requests().split_off(expected);
                assert!(
                    (400..500).contains(&answer.status) && reached.is_empty(),
                    "{example:?} {path} {whose}: {} {reached:?}",
                    answer.status
                );
            }
        }
        // What is above the open part is not open.
        for path in [
            "/public/..",
            "/public/%2e%2e",
            "/public/../",
            "/public/x/../..",
            "/public/..?x",
        ] {
            let status = site.ask("GET", path, &[], b"").status;
            assert!((400..500).contains(&status), "{example:?} {path}: {status}");
        }
        assert_eq!(site.backend.requests().len(), expected, "{example:?}");
        // Whoever counts the empty segment is still below the open part here, and has to tell the backend so.
        let answer = site.ask("GET", "/public//../orders/1", &[], b"");
        let stayed = answer.status == 200 && answer.json()["target"] == "/public/orders/1";
        assert!(
            stayed || (400..500).contains(&answer.status),
            "{example:?}: {}",
            answer.text()
        );
        // Dots, escapes and slashes that lead nowhere else are no reason to refuse.
        for path in [
            "a..b",
            "...",
            ".well-known/x",
            "a%20b",
            "100%25",
            "caf%C3%A9",
            "?x=/../y%2Fz",
        ] {
            let path = format!("/public/{path}");
            assert_eq!(site.ask("GET", &path, &[], b"").status, 200, "{example:?} {path}");
        }
        for path in ["/.well-known/x", "/x//y", "/orders;x"] {
            assert_eq!(site.ask_well(path, &[]).status, 200, "{example:?} {path}");
        }
    }
}

#[test]
fn while_nothing_is_loaded_everybody_gets_503_and_a_time_to_come_back() {
    for example in Example::ALL {
        let settings = Settings::file_store();
        settings.write_document("no document");
        let site = Site::with(example, &settings);
        let answer = site.ask_well("/", &[]);
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1")),
            "{example:?}"
        );
        assert!(site.backend.requests().is_empty(), "{example:?}");
    }
}

#[test]
fn a_service_that_is_gone_lets_nobody_through() {
    for example in Example::ALL {
        let gone = RefusingPort::bind();
        let backend = Backend::echo();
        let proxy = example.start(gone.address(), backend.address);
        let answer = ask(&proxy, "GET", "/", &[("X-API-Key", "sec_1")], b"");
        assert_eq!(answer.status, 503, "{example:?}");
        assert!(backend.requests().is_empty(), "{example:?}");
    }
}

/// HAProxy goes on after a script that failed, so the line behind it has to stop that.
#[test]
fn a_script_that_fails_lets_nobody_through() {
    let settings = Settings::file_store();
    settings.write_document(&document(1, &["key_1"]));
    let service = settings.start_ready();
    let backend = Backend::echo();
    let proxy = Example::Haproxy.start_changed(service.address(), backend.address, |text| {
        text.replace("core.httpclient()", "core.no_such_function()")
    });
    let answer = ask(&proxy, "GET", "/", &[("X-API-Key", &secret_of("key_1"))], b"");
    assert_eq!(answer.status, 503);
    assert!(backend.requests().is_empty());
    assert_eq!(ask(&proxy, "GET", "/public/", &[], b"").status, 200);
}

#[test]
fn a_body_stays_with_the_request_and_reaches_the_backend_whole() {
    for example in Example::ALL {
        let site = Site::start(example);
        let secret = secret_of("key_1");
        for size in [1, 10_000, 200_000] {
            let body = "x".repeat(size);
            let headers = [("X-API-Key", secret.as_str()), ("Content-Type", "text/plain")];
            let answer = site.ask("POST", "/upload", &headers, body.as_bytes());
            assert_eq!(answer.status, 200, "{example:?} {size}");
            let seen = answer.json();
            assert_eq!(seen["method"], "POST", "{example:?}");
            assert!(seen["body"] == body.as_str(), "{example:?} {size}");
            let refused = site.ask("PUT", "/upload", &[("X-API-Key", "sec_guess")], body.as_bytes());
            assert_eq!(refused.status, 401, "{example:?} {size}");
        }
    }
}

#[test]
fn a_key_in_the_query_reaches_the_service_where_it_is_switched_on() {
    for example in Example::ALL {
        for (switch, status) in [("true", 200), ("false", 401)] {
            let settings = Settings::file_store().with("AUTHZ_QUERY_KEY", switch);
            settings.write_document(&json!({ "keys": [record("key_1")] }).to_string());
            let site = Site::with(example, &settings);
            site.service.wait_until_ready();
            let path = format!("/reports?page=2&api_key={}", secret_of("key_1"));
            assert_eq!(site.ask("GET", &path, &[], b"").status, status, "{example:?} {switch}");
        }
    }
}

/// What heare-auth answers beside what its keys can bring about here, as it would be on the wire.
#[test]
fn a_refusal_for_the_rate_reaches_the_client_with_its_headers() {
    let limits =
        "Retry-After: 17\r\nX-RateLimit-Limit: 100\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1790000000";
    for example in Example::ALL {
        let service = Backend::answering(move |asked| {
            let status = if asked.target.contains("profile=nginx") {
                "403 Forbidden\r\nX-Error-Status: 429"
            } else {
                "429 Too Many Requests"
            };
            format!("HTTP/1.1 {status}\r\n{limits}\r\nContent-Length: 2\r\n\r\n{{}}")
        });
        let backend = Backend::echo();
        let proxy = example.start(service.address, backend.address);
        let answer = ask(&proxy, "GET", "/", &[("X-API-Key", "sec_1")], b"");
        assert_eq!(answer.status, 429, "{example:?}");
        for (name, value) in [
            ("retry-after", "17"),
            ("x-ratelimit-limit", "100"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1790000000"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{example:?} {name}");
        }
        assert!(backend.requests().is_empty(), "{example:?}");
    }
}

/// Of a key that is really used up, counted here or by a Redis that two instances share.
#[test]
fn a_key_that_is_used_up_is_refused_by_every_proxy_with_its_headers() {
    let redis = Redis::start();
    for example in Example::ALL {
        for shared in [false, true] {
            let mut settings = Settings::file_store();
            if shared {
                settings = settings.with("REDIS_URL", redis.url());
            }
            let id = format!("key_{example:?}");
            settings.write_document(&json!({ "keys": [record_with(&id, "rate_limit_per_hour", 2)] }).to_string());
            let site = Site::with(example, &settings);
            site.service.wait_until_ready();
            let secret = secret_of(&id);
            let used = site.ask("GET", "/", &[("X-API-Key", &secret)], b"");
            assert_eq!(used.status, 200, "{example:?}");
            if shared {
                let other = settings.start_ready();
                assert_eq!(other.verify(&secret).0, 200, "{example:?}");
            } else {
                assert_eq!(
                    site.ask("GET", "/", &[("X-API-Key", &secret)], b"").status,
                    200,
                    "{example:?}"
                );
            }
            let refused = site.ask("GET", "/", &[("X-API-Key", &secret)], b"");
            assert_eq!(refused.status, 429, "{example:?} {shared}");
            let number = |name: &str| refused.header(name).and_then(|value| value.parse::<u64>().ok());
            assert!(
                number("retry-after").is_some_and(|wait| (1..=3600).contains(&wait)),
                "{example:?} {shared}"
            );
            assert_eq!(
                (number("x-ratelimit-limit"), number("x-ratelimit-remaining")),
                (Some(2), Some(0)),
                "{example:?}"
            );
            assert_eq!(
                site.backend.requests().len(),
                if shared { 1 } else { 2 },
                "{example:?} {shared}"
            );
        }
    }
}

/// The requests are those of `pkg/middlewares/auth/forward.go`: a GET with the client's headers and these five.
#[test]
fn what_traefik_asks_by_its_file_is_answered() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("documentation/examples/traefik/dynamic.toml");
    let text = std::fs::read_to_string(file).expect("the example is there");
    let example: toml::Table = toml::from_str(&text).expect("the example is TOML");
    let settings = Settings::file_store().with("TRUSTED_PROXIES", "127.0.0.1");
    settings.write_document(&document(1, &["key_1"]));
    let service = settings.start_ready();
    let bearer = format!("Bearer {}", secret_of("key_1"));
    for (middleware, status) in [("heare-auth", 200), ("heare-auth-orders", 403)] {
        let forward_auth = &example["http"]["middlewares"][middleware]["forwardAuth"];
        let address = forward_auth["address"].as_str().expect("a URL");
        let target = address
            .strip_prefix("http://127.0.0.1:8080")
            .expect("heare-auth's address");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("User-Agent", middleware),
            ("Accept-Encoding", "gzip"),
            ("X-Forwarded-For", "198.51.100.7"),
            ("X-Forwarded-Host", "api.example.com"),
            ("X-Forwarded-Method", "POST"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Uri", "/orders/1?cost=x"),
        ];
        let answer = service
            .connect()
            .request("GET", target, &headers, b"")
            .expect("an answer");
        assert_eq!(answer.status, status, "{middleware}");
        let line = service.wait_for_event(
            if status == 200 {
                "verification_success"
            } else {
                "verification_failed"
            },
            |line| line["user_agent"] == middleware,
        );
        assert_eq!(line["client_ip"], "198.51.100.7");
        let copied = forward_auth["authResponseHeaders"].as_array().expect("a list");
        let copied = copied.iter().map(|name| name.as_str().expect("a name"));
        let found = copied.filter(|name| answer.header(name).is_some()).count();
        assert_eq!(found, if status == 200 { 5 } else { 0 });
    }
    let routers = example["http"]["routers"].as_table().expect("routers");
    for (name, router) in routers {
        let first = &router["middlewares"][0];
        assert_eq!(first.as_str(), Some("strip-identity"), "{name}");
    }
}
