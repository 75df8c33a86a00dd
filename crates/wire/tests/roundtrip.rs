//! What holds for all inputs: encode then decode gives the same, however the
//! bytes are cut; no bytes panic; nothing held outgrows what was received.

use proptest::prelude::*;
use sangam_engine::Reply;
use sangam_wire::Argv;
use sangam_wire::resp::{Decoded, DecodedReply, Decoder, Protocol, decode_reply, encode};
use sangam_wire::rest::{Batch, Command, Encoding, PathCommand, query_token, write_reply};

type Args = Vec<Vec<u8>>;

/// Feeds `bytes` in pieces that end at `cuts`, as a connection would; answers
/// the commands and whether the end was an error.
fn receive(bytes: &[u8], cuts: &[usize]) -> (Vec<Args>, bool) {
    let (mut decoder, mut buf, mut commands) = (Decoder::new(), Vec::new(), Vec::new());
    let mut fed = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        buf.extend_from_slice(&bytes[fed..end.max(fed)]);
        fed = end.max(fed);
        let mut front = 0;
        loop {
            let mut argv = Argv::new();
            match decoder.decode(&buf[front..], true, &mut argv) {
                Ok(Decoded::Command { consumed }) => {
                    commands.push(argv.iter().map(|arg| arg.to_vec()).collect());
                    front += consumed;
                }
                Ok(Decoded::Quoted { consumed, args }) => {
                    commands.push(args);
                    front += consumed;
                }
                Ok(Decoded::Incomplete { consumed, need }) => {
                    assert!(need > 0);
                    front += consumed;
                    break;
                }
                Err(_) => return (commands, true),
            }
        }
        buf.drain(..front);
        assert!(decoder.heap_bytes() <= 16 * 1024 + buf.len() * 16);
    }
    (commands, false)
}

fn multibulk(commands: &[Args]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for args in commands {
        let items = args.iter().map(Reply::bulk).collect();
        encode(&Reply::Array(items), Protocol::Resp2, &mut bytes);
    }
    bytes
}

fn commands() -> impl Strategy<Value = Vec<Args>> {
    let arg = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        proptest::collection::vec(any::<u8>(), 0..300),
    ];
    proptest::collection::vec(proptest::collection::vec(arg, 1..12), 0..6)
}

/// Bytes that look like the protocol, so that they get past its first byte.
fn resp_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"*".to_vec()),
        Just(b"$".to_vec()),
        Just(b"*2\r\n".to_vec()),
        Just(b"$3\r\nGET\r\n".to_vec()),
        Just(b"%1\r\n".to_vec()),
        Just(b"|1\r\n".to_vec()),
        Just(b"_\r\n".to_vec()),
        Just(b",nan\r\n".to_vec()),
        Just(b"*1048576\r\n".to_vec()),
        Just(b"$536870912\r\n".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"\"".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
        proptest::collection::vec(b'0'..=b'9', 0..8),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

fn json_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"["[..],
        b"]",
        b",",
        b"\"",
        b"\\u",
        b"\\ud83d",
        b"\\ude00",
        b"\\",
        b"null",
        b"true",
        b"-1.5e+3",
        b"{",
        b"abcdefgh",
        b"\xff",
        b"\x01",
        b" ",
    ]);
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn reply() -> impl Strategy<Value = Reply> {
    let line = "[ -~é]{0,12}";
    let leaf = prop_oneof![
        Just(Reply::Null),
        Just(Reply::NullArray),
        line.prop_map(|text| Reply::Status(text.into())),
        line.prop_map(|text| Reply::Error(text.into_bytes())),
        any::<i64>().prop_map(Reply::Int),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Reply::Bulk),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5)
            .prop_map(|texts| Reply::Bulks(texts.iter().collect())),
        (-1e15f64..1e15).prop_map(Reply::Double),
        Just(Reply::Double(f64::INFINITY)),
        any::<bool>().prop_map(Reply::Bool),
        "-?[0-9]{1,30}".prop_map(|digits| Reply::BigNumber(digits.into_bytes())),
        proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|text| Reply::Verbatim(*b"txt", text)),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let items = proptest::collection::vec(inner.clone(), 0..6);
        let pairs = proptest::collection::vec((inner.clone(), inner), 0..4);
        prop_oneof![
            items.clone().prop_map(Reply::Array),
            items.clone().prop_map(Reply::Set),
            items.prop_map(Reply::Push),
            pairs.clone().prop_map(Reply::Map),
            pairs.prop_map(Reply::Pairs),
        ]
    })
}

/// What a reply is once it has been through `protocol`.
fn through(reply: &Reply, protocol: Protocol) -> Reply {
    let resp3 = protocol == Protocol::Resp3;
    let all = |items: &[Reply]| items.iter().map(|item| through(item, protocol)).collect();
    let flat = |pairs: &[(Reply, Reply)]| {
        let items = pairs.iter().flat_map(|(first, second)| [first, second]);
        Reply::Array(items.map(|item| through(item, protocol)).collect())
    };
    match reply {
        Reply::NullArray if resp3 => Reply::Null,
        Reply::Array(items) => Reply::Array(all(items)),
        Reply::Bulks(_) => reply.clone().unpacked(),
        Reply::Set(items) if resp3 => Reply::Set(all(items)),
        Reply::Push(items) if resp3 => Reply::Push(all(items)),
        Reply::Set(items) | Reply::Push(items) => Reply::Array(all(items)),
        Reply::Map(pairs) if resp3 => Reply::Map(
            pairs
                .iter()
                .map(|(key, value)| (through(key, protocol), through(value, protocol)))
                .collect(),
        ),
        Reply::Pairs(pairs) if resp3 => Reply::Array(
            pairs
                .iter()
                .map(|(first, second)| {
                    Reply::Array(vec![through(first, protocol), through(second, protocol)])
                })
                .collect(),
        ),
        Reply::Map(pairs) | Reply::Pairs(pairs) => flat(pairs),
        Reply::Double(value) if !resp3 => {
            // Checked for its number; its text has tests of its own.
            let mut bytes = Vec::new();
            encode(&Reply::Double(*value), Protocol::Resp2, &mut bytes);
            let text = bytes
                .split(|byte| *byte == b'\n')
                .nth(1)
                .unwrap_or_default();
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let read: f64 = String::from_utf8_lossy(text).parse().unwrap_or(f64::NAN);
            assert_eq!(read, *value);
            Reply::bulk(text)
        }
        Reply::Bool(value) if !resp3 => Reply::Int(i64::from(*value)),
        Reply::BigNumber(text) if !resp3 => Reply::Bulk(text.clone()),
        Reply::Verbatim(_, text) if !resp3 => Reply::Bulk(text.clone()),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn commands_survive_any_cut(commands in commands(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let bytes = multibulk(&commands);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(receive(&bytes, &cuts), (commands, false));
    }

    #[test]
    fn a_cut_at_every_byte_changes_nothing(commands in commands()) {
        let mut bytes = multibulk(&commands);
        bytes.extend_from_slice(b"\r\nSET 'a b' \"\\x00\"\r\nPING\n*0\r\n*1\r\n$4\r\nQUIT\r\n");
        let every: Vec<usize> = (0..bytes.len()).collect();
        let whole = receive(&bytes, &[]);
        prop_assert_eq!(whole.0.len(), commands.len() + 3);
        prop_assert_eq!(receive(&bytes, &every), whole);
    }

    #[test]
    fn bytes_that_are_no_commands_end_the_same_however_cut(bytes in resp_like()) {
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(receive(&bytes, &every), receive(&bytes, &[]));
    }

    #[test]
    fn replies_survive(reply in reply()) {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut bytes = Vec::new();
            encode(&reply, protocol, &mut bytes);
            let len = bytes.len();
            prop_assert_eq!(
                decode_reply(&bytes),
                Ok(DecodedReply::Complete(through(&reply, protocol), len))
            );
            for end in 0..len {
                match decode_reply(&bytes[..end]) {
                    Ok(DecodedReply::Incomplete(need)) => prop_assert!(need > 0 && end + need <= len),
                    other => prop_assert!(false, "{end} of {len}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic_the_reply_decoder(bytes in resp_like()) {
        let _ = decode_reply(&bytes);
    }

    #[test]
    fn json_bodies_mean_what_a_json_parser_reads(args in proptest::collection::vec(any::<String>(), 1..12)) {
        let body = serde_json::to_vec(&args).unwrap_or_default();
        let command = Command::parse(&body);
        prop_assert!(command.is_ok());
        let Ok(command) = command else { return Ok(()) };
        let read: Vec<&[u8]> = command.argv().to_vec();
        prop_assert_eq!(read, args.iter().map(String::as_bytes).collect::<Vec<_>>());
    }

    #[test]
    fn bodies_are_accepted_only_if_they_are_json(body in json_like()) {
        let valid = serde_json::from_slice::<serde_json::Value>(&body).is_ok();
        if Command::parse(&body).is_ok() && std::str::from_utf8(&body).is_ok() {
            // Lone surrogates alone are JSON by grammar that a strict parser refuses.
            let has_surrogate = body.windows(4).any(|four| four == b"\\ud8" || four == b"\\ude");
            prop_assert!(valid || has_surrogate);
        }
        if let Ok(batch) = Batch::parse(&body) {
            prop_assert!(batch.iter().all(|argv| !argv.is_empty()));
        }
    }

    #[test]
    fn paths_never_panic_and_escapes_round_trip(
        path in "[/a-c%+0-9é]{0,20}",
        query in "[a-c%+&=_0-9]{0,20}",
        args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..12), 1..6),
    ) {
        let _ = PathCommand::parse(&path, Some(&query), b"");
        let _ = query_token(&query);
        let escaped: String = args
            .iter()
            .flat_map(|arg| std::iter::once("/".to_owned()).chain(arg.iter().map(|byte| format!("%{byte:02x}"))))
            .collect();
        let command = PathCommand::parse(&escaped, None, b"");
        prop_assert!(command.is_ok());
        let Ok(command) = command else { return Ok(()) };
        prop_assert_eq!(command.argv().to_vec(), args.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn every_reply_is_valid_json_in_both_encodings(reply in reply()) {
        for encoding in [Encoding::Plain, Encoding::Base64] {
            let mut out = Vec::new();
            write_reply(&reply, encoding, &mut out);
            let value: Result<serde_json::Value, _> = serde_json::from_slice(&out);
            prop_assert!(value.is_ok(), "{}", String::from_utf8_lossy(&out));
            prop_assert_eq!(value.unwrap_or_default().get("error").is_some(), reply.is_error());
        }
    }
}
