//! `history` and `rollback`: the versions of the document that the bucket keeps, and the way back to one of them.

use std::{collections::HashMap, fmt::Write as _, process::ExitCode};

use serde::Serialize;

use super::{
    args::Args,
    failure::Failure,
    keys::tell_sealed,
    output::{self, is_agreed, shown},
    record::{self, Status},
    service::{AfterChange, RefreshOutcome, RefreshPlan},
    store::DocumentStore,
};
use crate::{
    core::{
        change::Change,
        document::Document,
        restore::{Restore, Seen, difference},
        time::Timestamp,
    },
    store::{StoredVersion, Versions, commit::CommitError},
};

const DEFAULT_LIMIT: usize = 20;
/// How many keys of a kind are shown to people; `--json` has them all.
const SHOWN: usize = 20;

#[derive(Serialize)]
struct History<'a> {
    versions: &'a [Listed],
}

#[derive(Serialize)]
struct Listed {
    version: String,
    written_at: Option<String>,
    bytes: Option<u64>,
    latest: bool,
    deletion: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<usize>,
}

pub async fn history(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    let json = args.contains("--json");
    let detailed = args.contains_either("-d", "--detailed");
    let limit = match args.option("--limit")? {
        None => DEFAULT_LIMIT,
        Some(number) => number
            .parse()
            .ok()
            .filter(|limit| (1..=1000).contains(limit))
            .ok_or_else(|| Failure::usage("--limit must be a number from 1 to 1000"))?,
    };
    let store = DocumentStore::open(&args.settings()?).await?;
    let mut listed: Vec<Listed> = kept_versions(&store, limit)
        .await?
        .into_iter()
        .map(Listed::new)
        .collect();
    if detailed {
        for version in listed.iter_mut().filter(|version| !version.deletion) {
            // A version that cannot be opened is listed all the same.
            if let Ok(Some(kept)) = store.read_version(&version.version).await {
                version.generation = kept.document.generation();
                version.keys = Some(kept.document.records().len());
            }
        }
    }
    output::answer(&if json {
        output::json_line(&History { versions: &listed })
    } else {
        table(&listed, detailed)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where nothing is kept there is nothing to list or to go back to.
async fn kept_versions(store: &DocumentStore, limit: usize) -> Result<Vec<StoredVersion>, Failure> {
    match store.versions(limit).await? {
        Versions::Kept(versions) => Ok(versions),
        Versions::NotKept => Err(Failure::Failed(format!(
            "no earlier versions are kept ({})\nA bucket keeps them once its versioning is switched on; a local file never does: copy it, or use 'heare-auth export'.",
            store.store.location()
        ))),
    }
}

impl Listed {
    fn new(version: StoredVersion) -> Self {
        Self {
            version: version.id,
            written_at: version.written_at.map(|time| time.to_string()),
            bytes: version.bytes,
            latest: version.is_latest,
            deletion: version.is_deletion,
            generation: None,
            keys: None,
        }
    }
}

fn table(versions: &[Listed], detailed: bool) -> String {
    let width = versions
        .iter()
        .map(|version| version.version.len())
        .max()
        .unwrap_or_default()
        .max("Version".len());
    let mut text = format!("{:<width$}  {:<20}  {:>12}", "Version", "Written", "Bytes");
    text.push_str(if detailed { "  Generation     Keys\n" } else { "\n" });
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    for version in versions {
        let written = version.written_at.as_deref().unwrap_or("-");
        let bytes = number(version.bytes);
        write!(text, "{:<width$}  {written:<20}  {bytes:>12}", shown(&version.version))
            .expect("a String takes everything");
        if detailed {
            let keys = version.keys.map_or_else(|| "-".to_owned(), |keys| keys.to_string());
            write!(text, "  {:>10}  {keys:>7}", number(version.generation)).expect("a String takes everything");
        }
        text.push_str(match (version.latest, version.deletion) {
            (true, true) => "  (deleted, latest)\n",
            (true, false) => "  (latest)\n",
            (false, true) => "  (deleted)\n",
            (false, false) => "\n",
        });
    }
    text
}

/// `rollback --json`.
#[derive(Serialize)]
struct RolledBack<'a> {
    version: &'a str,
    /// Why what was stored could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    appears: Vec<Moved>,
    disappears: Vec<Moved>,
    changes: Vec<Moved>,
    #[serde(rename = "rolled_back")]
    is_done: bool,
    total: Option<usize>,
    sealed: usize,
    generation: Option<u64>,
    refresh: RefreshOutcome,
}

/// A key that the rollback touches, with what it was and what it would be.
#[derive(Serialize)]
struct Moved {
    id: String,
    name: Option<String>,
    from: Option<Status>,
    to: Option<Status>,
}

pub async fn rollback(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let (json, dry_run) = (args.contains("--json"), args.contains("--dry-run"));
    let no_refresh = args.contains("--no-refresh");
    let yes = args.contains_either("-y", "--yes");
    let version = args.free()?.and_then(|text| text.into_string().ok());
    let version = version.ok_or_else(|| Failure::usage("VERSION is missing"))?;
    let settings = args.settings()?;
    let refresh = RefreshPlan::new(&settings, no_refresh)?;
    let store = DocumentStore::open(&settings).await?;

    let floor = highest_generation(&store).await?;
    let earlier = store.read_version(&version).await?.ok_or_else(|| {
        Failure::failed("there is no such version, or the document was deleted in it\n'heare-auth history' lists them.")
    })?;
    let (current, damage) = store.read_or_damage().await?;
    if let Some(CommitError::Envelope(error)) = damage
        && !earlier.is_sealed
    {
        // Nothing has shown yet that it is the object that is wrong, and not the secret.
        return Err(store.failure(&error.into(), None));
    }
    let earlier = earlier.document;
    let seen = Seen::of(&current);
    let mut plan = RolledBack::plan(&version, &current, &earlier, store.now())?;
    plan.damage = damage.map(|damage| damage.to_string());
    drop(current);
    if !json {
        output::answer(&plan.lines())?;
    }
    let agreed = !dry_run && (yes || is_agreed("Roll back to this version?"));
    if agreed {
        let change = Change::Restore(Box::new(Restore { earlier, seen, floor }));
        plan.write(&store, &change, refresh, json).await?;
    } else if !json && !dry_run {
        output::answer("Cancelled.\n")?;
    }
    if json {
        output::answer(&output::json_line(&plan))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What instances may have in force even when the document is gone. It need not be that of the version that was stored last:
/// nobody takes an older document that was copied over a newer one, or a new one that was begun after a deletion.
async fn highest_generation(store: &DocumentStore) -> Result<u64, Failure> {
    let mut highest = 0;
    for version in kept_versions(store, DEFAULT_LIMIT).await? {
        if version.is_deletion {
            continue;
        }
        // One that is no document was never in force.
        if let Ok(Some(kept)) = store.read_version(&version.id).await {
            highest = highest.max(kept.document.generation().unwrap_or_default());
        }
    }
    Ok(highest)
}

impl<'a> RolledBack<'a> {
    fn plan(version: &'a str, current: &Document, earlier: &Document, now: Timestamp) -> Result<Self, Failure> {
        let difference = difference(current, earlier);
        let (was, will_be) = (by_id(current, now)?, by_id(earlier, now)?);
        let moved = |ids: Vec<String>| {
            let moved = ids.into_iter().map(|id| {
                let (from, to) = (was.get(&id), will_be.get(&id));
                let name = to.or(from).and_then(|(name, _)| name.clone());
                let status = |side: Option<&(Option<String>, Status)>| side.map(|(_, status)| *status);
                let (from, to) = (status(from), status(to));
                Moved { id, name, from, to }
            });
            moved.collect()
        };
        Ok(Self {
            version,
            damage: None,
            appears: moved(difference.appears),
            disappears: moved(difference.disappears),
            changes: moved(difference.changes),
            is_done: false,
            total: None,
            sealed: 0,
            generation: None,
            refresh: RefreshOutcome::Skipped(()),
        })
    }

    async fn write(
        &mut self,
        store: &DocumentStore,
        change: &Change,
        refresh: RefreshPlan,
        json: bool,
    ) -> Result<(), Failure> {
        let committed = store.commit(change, &refresh).await?;
        tell_sealed(committed.applied.sealed);
        self.is_done = true;
        self.total = Some(committed.keys_count);
        self.sealed = committed.applied.sealed;
        self.generation = Some(committed.generation);
        if !json {
            output::answer(&format!(
                "✓ Rolled back: {} keys, generation {}.\n",
                committed.keys_count, committed.generation
            ))?;
        }
        let after = AfterChange {
            happened: "The document was rolled back",
            remedy: "Run 'heare-auth refresh' manually to load it.",
        };
        self.refresh = refresh.carry_out(&after).await;
        if json {
            Ok(())
        } else {
            output::answer(&self.refresh.line())
        }
    }

    fn lines(&self) -> String {
        let mut lines = format!("Roll back to version {}:\n", shown(self.version));
        if let Some(damage) = &self.damage {
            writeln!(lines, "  what is stored now cannot be read: {damage}").expect("a String takes everything");
        }
        for (title, keys) in [
            ("appears", &self.appears),
            ("disappears", &self.disappears),
            ("changes", &self.changes),
        ] {
            writeln!(lines, "  {title:<12} {}", keys.len()).expect("a String takes everything");
            for key in keys.iter().take(SHOWN) {
                let name = key.name.as_deref().map_or_else(|| "-".to_owned(), shown);
                writeln!(lines, "    {}  {name}  {}", shown(&key.id), key.way()).expect("a String takes everything");
            }
            if let Some(more @ 1..) = keys.len().checked_sub(SHOWN) {
                writeln!(lines, "    and {more} more").expect("a String takes everything");
            }
        }
        lines
    }
}

impl Moved {
    /// A key that works again is what has to be seen.
    fn way(&self) -> String {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from != to => format!("({} -> {})", from.word(), to.word()),
            (Some(one), _) | (None, Some(one)) => format!("({})", one.word()),
            (None, None) => String::new(),
        }
    }
}

fn by_id(document: &Document, now: Timestamp) -> Result<HashMap<String, (Option<String>, Status)>, Failure> {
    let records = record::read_all(document, now)?.into_iter();
    let named = records.filter_map(|record| {
        let name = record.name.map(Into::into);
        Some((record.id?.into_owned(), (name, record.status)))
    });
    Ok(named.collect())
}
