//! Failed guesses in Redis, each step one script. Redis forgets them by itself.
//!
//! A script whose answer was lost is run once more: then it counts twice, which refuses somebody and admits nobody.

use redis::{Script, ScriptInvocation};

use super::{
    Subjects,
    count::{Admission, Failures, Hold, decide},
};
use crate::{
    accounts::Unavailable,
    core::{secret::Secret, time::Timestamp},
    redis_link::{Link, Trouble},
};

/// First part of the names under which failures are kept.
const PREFIX: &str = "heare-auth:guesses";

pub struct RedisGuesses {
    link: Link,
    script: Script,
}

impl RedisGuesses {
    pub fn new(url: &Secret) -> Result<Self, Trouble> {
        Ok(Self {
            link: Link::new(url)?,
            script: Script::new(include_str!("guesses.lua")),
        })
    }

    pub(super) async fn admit(
        &self,
        subjects: &Subjects,
        arrived: Timestamp,
        now: Timestamp,
    ) -> Result<Admission, Unavailable> {
        let mut call = self.call("admit", subjects, now);
        call.arg(arrived.as_millis());
        let answer: Vec<i64> = self.link.run(&call).await?;
        admission(&answer, now).ok_or(Unavailable::Redis(Trouble::Refuses))
    }

    pub(super) async fn wrong(
        &self,
        subjects: &Subjects,
        holds: [Hold; 2],
        now: Timestamp,
    ) -> Result<[u32; 2], Unavailable> {
        let mut call = self.call("wrong", subjects, now);
        for hold in holds {
            let is_counted = matches!(hold, Hold::Reserved { .. });
            call.arg(i32::from(!is_counted));
        }
        let counts: Vec<u32> = self.link.run(&call).await?;
        counts.try_into().map_err(|_| Unavailable::Redis(Trouble::Refuses))
    }

    pub(super) async fn settle(
        &self,
        subjects: &Subjects,
        settlements: [super::Settlement; 2],
        admitted: Timestamp,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        let mut call = self.call("settle", subjects, now);
        for settlement in settlements {
            match settlement {
                super::Settlement::Nothing => call.arg("").arg(0),
                super::Settlement::Forget => call.arg("forget").arg(0),
                super::Settlement::GiveBack { before } => call.arg("give_back").arg(before.last_at.as_millis()),
            };
        }
        call.arg(admitted.as_millis());
        let _: Vec<i64> = self.link.run(&call).await?;
        Ok(())
    }

    fn call(&self, what: &str, subjects: &Subjects, now: Timestamp) -> ScriptInvocation<'_> {
        let mut call = self.script.prepare_invoke();
        for subject in subjects.both() {
            call.key(format!("{PREFIX}:{subject}"));
        }
        call.arg(what).arg(now.as_millis());
        call
    }
}

/// From what the script knew before it admitted the guess.
fn admission(answer: &[i64], now: Timestamp) -> Option<Admission> {
    match *answer {
        [0, wait_ms] => Some(Admission::Refused { wait_ms }),
        [1, account, account_at, address, address_at] => {
            let failures = |count: i64, at: i64| {
                Some(Failures {
                    count: u32::try_from(count).ok()?,
                    last_at: Timestamp::from_millis(at),
                })
            };
            let known = [failures(account, account_at)?, failures(address, address_at)?];
            Some(decide(known, now, now).0)
        }
        _ => None,
    }
}
