//! Completions in real shells, the manual page in front of its judges, and the version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::run;
use crate::support::service::Settings;

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// What is typed before TAB, and what the line is then. What is offered nothing stays as it is.
const COMPLETED: [(&str, &str); 11] = [
    ("heare-auth rev", "heare-auth revoke"),
    ("heare-auth create --na", "heare-auth create --name"),
    ("heare-auth create-key --overl", "heare-auth create-key --overl"),
    ("heare-auth rotate --overl", "heare-auth rotate --overlap"),
    ("heare-auth rotate key_1 --overl", "heare-auth rotate key_1 --overlap"),
    ("heare-auth rollback 7 --dry", "heare-auth rollback 7 --dry-run"),
    (
        "heare-auth create --environment prod",
        "heare-auth create --environment production",
    ),
    ("heare-auth users dis", "heare-auth users disable"),
    ("heare-auth jwt ro", "heare-auth jwt rotate"),
    ("heare-auth completions zs", "heare-auth completions zsh"),
    ("heare-auth export --format c", "heare-auth export --format csv"),
];

/// A folder with the three scripts, as the program prints them.
fn scripts() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::file_store();
    for shell in SHELLS {
        let script = run(&settings, &["completions", shell]).done().stdout;
        fs::write(folder.path().join(shell), script).unwrap();
    }
    folder
}

fn python() -> PathBuf {
    crate::support::tool("venv/bin/python")
}

/// What the line has become after TAB, on a terminal of the shell's own.
fn after_tab(shell: &[&str], script: &Path, typed: &str) -> String {
    let said = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal.py"))
        .arg(script)
        .arg(typed)
        .args(shell)
        .envs([("TERM", "dumb"), ("PS1", "> "), ("LC_ALL", "C.UTF-8")])
        .current_dir(script.parent().unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    text
}

#[test]
fn bash_completes_commands_options_and_their_values_on_a_terminal() {
    let scripts = scripts();
    let bash = ["bash", "--norc", "--noprofile", "-i"];
    for (typed, expected) in COMPLETED.into_iter().chain([
        ("heare-auth export --format=js", "heare-auth export --format=json"),
        ("heare-auth scan zs", "heare-auth scan zsh"),
    ]) {
        assert_eq!(
            after_tab(&bash, &scripts.path().join("bash"), typed),
            expected,
            "{typed}"
        );
    }
}

#[test]
fn zsh_completes_commands_options_and_their_values_on_a_terminal() {
    let scripts = scripts();
    let with_system = scripts.path().join("begin");
    fs::write(&with_system, "autoload -Uz compinit; compinit -u -D; . ./zsh\n").unwrap();
    for (typed, expected) in COMPLETED.into_iter().chain([
        ("heare-auth export --format=js", "heare-auth export --format=json"),
        ("heare-auth scan zs", "heare-auth scan zsh"),
    ]) {
        // zsh ends a long option that takes a value by the sign that divides the two.
        let line = after_tab(&["zsh", "-f", "-i"], &with_system, typed);
        assert_eq!(line.trim_end_matches('='), expected, "{typed}");
    }
}

#[test]
fn fish_offers_commands_options_and_their_values_with_what_they_mean() {
    let scripts = scripts();
    for (typed, expected) in COMPLETED {
        let ask = format!(
            "source {}; complete -C '{typed}'",
            scripts.path().join("fish").display()
        );
        let said = Command::new("fish").args(["--no-config", "-c", &ask]).output().unwrap();
        assert!(said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let offered: Vec<&str> = text
            .lines()
            .map(|line| line.split('\t').next().unwrap_or_default())
            .collect();
        if expected == typed {
            assert!(offered.is_empty(), "{typed}: {text}");
        } else {
            // Shells fill in what all candidates have in common; fish lists them.
            let word = expected.rsplit(' ').next().unwrap();
            assert_eq!(offered.first(), Some(&word), "{typed}: {text}");
            assert!(offered.iter().all(|one| one.starts_with(word)), "{typed}: {text}");
            assert!(!word.starts_with("--") || text.contains('\t'), "{text}");
        }
    }
}

#[test]
fn every_option_of_the_help_is_in_all_completions_and_in_the_manual() {
    let settings = Settings::file_store();
    let manual = run(&settings, &["man"]).done().stdout.replace("\\-", "-");
    let scripts = SHELLS.map(|shell| run(&settings, &["completions", shell]).done().stdout);
    let help = run(&settings, &["--help"]).done().stdout;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut options = 0;
    for command in commands.lines().map(|line| line.split_whitespace().next().unwrap()) {
        let page = run(&settings, &[command, "--help"]).done().stdout;
        let named = page
            .lines()
            .filter_map(|line| line.strip_prefix("  ").filter(|line| line.starts_with('-')));
        for option in named.map(|line| line.split([' ', ',']).next().unwrap()) {
            options += 1;
            assert!(manual.contains(option), "{command} {option}");
            let [bash, zsh, fish] = &scripts;
            let short = option
                .strip_prefix("--")
                .map_or(format!("-s {}", &option[1..]), |long| format!("-l {long} "));
            assert!(
                bash.contains(option) && zsh.contains(option) && fish.contains(&short),
                "{command} {option}"
            );
        }
        assert!(manual.contains(&format!("heare-auth {command}\\fR")), "{command}");
    }
    assert!(options > 100, "{options}");
}

#[test]
fn man_and_its_judges_find_no_fault_in_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("heare-auth.1");
    // A debug build does not know its day, and a page without one is a fault.
    let text = run(&Settings::file_store(), &["man"]).done().stdout;
    fs::write(&page, text.replacen("1 \"\"", "1 \"2026-01-31\"", 1)).unwrap();
    let file = page.to_str().unwrap();
    let judges: [&[&str]; 3] = [
        &["groff", "-man", "-Tutf8", "-ww", "-z", file],
        &["mandoc", "-T", "lint", "-W", "warning", file],
        &["man", "--warnings", "-E", "UTF-8", "-l", file],
    ];
    for judge in judges {
        let said = Command::new(judge[0])
            .args(&judge[1..])
            .envs([("LC_ALL", "C.UTF-8"), ("MANWIDTH", "100"), ("MANPAGER", "cat")])
            .output()
            .unwrap_or_else(|error| panic!("scripts/setup has installed {}: {error}", judge[0]));
        let (text, errors) = (
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr),
        );
        assert!(said.status.success() && errors.is_empty(), "{judge:?}: {errors}{text}");
        if judge[0] == "man" {
            for words in [
                "is this API key good",
                "heare-auth users",
                "--end-all",
                "RATE_LIMIT",
                "~/.heare-auth.toml",
            ] {
                assert!(text.contains(words), "{words}: {text}");
            }
        } else {
            assert!(text.is_empty(), "{judge:?}: {text}");
        }
    }
}

#[test]
fn a_shell_that_is_not_known_is_wrong_usage() {
    let settings = Settings::file_store();
    let sentence = "Error: SHELL must be one of: bash, zsh, fish";
    run(&settings, &["completions"]).failed(2, sentence);
    run(&settings, &["completions", "tcsh"]).failed(2, sentence);
    run(&settings, &["completions", "bash", "zsh"]).failed(2, "Error: there is an argument too many");
    run(&settings, &["man", "page"]).failed(2, "Error: there is an argument too many");
}

/// What the build script says in a folder, with these variables.
fn told(script: &Path, folder: &Path, variables: &[(&str, &str)]) -> String {
    let said = Command::new(script)
        .current_dir(folder)
        .env_remove("COMMIT")
        .env_remove("SOURCE_DATE_EPOCH")
        .env("PROFILE", "release")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(said.status.success());
    String::from_utf8(said.stdout).unwrap()
}

/// A repository with one commit of that second.
fn repository(seconds: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let said = Command::new("git")
            .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
            .args(arguments)
            .env("GIT_COMMITTER_DATE", format!("@{seconds} +0000"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "--message", "Begin"]);
    let commit = git(&["rev-parse", "HEAD"]);
    (folder, commit)
}

#[test]
fn a_release_knows_its_commit_and_its_day_by_what_is_given_or_else_by_git() {
    let built = tempfile::tempdir().unwrap();
    let script = built.path().join("build");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs");
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", source, "-o"])
        .arg(&script)
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let (repository, commit) = repository("951782400");
    let outside = tempfile::tempdir().unwrap();
    let [commit_is, date_is] = [
        "cargo::rustc-env=HEARE_AUTH_COMMIT=",
        "cargo::rustc-env=HEARE_AUTH_DATE=",
    ];

    let by_git = told(&script, repository.path(), &[]);
    assert!(by_git.contains(&format!("{commit_is}{}\n", &commit[..12])), "{by_git}");
    assert!(by_git.contains(&format!("{date_is}2000-02-29\n")), "{by_git}");
    assert_eq!(
        by_git,
        told(&script, repository.path(), &[]),
        "the same commit makes the same"
    );

    let given = [("COMMIT", "v1.2.3"), ("SOURCE_DATE_EPOCH", "1704067199")];
    for folder in [repository.path(), outside.path()] {
        let text = told(&script, folder, &given);
        assert!(text.contains(&format!("{commit_is}v1.2.3\n")), "{text}");
        assert!(text.contains(&format!("{date_is}2023-12-31\n")), "{text}");
    }
    for (folder, variables) in [
        (outside.path(), &[][..]),
        (repository.path(), &[("PROFILE", "debug")]),
        (outside.path(), &[("COMMIT", "a\"b\nc"), ("SOURCE_DATE_EPOCH", "soon")]),
    ] {
        let text = told(&script, folder, variables);
        assert!(!text.contains("rustc-env"), "{text}");
    }
    let inner = repository.path().join("vendored");
    fs::create_dir(&inner).unwrap();
    assert!(
        !told(&script, &inner, &[]).contains("rustc-env"),
        "the repository around it is another one"
    );
}
