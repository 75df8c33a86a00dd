//! What durability costs: a SET's share, durable writes of many callers, a
//! snapshot's pause, a start.
//!
//! `cargo run --release -p sangam-engine --example journal [keys] [folder]`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sangam_engine::journal::storage::{DiskStorage, Storage as _};
use sangam_engine::journal::{Fsync, JournalOptions};
use sangam_engine::persist::OpenError;
use sangam_engine::random::Random;
use sangam_engine::{Engine, Options, Reply};

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VALUE: &[u8] = b"sixteen bytes...";

fn key(number: usize) -> String {
    format!("key:{number:012}")
}

fn open(folder: &Path, fsync: Fsync) -> Result<Engine, OpenError> {
    let storage = Arc::new(DiskStorage::open(folder)?);
    let options = JournalOptions {
        fsync,
        ..JournalOptions::default()
    };
    let (engine, _) = Engine::open(Options::default(), storage, options, &mut |_, _| {})?;
    Ok(engine)
}

fn fill(engine: &Engine, keys: usize) {
    let mut session = engine.session();
    for number in 0..keys {
        engine.call(&mut session, &[b"SET", key(number).as_bytes(), VALUE]);
    }
}

/// Nanoseconds of a SET on 100,000 keys, best of several rounds.
fn set_ns(engine: &Engine) -> f64 {
    let mut session = engine.session();
    let mut random = Random::new(5);
    let keys: Vec<String> = (0..1000).map(|_| key(random.below(100_000))).collect();
    let mut best = f64::MAX;
    for _ in 0..300 {
        let begun = Instant::now();
        for key in &keys {
            engine.call(&mut session, &[b"SET", key.as_bytes(), VALUE]);
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / keys.len() as f64);
    }
    best
}

/// Median of a sync of one small append, in filled room, microseconds.
fn sync_us(folder: &Path) -> std::io::Result<u128> {
    let storage = DiskStorage::open(folder)?;
    let mut file = storage.create("sync", 4 << 20, true)?;
    file.sync()?;
    let mut times = Vec::new();
    for at in 0..500 {
        let begun = Instant::now();
        file.write_all_at(at * 200, &[7; 200])?;
        file.sync()?;
        times.push(begun.elapsed().as_micros());
    }
    times.sort_unstable();
    storage.remove("sync")?;
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// Durable writes a second of so many threads.
fn durable(engine: &Engine, callers: usize) -> f64 {
    let count = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    thread::scope(|scope| {
        for caller in 0..callers {
            let (count, stop) = (&count, &stop);
            scope.spawn(move || {
                let mut session = engine.session();
                let name = key(caller);
                while !stop.load(Ordering::Relaxed) {
                    let (_, seq) = engine.call(&mut session, &[b"INCR", name.as_bytes()]);
                    if engine.durable_blocking(seq).is_err() {
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// A snapshot while a thread writes: what it says of itself, and the slowest
/// SET meanwhile in microseconds.
fn save(engine: &Engine, keys: usize) -> Result<(u64, u64, u128), Box<dyn std::error::Error>> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut session = engine.session();
            let mut random = Random::new(3);
            let mut slowest = 0;
            while !stop.load(Ordering::Relaxed) {
                let key = key(random.below(keys));
                let begun = Instant::now();
                engine.call(&mut session, &[b"SET", key.as_bytes(), VALUE]);
                slowest = slowest.max(begun.elapsed().as_micros());
            }
            slowest
        });
        let saved = engine.save();
        stop.store(true, Ordering::Relaxed);
        let slowest = writer.join().unwrap_or_default();
        let saved = saved?;
        Ok((saved.took_us / 1000, saved.longest_hold_us, slowest))
    })
}

fn start_ms(folder: &Path, keys: usize) -> Result<u128, OpenError> {
    let begun = Instant::now();
    let engine = open(folder, Fsync::EverySecond)?;
    let took = begun.elapsed().as_millis();
    let mut session = engine.session();
    let (size, _) = engine.call(&mut session, &[b"DBSIZE"]);
    if !matches!(size, Reply::Int(size) if size >= keys as i64) {
        println!("keys are missing: {size:?}");
    }
    engine.close();
    Ok(took)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let keys = args.next().and_then(|text| text.parse().ok());
    let keys: usize = keys.unwrap_or(1_000_000);
    let root = args.next().map_or_else(
        || std::env::temp_dir().join(format!("sangam-journal-{}", std::process::id())),
        PathBuf::from,
    );

    let memory = Engine::default();
    fill(&memory, 100_000);
    let journaled = open(&root.join("set"), Fsync::EverySecond)?;
    fill(&journaled, 100_000);
    let (plain, kept) = (set_ns(&memory), set_ns(&journaled));
    println!("SET in memory                 {plain:>9.0} ns");
    println!("SET with the journal          {kept:>9.0} ns");
    println!("  the journal's share         {:>9.0} ns", kept - plain);
    journaled.close();
    drop((memory, journaled));

    println!("one sync                      {:>9} us", sync_us(&root)?);
    let engine = open(&root.join("always"), Fsync::Always)?;
    for callers in [1, 10, 50] {
        let rate = durable(&engine, callers);
        println!("durable writes, {callers:>2} callers    {rate:>9.0} /s");
    }
    engine.close();
    drop(engine);

    let folder = root.join("start");
    let engine = open(&folder, Fsync::EverySecond)?;
    engine.update_settings(|settings| settings.set("auto-aof-rewrite-percentage", "0"))?;
    fill(&engine, keys);
    engine.close();
    drop(engine);
    println!(
        "start from the log            {:>9} ms",
        start_ms(&folder, keys)?
    );
    let engine = open(&folder, Fsync::EverySecond)?;
    for turn in 1..=3 {
        let (took_ms, hold_us, slowest_us) = save(&engine, keys)?;
        println!(
            "snapshot {turn}                    {took_ms:>9} ms, longest hold {hold_us} us, \
             slowest SET meanwhile {slowest_us} us"
        );
    }
    engine.close();
    drop(engine);
    println!(
        "start from the snapshot       {:>9} ms",
        start_ms(&folder, keys)?
    );
    std::fs::remove_dir_all(&root)?;
    Ok(())
}
