//! What a file holds: pages that were written, zeros between them.
//!
//! A segment allocated ahead costs nothing here until it is written.

use std::collections::BTreeMap;

const PAGE: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let count = self.len.saturating_sub(offset).min(into.len() as u64) as usize;
        let into = into.get_mut(..count).unwrap_or_default();
        let mut done = 0;
        while done < count {
            let (page, at) = place(offset + done as u64);
            let piece = (PAGE - at).min(count - done);
            let target = into.get_mut(done..done + piece).unwrap_or_default();
            match self
                .pages
                .get(&page)
                .and_then(|page| page.get(at..at + piece))
            {
                Some(bytes) => target.copy_from_slice(bytes),
                None => target.fill(0),
            }
            done += piece;
        }
        count
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (page, at) = place(offset + done as u64);
            let piece = (PAGE - at).min(bytes.len() - done);
            let source = bytes.get(done..done + piece).unwrap_or_default();
            let page = self
                .pages
                .entry(page)
                .or_insert_with(|| Box::new([0; PAGE]));
            if let Some(target) = page.get_mut(at..at + piece) {
                target.copy_from_slice(source);
            }
            done += piece;
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (page, at) = place(len);
            self.pages.split_off(&(page + u64::from(at > 0)));
            if let Some(tail) = self
                .pages
                .get_mut(&page)
                .and_then(|page| page.get_mut(at..))
            {
                tail.fill(0);
            }
        }
        self.len = len;
    }
}

fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE as u64, (offset % PAGE as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_and_what_was_cut_comes_back_as_zeros() {
        let mut contents = Contents::default();
        contents.write(PAGE as u64 - 2, b"abcd");
        let mut read = [9; 8];
        assert_eq!(contents.read(PAGE as u64 - 4, &mut read), 6);
        assert_eq!(&read[..6], b"\0\0abcd");
        contents.set_len(PAGE as u64 - 1);
        contents.set_len(PAGE as u64 + 2);
        assert_eq!(contents.read(PAGE as u64 - 4, &mut read), 6);
        assert_eq!(&read[..6], b"\0\0a\0\0\0");
        contents.set_len(0);
        assert_eq!(contents.read(0, &mut read), 0);
        assert!(contents.pages.is_empty());
    }
}
