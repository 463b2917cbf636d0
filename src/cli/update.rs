//! `update`: what a key is called, may do and how often, set and cleared member by member.

use std::process::ExitCode;

use super::{
    args::Args,
    failure::Failure,
    keys::{self, OneKey, Sentences},
    record,
    terms::{self, TermOptions, Terms},
};
use crate::core::{
    change::{Change, Edit, Patch},
    time::Timestamp,
};

/// What an update is asked to set, and what to clear.
struct Wishes {
    name: Option<String>,
    metadata: Option<String>,
    expires_at: Option<String>,
    terms: TermOptions,
    clear: Vec<String>,
}

pub async fn update(mut args: Args) -> Result<ExitCode, Failure> {
    let wishes = Wishes {
        name: args.option("--name")?,
        metadata: args.option("--metadata")?,
        expires_at: args.option("--expires-at")?,
        terms: TermOptions::take(&mut args)?,
        clear: args.options("--clear")?,
    };
    let clear = cleared(&wishes.clear)?;
    let key = OneKey::open(args).await?;
    let now = key.store.now();
    let patch = patch(wishes, &clear, now)?;
    if patch.is_empty() {
        return Err(Failure::usage(
            "there is nothing to update: give an option that sets or --clear",
        ));
    }
    let is_about_the_rate = !(patch.rate_limit_per_hour.is_leave() && patch.burst.is_leave());
    let change = Change::Update {
        id: key.id.clone(),
        patch: Box::new(patch),
        expected: None,
        at: now,
    };
    if is_about_the_rate {
        let document = key.store.read().await?;
        let patched = record::find(&document, &key.id).and_then(|record| change.patched(record));
        if patched.is_some_and(|record| Terms::of(&record).has_burst_alone()) {
            return Err(Failure::usage(
                "--burst needs --rate-limit, on top of which it is; --clear burst takes it away",
            ));
        }
    }
    let sentences = Sentences {
        changed: "✓ Updated.",
        unchanged: "✓ Nothing to change: the key is like that already.",
        happened: "The key was updated",
    };
    keys::make(key, &change, &sentences).await
}

fn patch(wishes: Wishes, clear: &[Clearable], now: Timestamp) -> Result<Patch, Failure> {
    let Wishes {
        name,
        metadata,
        expires_at,
        terms,
        clear: _,
    } = wishes;
    let patch = Patch {
        name: name.map(|name| terms::checked_name(Some(name))).transpose()?,
        metadata: edit(metadata.map(|json| terms::checked_metadata(Some(json))).transpose()?),
        scopes: edit(terms.scopes()?),
        allowed_ips: edit(terms.networks()?),
        rate_limit_per_hour: edit(terms.rate_limit()?),
        burst: edit(terms.burst()?),
        limits: edit(terms.windows()?),
        expires_at: edit(terms.expiry(expires_at.as_deref(), now)?),
    };
    clear.iter().try_fold(patch, |patch, member| member.clear(patch))
}

fn edit<T>(value: Option<T>) -> Edit<T> {
    value.map_or(Edit::Leave, Edit::Set)
}

/// What `--clear` takes: the options that set the same, without their dashes.
#[derive(Clone, Copy)]
enum Clearable {
    Metadata,
    Scope,
    AllowIp,
    RateLimit,
    Burst,
    Limit,
    ExpiresAt,
}

impl Clearable {
    const ALL: [Self; 7] = [
        Self::Metadata,
        Self::Scope,
        Self::AllowIp,
        Self::RateLimit,
        Self::Burst,
        Self::Limit,
        Self::ExpiresAt,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Scope => "scope",
            Self::AllowIp => "allow-ip",
            Self::RateLimit => "rate-limit",
            Self::Burst => "burst",
            Self::Limit => "limit",
            Self::ExpiresAt => "expires-at",
        }
    }

    fn clear(self, mut patch: Patch) -> Result<Patch, Failure> {
        let is_free = match self {
            Self::Metadata => clear(&mut patch.metadata),
            Self::Scope => clear(&mut patch.scopes),
            Self::AllowIp => clear(&mut patch.allowed_ips),
            Self::RateLimit => clear(&mut patch.rate_limit_per_hour),
            Self::Burst => clear(&mut patch.burst),
            Self::Limit => clear(&mut patch.limits),
            Self::ExpiresAt => clear(&mut patch.expires_at),
        };
        if is_free {
            Ok(patch)
        } else {
            Err(Failure::Usage(format!(
                "--clear {} contradicts an option that sets it",
                self.word()
            )))
        }
    }
}

/// False when the member is to be set as well.
fn clear<T>(edit: &mut Edit<T>) -> bool {
    let is_set = matches!(edit, Edit::Set(_));
    *edit = Edit::Clear;
    !is_set
}

fn cleared(words: &[String]) -> Result<Vec<Clearable>, Failure> {
    let known = |word: &String| Clearable::ALL.into_iter().find(|member| member.word() == word);
    words.iter().map(known).collect::<Option<_>>().ok_or_else(|| {
        let words: Vec<_> = Clearable::ALL.into_iter().map(Clearable::word).collect();
        Failure::Usage(format!("--clear must be one of {}", words.join(", ")))
    })
}
