//! What keeps a unit from running: the caller's rights, the state of its session,
//! the journal, memory.

use std::sync::atomic::Ordering;

use sangam_engine::session::{Principal, Role};
use sangam_engine::{CommandError, Reply, Ttl, Tx};

use crate::{Bench, call, refusal};

const KEYS: &[&[u8]] = &[b"k"];

fn put(tx: &mut Tx<'_>) -> Result<(), CommandError> {
    tx.put(b"k", b"v", Ttl::None)
}

#[test]
fn a_reading_token_reads() {
    let mut bench = Bench::new();
    bench.call("SET k v");
    bench.session.set_principal(Some(Principal {
        keyspace: bench.engine.keyspace("default"),
        role: Role::ReadOnly,
    }));
    assert_eq!(bench.atomic(KEYS, |tx| tx.exists(b"k")), Ok(true));
    let error = "NOPERM this user has no permissions to run the 'set' command";
    assert_eq!(refusal(bench.atomic(KEYS, put)), error);
    let reply = bench.atomic(KEYS, |tx| Ok(tx.call(&[b"SET", b"k", b"w"])));
    assert_eq!(reply, Ok(Reply::error(error)));
}

#[test]
fn a_user_has_its_commands_and_keys() {
    let mut bench = Bench::new();
    bench.call("ACL SETUSER u on nopass ~k +get +set");
    let mut session = bench.engine.connect("a".to_owned(), String::new());
    assert_eq!(call(&bench.engine, &mut session, "AUTH u p"), Reply::OK);
    let keys: &[&[u8]] = &[b"k", b"other"];
    let mut atomic = |op: fn(&mut Tx<'_>) -> Result<(), CommandError>| {
        bench.engine.atomic(&mut session, keys, op).0
    };
    assert_eq!(atomic(put), Ok(()));
    let keys_error =
        "NOPERM this user has no permissions to access one of the keys used as arguments";
    assert_eq!(
        refusal(atomic(|tx| tx.put(b"other", b"v", Ttl::None))),
        keys_error
    );
    assert_eq!(
        refusal(atomic(|tx| tx.remove(b"k").map(drop))),
        "NOPERM this user has no permissions to run the 'del' command"
    );
    bench.call("ACL DELUSER u");
    let gone = bench.engine.atomic(&mut session, keys, put).0;
    assert_eq!(refusal(gone), "NOAUTH Authentication required.");
}

#[test]
fn a_session_runs_none_inside_a_transaction_or_before_its_token() {
    let mut bench = Bench::new();
    bench.call("MULTI");
    assert_eq!(
        refusal(bench.atomic(KEYS, put)),
        "ERR an atomic operation is not allowed inside a transaction"
    );
    bench.call("DISCARD");
    assert_eq!(bench.atomic(KEYS, put), Ok(()));
    bench.session.set_principal(None);
    assert_eq!(
        refusal(bench.atomic(KEYS, put)),
        "NOAUTH Authentication required."
    );
}

#[test]
fn a_failed_journal_leaves_reads() {
    let mut bench = Bench::new();
    bench.call("SET k v");
    bench.sink.is_broken.store(true, Ordering::Relaxed);
    assert_eq!(bench.atomic(KEYS, |tx| tx.exists(b"k")), Ok(true));
    assert_eq!(refusal(bench.atomic(KEYS, put)), "MISCONF no disk");
    assert_eq!(
        refusal(bench.atomic(KEYS, |tx| tx.remove(b"k"))),
        "MISCONF no disk"
    );
    assert_eq!(bench.call("EXISTS k"), Reply::Int(1));
}

#[test]
fn full_memory_refuses_what_needs_more() {
    let mut bench = Bench::new();
    bench.call("SET k v");
    bench.call("CONFIG SET maxmemory-policy noeviction");
    bench.call("CONFIG SET maxmemory 1");
    assert_eq!(
        bench.atomic(KEYS, |tx| tx.remove(b"k").and_then(|_| put(tx))),
        Err(CommandError::OutOfMemory)
    );
    assert_eq!(bench.call("EXISTS k"), Reply::Int(1), "undone");
    assert_eq!(bench.atomic(KEYS, |tx| tx.remove(b"k")), Ok(true));
    // Where keys may go, they go before the unit.
    bench.call("CONFIG SET maxmemory 0");
    bench.call("SET old v");
    bench.logged();
    bench.call("CONFIG SET maxmemory-policy allkeys-random");
    bench.call("CONFIG SET maxmemory 1");
    assert_eq!(bench.atomic(KEYS, put), Err(CommandError::OutOfMemory));
    assert_eq!(bench.logged(), [["DEL old"]]);
}
