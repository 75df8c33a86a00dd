//! A disk without room.

use sangam_engine::journal::segment::SPARE;
use sangam_engine::journal::storage::{Faults, FaultyStorage, Storage as _};
use sangam_engine::journal::{Fsync, Health};
use sangam_engine::{Reply, Seq};

use super::{Life, Manner, dump, eventually, in_time};

const NO_SPACE: &str = "MISCONF Errors writing to the AOF file: No space left on device";
const SEGMENT: u64 = 8 << 10;

fn capacity(bytes: u64) -> Faults {
    Faults {
        capacity: Some(bytes),
        ..Faults::default()
    }
}

/// Writes until that is refused; answers how many were taken and the last.
///
/// The next segment is allocated beside: a segment of the usual size lasts longer
/// than that takes, and here each write waits for it.
fn fill(life: &mut Life, key: impl Fn(usize) -> String) -> (usize, Seq) {
    let mut last = Seq(0);
    for taken in 0..10_000 {
        let (reply, seq) = life.call(&format!("SET {} {}", key(taken), "v".repeat(200)));
        if reply.is_error() {
            assert_eq!(reply, Reply::error(NO_SPACE));
            return (taken, last);
        }
        last = seq;
        life.engine.journal().unwrap().request_sync();
        life.engine.durable_blocking(seq).unwrap();
        eventually("a spare or its refusal", || {
            let spare = life.storage.open(SPARE).and_then(|file| file.len());
            spare.is_ok_and(|bytes| bytes == SEGMENT) || life.health() == Health::Full
        });
    }
    panic!("never full");
}

fn writes_again(life: &mut Life) {
    eventually("room", || life.say("SET again 1") == "OK");
    assert_eq!(life.health(), Health::Good);
}

#[test]
fn a_full_disk_refuses_and_goes_on_by_itself() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        let mut life = Manner::of(fsync).open(&FaultyStorage::new());
        life.fail(capacity(10 * SEGMENT));
        let (taken, last) = fill(&mut life, |at| format!("a{at}"));
        assert!(taken > 100, "{taken}");
        assert_eq!(life.health(), Health::Full);
        assert!(life.engine.journal().unwrap().durable() >= last);
        assert_eq!(life.say("STRLEN a0"), "200");
        assert_eq!(life.say("SET b 1"), NO_SPACE);
        assert_eq!(life.say("MULTI"), "OK");
        assert_eq!(life.say("SET b 1"), "QUEUED");
        let refused = life.say("EXEC");
        assert!(refused.contains(NO_SPACE), "{refused}");

        life.fail(capacity(20 * SEGMENT));
        writes_again(&mut life);
        let (more, _) = fill(&mut life, |at| format!("b{at}"));
        life.fail(Faults::default());
        writes_again(&mut life);
        let last = life.commit("SET end 1");
        let life = Manner::of(fsync).open(&life.crash(taken as u64));
        assert!(life.opened.last >= last);
        let keys = dump(&life.engine, &life.engine.keyspace("default"));
        assert_eq!(keys.len(), taken + more + 2);
    }
}

#[test]
fn a_crash_on_a_full_disk_loses_nothing_durable() {
    for seed in 0..10 {
        let mut life = Manner::default().open(&FaultyStorage::new());
        life.fail(capacity((6 + seed) * SEGMENT));
        let (taken, last) = fill(&mut life, |at| format!("a{at}"));
        let life = Manner::default().open(&life.crash(seed));
        assert!(life.opened.last >= last);
        assert_eq!(
            dump(&life.engine, &life.engine.keyspace("default")).len(),
            taken
        );
    }
}

#[test]
fn a_unit_larger_than_a_segment_waits_for_room() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET small 1");
    life.fail(capacity(6 * SEGMENT));
    let (_, seq) = life.call(&format!("SET big {}", "b".repeat(60_000)));
    eventually("the refusal", || life.health() == Health::Full);
    assert_eq!(life.say("GET small"), "1");
    assert_eq!(life.say("SET small 2"), NO_SPACE);
    life.fail(Faults::default());
    let engine = life.engine.clone();
    in_time("the large unit", move || engine.durable_blocking(seq)).unwrap();
    writes_again(&mut life);
    life.commit("SET small 3");
    let mut life = Manner::default().open(&life.storage.crash_hard());
    assert_eq!(life.say("STRLEN big"), "60000");
    assert_eq!(life.say("GET small"), "3");
}

#[test]
fn large_and_small_units_take_turns() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    for number in 0..300 {
        let length = if number % 3 == 0 { 9_000 } else { 700 };
        life.call(&format!("SET k{number} {}", "v".repeat(length)));
        if number % 7 == 0 {
            life.commit("INCR n");
        }
    }
    life.commit("INCR n");
    let mut life = Manner::default().open(&life.storage.crash_hard());
    assert_eq!(life.say("DBSIZE"), "301");
    assert_eq!(life.say("GET n"), "44");
}

/// One key that is overwritten again and again: a long log and little data.
fn fill_in_place(life: &mut Life) {
    fill(life, |_| "k".to_owned());
}

#[test]
fn a_snapshot_makes_room_on_a_full_disk() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.fail(capacity(10 * SEGMENT + SEGMENT / 2));
    fill_in_place(&mut life);
    let engine = life.engine.clone();
    in_time("a snapshot on a full disk", move || engine.save()).unwrap();
    writes_again(&mut life);
    life.commit("SET end 1");
    let mut life = Manner::default().open(&life.storage.crash_hard());
    assert_eq!(life.say("STRLEN k"), "200");
    assert_eq!(life.say("GET end"), "1");
}

#[test]
fn a_full_disk_does_not_keep_an_engine_from_closing() {
    for bytes in [10 * SEGMENT, 10 * SEGMENT + SEGMENT / 2, 0] {
        let mut life = Manner::default().open(&FaultyStorage::new());
        life.fail(capacity(bytes.max(10 * SEGMENT)));
        fill_in_place(&mut life);
        // Somebody else may have taken what was left.
        life.fail(capacity(bytes));
        life.engine.save_in_background().unwrap();
        let engine = life.engine.clone();
        in_time("closing", move || engine.close());
        let mut life = Manner::default().open(&life.storage.kill());
        assert_eq!(life.say("STRLEN k"), "200");
    }
}

#[test]
fn a_unit_that_finds_no_room_does_not_keep_an_engine_from_closing() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET small 1");
    life.fail(capacity(6 * SEGMENT));
    let (_, seq) = life.call(&format!("SET big {}", "b".repeat(60_000)));
    eventually("the refusal", || life.health() == Health::Full);
    life.engine.save_in_background().unwrap();
    let engine = life.engine.clone();
    in_time("closing", move || {
        engine.close();
        engine.durable_blocking(seq).unwrap_err();
    });
    let mut life = Manner::default().open(&life.storage.kill());
    assert_eq!(life.say("GET small"), "1");
    assert_eq!(life.say("EXISTS big"), "0");
}

#[test]
fn a_start_on_a_full_disk_says_so() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET k v");
    let storage = life.storage.crash_hard();
    storage.set_faults(capacity(0));
    let starting = storage.clone();
    let refusal = in_time("the start", move || {
        Manner::default()
            .try_open(&starting)
            .err()
            .map(|error| error.to_string())
    });
    let refusal = refusal.expect("there is no room");
    assert!(refusal.contains("no storage space"), "{refusal}");
    storage.set_faults(Faults::default());
    assert_eq!(Manner::default().open(&storage).say("GET k"), "v");
}
