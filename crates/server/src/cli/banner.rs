//! What a start prints: where the server is, and the lines to paste.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use sangam_store::Status;

use crate::data::TokenOrigin;
use crate::server::Running;

/// Writes the banner.
pub(super) fn write(running: &Running, out: &mut impl Write) -> io::Result<()> {
    let token = running.token();
    let tls = if running.is_tls() { "s" } else { "" };
    let http = reachable(running.http());
    writeln!(out, "Sangam {} is ready.", env!("CARGO_PKG_VERSION"))?;
    match running.token_origin() {
        TokenOrigin::Given => writeln!(out, "The token is the one of your settings.")?,
        TokenOrigin::Kept(file) => writeln!(out, "The token is kept in {}.", file.display())?,
        TokenOrigin::Made if running.store().is_some() => {
            writeln!(
                out,
                "The token was made for this run: there is no data folder."
            )?;
        }
        TokenOrigin::Made => writeln!(out, "The token was made for this run: data is in memory.")?,
    }
    if let Some(store) = running.store() {
        let state = store.state();
        match state.status {
            Status::Up | Status::Slow => writeln!(out, "The data is in {}.", store.place())?,
            Status::Down => writeln!(
                out,
                "The data is in {}, which does not answer: {}. /ready says so until it does; if \
                 that is not the store you mean, change --store (SANGAM_STORE).",
                store.place(),
                state.reason
            )?,
            Status::Disabled => writeln!(out, "There is no store: every command is refused.")?,
        }
    }
    if running.is_strict_upstash() {
        writeln!(
            out,
            "REST refuses what Upstash refuses (--strict-upstash, docs/strict-upstash.md)."
        )?;
    }
    writeln!(out, "\nPaste into the environment of your app:\n")?;
    writeln!(out, "UPSTASH_REDIS_REST_URL=http{tls}://{http}")?;
    writeln!(out, "UPSTASH_REDIS_REST_TOKEN={token}")?;
    if let Some(resp) = running.resp() {
        writeln!(out, "\nand where the app speaks to Redis itself:\n")?;
        writeln!(
            out,
            "REDIS_URL=redis{tls}://default:{token}@{}",
            reachable(resp)
        )?;
    }
    writeln!(out)?;
    out.flush()
}

/// An address that a client on this machine can use: a listener on all
/// interfaces answers on the loopback one too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
