//! Several commands: pipelines, transactions, scripts.

use sangam_store::{Commands, Error, Script};

use crate::place::Place;
use crate::plain::{Plain, ask, try_ask};

fn commands<A: AsRef<[u8]>>(list: &[&[A]]) -> Commands {
    let mut commands = Commands::new();
    for argv in list {
        let argv: Vec<&[u8]> = argv.iter().map(AsRef::as_ref).collect();
        commands.push(&argv);
    }
    commands
}

pub(crate) async fn a_pipeline_answers_in_order_errors_in_their_place(place: Place) {
    let (store, key, text) = (&place.store, place.key("n"), place.key("text"));
    ask(store, &["SET", &text, "x"]).await;
    let mut all = Commands::new();
    for _ in 0..500 {
        all.push(&[b"INCR", key.as_bytes()]);
        all.push(&[b"INCR", text.as_bytes()]);
        all.push(&[b"SUBSCRIBE", b"c"]);
    }
    let replies = store.pipeline(&all).await;
    assert_eq!(replies.len(), 1500);
    for (index, turn) in replies.chunks(3).enumerate() {
        let [Ok(sum), Err(Error::Command(_)), Err(Error::Unsupported(_))] = turn else {
            panic!("{turn:?}");
        };
        assert_eq!(Plain::of(sum.clone()), (index as i64 + 1).into());
    }
    assert!(store.pipeline(&Commands::new()).await.is_empty());
}

pub(crate) async fn a_pipeline_reaches_every_slot(place: Place) {
    let store = &place.store;
    let keys: Vec<String> = (0..100).map(|slot| place.key_in(slot, "k")).collect();
    let mut writes = Commands::new();
    let mut reads = Commands::new();
    for key in &keys {
        writes.push(&[b"SET", key.as_bytes(), key.as_bytes()]);
        reads.push(&[b"GET", key.as_bytes()]);
    }
    for reply in store.pipeline(&writes).await {
        assert_eq!(reply.map(Plain::of), Ok("OK".into()));
    }
    for (reply, key) in store.pipeline(&reads).await.into_iter().zip(&keys) {
        assert_eq!(reply.map(Plain::of), Ok(key.as_str().into()));
    }
}

pub(crate) async fn a_transaction_is_seen_whole_or_not(place: Place) {
    let (a, b) = (place.key("a"), place.key("b"));
    let place = &place;
    let write = commands(&[&["INCR", a.as_str()], &["INCR", b.as_str()]]);
    let read = commands(&[&["GET", a.as_str()], &["GET", b.as_str()]]);
    let writes = async {
        for turn in 1..=200 {
            let replies = place.store.transaction(&write).await.unwrap();
            let replies: Vec<_> = replies.into_iter().map(|it| it.map(Plain::of)).collect();
            assert_eq!(replies, [Ok(turn.into()), Ok(turn.into())]);
        }
    };
    let reads = async {
        loop {
            let replies = place.store.transaction(&read).await.unwrap();
            assert_eq!(replies[0], replies[1]);
            if replies[0].clone().map(Plain::of) == Ok("200".into()) {
                break;
            }
        }
    };
    tokio::join!(writes, reads);
}

pub(crate) async fn a_transaction_is_refused_whole(place: Place) {
    let (store, key) = (&place.store, place.key("k"));
    for refused in [&["NOSUCHCOMMAND", key.as_str()][..], &["GET"]] {
        let unit = commands(&[&["SET", key.as_str(), "v"], refused]);
        let outcome = store.transaction(&unit).await;
        assert!(matches!(outcome, Err(Error::Command(_))), "{outcome:?}");
        assert_eq!(ask(store, &["GET", &key]).await, Plain::Nil);
    }
    let of_connection = commands(&[&["SET", key.as_str(), "v"][..], &["DISCARD"]]);
    let outcome = store.transaction(&of_connection).await;
    assert!(outcome.unwrap_err().had_no_effect());
    assert_eq!(ask(store, &["GET", &key]).await, Plain::Nil);
    assert_eq!(store.transaction(&Commands::new()).await, Ok(Vec::new()));
}

pub(crate) async fn an_error_while_a_transaction_runs_is_one_commands(place: Place) {
    let (store, text, number) = (&place.store, place.key("t"), place.key("n"));
    let unit = commands(&[
        &["SET", text.as_str(), "x"][..],
        &["LPUSH", text.as_str(), "y"],
        &["INCR", number.as_str()],
    ]);
    let replies = store.transaction(&unit).await.unwrap();
    assert_eq!(replies[1].as_ref().unwrap_err().code(), Some("WRONGTYPE"));
    assert_eq!(replies[2].clone().map(Plain::of), Ok(1.into()));
    assert_eq!(ask(store, &["GET", &text]).await, "x".into());
}

pub(crate) async fn a_transaction_over_slots_is_whole_or_an_error(place: Place) {
    let store = &place.store;
    let keys: Vec<String> = (0..20).map(|slot| place.key_in(slot, "k")).collect();
    let mut unit = Commands::new();
    for key in &keys {
        unit.push(&[b"SET", key.as_bytes(), b"v"]);
    }
    let outcome = store.transaction(&unit).await;
    let expected = if place.can.span_slots {
        assert_eq!(outcome.unwrap().len(), 20);
        Plain::from("v")
    } else {
        assert!(outcome.unwrap_err().had_no_effect());
        Plain::Nil
    };
    for key in &keys {
        assert_eq!(ask(store, &["GET", key]).await, expected);
    }
}

pub(crate) async fn a_script_is_found_again_after_it_was_forgotten(place: Place) {
    static APPEND: Script = Script::new(
        "append",
        "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('LRANGE', KEYS[1], 0, -1)",
    );
    let (store, key) = (&place.store, place.key("k"));
    let mut expected = Vec::new();
    for turn in 0..3_u8 {
        let text = [0xff, turn];
        expected.push(Plain::from(text.as_slice()));
        let reply = store.script(&APPEND, &[key.as_bytes()], &[&text]).await;
        assert_eq!(reply.map(Plain::of), Ok(Plain::List(expected.clone())));
        ask(store, &["SCRIPT", "FLUSH"]).await;
    }
}

pub(crate) async fn scripts_in_units_are_found_too(place: Place) {
    static ADD: Script = Script::new("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let (store, key) = (&place.store, place.key("n"));
    let key = key.as_bytes();
    let mut commands = Commands::new();
    commands
        .push(&[b"SET", key, b"1"])
        .push_script(&ADD, &[key], &[b"2"])
        .push(&[b"EXISTS", key])
        .push_script(&ADD, &[key], &[b"3"]);
    for _ in 0..2 {
        ask(store, &["SCRIPT", "FLUSH"]).await;
        let replies = store.pipeline(&commands).await;
        let replies: Vec<_> = replies
            .into_iter()
            .map(|it| Plain::of(it.unwrap()))
            .collect();
        assert_eq!(
            replies[1..],
            [Plain::from(3), Plain::from(1), Plain::from(6)]
        );
        ask(store, &["SCRIPT", "FLUSH"]).await;
        let replies = store.transaction(&commands).await.unwrap();
        let replies: Vec<_> = replies
            .into_iter()
            .map(|it| Plain::of(it.unwrap()))
            .collect();
        assert_eq!(
            replies[1..],
            [Plain::from(3), Plain::from(1), Plain::from(6)]
        );
    }
}

pub(crate) async fn scripts_run_one_after_the_other(place: Place) {
    static STEP: Script = Script::new(
        "step",
        "local n = tonumber(redis.call('GET', KEYS[1]) or '0') + 1 \
         redis.call('SET', KEYS[1], string.format('%.0f', n)) return n",
    );
    let key = place.key("k");
    let calls = (0..100).map(|_| {
        let (store, key) = (place.store.clone(), key.clone());
        tokio::spawn(async move {
            let reply = store.script(&STEP, &[key.as_bytes()], &[]).await;
            Plain::of(reply.unwrap())
        })
    });
    let mut seen = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        seen.push(call.await.unwrap());
    }
    seen.sort();
    let expected: Vec<Plain> = (1..=100).map(Plain::from).collect();
    assert_eq!(seen, expected);
}

pub(crate) async fn an_error_in_a_script_is_the_scripts(place: Place) {
    static FAILS: Script = Script::new("fails", "return redis.call('INCR', KEYS[1])");
    let (store, key) = (&place.store, place.key("k"));
    ask(store, &["RPUSH", &key, "x"]).await;
    let error = store
        .script(&FAILS, &[key.as_bytes()], &[])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Command(_)), "{error:?}");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    let syntax = try_ask(store, &["EVAL", "return return", "1", &key]).await;
    assert!(matches!(syntax, Err(Error::Command(_))), "{syntax:?}");
}
