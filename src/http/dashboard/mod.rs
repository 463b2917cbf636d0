//! The dashboard at `/dashboard`, which shows and changes keys by the routes of key management.

pub mod pages;
