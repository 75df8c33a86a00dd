//! SAVE and BGSAVE as callers in the same process see them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use sangam_engine::journal::JournalOptions;
use sangam_engine::journal::snapshot::snapshot_of;
use sangam_engine::journal::storage::{Faults, FaultyStorage, Storage};
use sangam_engine::{Engine, Options, Reply};

fn open(storage: &FaultyStorage) -> Engine {
    let journal = JournalOptions {
        segment_size: 1 << 16,
        ..JournalOptions::default()
    };
    let storage = Arc::new(storage.clone());
    Engine::open(Options::default(), storage, journal, &mut |_, _| ())
        .unwrap()
        .0
}

/// Runs a command on a thread: one that waits for itself fails the test
/// instead of hanging it.
fn call(engine: &Engine, argv: &[&'static str]) -> Reply {
    let (sender, receiver) = mpsc::channel();
    let (engine, argv) = (engine.clone(), argv.to_vec());
    thread::spawn(move || {
        let argv: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
        sender.send(engine.call(&mut engine.session(), &argv).0)
    });
    receiver
        .recv_timeout(Duration::from_secs(20))
        .expect("the command was never answered")
}

fn snapshots(storage: &FaultyStorage) -> usize {
    let names = storage.list().unwrap();
    names
        .iter()
        .filter(|name| snapshot_of(name).is_some())
        .count()
}

#[test]
fn save_is_answered_when_the_snapshot_is_there() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    assert_eq!(call(&engine, &["SET", "key", "value"]), Reply::OK);
    assert_eq!(call(&engine, &["SAVE"]), Reply::OK);
    assert_eq!(snapshots(&storage), 1);
    assert!(!engine.saves().is_running());
    assert_eq!(call(&engine, &["SET", "other", "value"]), Reply::OK);
    assert_eq!(call(&engine, &["SAVE"]), Reply::OK);
    assert_eq!(snapshots(&storage), 1);
}

#[test]
fn save_says_why_it_failed() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    assert_eq!(call(&engine, &["SET", "key", "value"]), Reply::OK);
    storage.set_faults(Faults {
        sync_error: Some(1),
        ..storage.faults()
    });
    let Reply::Error(text) = call(&engine, &["SAVE"]) else {
        panic!("a snapshot was made of what could not be synced");
    };
    assert!(text.starts_with(b"ERR "), "{}", text.escape_ascii());
    assert_eq!(snapshots(&storage), 0);
}
