//! What a peer may ask us to hold, and why each bound is where it is.

/// Bytes of one argument, and of one bulk string in a reply: Redis'
/// `proto-max-bulk-len` default, which is also its longest string value.
pub const BULK_MAX: usize = 512 * 1024 * 1024;

/// Elements of one command. Redis 6 drew the line here and Redis 7 lifted it to
/// 2^31 - 1; at 16 bytes a slice that would be 32 GiB of bookkeeping for one
/// command, so the older bound stays.
pub const ELEMENTS_MAX: usize = 1024 * 1024;

/// Bytes of an inline command, and of the `*<n>` and `$<n>` lines, before their
/// line end has to appear (`PROTO_INLINE_MAX_SIZE`).
pub const LINE_MAX: usize = 64 * 1024;

/// Elements of a command from a peer that has not authenticated yet: `AUTH`
/// and `HELLO` with all their options need fewer.
pub const UNAUTHENTICATED_ELEMENTS_MAX: usize = 10;

/// Bytes of an argument from a peer that has not authenticated yet.
pub const UNAUTHENTICATED_BULK_MAX: usize = 16 * 1024;

/// Elements to reserve room for on the word of a header alone. Beyond it the
/// vector grows with what really arrives, so a lie costs 16 KiB.
pub const PREALLOCATED_MAX: usize = 1024;

/// Bytes of one command that is still incomplete, over which a server closes
/// the connection (Redis' `client-query-buffer-limit`). The decoder does not
/// see the buffer grow; whoever fills it keeps this bound.
pub const QUERY_BUFFER_MAX: usize = 1024 * 1024 * 1024;

/// Levels of nesting in a decoded reply. No command of Redis answers deeper
/// than 8; scripts may, and recursion has to end before the stack does.
pub const REPLY_DEPTH_MAX: usize = 64;

/// Bytes of a status, error or number line in a decoded reply. Errors may quote
/// arguments, so they get more room than a request's line.
pub const REPLY_LINE_MAX: usize = 1024 * 1024;
