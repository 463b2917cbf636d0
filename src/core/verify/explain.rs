//! How a verdict came about, for operators: every check in its order, with its outcome.

use super::{Asked, holder};
use crate::core::{
    index::{Entry, Index},
    secret::Digest,
    time::Timestamp,
};

/// One thing that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Secret,
    Revocation,
    Expiry,
    AllowedIps,
    Scopes,
    Limits,
}

impl Check {
    /// In the order in which a verify looks: the first that fails is the refusal.
    pub const ALL: [Self; 6] = [
        Self::Secret,
        Self::Revocation,
        Self::Expiry,
        Self::AllowedIps,
        Self::Scopes,
        Self::Limits,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Revocation => "revocation",
            Self::Expiry => "expiry",
            Self::AllowedIps => "allowed_ips",
            Self::Scopes => "scopes",
            Self::Limits => "limits",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// The key has no such rule, nothing was asked, or, for limits, the key was refused before it was charged.
    NotSet,
}

impl Outcome {
    pub const ALL: [Self; 3] = [Self::Passed, Self::Failed, Self::NotSet];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotSet => "not_set",
        }
    }

    const fn of(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    pub outcome: Outcome,
}

/// Every check, also those behind the first that fails. `None` for a secret that is not genuine, which learns nothing,
/// and for a key that has an owner: how the service decides is for its operators. What became of its limits is known
/// to whoever charged them.
pub fn explain(
    index: &Index,
    digest: &Digest,
    asked: &Asked<'_>,
    limits: Outcome,
    now: Timestamp,
) -> Option<Vec<Finding>> {
    let entry = holder(index, digest, now)?;
    let is_owned = entry.policy.is_some_and(|policy| policy.user_id.is_some());
    let findings = Check::ALL.map(|check| Finding {
        check,
        outcome: outcome(check, &entry, asked, limits, now),
    });
    (!is_owned).then(|| findings.into())
}

fn outcome(check: Check, entry: &Entry<'_>, asked: &Asked<'_>, limits: Outcome, now: Timestamp) -> Outcome {
    match check {
        Check::Secret => Outcome::Passed,
        Check::Revocation => Outcome::of(!entry.is_revoked(now)),
        Check::Expiry if entry.expires_at.is_none() => Outcome::NotSet,
        Check::Expiry => Outcome::of(!entry.has_expired(now)),
        Check::AllowedIps if entry.policy.is_none_or(|policy| policy.allowed_ips.is_empty()) => Outcome::NotSet,
        Check::AllowedIps => Outcome::of(entry.admits(asked.client_ip)),
        Check::Scopes if asked.required_scopes.is_empty() => Outcome::NotSet,
        Check::Scopes => Outcome::of(entry.grants(&asked.required_scopes)),
        Check::Limits => limits,
    }
}
