//! Whose password is looked at next: so many at a time, the others in line, and not too many of them.

use std::{
    num::NonZero,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Refusal;
use crate::accounts::Unavailable;

/// How many may be in line for each place.
const WAITING_PER_PLACE: usize = 64;

/// The whole line is told in about a second when nobody in it takes longer.
const AT_ONCE: Duration = Duration::from_millis(20);

pub struct Turns {
    places: Semaphore,
    most_waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: usize,
    /// How often the store has failed, and how the last time.
    outages: u64,
    last: Option<Unavailable>,
}

/// Somebody's turn, until it is dropped.
pub struct Turn<'t> {
    turns: &'t Turns,
    _place: SemaphorePermit<'t>,
}

impl Turns {
    pub fn new(places: NonZero<usize>) -> Self {
        Self {
            places: Semaphore::new(places.get()),
            most_waiting: places.get() * WAITING_PER_PLACE,
            state: Mutex::default(),
        }
    }

    /// Whoever is in line when the store fails is told so at once: would each find out alone, the last would wait for all of
    /// those before.
    pub async fn wait(&self) -> Result<Turn<'_>, Refusal> {
        let line = self.join_line()?;
        let place = self.places.acquire().await.expect("the places are never closed");
        let state = self.state();
        match state.last {
            Some(unavailable) if state.outages > line.outages => Err(unavailable.into()),
            _ => Ok(Turn {
                turns: self,
                _place: place,
            }),
        }
    }

    fn join_line(&self) -> Result<InLine<'_>, Refusal> {
        let mut state = self.state();
        if state.waiting >= self.most_waiting {
            return Err(Refusal::Busy);
        }
        state.waiting += 1;
        Ok(InLine {
            turns: self,
            outages: state.outages,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Asks the store, and tells those in line when it has kept this one waiting for nothing. Each of them may well find out
    /// alone what is found out at once.
    pub async fn ask<T>(&self, asking: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Refusal> {
        let began = Instant::now();
        let answer = asking.await;
        if let Err(unavailable) = answer
            && began.elapsed() >= AT_ONCE
        {
            let mut state = self.turns.state();
            state.outages += 1;
            state.last = Some(unavailable);
        }
        Ok(answer?)
    }
}

/// A place in line, given up when it is dropped.
struct InLine<'t> {
    turns: &'t Turns,
    outages: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.turns.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::DatabaseError;

    const GONE: Unavailable = Unavailable::Database(DatabaseError::Unreachable);

    fn turns() -> Turns {
        Turns::new(NonZero::<usize>::MIN)
    }

    fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn one_comes_after_the_other() {
        let turns = turns();
        let first = turns.wait().await.unwrap();
        let mut second = Box::pin(turns.wait());
        assert!(poll_once(&mut second).is_none());
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn beyond_a_bound_nobody_joins_the_line() {
        let turns = turns();
        let _first = turns.wait().await.unwrap();
        let mut line: Vec<_> = (0..WAITING_PER_PLACE).map(|_| Box::pin(turns.wait())).collect();
        assert!(line.iter_mut().all(|waiting| poll_once(waiting).is_none()));
        assert!(matches!(turns.wait().await, Err(Refusal::Busy)));
        line.pop();
        assert!(
            poll_once(&mut Box::pin(turns.wait())).is_none(),
            "who has gone made room"
        );
    }

    #[tokio::test]
    async fn who_is_in_line_when_the_store_fails_is_refused_and_who_comes_later_is_not() {
        let turns = turns();
        let first = turns.wait().await.unwrap();
        let mut second = Box::pin(turns.wait());
        assert!(poll_once(&mut second).is_none());
        let after_a_while = async {
            tokio::time::sleep(AT_ONCE).await;
            Err::<(), _>(GONE)
        };
        assert_eq!(first.ask(after_a_while).await, Err(Refusal::Unavailable(GONE)));
        drop(first);
        assert!(matches!(second.await, Err(Refusal::Unavailable(GONE))));
        assert!(turns.wait().await.is_ok());
    }

    #[tokio::test]
    async fn what_fails_at_once_concerns_nobody_else() {
        let turns = turns();
        let first = turns.wait().await.unwrap();
        let mut second = Box::pin(turns.wait());
        assert!(poll_once(&mut second).is_none());
        let asked = first.ask(async { Err::<(), _>(GONE) }).await;
        assert_eq!(asked, Err(Refusal::Unavailable(GONE)));
        drop(first);
        assert!(second.await.is_ok());
    }
}
