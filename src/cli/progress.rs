//! A bar on stderr for work that takes long, where somebody is looking.

use std::io::{self, IsTerminal};

use super::output::note;

/// Less than this is done before anybody could look.
const LONG: usize = 10_000;
const WIDTH: usize = 30;

/// Drawn once for each percent, and gone when it is dropped.
pub struct Progress {
    label: &'static str,
    total: usize,
    done: usize,
    drawn: Option<usize>,
    is_shown: bool,
}

impl Progress {
    pub fn new(label: &'static str, total: usize) -> Self {
        Self {
            label,
            total,
            done: 0,
            drawn: None,
            is_shown: total >= LONG && io::stderr().is_terminal(),
        }
    }

    pub fn step(&mut self) {
        self.done += 1;
        if !self.is_shown {
            return;
        }
        let percent = self.done * 100 / self.total.max(1);
        if self.drawn != Some(percent) {
            self.drawn = Some(percent);
            note(&format!("\r{}", self.line(percent)));
        }
    }

    fn line(&self, percent: usize) -> String {
        let full = (percent * WIDTH / 100).min(WIDTH);
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(WIDTH - full));
        format!("{} [{bar}] {percent:>3}% of {}", self.label, self.total)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(percent) = self.drawn {
            note(&format!("\r{}\r", " ".repeat(self.line(percent).len())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_the_work() {
        let bar = Progress::new("reading", 50_000);
        assert_eq!(bar.line(0), "reading [------------------------------]   0% of 50000");
        assert_eq!(bar.line(50), "reading [###############---------------]  50% of 50000");
        assert_eq!(bar.line(100), "reading [##############################] 100% of 50000");
    }
}
