//! The form of a cache's own; see [the module](super).

use super::super::key::TagId;
use super::super::settings::{Compression, Encoding, Method};
use super::{CUT_SHORT, DAMAGED, TOO_LARGE, Unreadable, compress};

/// The form and its version.
const FORM: [u8; 2] = [b'c', 1];
/// How many bytes name a writing.
pub(in super::super) const HEAD: usize = 17;
/// Bytes before the tags.
const HEADER: usize = 49;
/// Bytes before the checksum.
const CHECKED: usize = 45;
/// Bytes of a tag.
const TAG: usize = 16;

/// The name of one writing of a value: when, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Stamp {
    pub(in super::super) time_us: u64,
    pub(in super::super) writer: u32,
}

impl Stamp {
    /// The stamp of what begins like this; `None` where that has another form.
    pub(in super::super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        if rest.array()? != FORM {
            return None;
        }
        rest.array::<3>()?;
        rest.stamp()
    }
}

/// What a writing says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// This is the value.
    Value,
    /// There is none.
    Nothing,
    /// It was deleted.
    Deleted,
}

/// What is written of a value. Times in milliseconds since the epoch.
#[derive(Debug)]
pub(in super::super) struct Envelope<'a> {
    pub(in super::super) kind: Kind,
    pub(in super::super) stamp: Stamp,
    pub(in super::super) schema: u32,
    pub(in super::super) fresh_until_ms: u64,
    pub(in super::super) ends_ms: u64,
    pub(in super::super) tags: &'a [(TagId, u64)],
    /// One that is empty, or longer than 65,535 bytes, is left out: then a load costs
    /// the whole value.
    pub(in super::super) validator: Option<&'a str>,
    pub(in super::super) encoding: Encoding,
    /// Not compressed yet; not written where there is no value.
    pub(in super::super) body: &'a [u8],
}

impl Envelope<'_> {
    /// Its bytes, with the body compressed where the settings say so and it pays. More
    /// than a length's field can count makes bytes that are unreadable.
    pub(in super::super) fn write(&self, compression: Compression) -> Vec<u8> {
        let (encoding, body) = match self.kind {
            Kind::Value => (encoding_byte(self.encoding), self.body),
            Kind::Nothing | Kind::Deleted => (0, &[][..]),
        };
        let smaller = compress::smaller(body, compression);
        let (method, stored) = match &smaller {
            Some((method, packed)) => (method_byte(*method), packed.as_slice()),
            None => (0, body),
        };
        let validator = self.validator.unwrap_or_default();
        let (validator, validator_len) = match u16::try_from(validator.len()) {
            Ok(length) => (validator, length),
            Err(_) => ("", 0),
        };
        let length = HEADER + self.tags.len() * TAG + validator.len() + stored.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&FORM);
        bytes.extend_from_slice(&[kind_byte(self.kind), encoding, method]);
        bytes.extend_from_slice(&self.stamp.time_us.to_be_bytes());
        bytes.extend_from_slice(&self.stamp.writer.to_be_bytes());
        bytes.extend_from_slice(&self.schema.to_be_bytes());
        bytes.extend_from_slice(&self.fresh_until_ms.to_be_bytes());
        bytes.extend_from_slice(&self.ends_ms.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        let tags = u16::try_from(self.tags.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&tags.to_be_bytes());
        bytes.extend_from_slice(&validator_len.to_be_bytes());
        bytes.extend_from_slice(&[0; HEADER - CHECKED]);
        for (tag, version) in self.tags {
            bytes.extend_from_slice(&tag.0.to_be_bytes());
            bytes.extend_from_slice(&version.to_be_bytes());
        }
        bytes.extend_from_slice(validator.as_bytes());
        bytes.extend_from_slice(stored);
        let checksum = checksum(&bytes).to_be_bytes();
        if let Some(place) = bytes.get_mut(CHECKED..HEADER) {
            place.copy_from_slice(&checksum);
        }
        bytes
    }
}

/// What was read; `body` is not compressed any more.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Read {
    pub(in super::super) kind: Kind,
    pub(in super::super) stamp: Stamp,
    pub(in super::super) schema: u32,
    pub(in super::super) fresh_until_ms: u64,
    pub(in super::super) ends_ms: u64,
    pub(in super::super) tags: Vec<(TagId, u64)>,
    pub(in super::super) validator: Option<Box<str>>,
    /// Of the body; without meaning where there is no value.
    pub(in super::super) encoding: Encoding,
    /// Empty where there is no value.
    pub(in super::super) body: Vec<u8>,
}

/// Reads an envelope whose body has `max` bytes at most.
pub(in super::super) fn read(mut bytes: Vec<u8>, max: usize) -> Result<Read, Unreadable> {
    let Opened {
        mut read,
        method,
        body_len,
        stored_len,
    } = open(&bytes)?;
    if body_len > max {
        return Err(TOO_LARGE);
    }
    let start = bytes.len() - stored_len;
    read.body = match method {
        None => {
            bytes.drain(..start);
            bytes
        }
        Some(method) => {
            let stored = bytes.get(start..).ok_or(CUT_SHORT)?;
            compress::original(stored, method, body_len)?
        }
    };
    if read.body.len() == body_len {
        Ok(read)
    } else {
        Err(DAMAGED)
    }
}

/// An envelope whose body is still in its bytes: the last `stored_len` of them.
struct Opened {
    read: Read,
    method: Option<Method>,
    body_len: usize,
    stored_len: usize,
}

fn open(bytes: &[u8]) -> Result<Opened, Unreadable> {
    let mut rest = Rest(bytes);
    if rest.array().ok_or(CUT_SHORT)? != FORM {
        return Err(Unreadable("it has another form"));
    }
    let opened = rest.fields().ok_or(CUT_SHORT)?;
    if opened.checksum != checksum(bytes) {
        return Err(DAMAGED);
    }
    let Fields {
        kind,
        encoding,
        method,
        stamp,
        schema,
        fresh_until_ms,
        ends_ms,
        body_len,
        tags,
        validator_len,
        checksum: _,
    } = opened;
    let unknown = Unreadable("it says what this version does not know");
    let kind = kind_of(kind).ok_or(unknown)?;
    let method = match method {
        0 => None,
        byte => Some(method_of(byte).ok_or(unknown)?),
    };
    let encoding = match kind {
        Kind::Value => encoding_of(encoding).ok_or(unknown)?,
        Kind::Nothing | Kind::Deleted if encoding == 0 && method.is_none() && body_len == 0 => {
            Encoding::Json
        }
        Kind::Nothing | Kind::Deleted => return Err(unknown),
    };
    let tags = rest.tags(usize::from(tags)).ok_or(CUT_SHORT)?;
    let validator = rest.take(usize::from(validator_len)).ok_or(CUT_SHORT)?;
    let validator = match std::str::from_utf8(validator) {
        Ok("") => None,
        Ok(validator) => Some(validator.into()),
        Err(_) => return Err(Unreadable("its validator is no text")),
    };
    Ok(Opened {
        read: Read {
            kind,
            stamp,
            schema,
            fresh_until_ms,
            ends_ms,
            tags,
            validator,
            encoding,
            body: Vec::new(),
        },
        method,
        body_len: usize::try_from(body_len).map_err(|_| TOO_LARGE)?,
        stored_len: rest.0.len(),
    })
}

/// How a later step knows the same writing again: the first bytes, whatever they are.
pub(in super::super) fn head(bytes: &[u8]) -> &[u8] {
    bytes.get(..HEAD).unwrap_or(bytes)
}

/// Of everything but the checksum itself.
fn checksum(bytes: &[u8]) -> u32 {
    let (before, after) = (bytes.get(..CHECKED), bytes.get(HEADER..));
    crc32c::crc32c_append(
        crc32c::crc32c(before.unwrap_or(bytes)),
        after.unwrap_or_default(),
    )
}

/// The header's fields after the form, as they stand there.
struct Fields {
    kind: u8,
    encoding: u8,
    method: u8,
    stamp: Stamp,
    schema: u32,
    fresh_until_ms: u64,
    ends_ms: u64,
    body_len: u32,
    tags: u16,
    validator_len: u16,
    checksum: u32,
}

/// Bytes that were not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn stamp(&mut self) -> Option<Stamp> {
        Some(Stamp {
            time_us: self.u64()?,
            writer: self.u32()?,
        })
    }

    fn fields(&mut self) -> Option<Fields> {
        let [kind, encoding, method] = self.array()?;
        Some(Fields {
            kind,
            encoding,
            method,
            stamp: self.stamp()?,
            schema: self.u32()?,
            fresh_until_ms: self.u64()?,
            ends_ms: self.u64()?,
            body_len: self.u32()?,
            tags: self.u16()?,
            validator_len: self.u16()?,
            checksum: self.u32()?,
        })
    }

    fn tags(&mut self, count: usize) -> Option<Vec<(TagId, u64)>> {
        let mut tags = Rest(self.take(count * TAG)?);
        let mut read = Vec::with_capacity(count);
        for _ in 0..count {
            read.push((TagId(tags.u64()?), tags.u64()?));
        }
        Some(read)
    }
}

const fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Value => b'v',
        Kind::Nothing => b'n',
        Kind::Deleted => b'd',
    }
}

const fn kind_of(byte: u8) -> Option<Kind> {
    match byte {
        b'v' => Some(Kind::Value),
        b'n' => Some(Kind::Nothing),
        b'd' => Some(Kind::Deleted),
        _ => None,
    }
}

const fn encoding_byte(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Json => b'j',
        Encoding::MessagePack => b'm',
    }
}

const fn encoding_of(byte: u8) -> Option<Encoding> {
    match byte {
        b'j' => Some(Encoding::Json),
        b'm' => Some(Encoding::MessagePack),
        _ => None,
    }
}

const fn method_byte(method: Method) -> u8 {
    match method {
        Method::Zstd => b'z',
        Method::Gzip => b'g',
    }
}

const fn method_of(byte: u8) -> Option<Method> {
    match byte {
        b'z' => Some(Method::Zstd),
        b'g' => Some(Method::Gzip),
        _ => None,
    }
}
