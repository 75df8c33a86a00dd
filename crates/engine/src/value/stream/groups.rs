//! A stream's groups.

use super::block::Entry;
use super::extent::one_more;
use super::group::{ConsumerId, Group, Pending};
use super::id::StreamId;
use super::range::Entries;
use super::undo::{Inverse, Undo};
use super::{GROUP, Stream};

impl Stream {
    /// The groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, &**group))
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name).map(|group| &**group)
    }

    /// Makes a group; `false` where there is one of this name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.grouped += GROUP + name.len() + group.heap_bytes();
        self.groups.insert(name.into(), Box::new(group));
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.push(Inverse::GroupAdded(name.into()));
        }
        true
    }

    /// Removes a group with all that is pending in it; whether there was one.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some((name, group)) = self.groups.remove_entry(name) else {
            return false;
        };
        self.grouped -= GROUP + name.len() + group.heap_bytes();
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.push(Inverse::GroupRemoved(name, group));
        }
        true
    }

    /// Changes a group; `None` where there is none of this name.
    pub fn edit_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        let books = Books::open(group, name, &mut self.undo);
        let result = change(group);
        books.close(group, &mut self.grouped, &mut self.edits);
        Some(result)
    }

    /// Hands out up to `count` entries behind the group's last id to a consumer,
    /// to whom they are pending afterwards unless `forget`. `None` where there
    /// is no such group.
    pub fn deliver(
        &mut self,
        name: &[u8],
        consumer: ConsumerId,
        (count, forget): (usize, bool),
        now_ms: u64,
        mut visit: impl FnMut(Entry<'_>),
    ) -> Option<()> {
        let extent = self.extent();
        let group = self.groups.get_mut(name)?;
        let books = Books::open(group, name, &mut self.undo);
        let blocks = (&self.sealed, self.tail.as_ref());
        let (mut last_id, mut entries_read) = (group.last_id(), group.entries_read());
        let entries = last_id
            .next()
            .map(|start| Entries::over(blocks, start, StreamId::MAX, false));
        let mut moved = false;
        for entry in entries.into_iter().flatten().take(count) {
            let id = entry.id;
            entries_read = match entries_read {
                Some(read) if !extent.has_gaps_from(id) => Some(one_more(read)),
                _ => extent.added_up_to(id),
            };
            (last_id, moved) = (id, true);
            if !forget {
                group.set(
                    id,
                    Some(Pending {
                        consumer,
                        delivered_ms: now_ms,
                        deliveries: 1,
                    }),
                );
            }
            visit(entry);
        }
        if moved {
            group.set_last(last_id, entries_read);
        }
        books.close(group, &mut self.grouped, &mut self.edits);
        Some(())
    }

    /// Whether a group still waits for an entry: it was not handed out there
    /// yet, or is pending.
    pub fn is_referenced(&self, id: StreamId) -> bool {
        self.groups
            .values()
            .any(|group| id > group.last_id() || group.pending().contains_key(&id))
    }

    /// Makes an end of an entry in whatever groups it is pending.
    pub fn forget_references(&mut self, id: StreamId) {
        let holders: Vec<Box<[u8]>> = self
            .groups
            .iter()
            .filter(|(_, group)| group.pending().contains_key(&id))
            .map(|(name, _)| name.clone())
            .collect();
        for name in holders {
            self.edit_group(&name, |group| group.set(id, None));
        }
    }
}

/// What is kept for a group while it changes.
struct Books {
    bytes: usize,
    edits: u64,
}

impl Books {
    fn open(group: &mut Group, name: &[u8], undo: &mut Option<Box<Undo>>) -> Self {
        if let Some(undo) = undo
            && !group.is_recording()
        {
            group.begin_undo();
            undo.push(Inverse::GroupEdited(name.into()));
        }
        Books {
            bytes: group.heap_bytes(),
            edits: group.edits(),
        }
    }

    fn close(self, group: &Group, grouped: &mut usize, edits: &mut u64) {
        *grouped = *grouped - self.bytes + group.heap_bytes();
        *edits += group.edits() - self.edits;
    }
}
