//! A store over REST: against a real gateway, through a line that breaks, and
//! against endpoints that answer whatever a test wants. What every store does is
//! in `tests/contract`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod bytes;
mod endpoint;
mod events;
mod faults;
mod gathering;
mod greeting;
mod headers;
mod ids;
mod limits;
mod order;
mod tls;

use std::pin::Pin;
use std::time::Duration;

use sangam_rig::proxy::HttpProxy;
use sangam_server::{Config, Running, Server};
use sangam_store::{Error, Options, Store, Target};

/// Longest wait of a test for something that has to come.
const DEADLINE: Duration = Duration::from_secs(15);

/// A store at `url`, by the settings that errors name.
async fn connect(url: &str, options: Options) -> Result<Store, Error> {
    let target = Target::new(url, Some("full"), "SANGAM_STORE", "SANGAM_STORE_TOKEN")?;
    Store::connect(&target, options).await
}

/// A gateway in memory, token `full`.
async fn gateway(change: impl FnOnce(&mut Config)) -> (Running, String) {
    let mut config = Config::in_memory("full");
    change(&mut config);
    let server = Server::start(config).await.unwrap();
    let url = format!("http://{}", server.http());
    (server, url)
}

/// A gateway, a line to it that can break, and a store over that line.
async fn behind_a_line(options: Options) -> (Running, HttpProxy, Store) {
    let (server, _) = gateway(|_| {}).await;
    let line = HttpProxy::start(server.http());
    let url = format!("http://{}", line.addr());
    let store = connect(&url, options).await.unwrap();
    (server, line, store)
}

/// One slot, and no repeats by the guard.
fn one_slot() -> Options {
    Options {
        rest_slots: 1,
        retries: 0,
        ..Options::default()
    }
}

/// Polls all in their order, until all are done.
async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<(Pin<Box<_>>, Option<T>)> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, outcome) in &mut all {
            if outcome.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *outcome = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    all.into_iter()
        .map(|(_, outcome)| outcome.unwrap())
        .collect()
}
