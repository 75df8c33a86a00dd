//! Where an identifier stands after a look, in moments: milliseconds since the epoch.

use sangam_engine::Reply;
use sangam_store::Error;

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Hits of cost 1 that fit now.
    pub(super) remaining: u64,
    /// What the package calls `reset`: the window's end, or the next refill.
    pub(super) reset: i64,
    /// When a hit of the asked cost fits if nobody comes; not after now where it fits.
    pub(super) retry: i64,
    /// The same for a hit of cost 1.
    pub(super) next: i64,
    /// When all of the limit is there if nobody comes.
    pub(super) full: i64,
}

/// A script's answer: whether the hit fits, and two values.
pub(super) fn parts(reply: Reply) -> Result<(bool, Reply, Reply), Error> {
    if let Reply::Array(items) = reply.unpacked()
        && let Ok([fits, first, second]) = <[Reply; 3]>::try_from(items)
        && let Reply::Int(fits @ 0..=1) = fits
    {
        return Ok((fits == 1, first, second));
    }
    Err(wrong())
}

/// A whole number of a reply.
pub(super) fn int(reply: &Reply) -> Result<i64, Error> {
    match reply {
        Reply::Int(number) => Ok(*number),
        _ => Err(wrong()),
    }
}

pub(super) fn wrong() -> Error {
    Error::Reply("a shared limit's answer has another shape".to_owned())
}
