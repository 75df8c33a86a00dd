//! Whose request it is, and as whom it is counted.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::limit::class::By;

/// Longest user that is counted as it is; longer ones are counted by their hash.
const USER_MAX: usize = 128;

/// Whose request it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The user who is signed in: an id that the client cannot choose. An empty one
    /// is nobody.
    pub user: Option<&'a str>,
    /// The client's address, as trusted proxies tell it.
    pub address: Option<IpAddr>,
    /// What the client says that it is.
    pub user_agent: Option<&'a str>,
}

impl Subject<'_> {
    /// The id that a tier counts it under: `u:<user>`, `a:<address>` (IPv6 by its
    /// /64, which one client has as a whole) or `all`. A user of more than 128 bytes
    /// is `h:` and a hash. `None` where the request does not tell.
    pub fn id(&self, by: By) -> Option<String> {
        match by {
            By::All => Some("all".to_owned()),
            By::Address => self.address.map(address_id),
            By::User => match self.user() {
                Some(user) => Some(user_id(user)),
                None => self.address.map(address_id),
            },
        }
    }

    /// The id that other packages count it under: as apps pass it to them.
    pub(super) fn plain_id(&self, by: By) -> Option<String> {
        let address = || self.address.map(|it| it.to_canonical().to_string());
        match by {
            By::All => Some("all".to_owned()),
            By::Address => address(),
            By::User => self.user().map(str::to_owned).or_else(address),
        }
    }

    /// The user, where one is signed in.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.filter(|user| !user.is_empty())
    }
}

fn user_id(user: &str) -> String {
    if user.len() <= USER_MAX {
        return format!("u:{user}");
    }
    let hash = Sha256::digest(user.as_bytes());
    let hex = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
    std::iter::once("h:".to_owned()).chain(hex).collect()
}

fn address_id(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("a:{address}"),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("a:{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}
