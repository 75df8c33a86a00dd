//! The writer thread: takes what was queued, writes it, syncs it, says so.
//!
//! Under `always` it goes on as soon as there is a group of frames (`group`);
//! what comes while it syncs is the next one. Otherwise it writes a frame at once if it has not
//! written for [`WRITE_TICK`], and what comes meanwhile when that is over; a sync
//! follows a second after the last. It sleeps while there is nothing to do.

use std::io;
use std::time::Duration;

use quanta::Instant;

use super::Fsync;
use super::group::Group;
use super::log::Log;
use super::queue::WRITE_TICK;
use crate::effect::Seq;

/// From one sync to the next under `everysec`.
const SYNC_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    log: Log,
    buffer: Vec<u8>,
    /// When frames were last given to the system.
    written_at: Instant,
    synced_at: Instant,
    group: Group,
}

/// What there is to do besides writing.
struct Orders {
    last: Seq,
    sync: bool,
    rotate: bool,
    stop: bool,
}

impl Writer {
    pub(super) fn new(log: Log) -> Self {
        Writer {
            log,
            buffer: Vec::new(),
            written_at: Instant::now(),
            synced_at: Instant::now(),
            group: Group::default(),
        }
    }

    /// The thread.
    pub(super) fn run(mut self) {
        let shared = self.log.shared.clone();
        loop {
            let orders = self.wait();
            let stop = orders.stop;
            if shared.is_poisoned() {
                self.synced_at = Instant::now();
            } else if let Err(error) = self.carry_out(&orders) {
                shared.poison(error.to_string());
            }
            self.buffer.clear();
            if stop {
                // Nobody may wait for what no thread will do.
                shared.poison("the journal is closed".to_owned());
                return;
            }
        }
    }

    fn carry_out(&mut self, orders: &Orders) -> io::Result<()> {
        let shared = self.log.shared.clone();
        if !self.buffer.is_empty() {
            self.log.write(&mut self.buffer)?;
            self.written_at = Instant::now();
        }
        shared.written.advance(orders.last);
        if orders.rotate {
            let first = Seq(orders.last.0 + 1);
            // Wished for, not needed: the newest one goes on where there is no room.
            self.log.begin_segment(first)?;
            shared.rotated.advance(first);
        }
        if orders.stop {
            return self.log.close(orders.last);
        }
        if shared.durable.reached() < orders.last {
            let due = match shared.policy() {
                Fsync::Always => true,
                Fsync::EverySecond => self.synced_at.elapsed() >= SYNC_EVERY,
                Fsync::No => false,
            };
            if due || orders.sync {
                let begun = Instant::now();
                let count = orders.last.0 - shared.durable.reached().0;
                self.log.sync(orders.last)?;
                self.synced_at = Instant::now();
                self.group.synced(count, self.synced_at - begun);
            }
        }
        Ok(())
    }

    /// Sleeps until there is something to do, and takes it.
    fn wait(&mut self) -> Orders {
        let shared = self.log.shared.clone();
        let mut queue = shared.lock();
        loop {
            if queue.stop || queue.sync || queue.rotate || queue.is_large() {
                break;
            }
            let patience = match (shared.policy(), queue.bytes.is_empty()) {
                (Fsync::Always, false) => {
                    let durable = shared.durable.reached();
                    queue.wake_at = Seq(durable.0 + self.group.expected());
                    Some(self.group.patience(queue.last.0 - durable.0))
                }
                (Fsync::Always | Fsync::No, true) => None,
                (Fsync::EverySecond, true) if shared.durable.reached() < queue.last => {
                    Some(SYNC_EVERY.saturating_sub(self.synced_at.elapsed()))
                }
                (Fsync::EverySecond, true) => None,
                (Fsync::EverySecond | Fsync::No, false) => {
                    Some(WRITE_TICK.saturating_sub(self.written_at.elapsed()))
                }
            };
            queue.parked = queue.bytes.is_empty();
            match patience {
                None => shared.work.wait(&mut queue),
                Some(patience) if patience.is_zero() => break,
                Some(patience) => {
                    shared.work.wait_for(&mut queue, patience);
                }
            }
        }
        queue.parked = false;
        queue.wake_at = Seq(0);
        let orders = Orders {
            sync: std::mem::take(&mut queue.sync),
            rotate: std::mem::take(&mut queue.rotate),
            stop: queue.stop,
            last: shared.take(&mut queue, &mut self.buffer),
        };
        drop(queue);
        orders
    }
}
