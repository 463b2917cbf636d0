//! `serve`: its start, its signals, and what it tells a newcomer.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    process::Command,
};

use super::{create, run};
use crate::support::service::{Settings, eventually};

#[test]
fn a_wrong_setting_stops_the_start_with_its_name() {
    let cases = [
        ("PORT", "8o80", "Error: PORT must be a number from 0 to 65535"),
        (
            "HOST",
            "hunter2",
            "Error: HOST must be an IP address such as 0.0.0.0, or localhost",
        ),
        (
            "POLL_INTERVAL",
            "hunter2",
            "Error: POLL_INTERVAL must be a duration from 10ms to 1day, such as 5s",
        ),
        ("PROTOCOL", "udp", "Error: DEST_HOST must be set when PROTOCOL is set"),
        (
            "LOG_LEVEL",
            "hunter2",
            "Error: LOG_LEVEL must be trace, debug, info, warn or error",
        ),
    ];
    for (variable, value, sentence) in cases {
        let said = run(&Settings::file_store().with(variable, value), &["serve"]).failed(1, sentence);
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    }
}

#[test]
fn a_value_that_is_no_text_is_not_taken_for_unset() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let settings = Settings::file_store();
    for arguments in [["serve"], ["list"]] {
        let mut command = settings.command(&arguments);
        let output = command
            .env("STORAGE_SECRET", OsStr::from_bytes(b"\xff"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stderr, b"Error: STORAGE_SECRET must be UTF-8 text\n");
    }
}

#[test]
fn a_port_in_use_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    run(&Settings::file_store().with("PORT", port.to_string()), &["serve"]).failed(1, "Error: PORT is already in use");
}

#[test]
fn the_settings_file_is_for_the_other_commands() {
    let settings = Settings::file_store();
    std::fs::write(settings.home().join(".heare-auth.toml"), "not TOML").unwrap();
    let _service = settings.start_ready();
}

#[test]
fn terminate_and_interrupt_end_it_well() {
    for signal in ["TERM", "INT"] {
        let mut service = Settings::file_store().start();
        service.wait_until_ready();
        service.signal(signal);
        assert_eq!(service.wait_for_exit().code(), Some(0), "{signal}");
        service.wait_for_event("shutdown", |_| true);
    }
}

/// Sends a request whose body never ends, so that the service has something in flight, and waits until it is read.
fn unfinished_request(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[test]
fn a_second_interrupt_ends_it_now() {
    let mut service = Settings::file_store().start();
    service.wait_until_ready();
    let _open = unfinished_request(service.address());
    service.signal("INT");
    eventually("it accepts nothing more", || {
        TcpStream::connect(service.address()).is_err()
    });
    assert!(service.is_running());
    service.signal("INT");
    assert_eq!(service.wait_for_exit().code(), Some(130));
}

#[test]
fn a_hang_up_loads_the_keys() {
    let service = Settings::file_store().with("POLL_INTERVAL", "1day").start_ready();
    create(service.settings(), "reports");
    service.signal("HUP");
    service.wait_for_event("refresh_success", |line| line["keys_loaded"] == 1);
    assert_eq!(service.health().1["keys_count"], 1);
}

/// The line that holds this.
fn command_with(text: &str, part: &str) -> String {
    let line = text.lines().find(|line| line.contains(part));
    line.unwrap_or_else(|| panic!("no {part}: {text}")).trim().to_owned()
}

#[test]
fn the_commands_shown_to_a_newcomer_work_as_they_stand() {
    let settings = Settings::file_store();
    let data_dir = settings.home().join("my data");
    let service = settings.with("DATA_DIR", data_dir.to_str().unwrap()).start_ready();
    eventually("the next steps are told", || service.errors().contains("curl"));
    let told = service.errors();
    assert!(
        told.starts_with(&format!(
            "heare-auth serves on http://localhost:{}",
            service.address().port()
        )),
        "{told}"
    );

    let shell = |line: &str| {
        let mut command = Command::new("sh");
        let output = command
            .arg("-c")
            .arg(line)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .output();
        super::Said::from(output.unwrap())
    };
    let created = shell(&command_with(&told, " create --name")).done();
    assert!(
        created.stdout.contains("✓ Service refreshed - 1 keys loaded"),
        "{}",
        created.stdout
    );
    let secret = created
        .stdout
        .lines()
        .find_map(|line| line.trim().strip_prefix("Secret:"))
        .unwrap()
        .trim();
    let verified = shell(&command_with(&told, "curl ").replace("sec_...", secret)).done();
    assert!(verified.stdout.starts_with(r#"{"valid":true,"#), "{}", verified.stdout);
}

#[test]
fn with_an_admin_port_the_commands_shown_use_it() {
    let service = Settings::file_store().with("ADMIN_LISTEN", "127.0.0.1:0").start();
    eventually("the next steps are told", || service.errors().contains("curl"));
    let refresh = format!(
        "--refresh-url http://localhost:{}/refresh",
        service.admin_address().port()
    );
    assert!(service.errors().contains(&refresh), "{}", service.errors());
}
