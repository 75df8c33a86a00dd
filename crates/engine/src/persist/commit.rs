//! The commit tick of keyspaces that keep the latest values only.
//!
//! What such a keyspace changes a thousand times a second, a limiter's counter,
//! is written once a tick, as it is then. A crash costs at most what changed
//! since the last tick; whole units are not kept together.
//!
//! Cost: a note of the key a change, and the encoding of each changed key a tick.

use crate::acl::users;
use crate::effect::Effects;
use crate::engine::Engine;
use crate::journal::Journal;
use crate::journal::frame::FrameKind;
use crate::journal::snapshot::record;
use crate::keyspace::{Durability, Keyspace};

/// Keys of one tick, which bounds how long the lock is held; the rest follows
/// with the next.
const KEYS_A_TICK: usize = 1000;

/// Commits every keyspace of that class whose lock is free.
pub(crate) fn commit_latest(engine: &Engine) {
    let Some(journal) = engine.journal() else {
        return;
    };
    for keyspace in engine.keyspaces() {
        if keyspace.class.durability == Durability::Latest {
            commit(engine, journal, &keyspace);
        }
    }
}

fn commit(engine: &Engine, journal: &Journal, keyspace: &Keyspace) {
    let now_ms = engine.now_micros() / 1000;
    let Some(mut db) = keyspace.data.try_lock() else {
        return;
    };
    let Some(changed) = db.take_changed() else {
        return;
    };
    if let Some(libraries) = db.take_changed_libraries() {
        let append = |argv: &[&[u8]]| {
            let mut effects = Effects::default();
            effects.push(argv);
            journal.append(now_ms, keyspace.id, FrameKind::Effects, effects.as_bytes());
        };
        append(&[b"FUNCTION", b"FLUSH"]);
        for library in libraries.iter() {
            append(&[b"FUNCTION", b"LOAD", &library.code]);
        }
    }
    if changed.cleared {
        let mut effects = Effects::default();
        effects.push(&[b"FLUSHALL"]);
        journal.append(now_ms, keyspace.id, FrameKind::Effects, effects.as_bytes());
    }
    if !changed.users.is_empty() {
        let mut effects = Effects::default();
        for name in &changed.users {
            match keyspace.users.find(name) {
                Some(account) => users::push_setuser(name, &account.user(), &mut effects),
                None => effects.push(&[b"ACL", b"DELUSER", name]),
            }
        }
        journal.append(now_ms, keyspace.id, FrameKind::Effects, effects.as_bytes());
    }
    let mut keys = changed.keys.into_iter();
    let mut payload = Vec::new();
    for key in keys.by_ref().take(KEYS_A_TICK) {
        if let Some(record) = db.peek(&key) {
            payload.push(1);
            record::encode(record, &mut payload);
        } else {
            payload.push(0);
            payload.extend_from_slice(&(key.len() as u32).to_le_bytes());
            payload.extend_from_slice(&key);
        }
    }
    if !payload.is_empty() {
        journal.append(now_ms, keyspace.id, FrameKind::Values, &payload);
    }
    db.note_changed(keys);
}
