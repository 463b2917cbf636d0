//! Where connections come in and go out: a few at a time. To begin a conversation, or to close a connection, takes the
//! system as long as several answers; a crowd that does so at once must not stand in front of those who only ask.

use tokio::{
    sync::{Notify, Semaphore},
    task,
};

/// How many pass before those who ask have another turn.
const AT_ONCE: usize = 4;

/// A worker's door. It shuts behind every few, and is opened again for as long as `keep` is polled.
pub struct Door {
    open: Semaphore,
    shut: Notify,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            open: Semaphore::new(AT_ONCE),
            shut: Notify::new(),
        }
    }
}

impl Door {
    /// Waits in line, where there is one.
    pub async fn pass(&self) {
        self.open.acquire().await.expect("a door stays usable").forget();
        if self.open.available_permits() == 0 {
            self.shut.notify_one();
        }
    }

    /// Lets the next few pass when the worker has looked at all that has arrived meanwhile.
    pub async fn keep(&self) {
        loop {
            self.shut.notified().await;
            // Goes on after the runtime has asked the system for what has become ready.
            task::yield_now().await;
            self.open.add_permits(AT_ONCE - self.open.available_permits());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Context, Waker},
    };

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn of_a_crowd_a_few_pass_at_a_time_and_all_in_the_end() {
        const CROWD: usize = 50;
        let (door, passed) = (Arc::new(Door::default()), Arc::new(AtomicUsize::new(0)));
        let mut crowd = JoinSet::new();
        for _ in 0..CROWD {
            let (door, passed) = (door.clone(), passed.clone());
            crowd.spawn(async move {
                door.pass().await;
                passed.fetch_add(1, Relaxed);
            });
        }
        let keeper = door.clone();
        task::spawn(async move { keeper.keep().await });
        // Whoever asks meanwhile has a turn after each few.
        let mut before = 0;
        while before < CROWD {
            task::yield_now().await;
            let now = passed.load(Relaxed);
            assert!(now - before <= AT_ONCE, "{before} and then {now}");
            before = now;
        }
        assert_eq!(crowd.join_all().await.len(), CROWD);
    }

    #[tokio::test]
    async fn nobody_waits_at_a_door_where_nobody_stands() {
        let door = Door::default();
        let mut context = Context::from_waker(Waker::noop());
        for number in 0..=AT_ONCE {
            let passes = pin!(door.pass()).poll(&mut context).is_ready();
            assert_eq!(passes, number < AT_ONCE);
        }
    }
}
