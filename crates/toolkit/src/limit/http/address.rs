//! The client's address, where proxies stand before the app.
//!
//! A proxy writes who came to it at the right of a field, after whatever the client
//! sent in it. So the field is read from the right: past the addresses that are
//! trusted proxies, to the first that is not, which is the client's. What stands left
//! of that anybody may have written. A peer that is not a trusted proxy is the client
//! itself, whatever its fields say, and an entry that is no address ends the walk at
//! the last proxy that was known.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};

use crate::limit::class::Networks;

/// Entries that are walked: more proxies than anybody has in a row.
const HOPS_MAX: usize = 32;

/// In which field the trusted proxies say who came to them. Only one is read: a
/// proxy passes on the other as the client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239), its `for` parameters.
    Forwarded,
}

impl ForwardedBy {
    /// The field's name: `x-forwarded-for` or `forwarded`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ForwardedBy::XForwardedFor => "x-forwarded-for",
            ForwardedBy::Forwarded => "forwarded",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded]
            .into_iter()
            .find(|it| it.as_str() == name)
    }
}

/// The address of the client whose request came from `peer` with these fields, where
/// `trusted` are the proxies that are believed; none means that the peer is the
/// client. An address of IPv4 that is spelled in IPv6 is that of IPv4.
pub fn client_address(
    trusted: &Networks,
    by: ForwardedBy,
    peer: IpAddr,
    headers: &HeaderMap,
) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.contains(peer) {
        return peer;
    }
    // The last line first.
    let lines = headers.get_all(by.as_str()).iter().rev();
    let lines = lines.map(HeaderValue::as_bytes);
    let text = |entry| std::str::from_utf8(entry).ok();
    match by {
        ForwardedBy::XForwardedFor => {
            let entries = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
            walk(trusted, peer, entries.map(|it| address(text(it)?)))
        }
        ForwardedBy::Forwarded => {
            let entries = lines.flat_map(elements_from_right);
            walk(trusted, peer, entries.map(|it| forwarded_for(text(it)?)))
        }
    }
}

/// From the right to the first address that is no trusted proxy's.
fn walk(trusted: &Networks, peer: IpAddr, entries: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
    let mut known = peer;
    for entry in entries.take(HOPS_MAX) {
        let Some(address) = entry else {
            return known;
        };
        known = address;
        if !trusted.contains(address) {
            return known;
        }
    }
    known
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]` or
/// `[2001:db8::7]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    let address = match text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => match text.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
        },
    };
    Some(address.to_canonical())
}

/// The elements of a line of `Forwarded`, the last one first. Quotes are paired from
/// the right too, since the left of the line may be anybody's.
fn elements_from_right(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut quoted = false;
        for (at, byte) in line.iter().enumerate().rev() {
            match byte {
                b'"' if !is_escaped(line, at) => quoted = !quoted,
                b',' if !quoted => {
                    rest = line.get(..at);
                    return line.get(at + 1..);
                }
                _ => {}
            }
        }
        rest = None;
        Some(line)
    })
}

/// Whether an odd number of backslashes stands before a byte.
fn is_escaped(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    slashes.count() % 2 == 1
}

/// The address of an element's one `for` parameter.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = element.trim_matches([' ', '\t']);
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            let bytes = quoted.as_bytes();
            let ends = |(at, byte): &(usize, &u8)| **byte == b'"' && !is_escaped(bytes, *at);
            let (end, _) = bytes.iter().enumerate().find(ends)?;
            (quoted.get(..end)?, quoted.get(end + 1..)?)
        } else {
            let ends = |it: char| !it.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~:".contains(it);
            after.split_at(after.find(ends).unwrap_or(after.len()))
        };
        if name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for")
            && found.replace(node(value)?).is_some()
        {
            return None;
        }
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() {
            return found;
        }
        rest = after.strip_prefix(';')?;
    }
}

/// A node: as an address in `X-Forwarded-For`, but IPv6 only in brackets, and a port
/// may be hidden (`_p`). `unknown` and hidden names are no address.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (bare, port) = bracketed.split_once(']')?;
        return is_port(port)
            .then(|| bare.parse().ok().map(IpAddr::V6))?
            .map(|it| it.to_canonical());
    }
    let (bare, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    is_port(port).then(|| bare.parse().ok().map(IpAddr::V4))?
}

/// Nothing, `:4711` or `:_hidden`.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    let is_hidden = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|it| it.is_ascii_alphanumeric() || b"._-".contains(&it))
    };
    let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|it| it.is_ascii_digit());
    is_number || port.strip_prefix('_').is_some_and(is_hidden)
}
