//! Requests with ids: a repeat writes nothing, whatever lies between the two.

use sangam_engine::journal::Fsync;
use sangam_engine::journal::storage::{Faults, FaultyStorage};
use sangam_engine::keyspace::requests::{Request, RequestId, WINDOW_MS};
use sangam_engine::keyspace::{Class, Durability};
use sangam_engine::random::Random;
use sangam_engine::{Reply, Seq};

use super::{Life, Manner, START_US, show};

const NOW_MS: u64 = START_US / 1000;

fn id_at(millis: u64, number: u64) -> RequestId {
    let (high, low) = (millis >> 16, millis & 0xffff);
    let text = format!("{high:08x}-{low:04x}-7000-8000-{number:012x}");
    RequestId::parse(text.as_bytes()).unwrap()
}

fn id(number: u64) -> RequestId {
    id_at(NOW_MS, number)
}

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

/// An attempt that answers what there is room for.
fn attempt(life: &mut Life, id: RequestId, line: &str, fits: bool) -> (Reply, Seq, bool) {
    let argv = words(line);
    let keyspace = life.session.keyspace().unwrap().clone();
    let mut batch = life.engine.try_batch(&keyspace).unwrap();
    let once = Request::command(id, &argv).at(0);
    let reply = batch.run_once(&mut life.session, &argv, Some(&once), 0, &mut |_| fits);
    (reply, batch.seq(), batch.wrote())
}

/// A command, durable when this returns.
fn ask(life: &mut Life, id: RequestId, line: &str) -> String {
    let (reply, seq, _) = attempt(life, id, line, true);
    life.engine.durable_blocking(seq).unwrap();
    show(&reply)
}

fn try_transaction(life: &mut Life, id: RequestId, lines: &[&str], fits: bool) -> Vec<String> {
    let unit: Vec<Vec<&[u8]>> = lines.iter().map(|line| words(line)).collect();
    let keyspace = life.session.keyspace().unwrap().clone();
    let mut batch = life.engine.try_batch(&keyspace).unwrap();
    let request = Request::transaction(id, &unit);
    let mut replies = Vec::new();
    let outcome = batch.transaction_once(&mut life.session, &unit, Some(&request), &mut |reply| {
        replies.push(show(reply));
        fits
    });
    let seq = batch.seq();
    drop(batch);
    life.engine.durable_blocking(seq).unwrap();
    match outcome {
        Ok(()) => replies,
        Err(refusal) => vec![show(&refusal)],
    }
}

fn transaction(life: &mut Life, id: RequestId, lines: &[&str]) -> Vec<String> {
    try_transaction(life, id, lines, true)
}

/// All of them in turn; a pipeline is no unit.
fn pipeline(life: &mut Life, id: RequestId, lines: &[&str]) -> Vec<String> {
    let commands: Vec<Vec<&[u8]>> = lines.iter().map(|line| words(line)).collect();
    let request = Request::pipeline(id, &commands);
    let keyspace = life.session.keyspace().unwrap().clone();
    let mut batch = life.engine.try_batch(&keyspace).unwrap();
    if let Err(refusal) = batch.admit_request(&request) {
        return vec![show(&refusal)];
    }
    let mut replies = Vec::new();
    for (place, argv) in commands.iter().enumerate() {
        let once = Some(request.at(place));
        let reply = batch.run_once(
            &mut life.session,
            argv,
            once.as_ref(),
            usize::MAX,
            &mut |_| true,
        );
        replies.push(show(&reply));
    }
    let seq = batch.seq();
    drop(batch);
    life.engine.durable_blocking(seq).unwrap();
    replies
}

const COMMANDS: [(&str, &str); 9] = [
    ("INCR n", "1"),
    ("RPUSH list a b c", "3"),
    ("LPOP list", "a"),
    ("SET text new GET", "nil"),
    ("EVAL return{redis.call('INCR','n'),'two'} 0", "2 two"),
    ("INCRBYFLOAT n 0.5", "2.5"),
    ("SPOP list", "WRONGTYPE"),
    ("SADD set one", "1"),
    ("GETDEL text", "new"),
];

fn ask_all(life: &mut Life) {
    for (number, (line, expected)) in COMMANDS.iter().enumerate() {
        let reply = ask(life, id(number as u64), line);
        assert!(reply.starts_with(expected), "{line}: {reply}");
    }
    let unit = ["INCR n2", "GET n2", "HGET n2 f", "LPOP list"];
    let replies = transaction(life, id(100), &unit);
    assert_eq!(replies[..2], ["1", "1"]);
    assert!(replies[2].starts_with("WRONGTYPE") && replies[3] == "b");
}

fn nothing_more_was_written(life: &mut Life) {
    let mut say = |line: &str| life.say(line);
    assert_eq!(say("GET n"), "2.5");
    assert_eq!(say("GET n2"), "1");
    assert_eq!(say("GET text"), "nil");
    let Reply::Array(left) = life.call("LRANGE list 0 -1").0.unpacked() else {
        panic!("LRANGE")
    };
    assert_eq!(left, [Reply::bulk("c")]);
}

#[test]
fn a_repeat_is_answered_over_crashes_and_snapshots() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    ask_all(&mut life);
    for saved in [false, true, true, false] {
        if saved {
            life.engine.save().unwrap();
        }
        let storage = if saved { life.close() } else { life.crash(3) };
        life = Manner::default().open(&storage);
        assert_eq!(saved, saved && life.opened.snapshot.is_some());
        ask_all(&mut life);
        nothing_more_was_written(&mut life);
    }
    assert_eq!(life.say("FLUSHALL"), "OK");
    assert_eq!(ask(&mut life, id(0), "INCR n"), "1");
    assert_eq!(life.say("DBSIZE"), "0", "it was not run for all that");
}

#[test]
fn the_rest_of_a_pipeline_runs() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    let lines = ["INCR n", "GET n", "NOPE", "RPUSH list x", "INCR n"];
    let commands: Vec<Vec<&[u8]>> = lines.iter().map(|line| words(line)).collect();
    let request = Request::pipeline(id(1), &commands);
    let keyspace = life.session.keyspace().unwrap().clone();
    let mut batch = life.engine.try_batch(&keyspace).unwrap();
    for (place, argv) in commands.iter().enumerate().take(2) {
        let once = Some(request.at(place));
        batch.run_once(
            &mut life.session,
            argv,
            once.as_ref(),
            usize::MAX,
            &mut |_| true,
        );
    }
    let seq = batch.seq();
    drop(batch);
    life.engine.durable_blocking(seq).unwrap();
    life = Manner::default().open(&life.crash(1));
    life.commit("SET other 1");
    let replies = pipeline(&mut life, id(1), &lines);
    assert!(replies[2].starts_with("ERR unknown command"));
    assert_eq!(
        [&replies[..2], &replies[3..]].concat(),
        ["1", "1", "1", "2"]
    );
    let replies = pipeline(&mut life, id(1), &lines);
    // The read is a read.
    assert_eq!(
        [&replies[..2], &replies[3..]].concat(),
        ["1", "2", "1", "2"]
    );
}

#[test]
fn what_changed_nothing_is_answered_the_same_in_this_life() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET lock other");
    let first = [
        "SET lock mine NX",
        "LPOP queue",
        "INCR lock",
        "SETNX lock a",
    ];
    let mut told = Vec::new();
    for (number, line) in first.iter().enumerate() {
        told.push(ask(&mut life, id(number as u64), line));
    }
    assert_eq!(told[..2], ["nil", "nil"]);
    let seq = life.engine.journal().unwrap().last();
    life.commit("DEL lock");
    life.commit("RPUSH queue job");
    for (number, line) in first.iter().enumerate() {
        assert_eq!(ask(&mut life, id(number as u64), line), told[number]);
    }
    let written = life.engine.journal().unwrap().last().0 - seq.0;
    assert_eq!(written, 2, "they have no frames");
    // A crash forgets that they were asked: now is the first time for them.
    life = Manner::default().open(&life.crash(1));
    assert_eq!(ask(&mut life, id(0), first[0]), "OK");
    assert_eq!(ask(&mut life, id(1), first[1]), "job");
    assert_eq!(ask(&mut life, id(1), first[1]), "job");
}

#[test]
fn what_is_undone_or_never_ran_is_not_remembered() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET k value");
    for _ in 0..2 {
        let (reply, _, wrote) = attempt(&mut life, id(1), "GETDEL k", false);
        assert_eq!((show(&reply).as_str(), wrote), ("value", false));
    }
    assert_eq!(ask(&mut life, id(1), "GETDEL k"), "value");
    assert_eq!(life.say("EXISTS k"), "0");
    assert_eq!(ask(&mut life, id(1), "GETDEL k"), "value");

    let unit = ["INCR n", "INCR n"];
    let refused = try_transaction(&mut life, id(2), &unit, false);
    assert!(refused[0].starts_with("EXECABORT"), "{refused:?}");
    assert_eq!(life.say("EXISTS n"), "0");
    assert_eq!(transaction(&mut life, id(2), &unit), ["1", "2"]);
    // It was applied, so nothing is said of having been undone.
    let refused = try_transaction(&mut life, id(2), &unit, false);
    assert!(refused[0].starts_with("ERR this request was applied"));

    life.commit("CONFIG SET maxmemory 1");
    let full = ask(&mut life, id(3), "SET big x");
    assert!(full.starts_with("OOM"), "{full}");
    life.commit("CONFIG SET maxmemory 0");
    assert_eq!(ask(&mut life, id(3), "SET big x"), "OK");

    // A script that fails over REST is undone, and its error is its reply.
    let mut rest = life.engine.rest_session();
    rest.set_principal(life.session.principal().cloned());
    life.session = rest;
    let script = "EVAL redis.call('SET','s',1)error('no') 0";
    let first = ask(&mut life, id(4), script);
    assert!(first.contains("no"), "{first}");
    assert_eq!(life.say("EXISTS s"), "0");
    assert_eq!(ask(&mut life, id(4), script), first);
}

#[test]
fn an_id_is_good_for_one_request_in_its_window() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    assert_eq!(ask(&mut life, id(1), "INCR n"), "1");
    for other in ["INCR m", "incr n"] {
        let refusal = ask(&mut life, id(1), other);
        let expected = format!(
            "ERR request id {} was used for another request; nothing was run",
            id(1)
        );
        assert_eq!(refusal, expected);
    }
    assert!(pipeline(&mut life, id(1), &["INCR n"])[0].contains("another request"));
    assert!(transaction(&mut life, id(1), &["INCR n"])[0].contains("another request"));
    let ahead = id_at(NOW_MS + WINDOW_MS + 1, 1);
    let old = id_at(NOW_MS - WINDOW_MS - 1, 1);
    for (id, word) in [
        (ahead, "300 s ahead of"),
        (old, "older than the window of 300 s"),
    ] {
        for lines in [&["SET a 1"][..], &["GET a", "SET a 1"]] {
            let refusals = [
                ask(&mut life, id, lines[0]),
                transaction(&mut life, id, lines).concat(),
                pipeline(&mut life, id, lines).concat(),
            ];
            let told = refusals.iter().filter(|refusal| refusal.contains(word));
            let is_read = usize::from(lines[0] == "GET a");
            assert_eq!(told.count() + is_read, 3, "{refusals:?}");
        }
    }
    assert_eq!(life.say("EXISTS a"), "0");
    assert_eq!(life.say("GET n"), "1");

    // Forgotten with the window, which the id says itself; over a restart too.
    life.clock.advance_millis(WINDOW_MS + 1000);
    life.engine.tick();
    assert!(ask(&mut life, id(1), "INCR n").contains("older than"));
    life.engine.save().unwrap();
    // The clock is set back, and the server started again.
    life = Manner::default().open(&life.close());
    assert!(ask(&mut life, id(1), "INCR n").contains("older than"));
    assert_eq!(ask(&mut life, id(2), "INCR n"), "2");
}

#[test]
fn no_client_can_say_what_was_answered() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    let line = "SANGAM.REQUEST 0123456789abcdef 0000 00000000 x";
    assert!(life.say(line).starts_with("ERR unknown command"));
    let script = "EVAL return(redis.pcall('SANGAM.REQUEST','a','b','c','d')) 0";
    assert!(life.say(script).contains("Unknown Redis command"));
    life.commit("MULTI");
    assert!(life.say(line).starts_with("ERR unknown command"));
    assert!(life.say("EXEC").starts_with("EXECABORT"));
}

#[test]
fn what_is_remembered_counts_as_memory() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    let keyspace = life.session.keyspace().unwrap().clone();
    let used = |life: &Life| life.engine.try_batch(&keyspace).unwrap().db().used_memory();
    life.commit("SET n 1");
    let before = used(&life);
    for number in 0..100 {
        ask(&mut life, id(number), "GETSET n 1");
    }
    assert!(used(&life) > before + 100 * 100);
    life.clock.advance_millis(2 * WINDOW_MS);
    life.engine.tick();
    assert_eq!(used(&life), before);
}

#[test]
fn a_repeat_fares_as_the_first_where_the_journal_fails() {
    for seed in 0..8 {
        let mut life = Manner::default().open(&FaultyStorage::new());
        life.commit("SET n 1");
        life.fail(Faults {
            sync_error: Some(1),
            ..Faults::default()
        });
        for _ in 0..2 {
            let (reply, seq, wrote) = attempt(&mut life, id(1), "INCR n", true);
            assert_eq!(reply, Reply::Int(2));
            assert!(wrote, "else nobody would be told that it may be lost");
            assert!(life.engine.must_wait(seq));
            assert!(life.engine.durable_blocking(seq).is_err());
        }
        // The write and its id are there, or neither.
        let mut next = Manner::default().open(&life.crash(seed));
        assert_eq!(ask(&mut next, id(1), "INCR n"), "2");
        assert_eq!(next.say("GET n"), "2");
    }
}

#[test]
fn ids_keep_what_the_class_of_their_keyspace_keeps() {
    let class = |durability| Class {
        durability,
        evictable: false,
    };
    let mut life = Manner::default().open(&FaultyStorage::new());
    for (name, durability) in [("latest", Durability::Latest), ("none", Durability::None)] {
        life.enter(name, class(durability));
        assert_eq!(ask(&mut life, id(1), "INCR n"), "1");
        assert_eq!(ask(&mut life, id(1), "INCR n"), "1");
    }
    life.engine.tick();
    for saved in [false, true] {
        if saved {
            life.engine.save().unwrap();
        }
        life = Manner::default().open(&life.close());
        life.enter("latest", class(Durability::Latest));
        assert_eq!(ask(&mut life, id(1), "INCR n"), "1");
        assert_eq!(life.say("GET n"), "1");
        life.enter("none", class(Durability::None));
        assert_eq!(life.say("GET n"), "nil");
        assert_eq!(ask(&mut life, id(1), "INCR n"), "1", "with the data");
    }
}

/// What one request writes: its tags, at the end of the list `log`.
struct Sent {
    id: RequestId,
    form: usize,
    tags: [String; 2],
}

impl Sent {
    /// An attempt; the replies are the places of the tags in the list.
    fn send(&self, life: &mut Life) -> Vec<String> {
        let [one, other] = &self.tags;
        let lines = [format!("RPUSH log {one}"), format!("RPUSH log {other}")];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        match self.form {
            0 => vec![show(&attempt(life, self.id, lines[0], true).0)],
            1 => {
                let read = [lines[0], "LLEN log", lines[1]];
                let mut replies = pipeline_at_once(life, self.id, &read);
                replies.remove(1);
                replies
            }
            2 => {
                let unit: Vec<Vec<&[u8]>> = lines.iter().map(|line| words(line)).collect();
                let keyspace = life.session.keyspace().unwrap().clone();
                let mut batch = life.engine.try_batch(&keyspace).unwrap();
                let request = Request::transaction(self.id, &unit);
                let mut replies = Vec::new();
                let each = &mut |reply: &Reply| {
                    replies.push(show(reply));
                    true
                };
                let outcome =
                    batch.transaction_once(&mut life.session, &unit, Some(&request), each);
                outcome.unwrap();
                replies
            }
            _ => {
                let script = format!(
                    "EVAL return{{redis.call('RPUSH','log',ARGV[1]),redis.call('RPUSH','log',\
                     ARGV[2])}} 0 {one} {other}"
                );
                let reply = show(&attempt(life, self.id, &script, true).0);
                reply.split(' ').map(str::to_owned).collect()
            }
        }
    }

    fn tags(&self) -> &[String] {
        let count = if self.form == 0 { 1 } else { 2 };
        &self.tags[..count]
    }
}

fn pipeline_at_once(life: &mut Life, id: RequestId, lines: &[&str]) -> Vec<String> {
    let commands: Vec<Vec<&[u8]>> = lines.iter().map(|line| words(line)).collect();
    let request = Request::pipeline(id, &commands);
    let keyspace = life.session.keyspace().unwrap().clone();
    let mut batch = life.engine.try_batch(&keyspace).unwrap();
    let mut replies = Vec::new();
    for (place, argv) in commands.iter().enumerate() {
        let once = Some(request.at(place));
        let reply = batch.run_once(
            &mut life.session,
            argv,
            once.as_ref(),
            usize::MAX,
            &mut |_| true,
        );
        replies.push(show(&reply));
    }
    replies
}

/// Random requests are repeated at random over crashes and snapshots, of
/// journals that lose what was not synced. At any time the list has each tag at
/// most once, where its reply says; in the end exactly once.
#[test]
fn each_write_is_applied_exactly_once() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let fsync = [Fsync::Always, Fsync::EverySecond, Fsync::No][random.below(3)];
        let manner = Manner {
            segment_size: 2048,
            ..Manner::of(fsync)
        };
        let mut life = manner.open(&FaultyStorage::new());
        let mut sent: Vec<Sent> = Vec::new();
        for step in 0..600 {
            match random.below(40) {
                0 => {
                    life = if random.below(2) == 0 {
                        let storage = life.storage.crash(step);
                        drop(life);
                        manner.open(&storage)
                    } else {
                        manner.open(&life.close())
                    };
                }
                1 => drop(life.engine.save().unwrap()),
                2 => {
                    let seq = life.engine.journal().unwrap().last();
                    life.engine.journal().unwrap().request_sync();
                    life.engine.durable_blocking(seq).unwrap();
                }
                3 => {
                    life.engine.tick();
                }
                4..20 => sent.push(Sent {
                    id: id_at(NOW_MS - random.below(1000) as u64, step),
                    form: random.below(4),
                    tags: [format!("{step}a"), format!("{step}b")],
                }),
                _ => {}
            }
            if sent.is_empty() {
                continue;
            }
            let newest = sent.len() - 1;
            let which = if random.below(2) == 0 {
                newest
            } else {
                random.below(sent.len())
            };
            check(&mut life, &sent[which], seed);
        }
        for one in &sent {
            check(&mut life, one, seed);
        }
        let Reply::Array(log) = life.call("LRANGE log 0 -1").0.unpacked() else {
            panic!("LRANGE")
        };
        let mut log: Vec<String> = log.iter().map(show).collect();
        let mut expected: Vec<String> = sent.iter().flat_map(|one| one.tags().to_vec()).collect();
        log.sort();
        expected.sort();
        assert_eq!(log, expected, "seed {seed}");
    }
}

fn check(life: &mut Life, sent: &Sent, seed: u64) {
    let replies = sent.send(life);
    assert_eq!(replies.len(), sent.tags().len(), "{replies:?}");
    for (reply, tag) in replies.iter().zip(sent.tags()) {
        let place: usize = reply.parse().unwrap_or_else(|_| panic!("{seed}: {reply}"));
        let there = life.say(&format!("LINDEX log {}", place - 1));
        assert_eq!(&there, tag, "seed {seed}");
    }
}

#[test]
fn attempts_at_the_same_time_write_once() {
    let mut life = Manner::of(Fsync::No).open(&FaultyStorage::new());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let engine = life.engine.clone();
            std::thread::spawn(move || {
                let mut session = engine.session();
                let keyspace = session.keyspace().unwrap().clone();
                let mut replies = Vec::new();
                for number in 0..300 {
                    let argv = words("INCR n");
                    let once = Request::command(id(number), &argv).at(0);
                    let mut batch = loop {
                        match engine.try_batch(&keyspace) {
                            Some(batch) => break batch,
                            None => std::thread::yield_now(),
                        }
                    };
                    let accept = &mut |_: &Reply| true;
                    replies.push(batch.run_once(&mut session, &argv, Some(&once), 99, accept));
                }
                replies
            })
        })
        .collect();
    let all: Vec<Vec<Reply>> = threads.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(all.iter().all(|replies| *replies == all[0]));
    assert_eq!(life.say("GET n"), "300");
}
