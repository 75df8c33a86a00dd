//! Writing in the form of other apps, which has no names of writings, no marks of
//! deletions and no versions of tags.
//!
//! In one process steps on a key come one after the other ([`Gate`](super::gate::Gate)).
//! Of what other processes did while a load's value was on its way, the bus tells
//! ([`Inner::take_back`]): what was deleted or invalidated meanwhile is removed again.
//! Until then another process may read it and keep it in memory for as long as it keeps
//! any such value. Nothing tells what other apps did; and where the outcome of a load's
//! write is unknown, its value may arrive after a deletion.

use std::collections::BTreeMap;
use std::time::Duration;

use sangam_engine::Reply;
use sangam_store::op::CompareAndDelete;
use sangam_store::{Commands, Error};

use super::bus::Change;
use super::error::CacheError;
use super::fetch::Begun;
use super::gate::Pass;
use super::hub::Member;
use super::inner::{Inner, Value};
use super::key::TagId;
use super::op::{self, Track};
use super::pending::Unsent;
use super::prepared::Prepared;
use super::report::Count;
use super::settings::ttl;
use super::write::{Reach, TOGETHER, all_done, keys_changed};

/// What may be filled.
#[derive(Debug)]
pub(super) struct Filling(#[allow(dead_code, reason = "held until it is over")] Option<Pass>);

/// What was filled just now.
pub(super) struct Filled<'a, T> {
    pub(super) key: &'a str,
    pub(super) prepared: &'a Prepared<T>,
    pub(super) bytes: &'a [u8],
    pub(super) begun: &'a Begun,
}

impl<T: Value> Inner<T> {
    /// Whether a loaded value may be written; if so, no write of its key or its tags
    /// begins while the answer is held.
    pub(super) fn may_fill(
        &self,
        key: &str,
        prepared: &Prepared<T>,
        begun: &Begun,
    ) -> Option<Filling> {
        let mut pass = None;
        if self.is_shared() {
            let mut names = vec![self.keys.value(key)];
            names.extend(prepared.named.iter().map(|set| set.clone().into_bytes()));
            pass = Some(self.hub.gate.fill(names)?);
        }
        let touched = self.is_shared() && self.is_touched(prepared, begun);
        (!touched && !self.is_overtaken(begun)).then_some(Filling(pass))
    }

    fn is_touched(&self, prepared: &Prepared<T>, begun: &Begun) -> bool {
        let mut tags = prepared.tags().iter();
        tags.any(|tag| self.tags.changed_since(*tag, begun.moment))
    }

    /// Removes values that were filled just now, and were deleted or invalidated while
    /// they were on their way; which of them stay.
    pub(super) async fn take_back(&self, filled: &[Filled<'_, T>]) -> Vec<bool> {
        if !self.is_shared() || filled.is_empty() {
            return vec![true; filled.len()];
        }
        // Who changed something in the store has said so by now. If nobody can be asked,
        // what is in memory is not believed either.
        let _ = self.verify().await;
        let holds = |it: &Filled<'_, T>| {
            self.memory.is_valid(it.begun.ticket) && !self.is_touched(it.prepared, it.begun)
        };
        let holds: Vec<bool> = filled.iter().map(holds).collect();
        for (it, _) in filled.iter().zip(&holds).filter(|(_, holds)| !**holds) {
            let name = self.keys.value(it.key);
            let removal = CompareAndDelete {
                key: &name,
                expected: it.bytes,
            };
            self.billed(3);
            let removed = self.in_time(self.hub.store.atomic(&removal)).await;
            if removed.is_err_and(|error| self.waits(&error)) {
                let stamp = it.begun.stamp;
                let deleted = Unsent::Deleted { stamp };
                self.hub.pending.key(&self.unsent, it.key, deleted);
            }
        }
        holds
    }

    /// A write of keys begins once nothing is on its way to them.
    pub(super) async fn alone(&self, keys: &[Box<str>]) -> Option<Pass> {
        if !self.is_shared() {
            return None;
        }
        let names = keys.iter().map(|key| self.keys.value(key)).collect();
        Some(self.alone_at(names).await)
    }

    async fn alone_at(&self, names: Vec<Vec<u8>>) -> Pass {
        let patience = self.settings.store_timeout;
        self.hub.gate.write(names, patience).await
    }

    /// Invalidates the keys of a set that apps of another form keep: those in it that
    /// begin as this cache's do, which are removed from it.
    pub(super) async fn invalidate_set(&self, set: &str) -> Result<Reach, CacheError> {
        self.counters.one(Count::Invalidations);
        let id = TagId::new(set)?;
        let changes = self.changes(vec![Change::Tag(id)]);
        let forget = || {
            self.forget_tag(id);
            self.hub.tell(self as &dyn Member, &changes);
        };
        forget();
        let _alone = self.alone_at(vec![set.into()]).await;
        let emptied = async {
            // Said first: a load elsewhere whose key is not in the set when it is read
            // asks after it has written.
            let words = changes.changes.clone();
            self.send_tags(Commands::new(), words).await?;
            self.empty(set.as_bytes()).await
        };
        let emptied = emptied.await;
        forget();
        // Which keys it had, nobody knows; so nothing can be sent later.
        emptied?;
        Ok(Reach::Everywhere)
    }

    /// Deletes the keys of a set that begin as this cache's do.
    async fn empty(&self, set: &[u8]) -> Result<(), Error> {
        let begins = self.settings.shared.as_ref().map(|it| it.prefix.as_bytes());
        let begins = begins.unwrap_or_default();
        let count = TOGETHER.to_string();
        let mut cursor = b"0".to_vec();
        loop {
            self.billed(1);
            let page: [&[u8]; 5] = [b"SSCAN", set, &cursor, b"COUNT", count.as_bytes()];
            let page = self.in_time(self.hub.store.call(&page)).await?;
            let (next, members) = read_page(page)?;
            let ours = members.into_iter().filter(|name| name.starts_with(begins));
            let ours: Vec<Vec<u8>> = ours.collect();
            for names in ours.chunks(TOGETHER) {
                self.delete_of_set(set, names, begins.len()).await?;
            }
            if next == b"0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn delete_of_set(
        &self,
        set: &[u8],
        names: &[Vec<u8>],
        begin: usize,
    ) -> Result<(), Error> {
        let keys = names.iter().filter_map(|name| {
            let key = std::str::from_utf8(name.get(begin..)?).ok()?;
            Some(key.into())
        });
        let keys: Vec<Box<str>> = keys.collect();
        let _alone = self.alone_at(names.to_vec()).await;
        self.shut(&keys);
        let mut commands = Commands::new();
        for name in names {
            commands.push(&[b"DEL", name]);
        }
        let mut removed: Vec<&[u8]> = vec![b"SREM", set];
        removed.extend(names.iter().map(Vec::as_slice));
        commands.push(&removed);
        let sent = self.send(commands, keys_changed(&keys)).await;
        for key in &keys {
            self.memory.invalidate(key);
        }
        self.open(&keys);
        sent
    }

    /// Notes the keys of loaded values in the sets that their tags are, for apps of
    /// another form.
    pub(super) async fn track(&self, loaded: &[(&str, &Prepared<T>)]) -> Result<(), Error> {
        let mut commands = Commands::new();
        self.note_in_sets(&mut commands, loaded.iter().copied());
        if commands.is_empty() {
            return Ok(());
        }
        self.billed(commands.len() as u64);
        all_done(self.hub.store.pipeline(&commands).await)
    }

    /// The same as commands, whose own commands are counted here. The sets live longer
    /// than any of the values.
    pub(super) fn note_in_sets<'a>(
        &self,
        commands: &mut Commands,
        values: impl Iterator<Item = (&'a str, &'a Prepared<T>)>,
    ) {
        if !self.is_shared() {
            return;
        }
        let mut sets: BTreeMap<&str, (Vec<Vec<u8>>, Duration)> = BTreeMap::new();
        for (key, prepared) in values.filter(|(_, it)| it.is_kept()) {
            for set in &prepared.named {
                let (names, lives) = sets.entry(set).or_default();
                names.push(self.keys.value(key));
                *lives = (2 * prepared.lives()).max(ttl::DAY).max(*lives);
            }
        }
        for (set, (names, ttl)) in &sets {
            let track = Track {
                set: set.as_bytes(),
                names,
                ttl: *ttl,
            };
            op::push(commands, &track);
            self.billed(3);
        }
    }
}

/// The next cursor and the members of a page of SSCAN.
fn read_page(page: Reply) -> Result<(Vec<u8>, Vec<Vec<u8>>), Error> {
    let odd = || Error::Reply("expected a page of a set".to_owned());
    let Reply::Array(page) = page.unpacked() else {
        return Err(odd());
    };
    let mut page = page.into_iter();
    let (Some(Reply::Bulk(cursor)), Some(Reply::Array(members)), None) =
        (page.next(), page.next(), page.next())
    else {
        return Err(odd());
    };
    let names = members.into_iter().map(|member| match member {
        Reply::Bulk(name) => Ok(name),
        _ => Err(odd()),
    });
    Ok((cursor, names.collect::<Result<_, _>>()?))
}
