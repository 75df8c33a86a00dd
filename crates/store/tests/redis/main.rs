//! A store over real Redis servers: single, sentinel, cluster, and networks that
//! fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod breaks;
mod calls;
mod cluster;
mod messages;
mod sentinel;
mod settings;

use std::time::Duration;

use sangam_store::{Commands, Error, Options, Store, Target};

/// The store at a URL that the setting `REDIS_URL` gave.
async fn connect(url: &str) -> Result<Store, Error> {
    connect_with(url, quick()).await
}

async fn connect_with(url: &str, options: Options) -> Result<Store, Error> {
    let target = Target::new(url, None, "REDIS_URL", "")?;
    Store::connect(&target, options).await
}

async fn store(url: &str) -> Store {
    let store = connect(url).await.unwrap();
    store.ping().await.unwrap();
    store
}

/// Times short enough for tests, long enough for a machine with much to do.
fn quick() -> Options {
    Options {
        connect_timeout: Duration::from_secs(2),
        command_timeout: Duration::from_secs(2),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..Options::default()
    }
}

fn commands(all: &[&[&str]]) -> Commands {
    let all = all.iter();
    all.map(|argv| argv.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>())
        .collect()
}
