//! Why a command failed, with the text that Redis 7.0 gives for it.

use std::borrow::Cow;

use crate::reply::Reply;

/// A failed command. `Display` is the exact error line, code word included;
/// clients match on these texts, so they are contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// An argument, or the stored string, is not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// An argument, or the stored string, is not a number.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// Options that do not parse.
    #[error("ERR syntax error")]
    Syntax,
    /// The sum leaves the range of 64-bit integers.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// The sum is not a finite number.
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    /// The command needs an existing key.
    #[error("ERR no such key")]
    NoSuchKey,
    /// An index beyond the value.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// A string would pass 512 MB (`proto-max-bulk-len`).
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// A SCAN cursor that is not a number.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// `maxmemory` is reached and nothing may be evicted.
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// Any other text, code word included.
    #[error("{0}")]
    Text(Cow<'static, str>),
    /// A text that quotes bytes from the request.
    #[error("{}", String::from_utf8_lossy(.0))]
    Bytes(Vec<u8>),
}

impl CommandError {
    /// A fixed text.
    pub const fn text(text: &'static str) -> Self {
        CommandError::Text(Cow::Borrowed(text))
    }

    /// `ERR wrong number of arguments for 'name' command`.
    pub fn wrong_arity(name: &str) -> Self {
        CommandError::Text(format!("ERR wrong number of arguments for '{name}' command").into())
    }

    /// `ERR invalid expire time in 'name' command`.
    pub fn invalid_expire(name: &str) -> Self {
        CommandError::Text(format!("ERR invalid expire time in '{name}' command").into())
    }
}

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        CommandError::Text(text.into())
    }
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Bytes(text) => Reply::error(text),
            CommandError::Text(text) => Reply::error(text.as_bytes()),
            fixed => Reply::Error(fixed.to_string().into_bytes()),
        }
    }
}

impl Reply {
    /// A refusal as an error of its own.
    pub(crate) fn into_error(self) -> CommandError {
        match self {
            Reply::Error(text) => CommandError::Bytes(text),
            other => CommandError::from(format!("ERR unexpected reply: {other:?}")),
        }
    }
}
