//! The codecs between bytes and commands, and between replies and bytes.
//!
//! Two front doors speak to the engine: RESP over a socket ([`resp`]) and
//! Upstash's REST dialect over HTTP ([`rest`]). Both come down to the same two
//! questions: which argument vector do these bytes mean, and which bytes does
//! this [`Reply`](sangam_engine::Reply) become. This crate answers them and
//! nothing else: no socket, no clock, no engine state, so that every rule of
//! either format can be tested and fuzzed as a pure function.
//!
//! Invariants: no input panics; memory taken is at most a small multiple of
//! the bytes received, never of a length that the input merely claims; an
//! argument borrows from the received buffer unless an escape forces a copy.

pub mod resp;
pub mod rest;

mod number;
mod plain;

use smallvec::SmallVec;

/// The arguments of one command, its name first, borrowed from what was
/// received. Eight fit without a heap allocation.
pub type Argv<'b> = SmallVec<[&'b [u8]; 8]>;
