//! `create` and `rotate`: the commands that make a secret, print it once, and store its digest.

use std::{borrow::Cow, process::ExitCode};

use rand::{TryRng, rngs::SysRng};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    args::{Args, Settings},
    failure::Failure,
    keys::{OneKey, tell_sealed},
    output::{self, note, shown},
    record,
    service::{AfterChange, RefreshOutcome, RefreshPlan},
    signals::Signals,
    store::DocumentStore,
    terms::{self, TermOptions, Terms, checked_metadata, checked_name},
};
use crate::{
    config,
    core::{
        change::{Change, NewKey, Rotation},
        id::{self, Prefixes},
        key::SecretType,
        secret::Secret,
        terms::{Environment, OWNED_RATE_LIMIT},
        time::Timestamp,
    },
};

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
    #[serde(flatten)]
    terms: Terms,
    sealed: usize,
    refresh: RefreshOutcome,
}

/// `rotate --json`.
#[derive(Serialize)]
struct RotatedKey<'a> {
    id: &'a str,
    secret: &'a str,
    name: Option<&'a str>,
    rotated_at: String,
    /// Until when the secret before this one is good; `null` when it has ended.
    previous_expires_at: Option<String>,
    #[serde(flatten)]
    terms: Terms,
    sealed: usize,
    refresh: RefreshOutcome,
}

/// What a new key is to be, as it was given.
struct Wishes {
    name: Option<String>,
    metadata: Option<String>,
    expires_at: Option<String>,
    secret_type: Option<String>,
    environment: Option<String>,
    owner: Option<String>,
    terms: TermOptions,
}

/// The same, found to be possible.
struct Plan {
    key: NewKey,
    secret: Secret,
    expires: Option<Timestamp>,
}

/// Said when somebody interrupts the command before the store has answered.
const WAITS: &str = "⚠️  Waiting for the store: else the new secret would be lost.\n";

/// What follows when the secret has been written. It is shown before the service is called, and until it is shown no signal
/// ends the command: whatever happens then, it has been seen.
struct Showing {
    json: bool,
    refresh: RefreshPlan,
    signals: Signals,
}

impl Showing {
    async fn end(mut self, after: &AfterChange) -> Result<ExitCode, Failure> {
        let outcome = self.refresh.carry_out_until(self.signals.arrival(), after).await;
        output::answer(&if self.json {
            format!("{}}}\n", output::json_line(&outcome).trim_end())
        } else {
            with_warning(&outcome)
        })?;
        Ok(self.signals.exit_code())
    }
}

pub async fn create(mut args: Args) -> Result<ExitCode, Failure> {
    args.store_flags()?;
    args.setting("--refresh-url", "REFRESH_URL")?;
    let wishes = Wishes {
        name: args.option("--name")?,
        metadata: args.option("--metadata")?,
        expires_at: args.option("--expires-at")?,
        secret_type: args.option("--secret-type")?,
        environment: args.option("--environment")?,
        owner: args.option("--owner")?,
        terms: TermOptions::take(&mut args)?,
    };
    let json = args.contains("--json");
    let no_refresh = args.contains("--no-refresh");
    let settings = args.settings()?;
    let refresh = RefreshPlan::new(&settings, no_refresh)?;
    let store = DocumentStore::open(&settings).await?;

    let now = store.now();
    let Plan { key, secret, expires } = plan(wishes, &prefixes(&settings)?, now)?;
    if expires.is_some_and(|expires| now >= expires) {
        note("⚠️  Warning: the key is expired already: --expires-at is in the past.\n");
    }
    let change = Change::Create(Box::new(key.clone()));
    let mut signals = Signals::hold()?;
    let applied = signals.outlast(store.commit(&change, &refresh), WAITS).await?.applied;
    tell_sealed(applied.sealed);
    let created = CreatedKey {
        id: &key.id,
        secret: secret.expose(),
        name: &key.name,
        secret_type: key.secret_type.word(),
        created_at: now.to_string(),
        expires_at: expires.map(|expires| expires.to_string()),
        metadata: record::on_one_line(&key.metadata),
        terms: Terms::of_text(applied.record.as_deref().unwrap_or_default()),
        sealed: applied.sealed,
        refresh: RefreshOutcome::Skipped(()),
    };
    let showing = Showing { json, refresh, signals };
    show_created(created, showing).await
}

fn plan(wishes: Wishes, prefixes: &Prefixes, now: Timestamp) -> Result<Plan, Failure> {
    let terms = wishes.terms;
    let name = checked_name(wishes.name)?;
    let secret_type = checked_secret_type(wishes.secret_type)?;
    let metadata = checked_metadata(wishes.metadata)?;
    let expires = terms.expiry(wishes.expires_at.as_deref(), now)?;
    let owner = wishes.owner.map(|owner| terms::owner(&owner)).transpose()?;
    let environment = wishes.environment.map(|word| terms::environment(&word)).transpose()?;
    let environment = environment.or(owner.is_some().then(Environment::default));
    let rate_limit = terms.rate_limit()?.or(owner.is_some().then_some(OWNED_RATE_LIMIT));
    let (scopes, allowed_ips, limits) = (terms.scopes()?, terms.networks()?, terms.windows()?);
    let burst = terms.burst()?;
    if burst.is_some() && rate_limit.is_none() {
        return Err(Failure::usage("--burst needs --rate-limit, on top of which it is"));
    }
    let made = new_secret(environment, prefixes, now)?;
    let key = NewKey {
        secret_type,
        // A date stays as it was given.
        expires_at: wishes.expires_at.or(expires.map(|expires| expires.to_string())),
        metadata,
        user_id: owner,
        environment,
        key_prefix: made.key_prefix,
        rate_limit_per_hour: rate_limit,
        burst,
        limits: limits.unwrap_or_default(),
        allowed_ips: allowed_ips.unwrap_or_default(),
        scopes: scopes.unwrap_or_default(),
        ..NewKey::new(new_id(now)?, made.secret.digest(), name, now)
    };
    Ok(Plan {
        key,
        secret: made.secret,
        expires,
    })
}

async fn show_created(key: CreatedKey<'_>, showing: Showing) -> Result<ExitCode, Failure> {
    let after = AfterChange {
        happened: "The key was created",
        remedy: "Run 'heare-auth refresh' manually to load the new key.",
    };
    if showing.json {
        write_secret(&all_but_the_refresh(&key), key.id, "created")?;
        return showing.end(&after).await;
    }
    let mut lines = vec![
        ("ID", key.id.to_owned()),
        ("Secret", key.secret.to_owned()),
        ("Name", shown(key.name)),
        ("Secret Type", key.secret_type.to_owned()),
        ("Created", key.created_at),
        ("Expires", key.expires_at.unwrap_or_else(|| "Never".to_owned())),
    ];
    lines.extend(key.terms.lines());
    write_secret(&block("Created API key:", &lines), key.id, "created")?;
    showing.end(&after).await
}

pub async fn rotate(mut args: Args) -> Result<ExitCode, Failure> {
    let overlap = args.option("--overlap")?;
    let key = OneKey::open(args).await?;
    let now = key.store.now();
    let overlap_until = terms::overlap_until(overlap.as_deref(), now)?;
    let environment = environment_of(&key).await?;
    let made = new_secret(environment, &prefixes(&key.settings)?, now)?;
    let rotation = Rotation {
        id: key.id.clone(),
        digest: made.secret.digest(),
        key_prefix: made.key_prefix,
        overlap_until,
        at: now,
    };
    let change = Change::Rotate(rotation);
    let mut signals = Signals::hold()?;
    let applied = signals
        .outlast(key.store.commit(&change, &key.refresh), WAITS)
        .await?
        .applied;
    tell_sealed(applied.sealed);
    let terms = Terms::of_text(applied.record.as_deref().unwrap_or_default());
    let rotated = RotatedKey {
        id: &key.id,
        secret: made.secret.expose(),
        name: applied.name.as_deref(),
        rotated_at: now.to_string(),
        previous_expires_at: terms.first_previous().map(ToOwned::to_owned),
        terms,
        sealed: applied.sealed,
        refresh: RefreshOutcome::Skipped(()),
    };
    let showing = Showing {
        json: key.json,
        refresh: key.refresh,
        signals,
    };
    show_rotated(rotated, showing).await
}

async fn show_rotated(key: RotatedKey<'_>, showing: Showing) -> Result<ExitCode, Failure> {
    let after = AfterChange {
        happened: "The key was rotated",
        remedy: "Run 'heare-auth refresh' manually to load its new secret.",
    };
    if showing.json {
        write_secret(&all_but_the_refresh(&key), key.id, "rotated")?;
        return showing.end(&after).await;
    }
    let old = key
        .previous_expires_at
        .map_or_else(|| "not good any more".to_owned(), |time| format!("good until {time}"));
    let lines = [
        ("ID", key.id.to_owned()),
        ("Secret", key.secret.to_owned()),
        ("Name", shown(key.name.unwrap_or("-"))),
        ("Rotated", key.rotated_at),
        ("Old Secret", old),
    ];
    write_secret(&block("Rotated API key:", &lines), key.id, "rotated")?;
    showing.end(&after).await
}

/// How the key's secret begins is settled when it is made and stays so. That there is no such key is found by the change,
/// which is put down as every attempt is.
async fn environment_of(key: &OneKey) -> Result<Option<Environment>, Failure> {
    let document = key.store.read().await?;
    Ok(record::find(&document, &key.id).and_then(|record| Terms::of(record).secret_environment()))
}

fn block(title: &str, lines: &[(&str, String)]) -> String {
    let lines = lines
        .iter()
        .map(|(label, value)| format!("  {:<13}{value}\n", format!("{label}:")));
    format!("{title}\n{}", lines.collect::<String>())
}

/// The line of JSON up to what the service has yet to answer.
fn all_but_the_refresh(key: &impl Serialize) -> String {
    let line = output::json_line(key);
    let open = line.strip_suffix("null}\n");
    open.expect("the refresh comes last and has not been asked for")
        .to_owned()
}

fn with_warning(refresh: &RefreshOutcome) -> String {
    let line = refresh.line();
    let line = if line.is_empty() { line } else { format!("\n{line}") };
    format!(
        "{line}\n⚠️  Save the SECRET securely - it will not be shown again!\n    Use the ID for reference and logging.\n"
    )
}

/// A secret that nobody could read is of no use to anybody.
fn write_secret(text: &str, id: &str, done: &str) -> Result<(), Failure> {
    let remedy = match done {
        "rotated" => "Rotate the key again.",
        _ => "Delete the key and create it again.",
    };
    output::write_stdout(text).map_err(|_| {
        Failure::Failed(format!(
            "the key {id} was {done}, but its secret could not be written to standard output\n{remedy}"
        ))
    })
}

/// A secret, and the beginning of it that may be shown when it has an environment.
struct NewSecret {
    secret: Secret,
    key_prefix: Option<String>,
}

fn new_secret(environment: Option<Environment>, prefixes: &Prefixes, now: Timestamp) -> Result<NewSecret, Failure> {
    with_randomness(|fill| match environment {
        None => NewSecret {
            secret: id::new_secret(now, fill),
            key_prefix: None,
        },
        Some(environment) => {
            let made = id::new_environment_secret(environment, prefixes, fill);
            NewSecret {
                secret: made.secret,
                key_prefix: Some(made.key_prefix),
            }
        }
    })
}

fn new_id(now: Timestamp) -> Result<String, Failure> {
    with_randomness(|fill| id::new_key_id(now, fill))
}

fn with_randomness<T>(make: impl FnOnce(&mut dyn FnMut(&mut [u8])) -> T) -> Result<T, Failure> {
    let mut refused = false;
    let result = make(&mut |bytes| refused |= SysRng.try_fill_bytes(bytes).is_err());
    if refused {
        return Err(Failure::failed(
            "the system gives no random numbers; nothing was changed",
        ));
    }
    Ok(result)
}

fn prefixes(settings: &Settings) -> Result<Prefixes, Failure> {
    Ok(config::key_prefixes(&|name| settings.get(name))?)
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
