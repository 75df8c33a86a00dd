//! RESP from both sides: requests that are cut anywhere decode as they do
//! whole, replies that decode encode and decode again to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_wire::Argv;
use sangam_wire::resp::{Decoded, DecodedReply, Decoder, Protocol, decode_reply, encode};

fuzz_target!(|input: (bool, Vec<u16>, Vec<u8>)| {
    let (authenticated, cuts, bytes) = input;
    let whole = receive(&bytes, &[], authenticated);
    assert_eq!(receive(&bytes, &cuts, authenticated), whole);

    if let Ok(DecodedReply::Complete(reply, _)) = decode_reply(&bytes) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        encode(&reply, Protocol::Resp3, &mut first);
        let Ok(DecodedReply::Complete(again, len)) = decode_reply(&first) else {
            panic!("what was encoded does not decode");
        };
        assert_eq!(len, first.len());
        encode(&again, Protocol::Resp3, &mut second);
        assert_eq!(first, second);
    }
});

fn receive(bytes: &[u8], cuts: &[u16], authenticated: bool) -> (Vec<Vec<Vec<u8>>>, bool) {
    let (mut decoder, mut buf, mut commands) = (Decoder::new(), Vec::new(), Vec::new());
    let mut rest = bytes;
    let mut cuts = cuts.iter();
    loop {
        let take = cuts
            .next()
            .map_or(rest.len(), |cut| usize::from(*cut).min(rest.len()));
        let (piece, tail) = rest.split_at(take);
        buf.extend_from_slice(piece);
        rest = tail;
        let mut front = 0;
        loop {
            let mut argv = Argv::new();
            match decoder.decode(&buf[front..], authenticated, &mut argv) {
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
        if rest.is_empty() {
            return (commands, false);
        }
    }
}
