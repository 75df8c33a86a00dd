//! Why a connection's bytes are not RESP.

use std::fmt;

/// A request that cannot be understood. Redis answers it and closes the
/// connection, since where the next command begins is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// `*<n>` where n is no integer, or above the number of elements allowed.
    InvalidMultibulkLength,
    /// `$<n>` where n is no integer, negative, or above the size allowed.
    InvalidBulkLength,
    /// An element that does not begin with `$` but with this byte.
    ExpectedBulk(u8),
    /// A `*<n>` line without end.
    MultibulkLineTooLong,
    /// A `$<n>` line without end.
    BulkLineTooLong,
    /// An inline command without end.
    InlineTooLong,
    /// An inline command with a quote left open, or with text right after one.
    UnbalancedQuotes,
    /// More elements than a peer may send before it authenticates.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a peer may send before it authenticates.
    UnauthenticatedBulkLength,
}

impl ProtocolError {
    /// Appends the error reply, byte for byte Redis'.
    pub fn write_reply(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR Protocol error: ");
        match self {
            // The byte goes out as it came in, which may not be UTF-8; one that
            // would end the line becomes a blank.
            Self::ExpectedBulk(byte) => {
                out.extend_from_slice(b"expected '$', got '");
                out.push(printable(byte));
                out.push(b'\'');
            }
            other => out.extend_from_slice(other.text().as_bytes()),
        }
        out.extend_from_slice(b"\r\n");
    }

    const fn text(self) -> &'static str {
        match self {
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::ExpectedBulk(_) => "expected '$'",
            Self::MultibulkLineTooLong => "too big mbulk count string",
            Self::BulkLineTooLong => "too big bulk count string",
            Self::InlineTooLong => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol error: {}", self.text())?;
        if let Self::ExpectedBulk(byte) = self {
            write!(f, ", got '{}'", char::from(printable(*byte)))?;
        }
        Ok(())
    }
}

const fn printable(byte: u8) -> u8 {
    match byte {
        b'\r' | b'\n' => b' ',
        other => other,
    }
}
