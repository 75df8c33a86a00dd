use super::*;
use crate::effect::Effects;

const NOW: u64 = 1_700_000_000_000;

fn id(millis: u64, tail: u64) -> RequestId {
    let text = format!(
        "{:08x}-{:04x}-7000-8000-{tail:012x}",
        millis >> 16,
        millis & 0xffff
    );
    RequestId::parse(text.as_bytes()).unwrap()
}

fn incr(id: RequestId) -> Request {
    Request::command(id, &[b"INCR", b"n"])
}

fn encoded(reply: &Reply) -> Option<Vec<u8>> {
    let mut encoder = encoded::Encoder::new(REPLY_BYTES);
    encoder.push(reply);
    encoder.finish()
}

fn answer(requests: &mut Requests, once: Once, reply: &Reply, seq: u64) {
    let remembered = requests.keep(once, encoded(reply));
    requests.insert(remembered, Seq(seq), NOW, usize::MAX);
}

fn small(replies: usize, bytes: usize) -> Requests {
    Requests {
        bounds: Bounds {
            replies,
            bytes,
            id_bytes: 100,
        },
        ..Requests::default()
    }
}

fn recall(requests: &Requests, id: RequestId) -> Result<Option<Reply>, RequestRefusal> {
    requests.recall(incr(id).at(0), NOW)
}

#[test]
fn a_reply_is_found_again_for_the_same_request_only() {
    let mut requests = Requests::default();
    let first = id(NOW, 1);
    assert_eq!(recall(&requests, first), Ok(None));
    answer(&mut requests, incr(first).at(0), &Reply::Int(7), 1);
    assert_eq!(recall(&requests, first), Ok(Some(Reply::Int(7))));
    assert_eq!(recall(&requests, id(NOW, 2)), Ok(None));
    let other = Request::command(first, &[b"INCR", b"m"]);
    assert_eq!(
        requests.recall(other.at(0), NOW),
        Err(RequestRefusal::Another(first))
    );
    let pipeline = Request::pipeline(id(NOW, 3), [["INCR", "n"], ["INCR", "n"]]);
    answer(&mut requests, pipeline.at(1), &Reply::Int(9), 3);
    assert_eq!(requests.recall(pipeline.at(0), NOW), Ok(None));
    answer(&mut requests, pipeline.at(0), &Reply::Int(8), 2);
    for (place, number) in [(0, 8), (1, 9)] {
        let reply = requests.recall(pipeline.at(place), NOW);
        assert_eq!(reply, Ok(Some(Reply::Int(number))));
    }
    let many = Request::pipeline(id(NOW, 4), vec![["PING"]; COMMANDS + 1]);
    assert_eq!(requests.admit(&many, NOW), Err(RequestRefusal::TooMany));
}

#[test]
fn the_window_is_open_on_both_sides_up_to_its_bounds() {
    let mut requests = Requests::default();
    let edges = [NOW - WINDOW_MS, NOW + WINDOW_MS].map(|millis| id(millis, 1));
    for edge in edges {
        assert_eq!(recall(&requests, edge), Ok(None));
    }
    let old = id(NOW - WINDOW_MS - 1, 1);
    assert_eq!(recall(&requests, old), Err(RequestRefusal::Old(old)));
    let ahead = id(NOW + WINDOW_MS + 1, 1);
    assert_eq!(recall(&requests, ahead), Err(RequestRefusal::Ahead(ahead)));
    // What is remembered answers beyond it.
    answer(&mut requests, incr(edges[0]).at(0), &Reply::Int(1), 1);
    let once = incr(edges[0]).at(0);
    let later = requests.recall(once, NOW + 1000);
    assert_eq!(later, Ok(Some(Reply::Int(1))));
    // It goes then, and does not run again when the clock is set back.
    requests.prune(NOW + 1, 10);
    assert_eq!(requests.bytes(), 0);
    assert_eq!(
        requests.recall(once, NOW - WINDOW_MS),
        Err(RequestRefusal::Old(edges[0]))
    );
    assert_eq!(recall(&requests, id(NOW - WINDOW_MS, 2)), Ok(None));
}

#[test]
fn what_went_for_a_bound_is_refused() {
    for mut requests in [
        small(3, usize::MAX),
        small(100, 3 * (ID_COST + REPLY_COST + 9)),
    ] {
        // The oldest by their ids go, whatever came first.
        for n in [5, 1, 4, 2, 3, 6] {
            let seq = n;
            answer(
                &mut requests,
                incr(id(NOW, n)).at(0),
                &Reply::Int(n as i64),
                seq,
            );
        }
        assert_eq!(requests.replies, 3);
        for n in 1..=3 {
            let refused = Err(RequestRefusal::Old(id(NOW, n)));
            assert_eq!(recall(&requests, id(NOW, n)), refused);
        }
        let before = id(NOW - 1, 9);
        assert_eq!(recall(&requests, before), Err(RequestRefusal::Old(before)));
        for n in 4..=6 {
            assert_eq!(
                recall(&requests, id(NOW, n)),
                Ok(Some(Reply::Int(n as i64)))
            );
        }
        assert_eq!(recall(&requests, id(NOW, 7)), Ok(None));
        while requests.drop_oldest() {}
        assert_eq!((requests.bytes(), requests.replies), (0, 0));
    }
    // A part of `maxmemory` bounds too.
    let mut requests = Requests::default();
    let remembered = requests.keep(incr(id(NOW, 1)).at(0), None);
    requests.insert(remembered, Seq(1), NOW, 10);
    assert_eq!(requests.bytes(), 0);
    assert!(recall(&requests, id(NOW, 1)).is_err());
}

#[test]
fn an_id_goes_with_all_its_replies() {
    let mut requests = small(3, usize::MAX);
    let pipeline = Request::pipeline(id(NOW, 1), vec![["INCR", "n"]; 3]);
    for place in 0..3 {
        answer(&mut requests, pipeline.at(place), &Reply::Int(1), 1);
    }
    answer(&mut requests, incr(id(NOW, 2)).at(0), &Reply::Int(4), 2);
    assert_eq!(requests.replies, 1);
    let refused = RequestRefusal::Old(id(NOW, 1));
    assert_eq!(requests.recall(pipeline.at(2), NOW), Err(refused));
}

#[test]
fn a_large_reply_is_only_known_to_have_been() {
    let mut requests = small(100, usize::MAX);
    let large = Reply::bulk("x".repeat(60));
    let pipeline = Request::pipeline(id(NOW, 1), vec![["GETDEL", "n"]; 3]);
    for place in 0..2 {
        answer(&mut requests, pipeline.at(place), &large, 1);
    }
    answer(&mut requests, pipeline.at(2), &Reply::Null, 1);
    let told = |place| requests.recall(pipeline.at(place), NOW).unwrap().unwrap();
    assert_eq!(told(0), large);
    assert_eq!(
        told(1),
        Reply::error("ERR this request was applied; its reply is too large to be kept")
    );
    assert_eq!(told(2), Reply::Null);
    assert!(encoded(&Reply::bulk("x".repeat(REPLY_BYTES))).is_none());
}

/// What a snapshot brings back.
fn through_snapshot(requests: &Requests, cut: u64) -> (Requests, usize) {
    let mut restored = Requests::default();
    let (mut place, mut pieces) = (Place::default(), 0);
    while let Some(block) = requests.piece(&mut place, Seq(cut)) {
        assert!(is_block(&block));
        restored.restore(&block, Seq(cut)).unwrap();
        pieces += 1;
    }
    (restored, pieces)
}

#[test]
fn a_snapshot_has_what_was_there_at_its_cut() {
    let (nothing, pieces) = through_snapshot(&Requests::default(), 9);
    assert_eq!((nothing.replies, pieces), (0, 0));

    let mut requests = small(1000, usize::MAX);
    for n in 0..1100 {
        let once = incr(id(NOW, n)).at(0);
        let remembered = requests.keep(once, encoded(&Reply::bulk("x".repeat(90))));
        requests.insert(remembered, Seq(n), NOW, usize::MAX);
    }
    let (restored, pieces) = through_snapshot(&requests, 1049);
    assert!(pieces > 1);
    for n in 0..1100 {
        let (was, is) = (recall(&requests, id(NOW, n)), recall(&restored, id(NOW, n)));
        match n {
            0..100 => assert_eq!(is, Err(RequestRefusal::Old(id(NOW, n)))),
            100..1050 => assert_eq!(is, was),
            _ => assert_eq!(is, Ok(None), "it came behind the cut"),
        }
    }
    let bytes: usize = restored.kept.values().map(|entry| entry.bytes).sum();
    let replies = restored.kept.values().map(|entry| entry.replies.len());
    assert_eq!(replies.sum::<usize>(), 950);
    assert_eq!(restored.bytes(), bytes + 950 * (ID_COST + REPLY_COST));

    // Nothing is left but that ids went.
    while requests.drop_oldest() {}
    let (restored, pieces) = through_snapshot(&requests, 2000);
    assert_eq!(pieces, 1);
    assert!(recall(&restored, id(NOW, 1099)).is_err());
    assert_eq!(recall(&restored, id(NOW, 1100)), Ok(None));
}

#[test]
fn what_went_while_a_snapshot_was_made_is_refused_after_it() {
    let mut requests = Requests::default();
    for n in 0..2000 {
        answer(&mut requests, incr(id(NOW, n)).at(0), &Reply::Int(1), n);
    }
    let mut restored = Requests::default();
    let mut place = Place::default();
    let first = requests.piece(&mut place, Seq(5000)).unwrap();
    restored.restore(&first, Seq(5000)).unwrap();
    while requests.kept.len() > 10 {
        requests.drop_oldest();
    }
    while let Some(block) = requests.piece(&mut place, Seq(5000)) {
        restored.restore(&block, Seq(5000)).unwrap();
    }
    for n in 0..2000 {
        assert_ne!(recall(&restored, id(NOW, n)), Ok(None), "{n}");
    }
}

#[test]
fn malformed_effects_are_refused() {
    let good = incr(id(NOW, 1)).at(0);
    let mut effects = Effects::default();
    push(
        &Requests::default().keep(good, encoded(&Reply::Int(1))),
        &mut effects,
    );
    let argv: Vec<Vec<u8>> = effects
        .iter()
        .next()
        .unwrap()
        .iter()
        .map(|arg| arg.to_vec())
        .collect();
    let replay = |argv: &[Vec<u8>]| {
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        assert!(is_remembered(&argv));
        let mut requests = Requests::default();
        requests.replay(&argv, Seq(1), NOW, usize::MAX)
    };
    assert_eq!(replay(&argv), Ok(()));
    for at in 1..5 {
        let mut other = argv.clone();
        other[at].push(0);
        assert!(replay(&other).is_err(), "{at}");
        assert!(replay(&argv[..at]).is_err(), "{at}");
    }
    let mut other = argv.clone();
    other[1][6] = 0x40;
    assert!(replay(&other).is_err(), "another version of UUID");
    let mut requests = Requests::default();
    let mut block = vec![0; 16];
    block.extend(effects.as_bytes());
    assert_eq!(requests.restore(&block, Seq(1)), Ok(()));
    for bad in [&block[..15], &block[..block.len() - 1]] {
        assert!(!is_block(bad));
        assert!(requests.restore(bad, Seq(1)).is_err());
    }
    block[0] = 1;
    assert!(
        requests.restore(&block, Seq(1)).is_err(),
        "no id was dropped"
    );
    let mut set = Effects::default();
    set.push(&[b"SET", b"a", b"b"]);
    let block = [&[0; 16], set.as_bytes()].concat();
    assert!(requests.restore(&block, Seq(1)).is_err());
}
