//! Flags and environment variables.
//!
//! Every setting is text here; [`Config::load`](crate::Config::load) reads it,
//! so that a flag, a variable and a line of the file fail with the same words.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The state layer: Redis over REST and RESP, in one binary.
#[derive(Debug, Parser)]
#[command(name = "sangam", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; serves when nothing is said.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Serve (the default).
    Serve(Box<ServeArgs>),
    /// Read all data files, say what is wrong with them, repair if asked.
    Check(CheckArgs),
    /// Copy the data to one file, while a server runs or not.
    Backup(BackupArgs),
    /// Put a backup into an empty data folder.
    Restore(RestoreArgs),
    /// Measure what the data folder's disk can promise.
    BenchDisk(BenchDiskArgs),
}

/// Which data folder, and where the settings stand that say so.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Data folder [default: ./sangam-data].
    #[arg(long, env = "SANGAM_DATA", value_name = "FOLDER")]
    pub data: Option<String>,
    /// File with settings [default: sangam.toml if it is there].
    #[arg(long, env = "SANGAM_CONFIG", value_name = "FILE")]
    pub config: Option<String>,
    /// Answer as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Settings of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Keep the longest exact history and set the rest apart; no server may run.
    #[arg(long)]
    pub repair: bool,
    /// With --repair: keep nothing after this unit, sound or not.
    #[arg(long, value_name = "SEQ", requires = "repair")]
    pub last: Option<u64>,
    /// Where.
    #[command(flatten)]
    pub data: DataArgs,
}

/// Settings of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The backup, or "-" for standard output.
    pub file: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
    /// Of what.
    #[command(flatten)]
    pub data: DataArgs,
}

/// Settings of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The backup, or "-" for standard input.
    pub file: PathBuf,
    /// Into what.
    #[command(flatten)]
    pub data: DataArgs,
}

/// Settings of `bench-disk`.
#[derive(Debug, Clone, Args)]
pub struct BenchDiskArgs {
    /// How long to measure.
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
    /// Whose disk.
    #[command(flatten)]
    pub data: DataArgs,
}

/// Settings of `serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Address of the REST gateway [default: 127.0.0.1:8585].
    #[arg(long, env = "SANGAM_HTTP", value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Address of the RESP listener, or "off" [default: 127.0.0.1:6380].
    #[arg(long, env = "SANGAM_RESP", value_name = "HOST:PORT")]
    pub resp: Option<String>,
    /// Store behind the gateway: "embedded", or redis://HOST:PORT, rediss://…,
    /// redis-cluster://…, redis+sentinel://HOST:PORT/MASTER, https://… [default: embedded].
    #[arg(long, env = "SANGAM_STORE", hide_env_values = true, value_name = "URL")]
    pub store: Option<String>,
    /// Token of a store at https://….
    #[arg(
        long,
        env = "SANGAM_STORE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub store_token: Option<String>,
    /// Data folder, or "memory" for none [default: ./sangam-data].
    #[arg(long, env = "SANGAM_DATA", value_name = "FOLDER")]
    pub data: Option<String>,
    /// Token with full access [default: made at the first start and kept in the data folder].
    #[arg(long, env = "SANGAM_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Token that may only read [default: none].
    #[arg(
        long,
        env = "SANGAM_READ_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub read_token: Option<String>,
    /// Certificate chain (PEM) for TLS on both listeners.
    #[arg(long, env = "SANGAM_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Private key (PEM) of that certificate.
    #[arg(long, env = "SANGAM_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<String>,
    /// When writes are synced to the disk: always (before the reply), everysec or no
    /// [default: everysec].
    #[arg(long, env = "SANGAM_FSYNC", value_name = "POLICY")]
    pub fsync: Option<String>,
    /// File with settings [default: sangam.toml if it is there].
    #[arg(long, env = "SANGAM_CONFIG", value_name = "FILE")]
    pub config: Option<String>,
    /// Memory that data may use, such as 512mb; 0 is no limit [default: 0].
    #[arg(long, env = "SANGAM_MAXMEMORY", value_name = "BYTES")]
    pub maxmemory: Option<String>,
    /// What happens at that limit: noeviction, allkeys-lru, -lfu or -random,
    /// volatile-lru, -lfu, -random or -ttl [default: noeviction].
    #[arg(long, env = "SANGAM_MAXMEMORY_POLICY", value_name = "POLICY")]
    pub maxmemory_policy: Option<String>,
    /// Answer DEBUG: for test suites only [default: no].
    #[arg(
        long,
        env = "SANGAM_ENABLE_DEBUG_COMMAND",
        value_name = "yes|no",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "yes"
    )]
    pub enable_debug_command: Option<String>,
    /// Refuse over REST what Upstash refuses: for tests that are to hold there
    /// [default: no].
    #[arg(
        long,
        env = "SANGAM_STRICT_UPSTASH",
        value_name = "yes|no",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "yes"
    )]
    pub strict_upstash: Option<String>,
    /// What begins every key of Sangam's own, such as an app's name [default: nothing].
    #[arg(long, env = "SANGAM_PREFIX", value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Largest REST request and response, such as 10mb [default: 10mb].
    #[arg(long, env = "SANGAM_MAX_REQUEST_SIZE", value_name = "BYTES")]
    pub max_request_size: Option<String>,
}
