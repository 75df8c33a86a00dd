//! Writes and syncs that fail, come short or take long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sangam_engine::journal::storage::{Faults, FaultyStorage};
use sangam_engine::journal::{Fsync, Health, Lost};
use sangam_engine::keyspace::Class;

use super::{Life, Manner, dump, eventually, in_time};

/// Units until something fails, one key each; answers how many were tried and
/// how many were durable.
fn write_until_lost(life: &mut Life, tried: &mut u64) -> u64 {
    let (begun, mut durable) = (*tried, *tried);
    loop {
        let (reply, seq) = life.call(&format!("SET k{} {}", *tried + 1, "v".repeat(90)));
        if reply.is_error() {
            return durable;
        }
        *tried += 1;
        life.engine.journal().unwrap().request_sync();
        if life.engine.durable_blocking(seq) == Err(Lost) {
            return durable;
        }
        durable = *tried;
        assert!(
            durable < begun + 500,
            "the fault never came: {:?}",
            life.storage.faults()
        );
    }
}

/// How many of the keys there are, without a gap.
fn count(life: &Life) -> u64 {
    let keys = dump(&life.engine, &life.engine.keyspace("default"));
    let count = keys.len() as u64;
    for key in 1..=count {
        assert!(keys.contains_key(&format!("k{key}")), "k{key} of {count}");
    }
    count
}

fn fail_and_restart(manner: Manner, faults: &Faults, tried: &mut u64, storage: &mut FaultyStorage) {
    let mut life = manner.open(storage);
    life.fail(faults.clone());
    let durable = write_until_lost(&mut life, tried);
    eventually("the poison", || {
        matches!(life.health(), Health::Poisoned(_))
    });
    let syncs = life.storage.syncs();
    assert_eq!(
        life.say(&format!("STRLEN k{durable}")),
        if durable == 0 { "0" } else { "90" }
    );
    let refusal = life.say("SET never 1");
    assert!(
        refusal.starts_with("MISCONF Errors writing to the AOF file: "),
        "{refusal}"
    );
    assert_eq!(life.say("GET never"), "nil");
    assert!(
        life.say("INFO persistence")
            .contains("aof_last_write_status:err")
    );
    life.engine.tick();
    life.engine.journal().unwrap().request_sync();
    life.engine.save().unwrap_err();
    life.engine.close();
    assert_eq!(life.storage.syncs(), syncs, "a sync is never tried again");
    let next = if durable.is_multiple_of(2) {
        life.storage.kill()
    } else {
        life.crash(durable)
    };
    let life = manner.open(&next);
    let found = count(&life);
    assert!(
        (durable..=*tried).contains(&found),
        "{found} of {durable} to {tried}: {faults:?}"
    );
    *tried = found;
    *storage = life.close();
}

#[test]
fn a_failed_write_poisons_and_loses_nothing_durable() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        for torn in [false, true] {
            let (mut storage, mut tried) = (FaultyStorage::new(), 0);
            for n in 1..40 {
                let faults = Faults {
                    write_error: Some(n),
                    torn,
                    ..Faults::default()
                };
                fail_and_restart(Manner::of(fsync), &faults, &mut tried, &mut storage);
            }
        }
    }
}

#[test]
fn a_failed_sync_poisons_and_is_never_tried_again() {
    for fsync in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let (mut storage, mut tried) = (FaultyStorage::new(), 0);
        let manner = Manner {
            segment_size: 2048,
            ..Manner::of(fsync)
        };
        for n in 1..50 {
            let faults = Faults {
                sync_error: Some(n),
                ..Faults::default()
            };
            fail_and_restart(manner, &faults, &mut tried, &mut storage);
        }
    }
}

#[test]
fn a_start_that_fails_can_be_repeated() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    for number in 1..=60 {
        life.commit(&format!("SET k{number} {}", "v".repeat(200)));
        if number == 30 {
            life.engine.save().unwrap();
        }
    }
    life.engine.journal().unwrap().set_fsync(Fsync::No);
    life.call("SET k61 v");
    let folder = life.crash(3);
    type Fault = fn(u64) -> Faults;
    let kinds: [Fault; 3] = [
        |n| Faults {
            sync_error: Some(n),
            ..Faults::default()
        },
        |n| Faults {
            write_error: Some(n),
            ..Faults::default()
        },
        |n| Faults {
            stop_after: Some(n - 1),
            ..Faults::default()
        },
    ];
    for fault in kinds {
        let mut failed = 0;
        for n in 1.. {
            let storage = folder.copy();
            storage.set_faults(fault(n));
            let outcome = Manner::default().try_open(&storage);
            let ended = outcome.is_ok();
            drop(outcome);
            let storage = if n % 2 == 0 {
                storage.kill()
            } else {
                storage.crash(n)
            };
            assert!(count(&Manner::default().open(&storage)) >= 60, "{n}");
            if ended {
                break;
            }
            failed += 1;
        }
        assert!(failed >= 3, "{failed}");
    }
}

#[test]
fn a_failed_sync_of_the_folder_by_a_snapshot_loses_no_segment() {
    for n in 1..14 {
        let mut life = Manner::default().open(&FaultyStorage::new());
        for number in 1..=40 {
            life.commit(&format!("SET k{number} {}", "v".repeat(200)));
        }
        life.fail(Faults {
            sync_error: Some(n),
            ..Faults::default()
        });
        let _ = life.engine.save();
        let mut durable = 40;
        // Whatever is acknowledged from here on is there after the crash.
        for number in 41..=120 {
            let (reply, seq) = life.call(&format!("SET k{number} {}", "v".repeat(200)));
            if reply.is_error() || life.engine.durable_blocking(seq).is_err() {
                break;
            }
            durable = number;
        }
        let _ = life.engine.save();
        let found = count(&Manner::default().open(&life.storage.crash_hard()));
        assert!(found >= durable, "{n}: {found} of {durable}");
    }
}

#[test]
fn short_writes_are_finished() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.fail(Faults {
        short_writes: Some(7),
        ..Faults::default()
    });
    for number in 1..=50 {
        life.commit(&format!("SET k{number} {}", "v".repeat(300)));
    }
    life.engine.save().unwrap();
    life.commit("SET k51 v");
    let storage = life.storage.crash_hard();
    assert_eq!(count(&Manner::default().open(&storage)), 51);
}

#[test]
fn a_slow_sync_keeps_nobody_who_need_not_wait() {
    let delay = Duration::from_secs(2);
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET k1 v");
    life.fail(Faults {
        sync_delay: delay,
        ..Faults::default()
    });
    let (_, seq) = life.call("SET k2 v");
    let started = Instant::now();
    let engine = life.engine.clone();
    let waiting = thread::spawn(move || engine.durable_blocking(seq));
    assert_eq!(life.say("GET k1"), "v");
    life.enter("other", Class::default());
    for number in 0..100 {
        assert_eq!(life.say(&format!("SET o{number} 1")), "OK");
        assert_eq!(life.say(&format!("GET o{number}")), "1");
    }
    let took = started.elapsed();
    assert!(took < delay / 2, "{took:?}");
    assert_eq!(waiting.join().unwrap(), Ok(()));
    assert!(started.elapsed() >= delay);
    eventually("a slow sync in the count", || {
        life.engine.journal().unwrap().syncs().1 > 0
    });
}

#[test]
fn what_waits_to_be_written_is_bounded() {
    const BOUND: usize = 32 << 20;
    const THREADS: usize = 4;
    const EACH: usize = 200;
    let manner = Manner {
        segment_size: 16 << 20,
        ..Manner::of(Fsync::No)
    };
    let mut life = manner.open(&FaultyStorage::new());
    life.fail(Faults {
        sync_delay: Duration::from_millis(400),
        ..Faults::default()
    });
    life.call("SET k v");
    life.engine.journal().unwrap().request_sync();
    let value = "v".repeat(100 << 10);
    let (done, finished) = mpsc::channel();
    for number in 0..THREADS {
        let (engine, value, done) = (life.engine.clone(), value.clone(), done.clone());
        thread::spawn(move || {
            let mut session = engine.session();
            for at in 0..EACH {
                let key = format!("{number}:{}", at % 3);
                let argv = [&b"SET"[..], key.as_bytes(), value.as_bytes()];
                assert!(!engine.call(&mut session, &argv).0.is_error());
            }
            done.send(()).unwrap();
        });
    }
    let over = Arc::new(AtomicBool::new(false));
    let sampler = thread::spawn({
        let (over, engine) = (over.clone(), life.engine.clone());
        move || {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(engine.journal().unwrap().queued_bytes());
                thread::sleep(Duration::from_micros(200));
            }
            most
        }
    });
    for _ in 0..THREADS {
        finished
            .recv_timeout(super::PATIENCE)
            .expect("all writers go on");
    }
    over.store(true, Ordering::Relaxed);
    let most = sampler.join().unwrap();
    assert!(most > BOUND / 2, "{most} bytes are no backlog");
    assert!(
        most <= BOUND + (THREADS + 1) * (value.len() + 100),
        "{most}"
    );
    life.fail(Faults::default());
    let engine = life.engine.clone();
    in_time("the end", move || engine.close());
    assert_eq!(
        life.engine.journal().unwrap().durable(),
        life.engine.journal().unwrap().last()
    );
}
