//! The client's half: commands as the JSON that a REST endpoint reads.

use super::json::write_escaped;

/// Appends `["SET","k","v"]`.
///
/// JSON has text only: bytes that are no UTF-8 go out as they are. This
/// project's gateway stores them as they came; others put U+FFFD in their place,
/// so a caller that does not know the endpoint looks for such bytes first.
pub fn write_command(argv: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, arg) in argv.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        write_escaped(arg, out);
        out.push(b'"');
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::Command;

    #[test]
    fn what_is_written_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        let argv: [&[u8]; 4] = [b"SET", b"k\"\\\n\0", &all, b""];
        let mut body = Vec::new();
        write_command(&argv, &mut body);
        assert_eq!(Command::parse(&body).unwrap().argv().as_slice(), argv);
    }
}
