//! The measurements: the disk's own syncs, then the journal as callers see it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sangam_engine::journal::storage::{DiskStorage, Storage};
use sangam_engine::journal::{Fsync, JournalOptions};
use sangam_engine::{Engine, Options, Reply};

/// Bytes of a small append: a frame with a short SET.
const APPEND: usize = 128;
/// Bytes of the files that small appends go to.
const APPENDED: u64 = 32 << 20;
/// Bytes that are written before a sync when as much as possible is.
const STREAM: usize = 8 << 20;
/// Most bytes of that.
const STREAMED: u64 = 512 << 20;
/// Callers at once.
const WRITERS: [usize; 3] = [1, 10, 50];
/// Longest time of callers that do not wait for the disk: they write a hundred
/// megabytes a second.
const UNSYNCED: Duration = Duration::from_secs(2);
/// Parts of the whole time: two of syncs, four of the journal, one of a stream.
const PARTS: u32 = 7;

/// What was measured.
pub(super) struct Measured {
    /// Syncs of a small append into room that was allocated.
    pub(super) allocated: Times,
    /// The same where zeros were written before.
    pub(super) filled: Times,
    /// The journal under `always`.
    pub(super) always: Vec<Group>,
    /// The journal under `everysec`.
    pub(super) everysec: Group,
    /// Bytes a second, written in order and synced.
    pub(super) stream: f64,
    /// Bytes that are free.
    pub(super) free: u64,
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Times {
    pub(super) count: usize,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

/// Callers that write at once.
pub(super) struct Group {
    pub(super) writers: usize,
    /// Writes a second, all together.
    pub(super) rate: f64,
    /// From a call to the moment when its reply could be sent.
    pub(super) reply: Times,
}

impl Times {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |percent: usize| {
            let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
            took.get(index).copied().unwrap_or_default()
        };
        Times {
            count: took.len(),
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

impl Measured {
    /// Measures in `scratch` for about `time`; `None` where less than `room`
    /// bytes are free.
    pub(super) fn of(scratch: &Path, room: u64, time: Duration) -> io::Result<Option<Self>> {
        let part = time / PARTS;
        let storage = DiskStorage::open(&scratch.join("files"))?;
        let free = storage.available()?;
        if free < room {
            return Ok(None);
        }
        let allocated = syncs(&storage, false, part)?;
        let filled = syncs(&storage, true, part)?;
        let stream = stream(&storage, part)?;
        let mut always = Vec::new();
        for writers in WRITERS {
            always.push(group(scratch, Fsync::Always, writers, part)?);
        }
        let everysec = group(scratch, Fsync::EverySecond, 1, part.min(UNSYNCED))?;
        Ok(Some(Measured {
            allocated,
            filled,
            always,
            everysec,
            stream,
            free,
        }))
    }
}

/// Removes what measurements leave in `scratch`.
pub(super) fn clear(scratch: &Path) -> io::Result<()> {
    for name in ["files", "journal"] {
        match fs::remove_dir_all(scratch.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn syncs(storage: &DiskStorage, filled: bool, time: Duration) -> io::Result<Times> {
    const NAME: &str = "appended";
    let mut file = storage.create(NAME, APPENDED, filled)?;
    file.sync()?;
    let bytes = [b'x'; APPEND];
    let mut took = Vec::new();
    let mut offset = 0;
    let begun = Instant::now();
    // At least one, however slow the disk is.
    while took.is_empty() || begun.elapsed() < time && offset < APPENDED {
        let start = Instant::now();
        file.write_all_at(offset, &bytes)?;
        file.sync()?;
        took.push(start.elapsed());
        offset += APPEND as u64;
    }
    storage.remove(NAME)?;
    Ok(Times::of(took))
}

fn stream(storage: &DiskStorage, time: Duration) -> io::Result<f64> {
    const NAME: &str = "streamed";
    let mut file = storage.create(NAME, 0, false)?;
    // Some file systems compress what repeats.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut piece = vec![0; STREAM];
    for word in piece.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    let begun = Instant::now();
    let mut offset = 0;
    while offset == 0 || begun.elapsed() < time && offset < STREAMED {
        file.write_all_at(offset, &piece)?;
        file.sync()?;
        offset += piece.len() as u64;
    }
    let rate = offset as f64 / begun.elapsed().as_secs_f64();
    storage.remove(NAME)?;
    Ok(rate)
}

/// A journal of its own, and callers that write as fast as they are answered.
fn group(scratch: &Path, fsync: Fsync, writers: usize, time: Duration) -> io::Result<Group> {
    let folder = scratch.join("journal");
    let storage = Arc::new(DiskStorage::open(&folder)?);
    let journal = JournalOptions {
        fsync,
        ..JournalOptions::default()
    };
    let (engine, _) = Engine::open(Options::default(), storage, journal, &mut |_, _| ())
        .map_err(io::Error::other)?;
    // While the journal readies its next segment the disk is busy with that.
    run_writers(&engine, writers, time / 4)?;
    let begun = Instant::now();
    let took = run_writers(&engine, writers, time * 3 / 4)?;
    let elapsed = begun.elapsed();
    engine.close();
    drop(engine);
    fs::remove_dir_all(&folder)?;
    Ok(Group {
        writers,
        rate: took.len() as f64 / elapsed.as_secs_f64(),
        reply: Times::of(took),
    })
}

fn run_writers(engine: &Engine, writers: usize, time: Duration) -> io::Result<Vec<Duration>> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let stop = &stop;
                scope.spawn(move || write(engine, writer, stop))
            })
            .collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in threads {
            let took = thread
                .join()
                .map_err(|_| io::Error::other("a writer panicked"))?;
            all.append(&mut took?);
        }
        Ok(all)
    })
}

fn write(engine: &Engine, writer: usize, stop: &AtomicBool) -> io::Result<Vec<Duration>> {
    let mut session = engine.session();
    let mut took = Vec::new();
    let mut turn = 0;
    while turn == 0 || !stop.load(Ordering::Relaxed) {
        let key = format!("bench:{writer}:{}", turn % 1000);
        let value = format!("{turn:064}");
        turn += 1;
        let start = Instant::now();
        let (reply, seq) = engine.call(&mut session, &[b"SET", key.as_bytes(), value.as_bytes()]);
        if reply != Reply::OK {
            return Err(io::Error::other(format!("SET was refused: {reply:?}")));
        }
        if engine.must_wait(seq) {
            engine.durable_blocking(seq).map_err(io::Error::other)?;
        }
        took.push(start.elapsed());
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_and_of_many() {
        assert_eq!(Times::of(Vec::new()), Times::default());
        let times = Times::of((1..=1000).rev().map(Duration::from_micros).collect());
        assert_eq!(times.count, 1000);
        assert_eq!(times.p50, Duration::from_micros(501));
        assert_eq!(times.p99, Duration::from_micros(991));
        assert_eq!(times.max, Duration::from_millis(1));
    }
}
