//! Several futures as one.

use std::{future::poll_fn, task::Poll};

/// Carries all of them on, until the last is done. What comes of them is in their order.
pub async fn together<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, done) in running.iter_mut().filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(outcome) = future.as_mut().poll(context) {
                *done = Some(outcome);
            }
        }
        if running.iter().all(|(_, done)| done.is_some()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}
