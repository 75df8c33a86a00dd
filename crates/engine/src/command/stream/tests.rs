use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::ManualClock;
use crate::effect::{EffectSink, Effects, Seq};
use crate::reply::REPLY_MAX;
use crate::session::{Dialect, Session};
use crate::{Engine, Options, Reply};

const NOW_US: u64 = 1_700_000_000_000_000;

/// Keeps each unit's effects as a line.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl EffectSink for Lines {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _keyspace: u32, _now_ms: u64, effects: &Effects) -> Seq {
        let mut lines = self.0.lock();
        let effects = effects.iter().map(|effect| {
            let words = effect.iter().map(|word| String::from_utf8_lossy(word));
            words.collect::<Vec<_>>().join(" ")
        });
        lines.push(effects.collect::<Vec<_>>().join("; "));
        Seq(lines.len() as u64)
    }
}

fn run(engine: &Engine, session: &mut Session, line: &str) -> Reply {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    engine.call(session, &argv).0.unpacked()
}

/// What the last of these commands, each on a stream of three entries and a
/// group, comes to in the journal.
fn effect_of(commands: &[&str]) -> Option<String> {
    let lines = Arc::new(Lines::default());
    let engine = Engine::new(Options {
        clock: Arc::new(ManualClock::new(NOW_US)),
        sink: lines.clone(),
        ..Options::default()
    });
    let mut session = engine.session();
    let setup = [
        "XADD s 1 f v",
        "XADD s 2 f v",
        "XADD s 3 f v",
        "XGROUP CREATE s g 0",
    ];
    let (last, before) = commands.split_last().unwrap();
    for command in setup.iter().chain(before) {
        let reply = run(&engine, &mut session, command);
        assert!(!reply.is_error(), "{command}: {reply:?}");
    }
    lines.0.lock().clear();
    run(&engine, &mut session, last);
    let lines = lines.0.lock().clone();
    assert!(lines.len() <= 1, "a unit each: {lines:?}");
    lines.into_iter().next()
}

#[test]
fn effects_say_what_came_of_time() {
    let t = "1700000000000";
    let own = "XREADGROUP GROUP g c COUNT 2 STREAMS s >";
    let cases: [(&[&str], &str); 17] = [
        (&["XADD s * f v"], "XADD s 1700000000000-0 f v"),
        (&["XADD s 5-* f v"], "XADD s 5-0 f v"),
        (&["XADD s 7 f v"], "XADD s 7 f v"),
        (&["XADD s MAXLEN 2 7 f v"], "XADD s MAXLEN 2 7 f v"),
        (&["XADD s MAXLEN ~ 2 7 f v"], "XADD s 7-0 f v"),
        (
            &["XADD s MAXLEN ~ 0 7 f v"],
            "XADD s MAXLEN = 0 KEEPREF 7-0 f v",
        ),
        (&["XTRIM s MINID ~ 9 DELREF"], "XTRIM s MAXLEN = 0 DELREF"),
        (
            &[own],
            &format!(
                "XGROUP CREATECONSUMER s g c; XCLAIM s g c 0 1-0 2-0 TIME {t} RETRYCOUNT 1 FORCE \
                 JUSTID; XGROUP SETID s g 2-0 ENTRIESREAD 2"
            ),
        ),
        (
            &["XREADGROUP GROUP g c NOACK STREAMS s >"],
            "XGROUP CREATECONSUMER s g c; XGROUP SETID s g 3-0 ENTRIESREAD 3",
        ),
        (
            &[
                own,
                "XCLAIM s g c 0 2 RETRYCOUNT 4",
                "XREADGROUP GROUP g c STREAMS s 0",
            ],
            &format!(
                "XCLAIM s g c 0 1-0 TIME {t} RETRYCOUNT 2 FORCE JUSTID; XCLAIM s g c 0 2-0 TIME \
                 {t} RETRYCOUNT 5 FORCE JUSTID"
            ),
        ),
        (
            &[own, "XCLAIM s g c 0 1 IDLE 1000 LASTID 3"],
            "XCLAIM s g c 0 1-0 TIME 1699999999000 RETRYCOUNT 2 FORCE JUSTID; XGROUP SETID s g \
             3-0 ENTRIESREAD 2",
        ),
        (
            &["XCLAIM s g c 0 9 LASTID 3"],
            "XGROUP SETID s g 3-0 ENTRIESREAD -1",
        ),
        (
            &[own, "XDEL s 1", "XAUTOCLAIM s g d 0 -"],
            &format!(
                "XGROUP CREATECONSUMER s g d; XCLAIM s g d 0 2-0 TIME {t} RETRYCOUNT 2 FORCE \
                 JUSTID; XACK s g 1-0"
            ),
        ),
        (&[own, "XACK s g 1"], "XACK s g 1"),
        (&["XGROUP CREATE s h $"], "XGROUP CREATE s h $"),
        (&["XSETID s 9"], "XSETID s 9"),
        (&[own, "XACKDEL s g IDS 1 1"], "XACKDEL s g IDS 1 1"),
    ];
    for (commands, expected) in cases {
        assert_eq!(
            effect_of(commands).as_deref(),
            Some(expected),
            "{commands:?}"
        );
    }
}

#[test]
fn what_changes_nothing_is_no_effect() {
    let cases: [&[&str]; 12] = [
        &["XADD s 1 f v"],
        &["XADD none NOMKSTREAM * f v"],
        &["XDEL s 9"],
        &["XTRIM s MAXLEN 3"],
        &["XACK s g 1"],
        &["XCLAIM s g c 0 1"],
        &["XAUTOCLAIM s g c 0 -"],
        &[
            "XREADGROUP GROUP g c STREAMS s >",
            "XREADGROUP GROUP g c STREAMS s >",
        ],
        &[
            "XGROUP CREATECONSUMER s g c",
            "XREADGROUP GROUP g c STREAMS s 0",
        ],
        &["XGROUP CREATE s g 0"],
        &["XGROUP DELCONSUMER s g nobody"],
        &["XREADGROUP GROUP none c STREAMS s >"],
    ];
    for commands in cases {
        assert_eq!(effect_of(commands), None, "{commands:?}");
    }
}

#[test]
fn a_reply_is_bounded_however_often_a_stream_is_named() {
    let engine = Engine::default();
    let mut session = engine.session();
    let half = "x".repeat(REPLY_MAX / 2 - 200);
    run(&engine, &mut session, &format!("XADD s 1 f {half}"));
    run(&engine, &mut session, "XGROUP CREATE s g 0");
    run(&engine, &mut session, "XREADGROUP GROUP g c STREAMS s >");
    let refused = Reply::error("ERR the reply is too large");
    for (fits, not) in [
        ("XREAD STREAMS s s 0 0", "XREAD STREAMS s s s 0 0 0"),
        (
            "XREADGROUP GROUP g c STREAMS s s 0 0",
            "XREADGROUP GROUP g c STREAMS s s s 0 0 0",
        ),
        ("XCLAIM s g c 0 1 1", "XCLAIM s g c 0 1 1 1"),
    ] {
        assert!(!run(&engine, &mut session, fits).is_error(), "{fits}");
        let before = run(&engine, &mut session, "XPENDING s g - + 9");
        assert_eq!(run(&engine, &mut session, not), refused, "{not}");
        let after = run(&engine, &mut session, "XPENDING s g - + 9");
        let deliveries = |reply: &Reply| {
            format!("{reply:?}")
                .rsplit("Int(")
                .next()
                .map(str::to_owned)
        };
        assert_eq!(deliveries(&before), deliveries(&after), "{not}");
    }
    let just_ids = run(&engine, &mut session, "XCLAIM s g c 0 1 1 1 1 JUSTID");
    assert!(!just_ids.is_error());
}

#[test]
fn nobody_waits_over_rest() {
    let engine = Engine::default();
    let mut session = engine.session();
    session.dialect = Dialect::Upstash;
    run(&engine, &mut session, "XGROUP CREATE s g 0 MKSTREAM");
    for waiting in [
        "XREAD BLOCK 0 STREAMS s 0",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
    ] {
        assert_eq!(run(&engine, &mut session, waiting), Reply::NullArray);
    }
}

#[test]
fn the_keys_of_reads_stand_behind_their_word() {
    let engine = Engine::default();
    let mut session = engine.session();
    let keys = |names: &[&str]| Reply::Array(names.iter().map(Reply::bulk).collect());
    for (line, expected) in [
        ("XREAD COUNT 2 STREAMS a b 0 0", keys(&["a", "b"])),
        ("XREADGROUP GROUP g streams STREAMS a >", keys(&["a"])),
        ("XADD a * f v", keys(&["a"])),
        ("XGROUP CREATE a g 0", keys(&["a"])),
    ] {
        let reply = run(&engine, &mut session, &format!("COMMAND GETKEYS {line}"));
        assert_eq!(reply, expected, "{line}");
    }
}
