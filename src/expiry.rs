//! Marks keys inactive that expired long ago: one quiet task of the service, away from the path of any verify.

use std::{hash::BuildHasher, pin::Pin, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    clock::Clock,
    core::{change::Change, time::Timestamp},
    courtesy::aside,
    envelope::Envelope,
    loader::{Loaded, Reader},
    store::{
        Store,
        commit::{CommitError, Committed, Found, commit_checked},
    },
    usage::{Action, AuditEntry, Usage},
};

/// The first look comes soon, so that an instance which never lives long does its part; later ones need no hurry.
const FIRST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(1);

type Committing<'a> = Pin<Box<dyn Future<Output = Result<Committed, CommitError>> + Send + 'a>>;

/// What the task needs. It has a store of its own: the loader's is the loader's.
pub struct Expiry {
    pub store: Store,
    pub envelope: Envelope,
    pub clock: Arc<Clock>,
    pub reader: Reader,
    pub usage: Usage,
    pub allow_unconditional: bool,
    /// How long a key has to have expired.
    pub after: Duration,
}

impl Expiry {
    /// Looks now and then at what is in force, and writes only when a key is due. Of several instances one is first;
    /// the others then find nothing to do. Ends with the runtime or when it is dropped: a write is made whole or not at all.
    pub async fn run(self) {
        let every = LONGEST.min(self.after);
        let mut last_error = None;
        sleep(jittered(FIRST.min(every))).await;
        loop {
            if let Some(loaded) = self.reader.current() {
                self.look(loaded, &mut last_error).await;
            }
            sleep(jittered(every)).await;
        }
    }

    async fn look(&self, loaded: Arc<Loaded>, last_error: &mut Option<CommitError>) {
        let at = self.clock.now();
        let after_ms = i64::try_from(self.after.as_millis()).unwrap_or(i64::MAX);
        let until = Timestamp::from_millis(at.as_millis().saturating_sub(after_ms));
        // A million keys are looked through in a few milliseconds, which others on this thread need not wait.
        let is_due = aside(move || is_due(&loaded, until)).await;
        if !is_due.unwrap_or(false) {
            return;
        }
        match self.retire(until, at).await {
            Ok(()) => *last_error = None,
            Err(error) => {
                if last_error.as_ref() != Some(&error) {
                    tracing::warn!(event = "retire_failed", error = %error, "long-expired keys could not be marked inactive");
                }
                *last_error = Some(error);
            }
        }
    }

    async fn retire(&self, until: Timestamp, at: Timestamp) -> Result<(), CommitError> {
        let change = Change::RetireExpired { until, at };
        // In a box: a task that is rarely at this point need not have room for a whole commit all the time.
        let rules = self.reader.rules();
        let check = |found: &Found<'_>| rules.check_found(found);
        let committing: Committing<'_> = Box::pin(commit_checked(
            &self.store,
            &self.envelope,
            &change,
            &self.clock,
            self.allow_unconditional,
            &check,
        ));
        let outcome = committing.await;
        self.audit(at, &outcome);
        let committed = outcome?;
        if committed.applied.changed > 0 {
            tracing::info!(
                event = "keys_retired",
                keys_retired = committed.applied.changed,
                generation = committed.generation,
                "keys that expired long ago were marked inactive"
            );
        }
        Ok(())
    }

    /// Of several instances only the one that was first has changed anything.
    fn audit(&self, when: Timestamp, outcome: &Result<Committed, CommitError>) {
        let result = match outcome {
            Ok(committed) if committed.applied.changed == 0 => return,
            Ok(_) => "ok".to_owned(),
            Err(error) => error.word().to_owned(),
        };
        self.usage.audit(&AuditEntry {
            who: "service".to_owned(),
            what: Action::Expire,
            key_id: None,
            from: gethostname::gethostname().to_string_lossy().into_owned(),
            when,
            result,
            request_id: None,
        });
    }
}

/// A document with plaintext secrets, or one that this program has never written, may still be another program's.
fn is_due(loaded: &Loaded, until: Timestamp) -> bool {
    let index = &loaded.index;
    index.plaintext_count() == 0 && index.generation().is_some() && index.has_expired_by(until)
}

/// From half of it to the whole, so that instances which start together do not all write together.
fn jittered(wait: Duration) -> Duration {
    let random = std::hash::RandomState::new().hash_one(0_u8);
    let fraction = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    wait.mul_f64(fraction.midpoint(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::index::Index;

    const YEAR_2025: Timestamp = Timestamp::from_millis(1_735_689_600_000);

    fn due(document: &str) -> bool {
        let loaded = Loaded {
            index: Index::build(document.as_bytes()).unwrap(),
            etag: None,
            loaded_at: YEAR_2025,
        };
        is_due(&loaded, YEAR_2025)
    }

    #[test]
    fn a_key_is_due_once_it_has_expired_for_long_and_nobody_else_may_need_the_document() {
        let hash = format!("sha256:{}", "0".repeat(64));
        let of = |head: &str, members: &str| {
            format!(r#"{{{head}"keys":[{{"id":"a","name":"A","expires_at":"2024-12-31"{members}}}]}}"#)
        };
        let stored = format!(r#","secret_hash":"{hash}""#);
        for (document, expected) in [
            (of(r#""generation":1,"#, &stored), true),
            (of("", &stored), false),
            (of(r#""generation":1,"#, r#","secret":"plain""#), false),
            (
                of(r#""generation":1,"#, &format!(r#"{stored},"is_active":false"#)),
                false,
            ),
            (
                of(r#""generation":1,"#, &format!(r#"{stored},"expires_at":"2025-01-02""#)),
                false,
            ),
            (
                of(r#""generation":1,"#, &format!(r#"{stored},"expires_at":null"#)),
                false,
            ),
        ] {
            assert_eq!(due(&document), expected, "{document}");
        }
    }

    #[test]
    fn waits_are_spread_over_half_their_length() {
        for _ in 0..1000 {
            let wait = jittered(Duration::from_mins(1));
            assert!((30..=60).contains(&wait.as_secs()), "{wait:?}");
        }
    }
}
