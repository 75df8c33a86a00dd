//! `sangam serve`: starts the server and waits for a signal.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, ServeArgs, banner};
use crate::config::Config;
use crate::server::{STACK, Server};

pub(super) fn run(args: &ServeArgs) -> Result<ExitCode, CliError> {
    let config = Config::load(args)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .build()
        .map_err(CliError::Runtime)?;
    let outcome = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Signals)?;
        let running = Server::start(config).await?;
        // Whoever reads this may be gone already; the server is not for them.
        let _ = banner::write(&running, &mut std::io::stdout().lock());
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!("{name}: finishing what runs");
        running.shutdown().await;
        Ok(ExitCode::SUCCESS)
    });
    // What did not end in its time does not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(10));
    outcome
}
