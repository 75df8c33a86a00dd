//! Each fault has its effect, and no other, between a client and a real
//! redis-server.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::ErrorKind;
use std::time::Duration;

use sangam_rig::proxy::{Cut, Direction, Fault, Proxy, Whom};
use sangam_rig::redis::{Answer, Client, Redis};
use tokio::time::{Instant, timeout};

/// Long enough for an answer that comes, short enough to wait for one that
/// must not.
const SILENCE: Duration = Duration::from_millis(150);

async fn start() -> (Redis, Proxy) {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    (redis, proxy)
}

async fn connect(proxy: &Proxy) -> Client {
    Client::connect(proxy.addr()).await.unwrap()
}

async fn ping(client: &mut Client) -> std::io::Result<Answer> {
    client.call(&["PING"]).await
}

fn pong() -> Answer {
    Answer::Status("PONG".to_owned())
}

/// Nothing is answered, and the connection stays.
async fn is_silent(client: &mut Client) -> bool {
    timeout(SILENCE, client.read()).await.is_err()
}

/// What reading ends with where the connection was reset.
async fn end_of(client: &mut Client) -> ErrorKind {
    timeout(Duration::from_secs(5), client.read())
        .await
        .unwrap()
        .unwrap_err()
        .kind()
}

#[tokio::test]
async fn without_faults_all_passes_and_is_counted() {
    let (redis, proxy) = start().await;
    let mut client = connect(&proxy).await;
    let large = vec![b'x'; 3_000_000];
    client
        .call(&[b"SET", b"k".as_slice(), &large])
        .await
        .unwrap();
    assert_eq!(
        client.call(&["GET", "k"]).await.unwrap(),
        Answer::Bulk(large.clone())
    );
    assert_eq!(redis.call(&["STRLEN", "k"]).await, Answer::Int(3_000_000));
    let counters = proxy.counters();
    assert_eq!(
        (counters.accepted, counters.open, counters.faults),
        (1, 1, 0)
    );
    assert!(counters.request_bytes > 3_000_000 && counters.reply_bytes > 3_000_000);
    drop(client);
    proxy
        .wait_for("the end", |counters| counters.open == 0)
        .await;
}

#[tokio::test]
async fn a_closed_port_refuses_and_opens_again() {
    let (_redis, proxy) = start().await;
    let mut open = connect(&proxy).await;
    assert_eq!(ping(&mut open).await.unwrap(), pong());
    proxy.stop_listening().await;
    let refused = Client::connect(proxy.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ping(&mut open).await.unwrap(), pong());
    proxy.listen_again().await;
    assert_eq!(ping(&mut connect(&proxy).await).await.unwrap(), pong());
}

#[tokio::test]
async fn refusing_strikes_the_next_connections_only() {
    let (_redis, proxy) = start().await;
    let mut open = connect(&proxy).await;
    assert_eq!(ping(&mut open).await.unwrap(), pong());
    proxy.fault(Fault::Refuse, Whom::Next(2));
    for _ in 0..2 {
        // The reset may come before or after connecting has succeeded.
        if let Ok(mut refused) = Client::connect(proxy.addr()).await {
            assert!(ping(&mut refused).await.is_err());
        }
    }
    assert_eq!(ping(&mut connect(&proxy).await).await.unwrap(), pong());
    assert_eq!(ping(&mut open).await.unwrap(), pong());
    assert_eq!(proxy.counters().faults, 2);
}

#[tokio::test]
async fn a_black_hole_takes_all_and_answers_nothing() {
    let (redis, proxy) = start().await;
    proxy.fault(Fault::BlackHole, Whom::All);
    let mut lost = connect(&proxy).await;
    lost.send(&["SET", "k", "v"]).await.unwrap();
    assert!(is_silent(&mut lost).await);
    proxy.clear();
    assert!(is_silent(&mut lost).await, "it stays one");
    assert_eq!(ping(&mut connect(&proxy).await).await.unwrap(), pong());
    assert_eq!(redis.call(&["EXISTS", "k"]).await, Answer::Int(0));
    assert_eq!(proxy.counters().faults, 1);
}

#[tokio::test]
async fn cutting_ends_all_that_are_open() {
    let (_redis, proxy) = start().await;
    for (how, kind) in [
        (Cut::Reset, ErrorKind::ConnectionReset),
        (Cut::Close, ErrorKind::UnexpectedEof),
    ] {
        let (mut one, mut other) = (connect(&proxy).await, connect(&proxy).await);
        ping(&mut one).await.unwrap();
        ping(&mut other).await.unwrap();
        proxy.cut(how);
        assert_eq!(end_of(&mut one).await, kind);
        assert_eq!(end_of(&mut other).await, kind);
        assert_eq!(ping(&mut connect(&proxy).await).await.unwrap(), pong());
    }
}

#[tokio::test]
async fn a_reply_is_cut_in_its_middle() {
    let (redis, proxy) = start().await;
    redis.call(&["SET", "k", "0123456789"]).await;
    let mut client = connect(&proxy).await;
    ping(&mut client).await.unwrap();
    let before = proxy.counters().reply_bytes;
    proxy.fault(Fault::CutAfterReply(8), Whom::Times(1));
    client.send(&["GET", "k"]).await.unwrap();
    assert_eq!(end_of(&mut client).await, ErrorKind::ConnectionReset);
    assert_eq!(proxy.counters().reply_bytes - before, 8);
    // Once only.
    let mut next = connect(&proxy).await;
    assert_eq!(next.call(&["GET", "k"]).await.unwrap().text(), "0123456789");
    assert_eq!(proxy.counters().faults, 1);
}

#[tokio::test]
async fn a_reply_is_cut_before_its_first_byte_and_the_server_ran_it() {
    let (redis, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.fault(Fault::CutAfterReply(0), Whom::Times(1));
    client.send(&["INCR", "n"]).await.unwrap();
    assert_eq!(end_of(&mut client).await, ErrorKind::ConnectionReset);
    assert_eq!(redis.call(&["GET", "n"]).await.text(), "1");
    assert_eq!(proxy.counters().reply_bytes, 0);
}

#[tokio::test]
async fn a_request_is_cut_and_what_arrived_whole_runs() {
    let (redis, proxy) = start().await;
    let incr = "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n".len() as u64;
    for (cut, ran) in [(0, 0), (incr - 1, 0), (incr, 1), (incr + 5, 2)] {
        let mut client = connect(&proxy).await;
        ping(&mut client).await.unwrap();
        proxy.fault(Fault::CutAfterRequest(cut), Whom::Times(1));
        client.send(&["INCR", "n"]).await.unwrap();
        if cut > incr {
            client.send(&["INCR", "n"]).await.unwrap();
        }
        while timeout(Duration::from_secs(5), client.read())
            .await
            .unwrap()
            .is_ok()
        {}
        proxy.clear();
        proxy
            .wait_for("the end", |counters| counters.open == 0)
            .await;
        assert_eq!(
            redis.call(&["GET", "n"]).await.int().unwrap_or(0),
            ran,
            "cut after {cut} bytes"
        );
    }
}

#[tokio::test]
async fn replies_are_dropped_and_the_requests_run() {
    let (redis, proxy) = start().await;
    let mut client = connect(&proxy).await;
    ping(&mut client).await.unwrap();
    proxy.fault(Fault::DropReplies, Whom::Times(1));
    client.send(&["INCR", "n"]).await.unwrap();
    assert!(is_silent(&mut client).await);
    assert_eq!(redis.call(&["GET", "n"]).await.text(), "1");
    // Others are not concerned.
    assert_eq!(ping(&mut connect(&proxy).await).await.unwrap(), pong());
    // Nothing follows a gap.
    proxy.clear();
    client.send(&["INCR", "n"]).await.unwrap();
    assert!(is_silent(&mut client).await);
    assert_eq!(redis.call(&["GET", "n"]).await.text(), "2");
    assert_eq!(proxy.counters().faults, 1);
}

#[tokio::test]
async fn half_open_is_silent_for_good() {
    let (redis, proxy) = start().await;
    let mut client = connect(&proxy).await;
    ping(&mut client).await.unwrap();
    proxy.fault(Fault::HalfOpen, Whom::All);
    proxy
        .wait_for("the fault", |counters| counters.faults == 1)
        .await;
    client.send(&["INCR", "n"]).await.unwrap();
    assert!(is_silent(&mut client).await);
    proxy.clear();
    assert!(is_silent(&mut client).await);
    assert_eq!(redis.call(&["EXISTS", "n"]).await, Answer::Int(0));
    assert_eq!(proxy.counters().open, 1);
    proxy.cut(Cut::Reset);
    assert_eq!(end_of(&mut client).await, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn after_a_stall_everything_arrives() {
    let (redis, proxy) = start().await;
    let mut client = connect(&proxy).await;
    ping(&mut client).await.unwrap();
    proxy.fault(Fault::Stall, Whom::All);
    client.send(&["INCR", "n"]).await.unwrap();
    assert!(is_silent(&mut client).await);
    assert_eq!(redis.call(&["EXISTS", "n"]).await, Answer::Int(0));
    proxy.clear();
    assert_eq!(client.read().await.unwrap(), Answer::Int(1));
}

#[tokio::test]
async fn delays_add_up_and_do_not_queue() {
    let (_redis, proxy) = start().await;
    let mut client = connect(&proxy).await;
    ping(&mut client).await.unwrap();
    let delay = Duration::from_millis(60);
    for direction in [Direction::Request, Direction::Reply] {
        proxy.fault(
            Fault::Delay {
                direction,
                least: delay,
                most: delay + Duration::from_millis(20),
            },
            Whom::All,
        );
    }
    let began = Instant::now();
    for _ in 0..20 {
        client.send(&["PING"]).await.unwrap();
    }
    for _ in 0..20 {
        assert_eq!(client.read().await.unwrap(), pong());
    }
    let took = began.elapsed();
    assert!(took >= delay * 2, "{took:?}");
    assert!(took < delay * 20, "twenty in a row, {took:?}");
    assert_eq!(proxy.counters().faults, 2);
}

#[tokio::test]
async fn a_drip_and_a_thin_line_take_their_time() {
    let (redis, proxy) = start().await;
    redis.call(&["SET", "k", &"x".repeat(95)]).await;
    // `$95`, the text, and two ends of line are 102 bytes: 11 ticks.
    for fault in [
        Fault::Drip {
            direction: Direction::Reply,
            bytes: 10,
            every: Duration::from_millis(10),
        },
        Fault::Bandwidth {
            direction: Direction::Reply,
            per_second: 1000,
        },
    ] {
        proxy.fault(fault, Whom::All);
        let mut client = connect(&proxy).await;
        let began = Instant::now();
        assert_eq!(client.call(&["GET", "k"]).await.unwrap().text().len(), 95);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(95), "{took:?}");
        proxy.clear();
        let began = Instant::now();
        client.call(&["GET", "k"]).await.unwrap();
        assert!(began.elapsed() < took, "the drip is over");
    }
}

#[tokio::test]
async fn a_reply_is_overtaken_by_another_connection() {
    let (_redis, proxy) = start().await;
    let (mut first, mut second) = (connect(&proxy).await, connect(&proxy).await);
    ping(&mut first).await.unwrap();
    ping(&mut second).await.unwrap();
    proxy.fault(Fault::Overtake, Whom::All);
    first.send(&["ECHO", "first"]).await.unwrap();
    assert!(is_silent(&mut first).await, "it waits to be overtaken");
    second.send(&["ECHO", "second"]).await.unwrap();
    assert_eq!(second.read().await.unwrap().text(), "second");
    assert_eq!(first.read().await.unwrap().text(), "first");
}

#[tokio::test]
async fn chance_is_the_same_for_the_same_seed() {
    let redis = Redis::start().await;
    let mut seen = Vec::new();
    for seed in [7, 7, 8] {
        let proxy = Proxy::start(redis.addr());
        proxy.fault(Fault::CutAfterReply(0), Whom::Chance { percent: 50, seed });
        let mut pattern = Vec::new();
        for _ in 0..24 {
            pattern.push(ping(&mut connect(&proxy).await).await.is_ok());
        }
        let struck = pattern.iter().filter(|fine| !**fine).count();
        assert_eq!(proxy.counters().faults, struck as u64);
        assert!(
            (4..20).contains(&struck),
            "half of 24, more or less: {struck}"
        );
        seen.push(pattern);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

#[tokio::test]
async fn a_server_that_is_down_is_a_reset() {
    let (mut redis, proxy) = start().await;
    let mut open = connect(&proxy).await;
    ping(&mut open).await.unwrap();
    redis.kill();
    assert!(ping(&mut open).await.is_err());
    if let Ok(mut client) = Client::connect(proxy.addr()).await {
        assert!(ping(&mut client).await.is_err());
    }
    redis.restart().await;
    assert_eq!(ping(&mut connect(&proxy).await).await.unwrap(), pong());
}
