//! Limits in HTTP, through the public API: the fields against a parser of Structured
//! Fields, the address against forged fields, the layer around real services.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod address;
mod away;
mod bench;
mod fields;
mod layer;
mod problem;
