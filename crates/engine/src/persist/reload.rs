//! DEBUG RELOAD: a keyspace's records as they would come back from the disk.

use crate::engine::{Engine, Options};
use crate::journal::Journal;
use crate::journal::LogId;
use crate::journal::backup::{backup, restore};
use crate::journal::recover::{self, Start};
use crate::journal::snapshot::record;
use crate::journal::storage::FaultyStorage;
use crate::keyspace::{Db, Record};

use super::restore::Restorer;

/// Every live record, encoded as in a snapshot and decoded.
pub(crate) fn through_codec(db: &Db) -> Result<Vec<Record>, String> {
    let mut bytes = Vec::new();
    let mut records = Vec::with_capacity(db.len());
    for kept in db.iter() {
        bytes.clear();
        record::encode(kept, &mut bytes);
        let decoded = record::decode(&mut bytes.as_slice());
        records.push(*decoded.map_err(|error| error.to_string())?);
    }
    Ok(records)
}

/// The records of the keyspace called `name` after a restart now: the journal's
/// files are copied to memory and recovered there. Blocks until they are durable.
pub(crate) fn through_journal(
    journal: &Journal,
    name: &str,
    now_ms: u64,
) -> Result<Vec<Record>, String> {
    let last = journal.last();
    journal
        .sync_blocking(last)
        .map_err(|error| error.to_string())?;
    let mut copy = Vec::new();
    backup(&**journal.storage(), now_ms, &mut copy, &mut |_, _| {})
        .map_err(|error| error.to_string())?;
    // Memory as a disk that does not fail.
    let storage = FaultyStorage::new();
    restore(&mut copy.as_slice(), &storage, &mut |_| {}).map_err(|error| error.to_string())?;
    let engine = Engine::empty(Options::default());
    let mut quiet = |_: u64, _: u64| {};
    let mut restorer = Restorer::new(&engine, &mut quiet);
    let start = Start {
        fresh: LogId([0; 16]),
        now_ms,
    };
    recover::recover(&storage, start, &mut restorer).map_err(|error| error.to_string())?;
    restorer.finish();
    let keyspaces = engine.keyspaces();
    let Some(keyspace) = keyspaces.iter().find(|keyspace| keyspace.name == name) else {
        return Ok(Vec::new());
    };
    let Ok(mut db) = keyspace.data.lock_blocking() else {
        return Err("the restored keyspace is busy".to_owned());
    };
    db.now_ms = now_ms;
    through_codec(&db)
}
