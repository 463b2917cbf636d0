//! What the pages say, by its parts: for completions and the manual, so that they cannot say anything else.

use super::{Line, page, sentence};
use crate::{cli::Command, config::SETTINGS};

/// One command by its parts.
pub struct Outline {
    /// All words that call it.
    pub words: Vec<&'static str>,
    pub about: &'static str,
    pub sentence: String,
    /// What follows the command's word, as the usage line writes it.
    pub arguments: &'static str,
    pub groups: Vec<(&'static str, Vec<Line>)>,
    /// What `--json` prints.
    pub json: Option<&'static str>,
}

/// An option, and how it is completed.
pub struct Flag {
    /// `-y` and `--yes`, or one of them.
    pub names: Vec<&'static str>,
    /// What a value of it is called; one that takes none has none.
    pub value: Option<&'static str>,
    pub about: &'static str,
}

/// What may stand for an option's value or for an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nobody can guess it.
    Anything,
    Words(&'static [&'static str]),
    Path,
}

impl Flag {
    /// Those that may be given more than once say so.
    pub fn is_repeatable(&self) -> bool {
        self.about.contains("may be repeated")
    }

    pub fn expected(&self) -> Expected {
        let known = |words| Expected::Words(words);
        match (self.names.last().copied().unwrap_or_default(), self.value) {
            ("--format", _) => known(&["json", "csv"]),
            ("--environment", _) => known(&["production", "test", "development"]),
            ("--secret-type", _) => known(&["shared_secret"]),
            ("--clear", _) => known(&[
                "metadata",
                "scope",
                "allow-ip",
                "rate-limit",
                "burst",
                "limit",
                "expires-at",
            ]),
            (_, Some("FILE" | "PATH")) => Expected::Path,
            _ => Expected::Anything,
        }
    }
}

impl Outline {
    pub fn of(command: Command) -> Self {
        let page = page(command);
        let aliases = Command::ALIASES.iter().filter(|(_, own)| *own == command);
        Self {
            words: [command.word()]
                .into_iter()
                .chain(aliases.map(|(word, _)| *word))
                .collect(),
            about: page.about,
            sentence: sentence(page.about),
            arguments: page.arguments,
            groups: page
                .groups
                .iter()
                .map(|group| (group.title, group.lines.to_vec()))
                .collect(),
            json: page.json,
        }
    }

    pub fn all() -> impl Iterator<Item = Self> {
        Command::ALL.into_iter().map(Self::of)
    }

    pub fn flags(&self) -> Vec<Flag> {
        let lines = self.groups.iter().flat_map(|(_, lines)| lines);
        let mut flags: Vec<Flag> = lines.filter(|(left, _)| left.starts_with('-')).map(flag).collect();
        flags.push(flag(&HELP));
        flags
    }

    /// The words that the first argument may be, each with what it does.
    pub fn actions(&self) -> Vec<(&'static str, &'static str)> {
        let listed = self
            .groups
            .iter()
            .filter(|(title, _)| ["Actions", "Shells"].contains(title));
        let listed = listed.flat_map(|(_, lines)| lines);
        let mut actions: Vec<_> = listed.map(|&(left, about)| (first_word(left), about)).collect();
        let fixed = first_word(self.arguments);
        if fixed.starts_with(|first: char| first.is_ascii_lowercase()) {
            actions.push((fixed, self.about));
        }
        actions
    }

    /// What the first argument is called where nobody can guess it.
    pub fn own_word(&self) -> Option<&'static str> {
        let word = first_word(self.arguments).trim_matches(['[', ']']);
        let is_own = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let is_known = word == "OPTIONS" || self.takes_paths() || !self.actions().is_empty();
        (is_own && !is_known).then_some(word)
    }

    /// Whether an argument that is no option may be a file.
    pub fn takes_paths(&self) -> bool {
        ["FILE", "PATH"].iter().any(|word| self.arguments.contains(word))
    }
}

const HELP: Line = ("-h, --help", "show what the command does and all its options");

/// The options that stand alone, without a command.
pub fn program_flags() -> [Flag; 2] {
    [
        flag(&("-h, --help", "show all commands")),
        flag(&("-V, --version", "show the version")),
    ]
}

/// Name, default and meaning of every setting.
pub fn settings() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    SETTINGS
        .iter()
        .map(|setting| (setting.name, setting.default, setting.meaning))
}

fn flag(&(left, about): &Line) -> Flag {
    let (names, values): (Vec<&str>, Vec<&str>) = left
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .partition(|word| word.starts_with('-'));
    Flag {
        names,
        value: values.first().copied(),
        about,
    }
}

fn first_word(text: &'static str) -> &'static str {
    text.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_is_offered_is_in_the_page() {
        for command in Command::ALL {
            let page = super::super::command(command);
            for flag in Outline::of(command).flags() {
                if let Expected::Words(words) = flag.expected() {
                    for word in words {
                        assert!(page.contains(word), "{word} of {:?}", flag.names);
                    }
                }
            }
        }
    }

    #[test]
    fn the_parts_of_a_page_are_found() {
        let users = Outline::of(Command::Users);
        assert_eq!(users.actions()[1], ("show", "show one user"));
        assert!(users.takes_paths());
        let names: Vec<_> = users.flags().into_iter().map(|flag| (flag.names, flag.value)).collect();
        assert!(names.contains(&(vec!["-y", "--yes"], None)), "{names:?}");
        assert!(names.contains(&(vec!["--id"], Some("NUMBER"))), "{names:?}");
        assert_eq!(Outline::of(Command::Jwt).actions()[0].0, "rotate");
        assert_eq!(Outline::of(Command::Create).words, ["create", "create-key"]);
        assert!(Outline::of(Command::Show).actions().is_empty());
        for (command, word) in [
            (Command::Show, Some("KEY_ID")),
            (Command::Usage, Some("KEY_ID")),
            (Command::Rollback, Some("VERSION")),
            (Command::Scan, None),
            (Command::Users, None),
            (Command::List, None),
        ] {
            assert_eq!(Outline::of(command).own_word(), word, "{command:?}");
        }
    }
}
