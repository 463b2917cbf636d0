//! Help, version, wrong usage.

use std::process::Stdio;

use super::{create, run};
use crate::support::service::Settings;

const COMMANDS: [&str; 26] = [
    "serve",
    "create",
    "list",
    "show",
    "update",
    "rotate",
    "revoke",
    "reactivate",
    "delete",
    "refresh",
    "migrate",
    "import",
    "export",
    "history",
    "rollback",
    "scan",
    "verify",
    "usage",
    "audit",
    "users",
    "jwt",
    "database",
    "doctor",
    "health",
    "completions",
    "man",
];

#[test]
fn help_is_an_answer_for_the_program_and_for_each_command() {
    let settings = Settings::file_store();
    let program = run(&settings, &["--help"]).done();
    assert_eq!(program.stderr, "");
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("help", program.stdout);
        for command in COMMANDS {
            let help = run(&settings, &[command, "--help"]).done();
            assert_eq!(help.stderr, "");
            insta::assert_snapshot!(format!("help_{command}"), help.stdout);
        }
    });
    for same in [&["-h"] as &[&str], &["help"]] {
        assert_eq!(run(&settings, same).done().stdout, program.stdout);
    }
    let create = run(&settings, &["create", "--help"]).stdout;
    for same in [
        &["create", "-h"] as &[&str],
        &["help", "create"],
        &["create", "--name", "x", "--help"],
    ] {
        assert_eq!(run(&settings, same).done().stdout, create);
    }
}

#[test]
fn the_version_is_one_line() {
    let settings = Settings::file_store();
    for flag in ["--version", "-V"] {
        let said = run(&settings, &[flag]).done();
        assert_eq!(said.stdout, format!("{}\n", heare_auth::version::line()));
        assert!(
            said.stdout
                .starts_with(concat!("heare-auth ", env!("CARGO_PKG_VERSION"), " ("))
        );
    }
}

#[test]
fn no_arguments_print_the_help_as_a_wrong_usage() {
    let settings = Settings::file_store();
    let said = run(&settings, &[]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    assert_eq!(said.stderr, run(&settings, &["--help"]).stdout);
}

#[test]
fn wrong_usage_is_one_sentence_and_the_usage() {
    let settings = Settings::file_store();
    let long_name = "x".repeat(256);
    let cases: [(&[&str], &str); 28] = [
        (&["frobnicate"], "Error: there is no command 'frobnicate'"),
        (&["sec_0001abc"], "Error: there is no such command"),
        (&["--json"], "Error: the command is missing"),
        (&["help", "nothing"], "Error: there is no command 'nothing'"),
        (&["help", "create", "extra"], "Error: there is an argument too many"),
        (&["help", "create", "--json"], "Error: there is no option --json"),
        (&["--version", "junk"], "Error: there is an argument too many"),
        (&["create"], "Error: --name is missing"),
        (&["create", "--name"], "Error: --name needs a value"),
        (&["create", "--name", "--json"], "Error: --name needs a value"),
        (&["create", "--name="], "Error: --name needs a value"),
        (&["create", "--name", ""], "Error: --name must have 1 to 255 characters"),
        (
            &["create", "--name", "  "],
            "Error: --name must have 1 to 255 characters",
        ),
        (
            &["create", "--name", &long_name],
            "Error: --name must have 1 to 255 characters",
        ),
        (
            &["create", "--name", "a\u{1b}[2Jb"],
            "Error: --name must not contain control characters",
        ),
        (
            &["create", "--name", "a", "--name", "b"],
            "Error: --name is given twice or with a value it does not take",
        ),
        (
            &["create", "--name", "a", "--secret-type", "rsa"],
            "Error: --secret-type must be shared_secret",
        ),
        (
            &["create", "--name", "a", "--refresh-url", "localhost"],
            "Error: --refresh-url must be a URL such as http://localhost:8080/refresh",
        ),
        (&["list", "--bucket", ""], "Error: --bucket needs a value"),
        (&["list", "--verbose"], "Error: there is no option --verbose"),
        (
            &["list", "--api-key=sec_0001abc"],
            "Error: there is no option --api-key",
        ),
        (&["list", "--sec_0001abc"], "Error: there is no such option"),
        (&["list", "sec_0001abc"], "Error: there is an argument too many"),
        (&["show"], "Error: KEY_ID is missing"),
        (
            &["show", "sec_0001abc"],
            "Error: KEY_ID must be the key's id (key_...), not its secret",
        ),
        (&["delete", "--nope"], "Error: there is no option --nope"),
        (&["verify", "sec_0001abc"], "Error: there is an argument too many"),
        (
            &["verify", "--offline"],
            "Error: the secret is missing on standard input",
        ),
    ];
    for (arguments, sentence) in cases {
        let said = run(&settings, arguments).failed(2, sentence);
        assert!(said.stderr.contains("\n\nUsage: heare-auth "), "{}", said.stderr);
        assert!(!said.stderr.contains("sec_0001abc"), "{}", said.stderr);
    }
    assert!(!settings.data_dir().exists(), "nothing was stored");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let settings = Settings::file_store();
    create(&settings, "reports");
    let mut command = settings.command(&["list"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), b"".as_slice())
    );
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let settings = Settings::file_store();
    create(&settings, "reports");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let cases: [(&[&str], &str); 2] = [
        (&["list"], "Error: the answer could not be written to standard output\n"),
        (
            &["create", "--name", "lost", "--no-refresh"],
            "was created, but its secret could not be written",
        ),
    ];
    for (arguments, sentence) in cases {
        let output = settings.command(arguments).stdout(full()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr.contains(sentence) && !stderr.contains("sec_"), "{stderr}");
    }
}
