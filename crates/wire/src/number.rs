//! Doubles as Redis prints them, in a buffer on the stack.

use sangam_engine::value::float::format_g17;

/// Longer than any double in `%.17g`: sign, 17 digits, point, `e-308`.
const CAPACITY: usize = 32;

/// The text of one double, `%.17g` of C, with `inf`, `-inf`, `nan`, `-nan`.
pub(crate) struct DoubleText {
    bytes: [u8; CAPACITY],
    len: usize,
}

impl DoubleText {
    /// Formats `value`. `out` is scratch: it comes back as it was, and its
    /// spare capacity saves an allocation.
    pub(crate) fn new(value: f64, out: &mut Vec<u8>) -> Self {
        let mut text = Self {
            bytes: [0; CAPACITY],
            len: 0,
        };
        if value.is_finite() {
            let mark = out.len();
            format_g17(value, out);
            text.set(out.get(mark..).unwrap_or_default());
            out.truncate(mark);
        } else {
            // A NaN's sign shows, as it does in C: x86 makes 0/0 a negative one.
            text.set(match (value.is_nan(), value.is_sign_negative()) {
                (true, false) => b"nan",
                (true, true) => b"-nan",
                (false, false) => b"inf",
                (false, true) => b"-inf",
            });
        }
        text
    }

    /// The text.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn set(&mut self, text: &[u8]) {
        for (to, from) in self.bytes.iter_mut().zip(text) {
            *to = *from;
        }
        self.len = text.len().min(CAPACITY);
    }
}
