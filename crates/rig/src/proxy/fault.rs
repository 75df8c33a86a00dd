//! The faults, and whom they strike.

use std::time::Duration;

/// The way that bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Reply,
}

/// What goes wrong on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Reset as soon as it is accepted. (A closed port:
    /// [`Proxy::stop_listening`](super::Proxy::stop_listening).)
    Refuse,
    /// Accepted, read, never answered, and the server never hears of it. It
    /// stays so when the fault is over.
    BlackHole,
    /// From now on neither side hears the other; the server's side is closed,
    /// the client's stays. It stays so when the fault is over: the peer died
    /// without a word.
    HalfOpen,
    /// Nothing passes, either way; when the fault is over, all that was sent
    /// arrives: a cable that was pulled out for a while.
    Stall,
    /// The server gets the requests, the client no replies: their fate is
    /// unknown. Since TCP delivers nothing after a gap, a connection that has
    /// lost a reply gets none when the fault is over either.
    DropReplies,
    /// Reset towards the client when this many more bytes of replies passed: in
    /// the middle of one, or with 0 in place of one.
    CutAfterReply(u64),
    /// Reset towards the client when this many more bytes of requests reached
    /// the server, which may run what arrived whole.
    CutAfterRequest(u64),
    /// Bytes arrive later by a time drawn between the two for each piece that
    /// was read; their order stays.
    Delay {
        /// The way that is slow.
        direction: Direction,
        /// The least time.
        least: Duration,
        /// The longest time; the same for a fixed one.
        most: Duration,
    },
    /// A few bytes at a time.
    Drip {
        /// The way that is slow.
        direction: Direction,
        /// Bytes a tick, at least 1.
        bytes: usize,
        /// A tick.
        every: Duration,
    },
    /// So many bytes a second and connection pass, at least 100.
    Bandwidth {
        /// The way that is thin.
        direction: Direction,
        /// Bytes a second.
        per_second: usize,
    },
    /// A reply is held until one of another connection, which arrived later,
    /// has passed: the two arrive in the other order. A reply waits for as long
    /// as no other comes.
    Overtake,
}

/// Which connections a fault strikes, or which requests an
/// [`Answer`](super::Answer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// All, those that are open included, until the fault is cleared.
    All,
    /// The next ones that are accepted.
    Next(usize),
    /// Whichever it can strike first, open or still to come, this often in all.
    Times(usize),
    /// Each that is accepted, with this probability in percent; the same seed
    /// draws the same.
    Chance {
        /// 0 to 100.
        percent: u8,
        /// Where the drawing begins.
        seed: u64,
    },
}
