//! The script for bash. It needs nothing but bash itself.

use std::fmt::Write as _;

use crate::cli::help::outline::{Expected, Flag, Outline, program_flags};

const WRITTEN: &str = "a String takes everything";

const BEGIN: &str = "\
# Completes heare-auth in bash: source this file, or put it into ~/.local/share/bash-completion/completions/heare-auth.
_heare_auth() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words='' paths=''
    COMPREPLY=()
    # bash takes --format=json for three words.
    if [ \"$current\" = '=' ]; then
        current=''
    elif [ \"$before\" = '=' ]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
";

const END: &str = "    esac
    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))
    if [ -n \"$paths\" ]; then
        local IFS=$'\\n'
        compopt -o filenames 2>/dev/null
        COMPREPLY+=($(compgen -f -- \"$current\"))
    fi
}
complete -F _heare_auth heare-auth
";

pub fn script() -> String {
    let mut text = BEGIN.to_owned();
    let mut first: Vec<&str> = Outline::all().flat_map(|outline| outline.words).collect();
    let alone = program_flags();
    first.extend(alone.iter().flat_map(|flag| &flag.names));
    first.push("help");
    writeln!(
        text,
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '{}' -- \"$current\"))\n        return\n    fi\n    case ${{COMP_WORDS[1]}} in",
        first.join(" ")
    )
    .expect(WRITTEN);
    let commands: Vec<&str> = Outline::all().flat_map(|outline| outline.words).collect();
    writeln!(text, "        help) words='{}' ;;", commands.join(" ")).expect(WRITTEN);
    for outline in Outline::all() {
        push_command(&mut text, &outline);
    }
    text.push_str(END);
    text
}

fn push_command(text: &mut String, outline: &Outline) {
    let flags = outline.flags();
    let mut words: Vec<&str> = outline.actions().into_iter().map(|(word, _)| word).collect();
    words.extend(flags.iter().flat_map(|flag| &flag.names));
    writeln!(
        text,
        "        {})\n            case $before in",
        outline.words.join(" | ")
    )
    .expect(WRITTEN);
    for flag in flags.iter().filter(|flag| flag.value.is_some()) {
        writeln!(text, "                {}) {} ;;", flag.names.join(" | "), value(flag)).expect(WRITTEN);
    }
    writeln!(
        text,
        "                *) words='{}'{} ;;",
        words.join(" "),
        also_paths(outline)
    )
    .expect(WRITTEN);
    text.push_str("            esac\n            ;;\n");
}

/// What is offered where the option's value stands.
fn value(flag: &Flag) -> String {
    match flag.expected() {
        Expected::Anything => "return".to_owned(),
        Expected::Words(words) => format!("words='{}'", words.join(" ")),
        Expected::Path => "paths=yes".to_owned(),
    }
}

fn also_paths(outline: &Outline) -> &'static str {
    if outline.takes_paths() { " paths=yes" } else { "" }
}
