//! The pages of the dashboard: how they are served, and what a person does with them in a real browser.

mod hand;
mod journey;
mod served;
