//! What was counted between two takes, on its way to the bridge.

use std::{collections::BTreeMap, time::Duration};

/// Name of the counter that must survive the loss it counts.
pub(super) const METRICS_DROPPED: &str = "metrics.dropped";

/// What happened since the last take. Counters that did not move and timers without a duration are absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    pub counters: BTreeMap<&'static str, u64>,
    pub gauges: BTreeMap<&'static str, f64>,
    pub timers: BTreeMap<&'static str, Vec<Duration>>,
}

impl Interval {
    pub fn is_empty(&self) -> bool {
        self.lines() == 0
    }

    /// How many statsd lines it makes.
    pub fn lines(&self) -> u64 {
        (self.counters.len() + self.gauges.len() + self.timers.values().map(Vec::len).sum::<usize>()) as u64
    }

    /// Takes in what happened after it.
    pub fn add(&mut self, later: Self) {
        for (name, count) in later.counters {
            *self.counters.entry(name).or_default() += count;
        }
        self.gauges.extend(later.gauges);
        for (name, sample) in later.timers {
            self.timers.entry(name).or_default().extend(sample);
        }
    }

    /// Leaves only what can wait without growing, and returns how many lines that cost. Gauges cost none: the next
    /// interval has newer ones.
    pub fn keep_counters(&mut self) -> u64 {
        self.gauges.clear();
        let timers = std::mem::take(&mut self.timers);
        timers.values().map(Vec::len).sum::<usize>() as u64
    }

    /// Gives everything up, and returns how many lines are lost by now: those that were lost before and whose count
    /// is lost here are counted again.
    pub fn give_up(&mut self) -> u64 {
        let lost = std::mem::take(self);
        lost.lines() + lost.counters.get(METRICS_DROPPED).copied().unwrap_or_default()
    }
}
