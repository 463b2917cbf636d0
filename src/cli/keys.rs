//! `create`, `delete` and `migrate`: the commands that change the stored document.

use std::{
    borrow::Cow,
    io::{self, BufRead},
    process::ExitCode,
};

use rand::{TryRng, rngs::SysRng};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    args::Args,
    failure::{Failure, unknown_key},
    list::label,
    output::{self, note, shown, steers},
    record,
    service::{AfterChange, RefreshOutcome, RefreshPlan},
    store::DocumentStore,
};
use crate::core::{
    change::{Change, NewKey},
    id,
    key::SecretType,
    secret::Secret,
    time::Timestamp,
};

const MAX_NAME_CHARS: usize = 255;

/// `create --json`.
#[derive(Serialize)]
struct CreatedKey<'a> {
    id: &'a str,
    secret: &'a str,
    name: &'a str,
    secret_type: &'static str,
    created_at: String,
    expires_at: Option<String>,
    metadata: Cow<'a, RawValue>,
    sealed: usize,
    refresh: RefreshOutcome,
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

pub async fn create(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let name = args.option("--name")?;
    let metadata = args.option("--metadata")?;
    let expires_at = args.option("--expires-at")?;
    let secret_type = args.option("--secret-type")?;
    let json = args.contains("--json");
    let no_refresh = args.contains("--no-refresh");
    let settings = args.settings()?;

    let name = checked_name(name)?;
    let secret_type = checked_secret_type(secret_type)?;
    let metadata = checked_metadata(metadata)?;
    let expires = checked_expiry(expires_at.as_deref())?;
    let refresh = RefreshPlan::new(&settings, no_refresh)?;
    let store = DocumentStore::open(&settings).await?;

    let now = store.now();
    let (id, secret) = new_key_pair(now)?;
    let key = NewKey {
        id,
        digest: secret.digest(),
        name,
        secret_type,
        expires_at,
        metadata,
        created_at: now,
    };
    if expires.is_some_and(|expires| now >= expires) {
        note("⚠️  Warning: the key is expired already: --expires-at is in the past.\n");
    }
    let committed = store.commit(&Change::Create(key.clone())).await?;
    tell_sealed(committed.applied.sealed);
    let shown_key = CreatedKey {
        id: &key.id,
        secret: secret.expose(),
        name: &key.name,
        secret_type: secret_type.word(),
        created_at: now.to_string(),
        expires_at: expires.map(|expires| expires.to_string()),
        metadata: record::on_one_line(&key.metadata),
        sealed: committed.applied.sealed,
        refresh: RefreshOutcome::Skipped(()),
    };
    show_created(shown_key, refresh, json).await
}

/// The secret is shown before the service is called: whatever happens then, it has been seen.
async fn show_created(mut key: CreatedKey<'_>, refresh: RefreshPlan, json: bool) -> Result<ExitCode, Failure> {
    let after = AfterChange {
        happened: "The key was created",
        remedy: "Run 'heare-auth refresh' manually to load the new key.",
    };
    if json {
        key.refresh = refresh.carry_out(&after).await;
        write_secret(&output::json_line(&key), key.id)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = format!(
        "Created API key:\n  ID:          {}\n  Secret:      {}\n  Name:        {}\n  Secret Type: {}\n  Created:     {}\n  Expires:     {}\n",
        key.id,
        key.secret,
        shown(key.name),
        key.secret_type,
        key.created_at,
        key.expires_at.as_deref().unwrap_or("Never"),
    );
    write_secret(&lines, key.id)?;
    let line = refresh.carry_out(&after).await.line();
    let line = if line.is_empty() { line } else { format!("\n{line}") };
    output::answer(&format!(
        "{line}\n⚠️  Save the SECRET securely - it will not be shown again!\n    Use the ID for reference and logging.\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// A secret that nobody could read is of no use to anybody.
fn write_secret(text: &str, id: &str) -> Result<(), Failure> {
    output::write_stdout(text).map_err(|_| {
        Failure::Failed(format!(
            "the key {id} was created, but its secret could not be written to standard output\nDelete the key and create it again."
        ))
    })
}

pub async fn delete(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let json = args.contains("--json");
    let no_refresh = args.contains("--no-refresh");
    let yes = args.contains_either("-y", "--yes");
    let id = args.key_id()?;
    let settings = args.settings()?;
    let refresh = RefreshPlan::new(&settings, no_refresh)?;
    let store = DocumentStore::open(&settings).await?;

    if !yes {
        let name = name_of(&store, &id).await?;
        if !confirmed(&id, name.as_deref()) {
            return cancelled(&id, name.as_deref(), json);
        }
    }
    let committed = store.commit(&Change::Delete { id: id.clone() }).await?;
    tell_sealed(committed.applied.sealed);
    if !json {
        output::answer("✓ Deleted successfully.\n")?;
    }
    let after = AfterChange {
        happened: "The key was deleted",
        remedy: "Run 'heare-auth refresh' manually to apply the change.",
    };
    let refresh = refresh.carry_out(&after).await;
    let deleted = DeletedKey {
        id: &id,
        name: committed.applied.name.as_deref(),
        deleted: true,
        sealed: committed.applied.sealed,
        refresh,
    };
    output::answer(&if json {
        output::json_line(&deleted)
    } else {
        deleted.refresh.line()
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

/// Asks on stderr, so that stdout holds answers only. The end of the input is a no.
fn confirmed(id: &str, name: Option<&str>) -> bool {
    note(&format!("Delete API key '{}' ({})? [y/N]: ", shown(id), label(name)));
    let mut answer = String::new();
    if !matches!(io::stdin().lock().read_line(&mut answer), Ok(1..)) {
        note("\n");
    }
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

pub async fn migrate(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let json = args.contains("--json");
    let no_refresh = args.contains("--no-refresh");
    let settings = args.settings()?;
    let refresh = RefreshPlan::new(&settings, no_refresh)?;
    let store = DocumentStore::open(&settings).await?;

    let committed = store.commit(&Change::Migrate).await?;
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

fn tell_sealed(sealed: usize) {
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

fn new_key_pair(now: Timestamp) -> Result<(String, Secret), Failure> {
    let mut refused = false;
    let mut fill = |bytes: &mut [u8]| refused |= SysRng.try_fill_bytes(bytes).is_err();
    let pair = (id::new_key_id(now, &mut fill), id::new_secret(now, &mut fill));
    if refused {
        return Err(Failure::failed(
            "the system gives no random numbers; nothing was created",
        ));
    }
    Ok(pair)
}

fn checked_name(name: Option<String>) -> Result<String, Failure> {
    let Some(name) = name else {
        return Err(Failure::usage("--name is missing"));
    };
    let name = name.trim();
    if !(1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
        return Err(Failure::Usage(format!(
            "--name must have 1 to {MAX_NAME_CHARS} characters"
        )));
    }
    if name.chars().any(steers) {
        return Err(Failure::usage("--name must not contain control characters"));
    }
    Ok(name.to_owned())
}

fn checked_secret_type(word: Option<String>) -> Result<SecretType, Failure> {
    let Some(word) = word else {
        return Ok(SecretType::default());
    };
    let known = SecretType::ALL
        .into_iter()
        .find(|known| known.word().eq_ignore_ascii_case(&word));
    known.ok_or_else(|| Failure::usage("--secret-type must be shared_secret"))
}

fn checked_metadata(json: Option<String>) -> Result<Box<RawValue>, Failure> {
    let json = json.unwrap_or_else(|| "{}".to_owned());
    match serde_json::from_str::<Box<RawValue>>(&json) {
        Ok(metadata) if metadata.get().starts_with('{') => Ok(metadata),
        Ok(_) | Err(_) => Err(Failure::failed(
            "Invalid JSON in metadata: it must be an object such as '{\"env\": \"prod\"}'",
        )),
    }
}

fn checked_expiry(date: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(date) = date else {
        return Ok(None);
    };
    let parsed = date.parse();
    parsed
        .map(Some)
        .map_err(|_| Failure::failed("Invalid expires_at format\nUse ISO 8601 format: YYYY-MM-DDTHH:MM:SSZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_must_be_fit_to_be_shown() {
        let name = |text: &str| checked_name(Some(text.to_owned())).ok();
        assert_eq!(name("  My Service "), Some("My Service".to_owned()));
        assert_eq!(name(&"é".repeat(255)), Some("é".repeat(255)));
        for bad in ["", "   ", "a\nb", "a\u{1b}[31mb", "a\u{202e}b", &"x".repeat(256)] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn metadata_is_an_object_and_a_bad_one_is_not_repeated() {
        assert_eq!(checked_metadata(None).unwrap().get(), "{}");
        let kept = r#"{"z": 1, "a":[1.50]}"#;
        assert_eq!(checked_metadata(Some(kept.to_owned())).unwrap().get(), kept);
        for bad in ["", "{", "[]", "null", "\"sec_x\"", "{sec_x}"] {
            let error = format!("{:?}", checked_metadata(Some(bad.to_owned())).unwrap_err());
            assert!(!error.contains("sec_x"), "{error}");
        }
    }
}
