//! The segment allocated ahead, and what happens when there is no room for it.
//!
//! A thread of its own makes it, so that neither a caller nor the writer waits
//! for a disk that is slow to allocate. Its failure is the sign that the disk
//! is full, a whole segment before it is: writes are refused until it succeeds.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::log::is_full;
use super::queue::Shared;
use super::segment::SPARE;
use super::storage::{Storage, StorageFile};

/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Default)]
struct State {
    ready: Option<Box<dyn StorageFile>>,
    /// One is wanted; with zeros written into it.
    wanted: Option<bool>,
    /// One is being made, under the spare's name.
    making: bool,
    stop: bool,
}

pub(super) struct Spares {
    storage: Arc<dyn Storage>,
    shared: Arc<Shared>,
    size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Spares {
    pub(super) fn new(storage: Arc<dyn Storage>, shared: Arc<Shared>, size: u64) -> Self {
        Spares {
            storage,
            shared,
            size,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Asks for the next one.
    pub(super) fn refill(&self, filled: bool) {
        self.state.lock().wanted = Some(filled);
        self.changed.notify_all();
    }

    /// The one that is ready. Nobody uses the spare's name when this returns.
    pub(super) fn take(&self) -> Option<Box<dyn StorageFile>> {
        let mut state = self.state.lock();
        while state.making {
            self.changed.wait(&mut state);
        }
        state.wanted = None;
        state.ready.take()
    }

    /// Says that the disk is full and waits a moment; false when the journal
    /// stops.
    pub(super) fn wait_for_room(&self) -> bool {
        self.shared.set_full(true);
        let mut state = self.state.lock();
        if !state.stop {
            self.changed.wait_for(&mut state, RETRY);
        }
        let goes_on = !state.stop;
        drop(state);
        goes_on
    }

    /// Says that there was room after all. If the next segment is not there
    /// yet, its allocation decides.
    pub(super) fn there_is_room(&self) {
        let state = self.state.lock();
        if state.ready.is_some() || state.wanted.is_none() {
            self.shared.set_full(false);
        }
    }

    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }

    /// The thread.
    pub(super) fn run(&self) {
        let mut state = self.state.lock();
        while !state.stop {
            let Some(filled) = state.wanted else {
                self.changed.wait(&mut state);
                continue;
            };
            state.making = true;
            drop(state);
            let made = self.storage.create(SPARE, self.size, filled);
            state = self.state.lock();
            state.making = false;
            self.changed.notify_all();
            match made {
                Ok(file) => {
                    self.shared.set_full(false);
                    if state.wanted.take().is_some() {
                        state.ready = Some(file);
                    }
                }
                Err(error) if is_full(&error) => {
                    self.shared.set_full(true);
                    if !state.stop {
                        self.changed.wait_for(&mut state, RETRY);
                    }
                }
                Err(error) => {
                    self.shared
                        .poison(format!("cannot allocate a segment: {error}"));
                    break;
                }
            }
        }
        state.ready = None;
    }
}
