//! The pages as files: all of them inside the binary, each from here, and none with anything that a strict policy forbids.

use std::{collections::BTreeSet, path::Path};

use crate::support::service::{Service, Settings};

/// The page itself and every file beside it, by its path.
fn paths() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/dashboard/assets");
    let files = std::fs::read_dir(folder).expect("the files are there");
    let mut paths: Vec<_> = files
        .map(|file| {
            let path = file.expect("a readable entry").path();
            let name = path.file_name().expect("a name").to_str().expect("a text").to_owned();
            let text = std::fs::read_to_string(&path).expect("a text");
            let path = if name == "index.html" {
                String::new()
            } else {
                format!("/{name}")
            };
            (format!("/dashboard{path}"), text)
        })
        .collect();
    paths.sort();
    paths
}

fn started() -> Service {
    Settings::file_store().start()
}

#[test]
fn every_file_is_served_under_a_strict_policy() {
    let service = started();
    for (path, text) in paths() {
        let answer = service.get(&path);
        assert_eq!((answer.status, answer.text()), (200, text), "{path}");
        let kind = match path.rsplit_once('.') {
            None => "text/html",
            Some((_, "css")) => "text/css",
            Some(_) => "text/javascript",
        };
        assert_eq!(answer.header("content-type"), Some(&*format!("{kind}; charset=utf-8")));
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"));
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let etag = answer.header("etag").expect("a tag").to_owned();
        let again = service
            .connect()
            .request("GET", &path, &[("If-None-Match", &etag)], b"")
            .unwrap();
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    let unknown = service.get("/dashboard/other.js");
    assert_eq!(unknown.status, 404);
}

#[test]
fn no_page_needs_anything_from_elsewhere_or_from_inside_a_tag() {
    let files = paths();
    let size: usize = files.iter().map(|(_, text)| text.len()).sum();
    assert!(size < 100 * 1024, "{size} bytes");
    for (path, text) in &files {
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for elsewhere in [
            "http://",
            "https://",
            "src=\"//",
            "sessionStorage",
            "document.cookie",
            "innerHTML",
            "eval(",
        ] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
        for inline in [" style=", "<style", " onclick=", "<script>", "style: \""] {
            assert!(!text.contains(inline), "{path} has {inline}");
        }
    }
}

#[test]
fn every_import_is_a_file_that_is_there_and_every_file_is_asked_for() {
    let files = paths();
    let names: BTreeSet<String> = files.iter().map(|(path, _)| path.replace("/dashboard/", "")).collect();
    let mut asked = BTreeSet::from(["/dashboard".to_owned()]);
    for (_, text) in &files {
        for before in ["from \"./", "href=\"dashboard/", "src=\"dashboard/"] {
            let found = text.split(before).skip(1).filter_map(|rest| rest.split('"').next());
            asked.extend(found.map(str::to_owned));
        }
    }
    assert_eq!(asked, names);
}

#[test]
fn the_pages_can_be_switched_off() {
    let service = Settings::file_store().with("DASHBOARD", "off").start();
    for (path, _) in paths() {
        let answer = service.get(&path);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, r#"{"detail":"Not Found"}"#),
            "{path}"
        );
    }
}
