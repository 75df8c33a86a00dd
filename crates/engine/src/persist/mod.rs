//! What an engine does with a journal: it is filled from it, it makes snapshots,
//! and it commits the latest values of keyspaces that keep no history.

mod commit;
mod open;
mod reload;
mod restore;
mod save;

pub(crate) use commit::commit_latest;
pub use open::{OpenError, Opened};
pub(crate) use reload::{through_codec, through_journal};
pub use restore::Progress;
pub use save::{SaveError, Saved, Saves, Ticket};
