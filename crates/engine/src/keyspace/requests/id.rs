//! What a client asks for, and the id that it gives it.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The id of a request: a UUIDv7. They are ordered by the time in them, which is
/// that of the client that made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u128);

impl RequestId {
    /// The id of this text: 32 hexadecimal digits in either case, in groups of
    /// 8, 4, 4, 4 and 12 with hyphens between; version 7, variant 10.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        let mut bits: u128 = 0;
        for (at, byte) in text.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            bits = bits << 4 | u128::from((*byte as char).to_digit(16)?);
        }
        RequestId::of_bits(bits)
    }

    fn of_bits(bits: u128) -> Option<Self> {
        (bits >> 76 & 0xf == 7 && bits >> 62 & 0b11 == 0b10).then_some(RequestId(bits))
    }

    /// Its time, milliseconds since the Unix epoch; below 2^48.
    pub const fn millis(self) -> u64 {
        (self.0 >> 80) as u64
    }

    pub(super) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(super) fn of_bytes(bytes: [u8; 16]) -> Option<Self> {
        RequestId::of_bits(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xffff,
            bits >> 48 & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

/// What is asked for under an id: commands, by a hash over all that they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    pub(super) fingerprint: u64,
    /// How many commands it has.
    pub(super) commands: usize,
}

impl Request {
    /// One command.
    pub fn command(id: RequestId, argv: &[&[u8]]) -> Self {
        Request::new(id, b'c', std::iter::once(argv))
    }

    /// Commands one after the other.
    pub fn pipeline<A: AsRef<[B]>, B: AsRef<[u8]>>(
        id: RequestId,
        commands: impl IntoIterator<Item = A>,
    ) -> Self {
        Request::new(id, b'p', commands)
    }

    /// Commands as one atomic unit.
    pub fn transaction<A: AsRef<[B]>, B: AsRef<[u8]>>(
        id: RequestId,
        commands: impl IntoIterator<Item = A>,
    ) -> Self {
        Request::new(id, b't', commands)
    }

    fn new<A: AsRef<[B]>, B: AsRef<[u8]>>(
        id: RequestId,
        form: u8,
        all: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut hash = Sha256::new_with_prefix([form]);
        let mut commands = 0;
        for argv in all {
            let argv = argv.as_ref();
            commands += 1;
            hash.update((argv.len() as u64).to_le_bytes());
            for arg in argv {
                let arg = arg.as_ref();
                hash.update((arg.len() as u64).to_le_bytes());
                hash.update(arg);
            }
        }
        let digest: [u8; 32] = hash.finalize().into();
        let first = digest.first_chunk().copied().unwrap_or_default();
        Request {
            id,
            fingerprint: u64::from_le_bytes(first),
            commands,
        }
    }

    /// One of its commands, from 0.
    pub const fn at(self, place: usize) -> Once {
        Once {
            request: self,
            place: place as u32,
        }
    }
}

/// A command of a request: it runs once.
#[derive(Debug, Clone, Copy)]
pub struct Once {
    pub(super) request: Request,
    pub(super) place: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        let id = RequestId::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(id.millis(), 0x0189_0a5d_ac96);
        assert_eq!(
            RequestId::parse(TEXT.to_uppercase().as_bytes()),
            Some(id),
            "in either case"
        );
        assert_eq!(RequestId::of_bytes(id.to_bytes()), Some(id));
        for malformed in [
            "",
            "01890a5dac96774bbcceb302099a8057",
            "01890a5d-ac96-474b-bcce-b302099a8057",
            "01890a5d-ac96-774b-fcce-b302099a8057",
            "01890a5d-ac96-774b-bcce-b302099a805",
            "01890a5d-ac96-774b-bcce-b302099a80570",
            "01890a5d-ac96-774b-bcce_b302099a8057",
            "01890a5d-ac96-774b-bcce-b302099a805g",
            "+1890a5d-ac96-774b-bcce-b302099a8057",
            "{01890a5d-ac96-774b-bcce-b302099a805}",
        ] {
            assert_eq!(RequestId::parse(malformed.as_bytes()), None, "{malformed}");
        }
    }

    #[test]
    fn requests_differ_by_form_and_by_every_argument() {
        let id = RequestId::parse(TEXT.as_bytes()).unwrap();
        let texts: [&[&[&str]]; 6] = [
            &[&["SET", "ab", "c"]],
            &[&["SET", "a", "bc"]],
            &[&["SET", "ab", "c", ""]],
            &[&["SET", "ab"], &["c"]],
            &[&["SET", "ab", "c"], &[]],
            &[],
        ];
        let mut seen = Vec::new();
        for commands in texts {
            seen.push(Request::pipeline(id, commands).fingerprint);
            seen.push(Request::transaction(id, commands).fingerprint);
        }
        seen.push(Request::command(id, &[b"SET", b"ab", b"c"]).fingerprint);
        for (at, one) in seen.iter().enumerate() {
            assert!(!seen[at + 1..].contains(one), "{at}");
        }
    }
}
