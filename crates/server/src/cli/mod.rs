//! The command line: a file for each subcommand.
//!
//! Standard output carries what was asked for, standard error the log, errors
//! and progress, so that either can be piped on its own. The exit status is 0
//! when all is good, 1 when something is damaged or refused, 2 when the command
//! or a setting is wrong.

mod args;
mod backup;
mod banner;
mod bench_disk;
mod check;
mod error;
mod figures;
mod restore;
mod serve;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use error::CliError;

pub use args::{
    Action, BackupArgs, BenchDiskArgs, CheckArgs, Cli, DataArgs, RestoreArgs, ServeArgs,
};

/// Runs the program to its end.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let outcome = match &cli.action {
        None => serve::run(&cli.serve),
        Some(Action::Serve(args)) => serve::run(args),
        Some(Action::Check(args)) => check::run(args),
        Some(Action::Backup(args)) => backup::run(args),
        Some(Action::Restore(args)) => restore::run(args),
        Some(Action::BenchDisk(args)) => bench_disk::run(args),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "sangam: {error}");
        error.status()
    })
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
