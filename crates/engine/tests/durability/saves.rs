//! Snapshots by request and by growth, and waiting for the disk.

use std::thread;
use std::time::{Duration, Instant};

use sangam_engine::Reply;
use sangam_engine::journal::Fsync;
use sangam_engine::journal::snapshot::snapshot_of;
use sangam_engine::journal::storage::{Faults, FaultyStorage, Storage as _};

use super::{Life, Manner, START_US, dump, eventually, in_time};

const IN_PROGRESS: &str = "ERR Background save already in progress";

fn snapshots(life: &Life) -> Vec<String> {
    let mut names = life.storage.list().unwrap();
    names.retain(|name| snapshot_of(name).is_some());
    names
}

fn ended(life: &Life) {
    eventually("the end of the snapshot", || {
        !life.engine.saves().is_running()
    });
}

#[test]
fn one_snapshot_at_a_time() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET k v");
    assert_eq!(life.say("LASTSAVE"), (START_US / 1_000_000).to_string());
    life.fail(Faults {
        sync_delay: Duration::from_millis(300),
        ..Faults::default()
    });
    life.clock.advance_millis(60_000);
    assert_eq!(life.say("BGSAVE"), "Background saving started");
    for command in ["BGSAVE", "SAVE", "BGREWRITEAOF", "BGSAVE SCHEDULE"] {
        assert_eq!(life.say(command), IN_PROGRESS, "{command}");
    }
    assert_eq!(life.say("GET k"), "v");
    ended(&life);
    assert!(life.engine.saves().last().unwrap().is_ok());
    let made = (START_US / 1_000_000 + 60).to_string();
    assert_eq!(life.say("LASTSAVE"), made);
    life.fail(Faults::default());
    assert_eq!(life.say("SAVE"), "OK");
    assert_eq!(snapshots(&life).len(), 1);
}

#[test]
fn save_in_a_pipeline_waits_without_the_lock() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET k v");
    let keyspace = life.engine.keyspace("default");
    let mut batch = life.engine.try_batch(&keyspace).unwrap();
    batch.run(&mut life.session, &[b"SAVE"]);
    let blocked = life.session.take_blocked().expect("its reply comes later");
    drop(batch);
    ended(&life);
    assert_eq!(life.engine.blocked_reply(&blocked).0, Reply::OK);
    assert_eq!(snapshots(&life).len(), 1);
}

#[test]
fn savers_on_many_threads_get_an_answer_each() {
    let mut life = Manner::of(Fsync::No).open(&FaultyStorage::new());
    for key in 0..500 {
        life.call(&format!("SET k{key} v"));
    }
    let savers: Vec<_> = (0..8)
        .map(|_| {
            let engine = life.engine.clone();
            thread::spawn(move || engine.save().map_err(|error| error.to_string()))
        })
        .collect();
    let mut good = 0;
    for saver in savers {
        match saver.join().unwrap() {
            Ok(saved) => {
                assert_eq!(saved.made.records, 500);
                good += 1;
            }
            Err(error) => assert_eq!(format!("ERR {error}"), IN_PROGRESS),
        }
    }
    assert!(good > 0);
    assert_eq!(snapshots(&life).len(), 1);
    let life = Manner::default().open(&life.storage.crash_hard());
    assert_eq!(
        dump(&life.engine, &life.engine.keyspace("default")).len(),
        500
    );
}

#[test]
fn the_log_s_growth_makes_a_snapshot() {
    let mut life = Manner::of(Fsync::EverySecond).open(&FaultyStorage::new());
    assert_eq!(life.say("CONFIG SET auto-aof-rewrite-min-size 20kb"), "OK");
    life.engine.tick();
    assert_eq!(snapshots(&life).len(), 0);
    let mut lowest = u64::MAX;
    for round in 1..=5 {
        for number in 0..200 {
            life.call(&format!("SET k{} {}", number % 10, "v".repeat(200)));
        }
        life.call("WAITAOF 1 0 0");
        lowest = lowest.max(life.engine.journal().unwrap().log_bytes());
        life.engine.tick();
        ended(&life);
        assert!(life.engine.saves().last().unwrap().is_ok());
        assert_eq!(snapshots(&life).len(), 1, "round {round}");
        let left = life.engine.journal().unwrap().log_bytes();
        assert!(left < 20 << 10, "{left} bytes of log");
        life.engine.tick();
        assert!(!life.engine.saves().is_running(), "once is enough");
    }
    let bytes: u64 = life
        .storage
        .list()
        .unwrap()
        .iter()
        .map(|name| life.storage.contents(name).unwrap().len() as u64)
        .sum();
    assert!(bytes < 60 << 10, "{bytes} bytes are kept");
    // No size is too large to be asked for, and 0 is never.
    assert_eq!(
        life.say("CONFIG SET auto-aof-rewrite-percentage 2147483647"),
        "OK"
    );
    for _ in 0..200 {
        life.call(&format!("SET k {}", "v".repeat(200)));
    }
    life.call("WAITAOF 1 0 0");
    life.engine.tick();
    assert!(!life.engine.saves().is_running());
    life.say("CONFIG SET auto-aof-rewrite-percentage 0");
    life.engine.tick();
    assert!(!life.engine.saves().is_running());
    life.say("CONFIG SET auto-aof-rewrite-percentage 100");
    life.engine.tick();
    ended(&life);
    assert!(life.engine.journal().unwrap().log_bytes() < 20 << 10);
}

#[test]
fn a_snapshot_that_fails_changes_nothing() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    for key in 0..50 {
        life.commit(&format!("SET k{key} {}", "v".repeat(300)));
    }
    let saved = life.say("LASTSAVE");
    life.clock.advance_millis(5000);
    life.fail(Faults {
        capacity: Some(0),
        ..Faults::default()
    });
    let refused = life.say("SAVE");
    assert!(refused.starts_with("ERR "), "{refused}");
    assert_eq!(life.say("LASTSAVE"), saved);
    life.fail(Faults::default());
    assert_eq!(snapshots(&life).len(), 0);
    eventually("room", || life.say("SET more 1") == "OK");
    assert_eq!(life.say("SAVE"), "OK");
    let mut life = Manner::default().open(&life.storage.crash_hard());
    assert_eq!(life.say("DBSIZE"), "51");
}

#[test]
fn waitaof_waits_for_the_disk() {
    for fsync in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let mut life = Manner::of(fsync).open(&FaultyStorage::new());
        assert_eq!(life.say("WAITAOF 1 0 0"), "1 0", "nothing to wait for");
        for number in 0..20 {
            life.call(&format!("SET k{number} v"));
        }
        let last = life.engine.journal().unwrap().last();
        assert_eq!(life.say("WAITAOF 1 0 0"), "1 0");
        assert!(life.engine.journal().unwrap().durable() >= last);
        let mut again = Manner::of(fsync).open(&life.storage.crash_hard());
        assert_eq!(again.say("DBSIZE"), "20");

        again.fail(Faults {
            sync_delay: Duration::from_millis(400),
            ..Faults::default()
        });
        again.call("SET k v");
        let started = Instant::now();
        assert_eq!(again.say("WAITAOF 1 0 20"), "0 0");
        assert!(started.elapsed() >= Duration::from_millis(20));
        assert_eq!(again.say("WAITAOF 1 0 0"), "1 0");
        let started = Instant::now();
        assert_eq!(again.say("WAITAOF 0 1 30"), "1 0", "there are no replicas");
        assert!(started.elapsed() >= Duration::from_millis(30));
    }
}

#[test]
fn waitaof_does_not_wait_for_what_is_lost() {
    let mut life = Manner::of(Fsync::EverySecond).open(&FaultyStorage::new());
    life.fail(Faults {
        sync_error: Some(1),
        ..Faults::default()
    });
    life.call("SET k v");
    let reply = in_time("WAITAOF on a failed journal", move || {
        life.say("WAITAOF 1 0 0")
    });
    assert_eq!(reply, "0 0");
}
