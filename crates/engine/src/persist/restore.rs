//! An engine filled from what recovery finds.
//!
//! Records go straight into their keyspace. Frames run through the same
//! dispatch as any command, at their own time, with their effects thrown away:
//! the state is what it was, since order, data and time are.

use std::sync::Arc;

use crate::command::Batch;
use crate::engine::Engine;
use crate::journal::frame::{Frame, FrameKind};
use crate::journal::recover::Restore;
use crate::journal::snapshot::{Section, record};
use crate::keyspace::{Class, Keyspace, Record};
use crate::session::Session;

/// Fills an engine that nobody else uses yet.
pub(crate) struct Restorer<'e> {
    engine: &'e Engine,
    /// Bytes that a string and the scripts may have, but for replaying.
    limits: [usize; 2],
    session: Session,
    /// The one of the last record or frame.
    current: Option<Arc<Keyspace>>,
    progress: Progress<'e>,
}

/// Hears how many bytes are done, of how many.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl<'e> Restorer<'e> {
    pub(crate) fn new(engine: &'e Engine, progress: Progress<'e>) -> Self {
        // What fitted when it was done is not to be refused since a limit is
        // lower now.
        let settings = engine.settings();
        let limits = [settings.proto_max_bulk_len, settings.script_memory];
        set_limits(engine, [usize::MAX, 0]);
        Restorer {
            engine,
            limits,
            session: Engine::replaying_session(),
            current: None,
            progress,
        }
    }

    /// Forgets the counts that replaying made, and sees to the rest of what a
    /// start has to do.
    pub(crate) fn finish(self) {
        set_limits(self.engine, self.limits);
        for keyspace in self.engine.keyspaces() {
            if let Ok(mut db) = keyspace.data.lock_blocking() {
                db.forget_counts();
            }
        }
    }

    fn declare(&self, id: u32, class: Class, name: &str) -> Result<Arc<Keyspace>, String> {
        self.engine.restore_keyspace(id, class, name)
    }

    fn keyspace(&mut self, id: u32) -> Result<Arc<Keyspace>, String> {
        if let Some(current) = self.current.as_ref().filter(|current| current.id == id) {
            return Ok(current.clone());
        }
        let found = self
            .engine
            .keyspaces()
            .into_iter()
            .find(|keyspace| keyspace.id == id)
            .ok_or_else(|| format!("keyspace {id} was never declared"))?;
        self.current = Some(found.clone());
        Ok(found)
    }
}

impl Restore for Restorer<'_> {
    fn section(&mut self, section: Section<'_>) -> Result<(), String> {
        let keyspace = self.declare(section.keyspace, section.class, section.name)?;
        // What a reply from here on may depend on, until there is a new unit.
        keyspace.data.lock_blocking().map_err(|_| in_use())?.seq = section.cut;
        keyspace
            .last_seq
            .store(section.cut.0, std::sync::atomic::Ordering::Release);
        self.current = Some(keyspace);
        Ok(())
    }

    fn users(&mut self, keyspace: u32, commands: &[u8]) -> Result<(), String> {
        let keyspace = self.keyspace(keyspace)?;
        let db = keyspace.data.lock_blocking().map_err(|_| in_use())?;
        self.session
            .set_principal(Some(self.engine.owner_of(&keyspace)));
        let mut batch = Batch::new(self.engine, &keyspace, db);
        batch.repeat_users(&mut self.session, commands)
    }

    fn library(&mut self, keyspace: u32, code: &[u8]) -> Result<(), String> {
        let keyspace = self.keyspace(keyspace)?;
        let db = keyspace.data.lock_blocking().map_err(|_| in_use())?;
        self.session
            .set_principal(Some(self.engine.owner_of(&keyspace)));
        Batch::new(self.engine, &keyspace, db).restore_library(&mut self.session, code)
    }

    fn requests(&mut self, keyspace: u32, block: &[u8]) -> Result<(), String> {
        let keyspace = self.keyspace(keyspace)?;
        let mut db = keyspace.data.lock_blocking().map_err(|_| in_use())?;
        let cut = db.seq;
        db.requests.restore(block, cut)
    }

    fn record(&mut self, keyspace: u32, record: Box<Record>) -> Result<(), String> {
        let keyspace = self.keyspace(keyspace)?;
        let mut db = keyspace.data.lock_blocking().map_err(|_| in_use())?;
        db.restore_record(record);
        Ok(())
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<(), String> {
        if frame.kind == FrameKind::Keyspace {
            let (class, name) = frame.payload.split_first().ok_or("an empty declaration")?;
            let class = Class::from_byte(*class).ok_or("an unknown class of keyspace")?;
            let name = std::str::from_utf8(name).map_err(|error| error.to_string())?;
            return self.declare(frame.keyspace, class, name).map(drop);
        }
        let keyspace = self.keyspace(frame.keyspace)?;
        if frame.kind == FrameKind::Values {
            return restore_values(&keyspace, frame.payload);
        }
        let db = keyspace.data.lock_blocking().map_err(|_| in_use())?;
        self.session
            .set_principal(Some(self.engine.owner_of(&keyspace)));
        Batch::new(self.engine, &keyspace, db).replay(&mut self.session, &frame)
    }

    fn progress(&mut self, done: u64, total: u64) {
        (self.progress)(done, total);
    }
}

fn set_limits(engine: &Engine, [strings, scripts]: [usize; 2]) {
    let _ = engine.update_settings(|settings| {
        settings.proto_max_bulk_len = strings;
        settings.script_memory = scripts;
        Ok::<_, std::convert::Infallible>(())
    });
}

fn restore_values(keyspace: &Keyspace, mut payload: &[u8]) -> Result<(), String> {
    let mut db = keyspace.data.lock_blocking().map_err(|_| in_use())?;
    while let Some((there, rest)) = payload.split_first() {
        payload = rest;
        if *there == 0 {
            let (length, rest) = payload.split_first_chunk().ok_or("a key ends early")?;
            let length = u32::from_le_bytes(*length) as usize;
            let (key, rest) = rest.split_at_checked(length).ok_or("a key ends early")?;
            payload = rest;
            db.forget(key);
        } else {
            let record = record::decode(&mut payload).map_err(|error| error.to_string())?;
            db.restore_record(record);
        }
    }
    Ok(())
}

fn in_use() -> String {
    "the engine is in use while it is being filled".to_owned()
}
