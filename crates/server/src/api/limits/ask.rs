//! Whose request is checked, and what it costs.

use std::fmt;
use std::net::IpAddr;

use hyper::StatusCode;
use sangam::limit::Subject;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::api::body;
use crate::api::problem::Problem;

/// Whose request it is, and what it costs.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ask {
    /// The user who is signed in: an id that the client cannot choose.
    #[schema(example = "ann")]
    user: Option<String>,
    /// The client's address, IPv4 or IPv6.
    #[schema(example = "192.0.2.7")]
    address: Option<String>,
    /// What the client says that it is, for lists of user agents.
    user_agent: Option<String>,
    /// What the request takes of each limit; 1 unless said.
    #[schema(minimum = 1)]
    cost: Option<u64>,
    /// For classes that count what runs at one time: the id of the permit to take,
    /// 1 to 64 letters and digits.
    permit: Option<String>,
}

/// Checks of one request.
pub(super) const BATCH_MAX: usize = 100;

/// One check of several. Spelled out, since what is flattened takes fields that
/// nobody knows, and the last of two.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// The class to check against.
    #[schema(example = "auth")]
    class: String,
    /// The user who is signed in: an id that the client cannot choose.
    #[schema(example = "ann")]
    user: Option<String>,
    /// The client's address, IPv4 or IPv6.
    #[schema(example = "192.0.2.7")]
    address: Option<String>,
    /// What the client says that it is, for lists of user agents.
    user_agent: Option<String>,
    /// What the request takes of each limit; 1 unless said.
    #[schema(minimum = 1)]
    cost: Option<u64>,
    /// For classes that count what runs at one time: the id of the permit to take,
    /// 1 to 64 letters and digits.
    permit: Option<String>,
}

impl Item {
    /// Reads a check's class and what is asked of it out of the check's own text.
    pub(super) fn read(json: &str) -> Result<(String, Ask), Problem> {
        let item: Item = body::object(json.as_bytes())
            .map_err(|reason| refused(&format!("this is no check: {reason}")))?;
        let ask = Ask {
            user: item.user,
            address: item.address,
            user_agent: item.user_agent,
            cost: item.cost,
            permit: item.permit,
        };
        Ok((item.class, ask))
    }
}

/// Several checks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// 1 to 100 of them, each on its own.
    #[schema(min_items = 1, max_items = 100, value_type = Vec<Item>)]
    pub(super) checks: Checks,
}

/// The checks of a batch as texts, each to be read by itself. More than
/// [`BATCH_MAX`] are counted and not kept.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(super) texts: Vec<Box<RawValue>>,
    pub(super) count: usize,
}

impl<'de> Deserialize<'de> for Checks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Checks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of checks")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Checks, A::Error> {
                let mut texts = Vec::new();
                while texts.len() < BATCH_MAX
                    && let Some(text) = all.next_element()?
                {
                    texts.push(text);
                }
                let mut count = texts.len();
                while all.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Checks { texts, count })
            }
        }

        deserializer.deserialize_seq(Reading)
    }
}

/// A user or an address.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    /// The user.
    #[schema(example = "ann")]
    pub(super) user: Option<String>,
    /// The address.
    pub(super) address: Option<String>,
}

/// A user, an address, or both, out of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'a> {
    user: Option<&'a str>,
    address: Option<IpAddr>,
}

impl<'a> Whose<'a> {
    pub(super) fn new(user: Option<&'a str>, address: Option<&str>) -> Result<Self, Problem> {
        let address = address.map(self::address).transpose()?;
        Ok(Whose { user, address })
    }

    pub(super) fn subject(self) -> Subject<'a> {
        Subject {
            user: self.user,
            address: self.address,
            user_agent: None,
        }
    }
}

impl Ask {
    pub(super) fn subject(&self) -> Result<Subject<'_>, Problem> {
        let whose = Whose::new(self.user.as_deref(), self.address.as_deref())?;
        Ok(Subject {
            user_agent: self.user_agent.as_deref(),
            ..whose.subject()
        })
    }

    pub(super) fn cost(&self) -> Result<u64, Problem> {
        match self.cost {
            Some(0) => Err(refused(
                "`cost` is at least 1: to look and take nothing, peek",
            )),
            cost => Ok(cost.unwrap_or(1)),
        }
    }

    pub(super) fn permit(&self) -> Option<&str> {
        self.permit.as_deref()
    }
}

fn address(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        refused(&format!(
            "`address` is an IPv4 or IPv6 address, not {shown:?}"
        ))
    })
}

pub(super) fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
