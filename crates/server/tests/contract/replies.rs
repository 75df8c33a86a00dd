//! What a call answers, and how it refuses.

use sangam_store::{Error, Status, Ttl};

use crate::place::Place;
use crate::plain::{Plain, ask, try_ask};

/// All bytes that there are.
fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

pub(crate) async fn nil_where_nothing_is(place: Place) {
    let (store, none) = (&place.store, place.key("none"));
    assert_eq!(ask(store, &["GET", &none]).await, Plain::Nil);
    assert_eq!(ask(store, &["LPOP", &none]).await, Plain::Nil);
    assert_eq!(ask(store, &["LPOP", &none, "2"]).await, Plain::Nil);
    assert_eq!(ask(store, &["ZSCORE", &none, "m"]).await, Plain::Nil);
    assert_eq!(ask(store, &["LRANGE", &none, "0", "-1"]).await, [].into());
    assert_eq!(ask(store, &["HGETALL", &none]).await, [].into());
    assert_eq!(ask(store, &["EXISTS", &none]).await, 0.into());
    let key = place.key("k");
    ask(store, &["SET", &key, ""]).await;
    assert_eq!(ask(store, &["GET", &key]).await, "".into());
    assert_eq!(
        ask(store, &["MGET", &key, &none, &key]).await,
        [Plain::from(""), Plain::Nil, "".into()].into()
    );
}

pub(crate) async fn integers_of_all_sizes(place: Place) {
    let (store, key) = (&place.store, place.key("k"));
    for number in [0, 1, -1, 1 << 53, i64::MAX, i64::MIN] {
        let text = number.to_string();
        ask(store, &["SET", &key, "0"]).await;
        assert_eq!(ask(store, &["INCRBY", &key, &text]).await, number.into());
        assert_eq!(ask(store, &["GET", &key]).await, text.as_str().into());
        assert_eq!(store.add(key.as_bytes(), 0).await, Ok(number));
    }
    ask(store, &["SET", &key, &i64::MAX.to_string()]).await;
    assert_eq!(code(try_ask(store, &["INCR", &key]).await), "ERR");
}

pub(crate) async fn statuses(place: Place) {
    let (store, key) = (&place.store, place.key("k"));
    assert_eq!(ask(store, &["SET", &key, "v"]).await, "OK".into());
    assert_eq!(ask(store, &["TYPE", &key]).await, "string".into());
    assert_eq!(ask(store, &["PING"]).await, "PONG".into());
    // A value that looks like a status is a value.
    ask(store, &["SET", &key, "OK"]).await;
    assert_eq!(ask(store, &["GET", &key]).await, "OK".into());
    assert_eq!(store.get(key.as_bytes()).await, Ok(Some(b"OK".to_vec())));
}

pub(crate) async fn strings_of_any_bytes(place: Place) {
    let store = &place.store;
    let bytes = every_byte();
    // As a value, a key, a field, a member, an element.
    let key = [place.key("").as_bytes(), &bytes].concat();
    ask(store, &[b"SET".as_slice(), &key, &bytes]).await;
    assert_eq!(store.get(&key).await, Ok(Some(bytes.clone())));
    assert_eq!(
        ask(store, &[b"GETRANGE".as_slice(), &key, b"128", b"129"]).await,
        b"\x80\x81".as_slice().into()
    );
    let hash = place.key("hash").into_bytes();
    ask(store, &[b"HSET".as_slice(), &hash, &bytes, b"\xff\r\n"]).await;
    assert_eq!(
        ask(store, &[b"HGETALL".as_slice(), &hash]).await.flat(),
        [bytes.as_slice().into(), b"\xff\r\n".as_slice().into()].into()
    );
    let list = place.key("list").into_bytes();
    ask(store, &[b"RPUSH".as_slice(), &list, &bytes, b"", b"\0"]).await;
    assert_eq!(
        ask(store, &[b"LRANGE".as_slice(), &list, b"0", b"-1"]).await,
        [bytes.as_slice().into(), "".into(), "\0".into()].into()
    );
    // Quotes and escapes, which JSON would have to write.
    let text = "\"\\/\u{8}\u{c}\n\r\t\u{2028}é😀";
    ask(store, &[b"SET".as_slice(), &key, text.as_bytes()]).await;
    assert_eq!(ask(store, &[b"GET".as_slice(), &key]).await, text.into());
}

pub(crate) async fn maps_sets_and_doubles(place: Place) {
    let store = &place.store;
    let (hash, set, sorted) = (place.key("h"), place.key("s"), place.key("z"));
    ask(store, &["HSET", &hash, "a", "1", "b", "2"]).await;
    assert_eq!(
        ask(store, &["HGETALL", &hash]).await.flat(),
        [Plain::from("a"), "1".into(), "b".into(), "2".into()].into()
    );
    ask(store, &["SADD", &set, "x", "y", "z"]).await;
    assert_eq!(
        ask(store, &["SMEMBERS", &set]).await.sorted(),
        [Plain::from("x"), "y".into(), "z".into()].into()
    );
    assert_eq!(ask(store, &["SISMEMBER", &set, "x"]).await, 1.into());
    ask(store, &["ZADD", &sorted, "1.5", "m", "-3", "n"]).await;
    assert_eq!(ask(store, &["ZSCORE", &sorted, "m"]).await, "1.5".into());
    assert_eq!(
        ask(store, &["ZRANGE", &sorted, "0", "-1", "WITHSCORES"])
            .await
            .flat(),
        [Plain::from("n"), "-3".into(), "m".into(), "1.5".into()].into()
    );
    assert_eq!(
        ask(store, &["INCRBYFLOAT", &place.key("f"), "0.1"]).await,
        "0.1".into()
    );
}

pub(crate) async fn lists_within_lists(place: Place) {
    let store = &place.store;
    let script = "return {1, {2, {'three', {}}}, 'four'}";
    assert_eq!(
        ask(store, &["EVAL", script, "1", &place.key("k")]).await,
        [
            Plain::from(1),
            [Plain::from(2), ["three".into(), [].into()].into()].into(),
            "four".into(),
        ]
        .into()
    );
    let stream = place.key("stream");
    ask(store, &["XADD", &stream, "1-1", "f", "v", "f", "w"]).await;
    let fields = [Plain::from("f"), "v".into(), "f".into(), "w".into()];
    assert_eq!(
        ask(store, &["XRANGE", &stream, "-", "+"]).await,
        [["1-1".into(), fields.into()].into()].into()
    );
}

fn code(outcome: Result<Plain, Error>) -> String {
    let error = outcome.expect_err("an error");
    assert!(error.had_no_effect(), "{error:?}");
    match error {
        Error::Command(refusal) => refusal.code().to_owned(),
        other => panic!("no error of the store's own: {other:?}"),
    }
}

pub(crate) async fn errors_keep_their_code(place: Place) {
    let (store, key) = (&place.store, place.key("k"));
    ask(store, &["SET", &key, "text"]).await;
    assert_eq!(
        code(try_ask(store, &["LPUSH", &key, "x"]).await),
        "WRONGTYPE"
    );
    assert_eq!(code(try_ask(store, &["INCR", &key]).await), "ERR");
    assert_eq!(code(try_ask(store, &["GET"]).await), "ERR");
    assert_eq!(code(try_ask(store, &["NOSUCHCOMMAND", &key]).await), "ERR");
    assert_eq!(code(try_ask(store, &["SET", &key, "v", "XY"]).await), "ERR");
    let own = "return redis.error_reply('MINE is my own')";
    assert_eq!(
        code(try_ask(store, &["EVAL", own, "1", &key]).await),
        "MINE"
    );
    let missing = "0123456789012345678901234567890123456789";
    assert_eq!(
        code(try_ask(store, &["EVALSHA", missing, "1", &key]).await),
        "NOSCRIPT"
    );
    // None of them has changed anything, nor the state.
    assert_eq!(ask(store, &["GET", &key]).await, "text".into());
    assert_eq!(store.state().status, Status::Up);
}

pub(crate) async fn a_command_without_a_name_is_an_error(place: Place) {
    let store = &place.store;
    assert!(store.call(&[]).await.is_err());
    assert!(store.call(&[b""]).await.is_err());
    assert_eq!(ask(store, &["PING"]).await, "PONG".into());
}

pub(crate) async fn commands_of_a_connection_are_refused(place: Place) {
    let store = &place.store;
    for argv in [
        &["SUBSCRIBE", "c"][..],
        &["MULTI"],
        &["exec"],
        &["WATCH", "k"],
        &["AUTH", "x"],
        &["SELECT", "1"],
        &["CLIENT", "REPLY", "OFF"],
        &["MONITOR"],
        &["RESET"],
        &["QUIT"],
        &["HELLO", "3"],
    ] {
        let outcome = try_ask(store, argv).await;
        assert!(
            matches!(outcome, Err(Error::Unsupported(_))),
            "{argv:?}: {outcome:?}"
        );
    }
    assert_eq!(ask(store, &["PING"]).await, "PONG".into());
}

pub(crate) async fn a_megabyte_comes_back_as_it_was(place: Place) {
    let (store, key) = (&place.store, place.key("k"));
    let mut state = 1_u32;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(1 << 20)
    .collect();
    store.set(key.as_bytes(), &value, Ttl::None).await.unwrap();
    assert_eq!(store.get(key.as_bytes()).await.unwrap(), Some(value));
}

pub(crate) async fn typed_calls(place: Place) {
    let store = &place.store;
    let (one, two, none) = (place.key("1"), place.key("2"), place.key("none"));
    let [one, two, none] = [one.as_bytes(), two.as_bytes(), none.as_bytes()];
    assert_eq!(store.get(one).await, Ok(None));
    assert_eq!(store.set_if_absent(one, b"a", Ttl::None).await, Ok(true));
    assert_eq!(store.set_if_absent(one, b"b", Ttl::None).await, Ok(false));
    store.set(two, b"\xff", Ttl::None).await.unwrap();
    assert_eq!(
        store.get_many(&[two, none, one]).await,
        Ok(vec![Some(b"\xff".to_vec()), None, Some(b"a".to_vec())])
    );
    assert_eq!(store.exists(one).await, Ok(true));
    assert_eq!(store.exists(none).await, Ok(false));
    assert_eq!(store.add(none, -5).await, Ok(-5));
    assert!(matches!(store.add(one, 1).await, Err(Error::Command(_))));
    assert_eq!(store.delete(&[one, two, one]).await, Ok(2));
    assert_eq!(store.get(one).await, Ok(None));
    // Keys that live in different slots of a cluster.
    let keys: Vec<String> = (0..8).map(|slot| place.key_in(slot, "k")).collect();
    for key in &keys {
        store.set(key.as_bytes(), b"v", Ttl::None).await.unwrap();
    }
    let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    let values = store.get_many(&keys).await.unwrap();
    assert_eq!(values, vec![Some(b"v".to_vec()); 8]);
    assert_eq!(store.delete(&keys).await, Ok(8));
}
