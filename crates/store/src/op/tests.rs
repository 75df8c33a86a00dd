//! Every op on random states with random arguments, in both languages, on the
//! engine and on a real redis-server.
//!
//! `SANGAM_OPS` sets how many histories are tried.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::testing::{START_MS, Twins};
use super::*;
use crate::typed::Ttl;

/// A command that makes a state, or an op.
#[derive(Debug, Clone)]
enum Step {
    Prepare(Vec<Vec<u8>>),
    Advance(u64),
    Set(Option<Vec<u8>>, Vec<u8>, Ttl),
    Delete(Vec<u8>),
    Extend(Vec<u8>, Ttl),
    Increment(i64, Ttl),
    Raise(i64, Ttl),
    Fence(u64, Ttl),
    Newer(u64, Vec<u8>, Ttl),
}

/// Keys are few, so that steps meet.
const KEYS: [&[u8]; 2] = [b"{o}:a", b"{o}:b"];

/// Texts near everything that an op tells apart.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "",
        "0",
        "1",
        "-1",
        "7",
        "-0",
        "01",
        "1.0",
        " 1",
        "1e3",
        "0x10",
        "abc",
        "f",
        "f0",
        "f1",
        "f-5",
        "f01",
        "f1.5",
        "f1700000000000001",
        "f9007199254740990",
        "f9007199254740991",
        "f9007199254740992",
        "v",
        "v1",
        "v0000000000000000",
        "v0000000000000005payload",
        "v000000000000000xpayload",
        "v9007199254740991",
        "v9999999999999999z",
        "9007199254740990",
        "9007199254740991",
        "9007199254740992",
        "-9007199254740991",
        "-9007199254740992",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "12345678901234567",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..24),
        1 => Just(b"v0000000000000007\0\xff\r\n".to_vec()),
    ]
}

/// Times that neither pass nor come near while a server runs.
fn ttl() -> impl Strategy<Value = Ttl> {
    let day = 86_400_000_u64;
    prop_oneof![
        Just(Ttl::None),
        Just(Ttl::Keep),
        (10 * day..20 * day).prop_map(|millis| Ttl::In(Duration::from_millis(millis))),
        (5_000_000_000_000..6_000_000_000_000u64).prop_map(Ttl::At),
        Just(Ttl::At(0)),
        Just(Ttl::At(1)),
        Just(Ttl::At(u64::MAX)),
        Just(Ttl::In(Duration::MAX)),
    ]
}

fn signed() -> impl Strategy<Value = i64> {
    let known = [
        0,
        1,
        -1,
        INTEGER_MAX,
        -INTEGER_MAX,
        INTEGER_MAX + 1,
        -INTEGER_MAX - 1,
        i64::MAX,
        i64::MIN,
    ];
    prop_oneof![prop::sample::select(known.to_vec()), -9..9i64, any::<i64>()]
}

fn unsigned() -> impl Strategy<Value = u64> {
    let max = INTEGER_MAX as u64;
    let known = [0, 1, 5, 7, START_MS * 1000, max - 1, max, max + 1, u64::MAX];
    prop_oneof![prop::sample::select(known.to_vec()), 0..10u64, any::<u64>()]
}

fn step() -> impl Strategy<Value = Step> {
    let command = |words: &[&str]| {
        let words = words.iter().map(|word| word.as_bytes().to_vec());
        Just(Step::Prepare(words.collect()))
    };
    prop_oneof![
        6 => text().prop_map(|text| Step::Prepare(vec![b"SET".into(), Vec::new(), text])),
        1 => command(&["HSET", "", "f", "v"]),
        1 => command(&["RPUSH", "", "x"]),
        1 => command(&["DEL", ""]),
        1 => command(&["APPEND", "", "1"]),
        2 => command(&["PEXPIREAT", "", "7000000000000"]),
        1 => (1..30_000_000_000u64).prop_map(Step::Advance),
        3 => (prop::option::of(text()), text(), ttl())
            .prop_map(|(expected, value, ttl)| Step::Set(expected, value, ttl)),
        2 => text().prop_map(Step::Delete),
        2 => (text(), ttl()).prop_map(|(expected, ttl)| Step::Extend(expected, ttl)),
        3 => (signed(), ttl()).prop_map(|(amount, ttl)| Step::Increment(amount, ttl)),
        3 => (signed(), ttl()).prop_map(|(value, ttl)| Step::Raise(value, ttl)),
        3 => (unsigned(), ttl()).prop_map(|(now, ttl)| Step::Fence(now, ttl)),
        3 => (unsigned(), text(), ttl())
            .prop_map(|(version, payload, ttl)| Step::Newer(version, payload, ttl)),
    ]
}

/// Takes a step on each side; answers whether it was an op that succeeded.
fn take(twins: &mut Twins, key: &[u8], step: &Step) -> Result<bool, String> {
    fn came<T>(outcome: &Result<T, Error>) -> bool {
        outcome.is_ok()
    }
    Ok(match step {
        Step::Prepare(words) => {
            let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let argv: Vec<&[u8]> = match &argv[..] {
                [name, _, rest @ ..] => [&[*name, key][..], rest].concat(),
                other => other.to_vec(),
            };
            twins.prepare(&argv)?;
            false
        }
        Step::Advance(millis) => {
            twins.advance(Duration::from_millis(*millis));
            false
        }
        Step::Set(expected, value, ttl) => came(&twins.check(&CompareAndSet {
            key,
            expected: expected.as_deref(),
            value,
            ttl: *ttl,
        })?),
        Step::Delete(expected) => came(&twins.check(&CompareAndDelete { key, expected })?),
        Step::Extend(expected, ttl) => came(&twins.check(&CompareAndExtend {
            key,
            expected,
            ttl: *ttl,
        })?),
        Step::Increment(amount, ttl) => came(&twins.check(&Increment {
            key,
            amount: *amount,
            ttl: *ttl,
        })?),
        Step::Raise(value, ttl) => came(&twins.check(&Raise {
            key,
            value: *value,
            ttl: *ttl,
        })?),
        Step::Fence(now, ttl) => came(&twins.check(&Fence {
            key,
            now: *now,
            ttl: *ttl,
        })?),
        Step::Newer(version, payload, ttl) => came(&twins.check(&PutIfNewer {
            key,
            version: *version,
            payload,
            ttl: *ttl,
        })?),
    })
}

/// Random histories on `twins`; answers how many ops succeeded.
fn compare(mut twins: Twins, cases: u32, advances: bool) -> u32 {
    let wanted = std::env::var("SANGAM_OPS").ok();
    let mut runner = TestRunner::new(Config {
        cases: wanted.and_then(|text| text.parse().ok()).unwrap_or(cases),
        failure_persistence: None,
        ..Config::default()
    });
    let histories = prop::collection::vec((0..KEYS.len(), step()), 1..24);
    let (twins, succeeded) = (
        std::cell::RefCell::new(&mut twins),
        std::cell::Cell::new(0u32),
    );
    let outcome = runner.run(&histories, |history| {
        let mut twins = twins.borrow_mut();
        twins.clear().map_err(TestCaseError::fail)?;
        for (key, step) in &history {
            if !advances && matches!(step, Step::Advance(_)) {
                continue;
            }
            let done = take(&mut twins, KEYS[*key], step).map_err(TestCaseError::fail)?;
            succeeded.set(succeeded.get() + u32::from(done));
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    succeeded.get()
}

#[test]
fn both_languages_come_to_the_same() {
    let succeeded = compare(Twins::new(), 400, true);
    assert!(succeeded > 400, "only {succeeded} ops did anything");
}

#[tokio::test]
async fn a_real_server_comes_to_the_same() {
    let server = sangam_rig::redis::Redis::start().await;
    let twins = Twins::with_server(server.addr()).unwrap();
    let comparing = tokio::task::spawn_blocking(|| compare(twins, 150, false));
    let succeeded = comparing.await.unwrap();
    assert!(succeeded > 150, "only {succeeded} ops did anything");
}

#[test]
fn ops_cost_what_their_modules_say() {
    let mut twins = Twins::new();
    let mut cost = |op: &dyn Fn(&mut Twins) -> bool| {
        let came = op(&mut twins);
        (came, twins.cost())
    };
    let key = KEYS[0];
    let ttl = Ttl::In(Duration::from_mins(1));
    let set = |expected| CompareAndSet {
        key,
        expected,
        value: b"1",
        ttl,
    };
    let delete = CompareAndDelete {
        key,
        expected: b"1",
    };
    let extend = CompareAndExtend {
        key,
        expected: b"1",
        ttl,
    };
    assert_eq!(cost(&|twins| came(twins, &set(None))), (true, 3));
    assert_eq!(cost(&|twins| came(twins, &set(None))), (false, 2));
    assert_eq!(cost(&|twins| came(twins, &extend)), (true, 3));
    assert_eq!(cost(&|twins| came(twins, &delete)), (true, 3));
    assert_eq!(cost(&|twins| came(twins, &extend)), (false, 2));
    assert_eq!(cost(&|twins| came(twins, &delete)), (false, 2));
    let newer = |version| PutIfNewer {
        key,
        version,
        payload: b"",
        ttl,
    };
    assert_eq!(cost(&|twins| came(twins, &newer(2))), (true, 3));
    assert_eq!(cost(&|twins| came(twins, &newer(1))), (false, 2));
    let mut paid = |op: &dyn Fn(&mut Twins)| {
        op(&mut twins);
        twins.cost()
    };
    let (counter, high, fence) = (KEYS[1], b"{o}:high", b"{o}:fence");
    let increment = Increment {
        key: counter,
        amount: 2,
        ttl,
    };
    let raise = |value| Raise {
        key: high,
        value,
        ttl,
    };
    let fence = Fence {
        key: fence,
        now: 1,
        ttl,
    };
    let paid = [
        paid(&|twins| drop(twins.check(&increment).unwrap())),
        paid(&|twins| drop(twins.check(&increment).unwrap())),
        paid(&|twins| drop(twins.check(&raise(2)).unwrap())),
        paid(&|twins| drop(twins.check(&raise(1)).unwrap())),
        paid(&|twins| drop(twins.check(&fence).unwrap())),
    ];
    assert_eq!(paid, [3, 2, 3, 2, 3]);
}

fn came(twins: &mut Twins, op: &impl AtomicOp<Output = bool>) -> bool {
    twins.check(op).unwrap().unwrap()
}

/// An op that is wrong in one of its languages.
struct Wrong(&'static Script);

impl AtomicOp for Wrong {
    type Output = bool;

    fn script(&self) -> &'static Script {
        self.0
    }

    fn keys(&self) -> Keys<'_> {
        smallvec::smallvec![KEYS[0]]
    }

    fn args(&self) -> Args {
        smallvec::smallvec![b"1700000000000000".to_vec()]
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        truth(reply)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        tx.put(KEYS[0], b"1700000000000000", sangam_engine::Ttl::None)?;
        Ok(true)
    }
}

#[test]
fn what_differs_is_found() {
    static RIGHT: Script = Script::new("right", "redis.call('SET',KEYS[1],ARGV[1]) return 1");
    let mut twins = Twins::new();
    assert_eq!(twins.check(&Wrong(&RIGHT)), Ok(Ok(true)));
    static VALUE: Script = Script::new(
        "value",
        "redis.call('SET',KEYS[1],''..tonumber(ARGV[1])) return 1",
    );
    static OUTPUT: Script = Script::new("output", "redis.call('SET',KEYS[1],ARGV[1]) return 0");
    static DEADLINE: Script = Script::new(
        "deadline",
        "redis.call('SET',KEYS[1],ARGV[1],'PX','5') return 1",
    );
    static OTHER_KEY: Script = Script::new(
        "other key",
        "redis.call('SET',KEYS[1],ARGV[1]) redis.call('GET','other') return 1",
    );
    static MORE: Script = Script::new(
        "more",
        "redis.call('SET',KEYS[1],ARGV[1]) redis.call('SET','more','1') return 1",
    );
    static FAILS: Script = Script::new("fails", "return redis.error_reply('ERR no')");
    static TEXT: Script = Script::new("text", "return tostring(1)");
    for (script, found) in [
        (&VALUE, "its script left"),
        (&OUTPUT, "its script came to Ok(false), not to Ok(true)"),
        (&DEADLINE, "its script left"),
        (&OTHER_KEY, "with declared keys came to Err"),
        (&MORE, "its script left"),
        (&FAILS, "its script came to Err"),
        (&TEXT, "text holds tostring"),
    ] {
        twins.clear().unwrap();
        let difference = twins.check(&Wrong(script)).unwrap_err();
        assert!(
            difference.contains(found),
            "{}: {difference}",
            script.name()
        );
    }
}

/// A script that writes before it fails, and an op that says nothing of it.
#[test]
fn a_write_before_a_failure_is_found() {
    struct Half;
    static HALF: Script = Script::new(
        "half",
        "redis.call('SET',KEYS[1],'half') return redis.error_reply('ERR no')",
    );
    impl AtomicOp for Half {
        type Output = bool;

        fn script(&self) -> &'static Script {
            &HALF
        }

        fn keys(&self) -> Keys<'_> {
            smallvec::smallvec![KEYS[0]]
        }

        fn args(&self) -> Args {
            Args::new()
        }

        fn read(&self, reply: Reply) -> Result<bool, Error> {
            truth(reply)
        }

        fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
            tx.put(KEYS[0], b"half", sangam_engine::Ttl::None)?;
            Err(CommandError::text("ERR no"))
        }
    }
    let difference = Twins::new().check(&Half).unwrap_err();
    assert!(difference.contains("its script left"), "{difference}");
}
