//! Steps that are atomic on every back end.
//!
//! An [`AtomicOp`] is written twice: as Rust on the engine's `Tx`, under the
//! keyspace's lock, and as Lua, for stores that run scripts. Both touch the same
//! keys and leave the same bytes; a test runs both on one state and compares.
//! Which one runs is [`Store::atomic`](crate::Store::atomic)'s business.
//!
//! The rules for both: only declared keys; time and chance come as arguments;
//! integers stay within 2^53, which is what Lua's numbers hold exactly.

use sangam_engine::Reply;
use smallvec::SmallVec;

use crate::error::Error;
use crate::script::Script;

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
}
