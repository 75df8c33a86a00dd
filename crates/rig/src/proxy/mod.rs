//! A proxy between a client and a real server that makes a network's faults.
//!
//! [`Proxy`] moves bytes and knows no protocol; [`HttpProxy`] stands on it and
//! also knows where an HTTP request ends, so that it can answer in the server's
//! place. Faults are switched while connections are open. What reaches a client
//! is always what TCP could have delivered: a connection that has lost a byte
//! gets none after it.
//!
//! Each runs on a thread of its own, so that it goes on while a test blocks. It
//! holds at most 64 pieces of 16 KiB a connection and direction.

mod answer;
mod connection;
mod counters;
mod fault;
mod framing;
mod http;
mod rules;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub use answer::{Answer, Quota};
pub use counters::Counters;
pub use fault::{Direction, Fault, Whom};
pub use http::HttpProxy;

use crate::worker::Worker;
use counters::Tally;
use rules::Rules;

/// How open connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A reset: what was under way is lost.
    Reset,
    /// An orderly end.
    Close,
}

/// A port that leads to a server, until a fault stands in the way.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _worker: Worker,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    rules: Mutex<Rules>,
    /// Told whenever the rules changed.
    changed: watch::Sender<()>,
    /// How often all connections were cut, and how the last time.
    cuts: watch::Sender<(u64, Cut)>,
    listening: watch::Sender<bool>,
    tally: Tally,
}

impl Shared {
    /// Asks the rules, and counts what struck.
    fn ask<T>(&self, question: impl FnOnce(&mut Rules) -> T) -> T {
        let mut rules = self.rules.lock();
        let answer = question(&mut rules);
        let struck = rules.take_struck();
        drop(rules);
        if struck > 0 {
            self.tally.add(|counters| counters.faults += struck);
        }
        answer
    }

    /// Changes the rules, and tells all connections.
    fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules.lock());
        self.changed.send_replace(());
    }
}

impl Proxy {
    /// Listens on a free port of loopback for connections to `upstream`.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = crate::port::listener();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            rules: Mutex::default(),
            changed: watch::Sender::new(()),
            cuts: watch::Sender::new((0, Cut::Close)),
            listening: watch::Sender::new(true),
            tally: Tally::new(),
        });
        let served = Arc::clone(&shared);
        let worker = Worker::start("fault proxy", move || accept(listener, addr, served));
        Self {
            addr,
            shared,
            _worker: worker,
        }
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds a fault to those that there are.
    pub fn fault(&self, fault: Fault, whom: Whom) {
        self.shared.change(|rules| rules.add(fault, whom));
    }

    /// Ends all faults. What they did to a connection may last, as each says.
    pub fn clear(&self) {
        self.shared.change(Rules::clear);
    }

    /// Ends all connections that are open now.
    pub fn cut(&self, how: Cut) {
        self.shared
            .cuts
            .send_modify(|(count, last)| (*count, *last) = (*count + 1, how));
    }

    /// Closes the port: connecting is refused by the system. Open connections
    /// stay.
    pub async fn stop_listening(&self) {
        self.shared.listening.send_replace(false);
        self.wait_for("the port to close", |counters| !counters.listening)
            .await;
    }

    /// Opens the same port again.
    pub async fn listen_again(&self) {
        self.shared.listening.send_replace(true);
        self.wait_for("the port to open", |counters| counters.listening)
            .await;
    }

    /// What has passed until now.
    pub fn counters(&self) -> Counters {
        self.shared.tally.get()
    }

    /// Waits until the counters are as wanted; fails the test at the deadline.
    pub async fn wait_for(&self, what: &str, when: impl FnMut(&Counters) -> bool) {
        self.shared.tally.wait_for(what, when).await;
    }
}

async fn accept(listener: StdListener, addr: SocketAddr, shared: Arc<Shared>) {
    listener.set_nonblocking(true).unwrap();
    let mut listener = TcpListener::from_std(listener).unwrap();
    let mut listening = shared.listening.subscribe();
    let mut id = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                id += 1;
                tokio::spawn(connection::serve(client, Arc::clone(&shared), id));
            }
            () = async { let _ = listening.wait_for(|open| !open).await; } => {
                drop(listener);
                shared.tally.add(|counters| counters.listening = false);
                let _ = listening.wait_for(|open| *open).await;
                listener = crate::wait::until("the port to be free again", || async {
                    TcpListener::bind(addr).await.map_err(|error| error.to_string())
                })
                .await;
                shared.tally.add(|counters| counters.listening = true);
            }
        }
    }
}

/// Closes by a reset.
fn reset(stream: TcpStream) {
    // A connection that is gone already cannot be told.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    drop(stream);
}
