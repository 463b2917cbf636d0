//! The keys of an account that goes: taken away by one write, and each of them in the audit log.

use std::net::IpAddr;

use super::App;
use crate::{
    accounts::UserId,
    catalogue::Trouble,
    usage::{Action, AuditEntry},
};

/// What is written into the records of the keys.
const REASON: &str = "account deleted";

/// Tells how many were taken away. To be called within `carry_out`.
pub async fn take_keys(app: &App, user: UserId, from: IpAddr, request_id: &str) -> Result<usize, Trouble> {
    let (owner, now) = (user.0.to_string(), app.clock.now());
    let catalogue = &app.management.catalogue;
    let taken = catalogue.revoke_all_of(owner.clone(), REASON, now).await?;
    for key_id in &taken {
        app.usage.audit(&AuditEntry {
            who: format!("user:{owner}"),
            what: Action::Revoke,
            key_id: Some(key_id.clone()),
            from: from.to_canonical().to_string(),
            when: now,
            result: "ok".to_owned(),
            request_id: Some(request_id.to_owned()),
        });
    }
    Ok(taken.len())
}
