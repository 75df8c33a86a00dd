//! The `sangam` server: an engine behind two front doors, Upstash's REST API
//! over HTTP ([`gateway`]) and RESP over TCP ([`resp`]).
//!
//! The binary is thin: everything is here, so that tests and embedding programs
//! start the same server in their own process:
//!
//! ```no_run
//! # async fn start() -> Result<(), sangam_server::StartError> {
//! use sangam_server::{Config, Server};
//!
//! let running = Server::start(Config::in_memory("a-token")).await?;
//! println!("http://{}", running.http());
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod advice;
pub mod api;
pub mod cli;
pub mod config;
pub use sangam_store::data;
pub mod gateway;
mod handoff;
mod listener;
mod progress;
pub mod resp;
mod server;
mod tls;

pub use config::Config;
pub use server::{Running, Server, StartError};
