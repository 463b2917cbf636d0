//! The usage texts of the commands that tell other programs about this one.

use super::{Group, Page};

pub const COMPLETIONS: Page = Page {
    arguments: "SHELL",
    about: "print a script with which a shell completes commands and options",
    groups: &[Group {
        title: "Shells",
        lines: &[
            ("bash", "source <(heare-auth completions bash), in ~/.bashrc"),
            (
                "zsh",
                "source <(heare-auth completions zsh), in ~/.zshrc behind compinit",
            ),
            (
                "fish",
                "heare-auth completions fish > ~/.config/fish/completions/heare-auth.fish",
            ),
        ],
    }],
    json: None,
};

pub const MAN: Page = Page {
    arguments: "",
    about: "print the manual page; heare-auth man > heare-auth.1, then man ./heare-auth.1",
    groups: &[],
    json: None,
};
