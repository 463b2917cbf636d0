//! How the document and its pages are served.

use super::{document, started, started_with};
use crate::support::{http_client, service::Settings};

const PATHS: [(&str, &str); 5] = [
    ("/openapi.json", "application/json"),
    ("/docs", "text/html; charset=utf-8"),
    ("/redoc", "text/html; charset=utf-8"),
    ("/docs/pages.css", "text/css; charset=utf-8"),
    ("/docs/pages.js", "text/javascript; charset=utf-8"),
];

#[test]
fn who_has_a_page_already_is_not_sent_it_again() {
    let service = started();
    for (path, content_type) in PATHS {
        let answer = service.get(path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(content_type))
        );
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        let etag = answer.header("etag").expect("a tag").to_owned();
        for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
            let again = service
                .connect()
                .request("GET", path, &[("If-None-Match", &known)], b"")
                .unwrap();
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {known}");
            assert_eq!(again.header("etag"), Some(&*etag));
        }
        let other = service
            .connect()
            .request("GET", path, &[("If-None-Match", "\"x\"")], b"");
        assert_eq!(other.unwrap().status, 200);
        let head = service.connect().request("HEAD", path, &[], b"").unwrap();
        assert_eq!(head.status, 200);
        let length = answer.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(&*length), "{path}");
        let wrong = service.connect().request("POST", path, &[], b"").unwrap();
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));
    }
}

#[test]
fn the_pages_bring_everything_along_and_may_load_nothing_else() {
    let service = started();
    let mut size = 0;
    for (path, _) in PATHS.into_iter().filter(|(path, _)| *path != "/openapi.json") {
        let answer = service.get(path);
        size += answer.body.len();
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let text = answer.text();
        for elsewhere in [
            "http://",
            "https://",
            "src=\"//",
            "localStorage",
            "sessionStorage",
            "document.cookie",
            "innerHTML",
        ] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
        for inline in [" style=", "<style", " onclick=", "<script>"] {
            assert!(!text.contains(inline), "{path} has {inline}");
        }
    }
    assert!(size < 40 * 1024, "{size} bytes");
}

#[test]
fn the_document_is_of_this_version_and_says_only_what_is_served() {
    let service = started();
    let document = document(&service);
    assert_eq!(document["openapi"], "3.1.1");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/refresh") && paths.contains_key("/verify"));
}

#[test]
fn each_listener_describes_its_own_routes() {
    let service = started_with(&Settings::file_store().with("ADMIN_LISTEN", "127.0.0.1:0"));
    let public = document(&service);
    assert!(public["paths"]["/refresh"].is_null() && !public["paths"]["/verify"].is_null());
    let admin = http_client::get(service.admin_address(), "/openapi.json").json();
    assert!(!admin["paths"]["/refresh"].is_null() && admin["paths"]["/verify"].is_null());
}

#[test]
fn the_description_can_be_switched_off() {
    let service = started_with(&Settings::file_store().with("API_DOCS", "false"));
    for (path, _) in PATHS {
        let answer = service.get(path);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, r#"{"detail":"Not Found"}"#),
            "{path}"
        );
    }
    assert_eq!(service.health().0, 200);
}
