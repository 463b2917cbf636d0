//! Runs the commands of README.md, USAGE.md and the guides, and holds the documents against one another. How a document is
//! run is in support/console.rs. Shell blocks that are not run need a reason in front of them: `<!-- not run: because … -->`.

use std::path::Path;

use crate::support::{
    console::{self, Stage, commands},
    read, root,
    service::Service,
    settings::Settings,
};

/// One service on a local file, which nothing happens to.
struct Alone(Service);

impl Stage for Alone {
    fn settings(&self) -> Settings {
        self.0.settings().clone().with("REFRESH_URL", self.0.url("/refresh"))
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("localhost:8080", self.0.address().to_string())]
    }

    fn log(&self) -> Vec<String> {
        self.0.log_lines()
    }

    fn meanwhile(&mut self, event: &str) {
        panic!("nothing happens here: {event}");
    }
}

fn run_document(name: &str) {
    let service = Settings::file_store().start_ready();
    console::run_document(name, &mut Alone(service));
}

#[test]
fn the_commands_in_usage_print_what_usage_says() {
    run_document("USAGE.md");
}

#[test]
fn the_commands_in_the_readme_print_what_the_readme_says() {
    run_document("README.md");
}

#[test]
fn the_commands_in_the_migration_guide_print_what_it_says() {
    run_document("documentation/migration/api-keys.md");
}

#[test]
fn the_commands_in_the_migration_guide_of_accounts_print_what_it_says() {
    run_document("documentation/migration/accounts.md");
}

#[test]
fn the_commands_in_the_authentication_guide_print_what_it_says() {
    run_document("documentation/getting-started/authentication.md");
}

#[test]
fn the_commands_in_the_security_guide_print_what_it_says() {
    run_document("documentation/security/api-keys.md");
}

#[test]
fn the_commands_in_the_troubleshooting_guide_print_what_it_says() {
    run_document("documentation/troubleshooting/api-keys.md");
}

#[test]
fn the_commands_in_the_monitoring_guide_print_what_it_says() {
    run_document("documentation/monitoring/README.md");
}

#[test]
fn every_document_with_commands_to_run_is_run() {
    let sources = concat!(include_str!("docs.rs"), include_str!("runbooks.rs"));
    let sources: String = sources.split_whitespace().collect();
    for name in documents() {
        let commands = commands(&name);
        let calls = [format!("run_document(\"{name}\")"), format!("play(\"{name}\",")];
        let is_run = calls.iter().any(|call| sources.contains(call));
        assert!(commands == 0 || is_run, "{name}: {commands} commands are not run");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for name in documents() {
        let folder = Path::new(&name).parent().expect("a document is in a folder");
        for target in links(&read(&name)) {
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() {
                root().join(&name)
            } else {
                root().join(folder).join(path)
            };
            let found = file.exists() && (heading.is_empty() || headings(&file).iter().any(|h| h == heading));
            if !found {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_index() {
    let index = links(&read("documentation/README.md"));
    for name in documents() {
        let Some(page) = name.strip_prefix("documentation/") else {
            continue;
        };
        let is_decision = page.starts_with("decisions/") && page != "decisions/README.md";
        let listed = index.iter().any(|target| target == page);
        assert!(
            page == "README.md" || is_decision || listed,
            "{page} is not in documentation/README.md"
        );
    }
}

#[test]
fn every_shell_block_is_run_or_says_why_not() {
    for name in documents() {
        let text = read(&name);
        let mut reason = false;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("<!-- not run:") {
                reason = true;
            } else if let Some(language) = line.strip_prefix("```").filter(|l| !l.is_empty()) {
                let shell = matches!(language, "bash" | "sh" | "shell");
                assert!(!shell || reason, "{name}:{}: neither run nor a reason", number + 1);
                reason = false;
            } else if !line.trim().is_empty() {
                reason = false;
            }
        }
    }
}

fn documents() -> Vec<String> {
    let mut names = vec![
        "README.md".to_owned(),
        "USAGE.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "clients/README.md".to_owned(),
    ];
    let mut folders = vec!["documentation".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("documentation/ is there") {
            let entry = entry.expect("a readable folder");
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                folders.push(name);
            } else if entry.path().extension().is_some_and(|extension| extension == "md") {
                names.push(name);
            }
        }
    }
    names
}

/// The targets of all links to this repository.
fn links(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The headings of a document as links name them.
fn headings(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let titles = text.lines().filter_map(|line| line.strip_prefix('#'));
    titles.map(|title| slug(title.trim_start_matches('#').trim())).collect()
}

fn slug(title: &str) -> String {
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
