//! The threads that hash, the queue before them, and the memory that each of them hashes in.

use std::{
    collections::VecDeque,
    io,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use argon2::{Argon2, Block};
use tokio::sync::oneshot;

use crate::courtesy::stand_back;

/// How many may wait for each thread: what it hashes in about two seconds.
const WAITING_PER_THREAD: usize = 64;

/// How long a thread without work keeps its memory, so that the logins of a busy time do not make it anew each.
const KEEPS_MEMORY: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

pub struct Pool {
    shared: Arc<Shared>,
    threads: NonZero<usize>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Pool {
    pub fn start(threads: NonZero<usize>) -> io::Result<Self> {
        let pool = Self {
            shared: Arc::default(),
            threads,
        };
        for number in 0..threads.get() {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new().name(format!("hasher-{number}"));
            thread.spawn(move || {
                stand_back();
                shared.work_off();
            })?;
        }
        Ok(pool)
    }

    pub const fn threads(&self) -> NonZero<usize> {
        self.threads
    }

    /// `None` when too many are waiting already. Work that nobody waits for any more is not begun.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let job = move |memory: &mut Memory| {
            if !done.is_closed() {
                // Whoever asked may have gone meanwhile.
                let _ = done.send(work(memory));
            }
        };
        self.push(Box::new(job)).then_some(())?;
        answer.await.ok()
    }

    fn push(&self, job: Job) -> bool {
        let mut queue = self.shared.queue();
        if queue.jobs.len() >= self.threads.get() * WAITING_PER_THREAD {
            return false;
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.changed.notify_one();
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_off(&self) {
        let mut memory = Memory::default();
        while let Some(job) = self.next(&mut memory) {
            // What breaks off answers nobody; the thread goes on for the others.
            let _ = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
        }
    }

    /// Waits for work; `None` when there will be none.
    fn next(&self, memory: &mut Memory) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            let (waited, timed) = if memory.is_empty() {
                (self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner), None)
            } else {
                let waited = self.changed.wait_timeout(queue, KEEPS_MEMORY);
                let (waited, timed) = waited.unwrap_or_else(PoisonError::into_inner);
                (waited, Some(timed))
            };
            queue = waited;
            if timed.is_some_and(|timed| timed.timed_out()) && queue.jobs.is_empty() {
                memory.give_back();
            }
        }
    }
}

/// What one thread hashes in, kept from one hash to the next.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    pub fn hash(
        &mut self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<(), argon2::Error> {
        let blocks = argon2.params().block_count();
        if self.0.len() != blocks {
            // At once, so that not both are held.
            self.give_back();
            self.0 = vec![Block::default(); blocks];
        }
        argon2.hash_password_into_with_memory(password, salt, output, &mut self.0)
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn give_back(&mut self) {
        self.0 = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn threads(number: usize) -> NonZero<usize> {
        NonZero::new(number).unwrap()
    }

    /// Keeps the only thread at work until the sender is dropped or sends.
    async fn held_up(pool: &Arc<Pool>) -> mpsc::Sender<()> {
        let (go_on, hold) = mpsc::channel();
        let (began, has_begun) = oneshot::channel();
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            pool.run(move |_| {
                let _ = began.send(());
                let _ = hold.recv();
            })
            .await
        });
        has_begun.await.unwrap();
        go_on
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_told_so() {
        let pool = Arc::new(Pool::start(threads(1)).unwrap());
        let go_on = held_up(&pool).await;
        let mut waiting = Vec::new();
        for number in 0..WAITING_PER_THREAD {
            let mut asking = Box::pin(pool.run(move |_| number));
            assert!(poll_once(&mut asking).is_none());
            waiting.push(asking);
        }
        assert_eq!(pool.run(|_| 0).await, None);
        drop(go_on);
        for (number, asking) in waiting.into_iter().enumerate() {
            assert_eq!(asking.await, Some(number));
        }
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_begun() {
        let pool = Arc::new(Pool::start(threads(1)).unwrap());
        let go_on = held_up(&pool).await;
        let (began, has_begun) = mpsc::channel::<()>();
        let mut asking = Box::pin(pool.run(move |_| began.send(())));
        assert!(poll_once(&mut asking).is_none());
        drop(asking);
        drop(go_on);
        assert_eq!(pool.run(|_| 1).await, Some(1));
        assert!(has_begun.try_recv().is_err(), "it was thrown away");
    }

    #[tokio::test]
    async fn work_that_breaks_off_costs_no_thread() {
        let pool = Pool::start(threads(1)).unwrap();
        for _ in 0..3 {
            assert_eq!(pool.run(|_| -> u32 { panic!("on purpose") }).await, None);
        }
        assert_eq!(pool.run(|_| 1).await, Some(1));
    }

    fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }
}
