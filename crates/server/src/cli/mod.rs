//! The command line: reads the settings, starts the server, waits for a signal.
//!
//! Standard output carries the lines to paste, standard error the log, so that
//! either can be piped on its own.

mod args;
mod banner;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub use args::{Action, Cli, ServeArgs};

use crate::config::{Config, ConfigError};
use crate::server::{Server, StartError};

#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

/// Runs the program to its end.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let outcome = match cli.action {
        None => serve(&cli.serve),
        Some(Action::Serve(serve_args)) => serve(&serve_args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "sangam: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log() {
    let filter = std::env::var("SANGAM_LOG")
        .or_else(|_| std::env::var("RUST_LOG"))
        .unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "sangam: SANGAM_LOG is ignored: {error}");
        EnvFilter::new("info")
    });
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .init();
}

fn serve(args: &ServeArgs) -> Result<(), CliError> {
    let config = Config::load(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
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
        Ok(())
    });
    // What did not end in its time does not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(10));
    outcome
}
