//! Libraries of functions: what FUNCTION DUMP answers and FUNCTION RESTORE takes.
//!
//! For each library a type byte and its text as a string; the end is that of any
//! payload.

use super::read::Reader;
use super::write::Writer;
use super::{PayloadError, REDIS_7_0, opened, seal};

const LIBRARY: u8 = 245;

/// Why bytes are no libraries. The texts are those of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LibrariesError {
    /// Something else than a library.
    #[error("ERR given type is not a function")]
    Type,
    /// A library's text is not whole.
    #[error("ERR Failed loading library payload")]
    Text,
}

/// The payload of libraries with these texts.
pub fn encode_libraries<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Writer::default();
    for text in texts {
        out.raw(&[LIBRARY]);
        out.string(text);
    }
    seal(out.into_bytes(), REDIS_7_0)
}

/// The texts of the libraries of a payload, one after the other; nothing comes
/// after an error. All of them may decompress to `room` bytes.
pub fn decode_libraries(
    payload: &[u8],
    room: usize,
) -> Result<impl Iterator<Item = Result<Vec<u8>, LibrariesError>>, PayloadError> {
    let mut reader = Some(Reader::new(opened(payload)?.0, room));
    Ok(std::iter::from_fn(move || {
        let rest = reader.as_mut()?;
        let text = match rest.byte().ok()? {
            LIBRARY => rest.string().map_err(|_| LibrariesError::Text),
            _ => Err(LibrariesError::Type),
        };
        if text.is_err() {
            reader = None;
        }
        Some(text.map(super::Text::into_vec))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(payload: &[u8]) -> Result<Vec<Vec<u8>>, LibrariesError> {
        decode_libraries(payload, 1 << 20).unwrap().collect()
    }

    #[test]
    fn what_redis_7_0_dumps() {
        let text = b"#!lua name=solo\nredis.register_function('f',function() return 1 end)";
        let plain = [&b"\xf5@D"[..], text, b"\n\0\xd1\xf7\x92<p\xf1\xb2\xe2"].concat();
        assert_eq!(encode_libraries([&text[..]].into_iter()), plain);
        assert_eq!(decoded(&plain).unwrap(), [text]);
        let none = b"\n\0]\x9b\\@\x0f\x7f\xa2\xda";
        assert_eq!(encode_libraries([].into_iter()), none);
        assert_eq!(decoded(none).unwrap(), [b""; 0]);
        let compressed = b"\xf5\xc3@GD$\x11#!lua name=l2\n--ab\xe0\xff\x01\xe0\xff\x01\xe0\xff\
                           \x01\xe0\xc5\x01\x1c\nredis.register_function(\"g\",\xe0\x00\x0c\x05) \
                           end)\n\0\x19\xd2[\x15|\x07\xa2 ";
        let text = decoded(compressed).unwrap().remove(0);
        assert!(text.starts_with(b"#!lua name=l2\n--abab"));
        assert_eq!(text.len(), 0x424);
        assert!(encode_libraries([&*text].into_iter()).len() < 100);
    }

    #[test]
    fn any_bytes_are_refused_or_read() {
        let text = "a library ".repeat(50);
        let whole = encode_libraries([text.as_bytes(), b"another"].into_iter());
        let body = &whole[..whole.len() - 10];
        for end in 0..body.len() {
            // Between two libraries a payload may end.
            let texts = decoded(&seal(body[..end].to_vec(), REDIS_7_0));
            let cut = texts.as_ref().err() == Some(&LibrariesError::Text);
            assert!(cut || texts.is_ok_and(|texts| texts.len() < 2), "{end}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let footer = decode_libraries(&damaged, 1 << 20).map(drop);
            assert_eq!(footer, Err(PayloadError::Footer), "{at}");
        }
        let with_more = seal([body, b"\0"].concat(), REDIS_7_0);
        assert_eq!(decoded(&with_more), Err(LibrariesError::Type));
        let bomb = decode_libraries(&whole, 20).unwrap().next();
        assert_eq!(bomb, Some(Err(LibrariesError::Text)));
    }
}
