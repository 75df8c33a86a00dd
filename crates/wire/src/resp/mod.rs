//! RESP2 and RESP3, the protocols of Redis' own port.
//!
//! [`Decoder`] turns received bytes into argument vectors, [`encode()`] turns a
//! reply into bytes; [`decode_reply`] is the other side's half of the same
//! protocol, for tests and for back ends that speak to another server. Error
//! texts and corner cases are those of Redis 7.0.15, except where a module
//! says otherwise and why.

pub mod limits;

mod client;
mod decode;
mod encode;
mod error;
mod inline;

pub use client::{DecodedReply, ReplyError, decode_reply};
pub use decode::{Decoded, Decoder};
pub use encode::encode;
pub use error::ProtocolError;

/// The version of the protocol that a connection speaks; `HELLO` changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// Maps, sets, doubles, nulls and pushes have types of their own.
    Resp3,
}
