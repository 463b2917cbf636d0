//! The script for zsh.

use std::fmt::Write as _;

use crate::cli::help::outline::{Expected, Flag, Outline, program_flags};

const WRITTEN: &str = "a String takes everything";

const BEGIN: &str = "\
#compdef heare-auth
# Completes heare-auth in zsh: source this file behind compinit, or put it as _heare-auth into a folder of $fpath.
_heare_auth() {
    local -a commands
    commands=(
";

const MIDDLE: &str = "    )
    if (( CURRENT == 2 )); then
        _describe -t commands 'command' commands
        _arguments \\
";

const END: &str = "    esac
}
if [ \"$funcstack[1]\" = '_heare-auth' ]; then
    _heare_auth \"$@\"
else
    compdef _heare_auth heare-auth
fi
";

pub fn script() -> String {
    let mut text = BEGIN.to_owned();
    for outline in Outline::all() {
        for word in &outline.words {
            writeln!(text, "        {}", described(word, outline.about)).expect(WRITTEN);
        }
    }
    writeln!(text, "        {}", described("help", "show what a command does")).expect(WRITTEN);
    text.push_str(MIDDLE);
    let alone = program_flags();
    let alone: Vec<String> = alone.iter().flat_map(specifications).collect();
    writeln!(
        text,
        "            {}\n        return\n    fi",
        alone.join(" \\\n            ")
    )
    .expect(WRITTEN);
    text.push_str("    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in\n");
    text.push_str("        help) _describe -t commands 'command' commands ;;\n");
    for outline in Outline::all() {
        push_command(&mut text, &outline);
    }
    text.push_str(END);
    text
}

fn push_command(text: &mut String, outline: &Outline) {
    let flags = outline.flags();
    let mut all: Vec<String> = flags.iter().flat_map(specifications).collect();
    let actions = outline.actions();
    if !actions.is_empty() {
        let words: Vec<String> = actions
            .iter()
            .map(|(word, about)| format!("{word}\\:{}", inner(about)))
            .collect();
        all.push(quoted(&format!("1:action:(({}))", words.join(" "))));
    }
    // Without a place for it, nothing is completed behind such an argument.
    if let Some(word) = outline.own_word() {
        all.push(quoted(&format!("1:{word}:()")));
    }
    if outline.takes_paths() {
        all.push(quoted("*:file:_files"));
    }
    writeln!(
        text,
        "        {})\n            _arguments \\\n                {}\n            ;;",
        outline.words.join(" | "),
        all.join(" \\\n                ")
    )
    .expect(WRITTEN);
}

/// One for each name of the option.
fn specifications(flag: &Flag) -> Vec<String> {
    let repeated = if flag.is_repeatable() { "*" } else { "" };
    let about = in_brackets(flag.about);
    let value = match (flag.value, flag.expected()) {
        (None, _) => String::new(),
        (Some(name), Expected::Anything) => format!(":{name}: "),
        (Some(name), Expected::Words(words)) => format!(":{name}:({})", words.join(" ")),
        (Some(name), Expected::Path) => format!(":{name}:_files"),
    };
    // zsh takes --name=value, too, where the name ends so.
    let joins = |name: &str| {
        if flag.value.is_some() && name.starts_with("--") {
            "="
        } else {
            ""
        }
    };
    let names = flag.names.iter();
    names
        .map(|name| quoted(&format!("{repeated}{name}{}[{about}]{value}", joins(name))))
        .collect()
}

fn described(word: &str, about: &str) -> String {
    quoted(&format!("{word}:{}", about.replace('\\', "\\\\").replace(':', "\\:")))
}

fn in_brackets(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:")
}

/// The description of one of several words, which are divided by blanks.
fn inner(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.,".contains(c);
    text.chars()
        .flat_map(|c| (!is_plain(c)).then_some('\\').into_iter().chain([c]))
        .collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
