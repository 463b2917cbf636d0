//! What one load came to, for all who wait for it. Each who gets it passes it on to the next: were all told at once, hundreds
//! would be answered in a row, and verifies would have to wait for the last of them.

use std::{collections::VecDeque, mem};

use tokio::{sync::oneshot, task::yield_now};

use super::LoadError;

/// The number of keys in force afterwards.
pub(super) type Outcome = Result<usize, LoadError>;

pub(super) struct Answer {
    outcome: Outcome,
    others: VecDeque<oneshot::Sender<Self>>,
}

impl Answer {
    pub(super) fn tell(outcome: Outcome, waiting: VecDeque<oneshot::Sender<Self>>) {
        // It is for nobody yet, so it passes itself on.
        drop(Self {
            outcome,
            others: waiting,
        });
    }

    /// Takes the answer and tells the next, after what else has come on this thread has had its turn.
    pub(super) async fn take(self) -> Outcome {
        yield_now().await;
        self.outcome
    }
}

/// Also when whoever has it goes away in the middle.
impl Drop for Answer {
    fn drop(&mut self) {
        while let Some(next) = self.others.pop_front() {
            let rest = Self {
                outcome: self.outcome,
                others: mem::take(&mut self.others),
            };
            match next.send(rest) {
                Ok(()) => return,
                // Who does not wait any more has no use for it.
                Err(mut returned) => self.others = mem::take(&mut returned.others),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::task::LocalSet;

    use super::*;

    fn waiting(count: usize) -> (VecDeque<oneshot::Sender<Answer>>, Vec<oneshot::Receiver<Answer>>) {
        (0..count).map(|_| oneshot::channel()).unzip()
    }

    #[tokio::test]
    async fn who_waits_for_the_same_load_is_told_in_turn_with_everybody_else_on_the_thread() {
        let (senders, receivers) = waiting(5);
        let told = Rc::new(RefCell::new(Vec::new()));
        let local = LocalSet::new();
        for receiver in receivers {
            let told = Rc::clone(&told);
            local.spawn_local(async move {
                let outcome = receiver.await.unwrap().take().await;
                told.borrow_mut().push("refresh");
                assert_eq!(outcome, Ok(7));
            });
        }
        let others = Rc::clone(&told);
        local.spawn_local(async move {
            Answer::tell(Ok(7), senders);
            for _ in 0..20 {
                others.borrow_mut().push("verify");
                yield_now().await;
            }
        });
        local.await;
        let told = told.borrow();
        assert_eq!(told.iter().filter(|&&one| one == "refresh").count(), 5);
        assert!(!told.windows(2).any(|pair| pair == ["refresh", "refresh"]), "{told:?}");
    }

    #[tokio::test]
    async fn who_has_gone_is_passed_over_before_and_after_being_told() {
        let (senders, receivers) = waiting(5);
        let mut receivers = receivers.into_iter();
        let mut next = || receivers.next().unwrap();
        let (gone, first, holding, also_gone, last) = (next(), next(), next(), next(), next());
        drop(gone);
        Answer::tell(Err(LoadError::Gone), senders);
        assert_eq!(first.await.unwrap().take().await, Err(LoadError::Gone));
        drop(also_gone);
        drop(holding);
        assert_eq!(last.await.unwrap().take().await, Err(LoadError::Gone));
    }
}
