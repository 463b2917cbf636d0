//! Of accounts, the signatures of tokens.

#[path = "../src/accounts/signing.rs"]
pub mod signing;
