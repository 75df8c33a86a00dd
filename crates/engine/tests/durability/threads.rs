//! Many callers at once.

use std::thread;

use sangam_engine::journal::Fsync;
use sangam_engine::journal::storage::{Faults, FaultyStorage};
use sangam_engine::{Engine, Reply};

use super::{Manner, eventually};

const THREADS: usize = 8;

/// Increments until something fails; answers the last that was acknowledged.
fn increment(engine: &Engine, key: &str, mut from: i64) -> i64 {
    let mut session = engine.session();
    loop {
        let (reply, seq) = engine.call(&mut session, &[b"INCR", key.as_bytes()]);
        let Reply::Int(number) = reply else {
            assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
            return from;
        };
        if engine.durable_blocking(seq).is_err() {
            return from;
        }
        assert_eq!(number, from + 1, "{key}");
        from = number;
    }
}

#[test]
fn every_acknowledged_increment_survives_the_crash() {
    let mut storage = FaultyStorage::new();
    let mut counts = [0; THREADS];
    for generation in 0..8 {
        let manner = Manner {
            segment_size: 4096,
            ..Manner::of(Fsync::Always)
        };
        let mut life = manner.open(&storage);
        for (thread, count) in counts.iter_mut().enumerate() {
            let found = life.say(&format!("GET c{thread}")).parse().unwrap_or(0);
            assert!(
                (*count..=*count + 1).contains(&found),
                "c{thread} is {found}, {count} was acknowledged"
            );
            *count = found;
        }
        let threads: Vec<_> = counts
            .iter()
            .enumerate()
            .map(|(thread, count)| {
                let (engine, from) = (life.engine.clone(), *count);
                thread::spawn(move || increment(&engine, &format!("c{thread}"), from))
            })
            .collect();
        // Some crash at the same moment as the storage stops, some while it runs.
        if generation % 2 == 0 {
            life.fail(Faults {
                stop_after: Some(400 + generation * 3),
                ..Faults::default()
            });
        }
        let saver = life.engine.clone();
        let _ = saver.save();
        eventually("some work", || {
            life.engine.journal().unwrap().durable().0 > life.opened.last.0 + 200
                || generation % 2 == 0
        });
        if generation % 2 == 0 {
            eventually("the stop", || {
                life.storage.faults().stop_after == Some(0)
                    && life.say("INCR x").contains("MISCONF")
            });
        }
        storage = life.storage.crash(generation);
        for (count, thread) in counts.iter_mut().zip(threads) {
            *count = thread.join().unwrap();
        }
    }
    assert!(counts.iter().sum::<i64>() > 500, "{counts:?}");
}
