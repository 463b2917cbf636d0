//! Counts of requests that are routed, which all are but verifies and auth requests; and of TLS, which carries them all.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    Metrics, UNSET,
    look::Look,
    set,
    timer::{Taken, Timer},
};

pub(super) struct Routed {
    /// Of the statuses 200, 300, 400 and 500.
    classes: [AtomicU64; 4],
    limited: AtomicU64,
    slow: AtomicU64,
    tls_handshakes: AtomicU64,
    tls_failed: AtomicU64,
    certificate_seconds_left: AtomicU64,
    pub(super) duration: Timer,
}

impl Metrics {
    /// A request that was routed and has an answer.
    pub fn routed(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        self.routed.classes[class].fetch_add(1, Relaxed);
        self.routed.duration.record(took);
    }

    /// A client has called a route below `/api/` too often.
    pub fn http_limited(&self) {
        self.routed.limited.fetch_add(1, Relaxed);
    }

    pub fn http_slow(&self) {
        self.routed.slow.fetch_add(1, Relaxed);
    }

    pub fn tls_handshake(&self) {
        self.routed.tls_handshakes.fetch_add(1, Relaxed);
    }

    pub fn tls_failed(&self) {
        self.routed.tls_failed.fetch_add(1, Relaxed);
    }

    /// How long the certificate in force is still valid.
    pub fn certificate(&self, seconds_left: u64) {
        self.routed.certificate_seconds_left.store(seconds_left, Relaxed);
    }
}

impl Routed {
    pub(super) const fn new() -> Self {
        Self {
            classes: [const { AtomicU64::new(0) }; 4],
            limited: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            tls_handshakes: AtomicU64::new(0),
            tls_failed: AtomicU64::new(0),
            certificate_seconds_left: AtomicU64::new(UNSET),
            duration: Timer::new(),
        }
    }

    pub(super) fn counters(&self, look: Look, duration: &Taken) -> [(&'static str, u64); 11] {
        let [good, moved, refused, failed] = self.classes.each_ref().map(|class| look.at(class));
        [
            ("http.requests", good + moved + refused + failed),
            ("http.status.2xx", good),
            ("http.status.3xx", moved),
            ("http.status.4xx", refused),
            ("http.status.5xx", failed),
            ("http.limited", look.at(&self.limited)),
            ("http.slow", look.at(&self.slow)),
            ("http.duration_count", duration.seen),
            ("http.duration_sum_us", duration.sum_us),
            ("tls.handshakes", look.at(&self.tls_handshakes)),
            ("tls.failed", look.at(&self.tls_failed)),
        ]
    }

    pub(super) fn certificate_seconds_left(&self) -> Option<u64> {
        set(&self.certificate_seconds_left)
    }
}
