//! Networks of addresses, and sets of them that stay fast with thousands.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why a network is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// No address, or a length that it does not have.
    #[error("a network is written 192.0.2.0/24 or 2001:db8::/32, not {0:?}")]
    Form(String),
    /// An address within the network in place of the network.
    #[error("{given} has bits beyond its length: write {meant}")]
    Bits {
        /// As it was given.
        given: String,
        /// The network that it lies in.
        meant: Cidr,
    },
}

/// A network: the addresses that begin alike. A network of IPv4 spelled in IPv6
/// (`::ffff:192.0.2.0/120`) is the network of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    first: IpAddr,
    length: u8,
}

/// Bits before those of IPv4 in an address of IPv6 that spells it.
const MAPPED: u8 = 96;

impl Cidr {
    /// The network of the first `length` bits of an address; `None` where the
    /// address has not as many.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let (address, length) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(address)) if (MAPPED..=128).contains(&length) => {
                (IpAddr::V4(address), length - MAPPED)
            }
            _ => (address, length),
        };
        let first = match address {
            IpAddr::V4(address) if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) if length <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Cidr { first, length })
    }

    /// Whether the address lies in it. IPv4 lies in no network of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(_), address @ IpAddr::V4(_)) | (IpAddr::V6(_), address @ IpAddr::V6(_)) => {
                Cidr::new(address, self.length).is_some_and(|it| it.first == self.first)
            }
            _ => false,
        }
    }

    /// The first of its addresses.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// How many bits its addresses share.
    pub fn length(&self) -> u8 {
        self.length
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// A network such as `192.0.2.0/24`, or a single address.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let form = || CidrError::Form(text.chars().take(64).collect());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => all,
            Some(length) if !length.is_empty() && length.bytes().all(|it| it.is_ascii_digit()) => {
                length.parse().map_err(|_| form())?
            }
            Some(_) => return Err(form()),
        };
        let network = Cidr::new(address, length).ok_or_else(form)?;
        if network.first != address.to_canonical() && network.first != address {
            return Err(CidrError::Bits {
                given: text.to_owned(),
                meant: network,
            });
        }
        Ok(network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

/// A set of networks: an address is looked up in the logarithm of their number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    all: Vec<Cidr>,
    /// First and last address of each stretch, sorted and apart.
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// Whether the address lies in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ranges, address) = match address.to_canonical() {
            IpAddr::V4(address) => (&self.v4, u128::from(address.to_bits())),
            IpAddr::V6(address) => (&self.v6, address.to_bits()),
        };
        let after = ranges.partition_point(|(first, _)| *first <= address);
        let last = after.checked_sub(1).and_then(|at| ranges.get(at));
        last.is_some_and(|(_, last)| address <= *last)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Each of them, as they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Cidr> {
        self.all.iter()
    }
}

impl FromIterator<Cidr> for Networks {
    fn from_iter<I: IntoIterator<Item = Cidr>>(networks: I) -> Self {
        let all: Vec<Cidr> = networks.into_iter().collect();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in &all {
            match network.first {
                IpAddr::V4(first) => {
                    let rest = u32::MAX.checked_shr(u32::from(network.length)).unwrap_or(0);
                    let first = first.to_bits();
                    v4.push((u128::from(first), u128::from(first | rest)));
                }
                IpAddr::V6(first) => {
                    let rest = u128::MAX
                        .checked_shr(u32::from(network.length))
                        .unwrap_or(0);
                    v6.push((first.to_bits(), first.to_bits() | rest));
                }
            }
        }
        Networks {
            all,
            v4: joined(v4),
            v6: joined(v6),
        }
    }
}

/// Stretches in order, those that overlap or touch as one.
fn joined(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}
