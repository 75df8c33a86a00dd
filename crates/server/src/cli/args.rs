//! Flags and environment variables.
//!
//! Every setting is text here; [`Config::load`](crate::Config::load) reads it,
//! so that a flag, a variable and a line of the file fail with the same words.

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
    Serve(ServeArgs),
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
    /// What happens at that limit: noeviction or allkeys-lru [default: noeviction].
    #[arg(long, env = "SANGAM_MAXMEMORY_POLICY", value_name = "POLICY")]
    pub maxmemory_policy: Option<String>,
    /// Largest REST request and response, such as 10mb [default: 10mb].
    #[arg(long, env = "SANGAM_MAX_REQUEST_SIZE", value_name = "BYTES")]
    pub max_request_size: Option<String>,
}
