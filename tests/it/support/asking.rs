//! Somebody who verifies over and over while something else goes on, and insists on every single answer.

use super::{
    http_client::{Connection, Response},
    service::eventually,
};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Asks on a thread of its own until it is stopped.
pub struct Asking {
    go_on: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Vec<Duration>>,
}

/// How long the answers took.
pub struct Answered {
    took: Vec<Duration>,
}

impl Asking {
    /// Each answer must fit, or `stop` fails the test.
    pub fn start(address: SocketAddr, secret: &str, fits: impl Fn(&Response) -> bool + Send + 'static) -> Self {
        let go_on = Arc::new(AtomicBool::new(true));
        let answered = Arc::new(AtomicUsize::new(0));
        let (going, counted) = (Arc::clone(&go_on), Arc::clone(&answered));
        let body = json!({ "api_key": secret }).to_string();
        let thread = thread::spawn(move || {
            let (mut connection, mut took) = (Connection::open(address), Vec::new());
            while going.load(Ordering::Relaxed) || took.is_empty() {
                let asked = Instant::now();
                let answer = connection.post("/verify", body.as_bytes()).expect("an answer");
                took.push(asked.elapsed());
                assert!(fits(&answer), "{} {}", answer.status, answer.text());
                counted.fetch_add(1, Ordering::Relaxed);
                // As fast as it can, it would only measure how busy the machine is.
                thread::sleep(Duration::from_millis(1));
            }
            took
        });
        Self {
            go_on,
            answered,
            thread,
        }
    }

    /// Waits until so many more questions are answered, from whatever goes on now.
    pub fn wait_for_more(&self, answers: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + answers;
        eventually("it is answered", || {
            // `stop` says what was wrong.
            self.answered.load(Ordering::Relaxed) >= enough || self.thread.is_finished()
        });
    }

    pub fn stop(self) -> Answered {
        self.go_on.store(false, Ordering::Relaxed);
        let mut took = self.thread.join().expect("every answer was the right one");
        took.sort_unstable();
        Answered { took }
    }
}

impl Answered {
    pub fn count(&self) -> usize {
        self.took.len()
    }

    /// All but one of a hundred were as fast as this.
    pub fn p99(&self) -> Duration {
        self.took[(self.took.len() * 99 / 100).min(self.took.len() - 1)]
    }
}
