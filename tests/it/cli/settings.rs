//! Where settings come from: flag over environment over file over default.

use super::{run, stub::Stub};
use crate::support::{ports::refusing, service::Settings};

/// An S3 endpoint without objects, for looking at what is asked of it.
fn empty_s3() -> (Stub, Settings) {
    let body = "<Error><Code>NoSuchKey</Code></Error>";
    let s3 = Stub::answering("404 Not Found", body);
    let settings = Settings::file_store()
        .with("AWS_ENDPOINT_URL", s3.url(""))
        .with("AWS_ACCESS_KEY_ID", "id")
        .with("AWS_SECRET_ACCESS_KEY", "access");
    (s3, settings)
}

fn write_file(settings: &Settings, text: &str) {
    std::fs::write(settings.home().join(".heare-auth.toml"), text).unwrap();
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let (s3, settings) = empty_s3();
    let asked = |settings: &Settings, flags: &[&str]| {
        let said = run(settings, &[&["list"], flags].concat()).done();
        assert_eq!(said.stdout, "No API keys found.\n");
        let request = s3.requests().pop().unwrap();
        let path = request.split(['?', ' ']).nth(1).unwrap().to_owned();
        let region = request
            .split("Credential=id/")
            .nth(1)
            .unwrap()
            .split('/')
            .nth(1)
            .unwrap()
            .to_owned();
        (path, region)
    };
    let as_texts = |path: &str, region: &str| (path.to_owned(), region.to_owned());

    write_file(
        &settings,
        "[default]\ns3_bucket = \"file-bucket\"\n[other]\nunknown = 1\n",
    );
    assert_eq!(asked(&settings, &[]), as_texts("/file-bucket/keys.json", "us-east-1"));
    write_file(
        &settings,
        "[default]\ns3_bucket = \"file-bucket\"\ns3_key = \"file.json\"\ns3_region = \"eu-file-1\"\n",
    );
    assert_eq!(asked(&settings, &[]), as_texts("/file-bucket/file.json", "eu-file-1"));
    let settings = settings
        .with("S3_BUCKET", "env-bucket")
        .with("S3_KEY", "env.json")
        .with("S3_REGION", "eu-env-1");
    assert_eq!(asked(&settings, &[]), as_texts("/env-bucket/env.json", "eu-env-1"));
    let flags = ["--bucket", "flag-bucket", "--key=flag.json", "--region", "eu-flag-1"];
    assert_eq!(
        asked(&settings, &flags),
        as_texts("/flag-bucket/flag.json", "eu-flag-1")
    );
    let emptied = settings.with("S3_BUCKET", "").with("S3_KEY", "").with("S3_REGION", "");
    assert_eq!(asked(&emptied, &[]), as_texts("/file-bucket/file.json", "eu-file-1"));
}

#[test]
fn the_refresh_url_has_the_same_order() {
    let stubs: Vec<Stub> = (0..3)
        .map(|_| Stub::answering("200 OK", r#"{"success":true,"keys_loaded":1}"#))
        .collect();
    let url = |number: usize| stubs[number].url("/refresh");
    let settings = Settings::file_store();
    write_file(&settings, &format!("[default]\nrefresh_url = \"{}\"\n", url(0)));
    run(&settings, &["refresh"]).done();
    let settings = settings.with("REFRESH_URL", url(1));
    run(&settings, &["refresh"]).done();
    run(&settings, &["refresh", "--url", &url(2)]).done();
    assert_eq!(
        stubs.iter().map(|stub| stub.requests().len()).collect::<Vec<_>>(),
        [1, 1, 1]
    );
}

#[test]
fn without_a_bucket_the_store_is_the_local_file() {
    let settings = Settings::file_store().without("DATA_DIR");
    run(&settings, &["create", "--name", "a", "--no-refresh"]).done();
    assert!(settings.home().join("heare-auth-data/keys.json").is_file());
}

#[test]
fn a_wrong_settings_file_is_named() {
    let settings = Settings::file_store();
    for text in ["[default", "[default]\ns3_bucket = 7\n", "default = 1\n"] {
        write_file(&settings, text);
        run(&settings, &["list"]).failed(1, "Error: ~/.heare-auth.toml must be TOML with texts under [default]");
    }
    write_file(&settings, "[default]\nrefresh_url = \"nonsense\"\n");
    run(&settings, &["refresh"]).failed(
        1,
        "Error: refresh_url in ~/.heare-auth.toml must be a URL such as http://localhost:8080/refresh",
    );
}

#[test]
fn a_wrong_setting_is_named_before_anything_is_done() {
    let wrong_url = Settings::file_store().with("REFRESH_URL", "hunter2");
    let said = run(&wrong_url, &["create", "--name", "a"]).failed(
        1,
        "Error: REFRESH_URL must be a URL such as http://localhost:8080/refresh",
    );
    assert!(!said.stderr.contains("hunter2"));
    assert!(!wrong_url.document().exists());

    let wrong_size = Settings::file_store().with("MAX_DOCUMENT_BYTES", "lots");
    run(&wrong_size, &["list"]).failed(
        1,
        "Error: MAX_DOCUMENT_BYTES must be a number of bytes such as 536870912 or 512MiB",
    );
}

#[test]
fn a_store_that_does_not_answer_is_named_with_what_to_check() {
    let settings = Settings::file_store()
        .with("S3_BUCKET", "b")
        .with("AWS_ENDPOINT_URL", format!("http://{}", refusing()))
        .with("AWS_ACCESS_KEY_ID", "id")
        .with("AWS_SECRET_ACCESS_KEY", "access");
    let said = run(&settings, &["list"]).failed(1, "Error: the store cannot be reached (s3://b/keys.json)");
    assert_eq!(
        said.stderr.lines().nth(1),
        Some("Check the network and AWS_ENDPOINT_URL.")
    );
}
