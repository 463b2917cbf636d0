//! Looks at the store: whether it answers, what time it has, what the document is like, and whether write conditions are kept.

use crate::{
    cli::{
        args::Settings,
        list::label,
        store::{DocumentStore, advice, envelope_advice},
    },
    clock::Clock,
    config::{Location, StoreConfig},
    core::index::Index,
    envelope::Envelope,
    store::{Conditions, Fetched, Version},
};

use super::report::Report;

/// How many bad records are named; the count is always exact.
const NAMED_RECORDS: usize = 20;

/// So much of a difference nobody notices: keys expire by the clocks of instances.
const BEARABLE_MS: i64 = 5_000;
/// With more than this AWS refuses every request.
const REFUSED_MS: i64 = 15 * 60 * 1000;

/// The document that was read, by what a service with the same one has of it.
pub struct Seen {
    opened: DocumentStore,
    version: Option<Version>,
    pub keys: usize,
}

impl Seen {
    /// Whether this is its `ETag` at `/ready`.
    pub fn is(&self, etag: &str) -> bool {
        self.version.as_ref().is_some_and(|version| version.0 == etag)
    }

    /// What is stored by now. False when nobody knows.
    pub async fn look_again(&mut self) -> bool {
        match self.opened.store.read_if_changed(self.version.as_ref()).await {
            Ok(Fetched::Unchanged) => {}
            Ok(Fetched::Missing) => self.version = None,
            Ok(Fetched::Object { version, .. }) => self.version = Some(version),
            Err(_) => return false,
        }
        true
    }
}

/// Nothing where no document can be read. `in_force` is whether the service has one.
pub async fn check(settings: &Settings, write: bool, in_force: bool, report: &mut Report) -> Option<Seen> {
    // A wrong setting has been named with the settings.
    let Ok(config) = StoreConfig::from_lookup(&|name| settings.get(name)) else {
        return None;
    };
    let opened = match DocumentStore::open_config(&config).await {
        Ok(opened) => opened,
        Err(error) => {
            report.fail("store", error.to_string(), advice(error));
            return None;
        }
    };
    let location = opened.store.location();
    let fetched = match opened.store.read_if_changed(None).await {
        Ok(fetched) => fetched,
        Err(error) => {
            report.fail("store", format!("{error} ({location})"), advice(error));
            return None;
        }
    };
    let keys = match &fetched {
        Fetched::Object { bytes, .. } => {
            report.ok("store", format!("{location} can be read, {} bytes", bytes.len()));
            check_document(&opened.envelope, bytes, report)
        }
        Fetched::Missing | Fetched::Unchanged if in_force => {
            report.fail(
                "store",
                format!("{location} answers and holds no document, and the service has one in force"),
                "Make no keys and restart no instance. Where the document is lost, 'heare-auth history' and 'heare-auth rollback' bring it back; else check that both have the same S3_BUCKET and S3_KEY, or DATA_DIR.",
            );
            Some(0)
        }
        Fetched::Missing | Fetched::Unchanged => {
            report.warn(
                "store",
                format!("{location} answers and holds no document yet"),
                "'heare-auth create' writes the first.",
            );
            Some(0)
        }
    };
    check_clock(&opened, report).await;
    if write {
        check_writes(&opened, &config, &fetched, report).await;
    }
    let version = match fetched {
        Fetched::Object { version, .. } => Some(version),
        Fetched::Missing | Fetched::Unchanged => None,
    };
    keys.map(|keys| Seen { opened, version, keys })
}

/// Keys begin and end by this machine's clock, and AWS refuses requests whose time is another than its own.
async fn check_clock(opened: &DocumentStore, report: &mut Report) {
    const ADVICE: &str = "Let this machine's clock be set by NTP, such as by systemd-timesyncd or chrony.";
    let before = Clock::wall_micros() / 1000;
    let Some(store) = opened.store.clock().await else {
        return;
    };
    let ahead = ahead(before, Clock::wall_micros() / 1000, store.as_millis());
    let message = match ahead {
        ..0 => format!("this machine's clock is {} s behind the store's", -ahead / 1000),
        _ => format!("this machine's clock is {} s ahead of the store's", ahead / 1000),
    };
    if ahead.abs() <= BEARABLE_MS {
        report.ok("clock", "agrees with the store's");
    } else if ahead.abs() <= REFUSED_MS {
        report.warn("clock", message, ADVICE);
    } else {
        report.fail("clock", message, ADVICE);
    }
}

/// By how much the clock here is ahead, for certain: it showed these times before and after the store was asked, whose answer is
/// rounded down to a second.
fn ahead(before: i64, after: i64, store: i64) -> i64 {
    if after < store {
        after - store
    } else {
        (before - store - 999).max(0)
    }
}

fn check_document(envelope: &Envelope, object: &[u8], report: &mut Report) -> Option<usize> {
    let document = match envelope.open(object) {
        Ok(document) => document,
        Err(error) => {
            report.fail("document", error.to_string(), envelope_advice(error));
            return None;
        }
    };
    let index = match Index::build(&document) {
        Ok(index) => index,
        Err(error) => {
            report.fail(
                "document",
                error.to_string(),
                "Restore an earlier version; a running service keeps the keys it has.",
            );
            return None;
        }
    };
    let generation = index
        .generation()
        .map_or_else(String::new, |generation| format!(", generation {generation}"));
    report.ok(
        "document",
        format!("whole, {} good keys{generation}", index.keys_count()),
    );
    if envelope.seals() && !Envelope::is_sealed(object) {
        report.warn(
            "encryption",
            "STORAGE_SECRET is set and the document is not encrypted yet",
            "Any write encrypts it, such as 'heare-auth migrate'.",
        );
    }
    check_records(&index, report);
    Some(index.keys_count())
}

fn check_records(index: &Index, report: &mut Report) {
    for bad in index.bad_records().iter().take(NAMED_RECORDS) {
        let message = format!(
            "{} (number {} in the list) is denied: {}",
            label(bad.id.as_deref()),
            bad.position + 1,
            bad.defect.word()
        );
        report.warn(
            "record",
            message,
            "Mend the record in the document, or delete the key and create another.",
        );
    }
    let unnamed = index.bad_records_count().saturating_sub(NAMED_RECORDS);
    if unnamed > 0 {
        report.warn(
            "record",
            format!("{unnamed} more are denied"),
            "'heare-auth list' marks all of them.",
        );
    }
    if index.plaintext_count() > 0 {
        let message = format!("{} keys are stored with their secret", index.plaintext_count());
        report.warn("plaintext", message, "'heare-auth migrate' stores digests instead.");
    }
}

async fn check_writes(opened: &DocumentStore, config: &StoreConfig, fetched: &Fetched, report: &mut Report) {
    const NAME: &str = "writes";
    const IGNORES: &str = "the store ignores write conditions, so a write could undo somebody else's";
    let is_file = matches!(config.location, Location::File { .. });
    let message = match opened.store.try_conditions(fetched).await {
        Ok(Conditions::Kept) if is_file => {
            return report.ok(NAME, "the file can be written, by one writer after the other");
        }
        Ok(Conditions::Kept) => {
            let message = "the store keeps write conditions, so no writer can undo another's change";
            return report.ok(NAME, message);
        }
        Ok(Conditions::HalfKept) => {
            let message = "the store keeps If-Match; If-None-Match cannot be asked while it holds no document";
            return report.warn(
                NAME,
                message,
                "Look again when 'heare-auth create' has written the first.",
            );
        }
        Ok(Conditions::Ignored) => IGNORES.to_owned(),
        Ok(Conditions::IgnoredAndTaken) => {
            let location = opened.store.location();
            format!("{IGNORES}; {location} holds a document without keys now, which it took and should have refused")
        }
        Err(error) if is_file => {
            let message = format!("the file cannot be written: {error}");
            return report.fail(
                NAME,
                message,
                "Let the service's user write to the folder and what is in it, and look whether the disk is full.",
            );
        }
        Err(error) => return report.fail(NAME, error.to_string(), advice(error)),
    };
    if config.allow_unconditional_writes {
        report.warn(
            NAME,
            message,
            "ALLOW_UNCONDITIONAL_WRITES is set: write from one place only.",
        );
    } else {
        let advice = "Use a store that keeps If-Match and If-None-Match, or set ALLOW_UNCONDITIONAL_WRITES=true and write from one place only.";
        report.fail(NAME, message, advice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_differs_only_as_far_as_is_certain() {
        for (before, after, store, expected) in [
            (10_000, 10_400, 10_000, 0),
            (10_999, 12_000, 10_000, 0),
            (9_900, 10_100, 10_000, 0),
            (70_999, 71_000, 10_000, 60_000),
            (9_000, 9_500, 70_000, -60_500),
        ] {
            assert_eq!(ahead(before, after, store), expected, "{before} {after} {store}");
        }
    }
}
