//! Sliding windows: what was charged in the last so many seconds, and whether one more charge fits.
//!
//! A window remembers its charges. In any stretch of time as long as the window no more than the quota (`max` and `burst`
//! on top) is ever charged, whatever the clock's minutes and hours; a charge is forgotten exactly one length after it was
//! made. A quota of more than `GRAINS` has its charges added up in grains of a `GRAINS`th of the window, each as old as its
//! latest charge: a charge may then count up to one grain longer, never shorter. So the memory of a window is bounded,
//! whoever keeps to 98 % of the quota is never refused, and nobody gets more than it.
//!
//! Times are milliseconds of any clock. One that goes back takes no time back: the charges move with it.

use std::{borrow::Cow, collections::VecDeque};

/// The most limits with names of their own.
pub const MAX_NAMED_LIMITS: usize = 10;

/// The most limits one key may have: the hour, and those with names of their own.
pub const MAX_LIMITS: usize = 1 + MAX_NAMED_LIMITS;

/// Into how many grains a window is divided. A quota up to this is counted charge by charge.
pub const GRAINS: u32 = 64;

/// Charges that a window remembers at most: one for each grain, and one for the grain that is half gone.
pub const MAX_CHARGES: usize = GRAINS as usize + 2;

/// How much may be charged in a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    pub name: Cow<'static, str>,
    pub max: u32,
    /// An allowance on top: a window holds `max + burst`, never more.
    pub burst: u32,
    pub window_seconds: u32,
}

impl Limit {
    pub const fn quota(&self) -> u32 {
        self.max.saturating_add(self.burst)
    }

    pub fn length_ms(&self) -> u64 {
        u64::from(self.window_seconds) * 1000
    }

    /// Charges within one grain may be added up.
    pub fn grain_ms(&self) -> u64 {
        if self.quota() <= GRAINS {
            1
        } else {
            self.length_ms().div_ceil(u64::from(GRAINS)).max(1)
        }
    }
}

/// Whether a charge was made, and how each of the key's windows stands after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    standings: [Standing; MAX_LIMITS],
    count: usize,
}

/// How one window stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub quota: u32,
    pub remaining: u32,
    /// In how long the whole quota is there again if nothing more is charged.
    pub reset_ms: u64,
    /// In how long the refused charge would fit; 0 where it was not this window that refused. A charge larger than the
    /// quota never fits, and waits for a whole window.
    pub wait_ms: u64,
}

impl Decision {
    /// From what was decided elsewhere by the same arithmetic. More than `MAX_LIMITS` standings are cut.
    pub fn new(allowed: bool, found: impl IntoIterator<Item = Standing>) -> Self {
        let mut standings = [Standing::default(); MAX_LIMITS];
        let mut count = 0;
        for (room, standing) in standings.iter_mut().zip(found) {
            *room = standing;
            count += 1;
        }
        Self {
            allowed,
            standings,
            count,
        }
    }

    /// In the order of the limits.
    pub fn standings(&self) -> &[Standing] {
        &self.standings[..self.count]
    }

    /// The number of the window that a caller should heed: the one that lets it wait longest, else the fullest.
    pub fn tightest(&self) -> usize {
        let heed = |standing: &Standing| (std::cmp::Reverse(standing.wait_ms), standing.remaining);
        let windows = self.standings().iter().enumerate();
        windows
            .min_by_key(|(_, standing)| heed(standing))
            .map_or(0, |(number, _)| number)
    }

    /// In how long a refused charge would fit everywhere.
    pub fn wait_ms(&self) -> u64 {
        self.standings()
            .iter()
            .map(|standing| standing.wait_ms)
            .max()
            .unwrap_or(0)
    }
}

/// Charges every window or, if the cost does not fit into one of them, none. The windows are in the order of the limits.
pub fn decide(limits: &[Limit], windows: &mut [impl AsMut<Window>], now_ms: u64, cost: u32) -> Decision {
    let mut allowed = true;
    for (limit, window) in limits.iter().zip(windows.iter_mut()) {
        let window = window.as_mut();
        window.advance(limit.length_ms(), now_ms);
        allowed &= window.fits(limit, cost);
    }
    let standings = limits.iter().zip(windows).map(|(limit, window)| {
        let window = window.as_mut();
        if allowed {
            window.charge(limit, now_ms, cost);
        }
        window.standing(limit, now_ms, if allowed { 0 } else { cost })
    });
    Decision::new(allowed, standings)
}

/// What was charged, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Window {
    charges: VecDeque<Charge>,
    charged: u64,
}

impl AsMut<Self> for Window {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

#[derive(Clone, Copy, Debug)]
struct Charge {
    at: u64,
    cost: u64,
}

impl Window {
    /// What is charged in the length that ended when it was last advanced.
    pub fn charged(&self) -> u64 {
        self.charged
    }

    /// Forgets what is older than the length.
    pub fn advance(&mut self, length_ms: u64, now_ms: u64) {
        self.follow_clock_back(now_ms);
        while let Some(oldest) = self.charges.front().filter(|oldest| now_ms - oldest.at >= length_ms) {
            self.charged -= oldest.cost;
            self.charges.pop_front();
        }
    }

    /// Takes back a charge that was made at that time.
    pub fn refund(&mut self, at_ms: u64, cost: u32) {
        // Added up with later ones it became as late as they are.
        let holds = |charge: &&mut Charge| charge.at >= at_ms;
        let held = self.charges.iter_mut().find(holds);
        if let Some(charge) = held {
            let returned = charge.cost.min(cost.into());
            charge.cost -= returned;
            self.charged -= returned;
        }
        while self.charges.back().is_some_and(|latest| latest.cost == 0) {
            self.charges.pop_back();
        }
    }

    fn follow_clock_back(&mut self, now_ms: u64) {
        let ahead = self.charges.back().map_or(0, |latest| latest.at.saturating_sub(now_ms));
        if ahead > 0 {
            for charge in &mut self.charges {
                charge.at = charge.at.saturating_sub(ahead);
            }
        }
    }

    fn fits(&self, limit: &Limit, cost: u32) -> bool {
        self.charged + u64::from(cost) <= u64::from(limit.quota())
    }

    fn charge(&mut self, limit: &Limit, now_ms: u64, cost: u32) {
        let grain = limit.grain_ms();
        let full = self.charges.len() == MAX_CHARGES;
        self.charged += u64::from(cost);
        match self.charges.back_mut() {
            Some(latest) if full || latest.at / grain == now_ms / grain => {
                latest.at = now_ms;
                latest.cost += u64::from(cost);
            }
            _ => self.push(Charge {
                at: now_ms,
                cost: cost.into(),
            }),
        }
    }

    fn push(&mut self, charge: Charge) {
        if self.charges.len() == self.charges.capacity() {
            let room = (self.charges.len() * 2).clamp(4, MAX_CHARGES);
            self.charges.reserve_exact(room - self.charges.len());
        }
        self.charges.push_back(charge);
    }

    /// `refused` is the cost that did not fit somewhere, or 0.
    fn standing(&self, limit: &Limit, now_ms: u64, refused: u32) -> Standing {
        let left = u64::from(limit.quota()).saturating_sub(self.charged);
        let latest = self.charges.back().map_or(0, |latest| latest.at + limit.length_ms());
        Standing {
            quota: limit.quota(),
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            reset_ms: latest.saturating_sub(now_ms),
            wait_ms: self.wait_ms(limit, now_ms, refused),
        }
    }

    fn wait_ms(&self, limit: &Limit, now_ms: u64, cost: u32) -> u64 {
        let mut charged = self.charged + u64::from(cost);
        let quota = u64::from(limit.quota());
        if charged <= quota {
            return 0;
        }
        for charge in &self.charges {
            charged -= charge.cost;
            if charged <= quota {
                return (charge.at + limit.length_ms()).saturating_sub(now_ms);
            }
        }
        limit.length_ms()
    }
}

#[cfg(test)]
mod tests;
