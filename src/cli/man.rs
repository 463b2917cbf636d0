//! `man`: the manual page, made from the same texts as the help.

use std::{fmt::Write as _, process::ExitCode};

use super::{
    args::Args,
    failure::Failure,
    help::outline::{Outline, program_flags, settings},
    output,
};
use crate::version;

const WRITTEN: &str = "a String takes everything";

pub fn man(args: Args) -> Result<ExitCode, Failure> {
    args.end()?;
    output::answer(&page())?;
    Ok(ExitCode::SUCCESS)
}

fn page() -> String {
    let date = version::DATE.unwrap_or_default();
    let mut text = format!(
        ".TH HEARE\\-AUTH 1 \"{date}\" \"heare\\-auth {}\" \"User Commands\"\n",
        escaped(version::VERSION)
    );
    text.push_str(".SH NAME\nheare\\-auth \\- is this API key good, and whose is it?\n");
    text.push_str(".SH SYNOPSIS\n.B heare\\-auth\n.I COMMAND\n[\\fIOPTIONS\\fR]\n");
    push_section(&mut text, "DESCRIPTION", DESCRIPTION);
    text.push_str(".SH OPTIONS\n");
    for flag in program_flags() {
        push_item(&mut text, &flag.names.join(", "), flag.about);
    }
    text.push_str(".SH COMMANDS\n");
    Outline::all().for_each(|outline| push_command(&mut text, &outline));
    text.push_str(".SH ENVIRONMENT\nThe service and the commands that open the store read these settings.\n");
    for (name, default, meaning) in settings() {
        let default = Some(default).filter(|default| !default.is_empty());
        let default = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        push_item(&mut text, name, &format!("{meaning}{default}"));
    }
    push_section(&mut text, "FILES", "");
    push_item(&mut text, "~/.heare-auth.toml", FILE);
    text.push_str(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in [("0", "done"), ("1", "failed"), ("2", "wrong usage")] {
        push_item(&mut text, code, meaning);
    }
    text
}

const DESCRIPTION: &str = "All keys live in one JSON document, an object in S3 or a local file. 'heare-auth serve' answers from memory \
    whether a key is good; the other commands change the document, look into it, or ask the service.";

const FILE: &str = "under [default] the texts s3_bucket, s3_key, s3_region and refresh_url, for the commands but not for the service; \
    a flag comes before the environment, and that before this file";

fn push_section(text: &mut String, title: &str, body: &str) {
    writeln!(text, ".SH {title}").expect(WRITTEN);
    if !body.is_empty() {
        writeln!(text, "{}", escaped(body)).expect(WRITTEN);
    }
}

fn push_command(text: &mut String, outline: &Outline) {
    let usage = format!(
        "\\fBheare\\-auth {}\\fR {}",
        escaped(outline.words[0]),
        escaped(outline.arguments)
    );
    writeln!(
        text,
        ".SS \"{}\"\n{}\n.PP\n{}",
        escaped(&outline.words.join(", ")),
        escaped(&outline.sentence),
        usage.trim_end()
    )
    .expect(WRITTEN);
    for (title, lines) in &outline.groups {
        writeln!(text, ".PP\n{}:", escaped(title)).expect(WRITTEN);
        for (left, right) in lines {
            push_item(text, left, right);
        }
    }
    if let Some(members) = outline.json {
        let members: Vec<&str> = members.split_whitespace().collect();
        writeln!(text, ".PP\nMembers of the JSON object: {}", escaped(&members.join(" "))).expect(WRITTEN);
    }
}

fn push_item(text: &mut String, left: &str, right: &str) {
    writeln!(text, ".TP\n\\fB{}\\fR\n{}", escaped(left), escaped(right)).expect(WRITTEN);
}

/// As text, to the letter: no sign of it is a request to the formatter.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    if text.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '"' => out.push_str("\\(dq"),
            '~' => out.push_str("\\(ti"),
            '^' => out.push_str("\\(ha"),
            '`' => out.push_str("\\(ga"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_taken_for_a_request() {
        for (text, expected) in [
            (".SH x", "\\&.SH x"),
            ("'x'", "\\&\\(aqx\\(aq"),
            ("a\\b-c", "a\\eb\\-c"),
            ("~/.x", "\\(ti/.x"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
