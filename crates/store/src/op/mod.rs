//! Steps that are atomic on every back end.
//!
//! An [`AtomicOp`] is written twice: as Rust on the engine's [`Tx`], under the
//! keyspace's lock, and as Lua, for stores that run scripts. Both touch the same
//! keys, answer the same and leave the same bytes; `testing`, a feature for tests,
//! runs both on one state and compares. Which one runs is [`Store::atomic`](crate::Store::atomic)'s
//! business.
//!
//! The rules for both:
//!
//! - Only declared keys. Time and chance come as arguments, never from the store.
//! - Whatever can fail fails before the first write: a script's writes stay where
//!   Redis stops it.
//! - Lua's numbers hold integers up to 2^53 exactly, so both sides stay within
//!   [`INTEGER_MAX`] where Lua computes, and say the same where a number is beyond.
//! - Lua writes an integer by `string.format('%.0f', n)`: `..` and `tostring` make
//!   1.7e+15 of a moment in microseconds.
//! - A value whose form is the op's own begins with a byte that names the form, so
//!   that another may follow; [`Fence`] and [`PutIfNewer`] have such values. Those
//!   of the others are their callers', and counters are plain decimals, which any
//!   Redis client reads.
//!
//! Costs are in billed commands of a script: the `EVALSHA` and what it calls. In
//! process nothing is billed.

mod compare;
mod fence;
mod increment;
mod newer;
mod raise;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod ttl;

use sangam_engine::command::args::parse_i64;
use sangam_engine::{CommandError, Reply, Tx};
use smallvec::SmallVec;

use crate::error::Error;
use crate::script::Script;
use crate::typed::{int, unexpected};

pub use compare::{CompareAndDelete, CompareAndExtend, CompareAndSet};
pub use fence::Fence;
pub use increment::Increment;
pub use newer::{PutIfNewer, Versioned};
pub use raise::Raise;

/// The largest integer that ops compute with where Lua computes too, 2^53 - 1; the
/// smallest is its negative.
pub const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// Arguments that an op makes: text that it borrows, numbers that it writes.
pub type Args = SmallVec<[Vec<u8>; 4]>;

/// Keys of an op.
pub type Keys<'a> = SmallVec<[&'a [u8]; 4]>;

/// A step that is atomic on every back end.
pub trait AtomicOp: Send + Sync {
    /// What it answers.
    type Output: Send;

    /// Its Lua text.
    fn script(&self) -> &'static Script;

    /// The keys that it touches; on a cluster they share a hash tag.
    fn keys(&self) -> Keys<'_>;

    /// The script's further arguments.
    fn args(&self) -> Args;

    /// Reads the script's answer.
    fn read(&self, reply: Reply) -> Result<Self::Output, Error>;

    /// The same step in Rust. It runs under the keyspace's lock: it must not wait.
    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, CommandError>;
}

/// Lua's `int(text)`: the number of a canonical decimal within the bounds, else
/// nil. [`integer`] is its counterpart.
macro_rules! with_int {
    ($text:literal) => {
        concat!(
            "local function int(s) \
             if #s <= 17 and (s == '0' or string.find(s, '^%-?[1-9]%d*$')) then \
             local n = tonumber(s) \
             if n <= 9007199254740991 and n >= -9007199254740991 then return n end \
             end end\n",
            $text
        )
    };
}
pub(crate) use with_int;

/// The number of a canonical decimal within the bounds.
pub fn integer(text: &[u8]) -> Option<i64> {
    parse_i64(text).filter(|number| number.unsigned_abs() <= INTEGER_MAX.unsigned_abs())
}

/// An op's number as both sides take it: beyond the bounds, it is an error.
fn within(number: u64) -> Result<i64, CommandError> {
    i64::try_from(number)
        .ok()
        .filter(|number| *number <= INTEGER_MAX)
        .ok_or(CommandError::NotInteger)
}

/// A script's 0 or 1.
fn truth(reply: Reply) -> Result<bool, Error> {
    match int(reply)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(unexpected("0 or 1", &Reply::Int(other))),
    }
}
