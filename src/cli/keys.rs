//! `delete`, `revoke`, `reactivate` and `migrate`: the commands that change the stored document and print no secret.

use std::process::ExitCode;

use serde::Serialize;

use super::{
    args::{Args, Settings},
    failure::{Failure, unknown_key},
    list::label,
    output::{self, note, shown},
    record,
    service::{AfterChange, RefreshOutcome, RefreshPlan},
    store::DocumentStore,
    terms::{self, Terms},
};
use crate::core::change::Change;

/// What every command about one key has: which one it is, how to answer, and what follows the change.
pub struct OneKey {
    pub id: String,
    pub json: bool,
    pub refresh: RefreshPlan,
    pub settings: Settings,
    pub store: DocumentStore,
}

impl OneKey {
    /// To be called when a command's own options have been taken.
    pub async fn open(mut args: Args) -> Result<Self, Failure> {
        args.store_flags()?;
        args.setting("--refresh-url", "REFRESH_URL")?;
        let json = args.contains("--json");
        let no_refresh = args.contains("--no-refresh");
        let id = args.key_id()?;
        let settings = args.settings()?;
        Ok(Self {
            id,
            json,
            refresh: RefreshPlan::new(&settings, no_refresh)?,
            store: DocumentStore::open(&settings).await?,
            settings,
        })
    }
}

/// `delete --json`.
#[derive(Serialize)]
struct DeletedKey<'a> {
    id: &'a str,
    name: Option<&'a str>,
    deleted: bool,
    sealed: usize,
    refresh: RefreshOutcome,
}

/// `migrate --json`.
#[derive(Serialize)]
struct Migrated {
    sealed: usize,
    total: usize,
    generation: u64,
    refresh: RefreshOutcome,
}

/// `revoke --json`, `reactivate --json` and `update --json`.
#[derive(Serialize)]
pub struct ChangedKey<'a> {
    pub id: &'a str,
    pub name: Option<&'a str>,
    /// False when the key was like that already.
    pub changed: bool,
    #[serde(flatten)]
    pub terms: Terms,
    pub sealed: usize,
    pub refresh: RefreshOutcome,
}

pub async fn delete(mut args: Args) -> Result<ExitCode, Failure> {
    let yes = args.contains_either("-y", "--yes");
    let key = OneKey::open(args).await?;
    if !yes {
        let name = name_of(&key.store, &key.id).await?;
        if !confirmed(&key.id, name.as_deref()) {
            return cancelled(&key.id, name.as_deref(), key.json);
        }
    }
    let deletion = Change::Delete { id: key.id.clone() };
    let committed = key.store.commit(&deletion, &key.refresh).await?;
    tell_sealed(committed.applied.sealed);
    if !key.json {
        output::answer("✓ Deleted successfully.\n")?;
    }
    let after = AfterChange {
        happened: "The key was deleted",
        remedy: APPLY_IT,
    };
    let deleted = DeletedKey {
        id: &key.id,
        name: committed.applied.name.as_deref(),
        deleted: true,
        sealed: committed.applied.sealed,
        refresh: key.refresh.carry_out(&after).await,
    };
    output::answer(&if key.json {
        output::json_line(&deleted)
    } else {
        deleted.refresh.line()
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn revoke(mut args: Args) -> Result<ExitCode, Failure> {
    let reason = args.option("--reason")?;
    let reason = reason.map(|reason| terms::reason(&reason)).transpose()?;
    let key = OneKey::open(args).await?;
    let change = Change::Revoke {
        id: key.id.clone(),
        reason,
        at: key.store.now(),
    };
    let sentences = Sentences {
        changed: "✓ Revoked.",
        unchanged: "✓ The key is revoked already; the first time and reason stay.",
        happened: "The key was revoked",
    };
    make(key, &change, &sentences).await
}

pub async fn reactivate(args: Args) -> Result<ExitCode, Failure> {
    let key = OneKey::open(args).await?;
    let change = Change::Reactivate {
        id: key.id.clone(),
        at: key.store.now(),
    };
    let sentences = Sentences {
        changed: "✓ Reactivated.",
        unchanged: "✓ The key is active already.",
        happened: "The key was reactivated",
    };
    make(key, &change, &sentences).await
}

/// What to say about a change of one key.
pub struct Sentences {
    pub changed: &'static str,
    pub unchanged: &'static str,
    /// For the warning that the service was not refreshed.
    pub happened: &'static str,
}

const APPLY_IT: &str = "Run 'heare-auth refresh' manually to apply the change.";

/// Makes the change, answers, and tells the service. Also when nothing had to be changed: the service may not know yet.
pub async fn make(key: OneKey, change: &Change, sentences: &Sentences) -> Result<ExitCode, Failure> {
    let applied = key.store.commit(change, &key.refresh).await?.applied;
    tell_sealed(applied.sealed);
    let changed = applied.changed > 0;
    if !key.json {
        let sentence = if changed {
            sentences.changed
        } else {
            sentences.unchanged
        };
        output::answer(&format!("{sentence}\n"))?;
    }
    let after = AfterChange {
        happened: sentences.happened,
        remedy: APPLY_IT,
    };
    let answer = ChangedKey {
        id: &key.id,
        name: applied.name.as_deref(),
        changed,
        terms: Terms::of_text(applied.record.as_deref().unwrap_or_default()),
        sealed: applied.sealed,
        refresh: key.refresh.carry_out(&after).await,
    };
    output::answer(&if key.json {
        output::json_line(&answer)
    } else {
        answer.refresh.line()
    })?;
    Ok(ExitCode::SUCCESS)
}

fn cancelled(id: &str, name: Option<&str>, json: bool) -> Result<ExitCode, Failure> {
    let kept = DeletedKey {
        id,
        name,
        deleted: false,
        sealed: 0,
        refresh: RefreshOutcome::Skipped(()),
    };
    output::answer(&if json {
        output::json_line(&kept)
    } else {
        "Cancelled.\n".to_owned()
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The name of the key with this id, if its record has one; without such a record the command ends here.
async fn name_of(store: &DocumentStore, id: &str) -> Result<Option<String>, Failure> {
    let document = store.read().await?;
    let record = record::read_all(&document, store.now())?
        .into_iter()
        .find(|record| record.id.as_deref() == Some(id));
    match record {
        Some(record) => Ok(record.name.map(Into::into)),
        None => Err(unknown_key(id)),
    }
}

fn confirmed(id: &str, name: Option<&str>) -> bool {
    output::is_agreed(&format!("Delete API key '{}' ({})?", shown(id), label(name)))
}

pub async fn migrate(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let json = args.contains("--json");
    let no_refresh = args.contains("--no-refresh");
    let settings = args.settings()?;
    let refresh = RefreshPlan::new(&settings, no_refresh)?;
    let store = DocumentStore::open(&settings).await?;

    let committed = store.commit(&Change::Migrate, &refresh).await?;
    let sealed = committed.applied.sealed;
    if !json {
        output::answer(&match sealed {
            0 => "✓ Nothing to migrate: no secret is stored as plaintext.\n".to_owned(),
            _ => format!("✓ Migrated: {}\n", sealed_sentence(sealed)),
        })?;
    }
    let after = AfterChange {
        happened: "The document was migrated",
        remedy: "Run 'heare-auth refresh' manually to load it.",
    };
    let migrated = Migrated {
        sealed,
        total: committed.keys_count,
        generation: committed.generation,
        refresh: refresh.carry_out(&after).await,
    };
    output::answer(&if json {
        output::json_line(&migrated)
    } else {
        migrated.refresh.line()
    })?;
    Ok(ExitCode::SUCCESS)
}

pub fn tell_sealed(sealed: usize) {
    if sealed > 0 {
        note(&format!("{}\n", sealed_sentence(sealed)));
    }
}

fn sealed_sentence(sealed: usize) -> String {
    match sealed {
        1 => "1 secret that was stored as plaintext is now stored as a digest".to_owned(),
        _ => format!("{sealed} secrets that were stored as plaintext are now stored as digests"),
    }
}
