//! Accounts of people: the keys that sign their tokens, and the tokens.

pub mod key_file;
pub mod keys;
pub mod signing;
pub mod token;
