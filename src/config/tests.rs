use super::*;

fn config(values: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_lookup(&|name| {
        let (_, value) = values.iter().find(|(variable, _)| *variable == name)?;
        Some((*value).to_owned())
    })
}

#[test]
fn without_any_setting_everything_has_its_default() {
    let config = config(&[]).unwrap();
    let path = PathBuf::from("./heare-auth-data/keys.json");
    assert_eq!(config.store.location, Location::File { path });
    assert_eq!(config.store.max_document_bytes, 512 << 20);
    assert!(config.store.storage_secret.is_none());
    assert!(!config.store.allow_unconditional_writes);
    assert_eq!(config.listen, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(config.admin_listen, None);
    assert_eq!(config.poll_interval, Duration::from_secs(5));
    assert_eq!(config.snapshot_path, None);
    assert!(!config.strict_generation && !config.health_opaque && !config.authz_query_key);
    assert!(!config.trusted_proxies.is_trusted([127, 0, 0, 1].into()));
    assert_eq!(config.max_connections, None);
    assert_eq!(config.log_level, LogLevel::Info);
    assert_eq!(config.key_prefixes, Prefixes::default());
    assert_eq!(config.expired_after, Some(Duration::from_hours(24 * 30)));
    assert!(config.limits.redis_url.is_none() && config.limits.guess_limit.is_none());
    assert!(config.bridge.is_none());
}

#[test]
fn an_empty_text_is_as_good_as_none() {
    let names: Vec<_> = SETTINGS.iter().map(|setting| (setting.name, "")).collect();
    let config = config(&names).unwrap();
    assert_eq!(config.listen.port(), DEFAULT_PORT);
    assert!(matches!(config.store.location, Location::File { .. }));
}

#[test]
fn a_bucket_of_blanks_is_as_good_as_none() {
    for bucket in [" ", "\t \n"] {
        let config = config(&[("S3_BUCKET", bucket), ("S3_REGION", " ")]).unwrap();
        assert!(matches!(config.store.location, Location::File { .. }), "{bucket:?}");
    }
}

#[test]
fn every_default_in_the_table_is_the_default_in_the_code() {
    let table: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| !setting.default.is_empty())
        // The machine decides.
        .filter(|setting| !["WORKERS", "MAX_CONNECTIONS"].contains(&setting.name))
        .map(|setting| (setting.name, setting.default))
        .collect();
    let written = format!("{:?}", config(&table).unwrap());
    assert_eq!(written, format!("{:?}", config(&[]).unwrap()));
}

#[test]
fn a_bucket_makes_the_store_s3() {
    let location = config(&[("S3_BUCKET", "b"), ("S3_REGION", "eu-west-1")])
        .unwrap()
        .store
        .location;
    let (bucket, key, region) = ("b".into(), "keys.json".into(), "eu-west-1".into());
    assert_eq!(location, Location::S3 { bucket, key, region });
}

#[test]
fn a_wrong_value_is_named_by_its_variable_and_never_shown() {
    let cases = [
        ("PORT", "65536x", "PORT must be a number from 0 to 65535"),
        ("PORT", "-1", "PORT must be a number from 0 to 65535"),
        (
            "HOST",
            "nowhere9",
            "HOST must be an IP address such as 0.0.0.0, or localhost",
        ),
        (
            "ADMIN_LISTEN",
            "8081x",
            "ADMIN_LISTEN must be an address and a port such as 127.0.0.1:8081",
        ),
        (
            "POLL_INTERVAL",
            "0",
            "POLL_INTERVAL must be a duration from 10ms to 1day, such as 5s",
        ),
        (
            "POLL_INTERVAL",
            "soon9",
            "POLL_INTERVAL must be a duration from 10ms to 1day, such as 5s",
        ),
        ("STRICT_GENERATION", "maybe", "STRICT_GENERATION must be true or false"),
        ("HEALTH_OPAQUE", "2", "HEALTH_OPAQUE must be true or false"),
        (
            "ALLOW_UNCONDITIONAL_WRITES",
            "on9",
            "ALLOW_UNCONDITIONAL_WRITES must be true or false",
        ),
        (
            "MAX_CONNECTIONS",
            "0",
            "MAX_CONNECTIONS must be a number from 1 to 1000000",
        ),
        ("WORKERS", "9999", "WORKERS must be a number from 1 to 1024"),
        (
            "LOG_LEVEL",
            "loud",
            "LOG_LEVEL must be trace, debug, info, warn or error",
        ),
        (
            "MAX_DOCUMENT_BYTES",
            "9TiB",
            "MAX_DOCUMENT_BYTES must be a number of bytes such as 536870912 or 512MiB",
        ),
        (
            "REDIS_URL",
            "http://localhost:6379",
            "REDIS_URL must be a URL such as redis://localhost:6379/0",
        ),
        (
            "DB_HOST",
            "postgres://m4rk3r",
            "DB_HOST must be a host name, an address or a socket's directory",
        ),
        (
            "REDIS_HOST",
            "redis://m4rk3r",
            "REDIS_HOST must be a host name or an address, without a port",
        ),
        ("GUESS_LIMIT", "many9", "GUESS_LIMIT must be a number from 0 to 1000000"),
        ("PROTOCOL", "smoke", "PROTOCOL must be http, udp or tcp"),
        (
            "TRUSTED_PROXIES",
            "10.0.0.0/8, proxy9.example",
            "TRUSTED_PROXIES must be a list of addresses and networks such as 127.0.0.1, 10.0.0.0/8",
        ),
        ("AUTHZ_QUERY_KEY", "on9", "AUTHZ_QUERY_KEY must be true or false"),
    ];
    for (variable, value, sentence) in cases {
        let error = config(&[(variable, value)]).unwrap_err();
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn metrics_need_protocol_host_and_port() {
    let sentence = |values: &[_]| config(values).unwrap_err().to_string();
    assert_eq!(
        sentence(&[("PROTOCOL", "udp")]),
        "DEST_HOST must be set when PROTOCOL is set"
    );
    let without_port = [("PROTOCOL", "udp"), ("DEST_HOST", "stats")];
    assert_eq!(sentence(&without_port), "DEST_PORT must be set when PROTOCOL is set");
    assert!(
        config(&[("DEST_HOST", "stats"), ("DEST_PORT", "8125")])
            .unwrap()
            .bridge
            .is_none()
    );

    let whole = [
        ("PROTOCOL", "HTTP"),
        ("DEST_HOST", "stats.example"),
        ("DEST_PORT", "443"),
        ("SECRET", "hunter2"),
    ];
    let bridge = config(&whole).unwrap().bridge.unwrap();
    assert_eq!((bridge.protocol, bridge.port), (Protocol::Http, 443));
    assert_eq!(bridge.prefix, "heare-auth");
    assert!(!format!("{bridge:?}").contains("hunter2"));
}

#[test]
fn what_would_break_a_metric_line_or_a_request_is_refused() {
    let base = [("PROTOCOL", "udp"), ("DEST_HOST", "stats"), ("DEST_PORT", "8125")];
    for (variable, value) in [
        ("PREFIX", "a:1|c"),
        ("PREFIX", "a b"),
        ("DEST_HOST", "http://stats"),
        ("DEST_HOST", "a:1"),
    ] {
        let values: Vec<_> = [(variable, value)].into_iter().chain(base).collect();
        assert_eq!(config(&values).unwrap_err().variable, variable);
    }
}

#[test]
fn durations_sizes_and_booleans_are_read_in_all_their_forms() {
    for (text, millis) in [
        ("5", 5000),
        ("5s", 5000),
        ("250ms", 250),
        ("0.5", 500),
        ("1m 30s", 90_000),
    ] {
        assert_eq!(
            parse::poll_interval(text),
            Some(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for text in ["", "-5", "NaN", "inf", "1e9", "5 parsecs"] {
        assert_eq!(parse::poll_interval(text), None, "{text}");
    }
    for (text, bytes) in [("7", 7), ("2KiB", 2048), ("1MiB", 1 << 20), ("3 GiB", 3 << 30)] {
        assert_eq!(parse::size(text), Some(bytes), "{text}");
    }
    for text in ["", "0", "-1", "1.5MiB", "MiB", "99999999999GiB"] {
        assert_eq!(parse::size(text), None, "{text}");
    }
    for text in ["true", "1", "YES"] {
        assert_eq!(parse::boolean(text), Some(true), "{text}");
    }
    for text in ["false", "0", "No"] {
        assert_eq!(parse::boolean(text), Some(false), "{text}");
    }
}

#[test]
fn expired_keys_are_left_alone_for_a_while_or_for_ever() {
    let after = |text: &str| config(&[("EXPIRED_AFTER", text)]).map(|config| config.expired_after);
    assert_eq!(after("off"), Ok(None));
    assert_eq!(after("1s"), Ok(Some(Duration::from_secs(1))));
    assert_eq!(after("90days"), Ok(Some(Duration::from_hours(24 * 90))));
    for wrong in ["0s", "500ms", "30", "never", "20years", "-1day"] {
        assert_eq!(after(wrong).unwrap_err().variable, "EXPIRED_AFTER", "{wrong}");
    }
    let prefixes = config(&[("KEY_PREFIXES", "production=acme_")]).unwrap().key_prefixes;
    assert_eq!(prefixes, "production=acme_".parse().unwrap());
    let wrong = config(&[("KEY_PREFIXES", "acme_")]).unwrap_err();
    assert_eq!(wrong.variable, "KEY_PREFIXES");
}

#[test]
fn addresses_may_say_localhost_and_be_of_either_family() {
    for (text, address) in [
        ("localhost:1", "127.0.0.1:1"),
        ("[::1]:0", "[::1]:0"),
        ("10.0.0.1:80", "10.0.0.1:80"),
    ] {
        assert_eq!(parse::address(text), Some(address.parse().unwrap()), "{text}");
    }
    assert_eq!(
        config(&[("HOST", "::"), ("PORT", "0")]).unwrap().listen,
        "[::]:0".parse().unwrap()
    );
}

#[test]
fn a_bucket_a_region_and_an_endpoint_are_what_the_sdk_can_use() {
    let table = [
        ("S3_BUCKET", "My_old.bucket-1", true),
        ("S3_BUCKET", "arn:aws:s3:us-east-1:123456789012:accesspoint/keys", true),
        ("S3_BUCKET", "s3://bucket", false),
        ("S3_BUCKET", "bucket/keys.json", false),
        ("S3_BUCKET", "a b", false),
        ("S3_REGION", "eu-central-1", true),
        ("S3_REGION", "auto", true),
        ("S3_REGION", "eu central", false),
        ("AWS_ENDPOINT_URL", "http://localhost:9000", true),
        ("AWS_ENDPOINT_URL", "HTTPS://[::1]:9000/s3", true),
        ("AWS_ENDPOINT_URL", "localhost:9000", false),
        ("AWS_ENDPOINT_URL", "http://", false),
        ("AWS_ENDPOINT_URL", "ftp://localhost", false),
        ("AWS_ENDPOINT_URL_S3", "http:///bucket", false),
        ("AWS_ENDPOINT_URL_S3", "http://a b", false),
    ];
    for (variable, value, good) in table {
        let read = config(&[(variable, value), ("S3_BUCKET", "b")]);
        assert_eq!(
            read.err().map(|error| error.variable),
            (!good).then_some(variable),
            "{value}"
        );
    }
    assert!(
        config(&[("AWS_ENDPOINT_URL", "somebody else's")]).is_ok(),
        "without a bucket nobody reads it"
    );
}
