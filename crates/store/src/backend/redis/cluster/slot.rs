//! Which of the 16384 slots a key is in.

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The slot of a key: the CRC-16 (XMODEM) of what stands between its first `{`
/// and the `}` after it, if anything does, or else of all of it.
pub fn slot_of(key: &[u8]) -> u16 {
    let tagged = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    });
    let crc = tagged.unwrap_or(key).iter().fold(0u16, |crc, byte| {
        let at = usize::from((crc >> 8) as u8 ^ byte);
        (crc << 8) ^ TABLE.get(at).copied().unwrap_or_default()
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_as_redis_computes_them() {
        for (key, slot) in [
            (&b""[..], 0),
            (b"123456789", 12_739),
            (b"foo", 12_182),
            (b"{foo}.bar", 12_182),
            (b"a{foo}{bar}", 12_182),
            (b"user1000", 3_443),
            (b"{user1000}.following", 3_443),
            (b"foo{}{bar}", 8_363),
            (b"foo{{bar}}zap", 4_015),
            (b"{open", slot_of(b"{open")),
        ] {
            assert_eq!(slot_of(key), slot, "{}", key.escape_ascii());
        }
    }
}
