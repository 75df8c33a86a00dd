//! Totals on their way to the store: when they may go, and what is done where they
//! do not arrive.
//!
//! A key's time to live is given in the unit that makes the key. Over REST and in
//! process that is a transaction of two commands. Over RESP a transaction would need
//! two more, so it is a script there, which gives the time only to fields that are
//! new: an instance's fields were there before only if the key has its time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use sangam_store::{Commands, Dialect, Error, Script};
use tokio::time::Instant;

use super::window::Totals;
use super::{Class, Inner};

static WRITE: Script = Script::new("limit-stats", include_str!("write.lua"));

/// Checks that pay for a billed command.
const CHECKS_A_COMMAND: u64 = 10;
/// Commands of a write.
const COMMANDS_A_WRITE: u64 = 2;
/// Windows that wait to be written; then the oldest is lost.
const WAITING_MAX: usize = 4096;
/// How often totals are written after an outcome that nobody knows: what is still on
/// its way may arrive after the first.
const AFTER_UNKNOWN: u32 = 2;

/// How far the writing of a window has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Checks in what was written last.
    written: u64,
    /// Times that it was written, or may have been.
    writes: u64,
    /// Times that it has to be written still, because an outcome was unknown.
    unsure: u32,
    /// Failures in a row, and when to try again.
    failures: u32,
    not_before: Option<Instant>,
}

impl Progress {
    /// Whether something of a window with so many checks has to be written.
    pub(super) const fn owes(&self, checks: u64) -> bool {
        checks > self.written || self.unsure > 0
    }

    /// Whether the checks pay for writing now, and for the last time; `first` is
    /// what the first time costs more.
    const fn is_paid(&self, checks: u64, first: u64) -> bool {
        checks >= CHECKS_A_COMMAND * (COMMANDS_A_WRITE * (self.writes + 2) + first)
    }

    fn may_try(&self) -> bool {
        self.not_before
            .is_none_or(|moment| moment <= Instant::now())
    }

    fn settle(&mut self, outcome: &Result<(), Error>, checks: u64, pause: (Duration, Duration)) {
        match outcome {
            Ok(()) => {
                self.written = self.written.max(checks);
                self.unsure = self.unsure.saturating_sub(1);
                self.failures = 0;
                self.not_before = None;
                return;
            }
            Err(Error::Unavailable(_)) => self.writes = self.writes.saturating_sub(1),
            Err(error) if !error.had_no_effect() => self.unsure = AFTER_UNKNOWN,
            Err(_) => {}
        }
        let (first, longest) = pause;
        let wait = first.saturating_mul(1 << self.failures.min(20));
        self.failures += 1;
        self.not_before = Some(Instant::now() + wait.min(longest));
    }
}

/// A window that is over and has not been written.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) class: Arc<str>,
    pub(super) totals: Totals,
    pub(super) progress: Arc<Mutex<Progress>>,
}

/// Writes what may go, each `flush_every`, until the analytics are dropped.
pub(super) fn in_background(inner: &Arc<Inner>) {
    let weak = Arc::downgrade(inner);
    let every = inner.options.flush_every;
    inner.background.start(async move {
        loop {
            tokio::time::sleep(every).await;
            let Some(inner) = weak.upgrade() else {
                return;
            };
            // What fails is in `Health`, and tried again.
            let _ = flush(&inner, false).await;
        }
    });
}

/// Writes what may go, or `all` there is; the last error.
pub(super) async fn flush(inner: &Inner, all: bool) -> Result<(), Error> {
    let Ok(_alone) = inner.writing.acquire().await else {
        return Ok(());
    };
    let mut last = Ok(());
    inner.end_windows();
    let waiting: Vec<(u64, Arc<Waiting>)> = {
        let waiting = inner.waiting.lock();
        waiting.iter().map(|(at, it)| (*at, it.clone())).collect()
    };
    for (at, it) in waiting {
        let owes = || it.progress.lock().owes(it.totals.checks);
        let is_past = inner.is_past(it.totals.start);
        let may_try = all || it.progress.lock().may_try();
        if is_past && owes() {
            inner.lost.fetch_add(1, Ordering::Relaxed);
        } else if owes()
            && may_try
            && let Err(error) = inner.write(&it.class, &it.totals, &it.progress).await
        {
            last = Err(error);
        }
        if is_past || !owes() {
            inner.waiting.lock().remove(&at);
        }
    }
    let classes: Vec<Arc<Class>> = inner.classes.read().values().cloned().collect();
    for class in classes {
        let Some((totals, progress)) = inner.due(&class, all) else {
            continue;
        };
        if let Err(error) = inner.write(&class.name, &totals, &progress).await {
            last = Err(error);
        }
    }
    last
}

impl Inner {
    /// Ends the windows of classes for which nobody comes.
    fn end_windows(&self) {
        let now_s = self.store.now() / 1_000_000;
        let classes: Vec<Arc<Class>> = self.classes.read().values().cloned().collect();
        for class in classes {
            let mut slot = class.slot.lock();
            let over = |start: u64| now_s >= start.saturating_add(self.window);
            if slot.open.as_ref().is_some_and(|(open, _)| over(open.start)) {
                self.close(&class, &mut slot);
            }
        }
    }

    /// What may be written of the window that counts.
    fn due(&self, class: &Class, all: bool) -> Option<(Totals, Arc<Mutex<Progress>>)> {
        let dialect = self.store.dialect();
        let slot = class.slot.lock();
        let (window, progress) = slot.open.as_ref()?;
        let checks = window.checks();
        {
            let progress = progress.lock();
            let is_paid = match dialect {
                Dialect::Embedded => true,
                Dialect::Upstash => progress.is_paid(checks, 0),
                Dialect::Redis => progress.is_paid(checks, 1),
            };
            let due = is_paid && progress.may_try();
            if !progress.owes(checks) || !(due || all) {
                return None;
            }
        }
        let totals = window.totals(self.instance, self.options.top, &self.options.ids);
        Some((totals, progress.clone()))
    }

    /// Adds a window to those that wait.
    pub(super) fn wait(&self, window: Waiting) {
        let mut waiting = self.waiting.lock();
        waiting.insert(self.next.fetch_add(1, Ordering::Relaxed), Arc::new(window));
        if waiting.len() > WAITING_MAX {
            waiting.pop_first();
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When a window's key ends, in milliseconds since the epoch.
    fn end_ms(&self, start: u64) -> u64 {
        let kept = self.options.retention.as_millis() as u64;
        (start.saturating_add(self.window))
            .saturating_mul(1000)
            .saturating_add(kept)
    }

    fn is_past(&self, start: u64) -> bool {
        self.end_ms(start) <= self.store.now() / 1000
    }

    /// Writes totals.
    async fn write(
        &self,
        class: &str,
        totals: &Totals,
        progress: &Mutex<Progress>,
    ) -> Result<(), Error> {
        let key = self.key(class, totals.start);
        // Before they go: a future that is dropped may have written them.
        progress.lock().writes += 1;
        let outcome = self.send(&key, totals).await;
        let pause = (self.options.flush_every, self.options.window);
        progress.lock().settle(&outcome, totals.checks, pause);
        if let Err(error) = &outcome {
            self.failed.fetch_add(1, Ordering::Relaxed);
            *self.last_error.lock() = Some(error.clone());
        }
        outcome
    }

    async fn send(&self, key: &[u8], totals: &Totals) -> Result<(), Error> {
        let end = self.end_ms(totals.start).to_string();
        let fields = totals.fields.iter();
        let fields = fields.flat_map(|(name, value)| [&name[..], value]);
        if self.store.dialect() == Dialect::Redis {
            let args: Vec<&[u8]> = [end.as_bytes()].into_iter().chain(fields).collect();
            return self.store.script(&WRITE, &[key], &args).await.map(drop);
        }
        let set: Vec<&[u8]> = [&b"HSET"[..], key].into_iter().chain(fields).collect();
        let mut commands = Commands::new();
        commands
            .push(&set)
            .push(&[b"PEXPIREAT", key, end.as_bytes()]);
        let replies = self.store.transaction(&commands).await?;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However checks come: with the last time, a window costs at most a command
        /// for each ten of them, or one write where there are fewer.
        #[test]
        fn checks_pay_for_what_is_written(
            arrivals in vec(0u64..70, 1..200),
            first in 0u64..2,
        ) {
            let mut progress = Progress::default();
            let mut checks = 0;
            let write = |progress: &mut Progress, checks| {
                progress.writes += 1;
                progress.settle(&Ok(()), checks, (Duration::ZERO, Duration::ZERO));
            };
            for came in arrivals {
                checks += came;
                if progress.owes(checks) && progress.is_paid(checks, first) {
                    write(&mut progress, checks);
                }
            }
            if progress.owes(checks) {
                write(&mut progress, checks);
            }
            let cost = match progress.writes {
                0 => 0,
                writes => writes * COMMANDS_A_WRITE + first,
            };
            let most = (checks / CHECKS_A_COMMAND).max(COMMANDS_A_WRITE + first);
            prop_assert!(cost <= most, "{} for {}", cost, checks);
            prop_assert_eq!(progress.writes == 0, checks == 0);
        }
    }
}
