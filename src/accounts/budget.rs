//! How long one call may wait for stores, all of its questions together.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{AccountError, Unavailable};
use crate::database::DatabaseError;

/// With what a hash takes it stays below two seconds, after which the caller is told to come back.
const IN_ALL: Duration = Duration::from_millis(1700);

/// What is left of it.
pub struct Budget(Duration);

impl Budget {
    pub const fn whole() -> Self {
        Self(IN_ALL)
    }

    /// Asks a store. Time that passes between two questions, such as for a hash, is not counted.
    pub async fn ask<T, E: Into<AccountError>>(
        &mut self,
        question: impl Future<Output = Result<T, E>>,
    ) -> Result<T, AccountError> {
        let began = Instant::now();
        let answer = timeout(self.0, question).await;
        self.0 = self.0.saturating_sub(began.elapsed());
        match answer {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(AccountError::Unavailable(Unavailable::Database(DatabaseError::Timeout))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{database::pool, redis_link};

    #[test]
    fn a_call_waits_for_its_stores_for_less_than_the_two_seconds_that_are_promised() {
        for budget in [IN_ALL, pool::BUDGET, redis_link::BUDGET] {
            assert!(budget < Duration::from_secs(2), "{budget:?}");
        }
    }
}
