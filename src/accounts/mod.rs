//! People's accounts: their names, their passwords, and who may try how often.

pub mod common;
pub mod login_name;
pub mod password;
