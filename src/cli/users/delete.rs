//! `users delete`: the account goes, and with it everything that lets somebody in by it, in the order in which the route
//! does it. Whatever fails on the way, nobody is let in meanwhile, and the command can be run again.

use std::process::ExitCode;

use serde::Serialize;

use super::{Action, Failure, Named, Options, ended_line, output};
use crate::{
    cli::{
        keys::tell_sealed,
        service::{AfterChange, RefreshOutcome, RefreshPlan},
        store::DocumentStore,
    },
    core::change::Change,
};

/// What is written into the records of the keys.
const REASON: &str = "account deleted";

/// `users delete --json`.
#[derive(Serialize)]
struct DeletedUser<'a> {
    id: i64,
    login: &'a str,
    deleted: bool,
    sessions_ended: u64,
    keys_revoked: usize,
    refresh: RefreshOutcome,
}

impl<'a> DeletedUser<'a> {
    fn nothing(named: &'a Named) -> Self {
        Self {
            id: named.user.id.0,
            login: &named.user.login,
            deleted: false,
            sessions_ended: 0,
            keys_revoked: 0,
            refresh: RefreshOutcome::Skipped(()),
        }
    }
}

pub async fn delete(named: Named, options: &Options) -> Result<ExitCode, Failure> {
    let refresh = RefreshPlan::new(&named.accounts.settings, options.no_refresh)?;
    let store = DocumentStore::open(&named.accounts.settings).await?;
    if !options.yes && !output::is_agreed(&format!("Delete user '{}' and revoke all keys?", named.login())) {
        output::answer(&if options.json {
            output::json_line(&DeletedUser::nothing(&named))
        } else {
            "Cancelled.\n".to_owned()
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut deleted, id) = (DeletedUser::nothing(&named), named.user.id);
    let accounts = &named.accounts;
    // First nobody can log in any more, nor make another key, for good: 'enable' does not take that back.
    let begun = accounts.users.begin_deletion(id, accounts.now).await;
    begun.map_err(|error| accounts.failure(error))?;
    let revocation = Change::RevokeOwned {
        owner: id.0.to_string(),
        reason: REASON.to_owned(),
        at: accounts.now,
    };
    let revoked = store.commit(&revocation, &refresh).await?.applied;
    tell_sealed(revoked.sealed);
    deleted.keys_revoked = revoked.changed;
    deleted.sessions_ended = named.end_all().await?;
    let gone = accounts.users.delete(id).await;
    deleted.deleted = gone.map_err(|error| accounts.failure(error))?;
    accounts.write_down(Action::DeleteAccount, Some(id));
    if !options.json {
        let keys = match revoked.changed {
            0 => String::new(),
            1 => "  1 key revoked.\n".to_owned(),
            many => format!("  {many} keys revoked.\n"),
        };
        output::answer(&format!(
            "✓ Deleted: {}\n{}{keys}",
            named.login(),
            ended_line(deleted.sessions_ended)
        ))?;
    }
    if revoked.changed > 0 {
        let after = AfterChange {
            happened: "The user was deleted",
            remedy: "Run 'heare-auth refresh' manually to apply the change.",
        };
        deleted.refresh = refresh.carry_out(&after).await;
    }
    output::answer(&if options.json {
        output::json_line(&deleted)
    } else {
        deleted.refresh.line()
    })?;
    Ok(ExitCode::SUCCESS)
}
