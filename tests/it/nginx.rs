//! A reverse proxy on the same host: it looks like a local caller to the system, and must not be one to `/refresh`.

use crate::support::{
    bridge::{Answer, HttpReceiver, Totals},
    http_client,
    nginx::Nginx,
    service::{Service, Settings},
};
use serde_json::json;

/// What people write into the `location` beside `proxy_pass`, and what gives the proxy away then.
const CONFIGURATIONS: [(&str, &str, &str); 4] = [
    ("nothing else", "", "http_1_0"),
    (
        "HTTP/1.1 and the client's address",
        "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "forwarded",
    ),
    (
        "HTTP/1.1 and the client's address under nginx's own name",
        "proxy_http_version 1.1; proxy_set_header X-Real-IP $remote_addr;",
        "forwarded",
    ),
    (
        "HTTP/1.1 and the public name",
        "proxy_http_version 1.1; proxy_set_header Host auth.example.com;",
        "host_not_local",
    ),
];

#[test]
fn a_refresh_through_nginx_on_the_same_host_is_refused_logged_and_counted() {
    let receiver = HttpReceiver::start(Answer::Status(200));
    let service = Settings::file_store()
        .with("PROTOCOL", "http")
        .with("DEST_HOST", receiver.address.ip().to_string())
        .with("DEST_PORT", receiver.address.port().to_string())
        .start_ready();
    for (what, directives, reason) in CONFIGURATIONS {
        let nginx = Nginx::in_front_of(service.address(), directives);
        let answer = http_client::post(nginx.address, "/refresh", b"");
        let error = "Refresh endpoint only accessible from localhost";
        assert_eq!(
            answer.status_and_json(),
            (403, json!({"error": error, "detail": {"error": error}})),
            "{what}"
        );
        service.wait_for_event("refresh_rejected", |line| {
            line["reason"] == reason && line["peer"] == "127.0.0.1"
        });
    }
    assert_eq!(service.refresh().0, 200);
    let refused = CONFIGURATIONS.len() as u64;
    let counted = |totals: &Totals| totals.counter("heare-auth.refresh.requests") == refused + 1;
    let totals = receiver.totals_until(counted);
    assert_eq!(totals.counter("heare-auth.refresh.rejected"), refused);
    assert_eq!(totals.counter("heare-auth.refresh.success"), 1);
}

#[test]
fn a_proxy_client_cannot_talk_the_service_into_a_refresh() {
    let service = Settings::file_store().start_ready();
    for (what, directives, _) in CONFIGURATIONS {
        let nginx = Nginx::in_front_of(service.address(), directives);
        for claim in [
            ("X-Forwarded-For", "127.0.0.1"),
            ("Forwarded", "for=127.0.0.1"),
            ("X-Real-IP", "::1"),
            ("Connection", "X-Forwarded-For, X-Real-IP, Host"),
        ] {
            let mut client = http_client::Connection::open(nginx.address);
            let headers = [("Host", "localhost"), claim];
            let answer = client.request("POST", "/refresh", &headers, b"").unwrap();
            assert_eq!(answer.status, 403, "{what}, {claim:?}");
        }
    }
    assert!(service.events("refresh_success").is_empty());
}

#[test]
fn everything_else_works_through_nginx() {
    let service = Settings::file_store().start();
    let secret = service.create_key("behind a proxy");
    for (what, directives, _) in CONFIGURATIONS {
        let nginx = Nginx::in_front_of(service.address(), directives);
        let body = json!({ "api_key": secret }).to_string();
        let (status, answer) = http_client::post(nginx.address, "/verify", body.as_bytes()).status_and_json();
        assert_eq!((status, &answer["name"]), (200, &json!("behind a proxy")), "{what}");
        let wrong = http_client::post(nginx.address, "/verify", br#"{"api_key":"sec_unknown"}"#);
        assert_eq!(wrong.status, 403, "{what}");
        let health = http_client::get(nginx.address, "/health").status_and_json();
        assert_eq!(health, (200, json!({"status": "ok", "keys_count": 1})), "{what}");
        assert_eq!(http_client::get(nginx.address, "/ready").status, 200, "{what}");
    }
}

/// Nothing gives away a proxy that speaks HTTP/1.1, sends no header of its own and calls the service by its address.
#[test]
fn with_an_admin_listener_no_proxy_in_front_of_the_public_port_reaches_refresh() {
    let service = Settings::file_store().with("ADMIN_LISTEN", "127.0.0.1:0").start();
    let nginx = Nginx::in_front_of(service.address(), "proxy_http_version 1.1;");
    assert_eq!(http_client::post(nginx.address, "/refresh", b"").status, 404);
    assert_eq!(http_client::get(nginx.address, "/health").status, 200);
    assert_eq!(Service::refresh(&service).0, 200);
}
