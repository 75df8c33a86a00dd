//! How long a snapshot holds the keyspace's lock, and what a writer feels of it.
//!
//! `cargo run --release -p sangam-engine --example snapshot_pause [keys] [folder]`

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use sangam_engine::Engine;
use sangam_engine::journal::LogId;
use sangam_engine::journal::snapshot::{Made, Plan, SnapshotError, make, verify};
use sangam_engine::journal::storage::{DiskStorage, Storage as _};
use sangam_engine::random::Random;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOG: LogId = LogId([1; 16]);

/// Writes until it is told to stop; the count of calls, and the slowest of
/// them in microseconds.
fn write(engine: &Engine, keys: usize, stop: &AtomicBool) -> (u64, u128) {
    let mut session = engine.session();
    let mut random = Random::new(3);
    let (mut calls, mut slowest) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let key = format!("key:{:012}", random.below(keys * 5 / 4));
        let begun = Instant::now();
        engine.call(&mut session, &[b"SET", key.as_bytes(), b"another sixteen."]);
        slowest = slowest.max(begun.elapsed().as_micros());
        calls += 1;
    }
    (calls, slowest)
}

fn snapshot(engine: &Engine, storage: &DiskStorage) -> Result<(Made, u64), SnapshotError> {
    let begun = Instant::now();
    let plan = Plan {
        storage,
        log: LOG,
        floor: engine.keyspace("default").last_seq(),
        keyspaces: &engine.keyspaces(),
        begun_ms: 0,
        salt: 1,
        clock: &|| begun.elapsed().as_micros() as u64,
        cancel: &AtomicBool::new(false),
        sync_log: &|_| Ok(()),
    };
    make(&plan, &mut |_| {})
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let keys: usize = args
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let folder = args.next().map_or_else(
        || std::env::temp_dir().join("sangam-snapshot-pause"),
        PathBuf::from,
    );
    let storage = DiskStorage::open(&folder)?;
    let engine = Engine::default();
    let mut session = engine.session();
    for number in 0..keys {
        let key = format!("key:{number:012}");
        engine.call(&mut session, &[b"SET", key.as_bytes(), b"sixteen bytes..."]);
    }
    for writers in 0..2 {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
            let writer = (writers > 0).then(|| scope.spawn(|| write(&engine, keys, &stop)));
            let begun = Instant::now();
            let made = snapshot(&engine, &storage);
            let took = begun.elapsed();
            stop.store(true, Ordering::Relaxed);
            let (made, longest) = made?;
            println!(
                "{writers} writers: {} keys, {} MB in {:.0} ms; longest hold {longest} us",
                made.records,
                made.bytes / 1_000_000,
                took.as_secs_f64() * 1000.0,
            );
            if let Some(Ok((calls, slowest))) = writer.map(thread::ScopedJoinHandle::join) {
                println!("  {calls} SETs meanwhile, the slowest {slowest} us");
            }
            let begun = Instant::now();
            let summary = verify(&*storage.open(&made.name)?, LOG)?;
            println!(
                "  verified {} records in {:.0} ms",
                summary.records,
                begun.elapsed().as_secs_f64() * 1000.0
            );
            Ok(())
        })?;
    }
    for name in storage.list()? {
        storage.remove(&name)?;
    }
    Ok(())
}
