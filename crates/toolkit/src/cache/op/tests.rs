//! Both ops in both languages, on what caches, other programs and damage leave.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use sangam_store::Ttl;
use sangam_store::op::INTEGER_MAX;
use sangam_store::op::testing::Twins;

use super::super::settings::{Compression, Encoding};
use super::super::value::{Envelope, Kind, Stamp, head};
use super::{Fill, Replay, Track};

const KEY: &[u8] = b"cache:users:7";
const TTL: Ttl = Ttl::In(Duration::from_mins(5));

fn written(kind: Kind, time_us: u64, writer: u32) -> Vec<u8> {
    let envelope = Envelope {
        kind,
        stamp: Stamp { time_us, writer },
        schema: 0,
        fresh_until_ms: 1,
        ends_ms: 2,
        tags: &[],
        validator: None,
        encoding: Encoding::Json,
        body: b"{}",
    };
    envelope.write(Compression::default())
}

/// Few, so that they meet; the last are near where Lua's numbers end.
fn time() -> impl Strategy<Value = u64> {
    let largest = INTEGER_MAX as u64;
    prop_oneof![
        4 => 0u64..4,
        4 => 1_700_000_000_000_000u64..1_700_000_000_000_003,
        2 => largest - 1..largest + 4,
        1 => (0u32..8).prop_map(|bits| 0xffu64 << (8 * bits)),
        1 => any::<u64>(),
    ]
}

fn writer() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..3, any::<u32>()]
}

const TEXTS: [&[u8]; 7] = [
    b"",
    b"c",
    b"c\x01",
    b"c\x01vj",
    b"c\x02vj\x0012345678abcd",
    b"17",
    b"{}",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(Kind::Value), Just(Kind::Nothing), Just(Kind::Deleted)];
    let ours =
        (kind, time(), writer()).prop_map(|(kind, time, writer)| written(kind, time, writer));
    let ours = ours.boxed();
    let beginning = (vec(any::<u8>(), 0..3), time(), writer()).prop_map(|(form, time, writer)| {
        let numbers = [&time.to_be_bytes()[..], &writer.to_be_bytes()].concat();
        [&form, &b"vj0"[..], &numbers].concat()
    });
    prop_oneof![
        6 => ours.clone(),
        1 => (ours.clone(), 0..50usize).prop_map(|(mut bytes, length)| {
            bytes.truncate(length);
            bytes
        }),
        1 => (ours, 0..17usize, any::<u8>()).prop_map(|(mut bytes, at, byte)| {
            bytes[at] = byte;
            bytes
        }),
        1 => beginning,
        1 => select(&TEXTS[..]).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..60),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    /// Another program's.
    Write(Vec<Vec<u8>>),
    /// With what another one saw, or with what stands there.
    Fill(Option<Vec<u8>>, Vec<u8>, Ttl),
    Replay(u64, u32, Vec<u8>, Ttl),
    /// So many seconds.
    Track(Vec<Vec<u8>>, u64),
}

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![
        Just(Ttl::None),
        Just(Ttl::Keep),
        (60u64..9_000).prop_map(|seconds| Ttl::In(Duration::from_secs(seconds))),
        Just(Ttl::At(4_000_000_000_000)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let write = prop_oneof![
        6 => value().prop_map(|value| vec![b"SET".to_vec(), KEY.to_vec(), value]),
        2 => Just(vec![b"DEL".to_vec(), KEY.to_vec()]),
        1 => Just(vec![b"LPUSH".to_vec(), KEY.to_vec(), b"x".to_vec()]),
        1 => Just(vec![b"SADD".to_vec(), KEY.to_vec(), b"3".to_vec()]),
        1 => Just(vec![b"EXPIRE".to_vec(), KEY.to_vec(), b"900".to_vec()]),
        1 => Just(vec![b"XADD".to_vec(), KEY.to_vec(), b"1-1".to_vec(), b"f".to_vec(), b"v".to_vec()]),
    ];
    let seen = proptest::option::weighted(0.3, value());
    prop_oneof![
        write.prop_map(Step::Write),
        (seen, value(), ttl()).prop_map(|(seen, value, ttl)| Step::Fill(seen, value, ttl)),
        (time(), writer(), value(), ttl())
            .prop_map(|(time, writer, value, ttl)| Step::Replay(time, writer, value, ttl)),
        // Numbers, whose sets have an order.
        (
            vec((0u8..9).prop_map(|it| it.to_string().into_bytes()), 1..4),
            60u64..9_000
        )
            .prop_map(|(names, seconds)| Step::Track(names, seconds)),
    ]
}

/// Plays a story, and compares each outcome with what the rule says of the value that
/// stood there.
fn play(twins: &mut Twins, story: &[Step]) -> Result<(), TestCaseError> {
    let failed = |text: String| TestCaseError::fail(text);
    twins.clear().map_err(failed)?;
    for step in story {
        let stands = twins.prepare(&[b"GET", KEY]).map_err(failed)?;
        let stands = match stands {
            sangam_store::Reply::Bulk(bytes) => Some(bytes),
            sangam_store::Reply::Null => Some(Vec::new()),
            _ => None,
        };
        match step {
            Step::Write(argv) => {
                let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                twins.prepare(&argv).map_err(failed)?;
            }
            Step::Fill(seen, value, ttl) => {
                let seen = seen.clone().or(stands.clone()).unwrap_or_default();
                let seen = head(&seen);
                let op = Fill {
                    key: KEY,
                    seen,
                    value,
                    ttl: *ttl,
                };
                let filled = twins.check(&op).map_err(failed)?.ok();
                let expected = stands.map(|stands| head(&stands) == seen);
                prop_assert_eq!(filled, expected);
            }
            Step::Replay(time_us, writer, value, ttl) => {
                let op = Replay {
                    key: KEY,
                    stamp: Stamp {
                        time_us: *time_us,
                        writer: *writer,
                    },
                    value,
                    ttl: *ttl,
                };
                let replayed = twins.check(&op).map_err(failed)?.ok();
                let expected = stands.map(|stands| !is_newer(&stands, *time_us, *writer));
                prop_assert_eq!(replayed, expected);
            }
            Step::Track(names, seconds) => {
                let op = Track {
                    set: KEY,
                    names,
                    ttl: Duration::from_secs(*seconds),
                };
                let added = twins.check(&op).map_err(failed)?.ok();
                prop_assert!(added.is_none_or(|added| added <= names.len() as u64));
            }
        }
    }
    Ok(())
}

/// The rule once more, on the bytes: they compare as the numbers do.
fn is_newer(stands: &[u8], time_us: u64, writer: u32) -> bool {
    let stamp = [&time_us.to_be_bytes()[..], &writer.to_be_bytes()].concat();
    let Some(theirs) = stands
        .strip_prefix(b"c\x01")
        .and_then(|rest| rest.get(3..15))
    else {
        return false;
    };
    *theirs > *stamp && theirs < &[0, 0x20, 0, 0, 0, 0, 0, 0][..]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn both_languages_agree(story in vec(step(), 1..24)) {
        play(&mut Twins::new(), &story)?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_agrees() {
    let server = sangam_rig::redis::Redis::start().await;
    let addr = server.addr();
    let work = move || {
        let mut runner = TestRunner::new(ProptestConfig {
            cases: 100,
            ..ProptestConfig::default()
        });
        let mut twins = Twins::with_server(addr).unwrap();
        let twins = std::cell::RefCell::new(&mut twins);
        runner.run(&vec(step(), 1..20), |story| {
            play(&mut twins.borrow_mut(), &story)
        })
    };
    tokio::task::spawn_blocking(work).await.unwrap().unwrap();
}

fn fill(seen: &[u8], value: &[u8], twins: &mut Twins) -> bool {
    let op = Fill {
        key: KEY,
        seen,
        value,
        ttl: TTL,
    };
    twins.check(&op).unwrap().unwrap()
}

fn replay(time_us: u64, writer: u32, twins: &mut Twins) -> bool {
    let op = Replay {
        key: KEY,
        stamp: Stamp { time_us, writer },
        value: &written(Kind::Value, time_us, writer),
        ttl: TTL,
    };
    twins.check(&op).unwrap().unwrap()
}

#[test]
fn an_old_load_fills_nothing_newer() {
    let mut twins = Twins::new();
    let (deleted, loaded) = (written(Kind::Deleted, 5, 1), written(Kind::Value, 6, 2));
    assert!(fill(b"", &loaded, &mut twins));
    assert!(!fill(b"", b"late", &mut twins), "there is a value by now");
    twins.prepare(&[b"SET", KEY, &deleted]).unwrap();
    assert!(!fill(head(&loaded), b"late", &mut twins));
    assert!(fill(head(&deleted), &loaded, &mut twins));
    twins.prepare(&[b"DEL", KEY]).unwrap();
    assert!(
        !fill(head(&loaded), b"late", &mut twins),
        "what was seen went"
    );
}

#[test]
fn the_newest_writing_stays() {
    let mut twins = Twins::new();
    assert!(replay(5, 2, &mut twins), "there was none");
    assert!(replay(5, 2, &mut twins), "the same once more");
    assert!(!replay(4, 9, &mut twins), "an older one");
    assert!(
        !replay(5, 1, &mut twins),
        "of two at once, by a smaller writer"
    );
    assert!(
        replay(5, 3, &mut twins),
        "of two at once, by a larger writer"
    );
    assert!(replay(6, 1, &mut twins), "a newer one");
    twins.prepare(&[b"SET", KEY, b"foreign"]).unwrap();
    assert!(replay(1, 1, &mut twins), "over what is no writing");
}

#[test]
fn ops_cost_what_their_module_says() {
    let mut twins = Twins::new();
    assert!(fill(b"", &written(Kind::Value, 5, 1), &mut twins));
    assert_eq!(twins.cost(), 3);
    assert!(!fill(b"", b"x", &mut twins));
    assert_eq!(twins.cost(), 2);
    assert!(replay(6, 1, &mut twins));
    assert_eq!(twins.cost(), 3);
    assert!(!replay(5, 1, &mut twins));
    assert_eq!(twins.cost(), 2);
}

fn left(twins: &mut Twins) -> i64 {
    match twins.prepare(&[b"TTL", KEY]).unwrap() {
        sangam_store::Reply::Int(seconds) => seconds,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_set_lives_as_long_as_what_is_in_it_unless_it_is_anothers() {
    let mut twins = Twins::new();
    let track = |seconds, twins: &mut Twins| {
        let op = Track {
            set: KEY,
            names: &[b"a".to_vec(), b"b".to_vec()],
            ttl: Duration::from_secs(seconds),
        };
        twins.check(&op).unwrap().unwrap()
    };
    assert_eq!(track(900, &mut twins), 2);
    assert_eq!(twins.cost(), 4);
    assert_eq!(left(&mut twins), 900);
    assert_eq!(track(600, &mut twins), 0);
    assert_eq!(twins.cost(), 3);
    assert_eq!(left(&mut twins), 900);
    track(1_000, &mut twins);
    assert_eq!(left(&mut twins), 1_000);
    twins.prepare(&[b"DEL", KEY]).unwrap();
    twins.prepare(&[b"SADD", KEY, b"theirs"]).unwrap();
    assert_eq!(track(900, &mut twins), 2);
    assert_eq!(left(&mut twins), -1);
}
