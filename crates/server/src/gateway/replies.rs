//! The replies of a batch on their way into one body.
//!
//! Each is encoded as it comes and dropped, and none comes after the first that
//! does not fit: a batch costs the limit and one reply, however many it has.

use sangam_engine::Reply;
use sangam_wire::rest::ResponseFormat;

use super::Style;

/// Bytes that most replies take, with their frame.
const USUAL: usize = 32;

pub(super) struct Replies {
    style: Style,
    limit: usize,
    body: Vec<u8>,
    first: bool,
}

impl Replies {
    /// Room for the replies to `count` commands.
    pub(super) fn new(style: Style, count: usize, limit: usize) -> Self {
        Replies {
            style,
            limit,
            body: Vec::with_capacity(count.min(1024) * USUAL + 2),
            first: true,
        }
    }

    /// Adds one; answers how many bytes are left, if it fits.
    pub(super) fn push(&mut self, reply: &Reply) -> Option<usize> {
        self.open();
        self.style.write(reply, &mut self.body);
        self.limit.checked_sub(self.size())
    }

    /// The body, or its length where that is above the limit.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, u64> {
        if self.first {
            self.open();
        }
        if self.size() > self.limit {
            return Err(self.size() as u64);
        }
        if self.is_json() {
            self.body.push(b']');
        }
        Ok(self.body)
    }

    /// Bytes of the body, with its last one.
    fn size(&self) -> usize {
        self.body.len() + usize::from(self.is_json())
    }

    /// What stands before a reply.
    fn open(&mut self) {
        let first = std::mem::take(&mut self.first);
        if self.is_json() {
            self.body.push(if first { b'[' } else { b',' });
        }
    }

    fn is_json(&self) -> bool {
        self.style.format == ResponseFormat::Json
    }
}
