//! The log's decoder: any bytes are frames or they are not, what is taken for a
//! frame seals to the same bytes again, and what is behind a stop is searched
//! without panic. Every second input gets its checksums made right first, so
//! that the fuzzer sees what lies behind them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_engine::Seq;
use sangam_engine::journal::LogId;
use sangam_engine::journal::frame;
use sangam_engine::journal::scan::{Frames, Stop};
use sangam_engine::journal::segment::{SEGMENT_HEADER, SegmentHeader};

const SALT: u64 = 7;

fuzz_target!(|input: (bool, u64, Vec<u8>)| {
    let (sealed, first, mut body) = input;
    if sealed {
        let mut at = 0;
        while let Some(frame) = body.get_mut(at..) {
            match frame::seal(frame, SALT, Seq(first)) {
                Some(size) => at += size,
                None => break,
            }
        }
    }
    let header = SegmentHeader {
        log: LogId([1; 16]),
        first: Seq(first),
        made_ms: 0,
        salt: SALT,
    };
    let bytes = [&header.to_bytes()[..], &body].concat();
    assert_eq!(
        bytes.first_chunk().and_then(SegmentHeader::read),
        Some(header)
    );

    let mut frames = Frames::new(&bytes, &header);
    let mut expected = first;
    let mut reached = SEGMENT_HEADER;
    for (at, frame) in frames.by_ref() {
        assert_eq!((at, frame.seq), (reached, Seq(expected)));
        assert!(frame.is_well_formed());
        let size = frame::frame_size(frame.payload.len());
        reached = (reached + size).min(bytes.len());
        expected = expected.saturating_add(1);
    }
    assert_eq!(frames.offset(), reached);
    match frames.stop() {
        Stop::End => assert!(bytes[reached..].iter().all(|byte| *byte == 0)),
        Stop::Invalid => assert!(frame::read(&bytes[reached..], SALT).is_none()),
        Stop::Misplaced(_) => assert!(frame::read(&bytes[reached..], SALT).is_some()),
    }
    for (at, durable) in frames.witnesses() {
        let (frame, _) = frame::read(&bytes[at..], SALT).expect("a witness is a valid frame");
        assert_eq!(frame.durable, durable);
        assert!(durable >= frames.expected());
    }
});
