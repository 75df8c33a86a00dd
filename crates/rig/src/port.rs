//! Free ports that stay free while a server restarts.
//!
//! A port that the system hands out (`bind` to 0) comes from the range of
//! outgoing connections: while nobody listens, any connection of the machine
//! may take it. These lie below that range, and each process begins elsewhere.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A listener on a port of loopback that nobody else has.
pub(crate) fn listener() -> TcpListener {
    for _ in 0..COUNT {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (std::process::id().wrapping_mul(977).wrapping_add(turn)) % COUNT;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port as u16)) {
            return listener;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}

/// Such a port, free when it was looked at.
pub(crate) fn free() -> u16 {
    listener().local_addr().unwrap().port()
}

/// `port` on loopback.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
