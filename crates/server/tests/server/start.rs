//! Starting servers for tests.

use sangam_server::{Config, Running, Server};

/// In memory, on free ports, tokens `full` and `read`.
pub(crate) async fn start() -> Running {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::in_memory("full");
    config.read_token = Some("read".to_owned());
    change(&mut config);
    Server::start(config).await.unwrap()
}
