//! Chances that a seed decides, and those who act by them.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::cell::RefCell;

tokio::task_local! {
    /// By which the product's own waits are spread in this task.
    static OWN: RefCell<Chance>;
}

/// A stream of chances of one actor, so that what it draws does not depend on what others draw before it.
pub struct Chance(StdRng);

impl Chance {
    pub fn new(seed: u64, actor: u64) -> Self {
        Self(StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ actor))
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.0.random_range(0..bound)
    }

    pub fn pick<'t, T>(&mut self, table: &'t [T]) -> &'t T {
        &table[self.0.random_range(0..table.len())]
    }

    pub fn one_of<T: Copy>(&mut self, table: &[T]) -> T {
        *self.pick(table)
    }

    fn fraction(&mut self) -> f64 {
        self.0.random()
    }
}

/// Runs a task whose waits are spread by a stream of its own.
pub async fn acting<T>(chance: Chance, task: impl Future<Output = T>) -> T {
    OWN.scope(RefCell::new(chance), task).await
}

/// What the product is given as its source of chances.
pub fn fraction() -> f64 {
    OWN.with(|own| own.borrow_mut().fraction())
}
