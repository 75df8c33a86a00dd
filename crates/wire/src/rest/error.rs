//! What the gateway itself refuses, with Upstash's texts and statuses.
//!
//! Clients match on these texts (a limiter falls open on a quota error, a test
//! suite compares whole strings), so those that are known of the real service
//! are exact. Where its text is not known, ours starts with `ERR` and says what
//! to do. Malformed JSON is told in the words of Go's decoder, which is what
//! that service answers with.
//!
//! Errors of a command that ran (`WRONGTYPE …`, `NOSCRIPT …`) are replies, not
//! these.

use std::fmt;

/// A request that got no further than the gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestError {
    /// No token, or none that opens a database. Status 401.
    #[error(
        "WRONGPASS invalid or missing auth token. See https://docs.upstash.com/redis/troubleshooting/http_unauthorized for details."
    )]
    Unauthorized,
    /// A method other than HEAD, GET, POST and PUT. Status 405, without a body.
    #[error("method not allowed")]
    MethodNotAllowed,

    /// The body form without a body.
    #[error("EOF")]
    EmptyBody,
    /// JSON, but no array; or a batch with an element that is none.
    #[error("expected JSON array")]
    NotArray,
    /// An array, or a path, without a command.
    #[error("ERR empty command")]
    EmptyCommand,
    /// An argument that is `null`.
    #[error("ERR null args are not supported")]
    NullArgument,
    /// An argument that is an object.
    #[error("ERR unsupported arg type: \"{{\": json.Delim")]
    ObjectArgument,
    /// An argument that is an array.
    #[error("ERR unsupported arg type: \"[\": json.Delim")]
    ArrayArgument,
    /// JSON that ends before it is complete.
    #[error("unexpected EOF")]
    UnexpectedEnd,
    /// A byte that JSON does not have at this place.
    #[error("invalid character {} {place}", Quoted(*byte))]
    UnexpectedByte {
        /// The byte.
        byte: u8,
        /// Where it stood.
        place: Place,
    },
    /// More arguments than a command may have.
    #[error("ERR too many arguments in one command. Limit: {limit}")]
    TooManyArguments {
        /// How many it may have.
        limit: usize,
    },
    /// A `%` in a path or query that two hexadecimal digits do not follow;
    /// with what follows instead.
    #[error("invalid URL escape \"{0}\"")]
    InvalidEscape(String),

    /// A command that does not exist, or not here; its name in upper case.
    #[error(
        "ERR Command is not available: '{0}'. See https://upstash.com/docs/redis/overall/rediscompatibility for details"
    )]
    UnknownCommand(String),
    /// A command that makes sense only on a connection, or that has a path of
    /// its own; its name in upper case.
    #[error("ERR Command \"{0}\" is not allowed in REST or it has a special context path")]
    NotAllowedInRest(String),
    /// A command that the token's user may not run; its name in lower case.
    #[error("NOPERM this user has no permissions to run the '{0}' command")]
    NoPermission(String),
    /// A value of `Upstash-Encoding` other than `base64`.
    #[error("ERR unsupported Upstash-Encoding: {0}")]
    UnknownEncoding(String),
    /// A value of `Upstash-Response-Format` other than `json` and `resp2`.
    #[error("ERR unsupported Upstash-Response-Format: {0}")]
    UnknownResponseFormat(String),
    /// Base64 asked for together with RESP2.
    #[error("ERR Upstash-Encoding: base64 cannot be used with Upstash-Response-Format: resp2")]
    EncodedResp2,

    /// A request, or a response, that is longer than the plan allows; bytes.
    #[error("ERR max request size exceeded. Limit: {limit} bytes, Actual: {actual} bytes")]
    RequestSize {
        /// What the plan allows.
        limit: u64,
        /// What it would have been.
        actual: u64,
    },
    /// A value that would grow longer than the plan allows.
    #[error("ERR max single record size exceeded")]
    RecordSize,
    /// A key longer than allowed; bytes.
    #[error("ERR max key size exceeded. Limit: {limit} bytes, Actual: {actual} bytes")]
    KeySize {
        /// What is allowed.
        limit: u64,
        /// Its length.
        actual: u64,
    },
    /// More connections than the plan allows.
    #[error("ERR max concurrent connections exceeded")]
    Connections,
    /// The day's commands are used up.
    #[error(
        "ERR max daily request limit exceeded. Limit: {limit}, Usage: {usage}. See https://upstash.com/docs/redis/troubleshooting/max_daily_request_limit for details"
    )]
    DailyQuota {
        /// Commands a day.
        limit: u64,
        /// Commands used.
        usage: u64,
    },
    /// The month's commands are used up.
    #[error(
        "ERR max requests limit exceeded. Limit: {limit}, Usage: {usage}. See https://upstash.com/docs/redis/troubleshooting/max_requests_limit for details"
    )]
    MonthlyQuota {
        /// Commands a month.
        limit: u64,
        /// Commands used.
        usage: u64,
    },
    /// The month's budget is spent.
    #[error(
        "ERR This database has been suspended for exceeding the defined budget limit. Please increase budget or switch to a Fixed plan on Upstash Console"
    )]
    Budget,
    /// The database holds more than the plan allows; refuses writes and scripts.
    #[error(
        "ERR DB capacity quota exceeded. Threshold: {threshold} bytes, Usage: {usage} bytes. See https://upstash.com/docs/redis/troubleshooting/db_capacity_quota_exceeded for details"
    )]
    Capacity {
        /// Bytes allowed.
        threshold: u64,
        /// Bytes held.
        usage: u64,
    },
}

impl RestError {
    /// The HTTP status it answers with.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::MethodNotAllowed => 405,
            // Quotas too: this dialect has no 429.
            _ => 400,
        }
    }

    /// Appends `{"error":"…"}`, or nothing for the one that has no body.
    pub fn write(&self, out: &mut Vec<u8>) {
        if *self != Self::MethodNotAllowed {
            super::write_error(self.to_string().as_bytes(), out);
        }
    }
}

/// Where in a JSON text a byte was not expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where a value had to begin.
    Value,
    /// After an array's element.
    Element,
    /// After the whole text.
    End,
    /// In a string, unescaped.
    String,
    /// After a backslash.
    Escape,
    /// After `\u`.
    Hex,
    /// In a number.
    Number,
    /// After a number's decimal point.
    Fraction,
    /// In a number's exponent.
    Exponent,
    /// In `true`, `false` or `null`, where the last byte had to stand.
    Literal(&'static str, u8),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "looking for beginning of value",
            Self::Element => "after array element",
            Self::End => "after top-level value",
            Self::String => "in string literal",
            Self::Escape => "in string escape code",
            Self::Hex => "in \\u hexadecimal character escape",
            Self::Number => "in numeric literal",
            Self::Fraction => "after decimal point in numeric literal",
            Self::Exponent => "in exponent of numeric literal",
            Self::Literal(word, expected) => {
                return write!(f, "in literal {word} (expecting {})", Quoted(*expected));
            }
        })
    }
}

/// A byte as Go quotes it: in single quotes, as the character of that number.
struct Quoted(u8);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\'' => f.write_str("'\\''"),
            b'\\' => f.write_str("'\\\\'"),
            b'\n' => f.write_str("'\\n'"),
            b'\r' => f.write_str("'\\r'"),
            b'\t' => f.write_str("'\\t'"),
            byte @ (0..0x20 | 0x7f) => write!(f, "'\\x{byte:02x}'"),
            byte @ (0x80..0xa1 | 0xad) => write!(f, "'\\u{byte:04x}'"),
            byte => write!(f, "'{}'", char::from(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: &RestError) -> String {
        error.to_string()
    }

    #[test]
    fn texts_are_the_services_own() {
        assert_eq!(
            text(&RestError::Unauthorized),
            "WRONGPASS invalid or missing auth token. See https://docs.upstash.com/redis/troubleshooting/http_unauthorized for details."
        );
        assert_eq!(
            text(&RestError::UnknownCommand("NOPE".into())),
            "ERR Command is not available: 'NOPE'. See https://upstash.com/docs/redis/overall/rediscompatibility for details"
        );
        assert_eq!(
            text(&RestError::NotAllowedInRest("MULTI".into())),
            "ERR Command \"MULTI\" is not allowed in REST or it has a special context path"
        );
        assert_eq!(
            text(&RestError::NoPermission("set".into())),
            "NOPERM this user has no permissions to run the 'set' command"
        );
        assert_eq!(
            text(&RestError::RequestSize {
                limit: 10_485_760,
                actual: 12_000_000
            }),
            "ERR max request size exceeded. Limit: 10485760 bytes, Actual: 12000000 bytes"
        );
        assert_eq!(
            text(&RestError::KeySize {
                limit: 32_768,
                actual: 40_000
            }),
            "ERR max key size exceeded. Limit: 32768 bytes, Actual: 40000 bytes"
        );
        assert_eq!(
            text(&RestError::DailyQuota {
                limit: 10_000,
                usage: 10_001
            }),
            "ERR max daily request limit exceeded. Limit: 10000, Usage: 10001. See https://upstash.com/docs/redis/troubleshooting/max_daily_request_limit for details"
        );
        assert_eq!(
            text(&RestError::MonthlyQuota {
                limit: 500_000,
                usage: 500_000
            }),
            "ERR max requests limit exceeded. Limit: 500000, Usage: 500000. See https://upstash.com/docs/redis/troubleshooting/max_requests_limit for details"
        );
        assert_eq!(
            text(&RestError::Capacity {
                threshold: 268_435_456,
                usage: 7
            }),
            "ERR DB capacity quota exceeded. Threshold: 268435456 bytes, Usage: 7 bytes. See https://upstash.com/docs/redis/troubleshooting/db_capacity_quota_exceeded for details"
        );
        assert_eq!(
            text(&RestError::Budget),
            "ERR This database has been suspended for exceeding the defined budget limit. Please increase budget or switch to a Fixed plan on Upstash Console"
        );
    }

    #[test]
    fn bodies_and_statuses() {
        let mut out = Vec::new();
        RestError::ObjectArgument.write(&mut out);
        assert_eq!(
            out,
            br#"{"error":"ERR unsupported arg type: \"{\": json.Delim"}"#
        );
        out.clear();
        RestError::ArrayArgument.write(&mut out);
        assert_eq!(
            out,
            br#"{"error":"ERR unsupported arg type: \"[\": json.Delim"}"#
        );
        out.clear();
        RestError::MethodNotAllowed.write(&mut out);
        assert!(out.is_empty());
        assert_eq!(RestError::MethodNotAllowed.status(), 405);
        assert_eq!(RestError::Unauthorized.status(), 401);
        assert_eq!(RestError::MonthlyQuota { limit: 1, usage: 1 }.status(), 400);
    }

    #[test]
    fn bytes_are_quoted_as_go_does() {
        let quoted = |byte| Quoted(byte).to_string();
        assert_eq!(quoted(b'x'), "'x'");
        assert_eq!(quoted(b'"'), "'\"'");
        assert_eq!(quoted(b'\''), "'\\''");
        assert_eq!(quoted(b'\\'), "'\\\\'");
        assert_eq!(quoted(b'\n'), "'\\n'");
        assert_eq!(quoted(0), "'\\x00'");
        assert_eq!(quoted(0xc3), "'Ã'");
    }
}
