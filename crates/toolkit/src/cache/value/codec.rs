//! A value as JSON or as MessagePack, and back.
//!
//! Both are read to a depth of [`DEPTH`]: bytes that nest deeper are unreadable
//! rather than the end of a thread's stack. So a value that nests deeper can be written
//! but not read: each read loads it anew.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::error::CacheError;
use super::super::settings::Encoding;
use super::{DAMAGED, Unreadable};

/// How deep values may nest; serde_json's own limit.
const DEPTH: usize = 128;

/// A value's bytes, `max` at most: what is larger is given up there, and the error
/// names the bytes up to then. A panic of the value's own code is an error too, for
/// others may wait for it.
pub(in super::super) fn encode<T: Serialize>(
    value: &T,
    encoding: Encoding,
    max: usize,
) -> Result<Vec<u8>, CacheError> {
    let mut bounded = Bounded {
        bytes: Vec::new(),
        max,
        wanted: 0,
    };
    let written = catch_unwind(AssertUnwindSafe(|| match encoding {
        Encoding::Json => {
            serde_json::to_writer(&mut bounded, value).map_err(|error| error.to_string())
        }
        Encoding::MessagePack => {
            rmp_serde::encode::write_named(&mut bounded, value).map_err(|error| error.to_string())
        }
    }));
    match written.map_err(|panic| CacheError::panicked(&*panic))? {
        _ if bounded.wanted > max => Err(CacheError::TooLarge {
            bytes: bounded.wanted,
            max,
        }),
        Ok(()) => Ok(bounded.bytes),
        Err(error) => Err(CacheError::Encode(error)),
    }
}

/// The value of all of these bytes; a panic of its own code makes them unreadable.
pub(in super::super) fn decode<T: DeserializeOwned>(
    body: &[u8],
    encoding: Encoding,
) -> Result<T, Unreadable> {
    catch_unwind(|| read(body, encoding)).unwrap_or(Err(Unreadable("its type panicked")))
}

fn read<T: DeserializeOwned>(body: &[u8], encoding: Encoding) -> Result<T, Unreadable> {
    match encoding {
        Encoding::Json => {
            serde_json::from_slice(body).map_err(|_| Unreadable("it is not the JSON of its type"))
        }
        Encoding::MessagePack => {
            let mut rest = body;
            let mut reader = rmp_serde::Deserializer::new(&mut rest);
            reader.set_max_depth(DEPTH);
            let value = T::deserialize(&mut reader)
                .map_err(|_| Unreadable("it is not the MessagePack of its type"))?;
            if rest.is_empty() {
                Ok(value)
            } else {
                Err(DAMAGED)
            }
        }
    }
}

/// Takes `max` bytes, and refuses what goes beyond.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    /// How many bytes there would be by now.
    wanted: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.wanted = self.bytes.len().saturating_add(more.len());
        if self.wanted > self.max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
