//! The script for fish.

use std::fmt::Write as _;

use crate::cli::help::outline::{Expected, Flag, Outline, program_flags};

const WRITTEN: &str = "a String takes everything";

const BEGIN: &str = "\
# Completes heare-auth in fish: put this file as heare-auth.fish into ~/.config/fish/completions.
function __heare_auth_needs_command
    test (count (commandline -opc)) -eq 1
end
function __heare_auth_command
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end
function __heare_auth_action
    set -l words (commandline -opc)
    test (count $words) -eq 2; and contains -- $words[2] $argv
end
complete -c heare-auth -f
";

pub fn script() -> String {
    let mut text = BEGIN.to_owned();
    for flag in program_flags() {
        push(&mut text, "__heare_auth_needs_command", &option(&flag));
    }
    push(
        &mut text,
        "__heare_auth_needs_command",
        &word("help", "show what a command does"),
    );
    for outline in Outline::all() {
        for name in &outline.words {
            push(&mut text, "__heare_auth_needs_command", &word(name, outline.about));
        }
        push(
            &mut text,
            "__heare_auth_action help",
            &word(outline.words[0], outline.about),
        );
        push_command(&mut text, &outline);
    }
    text
}

fn push_command(text: &mut String, outline: &Outline) {
    let words = outline.words.join(" ");
    for (action, about) in outline.actions() {
        push(text, &format!("__heare_auth_action {words}"), &word(action, about));
    }
    let condition = format!("__heare_auth_command {words}");
    for flag in outline.flags() {
        push(text, &condition, &option(&flag));
    }
    if outline.takes_paths() {
        push(text, &condition, "-F");
    }
}

fn push(text: &mut String, condition: &str, rest: &str) {
    writeln!(text, "complete -c heare-auth -n '{condition}' {rest}").expect(WRITTEN);
}

fn word(word: &str, about: &str) -> String {
    format!("-a {word} -d {}", quoted(about))
}

fn option(flag: &Flag) -> String {
    let names: Vec<String> = flag
        .names
        .iter()
        .map(|name| match name.strip_prefix("--") {
            Some(long) => format!("-l {long}"),
            None => format!("-s {}", &name[1..]),
        })
        .collect();
    let value = match (flag.value, flag.expected()) {
        (None, _) => String::new(),
        (Some(_), Expected::Anything) => " -x".to_owned(),
        (Some(_), Expected::Words(words)) => format!(" -x -a '{}'", words.join(" ")),
        (Some(_), Expected::Path) => " -r -F".to_owned(),
    };
    format!("{}{value} -d {}", names.join(" "), quoted(flag.about))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
