//! A small app whose routes are limited by Sangam.
//!
//! `cargo run -p sangam-example-axum -- --store redis://localhost:6379`
//!
//! All instances that have the same store share the limits.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::routing::{get, post};
use clap::Parser;
use sangam::limit::http::LimitLayer;
use sangam::limit::{Guard, Settings};
use sangam::store::{Options, Store, Target};
use tokio::net::TcpListener;

/// An axum app whose routes are limited.
#[derive(Debug, Parser)]
struct Args {
    /// Where the counts are, such as redis://localhost:6379; without it, where the
    /// environment says (SANGAM_STORE, REDIS_URL), else in this process.
    #[arg(long)]
    store: Option<String>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// The classes of limits.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/limits.toml"))]
    limits: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let target = match &args.store {
        Some(url) => Target::new(url, None, "--store", "SANGAM_STORE_TOKEN")?,
        None => Target::from_env()?,
    };
    let store = Store::connect(&target, Options::default()).await?;
    let settings = Settings::parse(&std::fs::read_to_string(&args.limits)?)?;
    let guard = Guard::new(store, settings);
    // Who edits the file changes the limits of the running app.
    let watch = guard.watch(&args.limits);

    let limits = LimitLayer::new(guard)
        .user(signed_in)
        .peer(|parts| Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let app = Router::new()
        .route("/auth/login", post(async || "welcome\n"))
        .route("/payments/charge", post(async || "charged\n"))
        .route("/api/sensitive", get(async || "something sensitive\n"))
        .route("/public", get(async || "something public\n"))
        // For classes of one's own, such as `path = ["/classes/beta"]`.
        .route("/classes/{class}", get(async || "done\n"))
        .layer(limits)
        .into_make_service_with_connect_info::<SocketAddr>();

    let listener = TcpListener::bind(args.listen).await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    axum::serve(listener, app).await?;
    drop(watch);
    Ok(())
}

/// Who is signed in. A real app looks the session up before the limits and finds its
/// user in the request's extensions; here the token is `demo-` and the user's name.
fn signed_in(parts: &Parts) -> Option<String> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let user = value.strip_prefix("Bearer demo-")?;
    Some(user.to_owned())
}
