//! Clients that wait for a key, over RESP.

use std::net::SocketAddr;
use std::time::Duration;

use crate::resp::{Resp, command};
use crate::start::start;

/// Waits until CLIENT LIST shows `count` blocked connections.
async fn until_blocked(resp: &mut Resp, count: usize) {
    for _ in 0..1000 {
        let list = resp.ask_bulk(&["CLIENT", "LIST"]).await;
        if list.matches("flags=b").count() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{count} connections never waited");
}

async fn waiting(address: Option<SocketAddr>, argv: &[&str]) -> Resp {
    let mut resp = Resp::authenticated(address).await;
    resp.send(&command(argv)).await;
    resp
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_wakes_and_what_was_sent_meanwhile_runs_after() {
    let server = start().await;
    let mut writer = Resp::authenticated(server.resp()).await;
    let mut waiter = waiting(server.resp(), &["BZPOPMIN", "z", "0"]).await;
    until_blocked(&mut writer, 1).await;
    waiter.send(&command(&["ECHO", "after"])).await;
    writer
        .check(&command(&["ZADD", "z", "1", "a"]), b":1\r\n")
        .await;
    waiter
        .expect(b"*3\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\n1\r\n$5\r\nafter\r\n")
        .await;
    until_blocked(&mut writer, 0).await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_takes_nothing() {
    let server = start().await;
    let mut writer = Resp::authenticated(server.resp()).await;
    let gone = waiting(server.resp(), &["BZPOPMIN", "z", "0"]).await;
    until_blocked(&mut writer, 1).await;
    drop(gone);
    until_blocked(&mut writer, 0).await;
    let killed = waiting(server.resp(), &["BZPOPMIN", "z", "0"]).await;
    until_blocked(&mut writer, 1).await;
    writer
        .check(&command(&["CLIENT", "KILL", "TYPE", "normal"]), b":1\r\n")
        .await;
    let mut killed = killed;
    assert!(killed.is_closed().await);
    writer
        .check(&command(&["ZADD", "z", "1", "a"]), b":1\r\n")
        .await;
    writer.check(&command(&["ZCARD", "z"]), b":1\r\n").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_end_with_their_time_and_by_client_unblock() {
    let server = start().await;
    let mut writer = Resp::authenticated(server.resp()).await;
    let mut late = waiting(server.resp(), &["BZPOPMIN", "z", "0.02"]).await;
    late.expect(b"*-1\r\n").await;
    for (how, expected) in [
        (&[][..], &b"*-1\r\n"[..]),
        (&["TIMEOUT"], b"*-1\r\n"),
        (
            &["ERROR"],
            b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
        ),
    ] {
        let mut waiter = Resp::authenticated(server.resp()).await;
        let id = waiter.ask_int(&["CLIENT", "ID"]).await.to_string();
        let mut unblock = vec!["CLIENT", "UNBLOCK", id.as_str()];
        unblock.extend(how);
        writer.check(&command(&unblock), b":0\r\n").await;
        waiter.send(&command(&["BZPOPMIN", "z", "0"])).await;
        until_blocked(&mut writer, 1).await;
        writer.check(&command(&unblock), b":1\r\n").await;
        waiter.expect(expected).await;
    }
    server.shutdown().await;
}
