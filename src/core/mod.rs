//! What a key is and when it is good: data in, data out. Nothing here reads a clock, a file, a socket,
//! the environment or a random source; `now`, bytes and randomness are parameters.

pub mod bounds;
pub mod certificate;
pub mod change;
pub mod document;
pub mod guess;
pub mod id;
pub mod import;
pub mod imported;
pub mod index;
pub mod json;
pub mod key;
pub mod network;
pub mod policy;
pub mod request;
pub mod restore;
pub mod scan;
pub mod scope;
pub mod secret;
pub mod tag;
pub mod terms;
pub mod time;
pub mod verify;
pub mod window;
