//! What the commands answer, beyond what the differential test covers: time,
//! limits, and what newer servers than the reference added.

use sangam_engine::{Options, Reply};

use super::Caller;

fn caller() -> Caller {
    Caller::new(Options::default())
}

#[test]
fn expiry_is_exact() {
    let mut caller = caller();
    assert_eq!(caller.say("SET k v PX 1500"), "+OK");
    caller.clock.advance_millis(1499);
    assert_eq!(caller.say("GET k"), "$v");
    assert_eq!(caller.say("APPEND k w"), ":2");
    caller.clock.advance_millis(1);
    assert_eq!(caller.say("GET k"), "nil");
    assert_eq!(caller.say("APPEND k w"), ":1");
}

#[test]
fn an_expired_value_is_no_old_value() {
    let mut caller = caller();
    caller.run("SET k 41 PX 10");
    caller.clock.advance_millis(10);
    assert_eq!(caller.say("SET k v XX"), "nil");
    assert_eq!(caller.say("INCR k"), ":1");
    caller.run("SET k 41 PX 10");
    caller.clock.advance_millis(10);
    assert_eq!(caller.say("SETBIT k 7 1"), ":0");
    assert_eq!(caller.say("STRLEN k"), ":1");
    caller.run("SET k 41 PX 10");
    caller.clock.advance_millis(10);
    assert_eq!(caller.say("SET k v KEEPTTL"), "+OK");
    caller.clock.advance_millis(1000);
    assert_eq!(caller.say("GET k"), "$v");
}

#[test]
fn getex_moves_the_deadline_and_a_past_one_deletes() {
    let mut caller = caller();
    caller.run("SET k v PX 10");
    assert_eq!(caller.say("GETEX k PX 100"), "$v");
    caller.clock.advance_millis(99);
    assert_eq!(caller.say("GETEX k PERSIST"), "$v");
    caller.clock.advance_millis(1000);
    assert_eq!(caller.say("GETEX k EXAT 1"), "$v");
    assert_eq!(caller.say("GET k"), "nil");
}

#[test]
fn strings_end_at_the_limit() {
    let mut options = Options::default();
    options.settings.proto_max_bulk_len = 1024;
    let mut caller = Caller::new(options);
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    let no_offset = "-ERR bit offset is not an integer or out of range";
    assert_eq!(caller.say("SETRANGE k 1023 a"), ":1024");
    assert_eq!(caller.say("SETRANGE k 1024 a"), too_long);
    assert_eq!(caller.say("SETRANGE k 9223372036854775807 a"), too_long);
    assert_eq!(caller.say("APPEND k a"), too_long);
    assert_eq!(caller.say("SETBIT k 8191 0"), ":1");
    assert_eq!(caller.say("SETBIT k 8192 1"), no_offset);
    assert_eq!(caller.say("BITFIELD k SET u8 #1023 1"), "[:96]");
    assert_eq!(caller.say("BITFIELD k SET u8 #1024 1"), no_offset);
    assert_eq!(caller.say("STRLEN k"), ":1024");
}

#[test]
fn set_compares() {
    let mut caller = caller();
    assert_eq!(caller.say("SET k new IFEQ old"), "nil");
    assert_eq!(caller.say("EXISTS k"), ":0");
    assert_eq!(caller.say("SET k 10 IFNE old"), "+OK");
    assert_eq!(caller.say("SET k 11 IFNE 10"), "nil");
    assert_eq!(caller.say("SET k 11 IFEQ 10 EX 5"), "+OK");
    assert_eq!(caller.say("TTL k"), ":5");
    assert_eq!(caller.say("SET k 12 IFEQ 10 GET"), "$11");
    assert_eq!(caller.say("SET k 12 GET IFEQ 11 KEEPTTL"), "$11");
    assert_eq!(caller.say("GET k"), "$12");
    assert_eq!(caller.say("TTL k"), ":5");
    for wrong in [
        "IFEQ",
        "IFEQ 1 NX",
        "XX IFEQ 1",
        "IFEQ 1 IFEQ 1",
        "IFNE 1 IFEQ 2",
    ] {
        assert_eq!(
            caller.say(&format!("SET k v {wrong}")),
            "-ERR syntax error",
            "{wrong}"
        );
    }
    caller.run("HSET h f v");
    assert!(caller.say("SET h v IFEQ v").starts_with("-WRONGTYPE"));
}

#[test]
fn delex_compares() {
    let mut caller = caller();
    caller.run("SET k 10");
    assert_eq!(caller.say("DELEX k IFEQ 11"), ":0");
    assert_eq!(caller.say("DELEX k IFNE 10"), ":0");
    assert_eq!(caller.say("DELEX k IFEQ 10"), ":1");
    assert_eq!(caller.say("DELEX k IFEQ 10"), ":0");
    caller.run("SET k v");
    let Reply::Bulk(digest) = caller.run("DIGEST k") else {
        panic!("a digest")
    };
    assert_eq!(digest.len(), 16);
    assert_eq!(
        caller.call(&[b"DELEX", b"k", b"IFDNE", &digest]),
        Reply::Int(0)
    );
    assert_eq!(
        caller.call(&[b"DELEX", b"k", b"IFDEQ", &digest]),
        Reply::Int(1)
    );
    caller.run("HSET h f v");
    assert_eq!(
        caller.say("DELEX h IFEQ v"),
        "-ERR Key should be of string type if conditions are specified"
    );
    assert_eq!(caller.say("DELEX h"), ":1");
    assert_eq!(
        caller.say("DELEX k IFEQ"),
        "-ERR wrong number of arguments for 'delex' command"
    );
}

#[test]
fn newer_bit_operations() {
    let mut caller = caller();
    caller.call(&[b"SET", b"x", b"\xf0\xff"]);
    caller.call(&[b"SET", b"y", b"\x3c"]);
    caller.call(&[b"SET", b"z", b"\x06\x0f\x81"]);
    for (name, expected) in [
        ("DIFF", b"\xc0\xf0\x00"),
        ("DIFF1", b"\x0e\x00\x81"),
        ("ANDOR", b"\x30\x0f\x00"),
        ("ONE", b"\xca\xf0\x81"),
    ] {
        assert_eq!(caller.say(&format!("BITOP {name} d x y z")), ":3", "{name}");
        assert_eq!(caller.run("GET d"), Reply::bulk(expected), "{name}");
    }
    assert_eq!(
        caller.say("BITOP diff d x"),
        "-ERR BITOP DIFF must be called with at least two source keys."
    );
}

#[test]
fn memory_returns_to_what_it_was() {
    let mut caller = caller();
    let used = |caller: &Caller| {
        let keyspace = caller.engine.keyspace("default");
        caller
            .engine
            .try_batch(&keyspace)
            .unwrap()
            .db()
            .used_memory()
    };
    caller.run("SET k v");
    caller.run("DEL k");
    let before = used(&caller);
    for line in [
        "SET k 1",
        "APPEND k 2",
        "SETRANGE k 100 abc",
        "SETBIT k 4000 1",
        "BITFIELD k SET i64 #100 -1",
        "BITOP NOT d k",
        "INCRBYFLOAT f 1.5",
        "DEL k d f",
    ] {
        assert!(!caller.run(line).is_error(), "{line}");
    }
    assert_eq!(used(&caller), before);
}
