//! Upstash's REST dialect: HTTP's path, query and body to argument vectors, and
//! replies to JSON.
//!
//! A command comes in one of three forms: a [path](PathCommand), a JSON array
//! as the body ([`Command`]), or an array of those ([`Batch`], for `/pipeline`
//! and `/multi-exec`). The answer is `{"result":…}` or `{"error":"…"}`
//! ([`write_reply`]), or an array of such items ([`write_items`]). A client writes the
//! second form with [`write_command`]. Texts and
//! statuses of what the gateway itself refuses are [`RestError`]'s.
//!
//! Nothing here knows HTTP's types, and nothing decides whether a command may
//! run: that is the gateway's.

mod body;
mod client;
mod error;
mod format;
mod json;
mod path;
mod token;

pub use body::{Batch, Command};
pub use client::write_command;
pub use error::{Place, RestError};
pub use format::{Encoding, ResponseFormat};
pub use json::{write_error, write_items, write_reply};
pub use path::{PathCommand, query_token};
